"""Who is measured beside the exporter, and how each comes to hold the very same series.

A folder holds what they serve: `held.prom`, the values of the API as text, for those who render
them; `page` and `page.gz`, the exporter's own answer, for nginx, which has nothing to render.
"""

import sqlite3
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.machine import PATIENCE, debian, installed, series, version

NGINX: Final = "nginx"
STOCK: Final = "prometheus_client"
PUSHGATEWAY: Final = "pushgateway"
TEXTFILE: Final = "node_exporter textfile"
QUERY_EXPORTER: Final = "query-exporter"

_LIBRARY: Final = "import importlib.metadata as m; print(m.version('prometheus_client'))"


@dataclass(frozen=True)
class Peer:
    """A program that serves a folder's series.

    Attributes:
        name: As it is printed.
        command: How it is started, on a folder and a port.
        version: As it tells it.
        fill: What it must be given once it answers.
        labels: What it puts on every series.
    """

    name: str
    command: Callable[[Path, int], Sequence[str]]
    version: str
    fill: Callable[[Path, int], None] = lambda _folder, _port: None
    labels: frozenset[str] = frozenset()


def nginx(
    folder: Path, port: int, program: str, *, sendfile: bool, tls: tuple[str, str] | None = None
) -> Sequence[str]:
    """Ready bytes, and nothing to render. Where they are many it is faster without sendfile, on loopback.

    Args:
        folder: With the bytes; `passwords` is there as well if there is a certificate.
        port: Where it listens.
        program: Its path.
        sendfile: Whether it uses that.
        tls: A certificate and its key: it speaks TLS, and asks for a password.
    """
    secured = ""
    if tls:
        secured = (
            f"ssl_certificate {tls[0]}; ssl_certificate_key {tls[1]};"
            f" auth_basic seasalt; auth_basic_user_file {folder}/passwords;"
        )
    copying = "sendfile on; tcp_nopush on" if sendfile else "sendfile off; output_buffers 2 1m"
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log {folder}/nginx.log; events {{ worker_connections 64; }}
http {{ access_log off; {copying}; {temporary} types {{ }}
  keepalive_requests 10000000; keepalive_timeout 600; open_file_cache max=10 inactive=1h;
  server {{ listen 127.0.0.1:{port}{" ssl" if tls else ""}; root {folder}; gzip_static on; {secured}
    location = /metrics {{ alias {folder}/page; default_type "text/plain; version=0.0.4"; }} }} }}
""",
        encoding="utf-8",
    )
    return [program, "-c", str(configuration), "-e", f"{folder}/nginx.log"]


def pushed(folder: Path, port: int) -> None:
    """Give the series to a pushgateway."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics/job/seasalt",
        (folder / "held.prom").read_bytes(),
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=PATIENCE):  # noqa: S310 - loopback
        pass


def textfile(folder: Path, port: int, program: str) -> Sequence[str]:
    """node_exporter with nothing but a file that somebody else writes."""
    text = folder / "textfile"
    text.mkdir()
    (text / "held.prom").write_bytes((folder / "held.prom").read_bytes())
    return [
        *(program, f"--web.listen-address=127.0.0.1:{port}", "--web.disable-exporter-metrics"),
        *("--collector.disable-defaults", "--collector.textfile"),
        *(f"--collector.textfile.directory={text}", "--log.level=error"),
    ]


def query_exporter(folder: Path, port: int, program: str) -> Sequence[str]:
    """query-exporter with a database of the series, and a query for each family."""
    by_family: dict[str, list[tuple[dict[str, str], float]]] = {}
    for (name, labels), value in series((folder / "held.prom").read_text("utf-8")).items():
        by_family.setdefault(name, []).append((dict(labels), value))
    metrics, queries = ["metrics:"], ["queries:"]
    with sqlite3.connect(folder / "held.sqlite") as database:
        for name, rows in by_family.items():
            names = sorted({label for pairs, _ in rows for label in pairs})
            columns = ", ".join(f'"{label}"' for label in names)
            database.execute(f'create table "{name}" (value real, {columns})')
            marks = ", ".join("?" * (len(names) + 1))
            database.executemany(
                f'insert into "{name}" values ({marks})',  # noqa: S608 - names of our own page
                [(value, *(pairs[label] for label in names)) for pairs, value in rows],
            )
            metrics.append(f"  {name}: {{type: gauge, labels: [{', '.join(names)}]}}")
            wanted = f'select value as {name}, {columns} from "{name}"'  # noqa: S608 - likewise
            queries.append(
                f"  {name}: {{databases: [held], metrics: [{name}], interval: 86400, sql: '{wanted}'}}"
            )
    configuration = folder / "query.yml"
    head = [f"databases: {{held: {{dsn: 'sqlite:///{folder}/held.sqlite'}}}}"]
    configuration.write_text("\n".join((*head, *metrics, *queries, "")), encoding="utf-8")
    return [
        *(program, "--host", "127.0.0.1", "--port", str(port)),
        *("--config", str(configuration), "--log-level", "error"),
    ]


def peers(python: str, *, sendfile: bool = True) -> tuple[list[Peer], list[str]]:
    """All that can be had on this machine, and the names of those that cannot.

    Args:
        python: One that has prometheus_client.
        sendfile: Whether nginx uses it.
    """
    asker = installed(QUERY_EXPORTER, [QUERY_EXPORTER])
    programs: dict[str, str | None] = {
        NGINX: debian("nginx", "nginx"),
        STOCK: python,
        PUSHGATEWAY: debian("prometheus-pushgateway", "prometheus-pushgateway"),
        TEXTFILE: debian("prometheus-node-exporter", "prometheus-node-exporter"),
        QUERY_EXPORTER: str(asker / QUERY_EXPORTER) if asker else None,
    }
    makers: dict[str, Callable[[str], Peer]] = {
        NGINX: lambda program: Peer(
            NGINX,
            lambda folder, port: nginx(folder, port, program, sendfile=sendfile),
            version(program, "-v"),
        ),
        STOCK: lambda program: Peer(
            STOCK,
            lambda folder, port: [program, "-m", "benchmarks.stock", str(folder), str(port)],
            version(program, "-c", _LIBRARY),
        ),
        PUSHGATEWAY: lambda program: Peer(
            PUSHGATEWAY,
            lambda _, port: [
                *(program, f"--web.listen-address=127.0.0.1:{port}"),
                *("--log.level=error", "--persistence.file="),
            ],
            version(program, "--version"),
            fill=pushed,
            labels=frozenset({"job", "instance"}),
        ),
        TEXTFILE: lambda program: Peer(
            TEXTFILE,
            lambda folder, port: textfile(folder, port, program),
            version(program, "--version"),
        ),
        QUERY_EXPORTER: lambda program: Peer(
            QUERY_EXPORTER,
            lambda folder, port: query_exporter(folder, port, program),
            version(program, "--version"),
            labels=frozenset({"database"}),
        ),
    }
    found = [makers[name](program) for name, program in programs.items() if program]
    return found, [name for name, program in programs.items() if not program]
