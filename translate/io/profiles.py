"""A file's colour profile, and its colours in sRGB."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms


def in_srgb(
    image: Image.Image, profile: bytes | None, profile_space: str | None, notes: list[str]
) -> tuple[Image.Image, bytes, str]:
    """Convert an image to sRGB, unless its colours are to stay as they are.

    Args:
        image: in L, RGB, CMYK or LAB.
        profile: its ICC profile, if it has one.
        profile_space: as of `read_image`.
        notes: warnings are added to it.

    Returns:
        The image, and the profile that it is still in, or the name of the one that it was in.
    """
    if not profile:
        return image, b"", ""
    transform, complaints = _transform_to_srgb(profile, image.mode)
    notes.extend(complaints)
    if complaints:
        return image, b"", ""
    space = profile[16:20].decode("latin-1").strip()  # as ICC.1 names it
    if transform is None or space == profile_space:
        return image, profile, ""
    return transform.apply(image.convert(transform.input_mode)), b"", _profile_name(profile)


@lru_cache(maxsize=16)
def _transform_to_srgb(
    profile: bytes, mode: str
) -> tuple[ImageCms.ImageCmsTransform | None, tuple[str, ...]]:
    """Make the transform of a colour profile to sRGB, relative colorimetric as in browsers.

    Args:
        profile: the bytes of an ICC profile.
        mode: L, RGB, CMYK or LAB, of the pixels that it comes with.

    Returns:
        The transform, None where it would change nothing or cannot be made, and warnings.
    """
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        srgb = ImageCms.createProfile("sRGB")
        space = given.profile.xcolor_space.strip()
        mode = "RGB" if (space, mode) == ("RGB", "L") else mode
        if space != {"L": "GRAY", "LAB": "Lab"}.get(mode, mode):
            raise ValueError(f"it is for {space}, the pixels are {mode}")
        # optimised, lcms halves the darks of linear gray
        flags |= ImageCms.Flags.NOOPTIMIZE if mode == "L" else 0
        transform = ImageCms.buildTransform(given, srgb, mode, "RGB", intent, flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        return None, (f"colour profile ignored: {' '.join(str(error).split())}",)

    # sRGB goes by many names, some of them false: it is known by what it does to a cube of colours.
    colours = np.mgrid[0:256:15, 0:256:15, 0:256:15].T.reshape(18, -1, 3).astype(np.uint8)
    cube = Image.fromarray(colours).convert(mode)
    change = np.asarray(transform.apply(cube), np.int16) - np.asarray(cube.convert("RGB"))
    return (transform if np.abs(change).max() > 2 else None), ()


def _profile_name(profile: bytes) -> str:
    """Return the name that a profile gives itself, as far as it can be printed."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        name = ""
    return "".join(filter(str.isprintable, name)).strip()[:80] or "without a name"
