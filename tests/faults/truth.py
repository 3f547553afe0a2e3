"""Answers with numbers that no other answer has, and the series that they must lead to.

Every number is served once, so a value on a page tells which answer it came from, hence when and to
whom. What it must be called follows from the names that users rely on, not from the exporter's code.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from faults.stub import Asked
from support.pagecheck import Series

Part = tuple[Any, Iterator[tuple[str, Mapping[str, str], float]]]

WINDOWS: Final = {
    "conversation_overview": "last_30_days",
    "csat": "last_30_days",
    "label_overview": "",
    "conversation_overview_yearly": "",
}
"""The default window of each metric that is not about today; Portal's overview is."""

METRICS: Final = {
    "seachat": (
        *("conversation_overview", "communication_volume", "activity_trend", "label_usage"),
        *("label_overview", "csat", "total_usage", "conversation_breakdown"),
        "conversation_overview_yearly",
    ),
    "portal": (
        *("conversation_overview", "today_communication_volume", "activity_trend", "label_usage"),
        *("total_usage", "conversation_breakdown", "conversation_overview_yearly"),
    ),
    "seax": (
        *("conversation_overview", "communication_volume", "activity_trend", "label_usage"),
        *("label_overview", "total_usage", "conversation_breakdown"),
        "conversation_overview_yearly",
    ),
}
"""What a `metrics:` section asks of each API, so that all of it is made here."""

PRIVATE: Final = (
    "CNRYa1b2c3d4e5f60718",
    "CNRY0f1e2d3c4b5a6978",
    "canary.of.a.customer@canary.invalid",
    "+19995550142863",
)
"""What customers wrote and said; it is in answers and must be nowhere else."""

_MONTHS: Final = ("January", "February", "March")
_COUNTS: Final = {
    "conversations": "conversations",
    "messages": "messages",
    "bot_messages": "bot_messages",
    "agent_messages": "agent_messages",
    "live_agent_requests": "live_agent_requests",
    "distinct_user_count": "users",
}


@dataclass(frozen=True, slots=True)
class Served:
    """One answer.

    Attributes:
        answer: To be sent as JSON.
        values: What it may lead to on a page, by metric and series.
    """

    answer: Any
    values: Mapping[str, Mapping[Series, float]]


