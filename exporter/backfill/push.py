"""Pushes the rebuilt series into a store by remote write, and reads some of them back.

An answer of 2xx proves nothing: a store may drop what is older than its retention, or what it
cannot read, without a word. So a random choice of the samples is asked for afterwards.
"""

import json
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isclose
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

import httpx

from exporter import __version__
from exporter.backfill.rebuild import Runs
from exporter.backfill.remote_write import HEADERS
from exporter.errors import StartError
from exporter.metrics.exposition import SUCCESS

READ_BACK: Final = 500
"""How many samples are read back."""

PATIENCE: Final = 60.0
"""Seconds for a store to start, to recover, or to show what it has got."""

_TIMEOUT: Final = 60.0
_ROUNDED: Final = 1e-12
"""The relative difference of what a store answers; VictoriaMetrics keeps some 15 decimal digits."""

_WRITES: Final = ("/api/v1/write", "/api/v1/receive", "/api/v1/push")
_HINTS: Final = {
    401: "it wants credentials: name them in --push.headers-file",
    403: "it does not allow these credentials",
    404: "remote write is off or elsewhere: Prometheus needs --web.enable-remote-write-receiver",
}


_TOO_OLD: Final = (
    "it takes no samples that old: set out_of_order_time_window of Prometheus, or Thanos'"
    " --tsdb.out-of-order.time-window, to more than the age of the first day"
)
_SAYS_TOO_OLD: Final = re.compile(
    "out of (order|bounds)|too old|too far in the past", re.IGNORECASE
)


class Pushed(NamedTuple):
    """One sample that was pushed.

    Attributes:
        labels: The labels of its series, with `__name__`.
        at: Its Unix time.
        value: Its value.
    """

    labels: tuple[tuple[str, str], ...]
    at: int
    value: float


class Choice:
    """A uniform choice of all samples that it is shown."""

    def __init__(self) -> None:
        self._most = READ_BACK
        self._rng = random.Random(1)  # noqa: S311 - a sample, no secret
        self._seen = 0
        self.chosen: list[Pushed] = []

    def see(self, labels: Sequence[tuple[str, str]], runs: Runs, times: Sequence[int]) -> None:
        """Consider the samples of a series, one of each run."""
        for begin, end, value in runs:
            self._seen += 1
            place = len(self.chosen)
            if place >= self._most:
                place = self._rng.randrange(self._seen)
            if place < self._most:
                one = Pushed(tuple(labels), times[self._rng.randrange(begin, end)], value)
                self.chosen[place : place + 1] = [one]


def query_url(url: str) -> str:
    """The base of the query API that belongs to a remote write URL; empty if it is unknown."""
    parts = urlsplit(url)
    for path in _WRITES:
        if parts.path.endswith(path):
            base = parts.path.removesuffix(path)
            return urlunsplit((parts.scheme, parts.netloc, base, "", ""))
    return ""


class Store:
    """A store on the network.

    Args:
        url: Where it takes remote write.
        query: The base URL of its query API.
        headers: More headers for every request, such as credentials.
        sleep: Lets seconds pass.
        now: The monotonic clock, in seconds.
    """

    def __init__(
        self,
        url: str,
        query: str,
        headers: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._query = query.rstrip("/")
        self._sleep = sleep
        self._now = now
        agent = {"User-Agent": f"seasalt-exporter/{__version__}"}
        self._http = httpx.Client(trust_env=False, timeout=_TIMEOUT, headers={**agent, **headers})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def push(self, body: bytes) -> None:
        """Push the body of one request.

        Raises:
            StartError: If the store does not take it.
        """
        wait, until = 0.5, self._now() + PATIENCE
        while True:
            try:
                answer = self._http.post(self._url, content=body, headers=HEADERS)
            except httpx.HTTPError as error:
                why = type(error).__name__
            else:
                status = answer.status_code
                if status < 300:
                    return
                why = f"HTTP {status}"
                if status < 500 and status != 429:
                    # Its words may quote labels, so they are not repeated.
                    too_old = status in {400, 409} and _SAYS_TOO_OLD.search(answer.text)
                    hint = _TOO_OLD if too_old else _HINTS.get(status)
                    raise StartError(f"{self._url}: {why}{(hint and f': {hint}') or ''}; {_AGAIN}")
            if self._now() >= until:
                raise StartError(f"{self._url}: {why} for {PATIENCE:.0f} s; {_AGAIN}")
            self._sleep(wait)
            wait = min(2 * wait, 10.0)

    def is_live(self, labels: Iterable[tuple[str, str]], at: int) -> bool:
        """Whether a running exporter's values are in the store, from the day before a Unix time.

        Args:
            labels: Labels of the exporter and of the workspace.
            at: The Unix time.
        """
        selector = _selector([("__name__", SUCCESS.name), *labels])
        query = f"count(last_over_time({selector}[1d]))"
        found = self._get("/api/v1/query", query=query, time=f"{at}", nocache="1")
        try:
            return bool(found["data"]["result"])
        except (TypeError, KeyError):
            return False

    def read_back(self, chosen: Sequence[Pushed]) -> None:
        """Compare pushed samples with what the store answers.

        Raises:
            StartError: If it has not all of them.
        """
        if not chosen:
            return
        self._get("/internal/force_flush")  # VictoriaMetrics shows new samples after some seconds
        missing, wait, until = deque(chosen), 0.5, self._now() + PATIENCE
        while missing:
            for _ in range(len(missing)):
                if self._has(missing[0]):
                    missing.popleft()
                    until = self._now() + PATIENCE  # slow, but it answers
                elif self._now() >= until:
                    raise self._lacks(len(missing), len(chosen))
                else:
                    missing.rotate(-1)
            if missing:
                self._sleep(wait)
                wait = min(2 * wait, 10.0)

    def _lacks(self, missing: int, of: int) -> StartError:
        return StartError(
            f"{self._query}: of {of} samples that were read back, {missing} are"
            " missing or differ, although the store took them; check its retention, and that this"
            " is where its queries are answered (--push.query-url)"
        )

    def _has(self, one: Pushed) -> bool:
        query = _selector(one.labels)
        found = self._get("/api/v1/query", query=query, time=f"{one.at}", nocache="1")
        try:
            values = [float(series["value"][1]) for series in found["data"]["result"]]
        except (TypeError, KeyError, ValueError, IndexError):
            return False
        return any(isclose(one.value, value, rel_tol=_ROUNDED) for value in values)

    def _get(self, path: str, **params: str) -> Any:  # noqa: ANN401 - JSON
        """The JSON at a path; None if there is none."""
        try:
            return self._http.get(f"{self._query}{path}", params=params).json()
        except (httpx.HTTPError, ValueError):
            return None


def _selector(labels: Iterable[tuple[str, str]]) -> str:
    """The series with some labels, in PromQL."""
    pairs = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels)
    return f"{{{','.join(pairs)}}}"


_AGAIN: Final = "run the same command again to go on"
