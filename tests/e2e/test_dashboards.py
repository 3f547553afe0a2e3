"""Every query of every dashboard, asked of a real Prometheus with the demo of one afternoon in it."""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from e2e.books import HOURS, WEEKDAYS, Books, SeaChat
from e2e.programs import LOOPBACK, ROOT
from support.history import blocks, every, layers, polled, record, sandbox, start, write
from support.processes import answered, finished, get, started

from grafana.builder import attention
from grafana.builder.attention import FIRING
from grafana.builder.catalogue import BOARDS
from grafana.builder.words import LEAST_ANSWERS

Json = dict[str, Any]

RULES: Final = ROOT / "config" / "prometheus" / "rules"
END: Final = datetime(2026, 11, 20, 19, 30, tzinfo=UTC)
"""A Friday afternoon where the sandbox is, so that everything has begun and somebody is there."""
WEEK: Final = timedelta(weeks=1)
MONTH: Final = timedelta(days=31)
"""The month before has so many days."""
STEP: Final = timedelta(minutes=30)
WATCHDOG: Final = 'ALERTS{alertname="SeasaltWatchdog",alertstate="firing",severity="none"} 1'
ALERT: Final = (
    'ALERTS{alertname="SeasaltCsatLow",alertstate="firing",severity="warning",api="seachat",'
    'workspace="harbor",bot_id="BOT",bot="Customer Care"} 1'
)
BEGAN: Final = ALERT.replace('alertstate="firing",', "").replace("ALERTS", "ALERTS_FOR_STATE")
PROBED: Final = 'api="seachat",workspace="harbor",bot_id="BOT",bot="Customer Care"'
BESIDE: Final = tuple(
    line.replace("{", "{" + PROBED + ",")
    for line in (
        'probe_success{module="hours"} 0',
        'seasalt_probe_phase_duration_seconds{module="hours",phase="answer"} 1.5',
        'seasalt_probe_phase_duration_seconds{module="hours",phase="conversation"} 0.1',
        'seasalt_probe_failure{module="hours",reason="wrong_answer"} 1',
        'seasalt_probe_consecutive_failures{module="hours"} 3',
    )
)
"""What another job scrapes, or only a setting that the demo has not brings."""
DAYS: Final = 45
"""Of data before the first page."""
OF_ALL: Final = {"api", "window"}
"""Labels that every series has."""

each_board = pytest.mark.parametrize("uid", [board.uid for board in BOARDS])


@dataclass(frozen=True)
class Ask:
    """One query of a dashboard.

    Attributes:
        panel: The panel's title.
        expr: As it stands in the file.
        legend: The names of the labels in the legend.
        over_time: Whether it is asked over the time range, or for now alone.
    """

    panel: str
    expr: str
    legend: frozenset[str]
    over_time: bool


@dataclass(frozen=True)
class Served:
    """A Prometheus with something in it.

    Attributes:
        url: Where its API is.
        span: The length of the time range.
        step: Between two points of it.
        rate: What `$__rate_interval` stands for.
    """

    url: str
    span: timedelta
    step: timedelta
    rate: str

    def get(self, path: str, **parameters: object) -> Json:
        """An answer of the API, which must have nothing to remark."""
        given = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
        answer: Json = json.loads(get(f"{self.url}/api/v1/{path}?{given}").body)
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), answer["warnings"]
        assert not answer.get("infos"), answer["infos"]
        return answer

    def series(self, ask: Ask) -> list[Json]:
        """What a query brings, as its panel asks it."""
        query = self.resolved(ask.expr)
        if not ask.over_time:
            found = self.get("query", query=query, time=END.timestamp())
        else:
            found = self.get(
                "query_range",
                query=query,
                start=(END - self.span).timestamp(),
                end=END.timestamp(),
                step=self.step.total_seconds(),
            )
        result: list[Json] = found["data"]["result"]
        return result

    def resolved(self, expression: str) -> str:
        """A query as Grafana sends it when nothing is chosen."""
        return resolved(expression, self.rate)


def resolved(expression: str, rate: str) -> str:
    every_one = {"$job": ".+", "$workspace": ".*", "$bot": ".+", "$__rate_interval": rate}
    for name, value in every_one.items():
        expression = expression.replace(name, value)
    assert not re.search(r"\$[a-z_{]", expression)
    return expression


