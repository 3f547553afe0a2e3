"""The requests of a probe, and what the replies to them amount to. Pure.

SeaChat's published OpenAPI, "Get or create a conversation" and "Send a Text Message". Its prose
calls the switch for a reply `is_reply`, its schema `with_reply`; the schema is followed.

What is read of a message is its event, its sequence, the id of its speaker and its text. The text is
held against the pattern here and dropped.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final

from pydantic import ValidationError

from exporter.config import Module
from exporter.errors import ReplyError
from exporter.model.answer_pattern import LONGEST_TEXT, AnswerPattern
from exporter.model.bot_list import BOT_ID
from exporter.model.reply_values import Drift, Lenient, Reply, Unread

SUB_CHANNEL: Final = "seasalt-exporter-probe"
"""Marks each question, so that probes can be told from users in the bot's own analytics."""

FIRST_LOOK: Final = 1.0
"""Seconds after which the messages are read if the reply brought no answer; doubled each time."""

_OUTBOUND: Final = "OUTBOUND_MESSAGE"
_BOT: Final = "BOT"
_SYSTEM: Final = "SYSTEM"
"""The ids of speakers that are no people.

The first one is that of the only example of messages in the documents, which define neither.
"""

_HANDED_OVER: Final = frozenset({"TRANSFERRING", "ASSIGNED"})
"""The events of a conversation that goes to a person."""

_BACK: Final = frozenset({"END", "EXITED", "TIMEOUT", "HANGUP", "SESSION_START", "SESSION_END"})
"""The events after which the bot answers again."""

_ID: Final = re.compile(rf"(?!\.\.?$){BOT_ID}", re.ASCII)
_LARGEST: Final = 2**53


class _Data(Reply):
    """What comes with a message; it repeats the text, and some messages have it nowhere else."""

    text: Lenient[str] = None


class _Speaker(Reply):
    """Who wrote a message."""

    id: Lenient[str] = None


class _Message(Reply):
    """One message of a conversation."""

    event: Lenient[str] = None
    sequence: Lenient[int] = None
    text: Lenient[str] = None
    data: Lenient[_Data] = None
    speaker: Lenient[_Speaker] = None

    @property
    def said(self) -> str:
        """The text."""
        return self.text or (self.data and self.data.text) or ""

    @property
    def by(self) -> str:
        """The id of the speaker; empty if it cannot be read."""
        return (self.speaker and self.speaker.id) or ""


class _Opened(Reply):
    """The reply to a request for a conversation; greetings in it are of no interest."""

    conversation_id: str
    user: Unread = None
    messages: Unread = None
    extraction: Unread = None


class _Talk(Reply):
    """The reply to a message, and the list of a conversation's messages."""

    conversation_id: Unread = None
    messages: Lenient[tuple[Lenient[_Message], ...]] = None
    inbound_sequence: Lenient[int] = None


@dataclass(frozen=True, slots=True)
class Said:
    """What followed a question, without a word of it.

    Attributes:
        sequence: The question's sequence in the conversation.
        answered: Whether the bot has answered.
        matches: Whether the answer matches; False without an answer.
        handed_over: Whether the conversation is a person's now; None if the messages do not say.
    """

    sequence: int
    answered: bool = False
    matches: bool = False
    handed_over: bool | None = None


def most_requests(module: Module) -> int:
    """The requests of one probe at most: conversation, question, and the readings."""
    return 2 + ceil(module.timeout.total_seconds() / FIRST_LOOK).bit_length()


def opening(module: Module) -> Mapping[str, object]:
    """The request for the conversation of the module's user.

    A greeting is not asked for. The documents disagree on whether the bot then sends none or sends
    it at once; either way, none arrives later and is taken for the answer.
    """
    return {"user": module.user.model_dump(), "with_reply": False}


def question(module: Module) -> Mapping[str, object]:
    """The request that asks the module's question and waits for the reply."""
    message = {
        "text": module.question,
        "data": {},
        "event": "INBOUND_MESSAGE",
        "sub_channel": SUB_CHANNEL,
    }
    return {"message": message, "with_reply": True}


def opened(answer: object, drift: Drift) -> str:
    """The id of the conversation in a reply.

    Args:
        answer: The reply.
        drift: Counts its deviations from the documents.

    Raises:
        ReplyError: If there is none that can be a part of a path.
    """
    try:
        found = _Opened.model_validate(answer, context=drift).conversation_id
    except ValidationError:
        drift.unreadable("conversation_id")
        raise ReplyError("conversation: not of the documented shape") from None
    if not _ID.fullmatch(found):
        drift.unreadable("conversation_id")
        raise ReplyError("conversation: an id that no path can have")
    return found


def said(answer: object, pattern: AnswerPattern, drift: Drift, since: int | None = None) -> Said:
    """What a reply says of the messages after the question.

    Args:
        answer: The reply to the question, or a list of messages.
        pattern: What the answer must match.
        drift: Counts the reply's deviations from the documents.
        since: The question's sequence, if it is known; earlier messages are no answer.

    Raises:
        ReplyError: If the reply does not have the documented shape, and what can be read of it does
            not say what came of the question.
    """
    try:
        talk = _Talk.model_validate(answer, context=drift)
    except ValidationError:
        drift.unreadable(None)
        raise ReplyError("messages: not of the documented shape") from None
    sequence = since if since is not None else talk.inbound_sequence
    if sequence is None or not 0 <= sequence <= _LARGEST:
        drift.unreadable("inbound_sequence")
        raise ReplyError("messages: no sequence of the question, or an impossible one")
    messages = sorted(filter(None, talk.messages or ()), key=lambda one: one.sequence or 0)
    unplaced = [one for one in messages if one.sequence is None]
    after = [one for one in messages if one.sequence is not None and one.sequence > sequence]
    if since is None:
        after += unplaced  # the reply to the question has nothing but what follows it
    elif unplaced and not drift["sequence"]:
        drift.unreadable("sequence")
    written = [one for one in after if one.event == _OUTBOUND and one.said]
    for one in written:
        if not one.by:
            drift.unreadable("speaker")
    texts = [one.said for one in written if one.by == _BOT]
    events = [one for one in messages if one.event in _HANDED_OVER | _BACK]
    handed_over = events[-1].event in _HANDED_OVER if events else None
    if texts and not any(one.event in _HANDED_OVER | _BACK for one in after):
        handed_over = False  # whatever was before the question, the bot answers
    elif not texts and any(one.by not in {"", _BOT, _SYSTEM} for one in written):
        handed_over = True
    if drift.unread and not (texts or handed_over):
        raise ReplyError("messages: not all of the documented shape")
    matches = bool(texts) and pattern.found_in(_joined(texts))
    return Said(sequence, answered=bool(texts), matches=matches, handed_over=handed_over)


def _joined(texts: Iterable[str]) -> str:
    """The first characters of several texts, as many as are matched."""
    return "\n".join(text[:LONGEST_TEXT] for text in texts)[:LONGEST_TEXT]
