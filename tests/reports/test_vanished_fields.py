"""A documented field that earlier answers had is missed once it goes, and no other is."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings, strategies as st
from support.entries import KNOWN, Documented
from support.workspaces import workspace

from exporter.config import Bot
from exporter.errors import ReplyError
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.model.reply_values import Fields
from exporter.polling.workspace import WorkspacePoller
from exporter.reports.catalogue import of_api
from exporter.sandbox import Sandbox

MAPS: Final = {
    "channel_summary",
    "messages_by_day",
    "messages_by_hour",
    "monthly_messages",
    "rating_counts",
}
"""Objects whose keys are data."""

SENDERS: Final = {"CUSTOMER", "AGENT", "BOT", "bot", "SYSTEM"}
MAY_LACK: Final[Mapping[str, set[str]]] = {
    "conversation_overview": {
        *(
            f"{name}_change_percentage"
            for name in (
                *("conversations", "messages", "bot_messages"),
                *("agent_messages", "live_agent_requests"),
            )
        ),
        *("previous_period_start", "previous_period_end"),
    },
    "activity_trend": {*SENDERS, "change_percent"},
    "label_usage": {"labels"},
    "agent_activity": {"end_time"},
}
"""What an answer of a metric may lack at any time: nobody wrote, there is no period before …"""

OF_NOTHING: Final[Mapping[str, Mapping[str, object]]] = {
    "csat": {"total_responses": 0},
    "label_relation": {
        "base_label": "customer service",
        "comparison_label": "solved",
        "base_count": 0,
        "both_labels_count": 0,
    },
    "conversation_overview_yearly": {
        "total_conversations": 0,
        "total_messages": 0,
        "monthly_messages": {},
    },
}
"""Answers without figures that cannot be computed over nothing."""

MODELLED: Final = {"date": "period", "bot": "BOT"}
"""Fields that go by another name on the exporter's page."""

KEEPS: Final = {"name", "period", "date", "agent_id", "status", "start_time"}
"""What tells rows apart; null there is no healthy answer."""

every_sample = pytest.mark.parametrize(
    "sample", [pytest.param(sample, id=str(sample)) for sample in KNOWN]
)


class Asked:
    """A report that is asked again and again.

    Attributes:
        fields: The fields that its answers had so far.
    """

    def __init__(self, sample: Documented) -> None:
        self._entry, self._at = sample.entry, sample.at
        self.fields: Fields = ()

    def told(self, part: object) -> dict[str, int]:
        """What the next answer counts as drift.

        Raises:
            ReplyError: If it cannot be read.
        """
        reading = self._entry.reading(self._at, self.fields)
        self._entry.report.read(part, reading)
        self.fields = reading.drift.fields(self.fields)
        return dict(reading.drift)


