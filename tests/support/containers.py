"""The image and compose.yaml as users have them: built, run hardened, and started whole.

`tests/containers` runs it and says what it needs.
"""

import json
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from support.alerting import PLACEHOLDER
from support.machine import ROOT, Kind, Lacking, Machine, booted, made, succeeded, unavailable
from support.processes import wait_for
from support.promises import concluded, holds, lacks
from support.webhook import filled_in

IMAGE: Final = "seasalt-exporter"
ENGINES: Final = Kind(
    "trixie",
    "containers",
    more=(
        *("podman", "buildah", "crun", "netavark", "aardvark-dns", "nftables"),
        *("docker-compose", "curl"),
    ),
)
PYTHON: Final = Kind("bookworm", "python", parts="python3-venv,ca-certificates")
"""Its Python is a 3.11, as the Dockerfile's base has."""
STORAGE: Final = "/var/lib/containers"
HERE: Final = "/root/checkout"
COPIED: Final = (
    *("Dockerfile", ".dockerignore", "requirements.lock", "compose.yaml"),
    *("exporter", "config", "grafana", "tests/support/webhook.py"),
)
CERTIFICATES: Final = "etc/ssl/certs/ca-certificates.crt"
PROGRAMS: Final = ROOT / ".tools/prometheus/usr"
CONFIGURATION: Final = """\
requests_per_minute: 6000
interval: 15s
allow_fast_polling: true
workspaces:
  - name: acme
    api: seachat
    base_url: http://sandbox:9878
    allow_insecure_http: true
    api_key: ${SEACHAT_API_KEY}
"""
WATCHDOG: Final = "SeasaltWatchdog"
BOTS: Final = 4
"""How many the demo has."""
DAY: Final = 86400
SOON: Final = 120.0
"""How long what happens once a minute may take, in seconds."""
HISTORY: Final = 1200.0
"""How long a year of history may take, in seconds, on a busy machine."""
_BUILD: Final = 900.0


# The machine, and the images that a registry would have.


def prepared(machine: Machine) -> None:
    """Tell the engines what they may do in namespaces, and bring the checkout."""
    limits = ", ".join(
        f'"{name}={most}:{most}"'
        for name, kind in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
        for most in (resource.getrlimit(kind)[1],)
        if most != resource.RLIM_INFINITY
    )
    settings = machine.file("/etc/containers/containers.conf")
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(
        f'[containers]\ncgroups = "disabled"\ndefault_ulimits = [{limits}]\nlog_driver = "k8s-file"\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "crun"\n'
    )
    shutil.copyfile("/etc/resolv.conf", machine.file("/etc/resolv.conf"))
    for name in COPIED:
        target = machine.file(f"{HERE}/{name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, target)
    # No registry is asked whether a digest is the tag's.
    for name in ("Dockerfile", "compose.yaml"):
        file = machine.file(f"{HERE}/{name}")
        file.write_text(re.sub("@sha256:[0-9a-f]{64}", "", file.read_text()))


def based(machine: Machine, folder: Path) -> str:
    """Make the Dockerfile's base image; brings its name."""
    found = re.search(r"^FROM (\S+) AS build$", read(machine, "Dockerfile"), re.MULTILINE)
    assert found
    base = found[1]
    root = made(PYTHON, folder)
    if not (root / "usr/local/bin/pip").exists():
        succeeded(["chroot", str(root), "python3", "-m", "venv", "/usr/local"])
    # The way to the package index is this machine's.
    for name in (CERTIFICATES, "etc/pip.conf"):
        if Path("/", name).exists():
            shutil.copyfile(Path("/", name), root / name)
    archive = machine.file("/root/base.tar")
    without = (
        "--exclude=./var/cache/apt/*",
        "--exclude=./var/lib/apt/lists/*",
        "--exclude=./dev/*",
    )
    succeeded(["tar", "-C", str(root), *without, "-cf", str(archive), "."])
    machine.run("podman", "import", "--quiet", "/root/base.tar", f"docker.io/library/{base}")
    machine.run("podman", "tag", f"docker.io/library/{base}", base)
    archive.unlink()
    return base


def built(machine: Machine, name: str, folder: str, *flags: str) -> None:
    """Build a folder's Dockerfile, without a registry."""
    tags = (f"--tag={name}", f"--tag=docker.io/{name if '/' in name else f'library/{name}'}")
    build = ("buildah", "build", "--format=docker", "--isolation=chroot", "--pull=never")
    machine.online(*build, "--network=host", *tags, *flags, folder, within=_BUILD)


def of_debian(machine: Machine, base: str) -> None:
    """Make the images of Prometheus and Alertmanager, as their Dockerfiles do, of Debian's programs."""
    for service, program in {
        "prometheus": "bin/prometheus",
        "alertmanager": "bin/prometheus-alertmanager",
    }.items():
        folder = machine.file(f"/root/{service}")
        folder.mkdir()
        shutil.copyfile(PROGRAMS / program, folder / "program")
        (folder / "program").chmod(0o755)
        shutil.copytree(PROGRAMS / "share/prometheus/alertmanager", folder / "templates")
        (folder / "Dockerfile").write_text(
            f"FROM {base}\n"
            f"COPY program /bin/{service}\n"
            "COPY templates /usr/share/prometheus/alertmanager\n"
            f"RUN install -d -o 65534 -g 65534 /{service}\n"
            "USER 65534:65534\n"
            f'ENTRYPOINT ["/bin/{service}"]\n'
        )
        found = re.search(rf"image: (\S+/{service}:\S+)", read(machine, "compose.yaml"))
        assert found
        built(machine, found[1], f"/root/{service}")


def read(machine: Machine, name: str) -> str:
    """A file of the checkout in the machine."""
    return machine.file(f"{HERE}/{name}").read_text()


def write(machine: Machine, name: str, text: str) -> None:
    """Replace a file of the checkout in the machine, as an editor does."""
    file = machine.file(f"{HERE}/{name}")
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text)
    beside.replace(file)


