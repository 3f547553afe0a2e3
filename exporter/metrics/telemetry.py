"""The exporter's own metrics: collected by prometheus-client and current at each scrape."""

import logging
import platform
from collections import Counter as Counted
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest as text_format
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_format

from exporter import __version__, logs
from exporter.config import Workspace
from exporter.errors import Outcome
from exporter.metrics.gzip_pieces import Piece
from exporter.metrics.registry_text import EOF, ProcessText, RegistryText
from exporter.model.reply_values import Drift


@dataclass(frozen=True, slots=True)
class OwnFamily:
    """A family of the exporter's own metrics, for the registry and for the documentation.

    Attributes:
        kind: `gauge`, `counter` or `histogram`.
        name: The name on the page, including a counter's `_total`.
        help: What it measures, with its unit.
        labels: The label names, in order.
    """

    kind: str
    name: str
    help: str
    labels: tuple[str, ...] = ()


_WORKSPACE: Final = ("api", "workspace")


UP: Final = OwnFamily(
    "gauge",
    "seasalt_up",
    "Whether the workspace's last request got a valid answer.",
    _WORKSPACE,
)
REQUESTS: Final = OwnFamily(
    "counter",
    "seasalt_api_requests_total",
    "Requests to the API, by how they ended.",
    (*_WORKSPACE, "outcome"),
)
REQUEST_DURATION: Final = OwnFamily(
    "histogram",
    "seasalt_api_request_duration_seconds",
    "How long the API took to answer.",
    ("api",),
)
RETRIES: Final = OwnFamily(
    "counter",
    "seasalt_api_retries_total",
    "Requests beyond the schedule, by how the one before had ended.",
    (*_WORKSPACE, "outcome"),
)
PAUSED_UNTIL: Final = OwnFamily(
    "gauge",
    "seasalt_api_paused_until_timestamp_seconds",
    "Until when nothing is sent, as the API asked for a pause or fails, in Unix time; 0 when not.",
    _WORKSPACE,
)
BUDGET_REMAINING: Final = OwnFamily(
    "gauge",
    "seasalt_api_requests_budget_remaining",
    "Requests left of the local day's budget, where there is one.",
    _WORKSPACE,
)
KEY_VALID: Final = OwnFamily(
    "gauge",
    "seasalt_api_key_valid",
    "0 once the API has rejected the key, until an answer says otherwise.",
    _WORKSPACE,
)
SERIES: Final = OwnFamily("gauge", "seasalt_series", "Values from the API on the page.", _WORKSPACE)
SERIES_DROPPED: Final = OwnFamily(
    "counter",
    "seasalt_series_dropped_total",
    "Values, or with the reason max_bots whole bots, left out of answers because there were more"
    " than the configuration allows, counted again at every poll.",
    (*_WORKSPACE, "reason"),
)
SCHEMA_DRIFT: Final = OwnFamily(
    "counter",
    "seasalt_schema_drift_total",
    "Parts of answers that the API's documents do not know, and documented fields that are gone,"
    " by documented field.",
    (*_WORKSPACE, "metric", "field"),
)
KNOWLEDGE_BASE: Final = OwnFamily(
    "gauge",
    "seasalt_knowledge_base_available",
    "Whether the API lists the files of knowledge bases, where knowledge_base is on; 0 after a 404,"
    " from which on they are no longer counted.",
    _WORKSPACE,
)
LOAD: Final = OwnFamily(
    "gauge",
    "seasalt_workspace_load_ratio",
    "Requests that the intervals ask for, as a share of those that requests_per_minute and"
    " requests_per_day allow; above 1 the intervals cannot be kept.",
    _WORKSPACE,
)
UTC_OFFSET: Final = OwnFamily(
    "gauge",
    "seasalt_workspace_utc_offset_seconds",
    "How far the workspace's local time is ahead of UTC now.",
    _WORKSPACE,
)
BUILD_INFO: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_build_info",
    "What is running; always 1.",
    ("version", "revision", "python"),
)
SHARD_INFO: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_shard_info",
    "Which shard this is, from 0, and how many there are; always 1.",
    ("shard", "shards"),
)
RELOAD_SUCCESSFUL: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_config_last_reload_successful",
    "Whether the configuration was right when it was last read.",
)
RELOAD_TIMESTAMP: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_config_last_reload_success_timestamp_seconds",
    "When a right configuration was last read, in Unix time.",
)
STATE_WRITTEN: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_state_last_write_successful",
    "Whether the state file could be written when that was last tried; 1 without one.",
)
STATE_TIMESTAMP: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_state_last_write_success_timestamp_seconds",
    "When the state file was last written, in Unix time; 0 if never.",
)
STATE_WRITE_FAILURES: Final = OwnFamily(
    "counter",
    "seasalt_exporter_state_write_failures_total",
    "Times that the state file could not be written.",
)
STATE_QUARANTINED: Final = OwnFamily(
    "counter",
    "seasalt_exporter_state_quarantined_total",
    "State files that could not be believed and were put aside.",
)
WEB_RELOAD_SUCCESSFUL: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_web_config_last_reload_successful",
    "Whether the web configuration was right when it was last read; 1 where there is none.",
)
WEB_RELOAD_TIMESTAMP: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_web_config_last_reload_success_timestamp_seconds",
    "When a right web configuration was last read, in Unix time.",
)
BUGS: Final = OwnFamily(
    "counter",
    "seasalt_exporter_bugs_total",
    "Contained bugs of the exporter, by the operation that each made fail.",
    ("where",),
)
PAGE_BYTES: Final = OwnFamily(
    "gauge",
    "seasalt_exporter_page_bytes",
    "Size of the page without the exporter's own metrics.",
    ("encoding",),
)
LOG_LINES_DROPPED: Final = OwnFamily(
    "counter",
    "seasalt_exporter_log_lines_dropped_total",
    "Log lines that were not written: repeated within a minute, too many at a time, or unwritable.",
    ("reason",),
)
OWN_FAMILIES: Final = (
    *(UP, REQUESTS, REQUEST_DURATION, RETRIES, PAUSED_UNTIL, BUDGET_REMAINING, KEY_VALID),
    *(SERIES, SERIES_DROPPED, SCHEMA_DRIFT, KNOWLEDGE_BASE, LOAD, UTC_OFFSET),
    *(BUILD_INFO, SHARD_INFO, RELOAD_SUCCESSFUL, RELOAD_TIMESTAMP, PAGE_BYTES),
    *(STATE_WRITTEN, STATE_TIMESTAMP, STATE_WRITE_FAILURES, STATE_QUARANTINED),
    *(WEB_RELOAD_SUCCESSFUL, WEB_RELOAD_TIMESTAMP),
    *(BUGS, LOG_LINES_DROPPED),
)

