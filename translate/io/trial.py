"""Decoding on trial: in a process of its own, with limits of time and memory.

What most decoders need follows from the number of pixels, which a header tells. Of some formats it
does not: AVIF may hide pictures that are decoded and never shown, JPEG 2000 may cut a picture into
any number of parts, TIFF wraps other formats, and a JPEG may come in any number of scans. Of the
first three, a file that could take long is decoded in a process that can be stopped before it is
decoded in this one; of a JPEG, the scans are counted.
"""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
from typing import BinaryIO

from PIL.ImageFile import ImageFile

# Pixels times bytes of the file up to which no decoder takes seconds: it does at most a pass over
# all pixels for some bytes.
HARMLESS = 10**11
TIFF_CODECS = {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg"}
MAX_SIDE = 100_000  # pixels: formats go to 65 535, but for PNG and TIFF
MAX_SCANS = 100  # of a JPEG as large as pictures may be; libtiff's number
START_OF_SCAN = b"\xff\xda"

SECONDS = 10.0  # of one core, whatever the size
PIXELS_A_SECOND = 2_000_000  # a slow decoder's on a slow core
WAITING = 10  # times as long by the clock, where the machine is busy
BYTES = 2 * 2**30  # of address space, of which Python and the decoders' threads take most
BYTES_A_PIXEL = 64

OUT_OF_LIMIT = 3  # exit code of the process

PROGRAM = f"""
import json, sys
path, seconds, size = json.loads(sys.argv[1])
sys.path[:] = path
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, OSError, ValueError):  # not on this system
    pass
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
try:
    with Image.open(sys.stdin.buffer) as image:
        image.load()
except MemoryError:
    sys.exit({OUT_OF_LIMIT})
except Exception as error:
    sys.stderr.write(" ".join(str(error).split()) or type(error).__name__)
    sys.exit(1)
"""


class DecodingLimitError(ValueError):
    """A file would take more time or memory than pictures of its size may."""


def require_decodable(image: ImageFile, file: BinaryIO, max_pixels: int) -> None:
    """Refuse a file whose decoding takes more time or memory than pictures of its size may.

    Args:
        image: opened by its header.
        file: what it is read from; its position is kept.
        max_pixels: that pictures may have.

    Raises:
        DecodingLimitError: decoding takes too much, or a side is too long.
        OSError: decoding fails.
    """
    pixels = image.width * image.height
    if max(image.size) > MAX_SIDE:
        raise DecodingLimitError(
            f"{image.width} x {image.height} pixels: a side may have at most {MAX_SIDE}"
        )
    if image.format in ("JPEG", "MPO"):
        scans = _count(file, START_OF_SCAN)
        if scans * pixels > MAX_SCANS * max_pixels:
            raise DecodingLimitError(f"its {scans} scans take too long to decode")
    elif _is_suspect(image) and pixels * _size(file) > HARMLESS:
        _try(file, pixels)


def _is_suspect(image: ImageFile) -> bool:
    if image.format == "TIFF":
        return image.info.get("compression") not in TIFF_CODECS
    return image.format in ("AVIF", "JPEG2000")


def _size(file: BinaryIO) -> int:
    place = file.tell()
    size = file.seek(0, 2)
    file.seek(place)
    return size


def _count(file: BinaryIO, text: bytes) -> int:
    """Return how often a text is in a file."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        count = 0
        place = content.find(text)
        while place >= 0:
            count += 1
            place = content.find(text, place + len(text))
        return count


def _try(file: BinaryIO, pixels: int) -> None:
    """Decode in a process with limits, which are generous for so many pixels."""
    if not sys.executable:  # Python is part of another program
        return
    seconds = int(SECONDS + pixels / PIXELS_A_SECOND)
    limits = json.dumps([sys.path, seconds, BYTES + BYTES_A_PIXEL * pixels])
    place = file.tell()
    try:
        file.seek(0)
        done = subprocess.run(
            [sys.executable, "-I", "-c", PROGRAM, limits],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=WAITING * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DecodingLimitError(
            f"stopped: decoding takes more than {WAITING * seconds} s"
        ) from None
    finally:
        file.seek(place)
    if done.returncode == 1:
        complaints = done.stderr.decode("utf-8", "replace").splitlines()
        raise OSError(complaints[-1] if complaints else "cannot be decoded")
    if done.returncode != 0:
        raise DecodingLimitError(
            f"stopped: decoding takes more than {seconds} s of a core, or more memory than "
            f"{BYTES_A_PIXEL} bytes a pixel"
        )
