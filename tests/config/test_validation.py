import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import jsonschema
import pytest
import yaml
from hypothesis import given, settings, strategies as st
from support.pace import TRACED
from support.workspaces import workspace

from exporter.config import Bot, Config, json_schema, load, show
from exporter.config.settings import ProbeUser
from exporter.config.validation import ORPHANED
from exporter.config.yaml_document import MOST_TOLD
from exporter.errors import ConfigError, Mistake
from exporter.polling.plan import target

CONFIGS = Path(__file__).parents[1] / "data" / "configs"
ROOT = Path(__file__).parents[2]
CANARY = "canary"
TODAY = date(2026, 11, 21)
ENVIRONMENT = {"SEACHAT_API_KEY": "sk-canary-0123456789"}


def cases(pattern: str) -> list[object]:
    return [
        pytest.param(path, id=path.name.split(".")[0]) for path in sorted(CONFIGS.glob(pattern))
    ]


def loaded(
    path: Path, text: str, environment: Mapping[str, str] = ENVIRONMENT, today: date = TODAY
) -> Config:
    path = path / "seasalt.yml"
    path.write_text(text, encoding="utf-8")
    return load([str(path)], environment, today)


def mistakes(path: Path, text: str, environment: Mapping[str, str] = ENVIRONMENT) -> list[Mistake]:
    with pytest.raises(ConfigError) as caught:
        loaded(path, text, environment)
    return list(caught.value.mistakes)


WORKSPACE = """
workspaces:
  - name: acme
    api: seachat
    api_key: ${SEACHAT_API_KEY}
"""


@pytest.mark.parametrize("path", cases("*.bad.yml"))
def test_a_mistake_is_told_with_file_line_path_and_what_would_be_right(path: Path) -> None:
    says = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# says: ")

    with pytest.raises(ConfigError) as caught:
        load([str(path)], {}, TODAY)

    assert str(caught.value) == f"{path}:{says}"
    assert CANARY not in repr(caught.value.__dict__)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("path", cases("*.good.yml"))
def test_a_good_file_loads(path: Path) -> None:
    config = load([str(path)], ENVIRONMENT, TODAY)

    assert config.workspaces


def test_every_mistake_is_told_in_one_go(tmp_path: Path) -> None:
    text = """\
interval: 5m
timezone: Asia/Mumbai
conccurency: 4
workspaces:
  - name: acme
    api: seachat
    api_key: "X-API-KEY sk-canary-0001"
    bots:
      - {id: ../../admin, name: Support}
    metrics:
      - {metric: csat, window: last_day}
      - {metric: activity_trend, message_type: both, window: soon}
  - name: acme
    api: seachat
    api_key: ${NOPE}
    base_url: http://chat.seasalt.ai
"""

    assert [(found.line, found.path) for found in mistakes(tmp_path, text)] == [
        (1, "interval"),
        (2, "timezone"),
        (3, "conccurency"),
        (7, "workspaces[0].api_key"),
        (9, "workspaces[0].bots[0].id"),
        (11, "workspaces[0].metrics[0].window"),
        (12, "workspaces[0].metrics[1].message_type"),
        (12, "workspaces[0].metrics[1].window"),
        (13, "workspaces[1].name"),
        (15, "workspaces[1].api_key"),
        (16, "workspaces[1].base_url"),
    ]


