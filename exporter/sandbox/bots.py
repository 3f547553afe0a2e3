"""The paginated list of a workspace's bots, in the format of the public API."""

import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from exporter.sandbox.companies import SandboxBot, SandboxWorkspace
from exporter.sandbox.requests import Refusal, Wrong, mistake, read, text

_ORDERS: Final = frozenset({"created_at", "id", "is_enabled", "name", "use_case"})
_BOTS: Final = """
SELECT id, name, description, use_case, default_response_language, live_agent_transfer, is_enabled
FROM bot WHERE workspace = ? AND ?
"""


def listing(
    workspace: SandboxWorkspace, query: Iterable[tuple[str, str]], connection: sqlite3.Connection
) -> object:
    """A page of bots, and the total; another workspace's id gives no bots and a total of 0.

    Raises:
        Refusal: 422 for a parameter that is invalid, repeated or not documented.
    """
    found = _read_query(query)
    order = ", ".join(found.get("order_by", ("created_at ASC",)))
    own = found.get("workspace_id", workspace.id) == workspace.id
    limit = found.get("limit", 0) or -1  # SQLite treats a negative limit as no limit
    rows = connection.execute(
        _BOTS + f" ORDER BY {order}, number LIMIT ? OFFSET ?",
        (workspace.number, own, limit, found.get("offset", 0)),
    )
    total = len(workspace.bots) if own else 0
    return {"total": total, "data": [_bot(workspace, row) for row in rows]}


def one(
    workspace: SandboxWorkspace, bot: SandboxBot, connection: sqlite3.Connection
) -> dict[str, object]:
    """One bot of a workspace; the same object as in the list."""
    [row] = connection.execute(_BOTS + " AND number = ?", (workspace.number, True, bot.number))
    return _bot(workspace, row)


def _read_query(query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    given: dict[str, object] = {}
    for name, value in query:
        if name in given:
            raise Refusal(422, [mistake(["query", name], "given twice", "value_error.extra")])
        given[name] = value
    checks = {"workspace_id": text, "offset": _whole, "limit": _whole, "order_by": _orders}
    return read(given, checks, (), place="query")


def _whole(value: object) -> int:
    """A count in ASCII digits that fits the integers of the database."""
    digits = text(value)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise Wrong("value is not a valid integer", "type_error.integer")
    return int(digits)


def _orders(value: object) -> tuple[str, ...]:
    """A comma-separated list of <field>:<direction>."""
    orders = []
    for pair in text(value).split(","):
        name, _, direction = pair.partition(":")
        if name not in _ORDERS or direction not in {"asc", "desc"}:
            raise Wrong("order must be a list of <field>:asc or <field>:desc", "value_error.order")
        orders.append(f"{name} {direction.upper()}")
    return tuple(orders)


def _bot(workspace: SandboxWorkspace, row: tuple[Any, ...]) -> dict[str, object]:
    bot_id, name, description, use_case, language, live_agent_transfer, is_enabled = row
    return {
        "id": bot_id,
        "workspace_id": workspace.id,
        "name": name,
        "description": description,
        "use_case": use_case,
        "live_agent_transfer": bool(live_agent_transfer),
        "transfer_summary_enabled": True,
        "default_response_language": language,
        "match_user_language": True,
        "is_enabled": bool(is_enabled),
        "extraction": {},
        "kb_search_query_type": "LAST_THREE_TURNS",
        "kb_search_method": "VECTOR",
        "kb_search_retrieve_count": 5,
        "kb_refinement_enabled": False,
        "kb_refinement_instructions": "",
        "conversation_history_turn_count": 5,
        "time_awareness": {"is_enabled": False, "timezone": workspace.timezone},
        "emotion_prediction_enabled": False,
        "user_memory_enabled": False,
        "agent_memory_enabled": False,
        "kb_references_enabled": False,
        "model_config": {"gptbot_id": bot_id, "llm_model": "gpt-4o-mini", "temperature": 0.0},
        "live_agent_transfer_mode": "button",
    }
