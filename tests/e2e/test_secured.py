"""A real Prometheus scrapes over TLS, with a certificate of its own and a password."""

import json
from pathlib import Path

import bcrypt
from e2e.programs import LOOPBACK, SMALL, Command, ServedSandbox
from support.loopback import Authority
from support.processes import answered, get, started, wait_for

CONFIGURATION = f"{SMALL}    metrics: [total_usage]\n"
WEB = """\
tls_server_config:
  cert_file: server.pem
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: authority.pem
  client_allowed_sans: [prometheus]
basic_auth_users:
  prometheus: {hash}
"""


def test_prometheus_scrapes_over_tls_with_a_certificate_and_a_password(
    prometheus: str, exporter: Command, small_sandbox: ServedSandbox, tmp_path: Path
) -> None:
    authority = Authority.made(tmp_path, "authority")
    authority.signs("server", "subjectAltName=IP:127.0.0.1")
    cert, key = authority.signs("prometheus", "subjectAltName=DNS:prometheus")
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    (tmp_path / "web.yml").write_text(WEB.format(hash=hashed))
    (tmp_path / "seasalt.yml").write_text(CONFIGURATION)
    command = [
        *(*exporter, f"--config.file={tmp_path}/seasalt.yml"),
        *(f"--web.config.file={tmp_path}/web.yml", f"--web.listen-address={LOOPBACK}"),
    ]
    with started(command, small_sandbox.environment) as process:
        target = process.said(r"msg=listening address=(\S+)")
        job = {
            "scheme": "https",
            "static_configs": [{"targets": [target]}],
            "tls_config": {
                "ca_file": str(authority.certificate),
                "cert_file": str(cert),
                "key_file": str(key),
            },
        }
        password = {"basic_auth": {"username": "prometheus", "password": "secret"}}
        jobs = {
            "right": job | password,
            "no-password": job,
            "no-certificate": job | password | {"tls_config": {"insecure_skip_verify": True}},
        }
        config = tmp_path / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                    "scrape_configs": [{"job_name": name, **one} for name, one in jobs.items()],
                }
            )
        )
        serve = [
            *(prometheus, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}/data"),
            f"--web.listen-address={LOOPBACK}",
        ]
        with started(serve) as running:
            url = "http://" + running.said(r'msg="Listening on".* address=(\S+)')
            answered(f"{url}/-/ready")

            def health() -> dict[str, tuple[str, str]] | None:
                answer = json.loads(get(f"{url}/api/v1/targets?state=active").body)
                found = {
                    target["labels"]["job"]: (target["health"], target["lastError"])
                    for target in answer["data"]["activeTargets"]
                }
                known = all(state != "unknown" for state, _ in found.values())
                return found if known and len(found) == len(jobs) else None

            found = wait_for(health, "not all have been scraped", more=lambda: running.stderr)
    assert found["right"] == ("up", "")
    assert found["no-password"] == ("down", "server returned HTTP status 401 Unauthorized")
    assert found["no-certificate"][0] == "down"
