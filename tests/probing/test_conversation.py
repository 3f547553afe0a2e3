import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.talk import message, reply

from exporter.errors import ReplyError
from exporter.model.answer_pattern import AnswerPattern
from exporter.model.reply_values import Drift
from exporter.probing.conversation import Said, opened, said
from exporter.probing.result import MEANINGS, Reason, Result, page

PATTERN = AnswerPattern("(?i)nine")
# The example of the published OpenAPI, "Get message data by conversation id".
DOCUMENTED: dict[str, Any] = {
    "conversation_id": "33ab7ceb-9b6b-4252-baf0-82a6d703aa7d",
    "messages": [
        {
            "id": 0,
            "text": "Hello! How can I help you?",
            "data": {
                "recipient_id": "8c8c1228bfce4102b037b14aff67603a",
                "text": "Hello! How can I help you?",
                "confident_response": True,
                "emotion_label": "neutral",
            },
            "event": "OUTBOUND_MESSAGE",
            "sequence": 0,
            "speaker": {
                "id": "BOT",
                "name": "BOT",
                "first_name": "BOT",
                "channel_type": "System",
                "third_party_user_id": "xxxx-xxxxxxxx",
            },
            "created_at": "2020-06-09T10:25:47",
        },
        {
            "id": 0,
            "text": "Hello!",
            "data": {
                "recipient_id": "8c8c1228bfce4102b037b14aff67603a",
                "text": "I'm so excited to talk to you!",
                "emotion_label": "excited",
            },
            "event": "INBOUND_MESSAGE",
            "sequence": 1,
            "speaker": {
                "id": "xxxx-xxxxxxxx",
                "name": "User Name",
                "first_name": "User",
                "last_name": "Name",
                "phone": "1234567890",
                "email": "user@email.com",
                "channel_type": "ThirdPartyClient",
                "third_party_user_id": "xxxx-xxxxxxxx",
            },
            "created_at": "2020-06-09T10:25:50",
        },
    ],
}

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "inbound_sequence", "conversation_id", "event", "sequence", "text"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def test_the_documented_messages_are_read() -> None:
    help_ = AnswerPattern("help you")
    assert said(DOCUMENTED, help_, Drift(), since=0) == Said(0)
    assert opened(DOCUMENTED, Drift()) == DOCUMENTED["conversation_id"]
    first = {**DOCUMENTED, "messages": [{**DOCUMENTED["messages"][0], "sequence": 2}]}
    assert said(first, help_, Drift(), since=1) == Said(
        1, answered=True, matches=True, handed_over=False
    )


def test_several_messages_are_one_answer_in_their_order() -> None:
    two = reply(message(3, "OUTBOUND_MESSAGE", "ten"), message(2, "OUTBOUND_MESSAGE", "nine to"))
    assert said(two, AnswerPattern("nine to\nten"), Drift()).matches


def test_what_was_said_before_the_question_is_no_answer() -> None:
    before = reply(message(4, "OUTBOUND_MESSAGE", "nine"), sequence=4)
    assert said(before, PATTERN, Drift()) == Said(4)


@pytest.mark.parametrize("sequence", [None, "x", "absent"])
def test_a_message_of_an_unknown_place_is_no_answer_among_earlier_ones(
    sequence: str | None,
) -> None:
    shown = {**message(0, "OUTBOUND_MESSAGE", "nine"), "sequence": sequence}
    if sequence == "absent":
        del shown["sequence"]
    drift = Drift()
    with pytest.raises(ReplyError):
        said(reply(shown), PATTERN, drift, since=8)
    assert drift["sequence"] == 1
    # The reply to the question has nothing but what follows it.
    assert said(reply(shown), PATTERN, Drift()).matches


def test_a_reply_of_many_messages_takes_little_time() -> None:
    number = 4000
    before = [message(place, "EXITED") for place in range(number)]
    answers = [message(number + place, "OUTBOUND_MESSAGE", "x") for place in range(1, number)]
    begun = time.process_time()
    assert said(reply(*before, *answers, sequence=number), PATTERN, Drift()).answered
    assert time.process_time() - begun < 5


