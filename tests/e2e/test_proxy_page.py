"""The nginx of docs/proxy.md stands in front of the exporter, and Prometheus scrapes through it."""

import json
import shlex
from pathlib import Path
from typing import Final

import pytest
import yaml
from e2e.programs import LISTENING, LOOPBACK, SMALL, Command, ServedSandbox
from e2e.test_dashboards import prometheus_on
from support.loopback import Authority
from support.page_commands import blocks, commands
from support.processes import Ended, finished, free_port, get, started, wait_for

from benchmarks.machine import debian

NAME: Final = "metrics.example.com"
OWN: Final = ("--request", "POST", "--header", f"Origin: https://{NAME}")
"""A request that a page of the exporter itself might send."""
FRAME: Final = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 64; }}
http {{ access_log off; {temporary}
{server}}}
"""


def nginx() -> str:
    """The path of nginx; without it, the test is skipped."""
    found = debian("nginx", "nginx")
    if found is None:
        pytest.skip("no nginx, and no package of it: docs/proxy.md is NOT tested")
    return found


def test_prometheus_scrapes_and_people_reload_through_the_nginx_of_the_page(
    prometheus: str, exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    program = nginx()
    authority = Authority.made(tmp_path, "authority")
    authority.signs("server", f"subjectAltName=DNS:{NAME}")
    (tmp_path / "seasalt.yml").write_text(f"{SMALL}    metrics: [total_usage]\n", encoding="utf-8")
    [[line]] = commands("proxy")
    _, *flags = shlex.split(line.replace("127.0.0.1:9877", LOOPBACK))
    flags = [flag.replace("=seasalt.yml", f"={tmp_path}/seasalt.yml") for flag in flags]
    serve = [*exporter, *flags, "--web.enable-lifecycle"]
    with started(serve, small_sandbox.environment) as process:
        there, port = process.said(LISTENING), free_port()
        [server] = blocks("proxy", "nginx")
        server = server.replace("listen 443", f"listen 127.0.0.1:{port}")
        server = server.replace("127.0.0.1:9877", there).replace("/etc/nginx/tls", str(tmp_path))
        temporary = " ".join(
            f"{kind}_temp_path {tmp_path}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(
            FRAME.format(folder=tmp_path, temporary=temporary, server=server), encoding="utf-8"
        )
        with started([program, "-c", str(configuration), "-e", "stderr"]) as proxy:
            [job] = yaml.safe_load(blocks("proxy", "yaml")[0])["scrape_configs"]
            assert job["static_configs"] == [{"targets": [f"{NAME}:443"]}]
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
            job["tls_config"] = {"ca_file": str(authority.certificate), "server_name": NAME}
            settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
            with prometheus_on(prometheus, tmp_path / "data", settings) as url:

                def health() -> bool:
                    answer = json.loads(get(f"{url}/api/v1/targets?state=active").body)
                    return [one["health"] for one in answer["data"]["activeTargets"]] == ["up"]

                wait_for(health, "it is not up", more=lambda: proxy.stderr + process.stderr)
            reached = curl(authority, port, "/seasalt/-/reload", *OWN)
            assert (reached.status, reached.stdout) == (0, "200"), reached.stderr
            assert curl(authority, port, "/metrics").stdout == "404"


def curl(authority: Authority, port: int, path: str, *more: str) -> Ended:
    """The status that a client of the name gets."""
    return finished(
        [
            *("curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}"),
            *("--noproxy", "*", "--cacert", str(authority.certificate)),
            *("--connect-to", f"{NAME}:443:127.0.0.1:{port}", *more, f"https://{NAME}{path}"),
        ]
    )
