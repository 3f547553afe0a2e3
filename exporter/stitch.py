"""One gzip member of pieces that were compressed one by one, so that only what changed is again. Pure.

One member, as many clients stop reading after the first. Each piece begins with nothing before it
that it could refer to, and ends at a byte's end; what is left is the checksum of the whole, which
follows from those of the pieces.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

CHUNK: Final = 65_536
"""Bytes of text that are unfolded at a time."""

_LEVEL: Final = 6
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST: Final = b"\x03\x00"  # an empty block that says it is the last
_ZEROS: Final = memoryview(bytes(CHUNK))


class Piece(NamedTuple):
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
        deflate = zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)
        deflated = deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH)
        return cls((deflated,), zlib.crc32(text), len(text))

    def then(self, others: Iterable["Piece"]) -> "Piece":
        """This and, after it, others."""
        parts, crc, size = [*self.parts], self.crc, self.size
        for other in others:
            parts += other.parts
            crc = _after(crc, other.size) ^ _after(0, other.size) ^ other.crc
            size += other.size
        return Piece(tuple(parts), crc, size)

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

    def gzipped(self) -> bytes:
        """The text as a gzip file."""
        size = (self.size & 0xFFFF_FFFF).to_bytes(4, "little")
        return b"".join((_HEADER, *self.parts, _LAST, self.crc.to_bytes(4, "little"), size))


def _after(crc: int, size: int) -> int:
    """The CRC-32 of what had this one, and so many zeros.

    The checksum is linear: what zeros make of it, and what the text makes of none, is all.
    """
    for begin in range(0, size, CHUNK):
        crc = zlib.crc32(_ZEROS[: size - begin], crc)
    return crc
