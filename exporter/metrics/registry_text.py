"""Renders metrics as text, fast because only the numbers change between most scrapes.

prometheus-client renders names, labels and help texts at every scrape, which takes most of its
time. Here it renders them once, and only the numbers in its lines are replaced.
"""

import gc
import os
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Format = Callable[[Collector], bytes]
"""Renders a collector's metrics in one of the exposition formats."""

EOF: Final = b"# EOF\n"
"""The end of a page in the OpenMetrics format."""

_FIXED: Final = ("#", "process_start_time_seconds ")
"""How lines begin that stay as they are."""

_FILES: Final = "/proc/self/fd"
_PAGE: Final = resource.getpagesize()


def _opened() -> int:
    """The file with the memory of this process, kept open; -1 where the system has none."""
    with suppress(OSError):
        return os.open("/proc/self/statm", os.O_RDONLY)
    return -1


_MEMORY: Final = _opened()


@dataclass(frozen=True)
class _Collected(Collector):
    """The metrics of a registry at an instant."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class RegistryText:
    """The text of one registry in one format, without the end of the page.

    The library renders it again when a series appears or disappears.

    Args:
        registry: The registry; it must have no exemplars, timestamps or creation times.
        written: The library's function that renders the format.
    """

    def __init__(self, registry: CollectorRegistry, written: Format) -> None:
        self._registry = registry
        self._written = written
        self._series: Sequence[tuple[str, Mapping[str, str]]] = ()
        self._lines = ""

    def now(self) -> bytes:
        """The text with the current numbers."""
        families = list(self._registry.collect())
        samples = [sample for family in families for sample in family.samples]
        series = [sample[:2] for sample in samples]
        if series != self._series:
            self._lines = "".join(map(_slotted, _lines(self._written, families)))
            self._series = series
        numbers = [floatToGoString(sample.value) for sample in samples]  # type: ignore[no-untyped-call]
        return (self._lines % tuple(numbers)).encode()


class ProcessText:
    """The library's metrics of the process and of the garbage collector, without the end of the page.

    The library opens three files and creates all families at every scrape. Here it does so once,
    and each call reads every number anew. Memory, CPU and limits need no file to be opened, so they
    are there even when the process has no file descriptor left.

    Args:
        written: The library's function that renders the format.
    """

    def __init__(self, written: Format) -> None:
        registry = CollectorRegistry()
        for collector in (ProcessCollector, GCCollector):
            collector(registry=registry)
        self._families: list[tuple[AbstractSet[str], str]] = []
        for family in registry.collect():
            lines = _lines(written, [family])
            series = {_series(line) for line in lines if not line.startswith(_FIXED)}
            text = (_slotted(line, f"%({_series(line)})s") for line in lines)
            self._families.append((series, "".join(text)))

    def now(self) -> bytes:
        """The text with the current numbers; a family with an unknown one is left out."""
        numbers = {
            series: floatToGoString(value)  # type: ignore[no-untyped-call]
            for series, value in _numbers().items()
        }
        known = numbers.keys()
        return "".join(
            [text % numbers for series, text in self._families if series <= known]
        ).encode()


def _numbers() -> Mapping[str, float]:
    """The current numbers by series, without those that cannot be read."""
    found: dict[str, float] = {
        "process_cpu_seconds_total": time.process_time(),
        "process_max_fds": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    }
    with suppress(OSError):
        size, resident, _ = os.pread(_MEMORY, 128, 0).split(maxsplit=2)
        found["process_virtual_memory_bytes"] = int(size) * _PAGE
        found["process_resident_memory_bytes"] = int(resident) * _PAGE
    with suppress(OSError):
        # Since Linux 6.2 the size of the folder is the number of files. To list it takes one more.
        counted = os.stat(_FILES).st_size or len(os.listdir(_FILES)) - 1  # noqa: PTH116, PTH208
        found["process_open_fds"] = counted
    for number, generation in enumerate(gc.get_stats()):
        of = f'_total{{generation="{number}"}}'
        found[f"python_gc_objects_collected{of}"] = generation["collected"]
        found[f"python_gc_objects_uncollectable{of}"] = generation["uncollectable"]
        found[f"python_gc_collections{of}"] = generation["collections"]
    return found


def _lines(written: Format, families: Sequence[Metric]) -> Sequence[str]:
    """The lines of some families in a format."""
    return written(_Collected(families)).removesuffix(EOF).decode().split("\n")[:-1]


def _series(line: str) -> str:
    return line.rpartition(" ")[0]


def _slotted(line: str, slot: str = "%s") -> str:
    """A line with a placeholder for its number, if it may change."""
    kept = line.replace("%", "%%")
    return f"{kept}\n" if line.startswith(_FIXED) else f"{_series(kept)} {slot}\n"
