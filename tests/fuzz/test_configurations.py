"""Configurations, good and damaged: told with file and line and never with a value, or obeyed."""

import copy
import json
import string
import tempfile
import traceback
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from hypothesis import given, strategies as st
from support.fuzz import examples
from support.places import found_at, places

from exporter.config import Config, load, show
from exporter.errors import ConfigError, Mistake
from exporter.polling.plan import Call, agree, planned_calls
from exporter.reports.catalogue import of_api

TODAY: Final = date(2026, 11, 21)
CANARY: Final = "cnry-4f9d2b71ac03e865"
"""Stands for whatever may be a secret; as a key is, it is no plain word."""


APIS: Final = ("seachat", "portal", "seax")
ZONES: Final = ("UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati")
DATED: Final = (
    *("today", "yesterday", "this_week", "last_week", "this_month", "last_month"),
    *("this_year", "last_year", "last_1_days", "last_45_days"),
)
RANGES: Final = ("last_day", "last_7_days", "last_30_days", "last_90_days", "last_180_days")
intervals = st.sampled_from(["10m", "30m", "1h", "1d"])
label_names = st.sampled_from(["support", "sales", "billing", "VIP ", "微信"])


# Configurations that are right


@st.composite
def items(draw: st.DrawFn, api: str, *, bots: bool) -> dict[str, Any]:
    """An item of `metrics:` that is right by itself."""
    words = [word for word in of_api(api) if word != "csat" or bots]
    metric = draw(st.sampled_from(words))
    report, form = of_api(api)[metric]
    item: dict[str, Any] = {"metric": metric}
    kind = form.windows.name
    if kind == "RANGES":
        item["window"] = draw(st.sampled_from(RANGES))
    elif kind.startswith("DATES"):
        item["window"] = draw(st.sampled_from([*DATED, *(["all"] if "ALL" in kind else [])]))
    if report.name == "conversation_overview_yearly":
        item["year"] = draw(st.sampled_from(["current", "previous", 2024, "2023"]))
    if report.name == "label_relation":
        item["labels"] = draw(st.permutations(["support", "sales"]))
    for option, values in OPTIONS.items():
        if option in form.options and draw(st.booleans()) and option not in item:
            item[option] = draw(st.sampled_from(values))
    if draw(st.booleans()):
        item["interval"] = draw(intervals)
    return item


OPTIONS: Final[dict[str, list[Any]]] = {
    "message_type": ["messages", "calls"],
    "time_unit": ["day", "month", "year"],
    "exclude_empty_response": [True, False],
    "handling_status": ["RESOLVED", "PENDING", "FOLLOW_UP"],
    "labels": [["support"], ["sales", "billing"]],
    "agents": [["agent_user_1"]],
}


