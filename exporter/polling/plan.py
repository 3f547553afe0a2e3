"""The fewest requests that fetch all configured reports. Pure.

One request can carry many reports of one target, a workspace or a bot. The plan groups the entries
of each target into calls, and obeys two laws:

1. Every entry of a target is in exactly one call.
2. A call carries exactly the fields that each of its entries asked for.

All entries of a call share its fields. So by the second law, entries share a call only if they
agree on every field that both determine. Leaving a field out can be a value too: `total_usage`
without dates is the total of all time, so it never shares a call with an entry that has dates. A
field that an entry does not determine may have any value.

Entries of a call also share its interval, and a metric is in a call only once. A report that the
documents call resource intensive goes alone.

`group` is first fit: the entry with the most fields comes first, because it has the fewest groups
to choose from. A test checks by brute force that no grouping needs fewer requests.
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
    """The target of a workspace or of one of its bots."""
    labels = workspace.static_labels(bot)
    if bot is None:
        return Target(workspace.api, workspace.name, labels=labels)
    return Target(workspace.api, workspace.name, bot.id, bot.shown_name, labels)


@dataclass(frozen=True, eq=False)
class Call:
    """A repeated request for one or more entries of one target.

    Attributes:
        api: The API's dialect.
        target: The workspace or bot.
        entries: The entries, all with the same interval.
    """

    api: Api
    target: Target
    entries: tuple[Entry, ...]

    @property
    def interval(self) -> timedelta:
        """The time between two turns of the call."""
        return self.entries[0].interval

    @property
    def names(self) -> str:
        """A text that is equal for all targets with the same entries."""
        return _names(self.entries)

    @cached_property
    def identity(self) -> str:
        """A text that identifies the call and stays the same over restarts and reloads."""
        return f"{self.target.workspace}|{self.target.bot_id}|{self.names}"

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The store's key of each entry; always the same objects."""
        return tuple([Key.of(self.target, entry) for entry in self.entries])

    def key(self, entry: Entry) -> Key:
        """The store's key of one entry."""
        return self.keys[self.entries.index(entry)]

    @property
    def place(self) -> float:
        """The call's place in the interval, at least 0 and less than 1.

        Targets come in the same order for every set of entries. So targets that are polled in the
        same minute are neighbours in the exposition, and a change concerns few parts of it.
        """
        return (self.target.place + fraction(self.names)) % 1

    @cached_property
    def signature(self) -> str:
        """The identity, and a digest that changes with the target or with an entry's question."""
        about = repr((self.target, [entry.question for entry in self.entries]))
        return f"{self.identity}|{blake2b(about.encode(), digest_size=8).hexdigest()}"

    @property
    def slow(self) -> bool:
        """Whether it carries a report that the documents call resource intensive."""
        return any(entry.report.alone for entry in self.entries)

    def body(self, today: date, entries: Iterable[Entry] | None = None) -> dict[str, object]:
        """The request's body on a local day, for some entries; by default, for all of the call."""
        asked = tuple(self.entries if entries is None else entries)
        fields: dict[str, object] = {
            name: value.on(today) if isinstance(value, Edge) else value
            for name, value in merged(asked).items()
            if value is not ABSENT
        }
        if self.target.bot_id:
            fields["gptbot_id"] = self.target.bot_id
        return self.api.body([entry.metric for entry in asked], fields)


@lru_cache(maxsize=256)  # all bots of a workspace have the same entries
def _names(entries: tuple[Entry, ...]) -> str:
    return "|".join(f"{entry.name}/{entry.window}" for entry in entries)


def merged(entries: Iterable[Entry]) -> dict[str, Field_]:
    """The fields of a request that carries these entries."""
    return {name: value for entry in entries for name, value in entry.fields.items()}


def agree(one: Mapping[str, Field_], two: Mapping[str, Field_]) -> bool:
    """Whether two sets of fields have the same value for every field in both."""
    return all(two.get(name, value) == value for name, value in one.items())


def group(entries: Iterable[Entry], *, many: bool = True) -> tuple[tuple[Entry, ...], ...]:
    """The entries in the fewest groups that can each share a request, in the order of the entries.

    Entries with the most fields come first. Each joins the fitting group with which it has the most
    fields in common, or starts a new one.

    Args:
        entries: The entries of one target.
        many: Whether a request of this API can carry more than one entry.
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
    """Every call of a workspace with these bots, the calls about the workspace itself first.

    If the workspace is shared by shards, the bots are those of its shard.
    """
    scoped = {
        scope: group(
            (entry for entry in workspace.entries if entry.scope == scope),
            many=workspace.dialect.many,
        )
        for scope in ("workspace", "bots")
    }
    whole = [(target(workspace), scoped["workspace"])]
    targets = whole if workspace.shard.owns(workspace.name) else []
    targets += [(target(workspace, bot), scoped["bots"]) for bot in bots]
    return tuple(
        Call(workspace.dialect, one, entries) for one, groups in targets for entries in groups
    )
