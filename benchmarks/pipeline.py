"""What a polled report costs: the exporter beside httpx alone, and beside the usual way.

All of them poll the same stand-in API over TLS, as many requests at once. The exporter is the one
that users have: what it costs holds its share of rendering and compressing the page. Once as fast as
all of them can, and once at the rate of a few hundred bots, at which connections are idle in between.
"""

import re
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.api import KEY, configuration, requests
from benchmarks.goals import Figures
from benchmarks.machine import cpu_seconds, free_port, patiently, started

BOTS: Final = 1000
CONCURRENCY: Final = 16
_WARM: Final = 64
PACED: Final = 300
"""Bots that are polled in ten minutes: one report in two seconds."""

_PAUSE: Final = 2
_WATCHED: Final = 60.0


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for localhost and its key, made on the spot."""
    cert, key = str(folder / "localhost.pem"), str(folder / "localhost.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", cert, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def requests_of_a_round(python: str) -> Figures:
    """How many requests bring every report that needs no choice, of all APIs, against the plan."""
    with tempfile.TemporaryDirectory() as folder:
        port, file = free_port(), Path(folder) / "seasalt.yml"
        workspaces = "".join(
            f"  - {{name: {api}, api: {api}, base_url: 'http://127.0.0.1:{port}', api_key: {KEY}"
            f"{bots}}}\n"
            for api, bots in (
                ("seachat", ", bots: [{id: bot-00001}, {id: bot-00002}, {id: bot-00003}]"),
                ("portal", ""),
                ("seax", ""),
            )
        )
        file.write_text(f"requests_per_minute: 6000\nworkspaces:\n{workspaces}", encoding="utf-8")
        exporter = [python, "-m", "exporter", f"--config.file={file}"]
        planned = subprocess.run([*exporter, "plan"], check=True, capture_output=True, text=True)
        least = sum(
            map(int, re.findall(r"(?m)^workspace .*: (\d+) requests a round$", planned.stdout))
        )
        with started([python, "-m", "benchmarks.api", f"--port={port}"]) as process:
            patiently(process, lambda: requests(port) is not None, pause=0.05)
            subprocess.run([*exporter, "once"], check=True, capture_output=True)
            return {
                "requests": requests(port).total() / least,
                "requests/sent": requests(port).total(),
            }


def exporters(python: str, file: Path, api: int) -> float:
    """CPU seconds of a report in the exporter, over most of the round after its start."""
    before = requests(api).total()
    command = [
        *(python, "-m", "exporter", "serve", "--log.level=error", f"--config.file={file}"),
        "--web.listen-address=127.0.0.1:0",
    ]

    def since(number: int) -> tuple[int, float]:
        """The requests that came and the CPU seconds that they took, once there are so many."""
        patiently(process, lambda: requests(api).total() - before >= number, pause=0.02)
        return requests(api).total() - before, cpu_seconds(process.pid)

    with started(command) as process:
        first, cpu_first = since(_WARM)
        last, cpu_last = since(BOTS)
        return (cpu_last - cpu_first) / (last - first)


def paced(python: str, file: Path, api: int) -> float:
    """CPU seconds of a report in the exporter, at the rate of a few hundred bots."""
    before = requests(api).total()
    command = [
        *(python, "-m", "exporter", "serve", "--log.level=error", f"--config.file={file}"),
        "--web.listen-address=127.0.0.1:0",
    ]
    with started(command) as process:
        patiently(process, lambda: requests(api).total() - before >= PACED, pause=0.2)
        time.sleep(_PAUSE)
        first, cpu = requests(api).total(), cpu_seconds(process.pid)
        time.sleep(_WATCHED)
        return (cpu_seconds(process.pid) - cpu) / (requests(api).total() - first)


def measure(python: str, number: int) -> Figures:
    """The figures of the pipeline, medians of so many rounds."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cert, key = certificate(folder)
        port, plain = free_port(), free_port()
        api = [
            *(python, "-m", "benchmarks.api", f"--port={port}", f"--plain-port={plain}"),
            *(f"--cert={cert}", f"--key={key}"),
        ]
        process = stack.enter_context(started(api))
        patiently(process, lambda: requests(plain) is not None, pause=0.05)
        url, file = f"https://localhost:{port}", folder / "seasalt.yml"
        file.write_text(
            configuration(url, BOTS, concurrency=CONCURRENCY, ca_file=cert), encoding="utf-8"
        )

        def usual(
            way: str, reports: int = BOTS, at_once: int = CONCURRENCY, pause: int = 0
        ) -> float:
            arguments = [way, url, cert, str(reports), str(at_once), str(pause)]
            command = [python, "-m", "benchmarks.usual", *arguments]
            return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

        ours, alone, gauges = list[float](), list[float](), list[float]()
        for _ in range(number):
            ours.append(exporters(python, file, plain))
            alone.append(usual("httpx"))
            gauges.append(usual("gauges"))
        text = configuration(url, PACED, interval="10m", ca_file=cert)
        file.write_text(text, encoding="utf-8")
        slowly = paced(python, file, plain)
        alone_slowly = usual("httpx", round(_WATCHED / _PAUSE), 1, _PAUSE)
    return {
        "pipeline/own": median(map(float.__truediv__, ours, alone)),
        "pipeline/paced": slowly / alone_slowly,
        "pipeline/slowly": slowly * 1000,
        "pipeline/httpx slowly": alone_slowly * 1000,
        "pipeline/usual": median(map(float.__truediv__, gauges, ours)),
        "pipeline/ours": median(ours) * 1000,
        "pipeline/httpx": median(alone) * 1000,
        "pipeline/gauges": median(gauges) * 1000,
    }