def test_mistakes_of_several_files_are_told_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yml", tmp_path / "two.yml"
    one.write_text("interval: soon\n" + WORKSPACE, encoding="utf-8")
    two.write_text(WORKSPACE + "    colour: red\n", encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load([str(one), str(two), str(tmp_path / "none.yml")], ENVIRONMENT, TODAY)

    assert [(Path(found.file).name, found.path) for found in caught.value.mistakes] == [
        ("none.yml", ""),
        ("one.yml", "interval"),
        ("two.yml", "workspaces[0].name"),
        ("two.yml", "workspaces[0].colour"),
    ]


def test_workspaces_of_several_files_are_taken_together_each_with_its_own_settings(
    tmp_path: Path,
) -> None:
    one, two = tmp_path / "one.yml", tmp_path / "two.yml"
    one.write_text("interval: 20m\n" + WORKSPACE, encoding="utf-8")
    two.write_text(WORKSPACE.replace("acme", "other"), encoding="utf-8")

    config = load([str(one), str(two)], ENVIRONMENT, TODAY)

    assert [(w.name, w.interval) for w in config.workspaces] == [
        ("acme", timedelta(minutes=20)),
        ("other", timedelta(minutes=10)),
    ]


def test_a_workspace_inherits_settings_and_may_give_them_again(tmp_path: Path) -> None:
    config = loaded(
        tmp_path, "interval: 20m\ntimezone: Europe/Berlin\n" + WORKSPACE + "    interval: 30m\n"
    )

    (workspace,) = config.workspaces
    assert workspace.interval == timedelta(minutes=30)
    assert workspace.timezone == "Europe/Berlin"
    assert {entry.interval for entry in workspace.entries if not entry.report.alone} == {
        timedelta(minutes=30)
    }


def test_metrics_left_out_are_each_one_that_needs_no_choice(tmp_path: Path) -> None:
    (workspace,) = loaded(tmp_path, WORKSPACE).workspaces

    assert [(entry.name, entry.window, entry.scope) for entry in workspace.entries] == [
        ("conversation_overview", "last_30_days", "workspace"),
        ("communication_volume", "today", "workspace"),
        ("activity_trend", "today", "workspace"),
        ("label_usage", "today", "workspace"),
        ("label_overview", "", "workspace"),
        ("total_usage", "today", "workspace"),
        ("conversation_breakdown", "today", "workspace"),
        ("conversation_overview_yearly", "", "workspace"),
    ]


def test_with_bots_metrics_are_asked_bot_by_bot_and_csat_joins_them(tmp_path: Path) -> None:
    (workspace,) = loaded(tmp_path, WORKSPACE + "    bots: [{id: b1}]\n").workspaces

    scopes = {entry.name: entry.scope for entry in workspace.entries}
    assert scopes.pop("label_overview") == "workspace"
    assert set(scopes.values()) == {"bots"}
    assert "csat" in scopes


def test_the_yearly_report_has_six_hours_unless_told_otherwise(tmp_path: Path) -> None:
    text = WORKSPACE + "    metrics: [conversation_overview_yearly, total_usage]\n"

    (workspace,) = loaded(tmp_path, text).workspaces

    assert [entry.interval for entry in workspace.entries] == [
        timedelta(hours=6),
        timedelta(minutes=10),
    ]


def test_calls_have_a_report_name_of_their_own(tmp_path: Path) -> None:
    text = WORKSPACE + (
        "    metrics: [activity_trend, {metric: activity_trend, message_type: calls}]\n"
    )

    (workspace,) = loaded(tmp_path, text).workspaces

    assert [entry.name for entry in workspace.entries] == ["activity_trend", "activity_trend_calls"]


def test_what_yaml_would_take_for_something_else_stays_what_was_written(tmp_path: Path) -> None:
    text = WORKSPACE.replace("${SEACHAT_API_KEY}", "0123") + (
        "    workspace_id: 12:30:45\n    labels: {answer: NO, date: 2026-11-21}\n"
    )

    (workspace,) = loaded(tmp_path, text).workspaces

    assert workspace.key.read() == "0123"
    assert workspace.workspace_id == "12:30:45"
    assert workspace.labels == {"answer": "NO", "date": "2026-11-21"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("${KEY}", "sk-1", id="name"),
        pytest.param("pre-${KEY}-post", "pre-sk-1-post", id="inside"),
        pytest.param("${UNSET:-default}", "default", id="default"),
        pytest.param("${EMPTY:-default}", "default", id="default-of-an-empty-one"),
        pytest.param("$$KEY", "$KEY", id="dollar"),
        pytest.param("$key", "$key", id="no-variable"),
        pytest.param("a$KEY", "a$KEY", id="dollar-inside"),
    ],
)
def test_variables_of_the_environment_expand(tmp_path: Path, text: str, key: str) -> None:
    (workspace,) = loaded(
        tmp_path, WORKSPACE.replace("${SEACHAT_API_KEY}", text), {"KEY": "sk-1", "EMPTY": ""}
    ).workspaces

    assert workspace.key.read() == key


