"""A real Alertmanager with the shipped configuration, which tells a webhook what it is told."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import yaml
from e2e.programs import missing

from support.processes import answered, finished, free_port, get, started
from support.webhook import Webhook, filled_in, listening

ROOT: Final = Path(__file__).parents[2]
ALERTMANAGER: Final = ROOT / "config" / "alertmanager" / "alertmanager.yml"
PLACEHOLDER: Final = "http://127.0.0.1:5001"
LEAST_ALERTMANAGER: Final = (0, 33)
TEMPLATES: Final = Path("/usr/share/prometheus/alertmanager/default.tmpl")
"""What Debian's Alertmanager does not start without."""

Labels = dict[str, str]


def of_alertmanager(name: str) -> str:
    """The path of one of Alertmanager's programs: ours, or the machine's."""
    tools = ROOT / ".tools/prometheus/usr/bin"
    for path in (str(tools / f"prometheus-{name}"), str(tools / name), shutil.which(name)):
        if path and os.access(path, os.X_OK):
            told = finished([path, "--version"])
            found = re.search(r"version (\d+)\.(\d+)", told.stdout + told.stderr)
            if found and (int(found[1]), int(found[2])) >= LEAST_ALERTMANAGER:
                return path
    return missing(f"no {name} that is recent enough: tests/get-prometheus fetches it")


def hurried(node: Any) -> Any:  # noqa: ANN401 - YAML
    """A configuration of Alertmanager with all its waiting times cut down to a second."""
    if isinstance(node, dict):
        short = {"group_wait": "1s", "group_interval": "1s"}
        return {key: short.get(key) or hurried(value) for key, value in node.items()}
    return [hurried(item) for item in node] if isinstance(node, list) else node


@dataclass(frozen=True, slots=True)
class Alerting:
    """A running Alertmanager and the webhook that it tells.

    Attributes:
        url: Where it is.
        webhook: What it has sent, but for mails.
        say: What it has logged.
        began: When each alert began, by its labels as JSON.
    """

    url: str
    webhook: Webhook
    say: Callable[[], str]
    began: dict[str, datetime] = field(default_factory=dict)

    def post(
        self,
        *alerts: Labels,
        ended: bool = False,
        annotations: Mapping[str, str] | None = None,
        since: datetime | None = None,
    ) -> None:
        """Tell it of alerts, as Prometheus does.

        Args:
            alerts: The labels of each.
            ended: Whether they are over.
            annotations: Those of every alert; each may refer to a label as {bot}.
            since: When they began; now if it is not given.
        """
        now = datetime.now(UTC)
        ends = now if ended else now + timedelta(minutes=10)
        told = [
            {
                "labels": labels,
                "annotations": {
                    name: text.format_map(labels) for name, text in (annotations or {}).items()
                },
                # Now: for one that began long ago Alertmanager does not wait for its company.
                "startsAt": self.began.setdefault(json.dumps(labels), since or now).isoformat(),
                "endsAt": ends.isoformat(),
            }
            for labels in alerts
        ]
        request = Request(  # noqa: S310 - loopback
            f"{self.url}/api/v2/alerts",
            json.dumps(told).encode(),
            {"Content-Type": "application/json"},
        )
        with build_opener(ProxyHandler({})).open(request) as answer:
            assert answer.status == 200

    def told(self, status: str, *, path: str = "") -> set[tuple[str, str]]:
        """Alert and case of what has come with a status, at any path or at one."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("job", ""))
            for at, alert in self.webhook.alerts()
            if alert["status"] == status and path in {"", at}
        }

    def muted(self) -> set[str]:
        """The alerts that a time interval mutes, by name."""
        groups = json.loads(get(f"{self.url}/api/v2/alerts/groups").body)
        return {
            alert["labels"]["alertname"]
            for group in groups
            for alert in group["alerts"]
            if alert["status"]["mutedBy"]
        }

    def suppressed(self, job: str) -> set[str]:
        """The alerts of a job that are hidden."""
        found = json.loads(get(f"{self.url}/api/v2/alerts?filter={quote(f'job={job}')}").body)
        return {
            alert["labels"]["alertname"]
            for alert in found
            if alert["status"]["state"] == "suppressed" and alert["status"]["inhibitedBy"]
        }


def with_templates(config: str) -> str:
    """A configuration that finds the shipped templates from anywhere."""
    before = "templates: [templates/"
    assert before in config
    return config.replace(before, f"templates: [{ALERTMANAGER.parent}/templates/")


@contextmanager
def alertmanager_in(
    folder: Path,
    *blocks: str,
    mail_server: str = "",
    change: Callable[[dict[str, Any], str], object] = lambda *_: None,
) -> Iterator[Alerting]:
    """An Alertmanager of its own, with the shipped configuration but for its waiting times.

    Args:
        folder: For its files.
        blocks: The commented blocks that are filled in, see `filled_in`; Slack is at the webhook's
            `slack-` and the receiver's name.
        mail_server: Where mail goes, as host:port.
        change: What else is different, given the configuration and the webhook's address.
    """
    alertmanager = of_alertmanager("alertmanager")
    if ".tools" in alertmanager and not TEMPLATES.exists():
        missing(f"no {TEMPLATES}: tests/prepare-machine copies them there")
    with listening() as webhook:
        text = with_templates(ALERTMANAGER.read_text(encoding="utf-8"))
        content = yaml.safe_load(filled_in(text, *blocks))
        for receiver in content["receivers"]:
            for slack in receiver.get("slack_configs", ()):
                del slack["api_url_file"]
                slack["api_url"] = f"{webhook.url}/slack-{receiver['name']}"
            for mail in receiver.get("email_configs", ()):
                mail |= {"smarthost": mail_server, "require_tls": False}
                del mail["auth_username"], mail["auth_password_file"]
        change(content, webhook.url)
        text = json.dumps(hurried(content)).replace(PLACEHOLDER, webhook.url)
        config = folder / "alertmanager.yml"
        config.write_text(text, encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        command = [
            *(alertmanager, f"--config.file={config}", f"--storage.path={folder / 'data'}"),
            *(f"--web.listen-address={address}", "--cluster.listen-address="),
        ]
        with started(command) as process:
            answered(f"http://{address}/-/ready")
            yield Alerting(f"http://{address}", webhook, lambda: process.stderr)
