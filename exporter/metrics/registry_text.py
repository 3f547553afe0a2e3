"""Renders a registry as text, fast because only the numbers change between most scrapes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Format = Callable[[Collector], bytes]
"""Renders a collector's metrics in one of the exposition formats."""

EOF: Final = b"# EOF\n"
"""The end of a page in the OpenMetrics format."""


@dataclass(frozen=True)
class _Collected(Collector):
    """The metrics of a registry at an instant."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


class RegistryText:
    """The text of one registry in one format, without the end of the page.

    prometheus-client renders names, labels and help texts at every scrape, which takes most of its
    time. Here it renders them only when a series appears or disappears. At other scrapes, only the
    numbers in its lines are replaced.

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
            text = self._written(_Collected(families)).removesuffix(EOF).decode()
            self._lines = "".join(map(_slotted, text.split("\n")[:-1]))
            self._series = series
        numbers = [floatToGoString(sample.value) for sample in samples]  # type: ignore[no-untyped-call]
        return (self._lines % tuple(numbers)).encode()


def _slotted(line: str) -> str:
    """A line with a placeholder for its number."""
    kept = line.replace("%", "%%")
    return f"{kept}\n" if line.startswith("#") else f"{kept.rpartition(' ')[0]} %s\n"
