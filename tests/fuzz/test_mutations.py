"""Replies of the documents, broken in their structure: what is exported is in the reply, or absent.

Every number of a broken reply is a power of two of its own, so that a value on the page tells
which numbers it is the sum of; a table of what each family may be a sum of, written down here
without the reports, says whether it may.
"""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pytest
from hypothesis import assume, given, strategies as st
from pydantic_core import from_json
from support.entries import KNOWN, Documented, Read, read_as
from support.fuzz import examples
from support.places import Place, found_at, places

from exporter.errors import ReplyError
from exporter.model.apis import APIS
from exporter.model.label_values import label_value
from exporter.model.samples import Sample

MOST: Final = 50
"""Powers of two that a double tells apart, with room for what is added up."""

SHARES: Final = {"satisfaction_rate": 100.0, "ratio": 1.0}
"""Fields whose values have a bound that powers of two would pass."""

numbers_alone = pytest.mark.parametrize(
    "sample", [pytest.param(one, id=str(one)) for one in KNOWN if one.metric != "agent_activity"]
)


# The ways to break a reply


@dataclass
class Leaf:
    """A number of a reply, to be numbered once the structure is what it will be.

    Attributes:
        digits: Whether it is written as a text of digits.
    """

    digits: bool = False


def planted(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A JSON value with a leaf in place of each number."""
    if isinstance(value, dict):
        return {key: planted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [planted(inner) for inner in value]
    return Leaf() if isinstance(value, int | float) and not isinstance(value, bool) else value


def put(root: list[Any], place: Place, new: object) -> None:
    """Let something else be at a place of `root[0]`."""
    if not place:
        root[0] = new
    else:
        found_at(root[0], place[:-1])[place[-1]] = new


ODD_TEXTS: Final = (
    "",
    " ",
    "\ufeff",
    "a\x00b",
    "\u202eabc",
    "\ud800",
    "\u0661",
    "ﬁ",
    "İ",
    "😀",
    "data",
)
ODD_VALUES: Final[tuple[object, ...]] = (
    *(True, False, "", "1.", "1e", "--1", " 7 ", "NaN", "١٢", -1, 1e999, 2**53 + 2, 10**400),
    *([], {}, [[]], {"data": []}, {"data": None}, "text"),
)
KEYS: Final = (
    *("period", "date", "month", "year", "data", "labels", "name", "count", "total_count", "id"),
    *("CUSTOMER", "customer", "BOT", "bot", "Bot", "inbound", "INBOUND", "metric", "detail"),
    *("0", "00", "23", "24", "Monday", "mon", "Jan", "january", "1", "5", "5.0", "+1999123456789"),
)
CASES: Final[tuple[Callable[[str], str], ...]] = (str.upper, str.lower, str.title, str.swapcase)


def broken(data: st.DataObject, reply: Any) -> Any:  # noqa: ANN401 - JSON
    """A reply after one to four changes of its structure."""
    root = [planted(reply)]
    for _ in range(data.draw(st.integers(1, 4))):
        where = [(), *places(root[0])]
        place = data.draw(st.sampled_from(where))
        data.draw(st.sampled_from(MUTATIONS))(data, root, place)
    return root[0]


def delete(_: st.DataObject, root: list[Any], place: Place) -> None:
    if place:
        del found_at(root[0], place[:-1])[place[-1]]


def nullify(_: st.DataObject, root: list[Any], place: Place) -> None:
    put(root, place, None)


def retype(data: st.DataObject, root: list[Any], place: Place) -> None:
    digits = isinstance(found_at(root[0], place), Leaf) and data.draw(st.booleans())
    new = Leaf(digits=True) if digits else copy.deepcopy(data.draw(st.sampled_from(ODD_VALUES)))
    put(root, place, new)


def rename(data: st.DataObject, root: list[Any], place: Place) -> None:
    if place and isinstance(place[-1], str):
        cased = data.draw(st.sampled_from(CASES))(place[-1])
        new = data.draw(st.sampled_from([cased, cased, cased, *KEYS, *ODD_TEXTS]))
        parent = found_at(root[0], place[:-1])
        items = [(new if key == place[-1] else key, value) for key, value in parent.items()]
        parent.clear()
        parent.update(items)


def duplicate(data: st.DataObject, root: list[Any], place: Place) -> None:
    if not place:
        return
    parent, twin = found_at(root[0], place[:-1]), copy.deepcopy(found_at(root[0], place))
    if isinstance(parent, list):
        parent.insert(data.draw(st.integers(0, len(parent))), twin)
    else:
        cased = data.draw(st.sampled_from(CASES))(str(place[-1]))
        parent.setdefault(data.draw(st.sampled_from([cased, *KEYS])), twin)


def nest(data: st.DataObject, root: list[Any], place: Place) -> None:
    inner = found_at(root[0], place)
    key = data.draw(st.sampled_from(["data", *KEYS]))
    put(root, place, data.draw(st.sampled_from([[inner], {key: inner}, {"data": [inner]}])))


def lift(_: st.DataObject, root: list[Any], place: Place) -> None:
    """Take a wrapping away: the first of what is inside stands for it."""
    inner = found_at(root[0], place)
    if isinstance(inner, list | dict) and inner:
        put(root, place, next(iter(inner.values() if isinstance(inner, dict) else inner)))


def reorder(data: st.DataObject, root: list[Any], place: Place) -> None:
    inner = found_at(root[0], place)
    if isinstance(inner, list):
        put(root, place, data.draw(st.permutations(inner)))
    elif isinstance(inner, dict):
        put(root, place, dict(data.draw(st.permutations(list(inner.items())))))


def scribble(data: st.DataObject, root: list[Any], place: Place) -> None:
    if isinstance(found_at(root[0], place), str):
        # No digits: they would be a number of their own.
        words = [word for word in (*ODD_TEXTS, *KEYS) if not word.isdigit()]
        put(root, place, data.draw(st.sampled_from(words)))


MUTATIONS: Final = (delete, nullify, retype, rename, duplicate, nest, lift, reorder, scribble)


# The truth about a broken reply


@dataclass
class Truth:
    """A broken reply with its numbers in place.

    Attributes:
        reply: As JSON.
        numbers: Each number's place, by its value.
        answer: What the client makes of it, for the labels beside the numbers.
    """

    reply: object
    numbers: dict[float, Place] = field(default_factory=dict)

    @classmethod
    def of(cls, value: object) -> "Truth":
        """Number the leaves."""
        found = cls(None)
        found.reply = found.numbered(value, (), Counter())
        return found

    def numbered(self, value: Any, place: Place, seen: Counter[str]) -> object:  # noqa: ANN401 - JSON
        """The value with numbers in place of its leaves."""
        if isinstance(value, dict):
            return {key: self.numbered(inner, (*place, key), seen) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.numbered(one, (*place, n), seen) for n, one in enumerate(value)]
        if not isinstance(value, Leaf):
            return value
        bound = SHARES.get(str(place[-1])) if place else None
        if bound and not value.digits:
            seen["share"] += 1
            number: float = bound * (0.5 + seen["share"] / 1024)
        else:
            number = 2 ** seen["power"]
            seen["power"] += 1
        self.numbers[number] = place
        return str(number) if value.digits else number

    def parts(self, value: float, unit: float) -> list[Place] | None:
        """The places of the numbers that a value is the sum of, None if it is no such sum."""
        percent = unit == PER_CENT
        for number, place in self.numbers.items():
            if value == (number / 100 if percent else number * unit):
                return [place]
        if percent or value != int(value) or value <= 0:
            return None
        powers = [2**bit for bit in range(int(value).bit_length()) if int(value) >> bit & 1]
        if not set(powers) <= self.numbers.keys():
            return None
        return [self.numbers[power] for power in powers]


# What a family may be made of: the unit of its numbers, and which of them belong to a series


def named(*fields: str, place: Place, **_: object) -> bool:
    """A number of a field of this name, in whatever case it is spelt."""
    return bool(place) and str(place[-1]).casefold() in {name.casefold() for name in fields}


def keyed(of: str, key: Callable[[str], object], place: Place, label: str, **_: object) -> bool:
    """A number of a map, at a key that means the label."""
    return of in place[:-1] and key(str(place[-1])) == key(label)


def beside(*fields: str, truth: Truth, place: Place, label: str, **_: object) -> bool:
    """A number of an object whose name, cleaned, is the label."""
    owner = found_at(truth.reply, place[:-1])
    return place[-1] in fields and label_value(owner.get("name")) == label


def of_channel(*fields: str, place: Place, label: str, **_: object) -> bool:
    """A number of a channel whose name is the label, or is none that can be shown."""
    shown = label_value(place[-2]) if len(place) > 1 else ""
    return place[-1] in fields and label in {shown, "other"}


def whole(key: str) -> object:
    """What a key that is a whole number means."""
    return float(key) if re.fullmatch(r"[0-9]+(\.0)?", key) else key


def initial(key: str) -> object:
    """What a key that is a weekday's or a month's name means."""
    return key[:3].casefold()


MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def month(key: str) -> object:
    """What a key that is a month's name or number means."""
    return MONTHS.index(initial(key)) + 1.0 if initial(key) in MONTHS else whole(key)


def sent_by(place: Place, label: str, **_: object) -> bool:
    """A number of a sender or a direction, or a bare count where there is none."""
    return str(place[-1]).casefold() == (label or "count")


def channelled(place: Place, labels: Mapping[str, str], **_: object) -> bool:
    """A number of messages of a channel in a direction."""
    direction = labels["direction"]
    given = (
        (f"{direction}_message_count",) if direction else ("total_message_count", "message_count")
    )
    return of_channel(*given, place=place, label=labels["channel"])


Rule = tuple[float, str, Callable[..., bool]]
PER_CENT: Final = 0.01
OVERVIEW: Final = "conversation_overview_"
YEARLY: Final = "conversation_overview_yearly_"
BREAKDOWN: Final = "conversation_breakdown_"
RULES: Final[Mapping[str, Rule]] = {
    **{
        f"{OVERVIEW}{name}": (1, "", partial(named, name))
        for name in ("messages", "bot_messages", "agent_messages", "live_agent_requests")
    },
    f"{OVERVIEW}conversations": (1, "", partial(named, "conversations", "count")),
    f"{OVERVIEW}users": (1, "", partial(named, "distinct_user_count")),
    f"{OVERVIEW}change_ratio": (
        PER_CENT,
        "of",
        lambda place, label, **_: (
            place[-1] == f"{'distinct_user_count' if label == 'users' else label}_change_percentage"
        ),
    ),
    "communication_volume_calls": (
        1,
        "direction",
        lambda place, label, **_: place[-1] == f"{label}_voice_count",
    ),
    "communication_volume_non_voice_messages": (1, "", partial(named, "inbound_non_voice_count")),
    "activity_trend_messages": (1, "sender", sent_by),
    "activity_trend_calls": (1, "direction", sent_by),
    "activity_trend_change_ratio": (PER_CENT, "", partial(named, "change_percent")),
    "label_usage_uses": (1, "label", partial(beside, "count")),
    "label_overview_conversations": (1, "label", partial(beside, "total_count", "count")),
    "label_relation_base_conversations": (1, "", partial(named, "base_count")),
    "label_relation_both_conversations": (1, "", partial(named, "both_labels_count")),
    "label_relation_ratio": (1, "", partial(named, "ratio")),
    "csat_responses": (1, "", partial(named, "total_responses")),
    "csat_average_rating": (1, "", partial(named, "average_rating")),
    "csat_satisfaction_ratio": (PER_CENT, "", partial(named, "satisfaction_rate")),
    "csat_rating_responses": (1, "rating", partial(keyed, "rating_counts", whole)),
    "total_usage_voice_seconds": (60, "", partial(named, "total_voice_minutes")),
    "total_usage_chat_responses": (1, "", partial(named, "total_chat_responses")),
    f"{BREAKDOWN}channel_users": (1, "channel", partial(of_channel, "user_count")),
    f"{BREAKDOWN}channel_messages": (1, "", channelled),
    f"{BREAKDOWN}weekday_messages": (1, "weekday", partial(keyed, "messages_by_day", initial)),
    f"{BREAKDOWN}hour_messages": (1, "hour", partial(keyed, "messages_by_hour", whole)),
    f"{YEARLY}conversations": (1, "", partial(named, "total_conversations")),
    f"{YEARLY}messages": (1, "", partial(named, "total_messages")),
    f"{YEARLY}messages_per_conversation": (
        1,
        "",
        partial(named, "average_messages_per_conversation"),
    ),
    f"{YEARLY}month_messages": (1, "month", partial(keyed, "monthly_messages", month)),
}
"""By family: its unit, the label that says which numbers are meant, and which these are."""

TIMES: Final = "_timestamp_seconds"
ADDED_UP: Final = re.compile(
    # Families that the mapping sums: over periods, or over names that are equal when cleaned.
    r"activity_trend_(messages|calls)|conversation_overview_conversations|label_(usage|overview)_.*"
    r"|conversation_breakdown_.*|csat_rating_responses|conversation_overview_yearly_month_messages"
)


def justified(sample: Sample, truth: Truth) -> bool:
    """Whether a sample is what the mapping promises of the numbers of a reply."""
    name = sample.family.name.removeprefix("seasalt_")
    if name.endswith(TIMES):
        return True  # a date, held to its text by the tests of the report
    if name.endswith("_change_ratio") and sample.value == -1 / 100:
        return True  # of the odd values, the one that a change may have
    unit, told_by, belongs = RULES[name]
    labels = dict(zip(sample.family.labels, sample.labels, strict=True))
    parts = truth.parts(sample.value, unit)
    if not parts or (len(parts) > 1 and not ADDED_UP.fullmatch(name)):
        return False
    label = labels.get(told_by, "")
    return all(belongs(truth=truth, place=place, label=label, labels=labels) for place in parts)


# The laws


def understood(sample: Documented, content: bytes) -> Read | None:
    """What comes of the bytes of an answer; None where it is refused."""
    try:
        answer = from_json(content, allow_inf_nan=False)
    except ValueError:
        return None  # as the client does
    try:
        part = APIS[sample.api].part(answer, sample.metric)
        return read_as(sample.entry, part, sample.at)
    except ReplyError:
        return None


def encoded(reply: object) -> bytes:
    """A reply as bytes, what is infinite as a number that no double holds."""
    return json.dumps(reply).replace("Infinity", "1e999").encode()


def holds(sample: Documented, value: object) -> None:
    """Of a broken reply, only what it says is exported, each series once, and no zero."""
    numbers = [place for place in ((), *places(value)) if isinstance(found_at(value, place), Leaf)]
    assume(len(numbers) <= MOST)
    truth = Truth.of(value)
    found = understood(sample, encoded(truth.reply))
    if found is None:
        return
    series = [(one.family, one.labels) for one in found.samples]
    assert len(set(series)) == len(series)
    for one in found.samples:
        assert one.value != 0 or "change" in one.family.name, "a zero that nobody sent"
        assert justified(one, truth), (one, truth.reply)


@numbers_alone
def test_every_number_of_a_sample_is_what_the_table_says(sample: Documented) -> None:
    """The table itself, held to the documents: with nothing broken, every series is explained."""
    truth = Truth.of(planted(sample.reply))
    found = understood(sample, encoded(truth.reply))
    assert found
    assert len(found.samples) == len(read_as(sample.entry, sample.part, sample.at).samples)
    assert [one for one in found.samples if not justified(one, truth)] == []


@examples(600, 100_000)
@given(data=st.data())
def test_of_a_broken_reply_only_what_it_says_is_exported(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from([one for one in KNOWN if one.metric != "agent_activity"]))
    holds(sample, broken(data, sample.reply))


@examples(60, 5_000)
@given(data=st.data())
def test_of_broken_sessions_no_time_is_made_up(data: st.DataObject) -> None:
    (sample,) = (one for one in KNOWN if one.metric == "agent_activity")
    reply = Truth.of(broken(data, sample.reply)).reply
    found = understood(sample, encoded(reply))
    if found is None:
        return
    series = [(one.family, one.labels) for one in found.samples]
    assert len(set(series)) == len(series)
    objects = [found_at(reply, place) for place in ((), *places(reply))]
    most = sum(isinstance(one, dict) and "start_time" in one for one in objects)
    counts = Counter[str]()
    for one in found.samples:
        counts[one.family.name.rpartition("_")[2]] += int(one.value)
    assert counts["sessions"] <= most
    assert counts["agents"] <= most
    assert counts["seconds"] <= most * 31 * 86_400


# What section by section of the documents' contradictions may be spelt in several ways


ALIASES: Final = {"period": ("date", "day", "month", "year"), "date": ("period", "day")}
SPELT: Final[Mapping[str, Callable[[str], tuple[str, ...]]]] = {
    "messages_by_hour": lambda key: (key.zfill(2),),
    "messages_by_day": lambda key: (key.upper(), key[:3], key.lower()),
    "monthly_messages": lambda key: (key.lower(), key[:3].upper(), str(int(month(key)))),  # type: ignore[call-overload]  # a month of the documents
    "rating_counts": lambda key: (f"{key}.0", key.zfill(2)),
}
"""Maps whose keys are data, and other ways to write a key."""

SENDERS: Final = {"CUSTOMER", "AGENT", "BOT", "SYSTEM", "bot", "inbound", "outbound"}


def respelt(data: st.DataObject, value: Any, within: str = "") -> Any:  # noqa: ANN401 - JSON
    """The same reply as other versions of the API may write it."""
    if isinstance(value, list):
        return [respelt(data, one, within) for one in data.draw(st.permutations(value))]
    if isinstance(value, dict):
        items = data.draw(st.permutations(list(value.items())))
        made = {spelt(data, key, within): respelt(data, one, key) for key, one in items}
        if within not in (*SPELT, "channel_summary") and data.draw(st.booleans()):
            made["a_new_field"] = data.draw(st.sampled_from([None, 7, "+1999", {"count": 1}]))
        return made
    if type(value) is int and data.draw(st.booleans()):
        return data.draw(st.sampled_from([str(value), float(value), f"00{value}"]))
    return value


def spelt(data: st.DataObject, key: str, within: str) -> str:
    """Another way to write a key."""
    if within in SPELT:
        return data.draw(st.sampled_from([key, *SPELT[within](key)]))
    if key in ALIASES:
        return data.draw(st.sampled_from([key, *ALIASES[key]]))
    if key in SENDERS:
        return data.draw(st.sampled_from([key, key.upper(), key.lower(), key.title()]))
    return key


@examples(300, 20_000)
@given(data=st.data())
def test_a_reply_in_another_order_and_spelling_is_the_same_page(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(KNOWN))
    reply = respelt(data, sample.reply)
    part = reply.get(sample.metric, reply)
    flat = part if isinstance(part, dict) else {"data": part}
    envelope = data.draw(st.sampled_from([reply, flat | {"metric": sample.metric}]))
    mark = data.draw(st.sampled_from([b"", b"\n "]))
    found = understood(sample, mark + json.dumps(envelope).encode())
    assert found
    golden = read_as(sample.entry, sample.part, sample.at)
    assert set(found.samples) == set(golden.samples)
    assert found.drift == golden.drift


@pytest.mark.parametrize("order", [("bot", "Bot"), ("Bot", "bot")], ids="-".join)
def test_of_two_undocumented_spellings_none_is_believed_whichever_comes_first(
    order: tuple[str, str],
) -> None:
    (sample,) = (one for one in KNOWN if str(one) == "seachat-activity_trend")
    row = {"period": "2024-01-01", "CUSTOMER": 4} | {key: len(key) + ord(key[0]) for key in order}
    found = read_as(sample.entry, {"data": [row]}, sample.at)
    assert found.series == {'activity_trend_messages{sender="customer"}': 4}
    assert found.drift == {"BOT": 1}