def asks(uid: str) -> list[Ask]:
    (board,) = (one.json() for one in BOARDS if one.uid == uid)
    return [
        Ask(
            panel["title"],
            target["expr"],
            frozenset(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])),
            target["range"],
        )
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


@contextmanager
def prometheus_on(program: str, folder: Path, settings: Json, *flags: str) -> Iterator[str]:
    """A Prometheus over a folder of data; its URL."""
    config = folder.with_suffix(".yml")
    config.write_text(json.dumps(settings))
    command = [
        *(program, f"--config.file={config}", f"--storage.tsdb.path={folder}"),
        *("--storage.tsdb.retention.time=50y", f"--web.listen-address={LOOPBACK}", *flags),
    ]
    with started(command) as process:
        url = "http://" + process.said(r'msg="Listening on".* address=(\S+)')
        answered(f"{url}/-/ready")
        yield url


def instants() -> list[datetime]:
    """The last hours closely, the last week loosely, and the same hour of weeks and a month ago."""
    ago = (MONTH, *(WEEK * week for week in range(1, 5)))
    before = {END - back - STEP * place for back in ago for place in range(4)}
    week = every(timedelta(hours=12), END - WEEK, END)
    return sorted({*before, *week, *every(STEP, END - timedelta(hours=3), END)})


@contextmanager
def filled(
    prometheus: str,
    promtool: str,
    folder: Path,
    moments: list[datetime],
    *beside: str,
    **given: Any,  # noqa: ANN401 - as `write` takes it
) -> Iterator[Served]:
    """The demo's pages of some instants, and what the recording rules make of them.

    With `big=True`, they are those of the demo with many bots.
    """
    data = folder / "data"
    write(folder / "pages.txt", moments, beside=("up 1", *beside), days=DAYS, **given)
    blocks(promtool, folder / "pages.txt", data)
    # A page of every half hour is seen until the next one comes.
    flags = ("--query.lookback-delta=61m",)
    wanted = {
        name
        for board in BOARDS
        for ask in asks(board.uid)
        for name in re.findall(r"\b(?:\w+:seasalt_|seasalt:)[\w:]+", ask.expr)
    }
    for layer in layers(RULES, sorted(wanted)):
        with prometheus_on(prometheus, data, {}, *flags) as url:
            record(
                promtool,
                layer,
                url=url,
                start=END - timedelta(hours=4),
                end=END,
                step=timedelta(minutes=10),
                data=folder / "recorded",
            )
        for block in (folder / "recorded").iterdir():
            shutil.move(block, data / block.name)
    with prometheus_on(prometheus, data, {}, *flags) as url:
        yield Served(url, span=WEEK, step=STEP, rate="2h")


