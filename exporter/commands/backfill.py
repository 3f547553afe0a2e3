"""backfill: rebuilds the past of the metrics, as a file for promtool or into a store."""

import asyncio
import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import blake2b, scrypt
from math import ceil
from pathlib import Path
from typing import Final, Generic, TypeVar

from exporter import logs
from exporter.backfill import openmetrics, progress, remote_write
from exporter.backfill.asking import Asking, Stopped
from exporter.backfill.grid import STEPS, Grid
from exporter.backfill.journal import NAME, Journal
from exporter.backfill.output import Past, Rebuilt
from exporter.backfill.plan import PARTS, Plan, Range, account, left_out
from exporter.backfill.push import Choice, Store, query_url
from exporter.commands.configuration import configuration, now
from exporter.commands.flags import ASKS_FIRST, DONE, MENDABLE, Invocation
from exporter.commands.output import tell
from exporter.config import Bot, Workspace
from exporter.config.validation import RESERVED_LABELS
from exporter.did_you_mean import nearest
from exporter.errors import ExporterError, StartError
from exporter.files import read, reason
from exporter.metrics.exposition import header, series_text
from exporter.metrics.telemetry import Telemetry
from exporter.model.reply_values import Drift
from exporter.model.samples import Family
from exporter.model.windows import DAY, TODAY, begins, local_day
from exporter.polling.discovery import known_bots, whole_list
from exporter.shutdown import LAST_SECONDS, signalled
from exporter.state.workspace_memory import RememberedBots
from exporter.upstream.client import Client
from exporter.upstream.limiter import SenderState
from exporter.upstream.sender import Sender

HEAD: Final = timedelta(hours=3)
"""How far back Prometheus's head may reach. Samples of it are lost if a block ends within it."""

TimesT = TypeVar("TimesT")

_LARGEST_HEADERS: Final = 64 * 1024
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]+")
"""A header's name and its value, as HTTP allows them."""

_GRACE: Final = 2.0
"""Seconds that an answer in flight has beyond `timeout`, after a signal."""


class Interrupted(StartError):
    """A signal ended the backfill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to rebuild, and where it goes.

    Attributes:
        first: The first local day.
        last: The last local day; None for yesterday.
        step: Seconds between two samples.
        intraday: For how many of the last days today's counts are rebuilt hour by hour.
        bots: The ids or names of the bots to rebuild; all if empty.
        folder: The folder of the file, and of the journal unless that has its own.
        journal: The folder of the journal; None for the same one.
        push: The store's remote write URL; empty for a file.
        query: The base URL of the store's query API.
        headers: More headers for the store.
        labels: Labels for every series.
    """

    first: date
    last: date | None = None
    step: int
    intraday: int = 0
    bots: frozenset[str] = frozenset()
    folder: Path
    journal: Path | None = None
    push: str = ""
    query: str = ""
    headers: Mapping[str, str]
    labels: tuple[tuple[str, str], ...] = ()

    def wants(self, bot: Bot) -> bool:
        """Whether the bot is to be rebuilt."""
        return not self.bots or bool(self.bots & {bot.id, bot.name})

    def range(self, workspace: Workspace) -> Range:
        """The local days of a workspace.

        Raises:
            StartError: If they are no range of days that are over.
        """
        yesterday = local_day(now(), workspace.zone) - DAY
        last = yesterday if self.last is None else self.last
        if last > yesterday:
            text = f"--to must be {yesterday} or earlier: later days are not over in"
            raise StartError(f"{text} {workspace.timezone}")
        if self.first > last:
            raise StartError(f"--from must be {last} or earlier, the last day to rebuild")
        return Range(self.first, last, self.intraday)


def run(invocation: Invocation) -> int:
    """Rebuild the past; status 1 if a part of it could not be had."""
    config = configuration(invocation)
    if config is None:
        return DONE
    if not invocation.one("from"):
        raise StartError("--from is missing: the first day to rebuild, like --from=2025-01-01")
    job = job_of(invocation, date.fromisoformat(invocation.one("from")))
    workspaces = _named(config.workspaces, invocation.values["workspace"])
    dry, sure = bool(invocation.one("dry-run")), bool(invocation.one("yes"))
    return rebuild(workspaces, job, dry_run=dry, sure=sure)


