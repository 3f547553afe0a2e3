"""An answer's bytes: unfolded, bounded, and read as JSON. Pure.

What an answer may cost is decided before anything is made of it. Strictness is for structure and
numbers; a text that nobody can read spoils nothing but itself.
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
"""Bytes of an answer, as they come and as they unfold; a bomb is small on the wire."""

DEEPEST: Final = 32
"""Levels of objects and lists in an answer; the documents know six."""

MOST_CHUNKS: Final = 32_768
BYTES_A_CHUNK: Final = 64
"""Chunks that an answer may come in, and how large those beyond must be: each costs the same."""

MOST_OBJECTS: Final = 190_000
MOST_LISTS: Final = 80_000
MOST_PARTS: Final = 560_000
"""Objects, lists and commas of an answer: 500 labels on each day of a year are 550,000."""

MOST_QUOTES: Final = 1_200_000

MOST_ROWS: Final = 40_000
"""Items of one list."""

MOST_NAMES: Final = 5_000
"""Different names of fields in an answer; the documents know a hundred."""

LONGEST_TEXT: Final = 1024 * 1024
"""Characters of one text."""

LONGEST_NUMBER: Final = 100
"""Characters of a number; a longer one is unreadable, and the rest of the answer is read."""

_UNREADABLE_NUMBER: Final = b"9" * 40  # beyond all that `values.number` believes
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
_CODINGS: Final = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz", "exi"})

_TEXT: Final = re.compile(rb'("(?:[^"\\]++|\\.){0,700000}+("|\\?\Z)?)(?:\s*+(:))?', re.DOTALL)
"""A text with its quotes, to the end where it has none, and whether it names a field.

The search is one step to whoever waits meanwhile, so that there is a bound to it: that of
`LONGEST_TEXT`, in which every other character may be escaped.
"""

_SOUND: Final = re.compile(rb"(?:[ !#-\[\]-\x7f]|\\[^u])*+")
_UNSOUND: Final = re.compile(
    r"((?:[^\\\x00-\x1f\ud800-\udfff]"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair is one character
    r"|\\(?!u[dD][89a-fA-F])[^\x00-\x1f\ud800-\udfff])++)"
    r"|\\u([dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|(\\(?=[\x00-\x1f\ud800-\udfff])|[\x00-\x1f\ud800-\udfff])"
)
_BLANK: Final = bytes(range(33))
_NOT_OF_A_KEY: Final = re.compile(r"[^!-~]+")


class Unfit(ExporterError):
    """An answer cannot be used; says why, and nothing of what is in it."""


class TooMuch(Unfit):
    """An answer would cost more than any may."""


class Unfolding:
    """Takes an answer's bytes as they come, and gives what was folded into them.

    Args:
        coding: The header Content-Encoding.

    Raises:
        Unfit: If it is one that was not asked for.
    """

    def __init__(self, coding: str) -> None:
        folds = (fold.strip() for fold in coding.lower().split(","))
        self._coding = ", ".join(fold for fold in folds if fold not in {"", "identity"})
        if self._coding not in {"", *_FOLDED}:
            known = self._coding if self._coding in _CODINGS else "unknown"
            raise Unfit(f"an encoding that was not asked for: {known}")
        self._bits = _FOLDED.get(self._coding, 0)
        self._inflate: Any = None
        self._members = 0
        self._wire = 0
        self._chunks = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What some more bytes bring, in pieces that cost little each.

        Raises:
            Unfit: If they are not in the encoding, go on after its end, or are too many.
        """
        self._wire += len(chunk)
        self._chunks += 1
        if self._chunks > MOST_CHUNKS + self._wire // BYTES_A_CHUNK:
            raise TooMuch("in more chunks than any answer may come in")
        if not self._bits:
            yield chunk
            return
        if self._wire > LARGEST_ON_WIRE:
            raise TooMuch("larger than any answer may be")
        piece = b""
        while chunk or len(piece) == _STEP:
            if self._inflate is None or (self._inflate.eof and chunk):
                self._begin(chunk)
            try:
                piece = self._inflate.decompress(chunk, _STEP)
            except zlib.error:
                late = self._members > 1
                raise Unfit(
                    "goes on after the end of its encoding" if late else "not in its own encoding"
                ) from None
            chunk = self._inflate.unused_data or self._inflate.unconsumed_tail
            yield piece

    def _begin(self, chunk: bytes) -> None:
        """Begin another member; gzip knows several, one after the other."""
        self._members += 1
        late = self._members > 1 and not (self._bits == _GZIP and chunk.startswith(b"\x1f"))
        if late or self._members > _MOST_MEMBERS:
            raise Unfit("goes on after the end of its encoding")
        self._inflate = zlib.decompressobj(self._bits)

    def end(self) -> None:
        """Note that nothing more comes.

        Raises:
            Unfit: If something is missing.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise Unfit("ends before its end")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered, read as JSON.

    Attributes:
        content: That.
        large: Whether reading on in it takes so long that it belongs beside the event loop.
        odd: Whether it came in a way that the documents do not know.
    """

    content: object
    large: bool = False
    odd: bool = False