@pytest.fixture(scope="module")
def history(
    prometheus: str, promtool: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Weeks of the demo, and an alert."""
    folder = tmp_path_factory.mktemp("history")
    moments = instants()
    made = sandbox(moments, lambda: start(moments), days=DAYS)
    (bot,) = (one.id for one in made.workspaces[0].bots if one.name == "Customer Care")
    made.close()
    alert = (one.replace("BOT", bot) for one in (ALERT, BEGAN, *BESIDE))
    with filled(prometheus, promtool, folder, moments, WATCHDOG, *alert) as found:
        yield found


@pytest.fixture(scope="module", params=[{}, {"big": True, "bots": 20}], ids=["four", "twenty"])
def new(
    prometheus: str,
    promtool: str,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Served]:
    """A demo half an hour after it was installed, on the same afternoon: the small and a big one."""
    folder = tmp_path_factory.mktemp("new")
    moments = list(every(timedelta(minutes=10), END - STEP, END))
    with filled(prometheus, promtool, folder, moments, WATCHDOG, *BESIDE, **request.param) as found:
        yield found


@pytest.fixture(scope="module")
def books() -> Iterator[Books]:
    """The tables behind the last page of the history."""
    moments = instants()
    made = sandbox(moments, lambda: start(moments), days=DAYS)
    at = polled(len(moments) - 1, moments[-1])
    yield Books(made, int(at.timestamp()), ZoneInfo(made.workspaces[0].timezone))
    made.close()


def empty(served: Served, uid: str) -> list[Ask]:
    """The queries of a dashboard that find nothing."""
    return [ask for ask in asks(uid) if not served.series(ask)]


PAST: Final = re.compile("offset (1w|1h|30d|-34h30m)|:usual|:ratio|_1h:sum|:zscore|:same_day")
"""What a new installation does not have yet."""
OFF: Final = re.compile("seasalt:(price|contract):")
"""Prices and contracts, which are off as shipped."""
NONE: Final = {"Bots without answers, 30 days", "Switched on, and no conversations in 30 days"}
"""Tables of what is odd, and with the demo nothing is."""


def holds(case: object, promtool: str, folder: Path) -> None:
    """Whether promtool finds that a test of expressions holds."""
    file = folder / "test.yml"
    file.write_text(json.dumps({"rule_files": [], "tests": [case]}))
    tested = finished([promtool, "test", "rules", str(file)])
    assert tested.status == 0, tested.stdout + tested.stderr


@each_board
def test_every_query_finds_something_in_weeks_of_history(history: Served, uid: str) -> None:
    left = [ask for ask in empty(history, uid) if not OFF.search(ask.expr)]
    assert [ask for ask in left if ask.panel not in NONE] == []


@each_board
def test_on_a_new_installation_only_what_needs_a_past_or_an_alert_is_empty(
    new: Served, uid: str
) -> None:
    left = [ask for ask in empty(new, uid) if not PAST.search(ask.expr)]
    panels = {ask.panel for ask in left if not OFF.search(ask.expr)}
    assert panels <= {"Needs attention"} | NONE


@cache
def each_bots(
    books: Books, metric: str, window: str, *, replied: bool = False
) -> dict[str, dict[str, float]]:
    """By bot: the value of each series of a report, by its name and own labels."""
    entry = {"metric": metric, "window": window}
    return {
        bot.name: {
            " ".join([name, *(value for label, value in sorted(labels) if label not in OF_ALL)]): (
                truth.value
            )
            for (name, labels), truth in SeaChat(books, [bot]).everything(
                [entry | {"exclude_empty_response": True} if replied else entry]
            )
        }
        for bot in books.bots
    }


def added(books: Books, metric: str, window: str, series: str) -> float:
    """The sum of a series over the bots, where they have it."""
    found = each_bots(books, metric, window).values()
    return sum(one.get(f"seasalt_{metric}_{series}", 0) for one in found)


def messages(books: Books, window: str) -> float:
    """Of all senders."""
    bots = each_bots(books, "activity_trend", window).values()
    return sum(
        value
        for one in bots
        for name, value in one.items()
        if name.split()[0].endswith("_messages")
    )


def share_without_reply(books: Books) -> float:
    name = "conversation_overview"
    replied = each_bots(books, name, "last_30_days", replied=True).values()
    return 1 - sum(one[f"seasalt_{name}_conversations true"] for one in replied) / added(
        books, name, "last_30_days", "conversations"
    )


def rated(books: Books, weights: Callable[[int], float]) -> float:
    """A mean over all answers of thirty days."""
    number = {
        rating: added(books, "csat", "last_30_days", f"rating_responses {rating}")
        for rating in range(1, 6)
    }
    return sum(weights(rating) * count for rating, count in number.items()) / sum(number.values())


def by_clock(books: Books, kind: str, names: Iterable[str]) -> dict[str, float]:
    return {
        name: added(books, "conversation_breakdown", "last_29_days", f"{kind}_messages {name}")
        - added(books, "conversation_breakdown", "today", f"{kind}_messages {name}")
        for name in names
    }


def outside(books: Books) -> float:
    hours = by_clock(books, "hour", HOURS)
    return 1 - sum(hours[f"{hour:02}"] for hour in range(8, 18)) / sum(hours.values())


def forecast(books: Books) -> float:
    """Minutes of November, of which nineteen days and some hours are over."""
    local = END.astimezone(books.zone)
    passed = local.day - 1 + (local.hour + local.minute / 60) / 24
    return added(books, "total_usage", "this_month", "voice_seconds") / 60 * 30 / passed


NUMBERS: Final[Mapping[tuple[str, str], Callable[[Books], float]]] = {
    ("overview", "Conversations, 7 days"): lambda books: added(
        books, "conversation_overview", "last_7_days", "conversations"
    ),
    ("overview", "Agent requests, 7 days"): lambda books: added(
        books, "conversation_overview", "last_7_days", "live_agent_requests"
    ),
    ("overview", "CSAT, 30 days"): lambda books: rated(books, float),
    ("csat", "Satisfied, 30 days"): lambda books: rated(books, lambda rating: rating > 3),
    ("csat", "Response rate, 30 days"): lambda books: (
        added(books, "csat", "last_30_days", "responses")
        / added(books, "conversation_overview", "last_30_days", "conversations")
    ),
    ("overview", "Messages yesterday"): lambda books: messages(books, "yesterday"),
    ("agents", "Unanswered, 30 days"): share_without_reply,
    ("agents", "Labelled unanswered, 30 days"): lambda books: added(
        books, "label_usage", "last_30_days", "uses Unanswered"
    ),
    ("demand", "Outside 8 to 18 o'clock, four weeks"): outside,
    ("demand", "Messages per conversation, 30 days"): lambda books: (
        added(books, "conversation_overview", "last_30_days", "messages")
        / added(books, "conversation_overview", "last_30_days", "conversations")
    ),
    ("usage", "Voice minutes today"): lambda books: (
        added(books, "total_usage", "today", "voice_seconds") / 60
    ),
    ("usage", "Voice minutes, month's forecast"): forecast,
    ("usage", "Chat responses this month"): lambda books: added(
        books, "total_usage", "this_month", "chat_responses"
    ),
}
"""By dashboard and title: what the panel must show, out of the sandbox's own tables."""


def only(uid: str, title: str) -> Json:
    """A panel."""
    (board,) = (one.json() for one in BOARDS if one.uid == f"seasalt-{uid}")
    (panel,) = (one for one in board["panels"] if one["title"] == title)
    found: Json = panel
    return found


def answer(served: Served, panel: Json, place: int = 0) -> list[Json]:
    """What one of a panel's queries brings, with room for the first one where it shows ten."""
    target = panel["targets"][place]
    expr = re.sub(r"(top|bottom)k\(10,", r"\1k(1,", target["expr"])
    return served.series(Ask(panel["title"], expr, frozenset(), over_time=target["range"]))


def latest(series: Json) -> float:
    """Its last value, asked over the time range or for now."""
    _, value = series["values"][-1] if "values" in series else series["value"]
    return float(value)


def place(panel: Json, title: str) -> int:
    """Which of a table's queries fills a column."""
    (names,) = (
        one["options"]["renameByName"]
        for one in panel["transformations"]
        if one["id"] == "organize"
    )
    (name,) = (name for name, shown in names.items() if shown == title)
    return ord(name[-1]) - ord("A")


def column(served: Served, panel: Json, title: str) -> dict[str, float]:
    """A column of a table, by bot."""
    found = answer(served, panel, place(panel, title))
    return {series["metric"]["bot"]: float(series["value"][1]) for series in found}


@pytest.mark.parametrize(("uid", "title"), NUMBERS, ids=[title for _, title in NUMBERS])
def test_a_number_is_what_the_sandbox_counted(
    history: Served, books: Books, uid: str, title: str
) -> None:
    ((series),) = answer(history, only(uid, title))
    # The reports of a page are polled within seconds of each other, not at once.
    assert latest(series) == pytest.approx(NUMBERS[uid, title](books), rel=0.005)


def test_the_busiest_weekday_is_the_one_with_most_messages(history: Served, books: Books) -> None:
    (series,) = answer(history, only("demand", "Busiest weekday, four weeks"))
    days = by_clock(books, "weekday", WEEKDAYS)
    assert series["metric"] == {"weekday": max(days, key=lambda day: days[day])}


def satisfaction(books: Books) -> dict[str, float]:
    found = each_bots(books, "csat", "last_30_days")
    return {bot: one["seasalt_csat_satisfaction_ratio"] for bot, one in found.items()}


def surely(books: Books) -> dict[str, float]:
    """By bot: which share of its users is satisfied at most, chance taken off."""
    answers = each_bots(books, "csat", "last_30_days")
    return {
        bot: ratio + 1.64 * (ratio * (1 - ratio) / answers[bot]["seasalt_csat_responses"]) ** 0.5
        for bot, ratio in satisfaction(books).items()
    }


def test_the_first_bot_of_the_table_is_the_one_that_surely_satisfies_least(
    history: Served, books: Books
) -> None:
    panel = only("csat", "Bots, the least satisfied first")
    (by,) = panel["options"]["sortBy"]
    shown = column(history, panel, by["displayName"])
    right = {bot: 1 - most for bot, most in surely(books).items()}
    assert shown == pytest.approx(right)
    first, *_ = sorted(shown, key=lambda bot: shown[bot], reverse=by["desc"])
    assert right[first] == max(right.values())


def test_of_few_answers_nobody_is_called_unsatisfied(history: Served) -> None:
    panel = only("overview", "Bots, those with alerts first")
    answers = column(history, panel, "Answers, 30 days")
    assert min(answers.values()) >= LEAST_ANSWERS, "else the other tests see too little"
    # As if only one bot had enough.
    panel = json.loads(
        json.dumps(panel).replace(f">= {LEAST_ANSWERS:g}", f">= {max(answers.values()):g}")
    )
    most = max(answers, key=lambda bot: answers[bot])
    assert column(history, panel, "Unsatisfied, 30 days").keys() == {most}


def test_where_ten_are_drawn_they_are_the_worst_or_the_busiest(
    history: Served, books: Books
) -> None:
    most = surely(books)
    messages = {
        bot: sum(value for name, value in one.items() if "_messages " in name)
        for bot, one in each_bots(books, "activity_trend", "yesterday").items()
    }
    for title, uid, right in (
        ("Satisfied by bot, 30 days", "csat", min(most, key=lambda bot: most[bot])),
        (
            "Messages an hour by bot, the ten busiest yesterday",
            "overview",
            max(messages, key=lambda bot: messages[bot]),
        ),
    ):
        assert {series["metric"]["bot"] for series in answer(history, only(uid, title))} == {right}


@each_board
def test_what_is_empty_on_a_new_installation_says_what_it_waits_for(uid: str) -> None:
    (board,) = (one.json() for one in BOARDS if one.uid == uid)
    for panel in board["panels"]:
        exprs = [target["expr"] for target in panel.get("targets", ())]
        if exprs and all(PAST.search(expr) for expr in exprs):
            said = panel["description"] + panel["fieldConfig"]["defaults"]["noValue"]
            assert "history" in said, panel["title"]


@each_board
def test_every_label_of_a_legend_is_in_the_result(history: Served, uid: str) -> None:
    for ask in asks(uid):
        for series in history.series(ask):
            assert ask.legend <= series["metric"].keys(), ask


@each_board
def test_every_number_can_be_shown(history: Served, uid: str) -> None:
    for ask in asks(uid):
        for series in history.series(ask):
            values = [value for _, value in series.get("values", [series.get("value")])]
            assert not {"NaN", "+Inf", "-Inf"} & set(values), ask


def test_the_variables_bring_what_there_is(history: Served) -> None:
    (board, *_) = (one.json() for one in BOARDS)
    found: dict[str, list[str]] = {}
    for one in board["templating"]["list"][1:]:
        if one["name"] == "bot":
            continue
        inside = re.fullmatch(r"label_values\((.*), (\w+)\)", one["query"]["query"])
        assert inside
        span = {"start": (END - STEP).timestamp(), "end": END.timestamp()}
        selector = {"match[]": history.resolved(inside[1])}
        found[one["name"]] = history.get(f"label/{inside[2]}/values", **selector, **span)["data"]
    assert found["job"] == ["seasalt"]
    assert found["workspace"] == ["harbor", "harbor-portal", "harbor-seax"]


def offered(found: Iterable[Json], regex: str) -> dict[str, str]:
    """What Grafana makes of the answer to a `query_result` variable: its values, as shown."""
    pattern = re.compile(regex.strip("/").replace("(?<", "(?P<"))
    shown = {}
    for series in found:
        # As Grafana writes a series: its labels in the order of the answer, nothing escaped.
        labels = ",".join(f'{name}="{value}"' for name, value in series["metric"].items())
        hit = pattern.search(f"{{{labels}}} 1 1700000000000")
        assert hit
        shown[hit["value"]] = hit["text"]
    return shown


def test_bots_of_one_name_are_offered_one_by_one(
    prometheus: str, promtool: str, tmp_path: Path
) -> None:
    """By id, and where workspace and name are the same the id is shown as well."""
    names = {
        ("harbor", "bot-1"): "Customer Care",
        ("harbor", "bot-2"): "Customer Care",
        ("orchard", "bot-3"): "Customer Care",
        ("orchard", "bot-4"): r'Sales "Plan B", \ {Outlet}',
    }
    at = int(END.timestamp())
    page = tmp_path / "page.txt"
    lines = []
    for (workspace, bot), name in names.items():
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        lines += [
            f'seasalt_report_success{{workspace="{workspace}",bot_id="{bot}",bot="{escaped}",report="{report}"}} 1 {at}\n'
            for report in ("csat", "activity_trend")
        ]
    page.write_text("".join((*lines, "# EOF\n")))
    blocks(promtool, page, tmp_path / "data")
    (variable,) = (one for one in BOARDS[0].json()["templating"]["list"] if one["name"] == "bot")
    query = variable["query"]["query"].removeprefix("query_result(").removesuffix(")")
    with prometheus_on(prometheus, tmp_path / "data", {}) as url:
        served = Served(url, span=WEEK, step=STEP, rate="2h")
        found = served.series(Ask("", query, frozenset(), over_time=False))
    assert offered(found, variable["regex"]) == {
        "bot-1": "Customer Care / harbor / bot-1",
        "bot-2": "Customer Care / harbor / bot-2",
        "bot-3": "Customer Care / orchard",
        "bot-4": r'Sales "Plan B", \ {Outlet} / orchard',
    }


@pytest.mark.parametrize(
    ("messages", "other", "shown"),
    [("50", "0", 0.25), ("0", "0", 0.0), ("_", "_", None), ("50", "_", 0.5)],
    ids=["one bot is silent", "both are", "nothing is known of either", "nothing is known of one"],
)
def test_a_silent_bot_has_none_of_the_usual_and_a_late_one_does_not_count(
    promtool: str, tmp_path: Path, messages: str, other: str, shown: float | None
) -> None:
    def series(name: str, bot: str, value: str) -> Json:
        labels = f'job="seasalt",api="seachat",workspace="acme",bot_id="{bot}",bot="{bot}"'
        return {"series": f"{name}{{{labels}}}", "values": value}

    samples = [] if shown is None else [{"labels": "{}", "value": shown}]
    expr = resolved(only("overview", "Today vs usual")["targets"][0]["expr"], "1m")
    case = {
        "interval": "1m",
        "input_series": [
            series("target:seasalt_messages_today:sum", "one", messages),
            series("target:seasalt_messages_today:sum", "two", other),
            *(series("target:seasalt_messages_today:usual", bot, "100") for bot in ("one", "two")),
        ],
        "promql_expr_test": [{"expr": expr, "eval_time": "0m", "exp_samples": samples}],
    }
    holds(case, promtool, tmp_path)


@pytest.mark.parametrize(
    ("uid", "title"),
    [("overview", "State of the workspaces"), ("exporter", "Workspaces")],
    ids=["overview", "exporter"],
)
@pytest.mark.parametrize(("shown", "name"), [("Key", "seasalt_api_key_valid")])
def test_of_two_exporters_the_one_that_is_broken_is_seen(
    promtool: str, tmp_path: Path, uid: str, title: str, shown: str, name: str
) -> None:
    of = 'job="seasalt",api="seachat",workspace="acme"'
    panel = only(uid, title)
    expr = resolved(panel["targets"][place(panel, shown)]["expr"], "1m")
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'{name}{{{of},instance="{instance}"}}', "values": value}
            for instance, value in enumerate("101")
        ],
        "promql_expr_test": [
            {
                "expr": expr,
                "eval_time": "0m",
                "exp_samples": [{"labels": '{api="seachat",workspace="acme"}', "value": 0}],
            }
        ],
    }
    holds(case, promtool, tmp_path)