def test_a_bot_named_with_blanks_alone_is_shown_by_its_id(tmp_path: Path) -> None:
    text = WORKSPACE + '    bots: [{id: b3, name: "  "}]\n'

    assert [bot.shown_name for bot in loaded(tmp_path, text).workspaces[0].bots] == ["b3"]


def test_the_list_of_bots_has_the_other_key_unless_it_has_one_of_its_own(tmp_path: Path) -> None:
    (workspace,) = loaded(tmp_path, WORKSPACE).workspaces
    assert workspace.bots_key == workspace.key

    file = tmp_path / "key"
    file.write_text("sk-bots", encoding="utf-8")
    (workspace,) = loaded(tmp_path, WORKSPACE + f"    bots_api_key_file: {file}\n").workspaces
    assert (workspace.key.read(), workspace.bots_key.read()) == ("sk-canary-0123456789", "sk-bots")


def test_white_space_around_a_key_is_not_part_of_it(tmp_path: Path) -> None:
    (workspace,) = loaded(tmp_path, WORKSPACE, {"SEACHAT_API_KEY": " sk-1\r\n"}).workspaces

    assert workspace.key.read() == "sk-1"


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        pytest.param("{metric: label_usage, window: last_91_days}", True, id="91-days"),
        pytest.param("{metric: label_usage, window: last_90_days}", False, id="90-days"),
        pytest.param("{metric: label_usage, window: this_year}", True, id="year"),
        pytest.param(
            "{metric: label_usage, window: this_year, time_unit: month}", False, id="by-month"
        ),
        pytest.param("{metric: total_usage, window: this_year}", True, id="no-time-unit"),
        pytest.param("{metric: total_usage, window: all}", False, id="no-dates"),
        pytest.param(
            "{metric: conversation_overview, window: last_180_days}", False, id="range-type"
        ),
    ],
)
def test_a_range_longer_than_the_documents_advise_is_a_warning(
    tmp_path: Path, metric: str, told: bool
) -> None:
    config = loaded(tmp_path, WORKSPACE + f"    metrics: [{metric}]\n")

    assert [warning.path for warning in config.warnings] == (
        ["workspaces[0].metrics[0].window"] if told else []
    )


def test_the_configuration_in_force_says_everything_but_secrets(tmp_path: Path) -> None:
    text = "http: {proxy_url: 'http://me:sk-canary-9@proxy:3128'}\n" + WORKSPACE

    shown = show.shown_configuration(loaded(tmp_path, text))

    assert CANARY not in shown
    data = yaml.safe_load(shown)["workspaces"][0]
    assert data["api_key"] == "<secret>"
    assert data["http"]["proxy_url"] == "<secret>"
    assert data["metrics"][0] == {
        "metric": "conversation_overview",
        "exclude_empty_response": False,
        "window": "last_30_days",
        "name": "conversation_overview",
        "interval": "10m",
        "scope": "workspace",
    }


def test_what_is_shown_as_in_force_could_be_written_as_it_is(tmp_path: Path) -> None:
    path = CONFIGS / "whole.good.yml"
    config = load([str(path)], ENVIRONMENT, TODAY)

    again = loaded(tmp_path, show.shown_configuration(config).replace("<secret>", "sk-again"))

    assert yaml.safe_load(show.shown_configuration(again)) == yaml.safe_load(
        show.shown_configuration(config)
    )


MODULES = """
modules:
  hours: {question: When are you open?, answer: "(?i)9 ?am$$"}
"""
PROBED = (
    WORKSPACE
    + """\
    workspace_id: w
    discover_bots: {}
    probes: [hours]
    bots:
      - {id: b1, probes: []}
"""
)


INVALID = "must be a regular expression without look-around and backreferences, like (?i)nine|9 ?am"
OFTEN = (
    "must be at least 10m, as each probe costs a message, or set allow_fast_polling: true beside"
    " modules"
)


