"""Files of several frames, written frame by frame: animations, and TIFFs of several pages.

Each frame is encoded as a picture of its own and then put into the file whole: its pixels are
those that the picture alone would have, frames that look the same stay several, and none waits in
memory for the last, as in Pillow's save_all. Legend: `data` are the bytes of a picture's file.
"""

from __future__ import annotations

import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from translate.io.depth import Levels
from translate.io.frames import CLEARED, HOLES, FrameSequence
from translate.io.images import CLEAR, UInt8, encode
from translate.io.metadata.record import NONE, Metadata

FRAME_FORMATS = ("GIF", "WEBP", "PNG", "TIFF", "AVIF")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEFT = 1 << 2  # of the flags that control a GIF's frame: it stays below the next
UNTIMED = "a TIFF keeps no durations"
FOR_EVER = "an AVIF keeps no number of repeats: it repeats for ever"


def holds_frames(kind: str, sequence: FrameSequence) -> bool:
    """Tell whether a file of a format holds all frames; sizes may differ in a TIFF alone."""
    return kind in FRAME_FORMATS and (kind == "TIFF" or sequence.size is not None)


def lost_of_frames(kind: str, sequence: FrameSequence) -> tuple[str, ...]:
    """Return what a format cannot keep of a sequence, besides its frames, a phrase each."""
    if kind == "TIFF" and sequence.timed:
        return (UNTIMED,)
    if kind == "AVIF" and sequence.plays:
        return (FOR_EVER,)
    return ()


def encode_frame(
    kind: str,
    sequence: FrameSequence,
    pixels: UInt8 | Levels,
    alpha: UInt8 | None,
    quality: int,
    metadata: Metadata = NONE,
) -> bytes:
    """Return a frame as the bytes that `FrameWriter.add` of a format takes.

    Args:
        kind: one of FRAME_FORMATS.
        sequence: the frame is one of it: of an animation either all have alpha or none.
        pixels: uint8 (H, W, 1 or 3), or levels, which a TIFF's pages alone may have.
        alpha: uint8 (H, W), 0 is transparent.
        quality: as of `encode`.
        metadata: of a TIFF's page, or with the first frame of an animation that of the file; an
            AVIF gets it from `frame_writer`.
    """
    if kind == "TIFF":
        return encode(kind, pixels, alpha, quality, metadata)
    if not sequence.has_alpha:
        alpha = None
    elif alpha is None:
        alpha = np.full(pixels.shape[:2], 255, np.uint8)
    if kind == "AVIF":
        return encode("TIFF", pixels, alpha, quality)
    return encode(kind, pixels, alpha, quality, metadata)


class FrameWriter(Protocol):
    """A file of frames while it is written."""

    def add(self, data: bytes, milliseconds: int) -> None:
        """Write the next frame, by `encode_frame`, and how long it is shown."""

    def close(self) -> None:
        """Write the end."""


@contextmanager
def frame_writer(
    kind: str,
    file: BinaryIO,
    sequence: FrameSequence,
    quality: int,
    metadata: Metadata = NONE,
) -> Iterator[FrameWriter]:
    """Write a file of frames, which is whole when the block ends without an error.

    Args:
        kind: one of FRAME_FORMATS.
        file: open for reading and writing, empty.
        sequence: the frames to come.
        quality: as of `encode`.
        metadata: of an AVIF; other formats get it with their frames.
    """
    if kind == "AVIF":
        with tempfile.TemporaryFile() as waiting:
            frames = AvifFrames(file, waiting, quality, metadata)
            yield frames
            frames.close()
        return

    assert kind == "TIFF" or sequence.size is not None, "frames of several sizes"
    writer: FrameWriter
    if kind == "TIFF":
        writer = TiffFrames(file)
    elif kind == "GIF":
        writer = GifFrames(file, sequence)
    elif kind == "PNG":
        writer = PngFrames(file, sequence)
    else:
        writer = WebPFrames(file, sequence)
    yield writer
    writer.close()


class TiffFrames:
    """Pages of a TIFF."""

    def __init__(self, file: BinaryIO) -> None:
        self.pages = AppendingTiffWriter(file)

    def add(self, data: bytes, milliseconds: int) -> None:
        """Write a page; it has no duration."""
        self.pages.write(data)
        self.pages.newFrame()

    def close(self) -> None:
        """Write the end."""
        self.pages.close()


