"""Names that customers make up: how they become label values, and what is personal data. Pure.

People name labels, bots, channels and agents as they like, and some names contain a telephone
number or an e-mail address. These must reach neither the page nor the log, so such a name becomes
`redacted`. Names also come from outside, so the work and memory spent on one is bounded.

A name is cleaned first. Invisible characters are removed, as they could split a number or an
address so that no pattern finds it. Joiners stay only where a script or an emoji needs them. The
patterns then see the base characters alone: compatibility forms are decomposed, and combining marks
are removed.

A name is personal if it contains one of these:

- an e-mail address;
- a plus sign followed by at least seven digits;
- ten or more digits, with or without separators: a telephone number with its area code;
- seven to nine digits in groups, if they are the whole name: a local telephone number.

Many harmless names contain as many digits. Dates, times, IP addresses, versions and UUIDs are
therefore taken out before the digits are counted, and digits attached to a word are an identifier:
`label-1234567890`, `INV/2026/11/00012`.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from exporter.model.reply_values import drift_of

_READABLE_NAME: Final = 120
_LOOKED_AT: Final = 256
"""Characters of a name that are examined; this bounds the cost of an oversized name."""

_BEYOND_A_CUT: Final = _LOOKED_AT - _READABLE_NAME
"""Characters before a cut that are examined but not shown.

So no part is shown of an address or a telephone number that continues beyond the cut.
"""

_MOST_JOINERS: Final = 32
"""Runs of joiners that are examined one by one; no script needs more in so short a text."""

_MOST_TURNS: Final = 4


_HIDDEN: Final = re.compile(
    # Control and format characters (including bidirectional overrides), lone surrogates and
    # non-characters: nothing that a reader of the name sees. The two joiners are handled apart.
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\uffff"
    r"\ud800-\udfff]"
)
_NON_JOINER: Final = "\u200c"
_JOINER: Final = "\u200d"
_JOINERS: Final = re.compile(f"[{_NON_JOINER}{_JOINER}]+")
_ENDS_NO_NAME: Final = f" {_NON_JOINER}{_JOINER}"
_VIRAMA: Final = 9  # the combining class of a virama
_JOINS_NOTHING: Final = frozenset("اآأإٱدذرزژڑڈوؤۇۆۈۋةەى")
"""Arabic letters that never join the next one, so that a joiner after one has no effect."""

_EMAIL: Final = re.compile(
    r"[^\s@](?:@[^\s@]+[.\u3002][^\s@]|(?:\s@|@\s)[^\s@]+[.\u3002][^\W\d_]{2})"
)
_DASHES: Final = r"\u2010-\u2015\u2212-"
_BETWEEN: Final = (  # separators between the groups of a number, and their lookalikes
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
    # Dates, times, IP addresses, versions and UUIDs. Next to other digits, a match is part of a
    # longer number.
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
"""Fewest digits of a telephone number with its area code; a shorter number may count anything."""

_LOCAL: Final = 7
"""Fewest digits without an area code; they must be in groups, and be the whole name."""

_NEVER_LOCAL: Final = frozenset(":|~*=")
"""Between few digits, these characters denote a ratio, a range or a product."""

_AREA_CODE: Final = re.compile(r"0\d{1,3}|\d{1,3}")


def personal(value: str) -> bool:
    """Whether a text contains something shaped like a telephone number or an e-mail address."""
    name = _bare(value)
    if _EMAIL.search(name) or _CALLED.search(name):
        return True
    if not _DIGITS.search(name):
        return False
    name = _OF_ITS_OWN.sub("!", name)
    return any(_telephone(name, found) for found in _DIGITS.finditer(name))


def _telephone(name: str, found: re.Match[str]) -> bool:
    """Whether a run of digits and separators is a telephone number; dates are already taken out."""
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
    """A customer's name as a label value: cleaned, at most 120 characters, without personal data.

    `redacted` if it contains a telephone number or an e-mail address, `unnamed` if nothing of it
    is visible.
    """
    raw = _raw(value)
    # Longer names are not cached, so that a hostile response cannot fill the memory.
    return _fit(raw) if len(raw) <= _LOOKED_AT else _fit.__wrapped__(raw)


@lru_cache(maxsize=8192)  # every response repeats the same names
def _fit(raw: str) -> str:
    name = _cleaned(raw)
    short = _cut(name, raw)
    return "redacted" if personal(name) or (short != name and personal(short)) else short


def unredacted_label_value(value: object) -> str:
    """A name as a label value without redaction, for operators who asked for it."""
    raw = _raw(value)
    return _cut(_cleaned(raw), raw)


def _cut(name: str, raw: str) -> str:
    most = len(name) - _BEYOND_A_CUT if len(raw) > _LOOKED_AT else _READABLE_NAME
    return name[: max(0, min(most, _READABLE_NAME))].rstrip(_ENDS_NO_NAME) or "unnamed"


def _bare(name: str) -> str:
    """A name's base characters: decomposed, without combining marks and format characters."""
    return name if name.isascii() else "".join(map(_bare_character, name))[:_MOST_BARE]


