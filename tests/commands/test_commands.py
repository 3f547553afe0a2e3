"""The commands within one process: what they print, and the status that they end with."""

import asyncio
import gc
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import pytest
from support.loopback import Listening, listening
from support.processes import finished
from support.sharded import of_shard
from support.states import real
from support.workspaces import TODAY, workspace

from exporter import __version__
from exporter.commands import bots, docs, once, plan, serve
from exporter.commands.configuration import configuration, read, rehearsed
from exporter.commands.flags import DONE, MENDABLE, Invocation, parse
from exporter.config import Config, load
from exporter.model import api_paths
from exporter.polling.plan import Call
from exporter.polling.poller import ReportPoller
from exporter.polling.workspace import WorkspacePoller
from exporter.state.encoding import State, decoded, encoded
from exporter.state.workspace_memory import Origin, RememberedTurns
from exporter.upstream import client
from exporter.upstream.client import Client

GOOD = {"total_usage": {"total_chat_responses": 1}}


class Api:
    """What the API answers, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, object]] = {api_paths.SEACHAT_REPORT: (200, GOOD)}
        self.lists({"id": "b1", "name": "Bot"})
        self.served: Listening

    def __call__(self, path: str) -> tuple[int, object]:
        """The answer of a path."""
        return self.answers.get(path, (404, {"detail": "no"}))

    def lists(self, *rows: object) -> None:
        """Let these be all the bots."""
        self.answers[api_paths.BOTS] = (200, {"data": rows, "total": len(rows)})


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    with listening(made) as made.served:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def flag(folder: Path, url: str, **others: Any) -> str:  # noqa: ANN401 - keys of the file
    """The flag that names a file with one workspace, or with these."""
    one = {
        "name": "acme",
        "api": "seachat",
        "api_key": "sk-1",
        "base_url": url,
        "requests_per_minute": 60_000,
        "metrics": ["total_usage"],
        "workspace_id": "ws-1",
        **others,
    }
    return flagged(folder, {key: value for key, value in one.items() if value is not None})


def flagged(folder: Path, *workspaces: object) -> str:
    file = folder / "seasalt.yml"
    file.write_text(json.dumps({"workspaces": workspaces}), encoding="utf-8")
    return f"--config.file={file}"


# plan


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_url": "https://300.300.300.300"}, "base_url is no address that can be asked"),
        ({"http": {"ca_file": "/dev/null"}}, None),
        ({"http": {"ca_file": "JUNK"}}, "its certificates cannot be used"),
        ({"http": {"ca_file": "HUGE"}}, "its certificates cannot be used"),
        ({"http": {"proxy_url": "http://300.300.300.300:1"}}, "http.proxy_url is no address"),
    ],
)
def test_what_is_right_when_it_is_checked_starts_and_what_would_not_start_is_wrong_then(
    folder: Path, given: dict[str, Any], says: str | None
) -> None:
    (folder / "JUNK").write_text("no certificate", encoding="utf-8")
    with (folder / "HUGE").open("wb") as stream:
        stream.truncate(2_255_000_000)
    text = json.dumps(given).replace("JUNK", f"{folder}/JUNK").replace("HUGE", f"{folder}/HUGE")
    config = flag(folder, "https://127.0.0.1:9", **json.loads(text))

    checked = finished([sys.executable, "-m", "exporter", "--config.check", config])

    assert checked.status == 1
    assert (says or "must be a file that exists") in checked.stderr
    assert len(checked.stderr.splitlines()) == 1


def test_the_plan_adds_up_what_is_configured_and_what_each_discovered_bot_adds() -> None:
    one = workspace(
        ["total_usage", {"metric": "csat", "interval": "20m"}, "label_overview"],
        bots=2,
        workspace_id="ws-1",
        discover_bots={"interval": "30m"},
    )

    assert list(plan.lines(one)) == [
        "workspace acme (SeaChat, UTC): 5 requests a round",
        "  every 30m    workspace: the list of bots, a page or more",
        "  at most 10000 bots of the list: max_bots",
        "  every 10m    workspace: label_overview",
        "  every 10m    b0: total_usage(today)",
        "  every 20m    b0: csat(last_30_days)",
        "  every 10m    b1: total_usage(today)",
        "  every 20m    b1: csat(last_30_days)",
        "  every 10m    each discovered bot: total_usage(today)",
        "  every 20m    each discovered bot: csat(last_30_days)",
        "  26 requests an hour, 624 a day",
        "  a round takes 5 s at 60 requests a minute",
        "  about 50 series, more with more labels and channels",
        "  and for each bot that is discovered 2 requests a round, 9 an hour, about 18 series",
    ]


def test_the_plan_of_a_shard_has_its_own_requests_and_its_part_of_the_limits() -> None:
    one = workspace(["total_usage", "label_overview"], bots=9, requests_per_minute=2, concurrency=6)
    told = [list(plan.lines(of_shard(one, f"{index}/3"))) for index in range(3)]

    requests = [line for lines in told for line in lines if line.startswith("  every")]
    assert sorted(requests) == sorted(
        line for line in plan.lines(one) if line.startswith("  every")
    )
    for index, lines in enumerate(told):
        own = [line for line in lines if line.startswith("  every")]
        assert lines[0] == (
            f"workspace acme (SeaChat, UTC), shard {index}/3: {len(own)} requests a round"
        )
        assert any(" s at 0.6666 requests a minute" in line for line in lines)
        assert not any("the list of bots" in line for line in lines)


@pytest.mark.parametrize(
    ("command", "divided"), [("once", True), ("backfill", False), ("bots", False)]
)
def test_a_variable_for_shards_divides_only_what_is_polled(
    folder: Path, command: str, *, divided: bool
) -> None:
    file = folder / "seasalt.yml"
    names = ", ".join(f"{{id: bot-{number}}}" for number in range(4))
    file.write_text(
        f"workspaces: [{{name: acme, api: seachat, api_key: k, bots: [{names}]}}]", "utf-8"
    )
    more = ["--from=2026-01-01"] if command == "backfill" else []
    given = parse([command, f"--config.file={file}", *more], {"SEASALT_EXPORTER_SHARD": "3/4"})
    (one,) = read(given).workspaces

    assert (len(one.bots) < 4) is divided


def test_the_plan_of_a_shard_says_that_each_reads_the_whole_list() -> None:
    one = workspace(["total_usage"], workspace_id="ws-1", discover_bots={}, concurrency=6)
    told = list(plan.lines(of_shard(one, "1/3")))

    assert "  each of the 3 shards reads the whole list, and polls about 1 of 3 bots in it" in told
    assert "  1 requests an hour, 24 a day" in told


def test_the_plan_of_a_workspace_without_discovery_says_nothing_of_it() -> None:
    told = "\n".join(plan.lines(workspace(["total_usage"], bots=1)))

    assert "6 requests an hour, 144 a day" in told
    assert "list of bots" not in told
    assert "discovered" not in told


# once


def test_once_ends_well_where_everything_came(
    api: Api, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = flag(folder, api.served.url(), discover_bots={})

    assert once.run(parse(["once", config], {})) == DONE

    written = capsys.readouterr()
    assert 'seasalt_report_success{api="seachat",workspace="acme",report="bots"} 1\n' in written.out
    assert 'bot="Bot",report="total_usage",window="today"} 1\n' in written.out
    assert "seasalt_exporter_config_last_reload_successful 1.0\n" in written.out
    assert written.err == ""


def test_once_fails_where_the_list_of_bots_does_though_every_report_came(
    api: Api, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers[api_paths.BOTS] = (500, {})
    config = flag(folder, api.served.url(), discover_bots={}, bots=[{"id": "b9"}])

    assert once.run(parse(["once", config], {})) == MENDABLE

    written = capsys.readouterr()
    assert 'bot="b9",report="total_usage",window="today"} 1\n' in written.out
    assert written.err == "workspace acme: bots: HTTP 500\n"


def test_once_fails_where_one_report_does(
    api: Api, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = flag(folder, api.served.url(), metrics=["total_usage", "communication_volume"])

    assert once.run(parse(["once", config], {})) == MENDABLE

    written = capsys.readouterr()
    assert 'report="total_usage",window="today"} 1\n' in written.out
    assert written.err == (
        "workspace acme: communication_volume: communication_volume: not in the answer\n"
    )


def test_once_sends_nothing_where_the_days_budget_is_too_low_for_a_round(
    api: Api, folder: Path
) -> None:
    bots = [{"id": "b1"}, {"id": "b2"}]
    enough = flag(folder, api.served.url(), bots=bots, requests_per_day=2)
    assert once.run(parse(["once", enough], {})) == DONE

    config = flag(folder, api.served.url(), bots=bots, requests_per_day=1)
    ended = finished([sys.executable, "-m", "exporter", "once", config])

    assert (ended.status, ended.stdout) == (MENDABLE, "")
    assert ended.stderr == ("workspace acme: a round takes 2 requests, requests_per_day allows 1\n")
    assert len(api.served.asked) == 2


# warnings


def test_what_is_probably_not_meant_is_told_and_is_no_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"metric": "total_usage", "window": "last_91_days"}
    config = flag(folder, "https://chat.seasalt.ai", metrics=[long])

    assert configuration(parse(["plan", config], {})) is not None

    written = capsys.readouterr()
    assert "metrics[0].window: warning: the API advises at most 90 days" in written.err
    assert written.out == ""


def test_a_check_of_many_workspaces_makes_what_they_share_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counted(*_: object) -> ssl.SSLContext:
        made.append(1)
        return ssl.create_default_context()

    made: list[int] = []
    monkeypatch.setattr(client, "_context", counted)
    monkeypatch.setattr(client, "_trusted", WeakValueDictionary())  # whatever others still hold

    rehearsed(Config(workspaces=tuple(workspace(name=f"w{number}") for number in range(5))))

    assert made == [1]


def test_the_configuration_in_force_is_printed_and_nothing_else_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = flag(folder, "https://chat.seasalt.ai")

    assert configuration(parse(["plan", config, "--config.check"], {})) is None

    assert "name: acme" in capsys.readouterr().out


def test_all_is_settled_once_when_there_is_something_to_poll_and_nothing_that_polls(
    folder: Path,
) -> None:
    found: list[set[type[object]]] = []

    def settled() -> None:
        made = (one for one in gc.get_objects() if id(one) not in known)
        found.append({type(one) for one in made})
        stop.set()

    async def go(config: Config) -> None:
        asyncio.get_running_loop().call_later(30, stop.set)
        await serve.serve(config, invocation, [], stop, settled=settled)

    others = gc.get_objects()  # of whatever ran before; held, so that no number of theirs is ours
    known = set(map(id, others))
    invocation = parse(["serve", flag(folder, "http://127.0.0.1:9")], {})
    config, stop = configuration(invocation), asyncio.Event()
    assert config
    asyncio.run(go(config))

    assert len(found) == 1
    assert Call in found[0]
    assert not found[0] & {WorkspacePoller, ReportPoller, Client}


def test_the_garbage_collector_rests_until_everything_is_restored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enabled = []

    async def restoring(*_: object, settled: Callable[[], None], **__: object) -> None:
        enabled.append(gc.isenabled())
        settled()
        enabled.append(gc.isenabled())

    _, invocation = serving(flag(folder, "http://127.0.0.1:9"))
    for name, instead in (
        *(("serve", restoring), ("signalled", asyncio.Event)),
        *(("considerate", int), ("listen", list), ("Source", lambda *_: None)),
    ):
        monkeypatch.setattr(serve, name, instead)
    try:
        serve.run(invocation)
    finally:
        gc.unfreeze()
        gc.enable()

    assert enabled == [False, True]


def test_a_state_that_nothing_can_be_begun_with_is_put_aside_and_it_serves(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def harm(_: ReportPoller, turns: RememberedTurns) -> None:
        if turns.due:
            raise OverflowError

    caplog.set_level("INFO")
    file = folder / "seasalt.state"
    flags = [flag(folder, "http://127.0.0.1:9"), f"--state.file={file}"]
    config, invocation = serving(*flags)
    memory = replace(real().memories[0], origin=Origin.of(config.workspaces[0]))
    content = encoded(State((memory,), real().records))
    file.write_bytes(content)
    monkeypatch.setattr(ReportPoller, "recall", harm)

    asyncio.run(for_a_moment(config, invocation))

    assert (folder / "seasalt.state.corrupt").read_bytes() == content
    assert decoded(file.read_bytes()).memories[0].origin == memory.origin
    told = [record.getMessage() for record in caplog.records]
    assert "state file ignored" in told
    assert any("bug" in text for text in told)
    assert told[-1] == "stopped"


def test_a_start_says_what_is_running_and_how_much_it_will_ask_for(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bots = [{"id": f"b{number}"} for number in range(20)]
    config, invocation = serving(
        flag(folder, "http://127.0.0.1:9", bots=bots, discover_bots={"interval": "1h"})
    )

    asyncio.run(for_a_moment(config, invocation))

    (line,) = [record for record in caplog.records if record.getMessage() == "started"]
    told = vars(line)
    assert told["version"] == __version__
    assert told["config"] == str(folder / "seasalt.yml")
    assert told["workspaces"] == 1
    assert told["requests_per_minute"] == pytest.approx(20 / 10 + 1 / 60, abs=0.01)


def serving(*flags: str) -> tuple[Config, Invocation]:
    invocation = parse(["serve", *flags], {})
    config = configuration(invocation)
    assert config
    return config, invocation


async def for_a_moment(config: Config, invocation: Invocation) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1, stop.set)
    await serve.serve(config, invocation, [], stop)


# bots

ODD = "Say \"hi\" \\ #1: ${HOME} $5 {x} - 'y'"


def test_the_bots_are_a_section_that_means_the_same_when_it_is_pasted(
    api: Api, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": "b1", "name": ODD},
        {"id": "012", "name": "off", "is_enabled": False},
        {"id": "b3", "name": ""},
        {"id": "b4", "name": "+1 206 123 4567", "is_enabled": True},
    ]
    api.lists(*rows)

    assert bots.run(parse(["bots", flag(folder, api.served.url())], {})) == DONE

    section = capsys.readouterr().out
    assert section.splitlines()[0] == "# workspace acme: 4 bots"
    assert [line.endswith("  # not enabled") for line in section.splitlines()[2:]] == [
        *(False, True, False, False)
    ]
    pasted = folder / "pasted.yml"
    head = "workspaces:\n  - name: acme\n    api: seachat\n    api_key: sk-1\n    "
    pasted.write_text(head + section.replace("\n", "\n    ").rstrip(), encoding="utf-8")
    (one,) = load([str(pasted)], {"HOME": "canary"}, TODAY).workspaces
    assert [(bot.id, bot.shown_name) for bot in one.bots] == [
        ("b1", ODD),
        ("012", "off"),
        ("b3", "b3"),
        ("b4", "redacted"),
    ]


def test_a_workspace_without_bots_has_an_empty_section(
    api: Api, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.lists()

    assert bots.run(parse(["bots", flag(folder, api.served.url())], {})) == DONE

    assert capsys.readouterr().out == "# workspace acme: 0 bots\nbots: []\n"


def test_bots_of_the_other_workspaces_are_listed_where_one_cannot_be_asked(
    api: Api, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {"api": "seachat", "api_key": "sk-1", "requests_per_minute": 60_000}
    refusing = {"name": "refusing", "base_url": "http://127.0.0.1:9", "workspace_id": "x"}
    config = flagged(
        folder,
        one | {"name": "nameless"},
        one | refusing,
        one | {"name": "portal", "api": "portal"},
        one | {"name": "acme", "base_url": api.served.url(), "workspace_id": "ws-1"},
    )

    assert bots.run(parse(["bots", config], {})) == MENDABLE

    written = capsys.readouterr()
    assert written.out.startswith("# workspace acme: 1 bots\nbots:\n")
    assert written.err.splitlines() == [
        "workspace nameless: needs a workspace_id",
        "workspace refusing: the API cannot be reached: connection refused",
    ]


@pytest.mark.parametrize(
    "answer", [(401, {"detail": "no key: sk-1"}), (200, {"data": "x"})], ids=["refused", "odd"]
)
def test_bots_fails_where_a_list_did_not_come(
    api: Api, folder: Path, answer: tuple[int, object], capsys: pytest.CaptureFixture[str]
) -> None:
    api.answers[api_paths.BOTS] = answer

    assert bots.run(parse(["bots", flag(folder, api.served.url())], {})) == MENDABLE

    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("workspace acme: ")
    assert written.err.count("\n") == 1
    assert "sk-1" not in written.err


def test_without_any_workspace_that_has_bots_that_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = flagged(folder, {"name": "acme", "api": "portal", "api_key": "sk-1"})

    assert bots.run(parse(["bots", config], {})) == MENDABLE

    assert capsys.readouterr().err == "no workspace of an API that has bots\n"


# docs


def test_docs_prints_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.run(parse(["docs"], {})) == DONE

    assert capsys.readouterr().out == docs.reference()
