"""What the documentation says, held to what the code does."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml
from support import pages

from exporter import __version__
from exporter.commands import docs
from exporter.commands.flags import COMMANDS, FLAGS, Flag
from exporter.config import load
from exporter.config.settings import Workspace
from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.probing.result import FAMILIES as PROBE_FAMILIES
from exporter.sandbox.companies import Traits
from exporter.sandbox.many_bots import make_many

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
PICTURES = sorted((ROOT / "docs" / "pictures").iterdir())
REFERENCE = DOCS["metrics"]
COMMAND_LINE = DOCS["command-line"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
REWRITE = "tests/rewrite writes it anew"
NAMES = [family.name for family in (*API_FAMILIES, *REPORT_FAMILIES)]
NAMES += [family.name for family in (*OWN_FAMILIES, *PROBE_FAMILIES)]


def test_the_table_of_reports_is_the_catalogues() -> None:
    assert pages.with_table(DOCS["reports"]) == DOCS["reports"], REWRITE


@pytest.mark.parametrize("file", PICTURES, ids=[file.name for file in PICTURES])
def test_a_picture_is_small_enough_for_a_page(file: Path) -> None:
    assert file.stat().st_size <= 150_000


def test_the_configuration_reference_is_the_schemas() -> None:
    assert pages.configuration() == DOCS["configuration-reference"], REWRITE


def test_the_metric_reference_is_the_catalogues() -> None:
    assert docs.reference() == REFERENCE, REWRITE


@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_in_the_reference(name: str) -> None:
    assert f"| `{name}` |" in REFERENCE


@pytest.mark.parametrize("flag", FLAGS, ids=[flag.name for flag in FLAGS])
def test_every_flag_is_told_with_its_default(flag: Flag) -> None:
    lines = COMMAND_LINE.splitlines()
    line, *_ = [line for line in lines if line.startswith("|") and f"`--{flag.name}`" in line]

    assert not flag.default or f"`{flag.default}`" in line


def test_the_page_on_the_sandbox_describes_the_bots_that_are_there() -> None:
    page = DOCS["sandbox"]
    for workspace in make_many(1, 50, 0.0):
        short = workspace.name.partition(" ")[0].lower()
        assert f"| `{short}` | {workspace.timezone} | {len(workspace.bots)} |" in page
        for bot in workspace.bots:
            usual = replace(bot.traits, conversations_per_day=None) == Traits()
            assert (usual and bot.is_enabled) or f"| {bot.name} |" in page, bot


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_told(command: str) -> None:
    assert f"| `{command}` |" in COMMAND_LINE


@pytest.mark.parametrize("key", list(Workspace.model_fields))
def test_every_key_of_the_configuration_is_in_its_reference(key: str) -> None:
    page = DOCS["configuration-reference"].partition("## bots")[0]
    (row,) = re.findall(rf"^\| `{key}` .*", page, re.MULTILINE)
    assert len(row) > 40


@pytest.mark.parametrize("page", ["README", "configuration"])
def test_the_example_of_a_configuration_is_right(page: str, tmp_path: Path) -> None:
    texts = re.findall(r"```yaml\n(.*?)```", README if page == "README" else DOCS[page], re.DOTALL)
    (text,) = [text for text in texts if "workspaces" in yaml.safe_load(text)]
    file = tmp_path / "seasalt.yml"
    file.write_text(text, encoding="utf-8")

    assert not load([str(file)], {"SEACHAT_API_KEY": "key"}, date(2026, 1, 1)).warnings


def test_no_name_in_the_documentation_is_unknown() -> None:
    prefixes = ("seasalt_report_", "seasalt_first_reply_time")
    named = set(re.findall(r"\bseasalt_[a-z_]+", "".join((README, CHANGELOG, *DOCS.values()))))

    others = {"seasalt_", "seasalt_exporter"}  # a prefix, and the wheel's file name

    unknown = {name for name in named if not name.startswith(prefixes)} - others - set(NAMES)

    assert not unknown


def test_the_version_is_the_changelogs_newest() -> None:
    (newest, *_) = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)

    assert newest == __version__