@lru_cache(maxsize=8192)
def _bare_character(one: str) -> str:
    if not unicodedata.decomposition(one):
        return "" if unicodedata.category(one) in _UNSEEN else one
    plain = unicodedata.normalize("NFKD", one)
    bare = "".join(part for part in plain if unicodedata.category(part) not in _UNSEEN)
    return bare if len(bare) <= _MOST_PARTS else bare[:1]  # longer ones have no digits


_UNSEEN: Final = frozenset({"Mn", "Me", "Cf"})
_MOST_PARTS: Final = 4
_MOST_BARE: Final = 5 * _READABLE_NAME  # all that may be shown, and more


def _cleaned(raw: str) -> str:
    name = unicodedata.normalize("NFC", _HIDDEN.sub("", raw[:_LOOKED_AT]))
    joiners = len(_JOINERS.findall(name))
    for turn in range(_MOST_TURNS if joiners else 0):
        # Dropping a joiner may let its neighbours compose, which changes the next one's context.
        none = joiners > _MOST_JOINERS or turn == _MOST_TURNS - 1
        joined = unicodedata.normalize("NFC", _JOINERS.sub("" if none else _joining, name))
        if joined == name:
            break
        name = joined
    return " ".join(name.split())


def _joining(found: re.Match[str]) -> str:
    """A joiner if the script needs it; an empty text if it is only hidden in the name.

    It is needed between the parts of an emoji, after a virama, and between Arabic letters that
    would otherwise join.
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
"""Characters examined on either side of a joiner: a letter and its combining marks."""


def _raw(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def writable(value: str) -> str:
    """A text from the configuration, shown unchanged.

    Raises:
        ValueError: If it is blank, contains control characters or surrogates, or is longer than
            1000 characters.
    """
    if not value.strip() or any(unicodedata.category(one) in {"Cc", "Cs"} for one in value):
        raise ValueError("must be a text without control characters")
    if len(value) > _LONGEST_OF_OURS:
        raise ValueError(f"must have at most {_LONGEST_OF_OURS} characters")
    return value


_LONGEST_OF_OURS: Final = 1000


def _noted(value: str, info: ValidationInfo) -> str:
    """The text itself; counted as drift if it contains an undecodable character."""
    if "\ufffd" in value:
        drift_of(info).add(info.field_name)
    return value


def _name(value: object, info: ValidationInfo) -> str:
    if type(value) is str and "\ufffd" in value:
        drift_of(info).add(info.field_name)
    return label_value(value)


Text = Annotated[str, AfterValidator(_noted)]
"""A text, unchanged."""

Name = Annotated[str, PlainValidator(_name), Field(default="unnamed")]
"""A customer's name as a label value, see `label_value`."""

MadeOf = Annotated[object, Field(default=None, validation_alias="name", repr=False)]
"""The raw name, which tells two names with the same label value apart. Never shown."""