@st.composite
def workspaces(draw: st.DrawFn, number: int) -> dict[str, Any]:
    """A workspace that is right; its name and its free texts hold the canary."""
    api = draw(st.sampled_from(APIS))
    bots = draw(st.integers(0, 3)) if api == "seachat" else 0
    one: dict[str, Any] = {
        "name": f"{CANARY} {number}",
        "api": api,
        "api_key": f"sk-{CANARY}",
        "timezone": draw(st.sampled_from(ZONES)),
    }
    if bots:
        one["bots"] = [{"id": f"b{n}-{CANARY}", "name": f"{n} {CANARY}"} for n in range(bots)]
    if draw(st.booleans()):
        one["labels"] = {"team": CANARY}
    if draw(st.booleans()):
        one["requests_per_day"] = draw(st.integers(1, 10**9))
    if api == "seachat" and draw(st.booleans()):
        one |= {"workspace_id": CANARY, "discover_bots": {"include": [f"{CANARY}*"]}}
    has_bots = bots > 0 or "discover_bots" in one
    if draw(st.booleans()):
        given = draw(st.lists(items(api, bots=has_bots), min_size=1, max_size=7))
        one["metrics"] = [{**item, "name": f"r{place}"} for place, item in enumerate(given)]
    return one


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A whole configuration; two of its reports may still be the same series."""
    found: dict[str, Any] = {
        "workspaces": [draw(workspaces(number)) for number in range(draw(st.integers(1, 2)))]
    }
    if draw(st.booleans()):
        found["interval"] = draw(intervals)
    if draw(st.booleans()):
        found["http"] = {"proxy_url": f"http://me:sk-{CANARY}@proxy.internal:3128"}
    return found


# Damage


ODD: Final[tuple[Any, ...]] = (
    *(CANARY, f"X-API-KEY {CANARY}", f"Bearer {CANARY}", f"${{{CANARY}}}", f"${{NAME:-{CANARY}}}"),
    *(f"https://me:{CANARY}@host", f"{CANARY}\0", f"{CANARY}\ud800", f" {CANARY}\n", CANARY * 20),
    *(f"/{CANARY}", f"../{CANARY}", "", " ", None, True, 0, -1, 7, 1e999, 10**30, [], {}, [[]]),
    *([CANARY], {CANARY: CANARY}, {f"{CANARY}\ud800": 1}, {"metric": CANARY}, ["csat", CANARY]),
)
odd_keys = st.sampled_from(
    [
        *(CANARY, f"{CANARY}\ud800", "", "<<", "é", "api_key", "api_key_file", "bots", "metrics"),
        *("http", "workspace_id", "window", "labels", "year", "name", "interval", "ca_file"),
    ]
)


def damaged(data: st.DataObject, found: Any) -> Any:  # noqa: ANN401 - YAML
    """A configuration after one to three changes; the one given stays as it was."""
    found = copy.deepcopy(found)  # its parts may belong to the strategies
    for _ in range(data.draw(st.integers(1, 3))):
        where = list(places(found))
        if not where:
            break
        place = data.draw(st.sampled_from(where))
        parent, step = found_at(found, place[:-1]), place[-1]
        match data.draw(st.sampled_from(["replace", "delete", "rename", "add", "twin"])):
            case "delete":
                del parent[step]
            case "rename" if isinstance(step, str):
                parent[data.draw(odd_keys)] = parent.pop(step)
            case "add" if isinstance(parent, dict):
                parent[data.draw(odd_keys)] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
            case "twin" if isinstance(parent, list):
                parent.append(json.loads(json.dumps(parent[int(step)])))
            case _:
                parent[step] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
    return found


SNIPPETS: Final = (
    *(f"&{CANARY} ", f"*{CANARY} ", f"!{CANARY} ", f"!!python/object:{CANARY} ", f"%{CANARY}\n"),
    *("<<: ", "? ", "- ", ": ", "{", "}", "[", "]", "'", '"', "|", ">", "#", "@", "`", "\t", "\\"),
    *('"\\UFFFFFFFF"', '"\\x"', "\0", "\x1b", "\ufeff", "\ud7ff", "\u2028", "%YAML 9.9\n---\n"),
    *("%YAML 1.1\n---\n", "---\n", "...\n", "\n", "\r", "  ", "${", "${NAME}", "$$", "~", "1_000"),
    *(f"%TAG !c! tag:{CANARY}\n---\n", f"!c!{CANARY} ", "!!binary ", "!!set ", "!!null ", "é"),
)


def scribbled(data: st.DataObject, text: str) -> str:
    """A file after one to four changes of its text."""
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        kind = data.draw(st.sampled_from(["insert", "cut", "truncate", "double"]))
        if kind == "insert":
            text = text[:start] + data.draw(st.sampled_from(SNIPPETS)) + text[start:]
        elif kind == "cut":
            text = text[:start] + text[end:]
        elif kind == "truncate":
            text = text[:start]
        else:
            text = text[:end] + text[start:end] + text[end:]
    return text


def dumped(found: object) -> str:
    """A configuration as a file has it, lone surrogates as escapes."""
    if any(
        "\ud800" in str(step)
        for place in places(found)
        for step in (*place, found_at(found, place))
    ):
        return json.dumps(found).replace("Infinity", ".inf")  # JSON is YAML
    found = json.loads(json.dumps(found))  # what is there twice would be an alias
    return yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


# The laws


def outcome(content: bytes) -> Config | ConfigError:
    """What a file leads to: nothing but a configuration or its mistakes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "seasalt.yml")
        file.write_bytes(content)
        try:
            return load([str(file)], {}, TODAY)
        except ConfigError as error:
            return error


def loaded(content: bytes) -> Config | None:
    """What a file leads to; None where its mistakes were told as they should be."""
    found = outcome(content)
    if isinstance(found, Config):
        return found
    assert found.mistakes
    for mistake in found.mistakes:
        well_told(mistake, content)
    told = "".join(traceback.format_exception(found))
    for text in (told, repr(found), repr(found.mistakes)):
        silent(text)
    return None


