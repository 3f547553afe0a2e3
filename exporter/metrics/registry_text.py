"""A registry as text, where from one scrape to the next little but the numbers is another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Format = Callable[[Collector], bytes]
"""Writes what a collector collects, in one of the text formats."""

EOF: Final = b"# EOF\n"
"""What ends a page in OpenMetrics."""


@dataclass(frozen=True)
class _Collected(Collector):
    """What a registry held at an instant."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class RegistryText:
    """The text of one registry in one format, without what ends a page.

    The library takes most of its time for names, labels and help texts, and writes them each time.
    Here it writes them when a series comes or goes; in between new numbers are put into its lines.

    Args:
        registry: What is written; without exemplars, timestamps and creation times.
        written: The library's way to write it.
    """

    def __init__(self, registry: CollectorRegistry, written: Format) -> None:
        self._registry = registry
        self._written = written
        self._series: Sequence[tuple[str, Mapping[str, str]]] = ()
        self._lines = ""

    def now(self) -> bytes:
        """The text with the numbers as they are now."""
        families = list(self._registry.collect())
        samples = [sample for family in families for sample in family.samples]
        series = [sample[:2] for sample in samples]
        if series != self._series:
            text = self._written(_Collected(families)).removesuffix(EOF).decode()
            self._lines = "".join(map(_slotted, text.split("\n")[:-1]))
            self._series = series
        numbers = [floatToGoString(sample.value) for sample in samples]  # type: ignore[no-untyped-call]
        return (self._lines % tuple(numbers)).encode()


def _slotted(line: str) -> str:
    """A line with a slot where its number is."""
    kept = line.replace("%", "%%")
    return f"{kept}\n" if line.startswith("#") else f"{kept.rpartition(' ')[0]} %s\n"
