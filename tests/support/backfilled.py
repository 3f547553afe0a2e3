"""A backfill of a sandbox whose clock stands still, and what the past of it should be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from e2e.books import Books, Portal, SeaChat, SeaX
from e2e.programs import ServedSandbox

from exporter.commands import backfill
from exporter.commands.flags import parse
from exporter.sandbox import Sandbox
from support.pagecheck import Series

NOW: Final = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
"""A Friday morning where the sandbox is, weeks after the clocks went back."""
ZONE: Final = "America/New_York"

SEACHAT: Final[tuple[dict[str, Any], ...]] = (
    {"metric": "activity_trend", "window": "today"},
    {"metric": "activity_trend", "window": "yesterday"},
    {"metric": "activity_trend", "window": "last_7_days"},
    {"metric": "activity_trend", "message_type": "calls", "window": "today"},
    {"metric": "label_usage", "window": "today"},
    {"metric": "label_usage", "window": "last_30_days"},
    {"metric": "csat", "window": "yesterday"},
    {"metric": "csat", "window": "last_7_days"},
    {"metric": "csat", "window": "last_month"},
    {"metric": "communication_volume", "window": "today"},
    {"metric": "communication_volume", "window": "this_month"},
    {"metric": "total_usage", "window": "today"},
    {"metric": "total_usage", "window": "last_week"},
    {"metric": "conversation_breakdown", "window": "today"},
    {"metric": "conversation_breakdown", "window": "last_5_days"},
    {
        "metric": "label_relation",
        "labels": ["Support", "Resolved by Bot"],
        "window": "yesterday",
    },
    {"metric": "conversation_overview_yearly"},
)
PORTAL: Final[tuple[dict[str, Any], ...]] = (
    {"metric": "conversation_overview", "window": "today"},
    {"metric": "conversation_overview", "handling_status": "PENDING", "window": "yesterday"},
    {"metric": "activity_trend", "window": "today"},
    {"metric": "label_usage", "window": "last_7_days"},
    {"metric": "conversation_breakdown", "window": "today"},
)
SEAX: Final[tuple[dict[str, Any], ...]] = (
    {"metric": "activity_trend", "window": "today"},
    {"metric": "total_usage", "window": "yesterday"},
    {"metric": "conversation_breakdown", "window": "yesterday"},
    {"metric": "agent_activity", "window": "today"},
    {"metric": "agent_activity", "window": "last_7_days"},
)

_NEVER: Final = ("_change_ratio", "agent_activity_agents")
_SINGLE_DAYS: Final = ("today", "yesterday")
_NO_SUMS: Final = ("channel_users", "agent_activity_sessions")
"""Over several days these are less than the sum of the days: who writes on two days is one user, and
a session over midnight is one session. They must not be there at all."""


def configuration(served: ServedSandbox, *, bots: int, **others: Any) -> dict[str, Any]:  # noqa: ANN401 - keys of the file
    """A workspace of each API over the sandbox's company, as a file has it."""
    company = served.sandbox.workspaces[0]
    common = {"base_url": served.url, "timezone": ZONE, "requests_per_minute": 600_000, **others}
    names = [{"id": bot.id, "name": bot.name} for bot in company.bots[:bots]]
    return {
        "workspaces": [
            {
                "name": "acme",
                "api": "seachat",
                "api_key": company.seachat_key,
                "bots": names,
                "labels": {"team": "support"},
                "metrics": [*SEACHAT],
                **common,
            },
            {
                "name": "acme-portal",
                "api": "portal",
                "api_key": company.portal_key,
                "metrics": [{**entry, "name": f"r{place}"} for place, entry in enumerate(PORTAL)],
                **common,
            },
            {
                "name": "acme-seax",
                "api": "seax",
                "api_key": company.seax_key,
                "metrics": [*SEAX],
                **common,
            },
        ]
    }


def command(file: Path, *flags: str, patch: pytest.MonkeyPatch, now: datetime = NOW) -> int:
    """Run `backfill` in this process, as if it were another time; its exit status."""
    patch.setattr(backfill, "now", lambda: now)
    return backfill.run(parse(["backfill", f"--config.file={file}", *flags], {}))


def written(folder: Path, configuration: Mapping[str, Any]) -> Path:
    """A configuration as a file."""
    file = folder / "seasalt.yml"
    file.write_text(yaml.safe_dump(dict(configuration)), encoding="utf-8")
    return file


@dataclass(frozen=True)
class Past:
    """What the series should be, rebuilt and live, counted in the sandbox's tables.

    Without those of a year, which take longer to count than all others.
    """

    sandbox: Sandbox
    zone: Any
    bots: int

    def at_the_end_of(self, day: date) -> dict[Series, float]:
        """Every series that can be rebuilt, as it is known now to have been when a day ended."""
        return self._rebuilt(int(NOW.timestamp()), day)

    def live(self, at: datetime) -> dict[Series, float]:
        """Every series of the page of an exporter that polls at an instant."""
        return self._counted(int(at.timestamp()), at.astimezone(self.zone).date())

    def at_the_hour(self, at: datetime) -> dict[Series, float]:
        """The series of `today` when an hour had just begun.

        Without the voice seconds: of a call that goes on then, the API later tells all.
        """
        found = self._rebuilt(int(at.timestamp()), at.astimezone(self.zone).date())
        return {
            series: value
            for series, value in found.items()
            if ("window", "today") in series[1] and "voice_seconds" not in series[0]
        }

    def _rebuilt(self, now: int, today: date) -> dict[Series, float]:
        counted = self._counted(now, today)
        return {series: value for series, value in counted.items() if self._known(series)}

    def _counted(self, now: int, today: date) -> dict[Series, float]:
        books = Books(self.sandbox, now, self.zone)
        books.today = today
        company = self.sandbox.workspaces[0]
        return {
            series: truth.value
            for account, entries in self._accounts(books, company)
            for series, truth in account.everything(
                entry for entry in entries if "yearly" not in entry["metric"]
            )
        }

    def _accounts(self, books: Books, company: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
        for bot in company.bots[: self.bots]:
            labels = {"workspace": "acme", "bot_id": bot.id, "bot": bot.name, "team": "support"}
            yield SeaChat(books, [bot], **labels), SEACHAT
        yield Portal(books, company.bots, workspace="acme-portal"), PORTAL
        yield SeaX(books, company.bots, workspace="acme-seax"), SEAX

    def _known(self, series: Series) -> bool:
        name, labels = series
        given = dict(labels)
        return not (
            any(part in name for part in _NEVER)
            or (name.endswith(_NO_SUMS) and given["window"] not in _SINGLE_DAYS)
            or given.get("status") == "offline"
        )