def test_modules_are_what_bots_may_be_probed_with(tmp_path: Path) -> None:
    config = loaded(tmp_path, MODULES + PROBED)
    module, (one,) = config.modules["hours"], config.workspaces
    assert (module.answer, module.timeout, module.interval) == (
        *("(?i)9 ?am$", timedelta(seconds=30), timedelta(minutes=10)),
    )
    assert module.user.id == "seasalt-exporter-probe-hours"
    assert one.modules(one.bots[0]) == ()
    assert one.modules(Bot(id="b2")) == ("hours",)
    assert yaml.safe_load(show.shown_configuration(config))["modules"]["hours"]["interval"] == "10m"


def test_the_modules_of_all_files_are_known_in_all_of_them(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yml", tmp_path / "second.yml"
    first.write_text(PROBED)
    second.write_text(MODULES + WORKSPACE.replace("acme", "other"))
    files = [str(first), str(second)]
    assert load(files, ENVIRONMENT, TODAY).workspaces[0].probes == ("hours",)
    first.write_text(MODULES + PROBED)
    with pytest.raises(ConfigError) as caught:
        load(files, ENVIRONMENT, TODAY)
    said = "modules.hours: is the name of a module of another file already"
    assert str(caught.value) == f"{second}:3: {said}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modules: []\n" + WORKSPACE, "modules: must be a mapping"),
        ("modules: {hours: }\n" + WORKSPACE, "modules.hours: must be a mapping"),
        (
            MODULES.replace("hours:", "9:") + WORKSPACE,
            "modules: must be named with letters, digits, underscores and hyphens",
        ),
        (
            MODULES.replace("?am", "(?=am)") + WORKSPACE,
            f"modules.hours.answer: {INVALID}",
        ),
        (
            MODULES.replace("}", ", timeout: 5m}") + WORKSPACE,
            "modules.hours.timeout: must be at most 4m",
        ),
        (
            MODULES.replace("}", ", interval: 5m}") + WORKSPACE,
            f"modules.hours.interval: {OFTEN}",
        ),
        (
            MODULES.replace("}", ", ask: x}") + WORKSPACE,
            "modules.hours.ask: unknown key",
        ),
        (
            MODULES + PROBED.replace("[hours]", "[hour]"),
            "workspaces[0].probes[0]: must be the name of one of the modules; did you mean hours?",
        ),
        (
            MODULES + PROBED.replace("[]", "[hours, hours]"),
            "workspaces[0].bots[0].probes[1]: is in the list already",
        ),
        (
            MODULES + WORKSPACE + "    probes: [hours]\n",
            "workspaces[0].probes: is about bots: give the workspace bots or discover_bots",
        ),
        (
            WORKSPACE + "    knowledge_base: true\n",
            "workspaces[0].knowledge_base: is about bots: give the workspace bots or discover_bots",
        ),
        (
            WORKSPACE.replace("seachat\n", "portal\n") + "    knowledge_base: true\n",
            "workspaces[0].knowledge_base: Portal cannot be asked bot by bot, only SeaChat can",
        ),
        (
            PROBED.replace("probes: [hours]", "metrics: [{metric: csat, name: knowledge_base}]"),
            "workspaces[0].metrics[0].name: is the name of the count of the knowledge base",
        ),
    ],
)
def test_a_mistake_in_what_is_probed_is_told(tmp_path: Path, text: str, says: str) -> None:
    (found,) = mistakes(tmp_path, text)
    assert f"{found.path}: {found.text}" == says


def test_each_module_has_a_user_of_its_own_unless_it_is_given_one(tmp_path: Path) -> None:
    text = (
        MODULES
        + """\
  days: {question: And on Sundays?, answer: no, user: {first_name: Ann}}
  nights: {question: And at night?, answer: no, user: {id: ours}}
"""
    )
    modules = loaded(tmp_path, text + WORKSPACE).modules
    users = {name: module.user.id for name, module in modules.items()}
    assert users == {
        "hours": "seasalt-exporter-probe-hours",
        "days": "seasalt-exporter-probe-days",
        "nights": "ours",
    }
    longest = "m" * 64
    text = MODULES.replace("hours", longest) + WORKSPACE
    user = loaded(tmp_path, text).modules[longest].user
    assert ProbeUser.model_validate(user.model_dump()) == user


