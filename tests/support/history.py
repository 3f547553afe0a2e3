"""Weeks of the exporter's own pages as OpenMetrics with timestamps, in seconds.

The sandbox, the pollers and the renderer are the real ones; only the clock is moved. What comes out
goes into Prometheus with `promtool tsdb create-blocks-from openmetrics`.
"""

import asyncio
import random
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

import httpx
import yaml

from exporter.commands import demo
from exporter.config import Config
from exporter.metrics.snapshot import snapshot
from exporter.metrics.store import Store
from exporter.metrics.telemetry import PAGE_BYTES, SERIES, Telemetry
from exporter.polling.workspace import WorkspacePoller
from exporter.sandbox import Sandbox
from support.processes import finished
from support.virtual import World

LABELS: Final = {"job": "seasalt", "instance": "exporter:9877"}
"""What scraping adds to every series."""

_INTERVAL: Final = timedelta(minutes=10)
_LONGEST_SLEEP: Final = 3600.0
_WORD: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Turn:
    """Something that happens to the sandbox.

    Attributes:
        at: When, aware.
        what: Does it.
    """

    at: datetime
    what: Callable[[Sandbox], object]


def every(step: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    """The instants from a start to an end, both included, a step apart, counted from the end."""
    number = (end - start) // step
    yield from (end - step * place for place in range(number, -1, -1))


def polled(place: int, moment: datetime) -> datetime:
    """When the reports of a page were polled, by its place among the instants.

    Polls and scrapes do not keep step: what is scraped is up to nine minutes old.
    """
    return moment - timedelta(minutes=1 + place * 7 % 9)


def sandbox(
    moments: Sequence[datetime],
    now: Callable[[], datetime],
    *,
    big: bool = False,
    **given: Any,  # noqa: ANN401 - keywords of Sandbox.make or Sandbox.make_big
) -> Sandbox:
    """The sandbox of the instants, the same at each call: its clock must begin at `start`.

    In a big one, the silent bot has been silent for thirty hours at the last instant.
    """
    more: dict[str, Any] = {"ahead_days": (moments[-1] - start(moments)).days + 3} | given
    if big:
        more = {"silent_since": moments[-1] - timedelta(hours=30)} | more
    return (Sandbox.make_big if big else Sandbox.make)(**more, now=now)


def start(moments: Sequence[datetime]) -> datetime:
    """When the sandbox of the instants begins."""
    return moments[0] - _INTERVAL


def write(
    path: Path,
    instants: Iterable[datetime],
    *,
    configuration: Mapping[str, Any] | None = None,
    turns: Sequence[Turn] = (),
    beside: Sequence[str] = ("up 1",),
    **given: Any,  # noqa: ANN401 - keywords of `sandbox`
) -> int:
    """Write the page of each instant, scraped some minutes after a round of polls.

    Args:
        path: The file to write.
        instants: Rising, aware, at least ten minutes apart.
        configuration: Of one company, as a file has it, with the demo's variables; None is
            `as_demo()`.
        turns: What happens to the sandbox, done before the first page that is later.
        beside: More samples for every page, without a time.
        given: Of `sandbox`, beside the instants and the clock: `big=True` for the demo with many
            bots. `days` are those before the first instant.

    Returns:
        The number of samples.
    """
    moments = list(instants)
    world = World(start(moments))
    made = sandbox(moments, world.now, **given)
    # The largest workspace of the big demo sends 41,000 requests a day.
    usual = as_demo(budget=100_000) if given.get("big") else as_demo()
    config = _loaded(usual if configuration is None else configuration, made, world.start)

    async def pages(out: IO[str]) -> int:
        async with AsyncExitStack() as stack:
            exporter = _Exporter(config, made, world)
            await exporter.begin(stack)
            waiting, samples = sorted(turns, key=lambda turn: turn.at), 0
            for place, moment in enumerate(moments):
                while waiting and waiting[0].at <= moment:
                    waiting.pop(0).what(made)
                await _until(world, polled(place, moment))
                await exporter.poll()
                await _until(world, moment)
                lines = (*beside, *exporter.page())
                stamp = f" {int(moment.timestamp())}\n"
                out.writelines(f"{line}{stamp}" for line in lines)
                samples += len(lines)
            out.write("# EOF\n")
            return samples

    with closing(made), path.open("w", encoding="utf-8") as out:
        return world.run(lambda: pages(out))


def blocks(promtool: str, history: Path, data: Path, labels: Mapping[str, str] = LABELS) -> None:
    """Make the blocks of a Prometheus out of a written history.

    Args:
        promtool: Makes them.
        history: The file.
        data: Takes the blocks.
        labels: For every series; none if the file has them already.

    Raises:
        AssertionError: If promtool does not take it.
    """
    made = finished(
        [
            *(promtool, "tsdb", "create-blocks-from", "--max-block-duration=8760h", "openmetrics"),
            *(f"--label={name}={value}" for name, value in labels.items()),
            *(str(history), str(data)),
        ],
        within=300,
    )
    assert made.status == 0, made.stderr


def layers(rules: Path, names: Iterable[str]) -> list[list[dict[str, Any]]]:
    """The recording rules that some recorded series need, those first that need no other.

    Args:
        rules: The folder with the rule files.
        names: Of the series that are wanted.
    """
    known: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(rules.glob("*.yml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                known.setdefault(rule.get("record", ""), []).append(rule)

    def needs(name: str) -> set[str]:
        found = {word for rule in known[name] for word in _WORD.findall(rule["expr"])}
        return (found & known.keys()) - {name}

    depth: dict[str, int] = {}

    def deep(name: str) -> int:
        if name not in depth:
            depth[name] = max((deep(other) + 1 for other in needs(name)), default=0)
        return depth[name]

    deepest = max(map(deep, names), default=-1)
    return [
        [rule for name in depth if depth[name] == layer for rule in known[name]]
        for layer in range(deepest + 1)
    ]


def record(
    promtool: str,
    rules: Sequence[Mapping[str, Any]],
    *,
    url: str,
    start: datetime,
    end: datetime,
    step: timedelta,
    data: Path,
) -> None:
    """Make the blocks that recording rules would have brought, had they been there.

    Args:
        promtool: Makes them.
        rules: One of `layers`: rules that need no other series than those of the server.
        url: A Prometheus with the history.
        start: From when on.
        end: Up to when.
        step: How often they are evaluated.
        data: Takes the blocks; a server sees them after it is started again.

    Raises:
        AssertionError: If promtool does not take them.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rules.yml")
        groups = {"groups": [{"name": "history", "rules": list(rules)}]}
        file.write_text(yaml.safe_dump(groups), encoding="utf-8")
        made = finished(
            [
                *(promtool, "tsdb", "create-blocks-from", "rules", f"--url={url}"),
                *(f"--start={start.isoformat()}", f"--end={end.isoformat()}"),
                *(f"--eval-interval={int(step.total_seconds())}s", f"--output-dir={data}"),
                str(file),
            ],
            within=300,
        )
    assert made.status == 0, made.stderr


def as_demo(*, budget: int = 20_000) -> dict[str, Any]:
    """What the demo polls, at the pace of the real API and with a daily budget."""
    found: dict[str, Any] = yaml.safe_load(demo.CONFIGURATION.read_text(encoding="utf-8"))
    found |= {"interval": "10m", "requests_per_day": budget}
    for workspace in found["workspaces"]:
        if "discover_bots" in workspace:
            workspace["discover_bots"]["interval"] = "1h"
        workspace["metrics"] = [
            {**entry, "interval": "6h"} if "interval" in entry else entry
            for entry in workspace["metrics"]
        ]
    return found


async def _until(world: World, instant: datetime) -> None:
    """Let time pass up to an instant, in sleeps that the loop without a clock takes."""
    while (left := (instant - world.now()).total_seconds()) > 0:
        await asyncio.sleep(min(left, _LONGEST_SLEEP))


def _loaded(configuration: Mapping[str, Any], sandbox: Sandbox, at: datetime) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "seasalt.yml")
        file.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        return demo.configuration(sandbox, "http://127.0.0.1:1", file, at)


class _Slow(httpx.ASGITransport):
    """The sandbox, answering as slowly as a real API, the same at each run.

    What it says of a year is up to a day old: the sandbox has to count a whole year for it.
    """

    def __init__(self, sandbox: Sandbox, now: Callable[[], datetime]) -> None:
        super().__init__(sandbox)
        self._now = now
        self._rng = random.Random(1)  # noqa: S311 - made-up delays, no secrets
        self._years: dict[bytes, tuple[datetime, bytes]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let a while pass and hand the request on."""
        await asyncio.sleep(self._rng.lognormvariate(-1.2, 0.6))
        body = request.content
        if b"conversation_overview_yearly" not in body:
            return await super().handle_async_request(request)
        made, answer = self._years.get(body, (None, b""))
        if not made or self._now() - made >= timedelta(days=1):
            made, answer = self._now(), await (await super().handle_async_request(request)).aread()
            self._years[body] = (made, answer)
        return httpx.Response(200, stream=httpx.ByteStream(answer))


class _Exporter:
    """The parts of the exporter, without its server and its loops."""

    def __init__(self, config: Config, sandbox: Sandbox, world: World) -> None:
        self._config = config
        self._transport = _Slow(sandbox, world.now)
        self._world = world
        self._store, self._telemetry = Store(), Telemetry()
        self._pollers: list[WorkspacePoller] = []

    async def begin(self, stack: AsyncExitStack) -> None:
        """Open what the stack will close."""
        now = self._world.now
        self._telemetry.reloaded(now())
        self._telemetry.web_reloaded(now(), right=True)
        for one in self._config.workspaces:
            poller = WorkspacePoller(
                one, self._store, self._telemetry, now, transport=self._transport
            )
            self._pollers.append(await stack.enter_async_context(poller))

    async def poll(self) -> None:
        """One round of all workspaces."""
        failures = await asyncio.gather(*(poller.once() for poller in self._pollers))
        assert not any(failures), failures

    def page(self) -> list[str]:
        """The samples that a scrape would take now."""
        made = snapshot(self._store.generation(), self._world.now())
        for place, number in made.series.items():
            self._telemetry.set(SERIES, number, *place)
        self._telemetry.set(PAGE_BYTES, made.page.size, "identity")
        self._telemetry.set(PAGE_BYTES, made.page.compressed, "gzip")
        page = (*made.page.text(), self._telemetry.text(openmetrics=False))
        lines = b"".join(page).decode().splitlines()
        return [line for line in lines if not line.startswith("#")]
