"""Days of faults in seconds: the exporter's own parts over the stub's own connections, on virtual time.

Nothing of the exporter is replaced but the clock and the network below it.
"""

import asyncio
import gc
import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import yaml
from faults import judges, kinds
from faults.judges import Books, Parked
from faults.kinds import KINDS, PAUSES, Case, Dealt
from faults.leaks import Scanner
from faults.network import transport
from faults.stub import Asked, End, Step, Steps, Stub, as_json, digest, reset_peer, response
from faults.truth import METRICS, PRIVATE, Truth
from support.pagecheck import Series, problems, series
from support.virtual import World

from exporter.config import Config, Workspace, load
from exporter.logs import Formatter
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.fleet import Fleet
from exporter.polling.status import Status
from exporter.polling.workspace import WorkspacePoller
from exporter.state.workspace_memory import Memory, Origin
from exporter.upstream.client import Trust
from exporter.web.app import Web

START: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
INTERVAL: Final = 600.0
DEFAULT_PER_MINUTE: Final = 60
SOON: Final = 1.25
"""Intervals within which a report is fresh after a fault: its turn, and the line for the budget."""

GRACE: Final = 130.0
"""Seconds that an answer may take: 60 for the request, and as long in the line for the budget."""

Place = tuple[str, str, str]
"""A key's digest, a bot and a metric."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to happen.

    Attributes:
        seed: Of all chance.
        hours: Virtual ones, the last of which is without faults.
        share: Of the requests that meet a fault, from 0 to 1.
        bots: Of the first workspace, and as many again in the list of the second.
        per_minute: What each workspace may ask; 0 for the default.
        labels: How many are in use.
        only: The rows to take, all if empty.
        victim: The one bot that meets faults, anybody if empty; then nothing else happens.
        spells: Seconds of faults and as many without, in turn; 0 for faults all the time.
        outages: A day, of some minutes each.
        reloads: A day: of the same configuration, or of one with something left out for a while.
        clocks: A day: how often the host's clock is set, be it by an hour or by years.
        churn: The share of the listed bots that is exchanged each day.
        scrape: Seconds between two scrapes.
        most: Requests that the journal keeps, 0 for all; then nothing is judged from it.
        leaks: Whether logs and pages are searched.
    """

    seed: int = 1
    hours: float = 24.0
    share: float = 0.3
    bots: int = 2
    per_minute: int = 120
    labels: int = 3
    only: tuple[str, ...] = ()
    victim: str = ""
    spells: float = 0.0
    outages: float = 3.0
    reloads: float = 0.0
    clocks: float = 0.0
    churn: float = 0.05
    scrape: float = 60.0
    most: int = 0
    leaks: bool = True


@dataclass(slots=True)
class Figures:
    """What came of it. Two of them can be added.

    Attributes:
        faults: How often each row was dealt.
        hours: How many passed.
        requests: How many came, by workspace.
        scrapes: How many pages were taken.
        slow: Seconds that the slowest scrape took.
        values: How many were compared with what was served.
        wrong: What was wrong with pages and values, a few of them.
        wrongs: How many of those.
        unwell: Exceptions that nobody caught, tasks that ended, workers left over.
        burst: The most that came at once beyond the rate; the bucket is what it may be.
        early: Requests during a wish to be left alone.
        wishes: How many wishes there were.
        retried: Requests again after an answer that is final.
        finals: How many such answers there were.
        strangers: Requests with a key where it does not belong.
        hits: Parts of secrets that were found.
        scanned: Characters that were searched.
        answers: How many of them could have told a secret.
        recovered: How long reports took from the end of a spell, or of a pause that the API had
            asked for, to their next values, in intervals.
        unrecovered: Reports that had no values at the end.
        delayed: Of others than the victim: how often one was older than a cycle.
        rss: Bytes in memory at the end of each virtual day.
        tasks: How many there were then.
        log_bytes: How much was logged.
    """

    faults: Counter[str] = field(default_factory=Counter)
    hours: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    scrapes: int = 0
    slow: float = 0.0
    values: int = 0
    wrong: list[str] = field(default_factory=list)
    wrongs: int = 0
    unwell: list[str] = field(default_factory=list)
    burst: float = 0.0
    early: int = 0
    wishes: int = 0
    retried: int = 0
    finals: int = 0
    strangers: int = 0
    hits: list[str] = field(default_factory=list)
    scanned: int = 0
    answers: int = 0
    recovered: list[float] = field(default_factory=list)
    unrecovered: list[str] = field(default_factory=list)
    delayed: list[str] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    log_bytes: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        """Both together: sums, the worst of what is a worst, and a few of the texts."""
        worst = {"slow", "burst"}
        return Figures(
            **{
                one.name: (max if one.name in worst else _sum)(
                    getattr(self, one.name), getattr(other, one.name)
                )
                for one in fields(self)
            }
        )