def test_a_name_that_no_module_may_have_is_told_where_the_module_is_and_nowhere_else(
    tmp_path: Path,
) -> None:
    for name in ("9", "1.5", "a b"):
        text = MODULES.replace("hours", name) + PROBED.replace("[hours]", f"[{name!r}]")
        (found,) = mistakes(tmp_path, text)
        assert found.path == "modules"


@pytest.mark.parametrize("label", ["module", "reason", "phase"])
def test_a_label_of_probes_may_not_be_a_label_of_the_configuration(
    tmp_path: Path, label: str
) -> None:
    (found,) = mistakes(tmp_path, MODULES + PROBED + f"    labels: {{{label}: x}}\n")
    assert found.path == f"workspaces[0].labels.{label}"


def test_a_fast_probe_needs_to_be_allowed(tmp_path: Path) -> None:
    fast = MODULES.replace("}", ", interval: 1m}")
    config = loaded(tmp_path, "allow_fast_polling: true\n" + fast + PROBED)
    assert config.modules["hours"].interval == timedelta(minutes=1)


def test_a_secret_is_in_no_representation_of_the_configuration() -> None:
    config = load([str(CONFIGS / "whole.good.yml")], ENVIRONMENT, TODAY)

    assert CANARY not in repr(config) + str(config) + config.workspaces[0].model_dump_json()


def test_the_schema_in_the_repository_is_current() -> None:
    written = (ROOT / "config" / "schema.json").read_text(encoding="utf-8")

    assert written == json_schema.schema_text(), (
        "python -m exporter.config.json_schema > config/schema.json"
    )


@pytest.mark.parametrize(
    "path",
    [
        *cases("*.good.yml"),
        pytest.param(ROOT / "config" / "seasalt.yml", id="shipped"),
        pytest.param(ROOT / "exporter" / "commands" / "demo.yml", id="demo"),
    ],
)
def test_the_schema_accepts_what_the_exporter_accepts(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), json_schema.schema())


def test_the_schema_marks_a_misspelt_key() -> None:
    data = {"workspaces": [{"name": "a", "api": "seachat", "api_key": "k", "bot": []}]}

    with pytest.raises(jsonschema.ValidationError, match="bot"):
        jsonschema.validate(data, json_schema.schema())


def test_the_schema_knows_each_metrics_options() -> None:
    metrics = json.dumps(json_schema.schema()["$defs"]["label_relation"])

    assert '"minItems": 2' in metrics


def test_the_shipped_configuration_loads() -> None:
    config = load([str(ROOT / "config" / "seasalt.yml")], ENVIRONMENT, TODAY)

    assert not config.warnings


OWN = """
workspaces:
  - name: acme
    api: seachat
    api_key: ${SEACHAT_API_KEY}
    labels: {account: "123456789012", owner: ops@corp.io, when: 2026-11-28, family: "x"}
    bots:
      - {id: b1, name: "Call 206-555-0142", labels: {desk: "+1 206 555 0143"}}
      - {id: b2, name: "Desk 10023456"}
"""


def test_what_the_operator_writes_is_shown_as_it_stands_and_a_warning_where_it_looks_personal(
    tmp_path: Path,
) -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    file = tmp_path / "seasalt.yml"
    file.write_text(OWN.replace('"x"', f'"{family}"'), encoding="utf-8")

    config = load([str(file)], ENVIRONMENT, TODAY)
    [one] = config.workspaces
    mine = [target(one), *(target(one, bot) for bot in one.bots)]

    assert dict(mine[0].labels) == {
        "account": "123456789012",
        "owner": "ops@corp.io",
        "when": "2026-11-28",
        "family": family,
    }
    assert mine[1].bot == "Call 206-555-0142"
    assert dict(mine[1].labels)["desk"] == "+1 206 555 0143"
    assert [warning.path for warning in config.warnings] == [
        "workspaces[0].labels.account",
        "workspaces[0].labels.owner",
        "workspaces[0].bots[0].labels.desk",
        "workspaces[0].bots[0].name",
    ]
    assert all("shown as it stands" in warning.text for warning in config.warnings)
    told = "".join(warning.text for warning in config.warnings)
    assert not any(secret in told for secret in ("206", "0142", "0143", "123456789012", "ops@"))


