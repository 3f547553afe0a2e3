"""The packages as users have them: built twice, installed, started, upgraded and removed.

`tests/packages` runs it and says what it needs.
"""

import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from support.machine import ROOT, Kind, Lacking, Machine, booted, unavailable
from support.processes import finished, wait_for
from support.promises import concluded, holds, lacks

NAME: Final = "seasalt-exporter"
UNIT: Final = f"{NAME}.service"
SUITES: Final = ("bookworm", "trixie")
MOST_EXPOSED: Final = 2.0
CONFIGURATION: Final = """\
requests_per_minute: 6000
workspaces:
  - name: acme
    api: seachat
    base_url: http://127.0.0.1:9878
    api_key_file: ${CREDENTIALS_DIRECTORY}/key_acme
"""
_FETCH: Final = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:9877{}').read().decode())"
_LONGEST: Final = 1800.0


# Building.


def built(folder: Path) -> bool:
    """Build all packages; false if that cannot be done here."""
    if not (shutil.which("nfpm") or (ROOT / ".tools/nfpm").exists() or shutil.which("go")):
        lacks("the packages: neither nfpm nor Go to build it with")
        return False
    build = [str(ROOT / "deploy/packages/build"), "amd64", str(folder)]
    done = finished(build, within=_LONGEST)
    assert done.status == 0, done.stdout + done.stderr
    return True