class Truth:
    """Makes answers.

    Args:
        workspaces: The name of the workspace that a key belongs to, by the key's digest.
        bots: What the bots are called, by id.
        labels: How many labels are in use.
    """

    def __init__(
        self, workspaces: Mapping[str, str], bots: Callable[[str], str], labels: int = 3
    ) -> None:
        self._workspaces = workspaces
        self._bots = bots
        self._labels = ("support", "sales", "Zurück ☎", *(f"label {n}" for n in range(3, labels)))
        self._serial = count(1000)

    def number(self) -> int:
        """A number that was never served before."""
        return next(self._serial)

    def percent(self) -> float:
        """A share in percent that was not served before, nor will be for a million others."""
        return self.number() % 1_000_000 / 10_000

    def serve(self, asked: Asked) -> Served:
        """A right answer to a request for reports."""
        answer: dict[str, Any] = {}
        values: dict[str, Mapping[Series, float]] = {}
        for metric in asked.metrics:
            made, samples = getattr(self, f"_{metric}")(asked)
            values[metric] = {self._series(asked, metric, *one[:2]): one[2] for one in samples}
            answer |= {"metric": metric, **made} if asked.api == "portal" else {metric: made}
        return Served(answer, values)

    def _series(self, asked: Asked, metric: str, name: str, labels: Mapping[str, str]) -> Series:
        window = WINDOWS.get(metric, "today")
        if asked.api == "portal" and metric == "conversation_overview":
            window = "today"
        own = {
            "api": asked.api,
            "workspace": self._workspaces[asked.key],
            "bot_id": asked.bot,
            "bot": self._bots(asked.bot) if asked.bot else "",
            "window": window,
            **labels,
        }
        return f"seasalt_{name}", frozenset((key, value) for key, value in own.items() if value)

    @staticmethod
    def day(asked: Asked) -> str:
        """The first day of the window that was asked for."""
        return str(asked.body.get("start_date") or asked.body["from_date"])[:10]

    def _total_usage(self, asked: Asked) -> Part:
        minutes, chats = self.number(), self.number()
        made: Any = {"total_voice_minutes": minutes, "total_chat_responses": chats}
        if asked.api == "portal":
            made = {"time_unit": "day", "data": [made]}
        return made, iter(
            (
                ("total_usage_voice_seconds", {}, minutes * 60),
                ("total_usage_chat_responses", {}, chats),
            )
        )

    def _communication_volume(self, asked: Asked) -> Part:
        inbound, outbound, other = self.number(), self.number(), self.number()
        made: Any = {
            "inbound_voice_count": inbound,
            "outbound_voice_count": outbound,
            "inbound_non_voice_count": other,
        }
        if asked.api == "portal":
            made = {"time_unit": "day", "data": [made]}
        return made, iter(
            (
                ("communication_volume_calls", {"direction": "inbound"}, inbound),
                ("communication_volume_calls", {"direction": "outbound"}, outbound),
                ("communication_volume_non_voice_messages", {"direction": "inbound"}, other),
            )
        )

    _today_communication_volume = _communication_volume

    def _conversation_overview(self, asked: Asked) -> Part:
        if asked.api == "portal":
            sum_ = self.number()
            made: Any = {"time_unit": "day", "data": [{"date": self.day(asked), "count": sum_}]}
            return made, iter((("conversation_overview_conversations", {}, sum_),))
        numbers = {name: self.number() for name in _COUNTS}
        change = self.percent()
        made = {**numbers, "conversations_change_percentage": change}
        none: Mapping[str, str] = {}
        samples = [
            (f"conversation_overview_{_COUNTS[name]}", none, n) for name, n in numbers.items()
        ]
        of = {"of": "conversations"}
        return made, iter((*samples, ("conversation_overview_change_ratio", of, change / 100)))

    def _activity_trend(self, asked: Asked) -> Part:
        row = {} if asked.api == "seax" else {"CUSTOMER": self.number(), "BOT": self.number()}
        total = {"count": self.number()} if asked.api == "seax" else {}
        period = "date" if asked.api == "portal" else "period"
        made = {"time_unit": "day", "data": [{period: self.day(asked), **row, **total}]}
        return made, iter(
            (
                *(
                    ("activity_trend_messages", {"sender": name.lower()}, n)
                    for name, n in row.items()
                ),
                *(("activity_trend_messages", {}, n) for n in total.values()),
            )
        )

    def _label_usage(self, asked: Asked) -> Part:
        labels = {name: self.number() for name in self._labels}
        period = "date" if asked.api == "portal" else "period"
        rows = [{"name": name, "count": n} for name, n in labels.items()]
        made: Any = [{period: self.day(asked), "labels": rows}]
        if asked.api == "portal":
            made = {"time_unit": "day", "data": made}
        return made, iter(("label_usage_uses", {"label": name}, n) for name, n in labels.items())

    def _label_overview(self, asked: Asked) -> Part:
        if asked.api == "seax":
            number = self.number()
            labels = {"label": "support", "system": "false"}
            return [{"name": "support", "count": number}], iter(
                (("label_overview_conversations", labels, number),)
            )
        numbers = {name: self.number() for name in ("support", "sales")}
        rows = [
            {
                "id": f"label-{name}",
                "name": name,
                "description": PRIVATE[0],
                "total_count": number,
                "is_system": False,
            }
            for name, number in numbers.items()
        ]
        return rows, iter(
            (
                "label_overview_conversations",
                {"label_id": f"label-{name}", "label": name, "system": "false"},
                number,
            )
            for name, number in numbers.items()
        )

    def _csat(self, _: Asked) -> Part:
        responses, average, share = self.number(), self.number(), self.percent()
        ratings = {str(rating): self.number() for rating in range(1, 6)}
        made = {
            "total_responses": responses,
            "average_rating": average,
            "satisfaction_rate": share,
            "rating_counts": ratings,
            "responses": [
                {
                    "id": 9,
                    "data": {"rating": 3.0, "comment": PRIVATE[0]},
                    "conversation_title": PRIVATE[3],
                    "conversation_link": f"http://127.0.0.1:9/{PRIVATE[1]}",
                    "email": PRIVATE[2],
                }
            ],
        }
        return made, iter(
            (
                ("csat_responses", {}, responses),
                ("csat_average_rating", {}, average),
                ("csat_satisfaction_ratio", {}, share / 100),
                *(("csat_rating_responses", {"rating": name}, n) for name, n in ratings.items()),
            )
        )

    def _conversation_breakdown(self, asked: Asked) -> Part:
        users, inbound, outbound = self.number(), self.number(), self.number()
        channel = {
            "seachat": {"inbound_message_count": inbound, "outbound_message_count": outbound},
            "portal": {"inbound_message_count": inbound},
            "seax": {"message_count": outbound},
        }[asked.api]
        days = {"Monday": self.number(), "Sunday": self.number()}
        hours = {"0": self.number(), "9": self.number(), "23": self.number()}
        made = {
            "channel_summary": {"WebChat": {"user_count": users, **channel}},
            "messages_by_day": days,
            "messages_by_hour": hours,
        }
        prefix, web = "conversation_breakdown_", {"channel": "WebChat"}
        directions = {
            "inbound_message_count": {"direction": "inbound"},
            "outbound_message_count": {"direction": "outbound"},
            "message_count": {},
        }
        return made, iter(
            (
                (f"{prefix}channel_users", web, users),
                *(
                    (f"{prefix}channel_messages", web | directions[name], n)
                    for name, n in channel.items()
                ),
                *((f"{prefix}weekday_messages", {"weekday": day}, n) for day, n in days.items()),
                *(
                    (f"{prefix}hour_messages", {"hour": f"{hour:>02}"}, n)
                    for hour, n in hours.items()
                ),
            )
        )

    def _conversation_overview_yearly(self, asked: Asked) -> Part:
        conversations, messages = self.number(), self.number()
        months = {month: self.number() for month in _MONTHS}
        made = {
            "total_conversations": conversations,
            "total_messages": messages,
            "monthly_messages": months,
        }
        year = {"year": str(asked.body["year"])}
        prefix = "conversation_overview_yearly_"
        return made, iter(
            (
                (f"{prefix}conversations", year, conversations),
                (f"{prefix}messages", year, messages),
                *(
                    (f"{prefix}month_messages", {**year, "month": f"{place:02}"}, n)
                    for place, n in enumerate(months.values(), 1)
                ),
            )
        )
