"""The usual way: gauges of prometheus_client, served by its own server.

usage: python -m benchmarks.stock FOLDER PORT
"""

import sys
import threading
from pathlib import Path

from prometheus_client import Gauge, start_http_server
from prometheus_client.parser import text_string_to_metric_families


def main() -> None:
    """Hold a folder's series, and serve them until the end."""
    folder, port = sys.argv[1:]
    text = (Path(folder) / "held.prom").read_text(encoding="utf-8")
    for family in text_string_to_metric_families(text):
        names = sorted({label for sample in family.samples for label in sample.labels})
        gauge = Gauge(family.name, family.documentation, names)
        for sample in family.samples:
            gauge.labels(**sample.labels).set(sample.value)
    start_http_server(int(port), "127.0.0.1")
    threading.Event().wait()


if __name__ == "__main__":
    main()
