"""SeaChat's analytics: several metrics per call, for a workspace or one of its bots."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from exporter.sandbox import figures, reply_shapes
from exporter.sandbox.companies import SandboxBot, SandboxWorkspace
from exporter.sandbox.figures import Scope
from exporter.sandbox.requests import Asked, Refusal, asked, text


def report(workspace: SandboxWorkspace, given: dict[str, object], scope: Scope) -> object:
    """The reply to a call: a value for each metric.

    Raises:
        Refusal: 422 or 400 if the call is invalid, 404 for a bot that is not in the workspace.
    """
    call = asked(given, _METRICS, {"gptbot_id": text}, scope.everything)
    bot = _bot(workspace, call.gptbot_id)
    of = scope if bot is None else replace(scope, bot=bot.number)
    return {metric: _METRICS[metric](of, call) for metric in call.metrics}


def _bot(workspace: SandboxWorkspace, gptbot_id: str | None) -> SandboxBot | None:
    if gptbot_id is None:
        return None
    for bot in workspace.bots:
        if bot.id == gptbot_id:
            return bot
    raise Refusal(404, "Bot not found")


def _conversation_overview(of: Scope, call: Asked) -> object:
    return reply_shapes.overview(of, call.ranged, call.kept("replied"))


def _conversation_overview_yearly(of: Scope, call: Asked) -> object:
    found = reply_shapes.yearly(of, call.year, call.zone)
    monthly = dict.fromkeys(reply_shapes.MONTHS, 0) | found["monthly_messages"]
    return {**found, "monthly_messages": monthly}


def _conversation_breakdown(of: Scope, call: Asked) -> object:
    rows = figures.weekday_hours(of, call.window, call.zone)
    return {
        "channel_summary": {
            channel.name: {
                "user_count": channel.user_count,
                "inbound_message_count": channel.inbound,
                "outbound_message_count": channel.outbound,
                "total_message_count": channel.inbound + channel.outbound,
            }
            for channel in figures.channels(of, call.window)
        },
        "messages_by_day": reply_shapes.weekdays(rows),
        "messages_by_hour": reply_shapes.hours(rows),
    }


def _label_overview(of: Scope, _: Asked) -> object:
    return [
        {
            "id": label.id,
            "name": label.name,
            "color": label.color,
            "description": label.description,
            "total_count": label.total_count,
            "is_system": bool(label.is_system),
            "created_time": reply_shapes.zulu(label.created_at),
            "updated_time": reply_shapes.zulu(label.updated_at),
        }
        for label in figures.label_totals(of)
    ]


def _communication_volume(of: Scope, call: Asked) -> object:
    return asdict(figures.volume(of, call.window))


def _activity_trend(of: Scope, call: Asked) -> object:
    rows = reply_shapes.activity(of, call.periods, call.message_type)
    before = reply_shapes.activity(of, call.periods.before(), call.message_type)
    return {
        "time_unit": call.time_unit,
        "data": [{"period": period} | counts for period, counts in rows],
        "change_percent": reply_shapes.change(reply_shapes.total(rows), reply_shapes.total(before)),
    }


def _label_usage(of: Scope, call: Asked) -> object:
    rows = figures.labels_by_period(of, call.periods, call.labels)
    return [
        {"period": period, "labels": labels} for period, labels in reply_shapes.label_periods(rows)
    ]


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
    ratings = figures.ratings(of, call.window)
    total = sum(ratings.by_rating.values())
    satisfied = ratings.by_rating[4] + ratings.by_rating[5]
    return {
        "total_responses": total,
        "average_rating": round(ratings.average or 0.0, 2),
        "satisfaction_rate": round(100 * satisfied / max(total, 1), 2),
        "rating_counts": {str(rating): often for rating, often in ratings.by_rating.items()},
        "responses": [_response(answer) for answer in figures.survey_answers(of, call.window)],
    }


def _response(answer: figures.Answer) -> dict[str, object]:
    conversation = f"conv-{answer.conversation:x}"
    # The API has microseconds. The database stores seconds, so they are made up here.
    created_at = datetime.fromtimestamp(answer.created_at, UTC).replace(
        tzinfo=None, microsecond=1 + answer.conversation * 7919 % 999_999
    )
    return {
        "id": answer.conversation,
        "conversation_id": conversation,
        "form_id": uuid5(NAMESPACE_OID, answer.bot).hex,
        "rating": answer.rating,
        "created_at": created_at.isoformat(),
        "data": {"rating": float(answer.rating), "comment": answer.comment},
        "conversation_title": answer.title,
        "conversation_link": f"https://chat-staging.seasalt.ai/gpt/workspace/{answer.workspace}"
        f"/bot/{answer.bot}/conversations/{conversation}",
    }


_METRICS: Final[dict[str, Callable[[Scope, Asked], object]]] = {
    "conversation_overview": _conversation_overview,
    "activity_trend": _activity_trend,
    "label_usage": _label_usage,
    "conversation_breakdown": _conversation_breakdown,
    "communication_volume": _communication_volume,
    "total_usage": _total_usage,
    "conversation_overview_yearly": _conversation_overview_yearly,
    "label_overview": _label_overview,
    "label_relation": _label_relation,
    "csat": _csat,
}