def fetched(machine: Machine, url: str) -> str | None:
    """What a URL in the machine answers; None if it does not."""
    done = machine.tried("curl", "--silent", "--fail", "--max-time", "60", url)
    return done.stdout if done.status == 0 else None


# The image alone.


def the_image(machine: Machine) -> None:
    """The image, built from the Dockerfile and run as docs/install.md says."""
    revision = succeeded(["git", "-C", str(ROOT), "rev-parse", "HEAD"]).strip()
    begun = time.monotonic()
    built(machine, IMAGE, HERE, f"--build-arg=REVISION={revision}")
    took = time.monotonic() - begun
    size = int(machine.run("podman", "image", "inspect", "--format={{.Size}}", IMAGE))
    holds(f"buildah builds the image in {took:.0f} s, {size / 1e6:.0f} MB with its base")
    version = machine.run("podman", "run", "--rm", IMAGE, "--version")
    assert f"(revision {revision}, Python 3." in version, version
    begins_without_arguments(machine)
    machine.run("podman", "network", "create", "seasalt")
    key = a_sandbox(machine)
    write(machine, "config/seasalt.yml", CONFIGURATION)
    as_documented(machine, key)
    is_hardened(machine, key)
    is_healthy(machine)
    reloads(machine)
    ends_and_remembers(machine)
    for command in (
        ("podman", "rm", "--force", "--time=10", "exporter", "sandbox"),
        ("podman", "volume", "rm", "seasalt-state"),
        ("podman", "network", "rm", "seasalt"),
    ):
        machine.run(*command)
    shutil.copyfile(ROOT / "config/seasalt.yml", machine.file(f"{HERE}/config/seasalt.yml"))


def begins_without_arguments(machine: Machine) -> None:
    """Without arguments, it says how to begin."""
    told = machine.run("podman", "run", "--rm", IMAGE)
    assert told.startswith("usage: seasalt-exporter"), told
    assert "There is no configuration at /etc/seasalt-exporter/seasalt.yml. To begin:" in told
    holds("without arguments and configuration, it prints the help and how to begin")


def a_sandbox(machine: Machine) -> str:
    """Start the stand-in API in a container beside; brings its key."""
    machine.run(
        *("podman", "run", "--detach", "--name=sandbox", "--network=seasalt", "--read-only"),
        *(IMAGE, "sandbox", "--sandbox.listen-address=:9878"),
    )

    def key() -> str:
        found = re.search(r"seachat key (\S+)", machine.run("podman", "logs", "sandbox"))
        return found[1] if found else ""

    return wait_for(key, "the sandbox does not start", SOON)


