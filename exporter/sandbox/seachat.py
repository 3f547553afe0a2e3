"""SeaChat's analytics: several metrics per call, for a workspace or one of its bots."""

import sqlite3
from calendar import month_name
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

from exporter.sandbox import figures, reply_shapes
from exporter.sandbox.figures import Scope
from exporter.sandbox.requests import Asked, Refusal, asked, text
from exporter.sandbox.temperaments import Temperament

_NO_BOT: Final = -1
"""The number of no bot."""


def report(given: dict[str, object], scope: Scope) -> object:
    """The reply to a call: a value for each metric.

    Raises:
        Refusal: 422 or 400 if the call is invalid, 404 for a bot that is not in the workspace.
    """
    call = asked(given, _METRICS, {"gptbot_id": text}, scope)
    if call.gptbot_id is not None:
        numbers = {bot.id: bot.number for bot in scope.workspace.bots}
        known = call.gptbot_id in numbers
        scope = replace(scope, bot=numbers[call.gptbot_id] if known else _missing(scope))
    return {
        metric: call.refused.get(metric) or _METRICS[metric](scope, call) for metric in call.metrics
    }


def _missing(scope: Scope) -> int | None:
    """The number that stands for a bot that does not exist; None for the whole workspace.

    Raises:
        Refusal: 404, unless a temperament says otherwise.
    """
    if Temperament.FORBIDDEN_MISSING_BOT in scope.temper:
        raise Refusal(403, "Forbidden")
    if Temperament.IGNORED_BOT in scope.temper:
        return None
    if Temperament.SILENT_MISSING_BOT in scope.temper:
        return _NO_BOT
    raise Refusal(404, "Bot not found")


def _conversation_overview(of: Scope, call: Asked) -> object:
    return reply_shapes.overview(of, call.ranged, call.kept("replied"))


def _conversation_overview_yearly(of: Scope, call: Asked) -> object:
    return reply_shapes.yearly(of, call.year, call.zone, month_name[1:])


def _conversation_breakdown(of: Scope, call: Asked) -> object:
    directions = ("inbound_message_count", "outbound_message_count", "total_message_count")
    return reply_shapes.breakdown(of, call.window, call.zone, ("user_count", *directions))


def _label_overview(of: Scope, _: Asked) -> object:
    if Temperament.WORKSPACE_LABELS in of.temper:
        of = replace(of, bot=None)
    return [
        {
            "id": label["id"],
            "name": label["name"],
            "color": label["color"],
            "description": label["description"],
            "total_count": label["total_count"],
            "is_system": bool(label["is_system"]),
            "created_time": reply_shapes.zulu(label["created_at"]),
            "updated_time": reply_shapes.zulu(label["updated_at"]),
        }
        for label in figures.label_totals(of)
    ]


def communication_volume(of: Scope, call: Asked) -> object:
    """Calls and inbound messages of the dates."""
    return figures.volume(of, call.window)


def _activity_trend(of: Scope, call: Asked) -> object:
    rows = reply_shapes.activity(of, call.periods, call.message_type)
    before = reply_shapes.activity(of, call.periods.before(), call.message_type)
    return {
        "time_unit": call.time_unit,
        "data": [{"period": period} | counts for period, counts in rows],
        "change_percent": reply_shapes.change(reply_shapes.total(rows), reply_shapes.total(before)),
    }


def label_usage(of: Scope, call: Asked) -> object:
    """The applications of the requested labels in each period."""
    usage = reply_shapes.label_usage(of, call.periods, call.labels)
    return [{"period": period, "labels": labels} for period, labels in usage]


def _total_usage(of: Scope, call: Asked) -> object:
    minutes, responses = figures.usage(of, call.window)
    return {"total_voice_minutes": minutes or 0.0, "total_chat_responses": responses}


def _label_relation(of: Scope, call: Asked) -> object:
    base, comparison = call.labels
    base_count, both = figures.label_relation(of, call.window, base, comparison)
    return {
        "base_label": base,
        "base_count": base_count,
        "comparison_label": comparison,
        "both_labels_count": both,
        "ratio": round(both / max(base_count, 1), 4),
        "date_range": call.dates,
    }


def _csat(of: Scope, call: Asked) -> object:
    answers = figures.survey_answers(of, call.window)
    ratings = [answer["rating"] for answer in answers]
    counts = {rating: ratings.count(rating) for rating in range(1, 6)}
    responses = max(len(ratings), 1)
    return {
        "total_responses": len(ratings),
        "average_rating": round(sum(ratings) / responses, 2),
        "satisfaction_rate": round(100 * (counts[4] + counts[5]) / responses, 2),
        "rating_counts": {str(rating): often for rating, often in counts.items()},
        "responses": [_response(of, answer) for answer in answers],
    }


def _response(of: Scope, answer: sqlite3.Row) -> dict[str, object]:
    local = Temperament.LOCAL_RATING_TIMES in of.temper
    clock = ZoneInfo(of.workspace.timezone) if local else UTC
    conversation = f"conv-{answer['conversation']:x}"
    # The API has microseconds. The database stores seconds, so they are made up here.
    created_at = datetime.fromtimestamp(answer["created_at"], clock).replace(
        tzinfo=None, microsecond=1 + answer["conversation"] * 7919 % 999_999
    )
    return {
        "id": answer["conversation"],
        "conversation_id": conversation,
        "form_id": uuid5(NAMESPACE_OID, answer["bot_id"]).hex,
        "rating": answer["rating"],
        "created_at": created_at.isoformat(),
        "data": {"rating": float(answer["rating"]), "comment": answer["comment"]},
        "conversation_title": answer["title"],
        "conversation_link": f"https://chat-staging.seasalt.ai/gpt/workspace/{of.workspace.id}"
        f"/bot/{answer['bot_id']}/conversations/{conversation}",
    }


_METRICS: Final[dict[str, Callable[[Scope, Asked], object]]] = {
    "conversation_overview": _conversation_overview,
    "activity_trend": _activity_trend,
    "label_usage": label_usage,
    "conversation_breakdown": _conversation_breakdown,
    "communication_volume": communication_volume,
    "total_usage": _total_usage,
    "conversation_overview_yearly": _conversation_overview_yearly,
    "label_overview": _label_overview,
    "label_relation": _label_relation,
    "csat": _csat,
}