@pytest.mark.parametrize(
    ("uid", "title"),
    [("overview", "Bots, those with alerts first"), ("bot", "What the list of bots says")],
    ids=["overview", "bot"],
)
def test_a_bot_has_one_change_since_last_week_wherever_it_stands(
    history: Served, books: Books, uid: str, title: str
) -> None:
    shown = column(history, only(uid, title), "Change vs last week")
    assert len(shown) == 4
    for bot, change in shown.items():
        (target,) = only("bot", "vs last week")["targets"]
        (bot_id,) = {one.id for one in books.bots if one.name == bot}
        expr = target["expr"].replace("$bot", bot_id)
        (series,) = history.series(Ask("", expr, frozenset(), over_time=True))
        assert latest(series) == pytest.approx(change)


def alerts(promtool: str, folder: Path, expression: str, firing: Iterable[str], count: int) -> None:
    """Holds an expression to how many series it has while some alerts fire."""
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'ALERTS{{{labels},alertstate="firing"}}', "values": "1"}
            for labels in firing
        ],
        "promql_expr_test": [
            {
                "expr": resolved(f"count({expression}) or vector(0)", "1m"),
                "eval_time": "0m",
                "exp_samples": [{"labels": "{}", "value": count}],
            }
        ],
    }
    holds(case, promtool, folder)