def fields(node: object, *, data: bool = False) -> Iterator[str]:
    """The names of fields in a part of an answer."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if not data:
                yield name
            yield from fields(inner, data=name in MAPS)
    elif isinstance(node, list):
        for inner in node:
            yield from fields(inner)


def without(node: Any, field: str, new: str | None = None, *, data: bool = False) -> Any:  # noqa: ANN401 - JSON
    """A part whose fields of a name, in any case, go, or go by a new name."""
    if isinstance(node, list):
        return [without(inner, field, new) for inner in node]
    if not isinstance(node, dict):
        return node
    changed = {}
    for name, inner in node.items():
        gone = not data and name.casefold() == field.casefold()
        shown = new if gone else name
        if shown is not None:
            changed[shown] = without(inner, field, new, data=name in MAPS)
    return changed


def read(sample: Documented) -> list[str]:
    """The fields of a sample that its report reads, by their names in the sample."""
    asked = Asked(sample)
    asked.told(sample.part)
    known = {name.casefold() for _, *names in asked.fields for name in names}
    found = dict.fromkeys(fields(sample.part))
    return [name for name in found if MODELLED.get(name, name).casefold() in known]


@every_sample
def test_whichever_field_an_answer_renames_it_is_told_or_a_failure(sample: Documented) -> None:
    names = read(sample)
    assert names
    for name in names:
        asked = Asked(sample)
        assert asked.told(sample.part) == {}
        for _ in range(2):  # for as long as it is gone
            try:
                told = asked.told(without(sample.part, name, f"new_{name}"))
            except ReplyError:
                continue
            assert told.get(MODELLED.get(name, name)), name
        assert asked.told(sample.part) == {}  # it is back


@every_sample
def test_the_first_answer_misses_no_field(sample: Documented) -> None:
    for name in read(sample):
        for new in (None, f"new_{name}"):
            part = without(sample.part, name, new)
            asked = Asked(sample)
            try:
                first = asked.told(part)
            except ReplyError:
                continue
            # Unreadable rows are told at any time, a field that never was there at none.
            assert not set(first) - {"period", "name", "status", "other"}, name
            assert asked.told(part) == first, name


@every_sample
def test_what_an_answer_may_lack_is_missed_only_if_it_goes_by_another_name(
    sample: Documented,
) -> None:
    names = MAY_LACK.get(sample.metric, set()) & {*fields(sample.part)}
    for name in names:
        asked = Asked(sample)
        asked.told(sample.part)
        assert asked.told(without(sample.part, name)) == {}, name
        assert asked.told(without(sample.part, name, "new")) != {}, name


@every_sample
def test_fields_that_the_documents_do_not_have_are_no_drift(sample: Documented) -> None:
    more = more_of(sample.part)
    early, late = Asked(sample), Asked(sample)
    # From the start on they say nothing about what an answer may lack.
    early.told(more)
    for name in MAY_LACK.get(sample.metric, set()):
        assert early.told(more_of(without(sample.part, name))) == {}, name
    late.told(sample.part)
    assert late.told(more) == {}


def more_of(node: Any, *, data: bool = False) -> Any:  # noqa: ANN401 - JSON
    """A part that has one field more in each object."""
    if isinstance(node, list):
        return [more_of(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    changed = {name: more_of(inner, data=name in MAPS) for name, inner in node.items()}
    return changed if data else changed | {"further": 7}


@st.composite
def healthy(draw: st.DrawFn, sample: Documented) -> Any:  # noqa: ANN401 - JSON
    """An answer with fewer rows, keys, optional fields and numbers than the sample."""
    may_lack = MAY_LACK.get(sample.metric, set())

    def less(node: Any, name: str = "") -> Any:  # noqa: ANN401 - JSON
        if isinstance(node, list):
            # A list of one may be Portal's way to wrap a single object.
            return [less(one) for one in node if len(node) == 1 or draw(st.booleans())]
        if not isinstance(node, dict):
            number = isinstance(node, int | float) and name not in KEEPS
            return None if number and draw(st.booleans()) else node
        kept = {key for key in node if not (key in may_lack or name in MAPS) or draw(st.booleans())}
        if kept.isdisjoint(SENDERS):  # a row of nobody's messages would not be there
            kept |= SENDERS & node.keys()
        return {key: less(inner, key) for key, inner in node.items() if key in kept}

    return less(sample.part)


@every_sample
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_answers_as_the_documents_allow_them_miss_no_field(
    sample: Documented, data: st.DataObject
) -> None:
    asked = Asked(sample)
    asked.told(sample.part)
    answers = [healthy(sample)]
    if sample.metric in OF_NOTHING:
        answers.append(st.just(OF_NOTHING[sample.metric]))
    for part in data.draw(st.lists(st.one_of(answers), min_size=1, max_size=4)):
        assert asked.told(part) == {}
    assert asked.told(sample.part) == {}


def test_every_metric_is_asked_of_the_sandbox_that_has_it() -> None:
    for api in ("seachat", "portal", "seax"):
        asked = {item["metric"] for item in METRICS if item["metric"] in of_api(api)}
        assert asked == set(of_api(api))


METRICS: Final[tuple[dict[str, Any], ...]] = (
    {"metric": "conversation_overview"},
    {"metric": "communication_volume"},
    {"metric": "today_communication_volume"},
    {"metric": "activity_trend"},
    {"metric": "activity_trend", "message_type": "calls"},
    {"metric": "activity_trend", "window": "last_7_days"},
    {"metric": "label_usage"},
    {"metric": "label_overview"},
    {"metric": "label_relation", "labels": ["customer service", "solved"]},
    {"metric": "csat"},
    {"metric": "csat", "window": "today"},
    {"metric": "total_usage"},
    {"metric": "conversation_breakdown"},
    {"metric": "conversation_overview_yearly"},
    {"metric": "agent_activity"},
)
BEGIN: Final = datetime(2026, 2, 25, 12, tzinfo=UTC)
minutes = st.integers(0, 14 * 24 * 60)


class Quiet:
    """A sandbox with so few conversations that on many days nobody writes, calls or rates.

    Attributes:
        now: Its clock.
        workspaces: What polls it: one workspace for each API.
    """

    def __init__(self) -> None:
        self.now = BEGIN
        self.sandbox = Sandbox.make(
            now=lambda: self.now, bots=3, days=40, ahead_days=15, conversations_per_day=0.5
        )
        company = self.sandbox.workspaces[0]
        bots = tuple(Bot(id=bot.id) for bot in company.bots)
        self.workspaces = [
            workspace(
                [item for item in METRICS if item["metric"] in of_api(api)],
                bots=len(bots) if api == "seachat" else 0,
                name=api,
                api=api,
                api_key=getattr(company, f"{api}_key"),
                requests_per_minute=60_000,
            )
            for api in ("seachat", "portal", "seax")
        ]
        self.workspaces[0] = self.workspaces[0].model_copy(update={"bots": bots})

    async def poll(self, store: Store, telemetry: Telemetry) -> None:
        """Poll everything once."""
        for one in self.workspaces:
            transport = httpx.ASGITransport(self.sandbox)
            async with WorkspacePoller(
                one, store, telemetry, lambda: self.now, transport=transport
            ) as poller:
                assert await poller.once() == ()


@pytest.fixture(scope="module")
def quiet() -> Iterator[Quiet]:
    """One for all examples."""
    made = Quiet()
    yield made
    made.sandbox.close()


@settings(max_examples=5, deadline=None)
@given(after=st.lists(minutes, min_size=3, max_size=5, unique=True))
def test_a_quiet_healthy_workspace_misses_no_field_at_any_hour(
    quiet: Quiet, after: list[int]
) -> None:
    store, telemetry = Store(), Telemetry()
    for minute in sorted(after):
        quiet.now = BEGIN + timedelta(minutes=minute)
        asyncio.run(quiet.poll(store, telemetry))

    assert b"seasalt_schema_drift_total{" not in telemetry.text(openmetrics=False)
    assert sum(bool(record.fields) for _, record in store) > 30
