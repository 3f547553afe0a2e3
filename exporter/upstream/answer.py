"""Decompress an answer, check its limits, and parse it as JSON. Pure.

A small answer can cost a lot. Compressed bytes can expand a thousandfold, and JSON takes far more
memory as Python objects than as text. Every limit is therefore enforced as early as it can be:

1. While bytes arrive, `Unfolding` limits the compressed size and the number of chunks. The caller
   limits the decompressed size piece by piece.
2. Before parsing, `_bounded` counts brackets, commas and quotes in the raw bytes. That is cheap and
   gives an upper limit for the number of objects, lists, items and strings. Only in a large answer
   does it also look at each string, for its length and for the number of different field names.
3. After parsing, `read` limits the nesting depth and the length of each list.

The parser is strict about structure and numbers, but not about strings. An unreadable character
must not cost the whole answer, so the parser gets a second chance with that character marked.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from unicodedata import normalize
from urllib.parse import quote

from pydantic_core import from_json

from exporter.errors import ExporterError

Content = bytes | bytearray

LARGEST_ON_WIRE: Final = 2 * 1024 * 1024
LARGEST_BODY: Final = 8 * 1024 * 1024
"""Bytes of an answer, compressed and decompressed; a decompression bomb is small on the wire."""

DEEPEST: Final = 32
"""Nesting depth of an answer; the documented answers have six levels."""

MOST_CHUNKS: Final = 32_768
BYTES_A_CHUNK: Final = 64
"""Chunks of an answer, plus one more for every `BYTES_A_CHUNK` bytes received.

A chunk costs the same however small it is.
"""

MOST_OBJECTS: Final = 190_000
MOST_LISTS: Final = 80_000
MOST_PARTS: Final = 560_000
"""Objects, lists, and the sum of both and all commas; 500 labels a day for a year make 550,000."""

MOST_QUOTES: Final = 1_200_000

MOST_ROWS: Final = 40_000
"""Items of one list."""

MOST_NAMES: Final = 5_000
"""Distinct field names in a large answer; the documents have about a hundred."""

LONGEST_TEXT: Final = 1024 * 1024
"""Bytes of one string, quotes included."""

LONGEST_NUMBER: Final = 100
"""From this many characters on a number is unreadable; the rest of the answer is still read."""

_UNREADABLE_NUMBER: Final = b"9" * 40  # too large for `reply_values.number`
_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_NUMBER_OR_TEXT: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[-+.eE0-9]++', re.DOTALL)

_MOST_MARKS: Final = 20_000
_MANY_PARTS: Final = 10_000
_SMALL: Final = 64 * 1024
_FEW_PARTS: Final = 2_000
_STEP: Final = 256 * 1024
_MOST_MEMBERS: Final = 1_000
_SHORTEST_SECRET: Final = 8

_NESTED: Final = frozenset({dict, list})
_GZIP: Final = zlib.MAX_WBITS | 16
_FOLDED: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}
_SURPLUS: Final = "data after the end of the compressed data"
_CODINGS: Final = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi"})

_TEXT: Final = re.compile(rb'("(?:[^"\\]++|\\.){0,700000}+("|\\?\Z)?)(?:\s*+(:))?', re.DOTALL)
"""A string with its quotes, and the colon after it if it is a field name.

