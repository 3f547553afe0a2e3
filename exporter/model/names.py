"""Names that somebody made: what of one is fit to be a label value, and what is personal data. Pure."""

import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationInfo,
)

from exporter.model.values import drift_of

_READABLE_NAME: Final = 120
_LOOKED_AT: Final = 256
"""Characters of a name that are looked at: whoever fills an answer with one gains nothing."""

_BEYOND_A_CUT: Final = _LOOKED_AT - _READABLE_NAME
"""Characters before a cut that are looked at but not shown: no part of an address or a telephone
number is shown whose rest is beyond it."""

_MOST_JOINERS: Final = 32
"""Joiners of a name that are looked at one by one; no writing needs more in so short a text."""

_MOST_TURNS: Final = 4


_HIDDEN: Final = re.compile(
    # Control and format characters (bidirectional overrides among them), lone surrogates and
    # non-characters: nothing of a name that a person reads. The two joiners are looked at apart.
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff"
    r"\ud800-\udfff]"
)
_NON_JOINER: Final = "\u200c"
_JOINER: Final = "\u200d"
_JOINERS: Final = re.compile(f"[{_NON_JOINER}{_JOINER}]+")
_ENDS_NO_NAME: Final = f" {_NON_JOINER}{_JOINER}"
_VIRAMA: Final = 9  # its combining class
_JOINS_NOTHING: Final = frozenset("اآأإٱدذرزژڑڈوؤۇۆۈۋةەى")
"""Arabic letters that are never joined to the next, so that a joiner after one shows nothing."""

_EMAIL: Final = re.compile(
    r"[^\s@](?:@[^\s@]+[.\u3002][^\s@]|(?:\s@|@\s)[^\s@]+[.\u3002][^\W\d_]{2})"
)
_DASHES: Final = r"\u2010-\u2015\u2212-"
_BETWEEN: Final = (  # what people put between the groups of a number, and what looks like it
    rf"./\\\u2044\u2215\xb7\u2022\u2027\u2219\u22c5\u30fb_:|\xa6~\u223c\u301c*={_DASHES}"
)
_GAP: Final = rf"[\s()\[\]{{}}\u115f\u1160\u2800{_BETWEEN}]*+"
_CALLED: Final = re.compile(rf"\+{_GAP}(?:\d{_GAP}){{7}}")
_DIGITS: Final = re.compile(rf"\d(?:{_GAP}\d){{6,}}+")
_YEAR: Final = r"(?:19|20|21)\d\d"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_DAY: Final = r"(?:0?[1-9]|[12]\d|3[01])"
_MINUTES: Final = r"(?:[01]?\d|2[0-3]):[0-5]\d"
_SECONDS: Final = r":[0-5]\d(?:[.,]\d{1,9})?"
_TIME: Final = rf"{_MINUTES}(?:{_SECONDS})?"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_OF_ITS_OWN: Final = re.compile(
    # Dates, times, addresses, versions and UUIDs. Between other digits, what looks like one is a
    # part of a number.
    rf"(?<!\d)(?<!\d[{_BETWEEN}])(?:"
    rf"{_YEAR}(?P<a>[{_BETWEEN}]){_MONTH}(?P=a){_DAY}(?!(?P=a)?\d)"
    rf"|(?:{_DAY}(?P<b>[{_BETWEEN}]){_MONTH}|{_MONTH}(?P<c>[{_BETWEEN}]){_DAY})"
    rf"[{_BETWEEN}]{_YEAR}(?![{_BETWEEN}]?\d)"
    rf"|{_YEAR}\s?[{_DASHES}]\s?{_YEAR}(?![{_BETWEEN}]?\d)"
    rf"|{_TIME}(?:[\s{_DASHES}]{{1,3}}+{_TIME})*+(?![\s{_BETWEEN}]?\d)"
    rf"|{_MINUTES}{_SECONDS}(?![{_BETWEEN}]?\d)"
    rf"|{_OCTET}(?:\.{_OCTET}){{3}}(?:[:/]\d{{1,5}})?(?![{_BETWEEN}]?\d))"
    r"|(?<![^\W_])[vV]\d+(?:\.\d+)++"
    r"|(?<![^\W_])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![^\W_])"
)
_LONG: Final = 10
"""Digits of a telephone number with its area code; a number of fewer may count anything."""

_LOCAL: Final = 7
"""And without: only where they stand in groups, and are all of the name."""

_NEVER_LOCAL: Final = frozenset(":|~*=")
"""Between few digits, these are of a ratio, a range or a product."""

_AREA_CODE: Final = re.compile(r"0\d{1,3}|\d{1,3}")


def personal(value: str) -> bool:
    """Whether a text holds what is shaped like a telephone number or an e-mail address."""
    name = _bare(value)
    if _EMAIL.search(name) or _CALLED.search(name):
        return True
    if not _DIGITS.search(name):
        return False
    name = _OF_ITS_OWN.sub("!", name)
    return any(_telephone(name, found) for found in _DIGITS.finditer(name))


def _telephone(name: str, found: re.Match[str]) -> bool:
    """Whether digits, and what stands between them, are a number to call; of no date any more."""
    groups = re.findall(r"\d+", found[0])
    digits = sum(map(len, groups))
    left, right = name[: found.start()][-1:], name[found.end() :][:1]
    led = not left.isspace() and name[: found.start()][-2:-1].isalnum()
    hung = led and left in {"-", "."}  # as in label-1234567890
    glued = left.isalpha() or left == "_"
    if len(groups) == 1 and (hung or glued or right.isalpha() or right == "_"):
        return False  # an identifier
    if (led or glued) and re.fullmatch(_YEAR, groups[0]):
        return False  # as in INV/2026/11/00012
    if digits >= _LONG:
        of_parts = len(groups) == 2 and not _AREA_CODE.fullmatch(groups[0])
        return not (of_parts and (hung or glued))  # as in conv-12345-67890
    around = name[: found.start()] + name[found.end() :]
    alone = not around.strip(" \t()[].-") and _NEVER_LOCAL.isdisjoint(found[0])
    return alone and len(groups) > 1 and digits >= _LOCAL


