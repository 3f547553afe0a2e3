"""A YAML file as plain values (strings, lists, mappings), with the line number of each.

An operator wants to see all mistakes of a file at once, each with its line. YAML libraries
discard lines once they build values, and validation libraries only know the path to a value. So
this module composes YAML nodes, which carry lines, and turns them into plain values itself. On
the way it records the line of each value by its place: the keys and list positions from the top.

All later checks report a mistake by its place. `Document.wrong` looks up the line; if the value
is missing, the nearest enclosing value that exists provides it. Only the first mistake at a place
is kept, because any other is likely to follow from it. And only the first `MOST_TOLD` mistakes
are listed.

Scalars remain the text that was written, so that `NO`, `00123` and `12:30` mean what they look
like. The models decide whether a text is a number. Messages never quote the file, because the
quotation may be a key. Anchors, tags and oversized files are rejected.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from yaml.composer import Composer

from exporter.errors import AFTER_ALL, ConfigError, Mistake
from exporter.files import Followed, reason

Place = tuple[str | int, ...]
"""The place of a value: keys and list positions from the top."""

LARGEST_FILE: Final = 1_048_576
"""Maximum bytes of a file, and maximum characters that all its variables expand to."""

MOST_VALUES: Final = 100_000
DEEPEST: Final = 32
"""Maximum values and nesting levels of a file: more than any configuration needs, yet bounded."""

MOST_TOLD: Final = 100
"""Mistakes of a file that are listed one by one."""

_VARIABLE: Final = re.compile(
    # A default ends before the next ${; searching further for its brace takes quadratic time.
    r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}|(\{))",
    re.ASCII,
)
_WITHOUT_BRACES: Final = re.compile(
    r"\$(?:\([A-Za-z_][A-Za-z0-9_]*\)|[A-Z_][A-Z0-9_]*(?=/|$)).*", re.ASCII
)
_HARMLESS: Final = re.compile(r"""(?:[^'"]|'(?:<[a-z ]+>|[\[\]{},:?-])')*""", re.ASCII)
"""A parser message whose quotations contain only YAML's own syntax, no text from the file."""

_MEANT: Final = {
    "found a tab character": "YAML is indented with spaces, not with tabs",
    "found character": "a value that begins with @, % or ` needs quotation marks",
    "found unknown escape character": "a backslash between double quotes is written \\\\",
    "mapping values are not allowed": "a text with a colon and a space in it needs quotation marks",
}
"""What a parser message means for the author of the file, by the beginning of the message."""

_SHOWN_KEY: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)
_NULL: Final = "tag:yaml.org,2002:null"


def path_text(place: Place) -> str:
    """A place as `workspaces[0].metrics[2].window`, cut before a key that may be a secret."""
    shown = ""
    for step in place:
        if isinstance(step, int):
            shown += f"[{step}]"
        elif _SHOWN_KEY.fullmatch(step):
            shown += f".{step}" if shown else step
        else:
            break
    return shown


@dataclass
class Document:
    """The content of a file, with the line of each value and the mistakes found so far.

    Attributes:
        file: As the operator named it.
        data: Nested mappings and lists of strings; None for null.
        lines: The line of each value, by its place.
        mistakes: The mistakes found by all checks so far. If there are very many, it has the
            first ones and a remark that says how many more there are.
        files: The file and the files that it refers to, as they were when they were read.
        found: How many mistakes have been found.
    """

    file: str
    data: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    files: list[Followed] = field(default_factory=list)
    found: int = 0
    _room: int = LARGEST_FILE
    _told: set[Place] = field(default_factory=set)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest enclosing one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def note(self, place: Place, text: str) -> Mistake:
        """A remark about the value at a place."""
        return Mistake(self.file, self.line(place), path_text(place), text)

    def told(self, place: Place) -> bool:
        """Whether a mistake at this place is already known."""
        return place in self._told

    @property
    def full(self) -> bool:
        """Whether enough mistakes are known; looking for more may take long and is of no use."""
        return self.found > MOST_TOLD

    def wrong(self, place: Place, text: str | Callable[[], str]) -> None:
        """Add a mistake at a place, unless one is already known there.

        Args:
            place: The place of the value.
            text: What is wrong, or a function that returns it.
        """
        if place not in self._told:
            self._told.add(place)
            self.add(lambda: self.note(place, text if isinstance(text, str) else text()))

    def add(self, mistake: Callable[[], Mistake]) -> None:
        """Count a mistake, and list it if the list is not full."""
        self.found += 1
        if not self.full:
            self.mistakes.append(mistake())
            return
        more = f"and at least {self.found - MOST_TOLD} more; mend these first"
        self.mistakes[MOST_TOLD:] = [Mistake(self.file, AFTER_ALL, "", more)]

    def spend(self, size: int) -> bool:
        """Whether the document may still grow by `size` characters of an expanded variable."""
        self._room -= size
        return self._room >= 0


class _Composer(Composer):
    """Composes nodes up to the limits, and rejects anchors: aliases can blow up a small file."""

    _values = 0
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined]  # inherited from the parser
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not supported", problem_mark=event.start_mark
            )
        self._values += 1
        if self._values > MOST_VALUES:
            raise _TooMuch(f"more than {MOST_VALUES} values")
        self._depth += 1
        if self._depth > DEEPEST:
            raise _TooMuch("nested too deeply")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _TooMuch(Exception):
    """The file is larger than any configuration."""


