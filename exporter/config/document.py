"""A YAML file as plain values, with the line of each: texts, lists, mappings and nothing else.

Scalars stay the text that was written, so that `NO`, `00123` and `12:30` mean what they look
like; whether a text is a number is for the models to say. Nothing here repeats what a file says:
it may be a key.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from exporter.errors import ConfigError, Mistake
from exporter.files import Followed, reason

Place = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

LARGEST_FILE: Final = 1_048_576

_VARIABLE: Final = re.compile(
    r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|(\{))", re.ASCII
)
_SHOWN_KEY: Final = re.compile(r"[a-z_]{1,40}", re.ASCII)
_NULL: Final = "tag:yaml.org,2002:null"


def path_text(place: Place) -> str:
    """A place as `workspaces[0].metrics[2].window`; a key that may be a secret is left out."""
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
    """A file's content and where each value stands.

    Attributes:
        file: As the operator named it.
        data: Nested mappings and lists of texts; None for null.
        mistakes: Those found so far, by whoever looks at the document.
        files: It, and those beside it that were read for it, as they were then.
    """

    file: str
    data: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    files: list[Followed] = field(default_factory=list)
    _told: set[Place] = field(default_factory=set)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def note(self, place: Place, text: str) -> Mistake:
        """A remark about the value at a place."""
        return Mistake(self.file, self.line(place), path_text(place), text)

    def told(self, place: Place) -> bool:
        """Whether a mistake at a place is known already."""
        return place in self._told

    def wrong(self, place: Place, text: str) -> None:
        """Add a mistake at a place; the first one at a place is the cause of any other."""
        if place not in self._told:
            self._told.add(place)
            self.mistakes.append(self.note(place, text))


class _Loader(yaml.SafeLoader):
    """Composes nodes, refusing anchors: shared nodes are how a small file becomes a huge one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML's own gap
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not supported", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


def read(file: str, environment: Mapping[str, str]) -> Document:
    """The content of a file, with `${NAME}` and `${NAME:-default}` expanded.

    Raises:
        ConfigError: If it cannot be read or is not YAML. Mistakes of single values are left in
            the document, to be told together with all others.
    """
    document = Document(file)
    document.files.append(Followed(Path(file), LARGEST_FILE))
    try:
        content = _content(document.files[0])
        node = _node(file, content)
        document.data = _value(node, (), document, environment) if node else None
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax(file, error)]) from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(
            [Mistake(file, 1, "", "not a UTF-8 text without control characters")]
        ) from None
    except RecursionError:
        raise ConfigError([Mistake(file, 1, "", "nested too deeply")]) from None
    return document


def _node(file: str, content: str) -> yaml.Node | None:
    loader = _Loader(content)
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError):  # from PyYAML's scanner, for \UFFFFFFFF or %YAML 1.999…
        text = "not valid YAML: a number that stands for nothing"
        raise ConfigError([Mistake(file, loader.line + 1, "", text)]) from None
    finally:
        loader.dispose()


def _content(file: Followed) -> str:
    """What a file holds.

    Raises:
        ConfigError: If it cannot be read.
        UnicodeDecodeError: If it is no text.
    """
    try:
        return file.read().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Mistake(str(file.path), 0, "", reason(error))]) from None


def _syntax(file: str, error: yaml.MarkedYAMLError) -> Mistake:
    """A syntax error without the quotation that PyYAML would make of it."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or ""
    text = f": {problem}" if problem and not set(problem) & set("'\"") else ""
    column = f" (column {mark.column + 1})" if mark else ""
    return Mistake(file, mark.line + 1 if mark else 1, "", f"not valid YAML{column}{text}")


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
    seen: set[str] = set()
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            document.mistakes.append(
                Mistake(document.file, line, path_text(place), "a key must be a plain word")
            )
            continue
        name = str(key.value)
        if name in seen:
            document.mistakes.append(
                Mistake(document.file, line, path_text((*place, name)), "given twice")
            )
            continue
        seen.add(name)
        document.lines[(*place, name)] = line
        yield name, _value(value, (*place, name), document, environment)


def _expanded(
    text: str, place: Place, document: Document, environment: Mapping[str, str]
) -> str | None:
    def replace(found: re.Match[str]) -> str:
        dollar, name, default, broken = found.groups()
        if dollar:
            return "$"
        if broken:
            document.wrong(place, "must be ${NAME} or ${NAME:-default}; $$ is a dollar sign")
        elif name in environment and (environment[name] or default is None):
            return environment[name]
        elif default is None:
            # A key may have been pasted between the braces; no key looks like such a name.
            shown = f" {name}" if name.isupper() else " that is named here"
            document.wrong(place, f"the environment variable{shown} is not set")
        return default or ""

    return _VARIABLE.sub(replace, text)
