"""A real Prometheus finds the sandbox's bots by service discovery, probes them, and tells them apart."""

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml
from e2e.programs import LOOPBACK, Command, ServedSandbox, served
from support.processes import Running, answered, finished, get, started, wait_for
from support.serving import rest
from support.states import unpacked

from exporter.sandbox import Manner, Sandbox
from exporter.sandbox.conversations import TRANSFER, WRONG
from exporter.web.app import MOST_WAITING_OF_ONE

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "config" / "prometheus"
CANARY: Final = "canary-in-an-answer"
CANARIES: Final = (CANARY, WRONG, TRANSFER)
"""What the bots say: right, wrong, and before a hand-over."""
MANNERS: Final = (Manner.ANSWERS, Manner.WRONGLY, Manner.NEVER, Manner.HANDOVER)
TIMEOUT: Final = 2.0
INTERVAL: Final = 3.0
REASON: Final = {
    Manner.WRONGLY: "wrong_answer",
    Manner.NEVER: "no_answer",
    Manner.HANDOVER: "handover",
}


@dataclass
class Probing:
    """An exporter that may probe four bots of a sandbox.

    Attributes:
        api: The sandbox.
        address: Where the exporter is.
        process: The exporter.
        config: Its configuration's file.
        bots: The id of the bot of each manner.
    """

    api: ServedSandbox
    address: str
    process: Running
    config: Path
    bots: dict[Manner, str]

    @property
    def state(self) -> Path:
        """Its state file."""
        return self.config.with_name("state")

    @property
    def messages(self) -> dict[str, int]:
        """The messages that each bot got."""
        return self.api.sandbox.conversations.messages

    def target(self, manner: Manner) -> str:
        """The path of a bot's probe."""
        return f"/probe?workspace=acme&bot_id={self.bots[manner]}&module=hours"


@pytest.fixture
def probing(exporter: Command, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Probing]:
    interval = getattr(request, "param", f"{INTERVAL:.0f}s")
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=4, days=2, conversations_per_day=1)
    talk = made.conversations
    talk.answers = {text: f"{CANARY} {answer}" for text, answer in talk.answers.items()}
    bots = dict(zip(MANNERS, (bot.id for bot in made.workspaces[0].bots), strict=True))
    talk.manners.update({bot: manner for manner, bot in bots.items()})
    with probed(exporter, made, tmp_path, interval, bots) as probing:
        yield probing


@contextmanager
def probed(
    exporter: Command,
    made: Sandbox,
    tmp_path: Path,
    interval: str,
    bots: dict[Manner, str],
    timeout: float = TIMEOUT,
) -> Iterator[Probing]:
    """An exporter that may probe the bots of a sandbox's first workspace."""
    workspace = made.workspaces[0]
    with served(made) as api:
        config = tmp_path / "seasalt.yml"
        config.write_text(
            json.dumps(
                {
                    "allow_fast_polling": True,
                    "requests_per_minute": 6000,
                    "modules": {
                        "hours": {
                            "question": "When are you open?",
                            "answer": "(?i)9 ?am",
                            "timeout": f"{timeout:.0f}s",
                            "interval": interval,
                        }
                    },
                    "workspaces": [
                        {
                            "name": "acme",
                            "api": "seachat",
                            "base_url": api.url,
                            "api_key": workspace.seachat_key,
                            "workspace_id": workspace.id,
                            "discover_bots": {},
                            "probes": ["hours"],
                            "metrics": ["label_overview"],
                        }
                    ],
                }
            )
        )
        command = [*exporter, f"--config.file={config}", f"--web.listen-address={LOOPBACK}"]
        command.append(f"--state.file={config.with_name('state')}")
        with started([*command, "--log.level=debug"]) as process:
            address = process.said(r"msg=listening address=(\S+)")
            process.said(r"(msg=bots)")
            yield Probing(api, address, process, config, bots)