_PLACE: Final = 'job="seasalt",api="seachat",workspace="acme"'
_BOT: Final = f'{_PLACE},bot_id="bot-1",bot="Care"'
_SILENT: Final = f'alertname="SeasaltBotSilent",severity="critical",category="data",{_BOT}'
_DROPPED: Final = f'alertname="SeasaltVolumeDropped",severity="warning",category="data",{_BOT}'
_KEY: Final = f'alertname="SeasaltKeyRejected",severity="critical",category="exporter",{_PLACE}'
_STALE: Final = f'alertname="SeasaltDataStale",severity="warning",category="exporter",{_PLACE}'
_REPORT: Final = (
    f'alertname="SeasaltReportStale",severity="none",category="inhibitor",report="csat",{_BOT}'
)


@pytest.mark.parametrize(
    ("firing", "heeded", "rows"),
    [
        ((_SILENT,), 1, 1),
        ((_SILENT, _DROPPED), 1, 1),
        ((_DROPPED.replace("bot-1", "bot-2"), _SILENT), 2, 2),
        ((_KEY, _STALE), 1, 1),
        ((_KEY, _SILENT, _REPORT), 2, 2),
        ((_DROPPED, _DROPPED.replace("VolumeDropped", "CsatLow")), 2, 1),
        ((), 0, 0),
    ],
    ids=["one", "inhibited", "another bot", "a key", "severity none", "two of a bot", "none"],
)
def test_what_alertmanager_inhibits_needs_no_attention(
    promtool: str, tmp_path: Path, firing: tuple[str, ...], heeded: int, rows: int
) -> None:
    alerts(promtool, tmp_path, attention.HEEDED, firing, heeded)
    alerts(promtool, tmp_path, attention.NUMBER, firing, rows)
    alerts(promtool, tmp_path, attention.WORST, firing, rows)