def job_of(invocation: Invocation, first: date) -> Job:
    """The job that the flags describe.

    Raises:
        StartError: If the file with the headers cannot be read.
    """
    push, last = invocation.one("push"), invocation.one("to")
    query = invocation.one("push.query-url") or query_url(push)
    if push and not query:
        raise StartError(
            "--push.query-url is missing: what is pushed is read back, and this remote write URL"
            " does not say where the store answers queries"
        )
    labels = [value.partition("=") for value in invocation.values["label"]]
    return Job(
        first=first,
        last=date.fromisoformat(last) if last else None,
        step=STEPS[invocation.one("step")],
        intraday=int(invocation.one("intraday").rstrip("d") or 0),
        bots=frozenset(invocation.values["bot"]),
        folder=Path(invocation.one("output")),
        push=push,
        query=query,
        headers=_headers(invocation.one("push.headers-file")),
        labels=tuple((name, value) for name, _, value in labels),
    )


def rebuild(
    workspaces: Sequence[Workspace], job: Job, *, dry_run: bool = False, sure: bool = False
) -> int:
    """Ask what is missing, then write or push everything; the exit status.

    Raises:
        StartError: If it ends early. What has been answered is kept.
    """
    ranges = {workspace.name: job.range(workspace) for workspace in workspaces}
    _labels_free(job.labels, workspaces)
    folder = job.journal or job.folder
    with ExitStack() as stack:
        there = not dry_run or (folder / NAME).exists()
        journal = stack.enter_context(Journal(folder)) if there else None
        bots = asyncio.run(_bots_of(workspaces, journal, keep=not dry_run))
        plans = [
            Plan(
                workspace,
                tuple(bot for bot in bots[workspace.name] if job.wants(bot)),
                ranges[workspace.name],
                as_a_whole=not job.bots,
            )
            for workspace in workspaces
        ]
        if job.bots:
            _all_known(job.bots, [bot for plan in plans for bot in plan.bots])
        totals, missing = Counter[str](), 0
        for plan in plans:
            counts, left = _counted(plan, journal)
            totals, missing = totals + counts, missing + left
            tell("".join(f"{line}\n" for line in _lines(plan, job, counts, left)))
        if dry_run or journal is None:
            return DONE
        _ask_first(missing, sure=sure)
        with _signals_as_before():
            problems = asyncio.run(_ask(plans, journal, totals)) if missing else ()
        if problems:
            logs.say("what could not be had is named above; the same command asks for it again")
        past = Past(plans, journal, job.step, job.labels)
        if job.push:
            _push(past, job)
        else:
            _write(past, job)
    return MENDABLE if problems else DONE


@contextmanager
def _signals_as_before() -> Iterator[None]:
    """While requests are in flight, a signal ends them gracefully; afterwards it ends the process."""
    before = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


async def _bots_of(
    workspaces: Sequence[Workspace], journal: Journal | None, *, keep: bool
) -> dict[str, tuple[Bot, ...]]:
    """The bots of every workspace, from its list if it discovers them.

    Raises:
        StartError: If a list cannot be read.
    """
    found = {workspace.name: workspace.bots for workspace in workspaces}
    for workspace in workspaces:
        if workspace.discover_bots is None:
            continue
        place = (account(workspace), _wanted(workspace), now())
        known = await asyncio.to_thread(journal.bots, *place) if journal else None
        if known is None:
            bots = await _listed(workspace, journal)
            if journal and keep:
                rows = [(bot.id, bot.name) for bot in bots]
                await asyncio.to_thread(journal.add_bots, *place, rows)
        else:
            own = {bot.id: bot for bot in workspace.bots}
            bots = tuple(own.get(one) or Bot(id=one, name=name) for one, name in known)
        found[workspace.name] = bots
    return found


def _wanted(workspace: Workspace) -> str:
    """What decides which bots of a list are taken."""
    discovery = workspace.discover_bots
    rules = discovery.model_dump(mode="json") if discovery else {}
    return json.dumps([rules, [bot.id for bot in workspace.bots]], sort_keys=True)


