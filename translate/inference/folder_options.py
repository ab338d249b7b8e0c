"""What may be asked of the translation of a folder, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from translate.inference.animation import FRAMES
from translate.inference.manifest import (
    ALL,
    HIDDEN,
    LINK,
    NO_FILE,
    NO_PICTURE,
    NO_SPACE,
    NOT_REACHED,
    STOPPED,
    UP_TO_DATE,
    Shard,
)
from translate.inference.planning import check
from translate.io import images
from translate.io.files import PathLike
from translate.io.images import DEFAULT_QUALITY

Progress: TypeAlias = Callable[[float, int], None]  # inputs done, of so many


def no_progress(done: float, total: int) -> None:
    """Ignore the progress."""


SUFFIXES = {
    "keep": "",
    "png": ".png",
    "jpg": ".jpg",
    "jpeg": ".jpg",
    "webp": ".webp",
    "avif": ".avif",
    "jp2": ".jp2",
    "gif": ".gif",
    "tiff": ".tif",
}
# Raise it when the pixels written for the same model, picture and options change: --skip-existing
# then does everything again. It is not the package's version, which changes far more often than the
# pixels do: an upgrade would throw away good outputs, and a change during development would go
# unnoticed.
TRANSLATION_VERSION = 3


@dataclass(frozen=True)
class FolderOptions:
    """What may be asked of the translation of a folder.

    Args:
        source: the domain translated from; may be left out where the model has two.
        style: "mean", "random" (drawn from seed, relative path and variant), "keep" (the input's
            own, taken along), "auto" (of these three what is best for the target), "own" (a
            reconstruction: source and target are the same), or a file or folder of exemplars of the
            target domain: of a folder, an input takes one by seed and relative path, and its
            variant k the k-th after that.
        seed: of random and chosen styles.
        samples: variants of each input; above 1 they are numbered: name_1, with `suffix`
            name<suffix>_1.
        batch_size: images of the training size in a forward pass, default the device's.
        format: of the outputs: keep, or one of SUFFIXES.
        quality: of JPEG, WebP and AVIF, 1 to 100.
        suffix: text appended to the outputs' names.
        on_error: "continue", or "stop": finish what comes before the first failure, and no more.
        skip_existing: leave out what the previous manifest says was made from the same file (size
            and time), model and options by the same TRANSLATION_VERSION of this code, if the
            outputs are still there, with the number of bytes that they were written with.
        verify: with skip_existing, compare the content of the outputs, too, by its SHA-256.
        overwrite: do all again in a folder that an earlier run has written into.
        strict: let hidden files and those that are no pictures fail instead of skipping them.
        workers: threads that read and write pictures, default one a core, at most 8.
        max_pixels: of a picture; larger ones are refused. All that are decoded or encoded at once
            have together no more.
        shard: (i, n), to do the i-th of n shares, 1-based; all may run at once into one folder,
            each in its process.
        reject: warn of inputs whose energy lies above this quantile of the source domain's
            training images.
        reject_skip: skip these instead of translating them; a later run measures them again.
        preview: write preview.html and preview.png of the first pictures when all is done.
        frames: of animations and TIFFs of several pages "all", in one style, where the output's
            format holds several, or the "first".
        strip: write no metadata; otherwise EXIF, XMP and the like are kept as far as the format
            of the output holds them.
        keep_profile: translate pictures in their colour profile, and write it, instead of
            converting them to sRGB, where the model has as many channels and the format holds one.

    Raises:
        ValueError: for an option that cannot be, naming it and the remedy.
    """

    source: str | None = None
    style: PathLike = "auto"
    seed: int = 0
    samples: int = 1
    batch_size: int | None = None
    format: str = "keep"
    quality: int = DEFAULT_QUALITY
    suffix: str = ""
    on_error: str = "continue"
    skip_existing: bool = False
    verify: bool = False
    overwrite: bool = False
    strict: bool = False
    workers: int | None = None
    max_pixels: int = 178_000_000
    shard: Shard = ALL
    reject: float | None = None
    reject_skip: bool = False
    preview: bool = False
    frames: str = "all"
    strip: bool = False
    keep_profile: bool = False

    def __post_init__(self) -> None:
        check(self.format in SUFFIXES, f"format {self.format}: use {', '.join(SUFFIXES)}")
        suffix = SUFFIXES[self.format]
        check(
            not suffix or suffix in images.SUFFIXES,
            f"format {self.format}: this Pillow was built without it; use png",
        )
        check(1 <= self.quality <= 100, f"quality {self.quality}: must be 1 to 100")
        check(
            not (self.skip_existing and self.overwrite),
            "--skip-existing: does what is missing, --overwrite all of it; give one of them",
        )
        check(
            self.skip_existing or not self.verify,
            "--verify: goes with --skip-existing, which then reads the outputs that are there",
        )
        check(self.frames in FRAMES, f"frames {self.frames}: use {' or '.join(FRAMES)}")
        known = self.on_error in ("continue", "stop")
        check(known, f"on_error {self.on_error}: use continue or stop")
        check(
            not set(self.suffix) & set("/\\\0"),
            f"suffix {self.suffix!r}: is part of a name, a path separator cannot be in it",
        )
        i, n = self.shard
        check(1 <= i <= n, f"shard {i}/{n}: use 1/N to N/N for N shards")
        for name in ("samples", "batch_size", "workers", "max_pixels"):
            number = getattr(self, name)
            check(number is None or number > 0, f"{name} {number}: must be at least 1")
        check(
            self.reject is not None or not self.reject_skip,
            "--reject-skip: needs --reject, the quantile above which to skip",
        )
        check(
            not (self.strip and self.keep_profile),
            "--keep-profile: writes the profile, --strip nothing; give one of them",
        )


DEFAULTS = FolderOptions()
# why inputs are skipped; any other reason is the model's, and different for each
SKIPPED = (HIDDEN, NO_PICTURE, LINK, NO_FILE, UP_TO_DATE, NOT_REACHED, STOPPED, NO_SPACE)
REJECTED = "rejected"


@dataclass(frozen=True)
class FolderSummary:
    """What became of a folder, or of a shard's share.

    Args:
        ok: inputs translated.
        skipped: inputs left out.
        failed: inputs that failed.
        failures: (path, reason) of these, sorted.
        seconds: all of it took.
        warned: inputs that have warnings in the manifest.
        reasons: how many were left out why.
        source: name of the domain translated from.
        to: name of the domain translated to.
    """

    ok: int
    skipped: int
    failed: int
    failures: list[tuple[str, str]]
    seconds: float
    warned: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    source: str = ""
    to: str = ""