def page(machine: Machine) -> str:
    """The metrics, or nothing."""
    return fetched(machine, "http://127.0.0.1:9877/metrics") or ""


def as_documented(machine: Machine, key: str) -> None:
    """Run the image by the documentation's own command, in the background and near the sandbox."""
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^docker run (.*)$", text, re.MULTILINE)
    assert "--read-only --cap-drop=ALL --security-opt=no-new-privileges" in command
    # podman would put tmpfs on /tmp and elsewhere, which docker does not.
    more = "--detach --name=exporter --network=seasalt --read-only-tmpfs=false"
    begun = time.monotonic()
    script = f"cd {HERE} && SEACHAT_API_KEY={key} podman run {more} {command}"
    machine.run("sh", "-c", script)
    wait_for(
        lambda: fetched(machine, "http://127.0.0.1:9877/-/ready"),
        *("it is not ready", SOON),
        lambda: logs(machine, "exporter"),
    )
    took = time.monotonic() - begun
    wait_for(lambda: 'seasalt_up{api="seachat",workspace="acme"} 1' in page(machine), "not up")
    holds(f"docs/install.md's docker run is ready in {took:.1f} s and polls")


def logs(machine: Machine, container: str) -> str:
    """What a container has printed."""
    done = machine.tried("podman", "logs", container)
    return (done.stdout + done.stderr)[-4000:]


def is_hardened(machine: Machine, key: str) -> None:
    """The process has no rights, and cannot write but where it must."""
    inside = ("podman", "exec", "exporter")
    status = machine.run(*inside, "cat", "/proc/1/status")
    for line in (r"Uid:\t65534\t.*", r"CapEff:\t0+", r"CapBnd:\t0+", r"NoNewPrivs:\t1"):
        assert re.search(f"^{line}$", status, re.MULTILINE), (line, status)
    for path in ("/app/x", "/tmp/x", "/etc/seasalt-exporter/x"):  # noqa: S108 - there is none
        refused = machine.tried(*inside, "touch", path)
        assert "Read-only file system" in refused.stderr, (path, refused)
    for gone in ("pip", "setuptools"):
        assert machine.tried(*inside, "python", "-c", f"import {gone}").status == 1
    assert key not in logs(machine, "exporter")
    holds("it runs as 65534 without a capability, on a file system that it cannot write to")


def is_healthy(machine: Machine) -> None:
    """The image's health check passes."""
    machine.run("podman", "healthcheck", "run", "exporter")
    state = machine.run("podman", "inspect", "--format={{.State.Health.Status}}", "exporter")
    assert state.strip() == "healthy", state
    holds("its health check says that it is healthy")


def reloads(machine: Machine) -> None:
    """A changed file of the mounted folder comes into force by SIGHUP; a bad one changes nothing."""
    changed = f"{CONFIGURATION}    labels: {{team: night}}\n"
    write(machine, "config/seasalt.yml", changed)
    machine.run("podman", "kill", "--signal=HUP", "exporter")
    wait_for(lambda: 'team="night"' in page(machine), "no reload", SOON, lambda: page(machine))
    write(machine, "config/seasalt.yml", "interval: soon\n")
    machine.run("podman", "kill", "--signal=HUP", "exporter")
    failed = "seasalt_exporter_config_last_reload_successful 0"
    wait_for(lambda: failed in page(machine), "the bad one is not told", SOON)
    assert 'team="night"' in page(machine)
    write(machine, "config/seasalt.yml", changed)
    holds("SIGHUP puts a changed configuration in force, and a bad one changes nothing")


