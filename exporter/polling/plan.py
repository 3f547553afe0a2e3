"""The least number of requests that bring all configured reports. Pure.

Two laws: every entry of a target is in exactly one call, and a call carries exactly the fields
that each of its entries asked for. So entries share a call only if they agree on every field that
both determine, and leaving a field out can be a value too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, lru_cache
from hashlib import blake2b

from exporter.config import Bot, Workspace
from exporter.model.apis import Api
from exporter.model.entry import Entry
from exporter.model.report import ABSENT, Edge, Field_
from exporter.model.targets import Key, Target, fraction


def target(workspace: Workspace, bot: Bot | None = None) -> Target:
    """A workspace, or one of its bots, as a target."""
    labels = workspace.static_labels(bot)
    if bot is None:
        return Target(workspace.api, workspace.name, labels=labels)
    return Target(workspace.api, workspace.name, bot.id, bot.shown_name, labels)


@dataclass(frozen=True, eq=False)
class Call:
    """One request, for one or more entries of one target, again and again.

    Attributes:
        api: The dialect it is spoken in.
        target: What it is about.
        entries: What it asks for, all at the same interval.
    """

    api: Api
    target: Target
    entries: tuple[Entry, ...]

    @property
    def interval(self) -> timedelta:
        """How often it is sent."""
        return self.entries[0].interval

    @property
    def names(self) -> str:
        """A text that is the same for every target of which it asks the same."""
        return _names(self.entries)

    @cached_property
    def identity(self) -> str:
        """A text that is the same after every restart and reload, and no other call's."""
        return f"{self.target.workspace}|{self.target.bot_id}|{self.names}"

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """What the values of each entry are kept under; the same objects wherever they are."""
        return tuple([Key.of(self.target, entry) for entry in self.entries])

    def key(self, entry: Entry) -> Key:
        """What the values of one of the entries are kept under."""
        return self.keys[self.entries.index(entry)]

    @property
    def place(self) -> float:
        """Its place in the interval, from 0 to, but not, 1.

        The targets come in the same order whatever is asked of them: those that are polled in the
        same minute are neighbours on the page, where little is to be made anew then.
        """
        return (self.target.place + fraction(self.names)) % 1

    @cached_property
    def signature(self) -> str:
        """The identity, and a text that is another when the target or a question is."""
        about = repr((self.target, [entry.question for entry in self.entries]))
        return f"{self.identity}|{blake2b(about.encode(), digest_size=8).hexdigest()}"

    @property
    def slow(self) -> bool:
        """Whether it asks for what the documents call resource intensive."""
        return any(entry.report.alone for entry in self.entries)

    def body(self, today: date, entries: Iterable[Entry] | None = None) -> dict[str, object]:
        """The request on a local day, for all of its entries or for some."""
        asked = tuple(self.entries if entries is None else entries)
        fields: dict[str, object] = {
            name: value.on(today) if isinstance(value, Edge) else value
            for name, value in merged(asked).items()
            if value is not ABSENT
        }
        if self.target.bot_id:
            fields["gptbot_id"] = self.target.bot_id
        return self.api.body([entry.metric for entry in asked], fields)


@lru_cache(maxsize=256)  # the bots of a workspace share them
def _names(entries: tuple[Entry, ...]) -> str:
    return "|".join(f"{entry.name}/{entry.window}" for entry in entries)


def merged(entries: Iterable[Entry]) -> dict[str, Field_]:
    """The fields of a request that carries all of these entries."""
    return {name: value for entry in entries for name, value in entry.fields.items()}


def agree(one: Mapping[str, Field_], two: Mapping[str, Field_]) -> bool:
    """Whether no field has two values."""
    return all(two.get(name, value) == value for name, value in one.items())


def group(entries: Iterable[Entry], *, many: bool = True) -> tuple[tuple[Entry, ...], ...]:
    """The entries in as few groups as can each share a request.

    First fit, those that determine the most fields first, each into the group with which it has
    the most fields in common; the order of the result is that of the entries.
    """
    given = list(entries)
    groups: list[list[Entry]] = []
    for entry in sorted(given, key=lambda entry: -len(entry.fields)):
        fitting = [group for group in groups if many and _fits(entry, group)]
        if fitting:
            max(fitting, key=lambda group: _common(entry, group)).append(entry)
        else:
            groups.append([entry])
    ordered = [tuple(sorted(group, key=given.index)) for group in groups]
    return tuple(sorted(ordered, key=lambda group: given.index(group[0])))


def _fits(entry: Entry, group: list[Entry]) -> bool:
    return (
        not entry.report.alone
        and not group[0].report.alone
        and entry.interval == group[0].interval
        and all(entry.metric != other.metric for other in group)
        and agree(entry.fields, merged(group))
    )


def _common(entry: Entry, group: list[Entry]) -> int:
    return len(entry.fields.keys() & merged(group).keys())


def planned_calls(workspace: Workspace, bots: Iterable[Bot]) -> tuple[Call, ...]:
    """Every call that a workspace with these bots leads to, the workspace's own first."""
    scoped = {
        scope: group(
            (entry for entry in workspace.entries if entry.scope == scope),
            many=workspace.dialect.many,
        )
        for scope in ("workspace", "bots")
    }
    targets = [(target(workspace), scoped["workspace"])]
    targets += [(target(workspace, bot), scoped["bots"]) for bot in bots]
    return tuple(
        Call(workspace.dialect, one, entries) for one, groups in targets for entries in groups
    )