def test_a_number_that_has_gone_is_not_shown(promtool: str, tmp_path: Path) -> None:
    """Where the time range holds old values, and now there is none."""
    (target,) = only("bot", "Users, 7 days")["targets"]
    labels = f'{_BOT},window="last_7_days"'

    def at_the_end(expression: str, minute: int) -> str:
        return resolved(expression, "1m").replace("@ end()", f"@ {60 * minute}")

    case = {
        "interval": "1m",
        "input_series": [
            {
                "series": f"seasalt_conversation_overview_users{{{labels}}}",
                "values": "100x5 stale _x10",
            }
        ],
        "promql_expr_test": [
            {
                "expr": at_the_end(target["expr"], minute),
                "eval_time": "2m",
                "exp_samples": [{"labels": "{}", "value": 100}] if there else [],
            }
            for minute, there in ((5, True), (12, False))
        ],
    }
    holds(case, promtool, tmp_path)


@pytest.mark.parametrize(
    ("prices", "shown"),
    [
        ((), {}),
        (('voice_minute{workspace="acme",currency="USD"}',), {"USD": 20}),
        (
            (
                'voice_minute{workspace="acme",currency="USD"}',
                'chat_response{workspace="acme",currency="USD"}',
                'chat_response{workspace="beta",currency="EUR"}',
            ),
            {"USD": 220, "EUR": 60},
        ),
    ],
    ids=["no prices", "one price", "two currencies"],
)
def test_a_cost_is_shown_where_there_is_a_price_and_by_currency(
    promtool: str, tmp_path: Path, prices: tuple[str, ...], shown: Mapping[str, float]
) -> None:
    (target,) = only("overview", "Cost this month")["targets"]

    def used(what: str, workspace: str, value: int) -> Json:
        place = _BOT.replace("acme", workspace)
        name = f"seasalt_total_usage_{what}"
        return {"series": f'{name}{{{place},window="this_month"}}', "values": str(value)}

    case = {
        "interval": "1m",
        "input_series": [
            used("voice_seconds", "acme", 600),
            used("chat_responses", "acme", 100),
            used("chat_responses", "beta", 30),
            *({"series": f"seasalt:price:{price}", "values": "2"} for price in prices),
        ],
        "promql_expr_test": [
            {
                "expr": resolved(target["expr"], "1m").replace(" @ end()", ""),
                "eval_time": "0m",
                "exp_samples": [
                    {"labels": f'{{currency="{name}"}}', "value": value}
                    for name, value in shown.items()
                ],
            }
        ],
    }
    holds(case, promtool, tmp_path)