def ends_and_remembers(machine: Machine) -> None:
    """SIGTERM ends it with 0; started again without the API, it has the values of before."""
    value = wait_for(
        lambda: re.search(r'^seasalt_\w+\{.*window="[^"]+".*\} \S+$', page(machine), re.MULTILINE),
        *("no values", SOON),
    )[0]
    begun = time.monotonic()
    machine.run("podman", "stop", "--time=20", "exporter")
    took = time.monotonic() - begun
    assert machine.run("podman", "inspect", "--format={{.State.ExitCode}}", "exporter") == "0\n"
    place = machine.run("podman", "volume", "inspect", "--format={{.Mountpoint}}", "seasalt-state")
    machine.run("test", "-s", f"{place.strip()}/state")
    machine.run("podman", "stop", "--time=20", "sandbox")
    machine.run("podman", "start", "exporter")
    wait_for(lambda: value in page(machine), f"no {value}", SOON, lambda: page(machine)[:4000])
    holds(f"SIGTERM ends it with 0 within {took:.1f} s, and the volume keeps its state")


# The stack.


class Stack:
    """What compose.yaml starts, but for Grafana, and a webhook beside it."""

    services: Final = ("exporter", "prometheus", "alertmanager", "webhook")

    def __init__(self, machine: Machine, python: str) -> None:
        self._machine = machine
        machine.run("systemctl", "start", "podman.socket")
        webhook = {
            "image": f"docker.io/library/{python}",
            "volumes": ["./tests/support:/support:ro"],
            "command": ["python", "/support/webhook.py"],
            "stop_signal": "SIGKILL",
        }
        write(machine, "compose.override.yaml", json.dumps({"services": {"webhook": webhook}}))

    def compose(self, *arguments: str) -> str:
        """What docker-compose prints."""
        socket = "DOCKER_HOST=unix:///run/podman/podman.sock"
        command = ("env", "-C", HERE, socket, "docker-compose", "--progress=plain", *arguments)
        done = self._machine.tried(*command)
        assert done.status == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self, environment: str) -> float:
        """Start it with a file .env; how many seconds that took."""
        write(self._machine, ".env", environment)
        begun = time.monotonic()
        self.compose("up", "--no-build", "--detach", *self.services)
        return time.monotonic() - begun

    def down(self) -> None:
        """End it, with its volumes; nothing is left."""
        self.compose("down", "--volumes", "--timeout=20")
        for kind in (("ps", "--all"), ("volume", "ls")):
            left = self._machine.run("podman", *kind, "--quiet")
            assert not left, left
        networks = self._machine.run("podman", "network", "ls", "--quiet")
        assert networks.split() == ["podman"], networks

    def health(self, service: str) -> str:
        """What the health check of a service says."""
        name = f"seasalt-{service}-1"
        return self._machine.run(
            "podman", "inspect", "--format={{.State.Health.Status}}", name
        ).strip()

    def asked(self, path: str, port: int = 9090, **parameters: object) -> Any:  # noqa: ANN401 - JSON
        """What Prometheus or another API answers; None if it does not."""
        url = f"http://127.0.0.1:{port}{path}?{urlencode(parameters)}"
        answer = fetched(self._machine, url)
        return json.loads(answer) if answer else None

    def value(self, query: str, at: float | None = None) -> float:
        """The only value of a query; 0 if there is none."""
        found = self.asked("/api/v1/query", query=query, time=at or time.time())
        rows = found["data"]["result"] if found else []
        return float(rows[0]["value"][1]) if rows else 0.0

    def awaited(self, look: Callable[[], object], otherwise: str, within: float = SOON) -> None:
        """Wait for something, and show the logs if it does not come."""
        wait_for(look, otherwise, within, lambda: self.compose("logs", "--tail=40"))


def targets(stack: Stack) -> dict[str, str]:
    """The health of each job's target."""
    found = stack.asked("/api/v1/targets", state="active")
    return (
        {one["scrapePool"]: one["health"] for one in found["data"]["activeTargets"]}
        if found
        else {}
    )


