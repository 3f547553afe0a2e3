"""Conversations with the sandbox's bots: strict about requests, with a memory, and as told."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from exporter.model import api_paths
from exporter.sandbox import Manner, Sandbox
from exporter.sandbox.conversations import SLOW, TRANSFER, WRONG, file_count

Call = Callable[..., httpx.Response]
NOW = datetime(2025, 11, 5, 15, 0, tzinfo=UTC)
USER = {"id": "TP00001", "first_name": "Thomas", "last_name": "Jefferson"}


class Clock:
    """The sandbox's clock."""

    now = NOW

    def __call__(self) -> datetime:
        """The present."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def talking(make_sandbox: Callable[..., Sandbox], clock: Clock) -> Sandbox:
    return make_sandbox(now=clock, bots=4, days=1, conversations_per_day=1)


@pytest.fixture
def ask(talking: Sandbox, call: Call) -> Call:
    """Sends a request below the first bot, with the workspace's key."""
    workspace = talking.workspaces[0]

    def send(method: str, path: str, body: object = None, **more: Any) -> httpx.Response:  # noqa: ANN401
        headers = {"Authorization": f"Bearer {workspace.seachat_key}"}
        where = api_paths.of_bot(more.pop("bot", workspace.bots[0].id), path)
        given = {"headers": headers, **({} if body is None else {"json": body}), **more}
        return call(talking, method, where.rstrip("/"), **given)

    return send


def opened(ask: Call, user: object = USER) -> str:
    reply = ask("POST", api_paths.CONVERSATION, {"user": user, "with_reply": False})
    assert reply.status_code == 200, reply.text
    identity: str = reply.json()["conversation_id"]
    return identity


def say(ask: Call, text: str, conversation: str = "", **more: object) -> Any:  # noqa: ANN401 - JSON
    path = f"conversations/{conversation or opened(ask)}/messages"
    reply = ask("POST", path, {"message": {"text": text}, **more})
    assert reply.status_code == 200, reply.text
    return reply.json()


def texts(reply: Any) -> list[str]:  # noqa: ANN401 - JSON
    return [one["text"] for one in reply["messages"]]


def test_a_user_gets_one_conversation_and_another_user_another(ask: Call) -> None:
    assert opened(ask) == opened(ask, {"id": USER["id"]})
    assert opened(ask) != opened(ask, {"id": "TP00002"})


def test_a_conversation_remembers_what_was_said(ask: Call) -> None:
    conversation = opened(ask)
    first, second = (say(ask, text, conversation) for text in ("When are you open?", "Returns?"))
    assert (first["inbound_sequence"], second["inbound_sequence"]) == (1, 3)
    assert "9 am" in texts(first)[0]
    path = f"conversations/{conversation}/messages"
    messages = ask("GET", path).json()["messages"]
    assert [one["sequence"] for one in messages] == [1, 2, 3, 4]
    assert {one["speaker"]["id"] for one in messages[1::2]} == {"BOT"}
    assert messages[0]["speaker"]["third_party_user_id"] == USER["id"]
    part = ask("GET", path, params={"direction": "BACKWARD", "sequence": "3", "limit": "1"})
    assert [one["sequence"] for one in part.json()["messages"]] == [3]
    last = ask("GET", path, params={"direction": "FORWARD", "limit": "2"})
    assert [one["sequence"] for one in last.json()["messages"]] == [4, 3]


def test_bots_react_as_they_are_told(talking: Sandbox, ask: Call) -> None:
    bot = talking.workspaces[0].bots[0].id
    assert texts(say(ask, "/wrongly open?")) == [WRONG]
    talking.conversations.manners[bot] = Manner.WRONGLY
    assert texts(say(ask, "open?")) == [WRONG]
    talking.conversations.manners[bot] = Manner.HANDOVER
    handed = say(ask, "open?")
    assert texts(handed) == [TRANSFER, ""]
    assert handed["messages"][1]["event"] == "TRANSFERRING"
    talking.conversations.manners.clear()
    assert texts(say(ask, "open?")) == [], "a person has it now"
    talking.conversations.hand_back(bot)
    assert texts(say(ask, "open?")) != []
    assert talking.conversations.messages == {bot: 5}