class PureLoader(_Composer, yaml.SafeLoader):
    """Reads YAML in pure Python."""


if TYPE_CHECKING or yaml.__with_libyaml__:

    class FastLoader(_Composer, yaml.CSafeLoader):
        """Reads YAML with libyaml."""

        def __init__(self, content: str) -> None:
            yaml.CSafeLoader.__init__(self, content)  # not the composer's, which comes first


Loader: "type[FastLoader | PureLoader]" = FastLoader if yaml.__with_libyaml__ else PureLoader


def read(file: str, environment: Mapping[str, str]) -> Document:
    """The content of a file, with `${NAME}` and `${NAME:-default}` expanded.

    Raises:
        ConfigError: If the file cannot be read or is not YAML. Mistakes in single values are
            recorded in the document, to be reported together with all others.
    """
    document, content = Document(file), ""
    document.files.append(Followed(Path(file), LARGEST_FILE))
    try:
        content = document.files[0].read().decode("utf-8-sig")
        node = _node(file, content)
        document.data = _value(node, (), document, environment) if node else None
    except OSError as error:
        raise ConfigError([Mistake(str(Path(file)), 0, "", reason(error))]) from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax(file, content, error)]) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(
            [Mistake(file, 1, "", "not a UTF-8 text without control characters")]
        ) from None
    except _TooMuch as error:
        raise ConfigError([Mistake(file, 1, "", str(error))]) from None
    return document


def _node(file: str, content: str) -> yaml.Node | None:
    loader = Loader(content)
    try:
        node: yaml.Node | None = loader.get_single_node()
    except (ValueError, OverflowError):  # from PyYAML's scanner, for \UFFFFFFFF or %YAML 1.999…
        text = "not valid YAML: a number that stands for nothing"
        raise ConfigError([Mistake(file, getattr(loader, "line", 0) + 1, "", text)]) from None
    finally:
        loader.dispose()
    return node


def _syntax(file: str, content: str, error: yaml.MarkedYAMLError) -> Mistake:
    """A syntax error without PyYAML's quotation of the file."""
    mark = error.problem_mark or error.context_mark
    reason = error.problem or ""
    if mark and content[mark.index : mark.index + 1] == "\t":
        meant = _MEANT["found a tab character"]
    else:
        meant = next((words for begin, words in _MEANT.items() if reason.startswith(begin)), "")
    head = f"not valid YAML (column {mark.column + 1})" if mark else "not valid YAML"
    told = (head, reason if _HARMLESS.fullmatch(reason) else "", meant)
    return Mistake(file, mark.line + 1 if mark else 1, "", ": ".join(filter(None, told)))


def _value(
    node: yaml.Node, place: Place, document: Document, environment: Mapping[str, str]
) -> object:
    document.lines.setdefault(place, node.start_mark.line + 1)
    if not node.tag.startswith("tag:yaml.org,2002:"):
        document.wrong(place, "tags are not supported")
        return ""
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*place, index), document, environment)
            for index, item in enumerate(node.value)
        ]
    if isinstance(node, yaml.MappingNode):
        return dict(_items(node, place, document, environment))
    if node.tag == _NULL:
        return None
    return _expanded(str(node.value), place, document, environment)


def _items(
    node: yaml.MappingNode, place: Place, document: Document, environment: Mapping[str, str]
) -> Iterator[tuple[str, object]]:
    for key, value in node.value:
        line = key.start_mark.line + 1
        mistake = partial(Mistake, document.file, line)
        if not isinstance(key, yaml.ScalarNode):
            document.add(partial(mistake, path_text(place), "a key must be a plain word"))
        elif (here := (*place, str(key.value))) in document.lines:
            document.add(partial(mistake, path_text(here), "given twice"))
        else:
            document.lines[here] = line
            yield str(key.value), _value(value, here, document, environment)


def _expanded(
    text: str, place: Place, document: Document, environment: Mapping[str, str]
) -> str | None:
    def replace(found: re.Match[str]) -> str:
        dollar, name, default, broken = found.groups()
        if dollar:
            return "$"
        if broken:
            document.wrong(
                place,
                "must be ${NAME} or ${NAME:-default}, with no other ${ in the default;"
                " $$ is a dollar sign",
            )
        elif name in environment and (environment[name] or default is None):
            if document.spend(len(environment[name])):
                return environment[name]
            document.wrong((), f"its variables expand to more than {LARGEST_FILE} characters")
        elif default is None:
            # The operator may have pasted a key between the braces; no key is all upper case.
            shown = f" {name}" if name.isupper() else " that is named here"
            document.wrong(place, f"the environment variable{shown} is not set")
        return default or ""

    if _WITHOUT_BRACES.fullmatch(text):
        document.wrong(place, "must be ${NAME}, with braces; $$ is a dollar sign")
        return ""
    return _VARIABLE.sub(replace, text)
