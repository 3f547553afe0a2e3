"""What the documentation says, held to what the code does."""

import re
from pathlib import Path

import pytest
from support import readme

from exporter import __version__
from exporter.commands import docs
from exporter.commands.flags import COMMANDS, FLAGS, Flag
from exporter.config.models import Workspace
from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.reports.catalogue import REPORTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
REWRITE = "tests/rewrite writes it anew"
NAMES = [family.name for family in (*API_FAMILIES, *REPORT_FAMILIES)]
NAMES += [family.name for family in OWN_FAMILIES]


def test_the_readmes_table_of_reports_is_the_catalogues() -> None:
    assert readme.with_table(README) == README, REWRITE


def test_the_metric_reference_is_the_catalogues() -> None:
    assert "\n".join(docs.lines()) + "\n" == REFERENCE, REWRITE


@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_in_the_reference(name: str) -> None:
    assert f"| `{name}` |" in REFERENCE


@pytest.mark.parametrize("report", [report.name for report in REPORTS])
def test_every_report_is_in_the_readme(report: str) -> None:
    assert f"`{report}`" in README


@pytest.mark.parametrize("flag", [flag.name for flag in FLAGS])
def test_every_flag_is_in_the_readme(flag: str) -> None:
    assert f"`--{flag}`" in README


@pytest.mark.parametrize(
    "flag",
    [flag for flag in FLAGS if flag.default],
    ids=[flag.name for flag in FLAGS if flag.default],
)
def test_every_flags_default_is_in_the_readme(flag: Flag) -> None:
    (line,) = [
        line for line in README.splitlines() if line.startswith("|") and f"`--{flag.name}`" in line
    ]

    assert f"`{flag.default}`" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"| `{command}` |" in README


@pytest.mark.parametrize("key", list(Workspace.model_fields))
def test_every_key_of_the_configuration_is_in_the_readme(key: str) -> None:
    assert f"`{key}" in README


def test_no_name_in_the_documentation_is_unknown() -> None:
    prefixes = ("seasalt_report_", "seasalt_first_reply_time")
    named = set(re.findall(r"\bseasalt_[a-z_]+", README + REFERENCE + CHANGELOG))

    unknown = {name for name in named if not name.startswith(prefixes)} - {"seasalt_"} - set(NAMES)

    assert not unknown


def test_the_version_is_the_changelogs_newest() -> None:
    (newest, *_) = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)

    assert newest == __version__


def test_what_the_contributing_guide_names_exists() -> None:
    for path in re.findall(r"`((?:exporter|tests)/[\w./]+)`", CONTRIBUTING):
        assert "first_reply_time" in path or (ROOT / path).exists(), path