An unterminated string matches up to the end of the answer. A match cannot be interrupted, so the
repetition has a limit. It suffices for a string of `LONGEST_TEXT` bytes in which every other
character is escaped.
"""

_SOUND: Final = re.compile(rb"(?:[ !#-\[\]-\x7f]|\\[^u])*+")
_UNSOUND: Final = re.compile(
    r"((?:[^\\\x00-\x1f\ud800-\udfff]"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair
    r"|\\(?!u[dD][89a-fA-F])[^\x00-\x1f\ud800-\udfff])++)"
    r"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|(\\(?=[\x00-\x1f\ud800-\udfff])|[\x00-\x1f\ud800-\udfff])"
)
_BLANK: Final = bytes(range(33))
_NOT_OF_A_KEY: Final = re.compile(r"[^!-~]+")


class Unfit(ExporterError):
    """An answer cannot be used; the message says why and quotes nothing from the answer."""


class TooMuch(Unfit):
    """An answer exceeds a limit on size or structure."""


class Unfolding:
    """Decompresses an answer's bytes as they arrive.

    Args:
        coding: The header Content-Encoding.

    Raises:
        Unfit: If the encoding was not requested.
    """

    def __init__(self, coding: str) -> None:
        folds = (fold.strip() for fold in coding.lower().split(","))
        coding = ", ".join(fold for fold in folds if fold not in {"", "identity"})
        if coding not in {"", *_FOLDED}:
            known = coding if coding in _CODINGS else "unknown"
            raise Unfit(f"unrequested Content-Encoding: {known}")
        self._bits = _FOLDED.get(coding, 0)
        self._inflate: Any = None
        self._members = 0
        self._wire = 0
        self._chunks = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decompressed bytes of the next chunk, in pieces of at most 256 KiB.

        An uncompressed chunk is passed on as it is.

        Raises:
            Unfit: If the chunk is not in the encoding, continues after its end, or is too much.
        """
        self._wire += len(chunk)
        self._chunks += 1
        if self._chunks > MOST_CHUNKS + self._wire // BYTES_A_CHUNK:
            raise TooMuch("too many chunks")
        if not self._bits:
            yield chunk
            return
        if self._wire > LARGEST_ON_WIRE:
            raise TooMuch("too large")
        piece = b""
        while chunk or len(piece) == _STEP:
            if self._inflate is None or (self._inflate.eof and chunk):
                self._begin(chunk)
            try:
                piece = self._inflate.decompress(chunk, _STEP)
            except zlib.error:
                late = self._members > 1
                raise Unfit(_SURPLUS if late else "invalid compressed data") from None
            chunk = self._inflate.unused_data or self._inflate.unconsumed_tail
            yield piece

    def _begin(self, chunk: bytes) -> None:
        """Begin the next compressed member; only gzip allows more than one.

        Raises:
            Unfit: If no further member is allowed.
        """
        self._members += 1
        late = self._members > 1 and not (self._bits == _GZIP and chunk.startswith(b"\x1f"))
        if late or self._members > _MOST_MEMBERS:
            raise Unfit(_SURPLUS)
        self._inflate = zlib.decompressobj(self._bits)

    def end(self) -> None:
        """Check that the compressed data is complete.

        Raises:
            Unfit: If it is truncated.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise Unfit("truncated compressed data")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the API, parsed as JSON.

    Attributes:
        content: The parsed JSON.
        large: Whether the answer is so large that it must be processed in a thread, off the event
            loop.
        odd: Whether it came with an undocumented Content-Type.
    """

    content: object
    large: bool = False
    odd: bool = False


def small(content: Content) -> bool:
    """Whether an answer is small enough to parse on the event loop."""
    return len(content) <= _SMALL and content.count(b",") + content.count(b"{") <= _FEW_PARTS


def read(content: Content) -> object:
    """The parsed JSON of an answer.

    A string may contain invalid UTF-8, a lone surrogate or a raw control character. Marks replace
    each of them, and `label_values.label_value` removes the marks from a name.

    Raises:
        Unfit: If it is not JSON in UTF-8, or exceeds a limit.
    """
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    if not content.strip():
        raise Unfit("empty")
    _bounded(content)
    if b"0" * LONGEST_NUMBER in content.translate(_AS_ZEROS):
        content = _NUMBER_OR_TEXT.sub(_readable, content)
    try:
        answer = from_json(content, allow_inf_nan=False)
    except ValueError:
        answer = _read_again(content)
    level: list[Any] = [answer] if type(answer) in _NESTED else []
    for _ in range(DEEPEST):
        if max(map(len, level), default=0) > MOST_ROWS:
            raise TooMuch("too many items in a list")
        level = [
            inner
            for node in level
            for inner in (node.values() if type(node) is dict else node)
            if type(inner) in _NESTED
        ]
    if level:
        raise TooMuch("nested too deeply")
    return answer


def _bounded(content: Content) -> None:
    """Check an answer against the limits before it is parsed.

    Raises:
        TooMuch: If it exceeds one.
    """
    objects, lists, commas = (content.count(one) for one in (b"{", b"[", b","))
    parts = objects + lists + commas
    most = objects > MOST_OBJECTS or lists > MOST_LISTS or parts > MOST_PARTS
    if most or content.count(b'"') > MOST_QUOTES:
        raise TooMuch("too many brackets, commas or quotes")
    if len(content) <= LONGEST_TEXT and parts <= _MANY_PARTS:
        return
    names: set[bytes] = set()
    for found in _TEXT.finditer(content):
        _bounded_text(found)
        if found[3]:
            names.add(found[1])
            if len(names) > MOST_NAMES:
                raise TooMuch("too many distinct field names")


