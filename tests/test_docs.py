"""What the documentation says, held to what the code does."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
import yaml
from support import pages
from support.page_commands import blocks

from exporter import __version__
from exporter.commands import docs
from exporter.commands.cli import main
from exporter.commands.flags import COMMANDS, FLAGS, Flag
from exporter.config import load
from exporter.config.settings import Workspace
from exporter.config.validation import RESERVED_LABELS
from exporter.errors import Outcome
from exporter.metrics.exposition import API_FAMILIES, REPORT_FAMILIES
from exporter.metrics.telemetry import OWN_FAMILIES
from exporter.probing.result import FAMILIES as PROBE_FAMILIES
from exporter.sandbox.companies import Traits
from exporter.sandbox.many_bots import make_many
from exporter.state.encoding import VERSION as STATE_VERSION

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
    named = set(
        re.findall(r"(?<![:\w])seasalt_[a-z_]+", "".join((README, CHANGELOG, *DOCS.values())))
    )

    others = {"seasalt_", "seasalt_exporter"}  # a prefix, and the wheel's file name

    unknown = {name for name in named if not name.startswith(prefixes)} - others - set(NAMES)

    assert not unknown


def test_the_version_is_the_changelogs_newest() -> None:
    (newest, *_) = re.findall(r"^## (\S+)", CHANGELOG, re.MULTILINE)

    assert newest == __version__


def test_the_figures_of_others_are_the_measured_ones() -> None:
    assert pages.with_figures(DOCS["comparison"], DOCS["performance"]) == DOCS["comparison"], (
        REWRITE
    )


def test_no_way_costs_a_hundredth_of_a_core_at_a_scrape_a_minute() -> None:
    costs = [
        float(cost) for cost in re.findall(r"\| ([\d.e+]+) ms \| [\d.]+ MB", DOCS["comparison"])
    ]
    assert len(costs) == len(pages.COMPARED)
    assert max(costs) / 60_000 < 0.01


def planned(folder: Path, capsys: pytest.CaptureFixture[str], bots: int) -> str:
    """What `plan` prints for the reports of config/seasalt.yml and so many bots."""
    document = yaml.safe_load((ROOT / "config" / "seasalt.yml").read_text(encoding="utf-8"))
    document["workspaces"][0]["bots"] = [{"id": f"bot_{number}"} for number in range(bots)]
    file = folder / "seasalt.yml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    assert main(["plan", f"--config.file={file}"], {"SEACHAT_API_KEY": "key"}) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("bots", [10, 50, 100, 500])
def test_what_many_bots_cost_is_what_plan_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bots: int
) -> None:
    said = planned(tmp_path, capsys, bots)
    [rate], [series] = (
        re.findall(r"([\d.]+) requests an hour", said),
        re.findall(r"about (\d+)", said),
    )
    late = re.search(r"is polled every (\S+)", said)
    pace = f"polled every {late[1]}" if late else "fits"
    row = f"| {bots} | {float(rate):,.0f} | {int(series):,} | {pace} |"
    assert row in DOCS["many-workspaces"]


def test_the_requests_of_other_ways_are_those_of_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = planned(tmp_path, capsys, 1)
    [rate], [calls] = (
        re.findall(r"([\d.]+) requests an hour", said),
        re.findall(r"(\d+) requests a round", said),
    )
    document = yaml.safe_load((ROOT / "config" / "seasalt.yml").read_text(encoding="utf-8"))
    reports = len(document["workspaces"][0]["metrics"])
    told = re.findall(
        r"^\| (this exporter|the same|each of).*\| (\d+) \|$", DOCS["comparison"], re.MULTILINE
    )
    assert [int(number) for _, number in told] == [
        round(float(rate)),
        int(calls) * 6,
        int(calls) * 60,
        reports * 60,
    ]
    assert f"the same {calls} requests" in DOCS["comparison"]
    assert f"each of the {reports} reports" in DOCS["comparison"]


def test_the_alerts_that_matter_first_are_the_critical_ones() -> None:
    rules = [
        rule
        for file in (ROOT / "config" / "prometheus" / "rules").glob("*.yml")
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    critical = {
        rule["alert"] for rule in rules if rule.get("labels", {}).get("severity") == "critical"
    }
    _, _, rest = DOCS["alerts"].partition("## The alerts that matter first")
    told = re.findall(r"^\| `(Seasalt\w+)` \|", rest.partition("\n## ")[0], re.MULTILINE)
    assert sorted(told) == sorted(critical)


@pytest.mark.parametrize(("page", "place"), [("many-workspaces", 0), ("proxy", 1)])
def test_each_configuration_of_a_page_is_right(page: str, place: int, tmp_path: Path) -> None:
    text = blocks(page, "yaml")[place]
    for folder in ("/run/secrets/", "/etc/ssl/certs/"):
        for name in re.findall(rf"{folder}([\w.-]+)", text):
            (tmp_path / name).write_text("key", encoding="utf-8")
        text = text.replace(folder, f"{tmp_path}/")
    one = {"name": "acme", "api": "seax", "api_key": "key"}
    document = {"workspaces": [one]} | yaml.safe_load(text)
    file = tmp_path / "seasalt.yml"
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    found = load([str(file)], {"PROXY_PASSWORD": "secret"}, date(2026, 1, 1))
    assert not found.warnings
    assert len(found.workspaces) == len(document["workspaces"])


def test_what_the_page_on_containers_says_is_in_the_image_and_the_stack() -> None:
    page, image = DOCS["containers"], (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for fact in ("65534:65534", "SEASALT_EXPORTER_CONFIG_FILE=/etc/seasalt-exporter/seasalt.yml"):
        assert fact in page
        assert fact in image
    assert "HEALTHCHECK --interval=30s" in image
    stack = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in stack["services"].items():
        [port] = service["ports"]
        assert f"| `{name}` | {port.split(':')[-1]} |" in page
    assert set(re.findall(r"in the volume `(\w+)`", page)) == set(stack["volumes"])


def test_the_page_on_what_is_stable_names_the_formats_and_versions_that_are_there() -> None:
    page = DOCS["stability"]
    assert f"in the first line, now {STATE_VERSION}." in page
    stack = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"Prometheus ([\d.]+)", page) == re.findall(r"prometheus:v(\d+\.\d+)", stack)
    assert re.findall(r"Alertmanager ([\d.]+)", page) == re.findall(
        r"alertmanager:v(\d+\.\d+)", stack
    )


def test_no_label_that_the_page_calls_reserved_is_allowed() -> None:
    _, _, told = DOCS["labels"].partition("refuses labels of its own that could collide: ")
    names = re.findall(r"`(\w+)`", told.partition(", those of")[0])
    assert len(names) == 4
    assert set(names) <= RESERVED_LABELS


def test_troubleshooting_says_what_to_do_after_each_outcome_of_a_request() -> None:
    _, _, rest = DOCS["troubleshooting"].partition("## The API\n")
    told = re.findall(r"^\| `(\w+)` \|", rest.partition("\n## ")[0], re.MULTILINE)
    assert sorted(told) == sorted(set(Outcome) - {Outcome.SUCCESS})