def test_a_slow_answer_comes_when_its_time_has_come(clock: Clock, ask: Call) -> None:
    conversation = opened(ask)
    assert say(ask, "/slowly open?", conversation, with_reply=False)["messages"] == []
    path = f"conversations/{conversation}/messages"
    assert len(ask("GET", path).json()["messages"]) == 1
    clock.now += timedelta(seconds=SLOW)
    assert len(ask("GET", path).json()["messages"]) == 2


def test_a_bot_that_never_answers_keeps_its_client_waiting(talking: Sandbox, ask: Call) -> None:
    path = api_paths.messages(talking.workspaces[0].bots[0].id, opened(ask))

    async def wait() -> None:
        transport = httpx.ASGITransport(talking)
        headers = {"Authorization": f"Bearer {talking.workspaces[0].seachat_key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://sandbox") as client:
            body = {"message": {"text": "/never open?"}}
            answer = client.post(path, headers=headers, json=body)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(answer, 0.3)

    asyncio.run(wait())


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        (api_paths.CONVERSATION, {}, ["user"]),
        (api_paths.CONVERSATION, {"user": {}}, ["user"]),
        (api_paths.CONVERSATION, {"user": {"id": 1}}, ["user"]),
        (api_paths.CONVERSATION, {"user": USER, "is_reply": True}, ["is_reply"]),
        (api_paths.CONVERSATION, {"user": USER, "with_reply": "yes"}, ["with_reply"]),
        ("conversations/{}/messages", {"content": "Hello"}, ["message", "content"]),
        ("conversations/{}/messages", {"message": {"text": "x", "event": "SHOUT"}}, ["message"]),
        ("conversations/{}/messages", {"message": {"words": "x"}}, ["message"]),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(
    ask: Call, path: str, body: object, wrong: list[str]
) -> None:
    reply = ask("POST", path.format(opened(ask)), body)
    assert reply.status_code == 422
    assert [one["loc"][1] for one in reply.json()["detail"]] == wrong


def test_tokens_bots_conversations_and_methods_are_looked_at(
    talking: Sandbox, ask: Call, call: Call
) -> None:
    bot, conversation = talking.workspaces[0].bots[0].id, opened(ask)
    where = api_paths.messages(bot, conversation)
    for headers in ({}, {"Authorization": "Bearer x"}, {"X-API-KEY": "x"}):
        assert call(talking, "GET", where, headers=headers).status_code == 401
    assert ask("GET", "conversations/other/messages").status_code == 404
    assert ask("GET", api_paths.KNOWLEDGE_BASE_FILES, bot="other").json()["code"] == 20006
    assert ask("PUT", api_paths.KNOWLEDGE_BASE_FILES).status_code == 405
    assert ask("POST", api_paths.CONVERSATION, headers={}).status_code == 401
    assert ask("GET", "coach").status_code == 404


def test_a_bots_files_are_paged(talking: Sandbox, ask: Call) -> None:
    bot = talking.workspaces[0].bots[1]
    total, found = file_count(bot), list[str]()
    for offset in (0, 100):
        params = {"offset": str(offset), "limit": "100", "order_by": "created_at:asc"}
        page = ask("GET", api_paths.KNOWLEDGE_BASE_FILES, bot=bot.id, params=params).json()
        assert page["total"] == total > 100
        found += [one["id"] for one in page["data"]]
    assert len(set(found)) == total
    refused = ask("GET", api_paths.KNOWLEDGE_BASE_FILES, params={"page": "1"})
    assert refused.status_code == 422


def test_one_bot_is_what_the_list_says_of_it(talking: Sandbox, ask: Call, call: Call) -> None:
    headers = {"Authorization": f"Bearer {talking.workspaces[0].seachat_key}"}
    listed = call(talking, "GET", api_paths.BOTS, headers=headers).json()["data"]
    assert ask("GET", "", bot=listed[0]["id"]).json() == listed[0]
