"""One gzip member made of pieces that were compressed separately. Pure.

Most of the page stays the same from one scrape to the next, and only pieces that changed should be
compressed again. gzip allows several members in a file, but many clients stop reading after the
first, so the pieces are joined into one.

A member is a header, a deflate stream, and a trailer with the CRC-32 and the length of the text.
Deflate streams can be concatenated if none refers back to an earlier one, and if each ends on a
byte boundary without being marked as the last. So each piece gets a compressor of its own, which
starts with an empty window and ends with a full flush. An empty block that is marked as the last
ends the joined stream.

The CRC-32 of the whole follows from those of the pieces without another look at the text, because
CRC-32 is linear. The checksum of two texts is that of the first, moved by the length of the second,
XOR that of the second; zlib calls this `crc32_combine`. To move a checksum by a power of two bytes
takes four lookups in a precomputed table, and any length is a sum of powers of two. For a few
thousand bytes, zlib is faster: it computes the checksum of as many zeros.
"""

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

CHUNK: Final = 65_536
"""Bytes of text decompressed at a time."""

PORTION: Final = 131_072
"""Bytes of a page that are sent at a time at most."""

_LEVEL: Final = 3  # a third of the time of level 6, for a seventh more bytes
_SHORT: Final = 4096
_FULL, _LITTLE = zlib.DEF_MEM_LEVEL, 5  # zlib clears its memory: the main cost for a short text
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_BYTES: Final = (0, 8, 16, 24)  # bit offsets of the bytes of a checksum
_FEW: Final = 12  # bits of a length that is moved over zeros
_ZEROS: Final = memoryview(bytes(1 << _FEW))
_LAST: Final = b"\x03\x00"  # an empty block, marked as the last


@dataclass(frozen=True)
class Piece:
    """A compressed text.

    Attributes:
        parts: The parts of a raw deflate stream that is flushed but not ended.
        crc: The CRC-32 of the text.
        size: The length of the text in bytes.
        compressed: The length of the compressed stream in bytes.
        groups: How many of the first parts make a portion each, see `grouped`.
    """

    parts: tuple[bytes, ...] = ()
    crc: int = 0
    size: int = 0
    compressed: int = 0
    groups: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: bytes) -> "Piece":
        """Compress a text."""
        memory = _LITTLE if len(text) <= _SHORT else _FULL
        deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS, memLevel=memory)
        deflated = deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH)
        return cls((deflated,), zlib.crc32(text), len(text), len(deflated))

    @classmethod
    def joined(cls, pieces: Iterable["Piece"]) -> "Piece":
        """Join pieces into one, without copying or decompressing them."""
        parts, crc, size, compressed, groups = list[bytes](), 0, 0, 0, tuple[int, ...]()
        for piece in pieces:
            if not parts:
                groups = piece.groups
            parts += piece.parts
            crc = _moved(crc, piece.size) ^ piece.crc
            size += piece.size
            compressed += piece.compressed
        return cls(tuple(parts), crc, size, compressed, groups)

    def grouped(self) -> "Piece":
        """The same, prepared for being sent often.

        A large page has thousands of parts. Which of them fit into a portion is found out once, not
        at each scrape. The portions themselves are not kept: a slow reader would hold all of them,
        while the parts are shared with the pages before and after.
        """
        groups, held, size = list[int](), 0, len(_HEADER)
        for part in self.parts:
            if held and size + len(part) > PORTION:
                groups.append(held)
                held = size = 0
            held += 1
            size += len(part)
        return replace(self, groups=tuple(groups))

    def text(self) -> Iterator[bytes]:
        """Decompress the text, chunk by chunk."""
        inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        for part in self.parts:
            rest = part
            while rest:
                yield inflate.decompress(rest, CHUNK)
                rest = inflate.unconsumed_tail

    def member(self) -> Iterator[bytes]:
        """The text as a gzip member: portions for the groups, then the rest in parts."""
        begin, head = 0, _HEADER
        for held in self.groups:
            yield b"".join((head, *self.parts[begin : begin + held]))
            begin, head = begin + held, b""
        yield head
        yield from self.parts[begin:]
        yield _LAST + self.crc.to_bytes(4, "little") + (self.size % 2**32).to_bytes(4, "little")

    @property
    def member_size(self) -> int:
        """The length of the gzip member in bytes."""
        return len(_HEADER) + self.compressed + len(_LAST) + 8


NOTHING: Final = Piece()


def _moved(crc: int, size: int) -> int:
    """What a text contributes to the CRC-32 of a longer one, in which `size` bytes follow it."""
    zeros = _ZEROS[: size & ((1 << _FEW) - 1)]
    crc = zlib.crc32(zeros, crc) ^ zlib.crc32(zeros)
    power, size = _FEW, size >> _FEW
    while size:
        if size & 1:
            crc = _through(_move(power), crc)
        size >>= 1
        power += 1
    return crc


@cache
def _move(power: int) -> Sequence[int]:
    """The table that moves a CRC-32 by 2**power bytes: one entry per byte and value of the byte."""
    if power == 0:
        byte = zlib.crc32(b"\0")
        return array(
            "I", [zlib.crc32(b"\0", value << at) ^ byte for at in _BYTES for value in range(256)]
        )
    half = _move(power - 1)
    return array("I", [_through(half, crc) for crc in half])


def _through(move: Sequence[int], crc: int) -> int:
    """A CRC-32, moved with a table from `_move`."""
    return (
        move[crc & 255]
        ^ move[256 + (crc >> 8 & 255)]
        ^ move[512 + (crc >> 16 & 255)]
        ^ move[768 + (crc >> 24)]
    )