def test_a_conversation_costs_what_the_bots_with_a_price_and_a_past_used(
    promtool: str, tmp_path: Path
) -> None:
    """Another currency's conversations make none cheaper, nor does a new bot's whole past make one dearer."""
    (target,) = only("usage", "Cost per conversation, 30 days")["targets"]

    def series(name: str, bot: str, workspace: str, window: str, values: str) -> Json:
        place = _BOT.replace("acme", workspace).replace("bot-1", bot)
        return {"series": f'seasalt_{name}{{{place},window="{window}"}}', "values": values}

    bots = (
        ("old", "acme", "100 _x29 500", "200"),
        ("new", "acme", "_ _x29 90000", "1000"),
        ("old", "beta", "0 _x29 30", "10"),
        ("old", "unpriced", "0 _x29 70", "5000"),
    )
    prices = (
        'voice_minute{workspace="acme",currency="USD"}',
        'chat_response{workspace="acme",currency="USD"}',
        'chat_response{workspace="beta",currency="EUR"}',
    )
    used = [
        series(f"total_usage_{what}", bot, workspace, "all", values)
        for what in ("chat_responses", "voice_seconds")
        for bot, workspace, values, _ in bots
    ]
    had = [
        series(
            "conversation_overview_conversations", bot, workspace, "last_30_days", f"{number}x30"
        )
        for bot, workspace, _, number in bots
    ]
    case = {
        "interval": "1d",
        "input_series": [
            *used,
            *had,
            *({"series": f"seasalt:price:{price}", "values": "0.6x30"} for price in prices),
        ],
        "promql_expr_test": [
            {
                "expr": resolved(target["expr"], "1m"),
                "eval_time": "30d",
                "exp_samples": [
                    {"labels": '{currency="USD"}', "value": (400 * 0.6 + 400 / 60 * 0.6) / 200},
                    {"labels": '{currency="EUR"}', "value": 30 * 0.6 / 10},
                ],
            }
        ],
    }
    holds(case, promtool, tmp_path)


