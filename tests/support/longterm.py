"""Long-term stores in processes of their own."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from e2e.programs import LOOPBACK, ROOT

from support.processes import answered, free_port, get, started, wait_for

STORES: Final = ROOT / ".tools/stores"


def store(name: str) -> str:
    """The path of a store's program; without it, the test is skipped."""
    found = shutil.which(name, path=f"{STORES}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"no {name}: tests/get-stores gets it; whether it takes a push is NOT tested")
    return found


@contextmanager
def victoria_metrics(folder: Path, *flags: str) -> Iterator[str]:
    """A VictoriaMetrics with an empty folder; its URL."""
    command = [
        *(store("victoria-metrics"), f"-storageDataPath={folder}", f"-httpListenAddr={LOOPBACK}"),
        *("-loggerLevel=INFO", *flags),
    ]
    with started(command) as process:
        url = "http://" + process.said(r"started server at http://(127\.0\.0\.1:[1-9]\d*)/")
        answered(f"{url}/health")
        yield url


@contextmanager
def thanos(folder: Path, *flags: str) -> Iterator[tuple[str, str]]:
    """A Thanos receive with an empty folder, and a query: the URLs to push to and to ask."""
    program = store("thanos")
    write, grpc, http, query, other = (f"127.0.0.1:{free_port()}" for _ in range(5))
    receive = [
        *(program, "receive", f"--tsdb.path={folder}", '--label=replica="a"', *flags),
        *(f"--remote-write.address={write}", f"--grpc-address={grpc}", f"--http-address={http}"),
    ]
    ask = [
        *(program, "query", f"--endpoint={grpc}"),
        *(f"--query.replica-label={label}" for label in ("replica", "tenant_id")),
        *(f"--http-address={query}", f"--grpc-address={other}"),
    ]
    with started(receive), started(ask):
        for address in (http, query):
            answered(f"http://{address}/-/ready")
        wait_for(
            lambda: json.loads(get(f"http://{query}/api/v1/stores").body)["data"].get("receive"),
            "query has not found receive",
        )
        yield f"http://{write}/api/v1/receive", f"http://{query}"
