"""SeaX's analytics: SeaChat's metrics with fewer fields, and the activity of agents."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Final

from exporter.sandbox import figures, reply_shapes
from exporter.sandbox.companies import SandboxWorkspace
from exporter.sandbox.figures import Scope
from exporter.sandbox.requests import Asked, asked, texts


def report(_: SandboxWorkspace, given: dict[str, object], scope: Scope) -> object:
    """The reply to a call: a value for each metric.

    Raises:
        Refusal: 422 or 400 if the call is invalid.
    """
    call = asked(given, _METRICS, {"agents": texts}, scope.everything)
    return {metric: _METRICS[metric](scope, call) for metric in call.metrics}


def _conversation_overview(of: Scope, call: Asked) -> object:
    return reply_shapes.overview(of, call.ranged, call.kept("inbound"))


def _conversation_overview_yearly(of: Scope, call: Asked) -> object:
    return reply_shapes.yearly(of, call.year, call.zone)


def _conversation_breakdown(of: Scope, call: Asked) -> object:
    rows = figures.weekday_hours(of, call.window, call.zone)
    return {
        "channel_summary": {
            channel.name: {
                "user_count": channel.user_count,
                "message_count": channel.inbound + channel.outbound,
            }
            for channel in figures.channels(of, call.window)
        },
        "messages_by_day": _some(reply_shapes.weekdays(rows)),
        "messages_by_hour": _some(reply_shapes.hours(rows)),
    }


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {name: often for name, often in counts.items() if often}


def _label_overview(of: Scope, _: Asked) -> object:
    return [{"name": label.name, "count": label.total_count} for label in figures.label_totals(of)]


def _communication_volume(of: Scope, call: Asked) -> object:
    return asdict(figures.volume(of, call.window))


def _activity_trend(of: Scope, call: Asked) -> object:
    rows = reply_shapes.activity(of, call.periods, call.message_type)
    return {
        "time_unit": call.time_unit,
        "data": [{"period": period, "count": sum(counts.values())} for period, counts in rows],
    }


def _label_usage(of: Scope, call: Asked) -> object:
    rows = figures.labels_by_period(of, call.periods, call.labels)
    return [
        {"period": period, "labels": labels} for period, labels in reply_shapes.label_periods(rows)
    ]


def _total_usage(of: Scope, call: Asked) -> object:
    minutes, responses = figures.usage(of, call.window)
    return {"total_voice_minutes": minutes, "total_chat_responses": responses}


def _agent_activity(of: Scope, call: Asked) -> object:
    # A call may have both, as in the documents' example. The dates take precedence.
    window = call.ranged if None in call.dates.values() else call.window
    return {
        "agents": [
            {
                "agent_id": session.agent,
                "status": session.status,
                "start_time": reply_shapes.zulu(session.start),
                "end_time": None if session.end is None else reply_shapes.zulu(session.end),
                "duration_seconds": None if session.end is None else session.end - session.start,
            }
            for session in figures.agent_sessions(of, window, call.agents)
        ]
    }


_METRICS: Final[dict[str, Callable[[Scope, Asked], object]]] = {
    "communication_volume": _communication_volume,
    "activity_trend": _activity_trend,
    "label_usage": _label_usage,
    "label_overview": _label_overview,
    "conversation_overview": _conversation_overview,
    "total_usage": _total_usage,
    "conversation_overview_yearly": _conversation_overview_yearly,
    "conversation_breakdown": _conversation_breakdown,
    "agent_activity": _agent_activity,
}