def prometheus_on(prometheus: str, folder: Path, address: str) -> list[str]:
    """A Prometheus with the shipped jobs and rules, in a hurry."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    text = json.dumps(
        {
            "global": {
                "scrape_interval": "3s",
                "scrape_timeout": "3s",
                "evaluation_interval": "1s",
            },
            "rule_files": [f"{PROMETHEUS}/rules/*.yml"],
            "scrape_configs": config["scrape_configs"][:2],
        }
    ).replace("exporter:9877", address)
    hurried = json.loads(text)
    for job in hurried["scrape_configs"]:
        job.pop("scrape_timeout", None)
        for found in job.get("http_sd_configs", ()):
            found["refresh_interval"] = "1s"
    file = folder / "prometheus.yml"
    file.write_text(json.dumps(hurried))
    return [
        *(prometheus, f"--config.file={file}", f"--storage.tsdb.path={folder / 'tsdb'}"),
        f"--web.listen-address={LOOPBACK}",
    ]


def test_a_real_prometheus_finds_four_bots_probes_them_and_tells_them_apart(
    prometheus: str, probing: Probing, tmp_path: Path
) -> None:
    with started(prometheus_on(prometheus, tmp_path, probing.address)) as process:
        url = "http://" + process.said(r'msg="Listening on".* address=(\S+)')
        answered(f"{url}/-/ready")

        def ask(query: str) -> list[tuple[dict[str, str], float]]:
            found = json.loads(get(f"{url}/api/v1/query?query={quote(query)}").body)
            assert found["status"] == "success", found
            return [(row["metric"], float(row["value"][1])) for row in found["data"]["result"]]

        def firing() -> dict[str, str]:
            query = 'ALERTS{alertname="SeasaltBotNotAnswering",alertstate="firing"}'
            return {labels["bot_id"]: labels["reason"] for labels, _ in ask(query)}

        wanted = {probing.bots[manner]: reason for manner, reason in REASON.items()}
        wait_for(lambda: firing() == wanted, "the alert does not tell them apart", more=firing)

        success = {labels["bot_id"]: value for labels, value in ask("probe_success")}
        assert success == {
            bot: float(manner is Manner.ANSWERS) for manner, bot in probing.bots.items()
        }
        found = {labels["bot_id"]: labels for labels, _ in ask("seasalt_probe_failure == 1")}
        assert {bot: labels["reason"] for bot, labels in found.items()} == wanted
        for labels in found.values():
            assert (labels["job"], labels["api"]) == ("seasalt-probes", "seachat")
            assert (labels["workspace"], labels["module"]) == ("acme", "hours")
            assert labels["bot"]
        slow = ask('seasalt_probe_phase_duration_seconds{phase="answer"} > 1.9')
        assert probing.bots[Manner.NEVER] in {labels["bot_id"] for labels, _ in slow}

        # One that answers again is no longer told as one that does not. The alert itself goes on
        # for minutes after that: `keep_firing_for`.
        bot = probing.bots.pop(Manner.WRONGLY)
        probing.api.sandbox.conversations.manners[bot] = Manner.ANSWERS
        wait_for(lambda: ask(f'probe_success{{bot_id="{bot}"}} == 1'), "does not recover")
        assert not ask(f'seasalt_probe_failure{{bot_id="{bot}"}}')
        failures = ask(f'seasalt_probe_consecutive_failures{{bot_id="{bot}"}}')
        assert [value for _, value in failures] == [0]

        series = quote('{__name__=~".+"}')
        everything = json.loads(get(f"{url}/api/v1/series?match[]={series}").body)
        shown = [json.dumps(everything)]
    paths = ["/metrics", "/", "/api/v1/status", "/api/v1/sd/probes"]
    paths += [probing.target(manner) for manner in probing.bots]
    shown += [get(f"http://{probing.address}{path}").body.decode() for path in paths]
    ended = probing.process.end()
    shown += [ended.stderr, ended.stdout, unpacked(probing.state.read_bytes()).decode()]
    assert [canary for canary in CANARIES for text in shown if canary in text] == []


@pytest.mark.parametrize("probing", ["10m"], indirect=True)
def test_fifty_who_probe_a_bot_at_once_send_one_message(probing: Probing) -> None:
    host, port = probing.address.split(":")
    bodies: list[bytes] = []

    def scrape(number: int) -> None:
        source = (f"127.0.0.{2 + number}", 0)
        with closing(socket.create_connection((host, int(port)), 40, source)) as connection:
            path = probing.target(Manner.NEVER)
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            bodies.append(rest(connection).partition(b"\r\n\r\n")[2])

    for _ in range(2):
        threads = [Thread(target=scrape, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(bodies) == 100
    assert len(set(bodies)) == 1
    assert b'reason="no_answer"' in bodies[0]
    assert probing.messages == {probing.bots[Manner.NEVER]: 1}


def test_bots_that_hang_leave_a_place_for_the_metrics(exporter: Command, tmp_path: Path) -> None:
    made = Sandbox.make(now=lambda: datetime.now(UTC), bots=45, days=2, conversations_per_day=1)
    bots = [bot.id for bot in made.workspaces[0].bots]
    made.conversations.manners.update(dict.fromkeys(bots, Manner.NEVER))
    # Long enough for all that follows to be done while they hang.
    with (
        probed(exporter, made, tmp_path, "10m", {}, timeout=5.0) as probing,
        ExitStack() as stack,
    ):
        host, port = probing.address.split(":")

        def scrape(bot: str) -> socket.socket:
            connection = stack.enter_context(
                closing(socket.create_connection((host, int(port)), 40))
            )
            path = f"/probe?workspace=acme&bot_id={bot}&module=hours"
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            return connection

        def status(connection: socket.socket) -> bytes:
            return rest(connection).split(b" ", 2)[1]

        waiting = [scrape(bot) for bot in bots[:MOST_WAITING_OF_ONE]]
        wait_for(lambda: len(probing.messages) == MOST_WAITING_OF_ONE, "no messages")
        others = [status(scrape(bot)) for bot in bots[MOST_WAITING_OF_ONE:]]
        assert set(others) == {b"503"}
        for _ in range(3):
            assert get(f"http://{probing.address}/metrics").status == 200
        assert {status(connection) for connection in waiting} == {b"200"}
        # Those that did not wait were asked all the same, once.
        wait_for(lambda: len(probing.messages) == len(bots), "not all were asked")
        assert set(probing.messages.values()) == {1}


@pytest.mark.parametrize("probing", ["10m"], indirect=True)
def test_a_scrape_that_goes_away_half_way_costs_nothing_more(probing: Probing) -> None:
    host, port = probing.address.split(":")
    path, bot = probing.target(Manner.NEVER), probing.bots[Manner.NEVER]
    for _ in range(3):
        with closing(socket.create_connection((host, int(port)), 40)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            wait_for(lambda: probing.messages.get(bot), "no message")
    assert b'reason="no_answer"' in get(f"http://{probing.address}{path}").body
    assert probing.messages == {bot: 1}
    assert Counter(probing.api.requests)["/api/v1/public/bots"] == 1


def test_the_command_line_probes_once_and_prints_the_phases(
    exporter: Command, probing: Probing
) -> None:
    def probe(*flags: str) -> Any:  # noqa: ANN401 - Ended
        return finished([*exporter, "probe", f"--config.file={probing.config}", *flags])

    right = probe(f"--bot={probing.bots[Manner.ANSWERS]}")
    assert right.status == 0, right.stderr
    assert CANARY not in right.stdout + right.stderr
    assert [line.split()[0] for line in right.stdout.splitlines()] == [
        *("wait", "conversation", "answer", "in", "success:")
    ]
    for manner, reason in REASON.items():
        wrong = probe(f"--bot={probing.bots[manner]}", "--workspace=acme", "--module=hours")
        assert wrong.status == 1
        assert f"failure: {reason}: " in wrong.stdout
        assert not any(canary in wrong.stdout + wrong.stderr for canary in CANARIES)
    assert sum(probing.messages.values()) == 4
    for flags, said in (
        ((), "--bot must be the id of a bot, as `seasalt-exporter bots` lists them\n"),
        (("--bot=x",), "--bot must be the id of a bot of workspace acme\n"),
        (("--bot=x", "--workspace=acm"), "must be a workspace with probes: acme; did you mean"),
        (
            (f"--bot={probing.bots[Manner.ANSWERS]}", "--module=hour"),
            "--module must be a module of the bot: hours; did you mean hours?\n",
        ),
    ):
        refused = probe(*flags)
        assert refused.status == 1
        assert said in refused.stderr
    assert sum(probing.messages.values()) == 4


def test_a_probe_under_way_does_not_hold_up_the_end(probing: Probing) -> None:
    host, port = probing.address.split(":")
    with closing(socket.create_connection((host, int(port)), 40)) as connection:
        path = probing.target(Manner.NEVER)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        wait_for(lambda: probing.messages, "no message")
        ended = probing.process.end()
        assert b" 503 " in rest(connection).split(b"\r\n")[0]
    assert ended.status == 0
    assert "Traceback" not in ended.stderr
