"""The embedded data set: characters of two typefaces that ship inside matplotlib.

They are drawn black on white.

Domain A is DejaVu Sans (upright, even strokes), domain B DejaVu Serif Bold Italic (slanted,
heavy, serifs). Train A, train B and test hold different characters, and no two characters that
look alike in either face (Latin A, Greek Alpha, Cyrillic A) are both taken, so nothing of the
test set can have been seen in training.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from translate.io.images import write_image

FACES = {"A": "DejaVuSans.ttf", "B": "DejaVuSerif-BoldItalic.ttf"}
TEST_PAIRS = 150
_EM = 0.66  # point size as a share of the image's side: accents and descenders fit
_BASELINE = 0.72  # from the top, as a share of the side
_INK = 128  # a pixel darker than this is ink


def font_folder() -> Path:
    """Return the folder where matplotlib keeps its typefaces."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def draw(font: ImageFont.FreeTypeFont, character: str, size: int) -> np.ndarray:
    """Draw a character on its baseline, centred by its advance: (size, size, 1) uint8."""
    image = Image.new("L", (size, size), 255)
    ImageDraw.Draw(image).text(
        (size / 2, size * _BASELINE), character, font=font, fill=0, anchor="ms"
    )
    return np.asarray(image)[:, :, None]


def common_characters(size: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Draw the characters that both faces have.

    These are letters, numbers, punctuation and currency signs that fit the frame and look like no
    other one taken.

    Args:
        size: Side of the pictures, in pixels.

    Returns:
        Code point -> its pictures in A and in B, (size, size, 1) uint8.
    """
    from fontTools.ttLib import TTFont

    paths = [font_folder() / name for name in FACES.values()]
    fonts = [ImageFont.truetype(path, round(size * _EM)) for path in paths]
    shared = set.intersection(*(set(TTFont(path).getBestCmap()) for path in paths))
    taken: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    seen: set[bytes] = set()
    for code in sorted(shared):
        category = unicodedata.category(chr(code))
        if category[0] not in "LNP" and category != "Sc":
            continue
        a, b = (draw(font, chr(code), size) for font in fonts)
        looks = {a.tobytes(), b.tobytes()}
        if looks & seen or not all(_framed(picture) for picture in (a, b)):
            continue
        seen |= looks
        taken[code] = (a, b)
    return taken


def _framed(picture: np.ndarray) -> bool:
    """Return whether there is ink, and none of it at the picture's edge."""
    ink = picture[:, :, 0] < _INK
    return bool(ink.any()) and not (ink[[0, -1]].any() or ink[:, [0, -1]].any())


def write_glyphs(out: Path, size: int = 32, seed: int = 0) -> dict[str, int]:
    """Write OUT/trainA, trainB, testA, testB as PNGs named by code point.

    Args:
        out: The folder that holds these four.
        size: Side of the pictures, 16 to 512 pixels.
        seed: Decides which characters are in which folder.

    Returns:
        The number of files in each folder.

    Raises:
        ValueError: Where a folder to be written is not empty, or the size is out of range.
    """
    if not 16 <= size <= 512:
        raise ValueError(f"--size {size}: glyphs are drawn at 16 to 512 pixels")
    splits = {f"{split}{domain}": domain for split in ("train", "test") for domain in FACES}
    for split in splits:
        if (out / split).exists() and any((out / split).iterdir()):
            raise ValueError(f"{out / split}: not empty; give a new folder")
    pictures = common_characters(size)
    codes = np.random.default_rng(seed).permutation(sorted(pictures))
    test = codes[:TEST_PAIRS]
    train = codes[TEST_PAIRS:]
    halves = {"A": train[: len(train) // 2], "B": train[len(train) // 2 :]}
    counts = {}
    for split, domain in splits.items():
        chosen = test if split.startswith("test") else halves[domain]
        (out / split).mkdir(parents=True, exist_ok=True)
        for code in chosen:
            write_image(out / split / f"{code:05x}.png", pictures[int(code)][domain == "B"])
        counts[split] = len(chosen)
    return counts
