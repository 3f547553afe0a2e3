"""A name server that does not answer is the trouble of those alone who need it."""

import signal
import sys
from pathlib import Path
from typing import Final

from e2e.programs import LISTENING, LOOPBACK
from support.loopback import listening
from support.processes import get, started, wait_for

PROGRAM: Final = """\
import os, socket, sys, time
from exporter.commands.cli import main
ask = socket.getaddrinfo
def slow(host, *rest, **more):
    if host in ("nobody.test", b"nobody.test"):
        time.sleep(60)
    return ask(host, *rest, **more)
socket.getaddrinfo = slow
sys.exit(main(sys.argv[1:], os.environ))
"""
CONFIGURATION: Final = """\
requests_per_minute: 6000
concurrency: 40
workspaces:
  - name: nameless
    api: seachat
    base_url: https://nobody.test
    api_key: sk-nameless
    metrics: [total_usage]
    bots: [{bots}]
  - name: named
    api: seachat
    base_url: http://localhost:{port}
    api_key: sk-named
    metrics: [total_usage]
    requests_per_minute: 30  # first in two seconds, when the others wait already
"""


def test_names_that_cannot_be_found_out_delay_no_other_workspace_and_no_reload(
    tmp_path: Path,
) -> None:
    file = tmp_path / "seasalt.yml"
    with listening(lambda _: (200, {"total_usage": {"total_chat_responses": 7}})) as api:
        bots = ", ".join(f"{{id: b{number}}}" for number in range(40))
        file.write_text(CONFIGURATION.format(bots=bots, port=api.port), encoding="utf-8")
        flags = (f"--config.file={file}", f"--web.listen-address={LOOPBACK}")
        command = [sys.executable, "-c", PROGRAM, *flags, "--web.enable-lifecycle"]
        with started(command, {}) as process:
            url = f"http://{process.said(LISTENING)}"
            wait_for(lambda: b'"named",window="today"} 7' in get(f"{url}/metrics").body, "none", 8)
            assert get(f"{url}/-/reload", method="POST").status == 200
            process.send(signal.SIGTERM)  # and a second one follows: the threads are not waited for