async def _listed(workspace: Workspace, journal: Journal | None) -> tuple[Bot, ...]:
    client, mine = Client(workspace, now=now), account(workspace)
    try:
        discovery = workspace.discover_bots
        most = discovery.max_bots if discovery else 0
        standing = await asyncio.to_thread(journal.standing, mine) if journal else SenderState()
        sender = Sender(workspace, client, Telemetry(), now, standing)
        try:
            listing, _ = await whole_list(sender, Drift(), most)
        finally:
            if journal:
                await asyncio.to_thread(journal.keep_standing, mine, sender.standing)
        return known_bots(workspace, RememberedBots()).after(listing).bots
    except ExporterError as error:
        raise StartError(f"workspace {workspace.name}: the list of bots: {error}") from None
    finally:
        await client.close()


def _all_known(wanted: frozenset[str], bots: Sequence[Bot]) -> None:
    known = {name for bot in bots for name in (bot.id, bot.name)}
    unknown = [f"--bot: no bot has the id or name {name!r}" for name in sorted(wanted - known)]
    if unknown:
        raise StartError("\n".join(unknown))


def _labels_free(labels: Sequence[tuple[str, str]], workspaces: Sequence[Workspace]) -> None:
    """Refuse labels that the series have already.

    Raises:
        StartError: If a name is taken.
    """
    own = RESERVED_LABELS - {"job", "instance"}
    given = {
        name
        for workspace in workspaces
        for bot in (None, *workspace.bots)
        for name, _ in workspace.static_labels(bot)
    }
    wrong = []
    for name, often in Counter(name for name, _ in labels).items():
        if often > 1:
            wrong.append(f"--label: {name} is given {often} times")
        if name in own:
            wrong.append(f"--label: {name} is a label of the exporter's own; take another name")
        elif name in given:
            wrong.append(f"--label: {name} is in `labels:` of the configuration already")
    if wrong:
        raise StartError("\n".join(wrong))


def _named(workspaces: Sequence[Workspace], names: Sequence[str]) -> Sequence[Workspace]:
    """The workspaces with these names; all if there are none."""
    known = [workspace.name for workspace in workspaces]
    wrong = []
    for name in names:
        if name not in known:
            meant = nearest(name, known)
            hint = f", did you mean {meant}?" if meant else f", must be one of {', '.join(known)}"
            wrong.append(f"--workspace: no workspace is called {name!r}{hint}")
    if wrong:
        raise StartError("\n".join(wrong))
    return [one for one in workspaces if not names or one.name in names]


def _headers(path: str) -> dict[str, str]:
    """The headers in a file, one a line.

    Raises:
        StartError: If it cannot be read. The error does not quote it.
    """
    if not path:
        return {}
    try:
        text = read(Path(path), _LARGEST_HEADERS).decode()
    except OSError as error:
        raise StartError(f"--push.headers-file: {path}: {reason(error)}") from None
    except UnicodeDecodeError:
        raise StartError(f"--push.headers-file: {path}: must be UTF-8") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, colon, value = line.partition(":")
        if line.strip() and not (
            colon and _HEADER.fullmatch(name.strip()) and _VALUE.fullmatch(value.strip())
        ):
            raise StartError(f"--push.headers-file: {path}:{number}: must be `Name: value`")
        if line.strip():
            found[name.strip()] = value.strip()
    return found


def _counted(plan: Plan, journal: Journal | None) -> tuple[Counter[str], int]:
    """The requests of each part, and how many of all are not answered yet."""
    counts, left = Counter[str](), 0
    for request in plan.requests():
        counts[request.part] += 1
        left += not (journal and journal.missing(plan.account, request) is None)
    return counts, left


def _lines(plan: Plan, job: Job, counts: Mapping[str, int], left: int) -> Iterator[str]:
    """What the plan costs and brings, and what it leaves out."""
    workspace, days = plan.workspace, plan.range
    number = (days.last - days.first).days + 1
    yield (
        f"workspace {workspace.name} ({workspace.dialect.title}, {workspace.timezone}):"
        f" {days.first} to {days.last}, {number} days, {len(plan.bots)} bots"
    )
    rate = workspace.requests_per_minute
    for part, what in PARTS.items():
        if counts[part]:
            yield f"  {part}  {counts[part]:>8,} requests  {_time(counts[part], rate):>8}  {what}"
    if counts["B"] and any(map(plan.shows_empty_days, {scope for _, scope in plan.targets})):
        yield "     fewer if part A shows days without anything: those are not requested"
    total = sum(counts.values())
    answered = f", {total - left:,} of them answered already" if left < total else ""
    yield f"  in all {total:,} requests{answered}; {_time(left, rate)} at {rate} a minute"
    allowed = workspace.requests_per_day
    if allowed and left > allowed:
        yield f"  requests_per_day {allowed} allows them in {-(-left // allowed)} days"
    samples = _samples(plan, job)
    yield f"  about {samples:,} samples, {samples * 150 / 1e9:,.1f} GB of text, unless pushed"
    for line in left_out(workspace):
        yield f"  {line}"