def the_stack(machine: Machine, stack: Stack) -> None:
    """compose.yaml without history: scraped, alerting, ended."""
    took = stack.up("SEASALT_EXPORTER_HISTORY=0d\n")
    wanted = dict.fromkeys(("seasalt", "prometheus", "alertmanager"), "up")
    stack.awaited(lambda: targets(stack) == wanted, "not all targets are up")
    holds(f"docker-compose starts the stack in {took:.1f} s, and Prometheus scrapes all of it")

    def alerts() -> set[str]:
        found = stack.asked("/api/v2/alerts", 9093) or []
        return {one["labels"]["alertname"] for one in found}

    stack.awaited(lambda: WATCHDOG in alerts(), "no watchdog in Alertmanager", 2 * SOON)
    holds("the watchdog of the shipped rules arrives in Alertmanager")
    # As somebody who fills in a receiver does, see the head of compose.yaml.
    shipped = read(machine, "config/alertmanager/alertmanager.yml")
    write(
        machine,
        "config/alertmanager/alertmanager.yml",
        filled_in(shipped).replace(PLACEHOLDER, "http://webhook:5001"),
    )
    head = read(machine, "compose.yaml").partition("\nname:")[0]
    assert "docker compose kill -s HUP prometheus alertmanager" in head
    stack.compose("kill", "-s", "HUP", "prometheus", "alertmanager")
    stack.awaited(
        lambda: re.search(rf"/dead-mans-switch .*{WATCHDOG}", stack.compose("logs", "webhook")),
        *("nothing arrives at the webhook", 3 * SOON),
    )
    holds("with a receiver filled in, an alert reaches its webhook after a SIGHUP")
    write(machine, "config/alertmanager/alertmanager.yml", shipped)
    stack.down()
    holds("docker-compose down leaves no container, volume or network")


def the_stack_with_a_year(stack: Stack) -> None:
    """compose.yaml as it is shipped: the demo begins with a year of history."""
    stack.up("")
    begun = time.monotonic()
    assert stack.health("exporter") == "starting"
    stack.awaited(lambda: targets(stack).get("seasalt") == "up", "no history", HISTORY)
    took = time.monotonic() - begun
    said = stack.compose("logs", "exporter")
    # It has a sample an hour.
    series = 'count(last_over_time({job="seasalt",__name__=~"seasalt_.+"}[1h]))'
    old = stack.value(series, time.time() - 364 * DAY)
    assert old > 100, f"{old}\n{said}"
    assert not stack.value(series, time.time() - 367 * DAY)
    stack.awaited(lambda: stack.health("exporter") == "healthy", "its health check fails")
    holds(f"the demo begins after {took:.0f} s, with {old:.0f} series that are a year old")
    usual = 'count(target:seasalt_messages_today:usual{bot_id!=""})'
    stack.awaited(lambda: stack.value(usual) == BOTS, "no usual", 2 * SOON)
    # In the first hours of the demo's day, nobody may have written.
    zscore = (
        'count(target:seasalt_messages_today:zscore{bot_id!=""})'
        ' or absent(target:seasalt_messages_today:sum{bot_id!=""})'
    )
    stack.awaited(lambda: stack.value(zscore), "nothing is compared with the usual", 2 * SOON)
    rules = [
        rule
        for group in stack.asked("/api/v1/rules")["data"]["groups"]
        for rule in group["rules"]
        if rule["name"] == "SeasaltVolumeDropped"
    ]
    assert [rule["health"] for rule in rules] == ["ok"], rules
    stale = 'count(ALERTS{alertname=~"SeasaltDataStale|SeasaltReportStale"})'
    assert not stack.value(stale), stack.asked("/api/v1/alerts")
    holds("SeasaltVolumeDropped compares each bot with what is usual, from the first minutes on")
    stack.down()


def main(folder: Path) -> int:
    """Test all that can be tested here; 0 if it holds."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    if why := unavailable():
        lacks(f"the image and compose.yaml: {why}")
        return concluded("tests/containers")
    try:
        with booted(ENGINES, folder, apart=(STORAGE,)) as machine:
            prepared(machine)
            for program in ("podman", "buildah", "crun", "docker-compose"):
                print(machine.run(program, "--version").splitlines()[0], flush=True)
            base = based(machine, folder)
            the_image(machine)
            if (PROGRAMS / "bin/prometheus").exists():
                of_debian(machine, base)
                stack = Stack(machine, base)
                the_stack(machine, stack)
                the_stack_with_a_year(stack)
            else:
                lacks("compose.yaml: no Prometheus, see tests/get-prometheus")
            print("left out: Grafana, whose image only a registry has", flush=True)
    except Lacking as error:
        lacks(f"the image and compose.yaml: {error}")
    return concluded("tests/containers")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