def test_a_text_may_be_in_the_data_of_a_message_alone() -> None:
    shown = message(9, "OUTBOUND_MESSAGE")
    del shown["text"]
    shown["data"] = {"text": "nine"}
    assert said(reply(shown, sequence=8), PATTERN, Drift()).matches


def test_what_a_person_says_is_no_answer_of_the_bot() -> None:
    ann = message(9, "OUTBOUND_MESSAGE", "nine, says Ann", speaker="agent-7")
    assert said(reply(ann, sequence=8), PATTERN, Drift()) == Said(8, handed_over=True)
    note = message(9, "OUTBOUND_MESSAGE", "nine", speaker="SYSTEM")
    assert said(reply(note, sequence=8), PATTERN, Drift()) == Said(8)


def test_a_bot_that_answers_has_the_conversation_whatever_was_before_the_question() -> None:
    before = message(3, "TRANSFERRING", speaker="SYSTEM")
    answer = message(9, "OUTBOUND_MESSAGE", "nine")
    found = said(reply(before, answer, sequence=8), PATTERN, Drift())
    assert found == Said(8, answered=True, matches=True, handed_over=False)


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        ({"messages": "none", "inbound_sequence": 1}, "messages"),
        ({"messages": []}, "inbound_sequence"),
        (reply(message(2, "OUTBOUND_MESSAGE", "nine", speaker="")), "speaker"),
        (reply({**message(2, "OUTBOUND_MESSAGE"), "text": 9}), "text"),
    ],
)
def test_a_reply_that_cannot_be_read_is_not_taken_for_silence(answer: object, field: str) -> None:
    drift = Drift()
    with pytest.raises(ReplyError):
        said(answer, PATTERN, drift)
    assert drift[field] == 1


@pytest.mark.parametrize(
    ("events", "a_persons"),
    [
        ((), None),
        (("TRANSFERRING",), True),
        (("ASSIGNED",), True),
        (("TRANSFERRING", "JOINED"), True),
        (("TRANSFERRING", "TIMEOUT"), False),
        (("TRANSFERRING", "JOINED", "EXITED"), False),
        (("EXITED", "TRANSFERRING"), True),
        (("SESSION_START", "INBOUND_MESSAGE", "CSAT_SUBMISSION"), False),
    ],
)
def test_the_last_event_of_a_hand_over_says_whose_the_conversation_is(
    events: tuple[str, ...], a_persons: bool | None
) -> None:
    messages = [message(place, event) for place, event in enumerate(events, start=2)]
    assert said(reply(*reversed(messages)), PATTERN, Drift()).handed_over is a_persons


@given(ANY)
def test_whatever_comes_is_read_or_refused_and_the_error_quotes_nothing(answer: object) -> None:
    for read in (opened, lambda one, drift: said(one, PATTERN, drift)):
        refusal, drift = "", Drift()
        try:
            read(answer, drift)
        except ReplyError as error:
            refusal = str(error)
        assert refusal.partition(":")[0] in {"", "conversation", "messages"}
        assert bool(drift) or not refusal


@pytest.mark.parametrize("identity", ["", ".", "..", "a/b", "a?b", "a b", "a#b", "%2e", "x" * 129])
def test_an_id_of_a_conversation_that_would_lead_elsewhere_is_refused(identity: str) -> None:
    with pytest.raises(ReplyError):
        opened({"conversation_id": identity}, Drift())


def test_every_reason_is_told_in_words_here_and_in_the_documentation() -> None:
    assert MEANINGS.keys() == set(Reason)
    text = Path("docs/probing.md").read_text(encoding="utf-8")
    for reason in Reason:
        assert f"`{reason}`" in text


def test_a_result_quotes_nothing_that_needs_quoting_on_the_page() -> None:
    at = datetime(2026, 11, 21, tzinfo=UTC)
    lines = page(Result(at, reason=Reason.NO_ANSWER, detail='"\n')).decode().splitlines()
    assert 'seasalt_probe_failure{reason="no_answer"} 1' in lines
    assert "probe_success 0" in lines
    assert json.dumps(lines).count("\\n") == 0
