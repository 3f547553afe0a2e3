"""Conversations with the sandbox's bots: they remember what was said, and answer as told.

A bot answers from a small set of texts. `Manner` lists what else it can do: a test sets
`Conversations.manners`, and anybody can begin a message with a slash and a manner, like
`/never are you open?`. What is said here is not in the analytics, which are made up in advance.
"""

import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from math import inf
from typing import Any, Final

from exporter.sandbox.companies import SandboxBot
from exporter.sandbox.requests import Refusal, Wrong, boolean, mistake, one_of, read, text

SLOW: Final = 12.0
"""Seconds that a slow answer takes."""

ANSWERS: Final[Mapping[str, str]] = {
    r"\b(open|hours|when)\b": "We are open from 9 am to 6 pm, Monday to Friday.",
    r"\b(return|refund)s?\b": "You can return anything within 30 days.",
    r"\b(ship|deliver)": "We deliver within three working days.",
    "": "I can help with orders, deliveries and returns. What is it about?",
}
"""What a bot answers, by what a question contains; the first match counts."""

WRONG: Final = "Bananas are rich in potassium."
TRANSFER: Final = "One moment, a colleague takes over."

_EVENTS: Final = (
    *("INBOUND_MESSAGE", "OUTBOUND_MESSAGE", "TRANSFERRING", "TIMEOUT", "HANGUP"),
    *("SYSTEM_WARNING_OF_BACK_OFFICE", "JOINED", "END", "EXITED", "FORM_SUBMISSION"),
    *("CSAT_SUBMISSION", "BUTTON_POSTBACK", "SESSION_START", "SESSION_END", "ASSIGNED"),
)
_COMMAND: Final = re.compile(r"/([a-z]+)\b", re.ASCII)


class Manner(StrEnum):
    """How a bot reacts to a message."""

    ANSWERS = "answers"
    SLOWLY = "slowly"
    WRONGLY = "wrongly"
    NEVER = "never"
    HANDOVER = "handover"


@dataclass(frozen=True, slots=True)
class Late:
    """A reply that comes after some seconds; never, if they are infinite."""

    seconds: float
    reply: object


@dataclass(slots=True)
class _Said:
    """One message, from the instant on at which it can be read."""

    at: datetime
    event: str
    text: str
    speaker: Mapping[str, object]


@dataclass(slots=True)
class _Conversation:
    """A conversation of one user with one bot.

    Attributes:
        id: Its id.
        user: The user as given.
        said: Its messages, oldest first; a message's sequence is its place plus one.
        transferred: Whether a person has taken over, so that the bot is silent.
    """

    id: str
    user: Mapping[str, object]
    said: list[_Said] = field(default_factory=list)
    transferred: bool = False

    @property
    def person(self) -> dict[str, object]:
        """The user as the speaker of a message."""
        first = self.user.get("first_name") or "User"
        name = " ".join(filter(None, (str(first), str(self.user.get("last_name") or ""))))
        return {
            "id": f"user-{self.id}",
            "name": name,
            "first_name": first,
            "channel_type": "ThirdPartyClient",
            "third_party_user_id": self.user["id"],
        }


_BOT: Final = {"id": "BOT", "name": "BOT", "first_name": "BOT", "channel_type": "System"}
_SYSTEM: Final = {
    "id": "SYSTEM",
    "name": "SYSTEM",
    "first_name": "SYSTEM",
    "channel_type": "System",
}