CONTAINED: Final = ("reload", "discovery", "answer", "page", "web_config", "state", "probe")
"""The values of the label `where`: operations that a bug makes fail without ending the process."""

_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_METRICS: Final[Mapping[str, Callable[..., Any]]] = {
    "gauge": Gauge,
    "counter": Counter,
    "histogram": partial(Histogram, buckets=_BUCKETS),
}


class Telemetry:
    """The exporter's own metrics, in registries of their own.

    Args:
        revision: The commit that was built; empty if unknown.
    """

    def __init__(self, revision: str = "") -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they add a series each
        self._registry = CollectorRegistry()
        self._metrics = {
            family: metric(family.name, family.help, family.labels, registry=self._registry)
            for kind, metric in _METRICS.items()
            for family in OWN_FAMILIES
            if family.kind == kind
        }
        PlatformCollector(registry=self._registry)
        self._followed: dict[tuple[OwnFamily, tuple[str, ...]], Callable[[], float]] = {}
        self._told: dict[tuple[OwnFamily, tuple[str, ...]], float] = {}
        self._counted: dict[bool, Piece] = {}
        self._texts = {
            openmetrics: (RegistryText(self._registry, form), ProcessText(form))
            for openmetrics, form in ((False, text_format), (True, openmetrics_format))
        }
        self.set(STATE_WRITTEN, 1)
        self.set(BUILD_INFO, 1, __version__, revision, platform.python_version())
        self._begun: set[tuple[str, str]] = set()
        self._lost_lines = Counted[str]()
        for reason in logs.REASONS:
            self.count(LOG_LINES_DROPPED, 0, reason)
        for where in CONTAINED:
            self.count(BUGS, 0, where)

    def set(self, family: OwnFamily, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._series(family, labels).set(value)

    def withdraw(self, family: OwnFamily, *labels: str) -> None:
        """Remove a series, if it is there."""
        self._counted.clear()
        with suppress(KeyError):
            self._metrics[family].remove(*labels)

    def follow(self, family: OwnFamily, value: Callable[[], float], *labels: str) -> None:
        """Set a gauge from a function at each scrape."""
        self._followed[family, labels] = value
        self._told = {}

    def count(self, family: OwnFamily, times: float, *labels: str) -> None:
        """Increment a counter; incrementing by 0 creates its series."""
        self._series(family, labels).inc(times)

    def _series(self, family: OwnFamily, labels: tuple[str, ...]) -> Any:  # noqa: ANN401 - of any kind
        """A series that is about to change, created if it is new."""
        self._counted.clear()
        metric = self._metrics[family]
        return metric.labels(*labels) if labels else metric

    def bug(
        self, where: str, error: BaseException, log: logging.Logger, workspace: str = ""
    ) -> None:
        """Log and count a bug that made an operation fail.

        Args:
            where: The operation, one of `CONTAINED`.
            error: The exception; messages of third-party exceptions are not logged.
            log: The logger of the module that logs the outcome of the operation: what follows from
                the same logger about the same workspace is no repetition.
            workspace: The workspace that it is about, if any.
        """
        self.count(BUGS, 1, where)
        text = "rejected because of a bug in the exporter, the last-known-good stays in force"
        extra = {"what": where, "workspace": workspace}
        log.critical(text, extra=extra, exc_info=error)

    def begin(self, workspace: Workspace, now: Callable[[], datetime]) -> None:
        """Create a workspace's metrics, counters at 0, so that the first increment is visible."""
        place = (workspace.api, workspace.name)
        for outcome in Outcome:
            self.count(REQUESTS, 0, *place, outcome.value)
            self.count(RETRIES, 0, *place, outcome.value)
        for reason in ("max_labels", "max_series", "max_bots"):
            self.count(SERIES_DROPPED, 0, *place, reason)
        self._series(REQUEST_DURATION, (workspace.api,))
        if place not in self._begun:  # a reload keeps the state of the key
            self._begun.add(place)
            self.set(KEY_VALID, 1, *place)
        self.set(SERIES, 0, *place)
        zone = workspace.zone

        def offset() -> float:
            ahead = now().astimezone(zone).utcoffset()
            return ahead.total_seconds() if ahead else 0.0

        self.follow(UTC_OFFSET, offset, *place)

    def tells(self, api: str, workspace: str) -> bool:
        """Whether a workspace's metrics exist."""
        return (api, workspace) in self._begun

    def forget(self, api: str, workspace: str) -> None:
        """Remove the metrics of a workspace that is no longer polled."""
        self._counted.clear()
        place = (api, workspace)
        self._begun.discard(place)
        for family, metric in self._metrics.items():
            if family.labels[: len(place)] == _WORKSPACE:
                metric.remove_by_labels(dict(zip(_WORKSPACE, place, strict=True)))
        for followed in [(family, labels) for family, labels in self._followed if labels == place]:
            del self._followed[followed]

    def requested(self, api: str, workspace: str, outcome: Outcome, seconds: float) -> None:
        """Count a request by outcome and observe its duration."""
        self.count(REQUESTS, 1, api, workspace, outcome.value)
        self._series(REQUEST_DURATION, (api,)).observe(seconds)

    def judged(self, api: str, workspace: str, outcome: Outcome) -> None:
        """Update the up and key gauges from the outcome of a request."""
        self.set(UP, outcome is Outcome.SUCCESS, api, workspace)
        if outcome in {Outcome.SUCCESS, Outcome.UNAUTHORIZED}:
            self.set(KEY_VALID, outcome is Outcome.SUCCESS, api, workspace)

    def drifted(self, api: str, workspace: str, metric: str, drift: Drift) -> None:
        """Count a reply's deviations from the API's documents."""
        for field, times in drift.items():
            self.count(SCHEMA_DRIFT, times, api, workspace, metric, field)

    def reloaded(self, now: datetime) -> None:
        """Note that a valid configuration has been loaded."""
        self.set(RELOAD_SUCCESSFUL, 1)
        self.set(RELOAD_TIMESTAMP, now.timestamp())

    def web_reloaded(self, now: datetime, *, right: bool) -> None:
        """Note whether the web configuration was valid when it was read."""
        self.set(WEB_RELOAD_SUCCESSFUL, right)
        if right:
            self.set(WEB_RELOAD_TIMESTAMP, now.timestamp())

    def pieces(self, *, openmetrics: bool) -> tuple[Piece, ...]:
        """The exporter's own metrics as the end of the page, in one of the two formats.

        The exporter's registry is rendered again only after a change. The process metrics are
        collected at each call.
        """
        self._look()
        counted, process = self._texts[openmetrics]
        if openmetrics not in self._counted:
            self._counted[openmetrics] = Piece.of(counted.now())
        end = EOF if openmetrics else b""
        return self._counted[openmetrics], Piece.of(process.now() + end)

    def text(self, *, openmetrics: bool) -> bytes:
        """The exporter's own metrics as uncompressed text."""
        pieces = self.pieces(openmetrics=openmetrics)
        return b"".join(chunk for piece in pieces for chunk in piece.text())

    def _look(self) -> None:
        """Update the gauges that follow a function, and the count of dropped log lines."""
        values = {place: value() for place, value in self._followed.items()}
        if values != self._told:
            self._told = values
            for (family, labels), value in values.items():
                self.set(family, value, *labels)
        if self._lost_lines != logs.lost:  # the log keeps its own count, as it starts first
            lost = logs.lost.copy()
            for reason in logs.REASONS:
                self.count(LOG_LINES_DROPPED, lost[reason] - self._lost_lines[reason], reason)
            self._lost_lines = lost
