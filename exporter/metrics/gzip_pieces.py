"""One gzip member of pieces that were compressed one by one, so that only what changed is again. Pure.

One member, as many clients stop reading after the first. Each piece begins with nothing before it
that it could refer to, and ends at a byte's end; what is left is the checksum of the whole, which
follows from those of the pieces.
"""

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

CHUNK: Final = 65_536
"""Bytes of text that are unfolded at a time."""

_LEVEL: Final = 3  # a third of the time of 6, for a seventh more bytes
_SHORT: Final = 4096
_FULL, _LITTLE = zlib.DEF_MEM_LEVEL, 5  # zlib clears its memory first: for a short text most of it
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_BYTES: Final = (0, 8, 16, 24)  # where they begin in a checksum
_LAST: Final = b"\x03\x00"  # an empty block that says it is the last


@dataclass(frozen=True)
class Piece:
    """Some text, compressed.

    Attributes:
        parts: A raw deflate stream, flushed but not ended, in parts.
        crc: CRC-32 of the text.
        size: Length of the text in bytes.
    """

    parts: tuple[bytes, ...] = ()
    crc: int = 0
    size: int = 0

    @classmethod
    def of(cls, text: bytes) -> "Piece":
        """The piece that holds a text."""
        memory = _LITTLE if len(text) <= _SHORT else _FULL
        deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS, memLevel=memory)
        deflated = deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH)
        return cls((deflated,), zlib.crc32(text), len(text))

    @classmethod
    def joined(cls, pieces: Iterable["Piece"]) -> "Piece":
        """One piece of several."""
        parts, crc, size = list[bytes](), 0, 0
        for piece in pieces:
            parts += piece.parts
            crc = _moved(crc, piece.size) ^ piece.crc
            size += piece.size
        return cls(tuple(parts), crc, size)

    @property
    def compressed(self) -> int:
        """Length of the stream in bytes."""
        return sum(map(len, self.parts))

    def text(self) -> Iterator[bytes]:
        """The text, chunk by chunk."""
        inflate = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        for part in self.parts:
            rest = part
            while rest:
                yield inflate.decompress(rest, CHUNK)
                rest = inflate.unconsumed_tail

    def member(self) -> Sequence[bytes]:
        """The text as a gzip file, in parts: nothing of it is copied."""
        end = self.crc.to_bytes(4, "little") + (self.size & 0xFFFF_FFFF).to_bytes(4, "little")
        return (_HEADER, *self.parts, _LAST + end)

    def gzipped(self) -> bytes:
        """The text as a gzip file."""
        return b"".join(self.member())


NOTHING: Final = Piece()


def _moved(crc: int, size: int) -> int:
    """What a text with this CRC-32 adds to that of a longer one, so many bytes before its end.

    The checksum is linear: of two texts it is what the first adds, and that of the second.
    """
    power = 0
    while size:
        if size & 1:
            crc = _through(_move(power), crc)
        size >>= 1
        power += 1
    return crc


@cache
def _move(power: int) -> Sequence[int]:
    """How a CRC-32 is moved by 2**power bytes: what becomes of each value of each of its bytes."""
    if power == 0:
        byte = zlib.crc32(b"\0")
        return array(
            "I", [zlib.crc32(b"\0", value << at) ^ byte for at in _BYTES for value in range(256)]
        )
    half = _move(power - 1)
    return array("I", [_through(half, crc) for crc in half])


def _through(move: Sequence[int], crc: int) -> int:
    """A CRC-32 that was moved."""
    return (
        move[crc & 255]
        ^ move[256 + (crc >> 8 & 255)]
        ^ move[512 + (crc >> 16 & 255)]
        ^ move[768 + (crc >> 24)]
    )