def _sum(one: Any, two: Any) -> Any:  # noqa: ANN401 - numbers, lists and counters
    return one + two


KEYS: Final = {
    name: f"sk-CNRY{number:04x}{name}5d41402abc4b2a76b9719d911017c592"
    for number, name in enumerate(("harbor", "dunes", "pier", "sail"), 0xA1B2)
}
"""A key for each workspace, by its name."""

_DIGESTS: Final = {digest(key): name for name, key in KEYS.items()}
_APIS: Final = {"harbor": "seachat", "dunes": "seachat", "pier": "portal", "sail": "seax"}
_ZONES: Final = {
    "harbor": "America/Los_Angeles",
    "dunes": "Asia/Kolkata",
    "pier": "Pacific/Auckland",
    "sail": "UTC",
}


def _kept(metric: str) -> float:
    """Seconds for which a value may be shown: three of its intervals."""
    return 3 * (6 * 3600 if "yearly" in metric else INTERVAL)


def bot_name(identity: str) -> str:
    """What a bot is called here."""
    return f"Bot {identity}"


def configuration(url: str, plan: Plan) -> dict[str, Any]:
    """Four workspaces of three APIs, all asked at one address, as a file has them."""
    workspaces: list[dict[str, Any]] = [
        {
            "name": name,
            "api": _APIS[name],
            "base_url": url,
            "api_key": KEYS[name],
            "timezone": _ZONES[name],
            "metrics": list(METRICS[_APIS[name]]),
        }
        for name in KEYS
    ]
    workspaces[0]["bots"] = [
        {"id": f"b{number}", "name": bot_name(f"b{number}")} for number in range(plan.bots)
    ]
    workspaces[1] |= {"workspace_id": "ws-1", "discover_bots": {"interval": "1h"}}
    limits = {"requests_per_minute": plan.per_minute} if plan.per_minute else {}
    return {**limits, "workspaces": workspaces}


VARIANTS: Final = ("same", "without a workspace", "without a report")
"""What a reload may bring: `sail` is gone, or `label_usage` of `pier`."""


def varied(content: dict[str, Any], variant: str) -> dict[str, Any]:
    """A configuration as one of the variants has it."""
    workspaces: list[dict[str, Any]] = [
        one
        if one["name"] != "pier" or variant != "without a report"
        else {**one, "metrics": [name for name in one["metrics"] if name != "label_usage"]}
        for one in content["workspaces"]
        if one["name"] != "sail" or variant != "without a workspace"
    ]
    return {**content, "workspaces": workspaces}


def _left_out(one: Series, variant: str) -> bool:
    """Whether a series is of what a variant leaves out."""
    name, workspace = one[0], dict(one[1]).get("workspace")
    if variant == "without a workspace":
        return workspace == "sail"
    return (
        variant == "without a report"
        and workspace == "pier"
        and name.startswith("seasalt_label_usage")
    )


