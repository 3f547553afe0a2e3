"""As many bots as wanted, each with about 190 series on the page, such as the API's reports give."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from random import Random
from typing import Final

from exporter.metrics.exposition import API_FAMILIES
from exporter.metrics.store import Record
from exporter.model.samples import Family, Sample
from exporter.model.targets import Key, Target

INTERVAL: Final = timedelta(minutes=10)
LABELS: Final = tuple(f"topic number {number}" for number in range(15))
CHANNELS: Final = ("WEBCHAT", "LINE", "SMS", "FACEBOOK", "WHATSAPP")
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OF: Final = ("conversations", "messages", "bot_messages", "agent_messages", "users")
_FAMILIES: Final = {family.name.removeprefix("seasalt_"): family for family in API_FAMILIES}


def _table(name: str, *columns: tuple[str, ...]) -> Iterator[tuple[Family, tuple[str, ...]]]:
    family = _FAMILIES[name]
    for labels in product(*columns):
        yield family, labels


def _reports() -> dict[tuple[str, str], list[tuple[Family, tuple[str, ...]]]]:
    def overview(window: str) -> list[tuple[Family, tuple[str, ...]]]:
        names = (*OF, "live_agent_requests")
        found = [
            one
            for name in names
            for one in _table(f"conversation_overview_{name}", (window,), ("",), ("",))
        ]
        return [*found, *_table("conversation_overview_change_ratio", (window,), OF, ("",))]

    hours = tuple(f"{hour:02}" for hour in range(24))
    months = tuple(f"{month:02}" for month in range(1, 13))
    today = ("today",)
    return {
        ("conversation_overview", "last_30_days"): overview("last_30_days"),
        ("conversation_overview_week", "last_7_days"): overview("last_7_days"),
        ("communication_volume", "today"): [
            *_table("communication_volume_calls", today, ("inbound", "outbound")),
            *_table("communication_volume_non_voice_messages", today, ("inbound",)),
        ],
        ("activity_trend", "today"): [
            *_table("activity_trend_messages", today, ("customer", "agent", "bot", "system")),
            *_table("activity_trend_change_ratio", today, ("messages",)),
        ],
        ("label_usage", "today"): [*_table("label_usage_uses", today, LABELS)],
        ("label_usage", "last_7_days"): [*_table("label_usage_uses", ("last_7_days",), LABELS)],
        ("csat", "last_30_days"): [
            one
            for name in ("responses", "average_rating", "satisfaction_ratio")
            for one in _table(f"csat_{name}", ("last_30_days",))
        ]
        + [*_table("csat_rating_responses", ("last_30_days",), ("1", "2", "3", "4", "5"))],
        ("total_usage", "today"): [
            one
            for name in ("voice_seconds", "chat_responses")
            for one in _table(f"total_usage_{name}", today)
        ],
        ("conversation_breakdown", "today"): [
            *_table("conversation_breakdown_channel_users", today, CHANNELS),
            *_table(
                "conversation_breakdown_channel_messages", today, CHANNELS, ("inbound", "outbound")
            ),
            *_table("conversation_breakdown_weekday_messages", today, DAYS),
            *_table("conversation_breakdown_hour_messages", today, hours),
        ],
        ("conversation_overview_yearly", ""): [
            one
            for name in ("conversations", "messages", "messages_per_conversation")
            for one in _table(f"conversation_overview_yearly_{name}", ("2026",))
        ]
        + [*_table("conversation_overview_yearly_month_messages", ("2026",), months)],
    }


_REPORTS: Final = _reports()
REPORTS: Final = len(_REPORTS)
"""Reports of each bot."""


def targets(bots: int) -> list[Target]:
    """So many bots of one workspace."""
    return [
        Target("seachat", "acme", f"bot-{number:05}", f"Bot number {number}", (("team", "eu"),))
        for number in range(bots)
    ]


def polled(target: Target, at: datetime, seed: int = 0) -> Iterator[tuple[Key, Record]]:
    """What a bot's reports bring at an instant.

    Args:
        target: The bot.
        at: When they are polled.
        seed: Other numbers come with another one.
    """
    rng = Random(f"{target.bot_id}/{seed}")  # noqa: S311 - made-up numbers, no secrets
    for (report, window), series in _REPORTS.items():
        samples = tuple(
            Sample(
                family,
                labels,
                rng.random() if "ratio" in family.name else int(rng.paretovariate(0.7)),
            )
            for family, labels in series
        )
        record = Record(
            INTERVAL.total_seconds(),
            success=True,
            duration_seconds=round(rng.lognormvariate(-1, 0.5), 6),
            last_success=at,
            samples=samples,
            question="0123abcd",
        )
        yield Key(target, report, window), record.paced(INTERVAL, 3)