def well_told(mistake: Mistake, content: bytes) -> None:
    """With the file, a line that it has, and something to read."""
    assert mistake.file.endswith("/seasalt.yml")
    assert 1 <= mistake.line <= len(content.decode("utf-8", "replace").splitlines()) + 1
    assert mistake.text
    assert mistake.text.isprintable()


def silent(text: str) -> None:
    """Nothing of the canary, not even half of it."""
    lowered = text.casefold()
    parts = (CANARY[start : start + 10] for start in range(len(CANARY) - 9))
    assert not any(part in lowered for part in parts), text


@examples(200, 20_000)
@given(data=st.data())
def test_a_damaged_configuration_is_told_or_obeyed(data: st.DataObject) -> None:
    config = loaded(dumped(damaged(data, data.draw(configurations()))).encode())
    if config:
        obeyed(data, config)


@examples(200, 20_000)
@given(data=st.data())
def test_a_scribbled_file_is_told_or_obeyed(data: st.DataObject) -> None:
    text = scribbled(data, dumped(data.draw(configurations())))
    config = loaded(text.encode())
    if config:
        obeyed(data, config)


@examples(100, 5_000)
@given(st.binary(max_size=200) | st.text(string.printable, max_size=200).map(str.encode))
def test_any_bytes_are_told_or_obeyed(content: bytes) -> None:
    loaded(content)


@examples(100, 5_000)
@given(data=st.data())
def test_a_good_configuration_loads_or_says_which_two_reports_are_one(data: st.DataObject) -> None:
    found = outcome(dumped(data.draw(configurations())).encode())
    if isinstance(found, ConfigError):
        said = ["could write the same series" in one.text for one in found.mistakes]
        assert all(said), str(found)
    else:
        obeyed(data, found)


# What every request must keep


FIELDS: Final = {
    "seachat": {
        *("metrics", "timezone", "start_date", "end_date", "range_type", "message_type", "labels"),
        *("time_unit", "year", "exclude_empty_response", "gptbot_id"),
    },
    "seax": {
        *("metrics", "timezone", "start_date", "end_date", "range_type", "message_type", "labels"),
        *("time_unit", "year", "exclude_empty_response", "agents"),
    },
    "portal": {
        *("metric", "timezone", "from_date", "to_date", "type", "labels", "time_unit", "year"),
        *("handling_status", "exclude_empty_response"),
    },
}
"""What each API documents; anything else could be taken for something."""


def obeyed(data: st.DataObject, config: Config) -> None:
    """The plan holds each report once and every request keeps the rules, on any day."""
    shown = show.shown_configuration(config)
    assert f"sk-{CANARY}" not in shown
    today = data.draw(st.dates(date(2024, 1, 1), date(2035, 12, 31)))
    for workspace in config.workspaces:
        calls = planned_calls(workspace, workspace.bots)
        asked = [(call.target, entry) for call in calls for entry in call.entries]
        assert len(set(asked)) == len(asked)
        for call in calls:
            keeps_the_rules(call, today)


def keeps_the_rules(call: Call, today: date) -> None:
    """One request: documented fields alone, dates or a range, a zone with them, what fits."""
    api, body = call.api.name, json.loads(json.dumps(call.body(today)))
    assert body.keys() <= FIELDS[api]
    metrics = body.get("metrics") or [body["metric"]]
    assert len(set(metrics)) == len(metrics) == len(call.entries)
    assert len({entry.interval for entry in call.entries}) == 1
    for one in call.entries:
        for two in call.entries:
            assert agree(one.fields, two.fields)
        assert not (one.report.alone and len(metrics) > 1)
    first, last = ("from_date", "to_date") if api == "portal" else ("start_date", "end_date")
    assert (first in body) == (last in body)
    assert not (first in body and "range_type" in body)
    if {first, "range_type", "year"} & body.keys():
        assert body["timezone"]
    if first in body:
        begin, end = (datetime.fromisoformat(body[name]) for name in (first, last))
        assert begin.tzinfo is end.tzinfo is None
        assert (begin.hour, begin.minute, begin.second) == (0, 0, 0)
        assert (end.hour, end.minute, end.second) == (23, 59, 59)
        assert begin < end <= datetime.combine(today, datetime.min.time()) + timedelta(days=1)
    if "year" in body:
        assert len(body["year"]) == 4
        assert body["year"].isdigit()
    if "label_relation" in metrics:
        assert len(body["labels"]) == 2
    assert ("gptbot_id" in body) == bool(call.target.bot_id)