class Conversations:
    """All conversations of a sandbox.

    Args:
        now: The sandbox's clock.

    Attributes:
        manners: How bots react that do not simply answer, by id.
        answers: See `ANSWERS`.
        messages: The messages that users have sent, by the bot's id.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.manners: MutableMapping[str, Manner] = {}
        self.answers: Mapping[str, str] = ANSWERS
        self.messages: dict[str, int] = {}
        self._now = now
        self._of: dict[tuple[str, str], _Conversation] = {}

    def get_or_create(self, bot: SandboxBot, given: Mapping[str, object]) -> object:
        """Answer `POST …/conversations/ops/get_or_create`.

        Raises:
            Refusal: 422 for an invalid body.
        """
        checks = {
            "user": _user,
            "with_reply": boolean,
            "user_memory_enabled": boolean,
            "agent_memory_enabled": boolean,
        }
        user = read(given, checks, {"user"})["user"]
        place = (bot.id, user["id"])
        if place not in self._of:
            digest = blake2b("|".join(place).encode(), digest_size=16).hexdigest()
            self._of[place] = _Conversation(digest, user)
        found = self._of[place]
        return {"user": user, "conversation_id": found.id, "messages": [], "extraction": {}}

    def send(self, bot: SandboxBot, conversation: str, given: Mapping[str, object]) -> object:
        """Answer `POST …/messages`.

        Raises:
            Refusal: 422 for an invalid body, 404 for an unknown conversation.
        """
        found = read(given, {"message": _message, "with_reply": boolean}, {"message"})
        here, message = self._find(bot, conversation), found["message"]
        self.messages[bot.id] = self.messages.get(bot.id, 0) + 1
        now, asked = self._now(), message.get("text", "")
        here.said.append(_Said(now, message.get("event", "INBOUND_MESSAGE"), asked, here.person))
        sequence = len(here.said)
        command = _COMMAND.match(asked)
        manner = self.manners.get(bot.id, Manner.ANSWERS)
        if command and command[1] in set(Manner):
            manner = Manner(command[1])
        wait = {Manner.SLOWLY: SLOW, Manner.NEVER: inf}.get(manner, 0.0)
        if not here.transferred and wait < inf:
            here.said += self._reaction(manner, asked, now + timedelta(seconds=wait))
            here.transferred = manner is Manner.HANDOVER
        awaited = found.get("with_reply", True)
        replies = list(enumerate(here.said, start=1))[sequence:] if awaited else []
        reply = {
            "conversation_id": here.id,
            "inbound_sequence": sequence,
            "messages": [_shown(*one) for one in replies],
        }
        late = awaited and wait and not here.transferred
        return Late(wait, reply) if late else reply

    def read(self, bot: SandboxBot, conversation: str, query: Iterable[tuple[str, str]]) -> object:
        """Answer `GET …/messages`: BACKWARD ascends from a sequence, FORWARD descends.

        Raises:
            Refusal: 422 for an invalid query, 404 for an unknown conversation.
        """
        given: dict[str, object] = {}
        for name, value in query:
            if name in given:
                raise Refusal(422, [mistake(["query", name], "given twice", "value_error.extra")])
            given[name] = value
        checks = {
            "direction": one_of("FORWARD", "BACKWARD"),
            "sequence": _whole,
            "offset": _whole,
            "limit": _whole,
        }
        asked = read(given, checks, (), place="query")
        here, now = self._find(bot, conversation), self._now()
        said = [one for one in enumerate(here.said, start=1) if one[1].at <= now]
        if asked.get("direction", "BACKWARD") == "BACKWARD":
            said = [one for one in said if one[0] >= asked.get("sequence", 1)]
        else:
            said = [one for one in reversed(said) if one[0] <= asked.get("sequence", len(said))]
        said = said[asked.get("offset", 0) :]
        said = said[: asked.get("limit") or len(said)]
        return {"conversation_id": here.id, "messages": [_shown(*one) for one in said]}

    def hand_back(self, bot_id: str) -> None:
        """Let the person who took over a bot's conversations leave them to the bot again."""
        for (owner, _), here in self._of.items():
            if owner == bot_id and here.transferred:
                here.transferred = False
                here.said.append(_Said(self._now(), "EXITED", "", _SYSTEM))

    def _reaction(self, manner: Manner, asked: str, at: datetime) -> list[_Said]:
        if manner is Manner.HANDOVER:
            return [
                _Said(at, "OUTBOUND_MESSAGE", TRANSFER, _BOT),
                _Said(at, "TRANSFERRING", "", _SYSTEM),
            ]
        if manner is Manner.WRONGLY:
            return [_Said(at, "OUTBOUND_MESSAGE", WRONG, _BOT)]
        answer = next(
            answer
            for pattern, answer in self.answers.items()
            if re.search(pattern, asked, re.IGNORECASE)
        )
        return [_Said(at, "OUTBOUND_MESSAGE", answer, _BOT)]

    def _find(self, bot: SandboxBot, conversation: str) -> _Conversation:
        for (owner, _), here in self._of.items():
            if owner == bot.id and here.id == conversation:
                return here
        raise missing("CONVERSATION", conversation)


def missing(what: str, identity: str) -> Refusal:
    """The documented error for something that does not exist."""
    detail = f"The entry: {what}, id: {identity} does not exist."
    return Refusal(404, detail, code=20006, parameters={"entry_name": what, "id": identity})


def files(bot: SandboxBot, query: Iterable[tuple[str, str]]) -> object:
    """A page of a bot's files; no document shows one, so it has the form of the other lists.

    Raises:
        Refusal: 422 for an invalid query.
    """
    checks = {"offset": _whole, "limit": _whole, "order_by": text}
    asked = read(dict(query), checks, (), place="query")
    total = file_count(bot)
    numbers = range(total)[asked.get("offset", 0) :]
    numbers = numbers[: asked.get("limit") or total]
    rows = [
        {"id": f"file-{bot.id}-{number:04}", "name": f"Manual {number}.pdf"} for number in numbers
    ]
    return {"total": total, "data": rows}


def file_count(bot: SandboxBot) -> int:
    """How many files a bot's knowledge base has; every fourth bot has more than a page."""
    place = bot.number & 0xFFFF
    return 3 + 7 * place + (100 if place % 4 == 1 else 0)


def _shown(sequence: int, said: _Said) -> dict[str, object]:
    return {
        "id": sequence,
        "text": said.text,
        "data": {},
        "event": said.event,
        "sequence": sequence,
        "speaker": said.speaker,
        "created_at": said.at.replace(tzinfo=None).isoformat(),
    }


def _nested(value: object, checks: Mapping[str, Callable[[object], Any]], *needed: str) -> Any:  # noqa: ANN401 - as `read`
    """An object with these fields; `read` says what is wrong with a field of the body only."""
    if not isinstance(value, dict):
        raise Wrong("value is not a valid dict", "type_error.dict")
    try:
        return read(value, checks, needed)
    except Refusal as refusal:
        first: Any = refusal.body["detail"]
        raise Wrong(f"{first[0]['loc'][-1]}: {first[0]['msg']}", first[0]["type"]) from None


def _name(value: object) -> str | None:
    return None if value is None else text(value)


def _user(value: object) -> Any:  # noqa: ANN401 - as `read`
    return _nested(value, {"id": text, "first_name": _name, "last_name": _name}, "id")


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Wrong("value is not a valid dict", "type_error.dict")
    return value


def _message(value: object) -> Any:  # noqa: ANN401 - as `read`
    checks = {"text": text, "data": _object, "event": one_of(*_EVENTS), "sub_channel": text}
    return _nested(value, checks)


def _whole(value: object) -> int:
    digits = text(value)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise Wrong("value is not a valid integer", "type_error.integer")
    return int(digits)