@settings(deadline=None)
@given(
    st.text(
        st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="$"),
        min_size=1,
        max_size=200,
    )
)
def test_no_label_of_the_operators_is_ever_rewritten(value: str) -> None:
    if value.strip():
        one = workspace(["total_usage"], labels={"mine": value})
        assert one.static_labels() == (("mine", value),)


# Files that are named in the configuration.


def test_files_are_found_beside_the_configuration_that_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc"
    (folder / "secrets").mkdir(parents=True)
    for name in ("key", "bots-key", "ca.pem", "client.pem"):
        (folder / "secrets" / name).write_text(f"{name}-0123456789", encoding="utf-8")
    (folder / "seasalt.yml").write_text(
        """\
http: {ca_file: secrets/ca.pem}
workspaces:
  - name: acme
    api: seachat
    api_key_file: secrets/key
    bots_api_key_file: ./secrets/bots-key
    workspace_id: ws-1
    discover_bots: {}
  - name: other
    api: portal
    api_key_file: %s
    http: {cert_file: secrets/client.pem}
"""
        % (folder / "secrets" / "key"),
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    for file in ("etc/seasalt.yml", str(folder / "seasalt.yml")):
        acme, other = load([file], {}, TODAY).workspaces
        assert (acme.key.read(), acme.bots_key.read()) == ("key-0123456789", "bots-key-0123456789")
        assert acme.http.ca_file
        assert acme.http.ca_file.read_text(encoding="utf-8") == "ca.pem-0123456789"
        assert other.key.read() == "key-0123456789"
        assert other.http.cert_file
        assert other.http.cert_file.is_file()
        assert other.http.ca_file is None


def test_a_file_of_the_working_directory_is_not_taken_for_one_beside_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    for name in ("key", "ca.pem"):
        (tmp_path / name).write_text("canary", encoding="utf-8")
    (tmp_path / "etc" / "seasalt.yml").write_text(
        WORKSPACE.replace("api_key: ${SEACHAT_API_KEY}", "api_key_file: key")
        + "    http: {ca_file: ca.pem}\n"
        + WORKSPACE.removeprefix("\nworkspaces:\n").replace(
            "name: acme\n    api: seachat\n    api_key: ${SEACHAT_API_KEY}",
            "name: b\n    api: seachat\n    api_key_file: key",
        ),
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError) as caught:
        load(["etc/seasalt.yml"], {}, TODAY)

    hint = "; it is looked for beside this file, not in the working directory"
    assert [(found.path, found.text) for found in caught.value.mistakes] == [
        ("workspaces[0].api_key_file", f"cannot be read: No such file or directory{hint}"),
        ("workspaces[0].http.ca_file", f"must be a file that exists{hint}"),
        ("workspaces[1].api_key_file", f"cannot be read: No such file or directory{hint}"),
    ]


@pytest.mark.parametrize("content", ["${CANARY_KEY}", "$CANARY_KEY\n", "$(canary)"])
def test_a_key_file_that_holds_a_variable_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content, encoding="utf-8")

    (mistake,) = mistakes(
        tmp_path, WORKSPACE.replace("api_key: ${SEACHAT_API_KEY}", "api_key_file: key")
    )

    assert mistake.text == "must hold the key itself: nobody expands a variable in a key file"


# Odd files of the largest size.