def small(content: Content) -> bool:
    """Whether it takes no time worth mentioning to read an answer."""
    return len(content) <= _SMALL and content.count(b",") + content.count(b"{") <= _FEW_PARTS


def read(content: Content) -> object:
    """The content of an answer.

    Where a text holds what no text may, be it half a character or a raw control character, marks
    stand in its place that `values.text` takes out of a name again.

    Args:
        content: Its bytes.

    Raises:
        Unfit: If it is not JSON in UTF-8, or holds more than it may.
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
            raise TooMuch("more rows in it than any answer may hold")
        level = [
            inner
            for node in level
            for inner in (node.values() if type(node) is dict else node)
            if type(inner) in _NESTED
        ]
    if level:
        raise TooMuch("more levels in it than any answer may have")
    return answer


def _bounded(content: Content) -> None:
    """Look at what an answer would cost, while it costs nothing yet.

    Raises:
        Unfit: If that is too much.
    """
    objects, lists, commas = (content.count(one) for one in (b"{", b"[", b","))
    parts = objects + lists + commas
    most = objects > MOST_OBJECTS or lists > MOST_LISTS or parts > MOST_PARTS
    if most or content.count(b'"') > MOST_QUOTES:
        raise TooMuch("more in it than any answer may hold")
    if len(content) <= LONGEST_TEXT and parts <= _MANY_PARTS:
        return
    names: set[bytes] = set()
    for found in _TEXT.finditer(content):
        _bounded_text(found)
        if found[3]:
            names.add(found[1])
            if len(names) > MOST_NAMES:
                raise TooMuch("more names in it than any answer may hold")


def _readable(found: re.Match[bytes]) -> bytes:
    """A text as it stands, and a number unless it is one that nobody means."""
    meant = found[0].startswith(b'"') or len(found[0]) < LONGEST_NUMBER
    return found[0] if meant else _UNREADABLE_NUMBER


def _bounded_text(found: re.Match[bytes]) -> None:
    """Raise Unfit if a text is too long."""
    if found[2] is None or found.end(1) - found.start(1) > LONGEST_TEXT:
        raise TooMuch("a longer text than any answer may hold")


def _read_again(content: Content) -> object:
    """The content of an answer that is JSON but for its texts.

    Raises:
        Unfit: If it is not.
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
            raise TooMuch("more unreadable text in it than any answer may hold")
        return text.encode() + rest

    again = _TEXT.sub(mended, content)
    try:
        return from_json(again, allow_inf_nan=False)
    except ValueError as error:
        cut = str(error).startswith("EOF")  # the parser's words, never the answer's
    if cut:
        raise Unfit("cut short")
    try:
        again.decode()
    except UnicodeDecodeError:
        raise Unfit("not in UTF-8") from None
    raise Unfit("not JSON")


def _marked(found: re.Match[str]) -> str:
    """What stands for something that is no character: no two are told by the same."""
    sound, escape, raw = found.groups()
    if sound is not None:
        return str(sound)
    number = escape or f"{ord(raw):x}"
    return "\ufffd" + "".join(chr(0xFFF0 + int(digit, 16)) for digit in number)


def holds(content: Content, answer: object, secrets: Iterable[str]) -> bool:
    """Whether an answer holds one of some secrets, as a text or as a part of one.

    Args:
        content: Its bytes.
        answer: What is in them.
        secrets: What must not be.
    """
    shapes = [shape for secret in secrets for shape in _shapes(secret)]
    plain = content.translate(None, _BLANK)
    if any(shape.encode() in plain for shape in shapes):
        return True
    if content.isascii() and b"\\" not in content:
        return False  # it says what it says
    nodes = [answer]
    for node in nodes:  # which grows meanwhile
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
    """What a character may be of a key: nothing where it only hides between its letters.

    What is written in full-width, circled or other such letters is composed to plain ones, by
    `values.text` or by whoever reads it.
    """
    return _NOT_OF_A_KEY.sub("", one if one.isascii() else normalize("NFKD", one))


@lru_cache(maxsize=64)
def _shapes(secret: str) -> frozenset[str]:
    """A secret as it may stand in a text."""
    if len(secret) < _SHORTEST_SECRET:  # what is so short is a word, and in any text
        return frozenset()
    folded = b64encode(secret.encode()).decode().rstrip("=")[:-1]  # whatever follows it
    return frozenset({secret, quote(secret, safe=""), folded})
