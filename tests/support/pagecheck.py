"""Says what is wrong with a page of metrics, also where every common checker is silent.

Stricter than the two formats: what this exporter never writes is a problem, even if a scraper
would put up with it.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

Labels = frozenset[tuple[str, str]]
Series = tuple[str, Labels]

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_SAMPLE: Final = re.compile(r"(?P<name>[^{} ]*)(?:\{(?P<labels>.*)\})? (?P<value>[^{} ]+)")
_PAIR: Final = re.compile(r'(?P<name>[^=,"]*)="(?P<value>(?:[^"\\]|\\.)*)"(?P<next>,|$)')
_ESCAPE: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"\\": "\\", '"': '"', "n": "\n"}
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

_SHARED: Final[Mapping[str, tuple[str, ...]]] = {
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
_TEXT: Final = {**_SHARED, "counter": ("",), "untyped": ("",)}
_OPENMETRICS: Final = {
    **_SHARED,
    "counter": ("_total",),
    "info": ("_info",),
    "stateset": ("",),
    "unknown": ("",),
}
"""What the names of a family's samples end in, by the family's type."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong with a page.

    Attributes:
        line: Where, counted from 1.
        text: What.
    """

    line: int
    text: str

    def __str__(self) -> str:
        """The problem in one line."""
        return f"line {self.line}: {self.text}"


@dataclass(slots=True)
class _Family:
    name: str
    line: int
    helps: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    sampled: bool = False


def problems(page: bytes, *, openmetrics: bool = False) -> list[Problem]:
    """Everything that is wrong with a page in the text format, or in OpenMetrics."""
    return sorted(_Check(openmetrics=openmetrics).run(page))


def series(page: bytes) -> dict[Series, float]:
    """The values of a page by name and labels; what cannot be read is left out."""
    check = _Check(openmetrics=False)
    check.run(page)
    return check.values


class _Check:
    """One walk over one page."""

    def __init__(self, *, openmetrics: bool) -> None:
        self.openmetrics = openmetrics
        self.suffixes = _OPENMETRICS if openmetrics else _TEXT
        self.found: list[Problem] = []
        self.values: dict[Series, float] = {}
        self.closed: set[str] = set()
        self.family: _Family | None = None
        self.line = 1

    def run(self, page: bytes) -> list[Problem]:
        """The problems, in the order in which they were found."""
        try:
            lines = page.decode().split("\n")
        except UnicodeDecodeError as error:
            self.line = 1 + page.count(b"\n", 0, error.start)
            self.wrong("not UTF-8")
            return self.found
        *whole, rest = lines
        for self.line, text in enumerate(whole, 1):
            self.one(text, last=self.line == len(whole))
        self.line = len(lines) if rest else max(len(whole), 1)
        if rest:
            self.wrong("does not end in a newline")
        if not whole or (self.openmetrics and whole[-1] != "# EOF"):
            self.wrong("does not end in # EOF" if self.openmetrics else "empty")
        self.close()
        return self.found

    def wrong(self, text: str) -> None:
        """Note a problem of the current line."""
        self.found.append(Problem(self.line, text))

    def one(self, text: str, *, last: bool) -> None:
        """Check one line."""
        if _CONTROL.search(text):
            self.wrong("control character")
        words = text.split(" ", 3)
        if text == "# EOF" and self.openmetrics:
            if not last:
                self.wrong("# EOF before the end")
        elif len(words) >= 3 and words[:2] == ["#", "HELP"]:
            self.declare(words[2]).helps.append(" ".join(words[3:]))
        elif len(words) == 4 and words[:2] == ["#", "TYPE"]:
            self.declare(words[2]).types.append(words[3])
            if words[3] not in self.suffixes:
                self.wrong(f"no such type: {words[3]}")
        elif text.startswith("#"):
            self.wrong("neither HELP nor TYPE nor a sample")
        else:
            self.sample(text)

    def declare(self, name: str) -> _Family:
        """The family that a HELP or TYPE is about."""
        if self.family is None or self.family.name != name:
            self.close()
            if not _NAME.fullmatch(name):
                self.wrong(f"no name of a family: {name!r}")
            if name in self.closed:
                self.wrong(f"{name} is in two places")
            self.family = _Family(name, self.line)
        elif self.family.sampled:
            self.wrong(f"{name} is declared after its samples")
        return self.family

    def close(self) -> None:
        """Check what can only be told at a family's end."""
        if self.family is None:
            return
        name, at = self.family.name, self.family.line
        self.closed.add(name)
        for what, given in (("HELP", self.family.helps), ("TYPE", self.family.types)):
            if len(given) != 1:
                self.found.append(Problem(at, f"{name} has {len(given)} {what} lines"))
        if any(not text.strip() for text in self.family.helps):
            self.found.append(Problem(at, f"{name} has an empty HELP"))
        if "counter" in self.family.types and self.openmetrics == name.endswith("_total"):
            expected = "must not" if self.openmetrics else "must"
            self.found.append(Problem(at, f"{name}: a counter's name {expected} end in _total"))
        self.family = None

    def sample(self, text: str) -> None:
        """Check a line that is to be a sample."""
        found = _SAMPLE.fullmatch(text)
        if not found:
            self.wrong("not a sample, or one with a timestamp")
            return
        name, labels = found["name"], self.labels(found["labels"])
        if not _NAME.fullmatch(name):
            self.wrong(f"no name of a metric: {name!r}")
        self.belongs(name, dict(labels or ()))
        value = self.number(found["value"])
        if labels is None or value is None:
            return
        key = (name, frozenset(pair for pair in labels if pair[1]))
        if key in self.values:
            self.wrong(f"{name} has this series twice")
        self.values[key] = value

    def belongs(self, name: str, labels: Mapping[str, str]) -> None:
        """Check that the family above is this sample's."""
        family = self.family
        kind = family.types[0] if family and family.types else ""
        if not family or name not in {family.name + end for end in self.suffixes.get(kind, ())}:
            self.wrong(f"{name} does not belong to the family above it")
            return
        family.sampled = True
        if name == f"{family.name}_bucket" and "le" not in labels:
            self.wrong(f"{name} has no le")

    def number(self, text: str) -> float | None:
        """The value of a sample, None if it is none that can be believed."""
        value = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value):
            self.wrong(f"not a finite number: {text}")
            return None
        return value

    def labels(self, text: str | None) -> list[tuple[str, str]] | None:
        """The labels between the braces, None if they cannot be read."""
        if text is None:
            return []
        pairs: list[tuple[str, str]] = []
        for pair in self.pairs(text):
            if pair is None:
                self.wrong("labels that cannot be read")
                return None
            pairs.append(pair)
        names = [name for name, _ in pairs]
        for name in names:
            if not _NAME.fullmatch(name) or name.startswith("__"):
                self.wrong(f"no name of a label: {name!r}")
        if len(set(names)) < len(names):
            self.wrong("a label twice")
        return pairs

    def pairs(self, text: str) -> Iterator[tuple[str, str] | None]:
        """Each label with its value; None where the text makes no sense."""
        position, more = 0, True
        while more:
            found = _PAIR.match(text, position)
            if not found:
                yield None
                return
            yield found["name"], _ESCAPE.sub(self.unescaped, found["value"])
            position, more = found.end(), bool(found["next"])

    @property
    def unescaped(self) -> Callable[[re.Match[str]], str]:
        """What an escape of the format stands for."""

        def stands_for(escape: re.Match[str]) -> str:
            if escape[1] not in _ESCAPES:
                self.wrong(f"no such escape: {escape[0]}")
            return _ESCAPES.get(escape[1], escape[0])

        return stands_for
