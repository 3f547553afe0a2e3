"""The unit and the packages, as far as nothing need be installed; `tests/packages` installs them."""

import re
import shutil
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from e2e.programs import missing
from support.processes import finished

from exporter.commands.flags import FLAGS
from exporter.config import load
from exporter.shutdown import LAST_SECONDS

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
UNIT: Final = DEPLOY / "systemd/seasalt-exporter.service"
PACKAGES: Final = DEPLOY / "packages"
SCRIPTS: Final = sorted((*(PACKAGES / "deb").iterdir(), *(PACKAGES / "rpm").iterdir()))
MOST_EXPOSED: Final = 2.0


def lines(name: str) -> list[str]:
    """The values that the unit gives a name, in order."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)


def analyze() -> str:
    return shutil.which("systemd-analyze") or missing("no systemd-analyze")


def test_the_units_exposure_is_low() -> None:
    rated = finished([analyze(), "security", "--offline=yes", "--no-pager", str(UNIT)])
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+) ", rated.stdout)
    assert found, rated.stderr
    assert float(found[1]) < MOST_EXPOSED


def test_systemd_understands_every_line_but_the_type_that_it_may_be_too_old_for(
    tmp_path: Path,
) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/usr/bin/seasalt-exporter", sys.executable), encoding="utf-8")

    said = finished([analyze(), "verify", "--man=no", str(copy)]).stderr

    ours = [line for line in said.splitlines() if UNIT.name in line]
    assert all("service type" in line and "notify-reload" in line for line in ours), said


def test_an_older_systemd_gets_a_type_that_it_knows_and_a_newer_one_the_better() -> None:
    assert lines("Type") == ["notify", "notify-reload"]


def test_the_unit_waits_longer_than_the_exporter_takes_to_end() -> None:
    (longest,) = map(int, lines("TimeoutStopSec"))
    assert longest > LAST_SECONDS + 2


def test_the_unit_may_bind_the_exporters_own_port() -> None:
    (default,) = [flag.default for flag in FLAGS if flag.name == "web.listen-address"]
    assert lines("SocketBindAllow") == [f"tcp{default}"]


@pytest.mark.parametrize("file", [UNIT, PACKAGES / "environment"], ids=lambda file: file.name)
def test_every_variable_that_is_set_or_proposed_is_a_flags(file: Path) -> None:
    named = set(re.findall(r"(SEASALT_EXPORTER_\w+)=", file.read_text(encoding="utf-8")))
    assert named
    assert named <= {flag.variable for flag in FLAGS}


def test_the_example_of_the_packages_loads_with_a_key_among_the_credentials(tmp_path: Path) -> None:
    (credential,) = lines("LoadCredential")
    prefix, _, folder = credential.partition(":")
    assert folder == "/etc/seasalt-exporter/keys"
    (tmp_path / f"{prefix}_acme").write_text("key\n", encoding="utf-8")
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    config = load([str(PACKAGES / "seasalt.yml")], environment, date(2026, 1, 1))

    assert not config.warnings
    assert [workspace.name for workspace in config.workspaces] == ["acme"]


def contents() -> Iterator[dict[str, Any]]:
    config = yaml.safe_load((PACKAGES / "nfpm.yaml").read_text(encoding="utf-8"))
    yield from config["contents"]


def test_whatever_goes_into_the_packages_is_there() -> None:
    sources = [each["src"] for each in contents() if "src" in each]
    assert len(sources) > 5
    for source in sources:
        assert "${STAGE}" in source or list(ROOT.glob(source)), source


def test_what_may_hold_secrets_is_readable_by_root_alone() -> None:
    modes = {each["dst"]: each.get("file_info", {}).get("mode") for each in contents()}
    assert modes["/etc/seasalt-exporter/keys"] == 0o700
    assert modes["/etc/seasalt-exporter/environment"] == 0o600
    assert lines("LimitCORE") == ["0"]


@pytest.mark.parametrize("script", SCRIPTS, ids=[f"{s.parent.name}/{s.name}" for s in SCRIPTS])
def test_a_script_of_a_package_is_right_for_the_plainest_shell(script: Path) -> None:
    checked = finished(["sh", "-n", str(script)])
    assert checked.status == 0, checked.stderr
    assert "bash" not in script.read_text(encoding="utf-8")


def test_the_packages_program_sees_no_library_but_its_own() -> None:
    text = (PACKAGES / "seasalt-exporter").read_text(encoding="utf-8")
    assert text.startswith("#!/usr/bin/python3 -IS\n")
    destinations = {each["dst"] for each in contents()}
    (folder,) = re.findall(r'sys\.path\.insert\(0, "(.*)"\)', text)
    assert folder in destinations


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("StateDirectoryMode", "0700"),
    ],
)
def test_what_the_documentation_says_of_the_services_rights_is_in_the_unit(
    name: str, value: str
) -> None:
    assert lines(name) == [value]
