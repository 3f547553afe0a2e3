"""The list of bots: its key, its pages, its orders, its objects."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from exporter.model import api_paths
from exporter.sandbox import Sandbox

Call = Callable[..., httpx.Response]
DOCUMENTED = {
    "workspace_id",
    "name",
    "description",
    "use_case",
    "live_agent_transfer",
    "transfer_summary_enabled",
    "default_response_language",
    "match_user_language",
    "is_enabled",
    "extraction",
    "kb_search_query_type",
    "kb_search_method",
    "kb_search_retrieve_count",
    "kb_refinement_enabled",
    "kb_refinement_instructions",
    "conversation_history_turn_count",
    "time_awareness",
    "emotion_prediction_enabled",
    "user_memory_enabled",
    "agent_memory_enabled",
    "kb_references_enabled",
    "model_config",
    "live_agent_transfer_mode",
    "id",
}


@pytest.fixture
def get(sandbox: Sandbox, call: Call) -> Callable[..., httpx.Response]:
    """Asks for bots with the first workspace's key."""

    def send(**params: Any) -> httpx.Response:  # noqa: ANN401
        headers = {"Authorization": f"Bearer {sandbox.workspaces[0].seachat_key}"}
        return call(sandbox, "GET", api_paths.BOTS, headers=headers, params=params)

    return send


def listed(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [bot["id"] for bot in reply.json()["data"]]


def test_bots_have_the_documented_fields(sandbox: Sandbox, get: Call) -> None:
    reply = get().json()
    assert set(reply) == {"total", "data"}
    assert reply["total"] == len(reply["data"]) == 4
    bots = {bot.id: bot for bot in sandbox.workspaces[0].bots}
    for found in reply["data"]:
        bot = bots[found["id"]]
        assert set(found) == DOCUMENTED
        assert found["workspace_id"] == sandbox.workspaces[0].id
        assert found["name"] == bot.name
        assert found["is_enabled"] is bot.is_enabled
        assert found["live_agent_transfer"] is bot.live_agent_transfer
        assert found["model_config"]["gptbot_id"] == bot.id
        assert found["description"]


def test_bots_come_oldest_first_unless_ordered_otherwise(sandbox: Sandbox, get: Call) -> None:
    bots = sandbox.workspaces[0].bots
    oldest = [bot.id for bot in sorted(bots, key=lambda bot: bot.created_at)]
    assert listed(get()) == listed(get(order_by="created_at:asc")) == oldest
    assert listed(get(order_by="created_at:desc")) == oldest[::-1]
    by_name = [bot.id for bot in sorted(bots, key=lambda bot: bot.name)]
    assert listed(get(order_by="name:asc")) == by_name
    assert listed(get(order_by="is_enabled:asc,name:desc")) == by_name[::-1]


def test_pages_hold_each_bot_once(get: Call) -> None:
    everything = listed(get())
    pages = [listed(get(offset=offset, limit=3)) for offset in (0, 3, 6)]
    assert [len(page) for page in pages] == [3, 1, 0]
    assert [bot for page in pages for bot in page] == everything
    assert get(offset=3, limit=3).json()["total"] == 4
    assert listed(get(limit=0)) == everything
    assert listed(get(offset=1)) == everything[1:]


def test_another_workspaces_id_lists_none(sandbox: Sandbox, get: Call) -> None:
    own, other = sandbox.workspaces
    assert len(listed(get(workspace_id=own.id))) == 4
    for name in (other.id, "nobody"):
        assert get(workspace_id=name).json() == {"total": 0, "data": []}


@pytest.mark.parametrize(
    "query",
    [
        {"offset": "-1"},
        {"offset": "x"},
        {"limit": ""},
        {"limit": "1.5"},
        {"limit": "9" * 30},
        {"order_by": "name"},
        {"order_by": "name:up"},
        {"order_by": "number:asc"},
        {"order_by": "name:asc; DROP TABLE bot"},
        {"user_id": "u"},
        {"user_token": "t"},
        {"page": "1"},
        {"limit": ["1", "2"]},
    ],
)
def test_other_parameters_are_refused(get: Call, query: dict[str, Any]) -> None:
    reply = get(**query)
    assert reply.status_code == 422
    [mistake] = reply.json()["detail"]
    assert set(mistake) == {"loc", "msg", "type"}
    assert mistake["loc"] == ["query", *query]


def test_a_bad_token_is_echoed_as_the_real_api_does(sandbox: Sandbox, call: Call) -> None:
    portal_key = sandbox.workspaces[0].portal_key
    for token in ("testtoken", portal_key):
        headers = {"Authorization": f"Bearer {token}"}
        reply = call(sandbox, "GET", api_paths.BOTS, headers=headers)
        assert reply.status_code == 401
        assert reply.json() == {
            "detail": f"The token: {token} decoding failed.",
            "code": 40007,
            "parameters": {"token": token},
        }


def test_no_other_header_opens_the_list(sandbox: Sandbox, call: Call) -> None:
    key = sandbox.workspaces[0].seachat_key
    for headers in (
        {},
        {"X-API-KEY": key},
        {"Authorization": key},
        {"Authorization": f"Basic {key}"},
    ):
        assert call(sandbox, "GET", api_paths.BOTS, headers=headers).status_code == 401