def _time(requests: int, rate: int) -> str:
    minutes = requests / rate
    return f"{minutes / 60:.1f} h" if minutes >= 60 else f"{minutes:.1f} min"


def _samples(plan: Plan, job: Job) -> int:
    """The usual number of samples; labels and channels differ from bot to bot."""
    by_hour = frozenset(plan.usual_days) if plan.range.intraday else frozenset()
    grid = Grid.of(plan.range.days, plan.workspace.zone, job.step, by_hour)
    moments, ends = len(grid.times), len(grid.days)
    scopes = Counter(scope for _, scope in plan.targets)
    total = moments  # of the offset from UTC
    for scope, targets in scopes.items():
        for entry, _ in plan.entries(scope):
            often = ends + 120 * len(by_hour) if entry.options.window == TODAY else moments
            total += targets * entry.form.series * often
    return total


def _ask_first(missing: int, *, sure: bool) -> None:
    """Let the operator agree to many requests.

    Raises:
        StartError: If nobody agrees.
    """
    if missing <= ASKS_FIRST or sure:
        return
    if not (sys.stdin and sys.stdin.isatty()):
        raise StartError(
            f"{missing:,} requests are more than {ASKS_FIRST:,}: add --yes, or take fewer days,"
            " bots or metrics"
        )
    logs.say(f"Send {missing:,} requests? [y/N]")
    with suppress(EOFError):
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            return
    raise StartError("nothing was sent")


async def _ask(plans: Sequence[Plan], journal: Journal, totals: Mapping[str, int]) -> Sequence[str]:
    """Send what is missing, all workspaces at a time; what cannot be had.

    Raises:
        StartError: If it ends early.
    """
    # An answer in flight may still come: to cut it off would mean to ask for it again.
    limit = max(plan.workspace.timeout.total_seconds() for plan in plans) + _GRACE
    stop = signalled(ceil(limit) + LAST_SECONDS, MENDABLE)
    async with AsyncExitStack() as stack:
        shown = stack.enter_context(progress.shown(totals, time.monotonic))
        asking, senders = [], []
        for plan in plans:
            client = Client(plan.workspace, now=now)
            stack.push_async_callback(client.close)
            standing = await asyncio.to_thread(journal.standing, plan.account)
            sender = Sender(plan.workspace, client, Telemetry(), now, standing)
            senders.append((plan.account, sender))
            asking.append(Asking(plan, sender, journal, shown, now))

        runs = [asyncio.create_task(one.run()) for one in asking]
        watching = asyncio.create_task(_end_within(limit, stop, asking, runs))
        stack.callback(watching.cancel)
        ends = await asyncio.gather(*runs, return_exceptions=True)
        for mine, sender in senders:
            await asyncio.to_thread(journal.keep_standing, mine, sender.standing)
    problems = [line for one in asking for line in one.problems]
    early = []
    for one, end in zip(asking, ends, strict=True):
        if isinstance(end, asyncio.CancelledError):
            early.append(f"workspace {one.name}: interrupted; an answer did not come in time")
        elif isinstance(end, Stopped):
            early.append(f"workspace {one.name}: {end}")
        elif end:
            raise end
    if early:
        again = "all answers so far are kept: run the same command again to go on"
        kind = Interrupted if stop.is_set() else StartError
        raise kind("\n".join((*early, again)))
    return problems


async def _end_within(
    seconds: float,
    stop: asyncio.Event,
    asking: Sequence[Asking],
    runs: Sequence[asyncio.Task[None]],
) -> None:
    """End all once a signal has come: answers in flight are kept if they come in time."""
    await stop.wait()
    for one in asking:
        one.end()
    await asyncio.sleep(seconds)
    for run in runs:
        run.cancel()


