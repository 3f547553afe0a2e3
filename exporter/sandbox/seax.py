"""SeaX's analytics: SeaChat's metrics with fewer fields, and the activity of agents."""

from collections.abc import Callable
from typing import Final

from exporter.sandbox import figures, reply_shapes, seachat
from exporter.sandbox.figures import Scope
from exporter.sandbox.requests import Asked, asked, texts


def report(given: dict[str, object], scope: Scope) -> object:
    """The reply to a call: a value for each metric.

    Raises:
        Refusal: 422 or 400 if the call is invalid.
    """
    call = asked(given, _METRICS, {"agents": texts}, scope)
    return {
        metric: call.refused.get(metric) or _METRICS[metric](scope, call) for metric in call.metrics
    }


def _conversation_overview(of: Scope, call: Asked) -> object:
    return reply_shapes.overview(of, call.ranged, call.kept("inbound"))


def _conversation_overview_yearly(of: Scope, call: Asked) -> object:
    return reply_shapes.yearly(of, call.year, call.zone)


def _conversation_breakdown(of: Scope, call: Asked) -> object:
    fields = ("user_count", "message_count")
    found = reply_shapes.breakdown(of, call.window, call.zone, fields)
    for part in ("messages_by_day", "messages_by_hour"):
        found[part] = {name: often for name, often in found[part].items() if often}
    return found


def _label_overview(of: Scope, _: Asked) -> object:
    return [
        {"name": label["name"], "count": label["total_count"]} for label in figures.label_totals(of)
    ]


def _activity_trend(of: Scope, call: Asked) -> object:
    rows = reply_shapes.activity(of, call.periods, call.message_type)
    return {
        "time_unit": call.time_unit,
        "data": [{"period": period, "count": sum(counts.values())} for period, counts in rows],
    }


def _total_usage(of: Scope, call: Asked) -> object:
    minutes, responses = figures.usage(of, call.window)
    return {"total_voice_minutes": minutes, "total_chat_responses": responses}


def _agent_activity(of: Scope, call: Asked) -> object:
    # A call may have both, as in the documents' example. The dates take precedence.
    window = call.ranged if None in call.dates.values() else call.window
    return {
        "agents": [
            {
                "agent_id": account,
                "status": status,
                "start_time": reply_shapes.zulu(start),
                "end_time": None if end is None else reply_shapes.zulu(end),
                "duration_seconds": None if end is None else end - start,
            }
            for account, status, start, end in figures.agent_sessions(of, window, call.agents)
        ]
    }


_METRICS: Final[dict[str, Callable[[Scope, Asked], object]]] = {
    "communication_volume": seachat.communication_volume,
    "activity_trend": _activity_trend,
    "label_usage": seachat.label_usage,
    "label_overview": _label_overview,
    "conversation_overview": _conversation_overview,
    "total_usage": _total_usage,
    "conversation_overview_yearly": _conversation_overview_yearly,
    "conversation_breakdown": _conversation_breakdown,
    "agent_activity": _agent_activity,
}