def digests(folder: Path) -> dict[str, str]:
    """The digest of each file."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.iterdir())
    }


# The wheel.


def the_wheel_runs_wherever_python_packages_do(wheel: Path) -> None:
    """Install and run the wheel by each of the ways that docs/install.md names."""
    version = re.search(r"exporter-([0-9.]+)-py3", wheel.name)
    assert version
    built_in = r"revision [0-9a-f]{40}(-dirty)?, " if (ROOT / ".git").exists() else ""
    right = re.compile(
        rf"seasalt-exporter {re.escape(version[1])} \({built_in}Python 3\.\d+\.\d+\)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        python = f"{folder}/venv/bin/python"
        install = [python, "-m", "pip", "install", "--quiet"]
        for command in (
            [sys.executable, "-m", "venv", f"{folder}/venv"],
            [*install, "--require-hashes", "--requirement", str(ROOT / "requirements.lock")],
            [*install, "--no-deps", "--no-index", str(wheel)],
        ):
            done = finished(command, within=_LONGEST)
            assert done.status == 0, done.stderr
        ways = {
            "pip": [f"{folder}/venv/bin/seasalt-exporter"],
            "pipx": ["pipx", "run", "--no-cache", "--spec", str(wheel), "seasalt-exporter"],
            "uvx": ["uvx", "--from", str(wheel), "seasalt-exporter"],
        }
        for name, way in ways.items():
            if not shutil.which(way[0]):
                lacks(f"the wheel with {name}, which is not installed")
                continue
            done = finished([*way, "--version"], {"PYTHONPATH": ""}, within=_LONGEST)
            assert done.status == 0, done.stderr
            assert right.fullmatch(done.stdout), done.stdout
            holds(f"the wheel runs with {name}: {done.stdout.strip()}")


# In a machine.


def version_of(machine: Machine) -> int:
    """The version of its systemd."""
    return int(machine.run("systemctl", "--version").split()[1])


def fetched(machine: Machine, path: str) -> str:
    """What the exporter answers."""
    return machine.run("python3", "-c", _FETCH.format(path))


def waited_for(machine: Machine, path: str, what: str) -> str:
    """The answer as soon as it contains something."""

    def look() -> str | None:
        done = machine.tried("python3", "-c", _FETCH.format(path))
        return done.stdout if done.status == 0 and what in done.stdout else None

    return wait_for(
        look, f"{path} has no {what}", 60.0, lambda: machine.run("journalctl", f"--unit={UNIT}")
    )


def active(machine: Machine) -> bool:
    """Whether the service runs."""
    return machine.shown("ActiveState", UNIT) == "active"


def configured(machine: Machine) -> str:
    """Start a sandbox, and write a configuration for it with its key; brings the key."""
    machine.run("systemd-run", "--unit=sandbox", "/usr/bin/seasalt-exporter", "sandbox")

    def look() -> str | None:
        said = machine.run("journalctl", "--unit=sandbox", "--output=cat")
        found = re.search(r"seachat key (\S+)", said)
        return found[1] if found else None

    key = wait_for(look, "the sandbox does not start", 60.0)
    secret = machine.file("/etc/seasalt-exporter/keys/acme")
    secret.write_text(f"{key}\n")
    secret.chmod(0o600)
    machine.file("/etc/seasalt-exporter/seasalt.yml").write_text(CONFIGURATION)
    return key


def it_is_installed_but_waits_for_a_configuration(machine: Machine) -> None:
    """An installed package without a configuration is no failed service."""
    assert machine.shown("ActiveState", UNIT) == "inactive"
    assert machine.shown("ConditionResult", UNIT) == "no"
    assert machine.run("seasalt-exporter", "--version").startswith("seasalt-exporter ")
    cached = list(machine.file("/usr/lib/seasalt-exporter/exporter").rglob("*.pyc"))
    assert len(cached) > 50
    holds("installed and not configured, it is inactive, not failed")


def its_configuration_can_be_checked(machine: Machine) -> None:
    """The check that docs/systemd.md proposes has the keys at hand, as the service has."""
    check = (
        *("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
        "--property=LoadCredential=key:/etc/seasalt-exporter/keys",
        *("seasalt-exporter", "--config.check", f"--config.file=/etc/{NAME}/seasalt.yml"),
    )
    assert "name: acme" in machine.run(*check)
    file = machine.file("/etc/seasalt-exporter/seasalt.yml")
    file.write_text(CONFIGURATION.replace("key_acme", "key_nobody"))
    wrong = machine.tried(*check)
    assert wrong.status == 1
    assert "api_key_file: cannot be read" in wrong.stderr + wrong.stdout
    file.write_text(CONFIGURATION)
    holds("systemd-run checks the configuration with the keys of the service")


def it_starts_hardened(machine: Machine, key: str) -> None:
    """The service starts, polls with its key, and can do no more than it must."""
    assert machine.tried("systemctl", "start", UNIT).status == 0, machine.run(
        "journalctl", f"--unit={UNIT}"
    )
    assert active(machine)
    page = waited_for(machine, "/metrics", 'seasalt_up{api="seachat",workspace="acme"} 1')
    began = re.search(r"^process_start_time_seconds (\S+)", page, re.MULTILINE)
    assert began
    assert abs(float(began[1]) - time.time()) < 300
    pid = machine.shown("MainPID", UNIT)
    status = machine.run("cat", f"/proc/{pid}/status")
    for line in (
        *(r"Uid:\t6[1-5]\d{3}\t.*", r"CapEff:\t0+", r"CapBnd:\t0+"),
        *(r"NoNewPrivs:\t1", r"Seccomp:\t2"),
    ):
        assert re.search(f"^{line}$", status, re.MULTILINE), (line, status)
    assert key not in machine.run("cat", f"/proc/{pid}/environ")
    assert key not in machine.run("journalctl", f"--unit={UNIT}")
    holds("it starts, polls with a key that only root can read, and has no rights of its own")
    expected = "notify-reload" if version_of(machine) >= 253 else "notify"
    assert machine.shown("Type", UNIT) == expected
    rating = machine.run("systemd-analyze", "security", "--no-pager", UNIT)
    exposed = re.search(rf"exposure level for {UNIT}: ([0-9.]+)", rating)
    assert exposed
    assert float(exposed[1]) < MOST_EXPOSED
    holds(f"systemd-analyze security {UNIT}: {exposed[1]}")


def it_reloads_and_says_how_that_went(machine: Machine) -> None:
    """`systemctl reload` returns when the reload is over, and the status tells a bad one."""
    file = machine.file("/etc/seasalt-exporter/seasalt.yml")
    if machine.shown("Type", UNIT) == "notify":
        drop_in = machine.file(f"/etc/systemd/system/{UNIT}.d/reload.conf")
        drop_in.parent.mkdir(parents=True)
        example = "/usr/share/doc/seasalt-exporter/examples/debian-12.conf"
        shutil.copyfile(machine.file(example), drop_in)
        machine.run("systemctl", "daemon-reload")
    file.write_text(f"{CONFIGURATION}    labels: {{team: night}}\n")
    machine.run("systemctl", "reload", UNIT)
    waited_for(machine, "/metrics", 'team="night"')
    file.write_text("interval: soon\n")
    machine.run("systemctl", "reload", UNIT)
    wait_for(
        lambda: "rejected" in machine.shown("StatusText", UNIT), "the status does not tell", 20.0
    )
    assert 'team="night"' in fetched(machine, "/metrics")
    file.write_text(CONFIGURATION)
    machine.run("systemctl", "reload", UNIT)
    wait_for(lambda: not machine.shown("StatusText", UNIT), "the status stays", 20.0)
    holds("systemctl reload puts a good configuration in force, and a bad one shows in the status")


def a_service_that_hangs_is_restarted(machine: Machine) -> None:
    """Systemd's watchdog notices a process that does nothing any more."""
    drop_in = f"/run/systemd/system/{UNIT}.d"
    text = r"[Service]\nWatchdogSec=2\nRestartSec=100ms\n"
    machine.run("sh", "-c", f"mkdir -p {drop_in}; printf '{text}' > {drop_in}/quick.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    before = machine.shown("MainPID", UNIT)
    time.sleep(5)  # with pings, nothing happens
    assert machine.shown("NRestarts", UNIT) == "0"
    assert machine.shown("MainPID", UNIT) == before
    machine.run("systemctl", "kill", "--signal=SIGSTOP", UNIT)
    wait_for(lambda: machine.shown("NRestarts", UNIT) == "1", "it is not restarted", 30.0)
    wait_for(lambda: active(machine), "it does not come back", 30.0)
    said = machine.run("journalctl", f"--unit={UNIT}")
    assert "Watchdog timeout" in said, said[-2000:]
    machine.run("rm", "-r", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    holds("a process that hangs is killed by the watchdog and started again")


def it_ends_quickly_and_well(machine: Machine) -> None:
    """A stopped service has ended by itself."""
    begun = time.monotonic()
    machine.run("systemctl", "stop", UNIT)
    took = time.monotonic() - begun
    assert machine.shown("Result", UNIT) == "success"
    assert machine.shown("ExecMainStatus", UNIT) == "0"
    assert took < 10
    assert machine.file("/var/lib/private/seasalt-exporter/state").stat().st_size > 1000
    machine.run("systemctl", "start", UNIT)
    holds(f"it stops within {took:.1f} s and keeps its state")


def newer(package: Path, folder: Path) -> tuple[Path, str]:
    """The same .deb as a newer version, whose files have the same sizes and times."""
    unpacked = folder / "unpacked"
    finished(["dpkg-deb", "-R", str(package), str(unpacked)], within=_LONGEST)
    init = unpacked / "usr/lib/seasalt-exporter/exporter/__init__.py"
    text, times = init.read_text(), init.stat()
    version = re.search('__version__ = "(.*)"', text)
    assert version
    after = version[1][:-1] + str((int(version[1][-1]) + 1) % 10)
    init.write_text(text.replace(version[1], after))
    os.utime(init, ns=(times.st_atime_ns, times.st_mtime_ns))
    control = unpacked / "DEBIAN/control"
    control.write_text(
        re.sub("^Version: .*$", "Version: 99", control.read_text(), flags=re.MULTILINE)
    )
    made = folder / "newer.deb"
    done = finished(["dpkg-deb", "-Zgzip", "-z1", "-b", str(unpacked), str(made)], within=_LONGEST)
    assert done.status == 0, done.stderr
    return made, after


def it_is_upgraded(machine: Machine, package: Path) -> None:
    """After an upgrade the new version runs, with the old one's state and configuration."""
    with tempfile.TemporaryDirectory() as folder:
        made, version = newer(package, Path(folder))
        shutil.copyfile(made, machine.file("/root/newer.deb"))
    before = machine.shown("MainPID", UNIT)
    machine.file("/etc/seasalt-exporter/environment").write_text(
        "SEASALT_EXPORTER_LOG_LEVEL=warn\n"
    )
    machine.run("dpkg", "--install", "--force-confold", "/root/newer.deb")
    assert active(machine)
    assert machine.shown("MainPID", UNIT) != before
    assert f" {version} " in machine.run("seasalt-exporter", "--version")
    waited_for(machine, "/metrics", f'version="{version}"')
    assert "LOG_LEVEL" in machine.file("/etc/seasalt-exporter/environment").read_text()
    machine.run("systemctl", "stop", UNIT)
    machine.run("dpkg", "--install", "--force-confold", "/root/newer.deb")
    assert not active(machine)
    machine.run("systemctl", "start", UNIT)
    holds("an upgrade restarts a service that runs, leaves a stopped one, and keeps configuration")


def it_is_removed(machine: Machine) -> None:
    """Removed and purged, nothing of the package is left but what the administrator wrote."""
    shutil.rmtree(machine.file(f"/etc/systemd/system/{UNIT}.d"), ignore_errors=True)  # ours
    pid = machine.shown("MainPID", UNIT)
    machine.run("dpkg", "--remove", "seasalt-exporter")
    assert machine.tried("test", "-e", f"/proc/{pid}").status == 1
    assert not machine.file("/usr/lib/seasalt-exporter").exists()
    assert machine.file("/var/lib/private/seasalt-exporter/state").exists()
    machine.run("dpkg", "--purge", "seasalt-exporter")
    assert machine.file("/etc/seasalt-exporter/keys/acme").exists()
    left = machine.run(
        *("find", "/usr", "/etc", "/var", "(", "-path", "/etc/seasalt-exporter", "-o"),
        *("-path", "/var/log", ")", "-prune", "-o", "-name", "*seasalt*", "-print"),
    )
    assert not left.strip(), left
    holds("removed and purged, it leaves nothing but the configuration and keys that were written")


def the_deb(machine: Machine, package: Path) -> None:
    """The .deb from its installation to its purge."""
    shutil.copyfile(package, machine.file("/root/package.deb"))
    machine.run("dpkg", "--install", "/root/package.deb")
    assert machine.run("systemctl", "is-enabled", UNIT).strip() == "enabled"
    it_is_installed_but_waits_for_a_configuration(machine)
    key = configured(machine)
    its_configuration_can_be_checked(machine)
    it_starts_hardened(machine, key)
    it_reloads_and_says_how_that_went(machine)
    a_service_that_hangs_is_restarted(machine)
    it_ends_quickly_and_well(machine)
    it_is_upgraded(machine, package)
    it_is_removed(machine)
    machine.run("systemctl", "stop", "sandbox.service")


def the_rpm(machine: Machine, package: Path) -> None:
    """The .rpm, installed by rpm: its files and scripts, if not in a distribution of its own."""
    shutil.copyfile(package, machine.file("/root/package.rpm"))
    rpm = ("rpm", "--nodeps")
    machine.run(*rpm, "--install", "/root/package.rpm")
    needs = machine.run("rpm", "--query", "--requires", "--package", "/root/package.rpm")
    assert "(python(abi) >= 3.11 with python(abi) < 3.15)" in needs
    machine.run("systemctl", "daemon-reload")
    it_is_installed_but_waits_for_a_configuration(machine)
    configured(machine)
    machine.run("systemctl", "start", UNIT)
    waited_for(machine, "/metrics", 'seasalt_up{api="seachat",workspace="acme"} 1')
    before = machine.shown("MainPID", UNIT)
    machine.run(*rpm, "--upgrade", "--replacepkgs", "/root/package.rpm")
    assert active(machine)
    assert machine.shown("MainPID", UNIT) != before
    assert list(machine.file("/usr/lib/seasalt-exporter/exporter").rglob("*.pyc"))
    machine.run(*rpm, "--erase", "seasalt-exporter")
    assert machine.tried("systemctl", "is-active", UNIT).stdout.strip() == "inactive"
    assert not machine.file("/usr/lib/seasalt-exporter").exists()
    assert machine.file("/etc/seasalt-exporter/keys/acme").exists()
    holds("the .rpm is installed, started, installed over itself and removed, by rpm on Debian")


def in_suites(folder: Path, suites: Iterator[str]) -> None:
    """Install the packages of a folder in a machine of each suite."""
    (deb,), (rpm,) = folder.glob("*.deb"), folder.glob("*.rpm")
    if why := unavailable():
        lacks(f"the packages in a Debian whose systemd runs: {why}")
        return
    roots = Path(os.environ.get("ROOTS", ROOT / ".tools"))
    whole: Callable[[Machine, Path], None]
    for suite in suites:
        for whole, package in ((the_deb, deb), (the_rpm, rpm)):
            try:
                with booted(Kind(suite), roots) as machine:
                    print(
                        f"{package.name} in {suite}: systemd {version_of(machine)},"
                        f" {machine.run('python3', '--version').strip()}",
                        flush=True,
                    )
                    whole(machine, package)
            except Lacking as error:
                lacks(f"{package.name} in {suite}: {error}")


def main(arguments: list[str]) -> int:
    """Test all that can be tested here; 0 if it holds."""
    given = Path(arguments[1]) if arguments[:1] == ["--packages"] else None
    suites = arguments[2:] if given else arguments
    with tempfile.TemporaryDirectory() as name:
        folder = given or Path(name, "one")
        if given or built(folder):
            if not given:
                built(Path(name, "two"))
                assert digests(folder) == digests(Path(name, "two"))
                holds(f"two builds give the same {', '.join(digests(folder))}")
            the_wheel_runs_wherever_python_packages_do(next(folder.glob("*.whl")))
            in_suites(folder, iter(suites or SUITES))
    return concluded("tests/packages")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