def _readable(found: re.Match[bytes]) -> bytes:
    """A string or number unchanged, or an unreadable number in place of one that is too long."""
    meant = found[0].startswith(b'"') or len(found[0]) < LONGEST_NUMBER
    return found[0] if meant else _UNREADABLE_NUMBER


def _bounded_text(found: re.Match[bytes]) -> None:
    """Check the length of a string.

    Raises:
        TooMuch: If it is too long.
    """
    if found[2] is None or found.end(1) - found.start(1) > LONGEST_TEXT:
        raise TooMuch("a string is too long")


def _read_again(content: Content) -> object:
    """The parsed JSON of an answer whose only errors are in its strings.

    Raises:
        Unfit: If it has other errors, or too many of these.
    """
    if 0 in content[:2] or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unfit("not in UTF-8 but UTF-16 or UTF-32")
    left = _MOST_MARKS

    def mended(found: re.Match[bytes]) -> bytes:
        nonlocal left
        _bounded_text(found)
        inside, rest = found[1], found[0][len(found[1]) :]
        if _SOUND.fullmatch(inside, 1):
            return found[0]
        text, times = _UNSOUND.subn(_marked, inside.decode("utf-8", "surrogateescape"), left + 1)
        left -= times
        if left < 0:
            raise TooMuch("too many invalid characters")
        return text.encode() + rest

    again = _TEXT.sub(mended, content)
    try:
        return from_json(again, allow_inf_nan=False)
    except ValueError as error:
        cut = str(error).startswith("EOF")  # the parser's own words, no part of the answer
    if cut:
        raise Unfit("truncated JSON")
    try:
        again.decode()
    except UnicodeDecodeError:
        raise Unfit("not in UTF-8") from None
    raise Unfit("not JSON")


def _marked(found: re.Match[str]) -> str:
    """The mark for an invalid character; different invalid characters have different marks."""
    sound, escape, raw = found.groups()
    if sound is not None:
        return str(sound)
    number = escape or f"{ord(raw):x}"
    return "\ufffd" + "".join(chr(0xFFF0 + int(digit, 16)) for digit in number)


def holds(content: Content, answer: object, secrets: Iterable[str]) -> bool:
    """Whether an answer contains a secret, whole or as part of a string.

    The raw bytes are searched first. Only an answer with escapes or non-ASCII characters can hide
    a secret there, so only such an answer has its parsed strings searched too.
    """
    shapes = [shape for secret in secrets for shape in _shapes(secret)]
    plain = content.translate(None, _BLANK)
    if any(shape.encode() in plain for shape in shapes):
        return True
    if content.isascii() and b"\\" not in content:
        return False  # nothing can be hidden in it
    nodes = [answer]
    for node in nodes:  # the list grows during the loop
        if type(node) is dict:
            nodes.extend(node.values())
            nodes.extend(node)
        elif type(node) is list:
            nodes.extend(node)
        elif type(node) is str:
            seen = node.isascii() and node.isprintable()
            shown = node if seen else "".join(map(_of_a_key, node))
            for shape in shapes:
                if shape in shown:
                    return True
    return False


@lru_cache(maxsize=8192)
def _of_a_key(one: str) -> str:
    """The characters that one character can contribute to a key; empty for an invisible one.

    Full-width, circled and similar letters become plain ones, as they would in
    `label_values.label_value` or to a human reader.
    """
    return _NOT_OF_A_KEY.sub("", one if one.isascii() else normalize("NFKD", one))


@lru_cache(maxsize=64)
def _shapes(secret: str) -> frozenset[str]:
    """The forms in which a string may contain a secret: plain, percent-encoded and base64."""
    if len(secret) < _SHORTEST_SECRET:  # would match by chance
        return frozenset()
    # In base64, a secret looks different at each of three places: alone, or behind one or two bytes
    # more. What depends on its neighbours is left out, at both ends.
    folded = [
        b64encode(bytes(behind) + secret.encode()).decode().rstrip("=")[begin:-1]
        for behind, begin in enumerate((0, 2, 3))
    ]
    return frozenset({secret, quote(secret, safe=""), *folded})
