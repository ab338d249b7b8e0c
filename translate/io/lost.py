"""What of a picture a model or a format keeps, and a phrase for each thing that it does not."""

from __future__ import annotations

from collections.abc import Iterator

from translate.io.depth import Levels
from translate.io.images import ALPHA_FORMATS, Picture, UInt8
from translate.io.metadata.descriptions import Layout
from translate.io.metadata.record import WITH_PROFILE

# Levels of 255 between the channels of a picture that is gray, such as a scan in a JPEG.
GRAY_NOISE = 8


def lost_of_picture(picture: Picture, kind: str, channels: int) -> tuple[str, ...]:
    """Return what is lost of a picture on its way through a model and into a format.

    Args:
        picture: the input.
        kind: the output's format, one of FORMATS.
        channels: of the model, 1 (gray) or 3.
    """
    return tuple((*_lost_colours(picture, kind, channels), *_lost_alpha(picture, kind)))


def profile_space(kind: str, channels: int) -> str | None:
    """Return which profiles a format and a model may keep: "RGB", "GRAY" or none."""
    return {1: "GRAY", 3: "RGB"}[channels] if kind in WITH_PROFILE else None


def layout_of(pixels: UInt8 | Levels, pages: int = 1) -> Layout:
    """Return what a file of so many pictures like this one (H, W, C) is made of."""
    height, width, channels = pixels.shape
    bits = 8 * pixels.values.itemsize if isinstance(pixels, Levels) else 8
    return Layout(width, height, channels, bits, pages)


def _lost_colours(picture: Picture, kind: str, channels: int) -> Iterator[str]:
    if picture.converted_from:
        yield f"colour profile converted to sRGB: {picture.converted_from}"
    if picture.mode in ("CMYK", "LAB", "YCbCr"):
        yield f"{picture.mode} was converted to RGB"
    if channels == 1:
        if _is_coloured(picture):
            yield "a colour picture through a gray model became gray"
    elif kind == "GIF":
        yield "the colours were reduced to the 256 of a GIF"
    elif picture.mode in ("P", "PA") or picture.format == "GIF":
        yield "the palette became full colour"


def _is_coloured(picture: Picture) -> bool:
    pixels = picture.pixels
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > GRAY_NOISE).any())


def _lost_alpha(picture: Picture, kind: str) -> Iterator[str]:
    alpha = picture.alpha
    if alpha is None:
        return
    if kind not in ALPHA_FORMATS:
        if (alpha < 255).any():
            yield f"transparency was laid over white: a {kind} has none"
    elif kind == "GIF" and ((alpha > 0) & (alpha < 255)).any():
        yield "half transparency was made whole or none: a GIF has no other"