class AvifFrames:
    """An AVIF sequence; frames wait in a temporary file, as the encoder asks for all at once."""

    def __init__(self, file: BinaryIO, waiting: BinaryIO, quality: int, metadata: Metadata) -> None:
        self.file = file
        self.waiting = waiting
        self.quality = quality
        self.metadata = metadata
        self.pages = TiffFrames(waiting)
        self.durations: list[int] = []

    def add(self, data: bytes, milliseconds: int) -> None:
        """Keep a frame, the bytes of a TIFF."""
        self.pages.add(data, milliseconds)
        self.durations.append(milliseconds)

    def close(self) -> None:
        """Encode all frames."""
        self.pages.close()
        self.waiting.seek(0)
        encoded = BytesIO()
        with Image.open(self.waiting, formats=["TIFF"]) as image:
            image.save(
                encoded,
                "AVIF",
                save_all=True,
                duration=self.durations,
                quality=self.quality,
                max_threads=1,  # the same bytes on every machine
                **self.metadata.options("AVIF"),
            )
        self.file.write(_without_times(encoded.getvalue()))


def _without_times(data: bytes) -> bytes:
    """Return an AVIF sequence without the time of its making: the same bytes in every run."""
    boxes = bytearray(data)
    end = data.index(b"mdat")  # all headers are before the pixels
    # of the film and of each of its tracks: version 1, flags, times of creation and modification
    for header in re.finditer(b"(mvhd|tkhd|mdhd)\x01...", data[:end], re.DOTALL):
        boxes[header.end() : header.end() + 16] = bytes(16)
    return bytes(boxes)


class GifFrames:
    """An animated GIF whose frames have palettes of their own."""

    def __init__(self, file: BinaryIO, sequence: FrameSequence) -> None:
        self.file = file
        # of frames with holes each is cleared for the next
        self.flags = (CLEARED | HOLES) if sequence.has_alpha else LEFT
        # no palette for all frames
        file.write(b"GIF89a" + struct.pack("<2H", *sequence.sizes[0]) + b"\x70\0\0")
        if sequence.plays != 1:
            repeats = min(sequence.plays - 1, 0xFFFF) if sequence.plays else 0
            file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", repeats) + b"\0")

    def add(self, data: bytes, milliseconds: int) -> None:
        """Write a frame, and before it what comments it has."""
        clear, comments, image = _gif_image(data)
        hundredths = min(round(milliseconds / 10), 0xFFFF)
        control = struct.pack("<BHBB", self.flags, hundredths, clear, 0)
        self.file.write(comments + b"!\xf9\x04" + control + image)

    def close(self) -> None:
        """Write the end."""
        self.file.write(b";")


def _gif_image(data: bytes) -> tuple[int, bytes, bytes]:
    """Return a still GIF's index of transparency, its comments, and its image with a palette."""
    palette_flags = data[10] & 0x87
    start = 13
    end = start + (3 << (palette_flags & 7) + 1 if palette_flags & 0x80 else 0)
    palette = data[start:end]
    clear = CLEAR  # where nothing is transparent, nothing has this index
    comments = b""
    at = end
    while data[at : at + 1] == b"!":
        begin = at
        if data[at + 1] == 0xF9 and data[at + 3] & 1:
            clear = data[at + 6]
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
        if data[begin + 1] == 0xFE:
            comments += data[begin:at]
    flags = data[at + 9]
    if flags & 0x80:
        palette = b""
    else:
        flags |= palette_flags
    return clear, comments, data[at : at + 9] + bytes([flags]) + palette + data[at + 10 : -1]