def loaded(content: Mapping[str, Any]) -> Config:
    """A configuration without its file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "seasalt.yml")
        file.write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
        return load([str(file)], {}, START.date())


@dataclass(slots=True)
class _Logs(logging.Handler):
    """Keeps what is logged until it is searched."""

    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(Formatter("logfmt"))

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(self.format(record))

    __hash__ = object.__hash__


@contextmanager
def _logging() -> Iterator[_Logs]:
    """What the exporter and its libraries log, at the level of --log.level=debug."""
    handler, root, own = _Logs(), logging.getLogger(), logging.getLogger("exporter")
    before = root.handlers[:], root.level, own.level
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    own.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.handlers, root.level, own.level = before


class Campaign:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.figures = Figures(hours=plan.hours)
        self.world = World(START)
        self.rng = random.Random(plan.seed)  # noqa: S311 - chance, no secrets
        self.truth = Truth(_DIGESTS, bot_name, plan.labels)
        self.books = Books(_kept)
        self.stub = Stub(self.answer, most=plan.most)
        self.elsewhere = Stub(lambda _: reset_peer())
        self.calm = False
        self.listed = [f"d{number}" for number in range(plan.bots)]
        self._new = len(self.listed)
        self._parked: list[Parked] = []
        self._final: dict[tuple[Any, ...], float] = {}
        self._pending: dict[Place, float] = {}
        self._alone: dict[str, float] = {}
        self._lines: set[str] = set()
        self._known: dict[str, Series] = {}
        self._rows = [name for name in KINDS if not plan.only or name in plan.only]
        known = [*METRICS["seachat"], "canary", "customer_satisfaction"]
        self._scanner = Scanner((*KEYS.values(), *PRIVATE), known)

    def run(self) -> Figures:
        """All of it."""
        with _logging() as self.logs:
            self.world.run(self._whole)
        return self.figures

    # The API's side.

    def answer(self, asked: Asked) -> Steps:
        """What a request gets: mostly what it asks for, sometimes a fault."""
        self._again(asked)
        if asked.api == "bots":
            return self._list(asked)
        struck = self._struck(asked)
        case = Case(asked, self.truth, self.rng, self.world.now(), self.elsewhere.url)
        name = self.rng.choice(self._rows) if struck else ""
        if name in {"U08 400", "U13 422"} and len(asked.metrics) == 1:
            name = "U12 409"  # one that is refused by itself is left out for a day, rightly
        dealt = KINDS[name](case) if name else kinds.good(case)
        if name:
            self.figures.faults[name] += 1
        self.figures.answers += 1
        return self._noted(asked, dealt)

    def _struck(self, asked: Asked) -> bool:
        if self.calm or (self.plan.victim and asked.bot != self.plan.victim):
            return False
        if self._well_since(asked.at) is not None:
            return False
        return self.rng.random() < self.plan.share

    def _noted(self, asked: Asked, dealt: Dealt) -> Iterator[Step]:
        """The steps, taken down when they begin and when the last was taken."""
        now = asyncio.get_running_loop().time
        places = [(asked.key, asked.bot, metric) for metric in asked.metrics]
        if dealt.values or dealt.loose:
            self.books.serve(asked, now(), dealt.values, dealt.loose, good=False)
        if dealt.final and self._settled(asked):
            self.figures.finals += 1
            self._final[self._same(asked)] = now()
        if dealt.parks:
            self.figures.wishes += 1
            self._parked.append(Parked(now(), now() + dealt.parks, asked.key))
            until = max(now() + dealt.parks, self._alone.get(asked.key, 0.0))
            self._alone[asked.key] = until
        if not dealt.good:
            self._pending.update((place, now()) for place in places)
        yield from dealt.steps
        if dealt.good:
            self.books.serve(asked, now(), dealt.values, dealt.loose, good=True)
            for place in places:
                since, well = self._pending.pop(place, None), self._well_since(now())
                if since is not None and well is not None:
                    since = max(since, well, self._alone.get(place[0], 0.0))
                    waited = max(0.0, now() - since)
                    self.figures.recovered.append(waited / (_kept(place[2]) / 3))

    def _list(self, asked: Asked) -> Steps:
        """The list of bots, which has faults of its own."""
        if self._struck(asked):
            self.figures.faults["U37 the list of bots"] += 1
            token = asked.secret
            some: list[dict[str, Any]] = [
                {"id": bot, "name": bot_name(bot)} for bot in self.listed[:1]
            ]
            return self.rng.choice(
                (
                    (as_json(200, {"data": some, "total": 23}),),  # and the same page again
                    (as_json(200, {"data": some * 101, "total": 101}),),
                    (as_json(200, {"data": [{"name": "no id"}], "total": 1}),),
                    (response(404, b"default backend - 404", {"Content-Type": "text/plain"}),),
                    (End.RESET,),
                    (End.HANG,),
                    (as_json(500, {"detail": token}),),
                    (as_json(200, {"data": [], "total": 0}),),
                    (as_json(200, {"data": {}}),),
                    (as_json(200, {"detail": f"The token: {token} decoding failed."}),),
                )
            )
        offset = int(asked.body.get("offset", 0))
        rows = [
            {"id": bot, "name": bot_name(bot), "description": PRIVATE[0], "is_enabled": True}
            for bot in self.listed
        ]
        return (as_json(200, {"data": rows[offset:], "total": len(rows)}),)

    def _well_since(self, at: float) -> float | None:
        """When the last spell of faults has ended, None while one goes on."""
        spells = self.plan.spells
        return at // spells * spells if spells and at // spells % 2 else None

    @staticmethod
    def _same(asked: Asked) -> tuple[Any, ...]:
        return (asked.key, asked.path, asked.bot, asked.metrics)

    def _settled(self, asked: Asked) -> bool:
        """Whether two turns of a call are far apart: not at first, and not before midnight."""
        local = self.world.now().astimezone(_zone(_DIGESTS[asked.key]))
        return self.world.now() - START > timedelta(hours=1) and 1 <= local.hour < 22

    def _again(self, asked: Asked) -> None:
        """Count a request that comes again although its answer was final."""
        at = self._final.pop(self._same(asked), None)
        if at is not None and asked.at - at < 2:
            self.figures.retried += 1

    # The exporter's side.

    async def _whole(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: self.figures.unwell.append(repr(context.get("exception", context)))
        )
        self.stub.address, self.elsewhere.address = ("127.0.0.1", 8001), ("127.0.0.1", 8002)
        await self.stub.up()
        await self.elsewhere.up()
        telemetry, store, now = Telemetry(), Store(), self.world.now
        telemetry.reloaded(now())
        self._pages = pages = SnapshotRefresher(store, telemetry, now)

        def start(
            workspace: Workspace, memory: Memory, trusted: Trust, origin: Origin
        ) -> WorkspacePoller:
            network = transport(workspace.concurrency)
            return WorkspacePoller(
                *(workspace, store, telemetry, now, pages.changed),
                transport=network,
                memory=memory,
                trusted=trusted,
                origin=origin,
            )

        try:
            async with asyncio.TaskGroup() as tasks:
                self._fleet = fleet = Fleet(start, tasks, store, telemetry)
                await self._adopt("same")
                rendering = tasks.create_task(pages.run())
                self._web = Web(
                    snapshot=pages.current,
                    own=lambda openmetrics: telemetry.pieces(openmetrics=openmetrics),
                    ready=lambda: all(poller.answered for poller in fleet),
                    status=lambda: (
                        lambda _: Status("0", now(), tuple(one.status() for one in fleet))
                    ),
                )
                await self._live()
                rendering.cancel()
                await fleet.close()
        except BaseExceptionGroup as group:
            self.figures.unwell.append(repr(group))
        await self.stub.down()
        await self.elsewhere.down()
        self._judge_journal()

    async def _adopt(self, variant: str) -> None:
        """Put a variant of the configuration in force."""
        content = configuration(self.stub.url, self.plan)
        await self._fleet.adopt(loaded(varied(content, variant)))
        await self._pages.refresh()

    async def _live(self) -> None:
        """Let the time pass, and look."""
        loop, outer = asyncio.get_running_loop(), len(asyncio.all_tasks())
        end = self.plan.hours * 3600
        events = sorted(self._events(), key=lambda event: event[0])
        day = 86_400.0
        while (now := loop.time()) < end:
            self.calm = now >= end - 3600
            while events and events[0][0] <= now:
                await getattr(self, f"_{events.pop(0)[1]}")()
            await self._look()
            if now >= day:
                day += 86_400
                self._weigh()
            await asyncio.sleep(self.plan.scrape)
        # Each part, its calls in flight, and the stub's connections: no more than that.
        if len(asyncio.all_tasks()) > outer + 60:
            self.figures.unwell.append(f"{len(asyncio.all_tasks())} tasks")
        self._weigh()
        wanted = {
            (asked.key, asked.bot, name)
            for asked in self.stub.journal[-5000:]
            for name in asked.metrics
        }
        gone = {f"d{number}" for number in range(self._new)} - set(self.listed)
        for place in self._pending.keys() & wanted:
            if place[1] not in gone and "yearly" not in place[2]:
                self.figures.unrecovered.append(str(place[1:]))

    def _events(self) -> Iterator[tuple[float, str]]:
        """What happens at some time, beside the faults of single requests."""
        end = self.plan.hours * 3600 - 3600
        if self.plan.victim or not self.plan.share:
            return
        for _ in range(round(self.plan.outages * self.plan.hours / 24)):
            begin = self.rng.uniform(3600, max(3601, end - 1800))
            yield begin, "outage"
            yield begin + self.rng.uniform(60, 1500), "end_of_outage"
        for number in range(int(self.plan.hours // 24) + 1):
            yield number * 86_400 + 40_000.0, "churn"
        for _ in range(round(self.plan.reloads * self.plan.hours / 24)):
            begin = self.rng.uniform(3600, end - 3600)
            yield begin, "reload"
            yield begin + self.rng.uniform(0, 3600), "reload_back"
        for _ in range(round(self.plan.clocks * self.plan.hours / 24)):
            yield self.rng.uniform(3600, end), "clock"

    async def _outage(self) -> None:
        self.figures.faults["U01 refused"] += 1
        await self.stub.down()

    async def _end_of_outage(self) -> None:
        await self.stub.up()
        now = asyncio.get_running_loop().time()
        self._pending.update((place, max(at, now)) for place, at in self._pending.items())

    async def _reload(self, variant: str = "") -> None:
        """Exchange the configuration: what it leaves out is gone at once, all else as it was."""
        self.figures.faults["H20 reload"] += 1
        self._final.clear()  # what was changed may be asked anew
        variant = variant or self.rng.choice(VARIANTS)
        await self._pages.refresh()
        before = self._read((await scrape(self._web))[1])
        await self._adopt(variant)
        after = self._read((await scrape(self._web))[1])
        told = [one for one in before if judges.from_replies(one[0])]
        self._wrong(
            f"{one}: {after.get(one)} after a reload, {variant}"
            for one in told
            if after.get(one) != (None if _left_out(one, variant) else before[one])
        )

    async def _reload_back(self) -> None:
        await self._reload("same")

    async def _clock(self) -> None:
        self.figures.faults["H06 the clock is set"] += 1
        self._final.clear()  # another day has other questions
        self.world.start += self.rng.choice((-1, 1)) * timedelta(
            seconds=self.rng.choice((90, 3600, 86_400, 40 * 86_400, 3000 * 86_400))
        )

    async def _churn(self) -> None:
        for _ in range(max(1, round(self.plan.churn * len(self.listed)))):
            self.listed[self.rng.randrange(len(self.listed))] = f"d{self._new}"
            self._new += 1

    async def _look(self) -> None:
        """Take a page, and compare all that is on it."""
        begun = time.perf_counter()
        status, page = await scrape(self._web)
        took = time.perf_counter() - begun
        figures = self.figures
        figures.scrapes += 1
        figures.slow = max(figures.slow, took)
        if status != 200:
            self._wrong([f"HTTP {status}"])
        now = asyncio.get_running_loop().time()
        values = self._read(page)
        figures.values += sum(judges.from_replies(name) for name, _ in values)
        if figures.scrapes % 10 == 1:  # it takes as long as all the rest
            self._wrong(str(problem) for problem in problems(page))
        # A page may be of the second before midnight.
        present = self.world.now() - timedelta(seconds=1)
        midnight = {name: _midnight(present, _zone(name)) - START.timestamp() for name in KEYS}
        wrong = self.books.verdict(values, now, midnight, GRACE)
        # Where the clock is set nobody can tell how old a value is, only that it is one.
        self._wrong(one for one in wrong if not self.plan.clocks or "never served" in one)
        if self.plan.victim and now > 3600:
            figures.delayed += self._delayed(values)
        if self.plan.leaks:
            self._search(page.decode(errors="replace"))
        else:
            self.logs.lines.clear()  # else the memory would be that of what was logged

    def _read(self, page: bytes) -> dict[Series, float]:
        """The values of a page; what is on it twice is wrong."""
        values: dict[Series, float] = {}
        heads: set[str] = set()
        for line in page.decode().splitlines():
            if line.startswith("#"):
                continue
            head, _, value = line.rpartition(" ")
            if head not in self._known:
                if len(self._known) > 5_000:
                    self._known.clear()
                (self._known[head],) = series(f"# TYPE x gauge\n{head} 1\n".encode())
            if head in heads:
                self._wrong([f"{head} twice"])
            heads.add(head)
            values[self._known[head]] = float(value)
        return values

    def _wrong(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.figures.wrongs += 1
            if len(self.figures.wrong) < 20:
                self.figures.wrong.append(f"{self.world.now():%a %H:%M:%S} {text}")

    def _delayed(self, values: Mapping[Any, float]) -> Iterator[str]:
        now = self.world.now().timestamp()
        for (name, labels), value in values.items():
            if name == "seasalt_report_last_success_timestamp_seconds":
                pairs = dict(labels)
                cycle = 6 * 3600 if "yearly" in pairs["report"] else INTERVAL
                cycle = 3600 if pairs["report"] == "bots" else cycle
                if pairs.get("bot_id") != self.plan.victim and now - value > 2 * cycle + GRACE:
                    yield f"{sorted(pairs.items())} {now - value:.0f} s old"

    def _search(self, page: str) -> None:
        """Look for secrets in what is new on the page and in the logs."""
        heads = {line.rpartition(" ")[0] for line in page.splitlines()} - self._lines
        self._lines |= heads
        text = "\n".join((*heads, *self.logs.lines))
        self.figures.log_bytes += sum(map(len, self.logs.lines))
        self.logs.lines.clear()
        self.figures.scanned += len(text)
        self.figures.hits += self._scanner.hits(text)

    def _weigh(self) -> None:
        # What is weighed is the exporter, not what is known here of bots that are gone.
        self.books.forget(asyncio.get_running_loop().time())
        self._known.clear()
        gc.collect()
        with Path("/proc/self/statm").open(encoding="ascii") as file:
            self.figures.rss.append(int(file.read().split()[1]) * 4096)
        self.figures.tasks.append(len(asyncio.all_tasks()))

    def _judge_journal(self) -> None:
        figures, journal = self.figures, self.stub.journal
        figures.requests = Counter(_DIGESTS[asked.key] for asked in journal)
        host = f"{self.stub.address[0]}:{self.stub.address[1]}"
        allowed = {key: {host} for key in _DIGESTS}
        rate = (self.plan.per_minute or DEFAULT_PER_MINUTE) / 60
        figures.strangers = len(judges.strangers(journal, allowed)) + self.elsewhere.connections
        for key in _DIGESTS:
            times = [asked.at for asked in journal if asked.key == key]
            figures.burst = max(figures.burst, judges.burst(times, rate))
        figures.early = len(judges.early(journal, self._parked, grace=1.0))


async def scrape(web: Web) -> tuple[int, bytes]:
    """Status and body of `/metrics`, as a server would ask for it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:  # noqa: ANN401 - ASGI
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "headers": [],
        "query_string": b"",
    }
    await web(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def _zone(workspace: str) -> ZoneInfo:
    return ZoneInfo(_ZONES[workspace])


def _midnight(now: datetime, zone: ZoneInfo) -> float:
    local = now.astimezone(zone)
    return local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def storm(share: float) -> Plan:
    """Four hours in which so many requests fail in a way that a retry may mend."""
    rows = tuple(name for name in KINDS if name.startswith(("U06 reset b", "U18 server")))
    return Plan(hours=4, share=share, only=rows, scrape=3600, outages=0, leaks=False)


def soak(hours: float) -> Plan:
    """Few faults, and so little kept that the memory is the exporter's own."""
    return Plan(hours=hours, share=0.05, scrape=600, most=2000, leaks=False)


def victim(hours: float, scrape: float = 300) -> Plan:
    """Faults of one bot of four, but for those by which the API asks all for a pause."""
    rows = tuple(name for name in KINDS if not name.startswith(PAUSES))
    return Plan(hours=hours, share=1.0, bots=4, victim="b0", only=rows, scrape=scrape, leaks=False)


def spells(hours: float, scrape: float = 600) -> Plan:
    """Half hours in which most goes wrong and half hours in which nothing does, in turn.

    No bot is not found: twice in a row it would be gone, and looked for once an hour.
    """
    rows = tuple(name for name in KINDS if name != "U11 404")
    return Plan(
        hours=hours, share=0.9, only=rows, spells=1800, outages=0, scrape=scrape, leaks=False
    )


def crowd(hours: float, bots: int = 600, scrape: float = 1800) -> Plan:
    """Nothing but defaults, and so many bots and labels that neither the rate nor the cap is enough."""
    rows = tuple(name for name in KINDS if not name.startswith(PAUSES))
    return Plan(
        hours=hours,
        share=0.05,
        bots=bots,
        per_minute=0,
        labels=200,
        only=rows,
        scrape=scrape,
        leaks=False,
    )


def run(plan: Plan) -> Figures:
    """What comes of a plan."""
    return Campaign(plan).run()