def test_an_hour_of_the_week_is_one_of_each_workspaces_clock(
    prometheus: str, promtool: str, tmp_path: Path
) -> None:
    """Two bots get twelve messages from Monday noon to one, in India and in California.

    The second workspace is polled a week later: a mean is not larger for more weeks. What comes in
    the last five minutes of an hour counts with the next.
    """
    week = 7 * 24 * 60
    thursday = int(datetime(2026, 10, 22, tzinfo=UTC).timestamp())
    one_on_monday = (4 * 24 + 13) * 60
    lines = []
    for workspace, ahead, since in (("india", 330, 0), ("california", -480, week)):
        labels = f'api="seachat",workspace="{workspace}"'
        target = f'{labels},bot_id="{workspace}",bot="Care"'
        for minute in range(since, 4 * week + 1, 5):
            at = thursday + 60 * minute
            within_an_hour = max(0, 60 - abs((minute + ahead) % week - one_on_monday)) // 5
            lines += [
                f"workspace:seasalt_local_time:seconds{{{labels}}} {at + 60 * ahead} {at}\n",
                f"target:seasalt_messages_1h:sum{{{target}}} {within_an_hour} {at}\n",
            ]
    page = tmp_path / "page.txt"
    page.write_text("".join((*lines, "# EOF\n")))
    blocks(promtool, page, tmp_path / "data")
    (asked,) = only("demand", "Messages by weekday and hour, SeaChat bots, four weeks")["targets"]
    with prometheus_on(prometheus, tmp_path / "data", {}) as url:
        served = Served(url, span=WEEK, step=STEP, rate="2h")
        found = served.get(
            "query", query=served.resolved(asked["expr"]), time=thursday + 60 * 4 * week
        )["data"]["result"]
    slots = {(one["metric"]["weekday"], one["metric"]["hour"]): latest(one) for one in found}
    assert len(slots) == 7 * 24
    assert {slot: value for slot, value in slots.items() if value} == {
        ("1", "12"): 22,
        ("1", "13"): 2,
    }


def test_firing_alerts_are_found_for_marking(history: Served) -> None:
    now = {"query": history.resolved(FIRING), "time": END.timestamp()}
    (found,) = history.get("query", **now)["data"]["result"]
    assert found["metric"]["alertname"] == "SeasaltCsatLow"
    with_watchdog = FIRING.replace('severity!="none",', "")
    now["query"] = history.resolved(with_watchdog)
    assert len(history.get("query", **now)["data"]["result"]) == 2