class PngFrames:
    """An animated PNG."""

    def __init__(self, file: BinaryIO, sequence: FrameSequence) -> None:
        self.file = file
        self.size = sequence.sizes[0]
        self.control = struct.pack(">2I", len(sequence.places), sequence.plays)
        self.header: bytes | None = None  # of the first frame
        self.end: list[tuple[bytes, bytes]] = []  # what comes behind its pixels
        self.number = 0  # of the next chunk of the animation

    def add(self, data: bytes, milliseconds: int) -> None:
        """Write a frame: the first as a still picture has it, others in chunks of their own."""
        chunks = list(_png_chunks(data))
        is_first = self.header is None
        if is_first:
            self.header = chunks[0][1]
            kinds = [kind for kind, _ in chunks]
            pixels = kinds.index(b"IDAT")
            self.end = [chunk for chunk in chunks[pixels:] if chunk[0] != b"IDAT"]
            self.file.write(PNG_SIGNATURE)
            self._write(*chunks[0])
            self._write(b"acTL", self.control)
            for chunk in chunks[1:pixels]:
                self._write(*chunk)
        elif chunks[0][1] != self.header:
            raise ValueError("its depth or colours are not those of the first; use --format tiff")

        # at 0, 0; left as it is, and replacing what is there
        placed = struct.pack(">4I2H2B", *self.size, 0, 0, *_delay(milliseconds), 0, 0)
        self._write_numbered(b"fcTL", placed)
        for kind, content in chunks:
            if kind == b"IDAT" and is_first:
                self._write(kind, content)
            elif kind == b"IDAT":
                self._write_numbered(b"fdAT", content)

    def close(self) -> None:
        """Write what came behind the first frame's pixels, and the end."""
        for chunk in self.end:
            self._write(*chunk)

    def _write_numbered(self, kind: bytes, content: bytes) -> None:
        self._write(kind, struct.pack(">I", self.number) + content)
        self.number += 1

    def _write(self, kind: bytes, content: bytes) -> None:
        checksum = zlib.crc32(content, zlib.crc32(kind))
        self.file.write(struct.pack(">I", len(content)) + kind + content)
        self.file.write(struct.pack(">I", checksum))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG: kind and content."""
    at = len(PNG_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _delay(milliseconds: int) -> tuple[int, int]:
    """Return a duration as a fraction of seconds of two 16-bit numbers."""
    for per_second in (1000, 100, 10):
        if milliseconds * per_second < 1000 << 16:
            return milliseconds * per_second // 1000, per_second
    return min(milliseconds // 1000, 0xFFFF), 1


class WebPFrames:
    """An animated WebP."""

    def __init__(self, file: BinaryIO, sequence: FrameSequence) -> None:
        self.file = file
        self.size = sequence.sizes[0]
        self.plays = sequence.plays
        self.features = 0x02  # animation
        self.end = b""  # what comes behind the frames

    def add(self, data: bytes, milliseconds: int) -> None:
        """Write a frame that replaces the one before."""
        chunks = dict(_webp_chunks(data))
        if self.file.tell() == 0:
            self._begin(chunks)
        picture = b"".join(
            _webp_chunk(kind, chunks[kind])
            for kind in (b"ALPH", b"VP8 ", b"VP8L")
            if kind in chunks
        )
        # a lossless picture tells of its alpha in its own header
        if b"ALPH" in chunks or (b"VP8L" in chunks and chunks[b"VP8L"][4] & 0x10):
            self.features |= 0x10
        width, height = self.size
        duration = min(milliseconds, 0xFFFFFF)
        numbers = (0, 0, width - 1, height - 1, duration)
        placed = b"".join(struct.pack("<I", number)[:3] for number in numbers)
        self.file.write(_webp_chunk(b"ANMF", placed + b"\x02" + picture))

    def _begin(self, chunks: dict[bytes, bytes]) -> None:
        """Write the header, and what the first frame's file has besides pixels."""
        self._write_header(0)
        for kind, feature in ((b"ICCP", 0x20), (b"EXIF", 0x08), (b"XMP ", 0x04)):
            if kind not in chunks:
                continue
            self.features |= feature
            if kind == b"ICCP":
                self.file.write(_webp_chunk(kind, chunks[kind]))
            else:
                self.end += _webp_chunk(kind, chunks[kind])
        self.file.write(_webp_chunk(b"ANIM", struct.pack("<IH", 0, min(self.plays, 0xFFFF))))

    def _write_header(self, length: int) -> None:
        width, height = (struct.pack("<I", side - 1)[:3] for side in self.size)
        extended = struct.pack("<I", self.features) + width + height
        self.file.write(b"RIFF" + struct.pack("<I", length) + b"WEBP")
        self.file.write(_webp_chunk(b"VP8X", extended))

    def close(self) -> None:
        """Write the end, and the header anew."""
        self.file.write(self.end)
        length = self.file.tell() - 8
        self.file.seek(0)
        self._write_header(length)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a WebP: kind and content."""
    at = 12
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