def _write(past: Past, job: Job) -> None:
    """Write the OpenMetrics file, and say what to do with it."""
    path, last, times = job.folder / openmetrics.NAME, 0, _Times(openmetrics.Times)
    with openmetrics.writing(path) as writer:
        family: Family | None = None
        for one in past:
            if one.family is not family:
                family = one.family
                writer.family(header(family))
            writer.series(series_text(family.name, one.labels), one.runs, times.of(one.grid))
            last = max(last, one.grid.times[-1])
    tell(f"{path}: {writer.samples:,} samples\n")
    tell(
        "promtool tsdb create-blocks-from --max-block-duration=8760h openmetrics"
        f" {path} PROMETHEUS_DATA_FOLDER\n"
    )
    safe = datetime.fromtimestamp(last, tz=now().tzinfo) + HEAD
    if safe > now():
        logs.say(
            f"do not give Prometheus the blocks before {safe:%Y-%m-%d %H:%M} UTC, three hours after"
            " their end: it may lose samples of its own that are as old"
        )
    if not job.labels:
        logs.say(
            "the series have no job and instance, unlike those that Prometheus scrapes: add"
            " --label=job=... and --label=instance=... here or to promtool"
        )


class _Times(Generic[TimesT]):
    """The prepared moments of each grid."""

    def __init__(self, prepare: Callable[[Sequence[int]], TimesT]) -> None:
        self._prepare = prepare
        self._known: dict[int, tuple[Grid, TimesT]] = {}

    def of(self, grid: Grid) -> TimesT:
        """The moments of a grid, prepared once."""
        found = self._known.get(id(grid))
        if found is None:
            self._known[id(grid)] = found = grid, self._prepare(grid.times)
        return found[1]


def _push(past: Past, job: Job) -> None:
    """Push what the store does not have yet, and read some of it back.

    Raises:
        StartError: If the store refuses it, or does not have it afterwards.
    """
    batch, choice, times = remote_write.Batch(), Choice(), _Times(remote_write.Times)
    pending: list[bytes] = []
    samples = begun = 0
    started, mine = time.monotonic(), _store(job)
    with Store(job.push, job.query, job.headers) as store:
        _warn_of_live_values(past, store)
        for one in past:
            labels = [("__name__", one.family.name), *one.labels]
            unit = _unit(labels, one)
            choice.see(labels, one.runs, one.grid.times)
            if past.journal.is_pushed(mine, unit):
                continue
            for body in batch.add(labels, one.runs, times.of(one.grid)):
                store.push(body)
                past.journal.pushed(mine, pending)
                pending = []
            pending.append(unit)
            samples += len(one.runs)
            if time.monotonic() - started > 10 * (begun + 1):
                begun += 1
                logs.say(f"pushed {samples:,} samples")
        if batch.samples:
            store.push(batch.taken())
        past.journal.pushed(mine, pending)
        try:
            store.read_back(choice.chosen)
        except StartError:
            # Nobody knows which of the others it has: the next run pushes all of them.
            past.journal.forget_pushed(mine)
            raise
    tell(f"{job.push}: {samples:,} samples; {len(choice.chosen)} were read back and are equal\n")


def _warn_of_live_values(past: Past, store: Store) -> None:
    """Say so if the last day is in the store already, as a running exporter has seen it."""
    for plan in past.plans:
        last, workspace = plan.range.last, plan.workspace
        end = int(begins(last + DAY, workspace.zone).timestamp())
        if store.is_live([*past.labels, ("workspace", workspace.name)], end):
            logs.say(
                f"workspace {workspace.name}: the store has live values of {last} already; between"
                " them, those of sliding windows will stand as they were the day before: let --to be"
                " the day before the exporter was started"
            )


def _store(job: Job) -> bytes:
    """A digest of what tells one store from another: its URLs, and headers such as a tenant's.

    Headers may be passwords, so it is a digest that takes long to guess.
    """
    place = json.dumps([job.push, job.query, sorted(job.headers.items())]).encode()
    return scrypt(place, salt=b"seasalt-exporter", n=2**14, r=8, p=1, dklen=16)


def _unit(labels: Sequence[tuple[str, str]], one: Rebuilt) -> bytes:
    """A digest of a series with its samples."""
    digest = blake2b(json.dumps(labels).encode())
    digest.update(blake2b(memoryview(one.grid.times)).digest())
    for part in (one.runs.begins, one.runs.ends, one.runs.values):
        digest.update(part)
    return digest.digest()[:16]