def label_value(value: object) -> str:
    """A name made by somebody, fit to be a label value: clean, short, without personal data.

    `redacted` for what is shaped like a telephone number or an e-mail address, `unnamed` for
    what has nothing to show.
    """
    raw = _raw(value)
    # A longer one is not remembered, so that a hostile answer fills no memory.
    return _fit(raw) if len(raw) <= _LOOKED_AT else _fit.__wrapped__(raw)


@lru_cache(maxsize=8192)  # the same names come in every answer
def _fit(raw: str) -> str:
    name = _cleaned(raw)
    short = _cut(name, raw)
    return "redacted" if personal(name) or (short != name and personal(short)) else short


def unredacted_label_value(value: object) -> str:
    """A name fit to be a label value, e-mail addresses included: for whoever asked to see them."""
    raw = _raw(value)
    return _cut(_cleaned(raw), raw)


def _cut(name: str, raw: str) -> str:
    most = len(name) - _BEYOND_A_CUT if len(raw) > _LOOKED_AT else _READABLE_NAME
    return name[: max(0, min(most, _READABLE_NAME))].rstrip(_ENDS_NO_NAME) or "unnamed"


def _bare(name: str) -> str:
    """The letters and digits of a name without what is put on or between them, seen or not."""
    return name if name.isascii() else "".join(map(_bare_character, name))[:_MOST_BARE]


@lru_cache(maxsize=8192)
def _bare_character(one: str) -> str:
    if not unicodedata.decomposition(one):
        return "" if unicodedata.category(one) in _UNSEEN else one
    plain = unicodedata.normalize("NFKD", one)
    bare = "".join(part for part in plain if unicodedata.category(part) not in _UNSEEN)
    return bare if len(bare) <= _MOST_PARTS else bare[:1]  # no longer one has a digit in it


_UNSEEN: Final = frozenset({"Mn", "Me", "Cf"})
_MOST_PARTS: Final = 4
_MOST_BARE: Final = 5 * _READABLE_NAME  # all that is shown, and what follows


def _cleaned(raw: str) -> str:
    name = unicodedata.normalize("NFC", _HIDDEN.sub("", raw[:_LOOKED_AT]))
    joiners = len(_JOINERS.findall(name))
    for turn in range(_MOST_TURNS if joiners else 0):
        # One that is dropped may let its neighbours be composed, and be others to the next.
        none = joiners > _MOST_JOINERS or turn == _MOST_TURNS - 1
        joined = unicodedata.normalize("NFC", _JOINERS.sub("" if none else _joining, name))
        if joined == name:
            break
        name = joined
    return " ".join(name.split())


def _joining(found: re.Match[str]) -> str:
    """A joiner where it is part of the writing, nothing where it only hides in a name.

    It is between the parts of an emoji, after a virama, and between letters that would be joined.
    """
    if len(found[0]) > 1:
        return ""
    before = found.string[max(found.start() - _MARKS, 0) : found.start()]
    after = found.string[found.end() : found.end() + _MARKS]
    if not before or not after:
        return ""
    if unicodedata.combining(before[-1]) == _VIRAMA:
        return found[0]
    if found[0] == _JOINER and unicodedata.category(after[0]) in {"So", "Sm"}:
        last = before[-1]
        part = last == "\ufe0f" or "\U0001f3fb" <= last <= "\U0001f3ff"
        return found[0] if part or unicodedata.category(last) == "So" else ""
    letters = [
        next((one for one in side if not unicodedata.combining(one)), "")
        for side in (before[::-1], after)
    ]
    arabic = all(one and unicodedata.bidirectional(one) == "AL" for one in letters)
    return found[0] if arabic and letters[0] not in _JOINS_NOTHING else ""


_MARKS: Final = 4
"""Characters on either side of a joiner that are looked at: a letter and what is put on it."""


def _raw(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def writable(value: str) -> str:
    """A text of the operator's, which is shown as it stands.

    Raises:
        ValueError: If it could not be shown: control characters, or nothing at all.
    """
    if not value.strip() or any(unicodedata.category(one) in {"Cc", "Cs"} for one in value):
        raise ValueError("must be a text without control characters")
    if len(value) > _LONGEST_OF_OURS:
        raise ValueError(f"must have at most {_LONGEST_OF_OURS} characters")
    return value


_LONGEST_OF_OURS: Final = 1000


def _noted(value: str, info: ValidationInfo) -> str:
    """A text, counted as drift where something in it could not be read."""
    if "\ufffd" in value:
        drift_of(info).add(info.field_name)
    return value


def _name(value: object, info: ValidationInfo) -> str:
    if type(value) is str and "\ufffd" in value:
        drift_of(info).add(info.field_name)
    return label_value(value)


Text = Annotated[str, AfterValidator(_noted)]
"""A text as it came."""

Name = Annotated[str, PlainValidator(_name), Field(default="unnamed")]
"""A name made by somebody, see `label_value`."""

MadeOf = Annotated[object, Field(default=None, validation_alias="name", repr=False)]
"""The same name as it came: another for another name, whatever is shown of it. Never shown."""