MIB: Final = 1_048_576
ONE: Final = "workspaces: [{name: a, api: seachat, api_key: x, "
ODD: Final = {
    "defaults that do not end": "a: " + "${A:-" * 150_000,
    "braces that do not close": "a: " + "${" * 400_000,
    "unknown keys": "workspaces: [{}]\n" + "".join(f"k{at}: 1\n" for at in range(49_000)),
    "unknown keys of a workspace": ONE
    + ", ".join(f"intervall{at}: 1" for at in range(45_000))
    + "}]",
    "keys": "".join(f"k{at}: 1\n" for at in range(100_000)),
    "keys twice": "k: 1\n" * 140_000,
    "keys that are no words": "[a]: 1\n" * 33_000,
    "variables that are not set": "a:\n" + "- ${A}\n" * 99_000,
    "workspaces of nothing": "workspaces: [" + "{}," * 99_000 + "]",
    "workspaces of an odd zone": "workspaces: [" + "{timezone: Q}," * 33_000 + "]",
    "bots of an odd kind": ONE + "bots: [" + "b," * 99_000 + "]}]",
    "bots twice": ONE + "bots: [" + "{id: b}," * 33_000 + "]}]",
    "metrics twice": ONE + "metrics: [" + "csat," * 99_000 + "]}]",
    "tags": "a: [" + "!x a," * 99_000 + "]",
    "levels of a list": "[" * 1_000_000,
    "levels of a block": "- " * 500_000,
    "a list": "a: [" + "a," * 500_000 + "]",
    "a list that is not too long": "a: [" + "a," * 99_000 + "]",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_megabyte_of_anything_is_refused_within_10_seconds_in_100_lines_or_so(
    tmp_path: Path, text: str
) -> None:
    assert len(text) < MIB
    begun = time.process_time()

    found = mistakes(tmp_path, text, {})

    assert time.process_time() - begun < 10 * TRACED
    assert len(found) <= MOST_TOLD + 1


def test_the_end_of_a_default_is_not_looked_for_again_and_again(tmp_path: Path) -> None:
    begun = time.process_time()

    mistakes(tmp_path, "a: " + "${A:-" * 15_000, {})

    assert (
        time.process_time() - begun < 1
    )  # a hundredth of it, but seconds where each looks to the end


def test_of_very_many_mistakes_the_first_are_told_and_how_many_more_there_are(
    tmp_path: Path,
) -> None:
    text = WORKSPACE + "".join(f"    canary{at}: 1\n" for at in range(80_000 // 8))

    found = mistakes(tmp_path, text)

    assert [mistake.line for mistake in found[:100]] == list(range(6, 106))
    assert str(found[-1]) == f"{tmp_path}/seasalt.yml: and at least 9900 more; mend these first"
    assert len(found) == 101


def test_what_variables_bring_has_a_bound_for_the_whole_file(tmp_path: Path) -> None:
    text = WORKSPACE + "    labels:\n      a: " + "${A}" * 1000

    found = mistakes(tmp_path, text, ENVIRONMENT | {"A": "canary" * 1000})

    assert str(found[0]) == (
        f"{tmp_path}/seasalt.yml:2: its variables expand to more than 1048576 characters"
    )


def test_the_largest_configuration_of_bots_that_there_may_be_is_read(tmp_path: Path) -> None:
    bots = ", ".join(f"{{id: b{at}, name: Support}}" for at in range(19_000))

    (found,) = loaded(tmp_path, WORKSPACE + f"    bots: [{bots}]\n").workspaces

    assert len(found.bots) == 19_000


# Files that a container has mounted one by one.


def test_a_mounted_file_that_was_replaced_outside_is_warned_of(tmp_path: Path) -> None:
    """An unlinked file behind a path is what a replaced one is behind a mount."""
    with ExitStack() as stack:

        def mounted(name: str, content: str) -> str:
            file = stack.enter_context((tmp_path / name).open("w+", encoding="utf-8"))
            file.write(content)
            file.flush()
            (tmp_path / name).unlink()
            return f"/proc/self/fd/{file.fileno()}"

        text = WORKSPACE.replace(
            "api_key: ${SEACHAT_API_KEY}", f"api_key_file: {mounted('key', 'sk-canary')}"
        )
        text += f"    http: {{ca_file: {mounted('ca', 'canary')}}}\n"
        file = mounted("seasalt.yml", text)

        found = load([file], {}, TODAY).warnings

    assert [(one.line, one.path, one.text) for one in found] == [
        (0, "", ORPHANED),
        (5, "workspaces[0].api_key_file", ORPHANED),
        (6, "workspaces[0].http", ORPHANED),
    ]


def test_of_a_file_that_has_a_name_nobody_is_warned(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-canary", encoding="utf-8")
    text = WORKSPACE.replace("api_key: ${SEACHAT_API_KEY}", "api_key_file: key")

    assert loaded(tmp_path, text).warnings == ()
