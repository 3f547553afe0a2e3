from typing import Final

import pytest

from exporter.commands.flags import COMMANDS, DONE, FLAGS, MISUSE, Flag, parse, prefix
from exporter.errors import StartError


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config.file=a.yml", "--config.file", "b.yml", "once"],
        ["once", "--config.file=a.yml", "--config.file=b.yml"],
        ["--config.file=a.yml", "once", "--config.file=b.yml"],
    ],
    ids=["before", "after", "around"],
)
def test_flags_come_before_and_after_the_sub_command_in_both_forms(arguments: list[str]) -> None:
    found = parse(arguments, {})

    assert found.command == "once"
    assert found.values["config.file"] == ("a.yml", "b.yml")


def test_without_a_sub_command_it_serves_with_the_defaults() -> None:
    found = parse([], {})

    assert found.command == "serve"
    assert found.values["config.file"] == ("config/seasalt.yml",)
    assert found.values["web.listen-address"] == (":9877",)
    assert found.one("web.telemetry-path") == "/metrics"
    assert (found.one("log.level"), found.one("log.format")) == ("info", "logfmt")
    assert found.one("config.check") == ""
    assert found.given == frozenset()


@pytest.mark.parametrize("flag", FLAGS, ids=[flag.name for flag in FLAGS])
def test_every_flag_is_an_environment_variable_as_well(flag: Flag) -> None:
    urls = dict.fromkeys(("web.external-url", "web.grafana-url", "web.runbooks-url"), "http://x/y")
    urls |= dict.fromkeys(("push", "push.query-url"), "http://x/y")
    days = {"from": "2026-11-19", "to": "2026-11-19", "intraday": "14d", "history": "365d"}
    odd = urls | days | {"sandbox.seed": "7", "bots": "50", "label": "job=seasalt", "shard": "1/3"}
    value = "[::1]:0" if flag.name.endswith("address") else odd.get(flag.name, "/x")
    value = flag.choices[-1] if flag.choices else "true" if flag.switch else value

    command = flag.commands[:1] or ("serve",)
    found = parse(list(command), {flag.variable: value})

    assert found.one(flag.name) == value


def test_a_flag_wins_over_its_environment_variable() -> None:
    found = parse(["--log.level=debug"], {"SEASALT_EXPORTER_LOG_LEVEL": "error"})

    assert found.one("log.level") == "debug"


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_repeatable_flag_takes_lines_from_the_environment(end: str) -> None:
    found = parse([], {"SEASALT_EXPORTER_CONFIG_FILE": f"a.yml{end}b.yml{end}"})

    assert found.values["config.file"] == ("a.yml", "b.yml")


SWITCHES: Final = [flag for flag in FLAGS if flag.switch]

each_switch = pytest.mark.parametrize("flag", SWITCHES, ids=[flag.name for flag in SWITCHES])


@each_switch
@pytest.mark.parametrize(
    "value", ["false", "no", "off", "0", "", "False", "NO", "oFf", " off\n", " "]
)
def test_a_switch_can_be_off_in_the_environment(flag: Flag, value: str) -> None:
    found = parse([], {flag.variable: value})

    assert found.one(flag.name) == ""
    assert flag.name not in found.given


@each_switch
@pytest.mark.parametrize("value", ["true", "yes", "on", "1", "True", "YES", "On", "true\r\n"])
def test_a_switch_can_be_on_in_the_environment(flag: Flag, value: str) -> None:
    assert parse([], {flag.variable: value}).one(flag.name) == "true"


@each_switch
@pytest.mark.parametrize("value", ["nope", "disabled", "2", "-1", "true false", "off\non", "n"])
def test_what_is_neither_on_nor_off_is_refused_by_the_name_of_its_variable(
    flag: Flag, value: str
) -> None:
    with pytest.raises(StartError) as caught:
        parse([], {flag.variable: value})

    assert str(caught.value) == (
        f"{flag.variable} must be one of true, yes, on, 1, false, no, off, 0"
    )


def test_a_value_of_the_environment_is_refused_by_the_name_of_its_variable() -> None:
    with pytest.raises(StartError) as caught:
        parse([], {"SEASALT_EXPORTER_LOG_LEVEL": "loud"})

    assert str(caught.value) == (
        "SEASALT_EXPORTER_LOG_LEVEL must be one of debug, info, warn, error"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(
            ["--confg.file=x"],
            "unknown argument --confg.file, did you mean --config.file?",
            id="flag",
        ),
        pytest.param(["pol"], "unknown command pol, must be one of serve, demo,", id="command"),
        pytest.param(["plann"], "unknown command plann, did you mean plan?", id="near-command"),
        pytest.param(["help"], "unknown command help, did you mean --help?", id="help"),
        pytest.param(["version"], "unknown command version, did you mean --version?", id="version"),
        pytest.param(["check"], "unknown command check, did you mean --config.check?", id="check"),
        pytest.param(["start"], "unknown command start, did you mean serve?", id="start"),
        pytest.param(
            ["once", "twice"],
            "one command is enough, twice is a second one",
            id="second-command",
        ),
        pytest.param(
            ["conf/seasalt.yml"],
            "a file is no command, did you mean --config.file=conf/seasalt.yml?",
            id="file",
        ),
        pytest.param(
            ["-c", "a.yml"], "unknown argument -c, did you mean --config.file?", id="short"
        ),
        pytest.param(["-v"], "unknown argument -v, did you mean --version?", id="short-version"),
        pytest.param(
            ["-config.file", "a.yml", "serve"],
            "unknown argument -config.file, did you mean --config.file?",
            id="one-dash",
        ),
        pytest.param(
            ["--config-file", "a.yml"],
            "unknown argument --config-file, did you mean --config.file?",
            id="dashes",
        ),
        pytest.param(
            ["--config.check=true"],
            "--config.check takes no value: it is on where it is given, and off where it is left out",
            id="switch-with-a-value",
        ),
        pytest.param(
            ["serve", "--web.enable-lifecycle=false"],
            "--web.enable-lifecycle takes no value",
            id="switch-off",
        ),
        pytest.param(
            ["serve", "--no-web.enable-lifecycle"],
            "unknown argument --no-web.enable-lifecycle, leave --web.enable-lifecycle out instead",
            id="switch-with-no",
        ),
        pytest.param(
            ["--config.file"], "argument --config.file: expected one argument", id="no-value"
        ),
        pytest.param(
            ["docs", "--web.listen-address=:1"],
            "--web.listen-address is no flag of docs",
            id="elsewhere",
        ),
        pytest.param(["--config.fil=x"], "unknown argument --config.fil", id="abbreviated"),
    ],
)
def test_misuse_is_one_line_and_status_2(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(arguments, {})

    written = capsys.readouterr()
    assert caught.value.code == MISUSE
    assert written.out == ""
    assert len(written.err.splitlines()) == 1
    assert says in written.err


PATH: Final = "must be a path that begins with /"
WHOLE: Final = "must be a whole path: nobody expands the ~ in it"
REFUSED: Final = {
    ("log.level", "must be one of debug, info, warn, error"): ["loud"],
    ("log.format", "must be one of logfmt, json"): ["xml"],
    ("config.file", "must be the name of a file"): [""],
    ("config.file", WHOLE): ["~/seasalt.yml"],
    ("state.file", WHOLE): ["~root/state"],
    ("state.file", "must be the name of a file, not of a folder"): ["/", ".", "./", "..", "state/"],
    ("sandbox.seed", "must be a whole number"): ["x"],
    ("bots", "must be 4, or a whole number from 20 to 200"): ["x", "0", "5", "19", "201", "5e1"],
    ("web.listen-address", "must be host:port or :port"): ["9877"],
    ("web.telemetry-path", PATH): ["metrics", "/m?x", "//m"],
    (
        "web.telemetry-path",
        "must not be /, /-/healthy, /-/ready, /-/reload, /api/v1/status, /probe, /api/v1/sd/probes",
    ): ["/-/ready", "/-/read%79"],
    ("web.route-prefix", PATH): ["//x", "/x//y", "/x%2F/y", "/x/../y", "/x/%2e", "/x%2"],
    ("web.external-url", "must be a URL like https://metrics.internal/seasalt"): [
        *("http://[", "http://[::1]evil.com/", "http://u:p@metrics.internal/", "http://x//y"),
        *("localhost:9877/x", "http://x/?q", "http://x:port/"),
    ],
    ("web.runbooks-url", "must be a URL like https://metrics.internal/seasalt"): [
        *("javascript:alert(1)", "docs/runbooks", "http://x/#y"),
    ],
    ("web.grafana-url", "must be a URL like https://metrics.internal/seasalt"): [
        *("javascript:alert(1)", "grafana:3000"),
    ],
}
"""By flag and what is said of them: values that cannot be right."""


@pytest.mark.parametrize(
    ("flag", "says", "value"),
    [(*about, value) for about, values in REFUSED.items() for value in values],
)
def test_a_value_that_cannot_be_right_is_one_line(flag: str, says: str, value: str) -> None:
    command = "demo" if flag.startswith(("sandbox.", "bots")) else "serve"
    with pytest.raises(StartError) as caught:
        parse([command, f"--{flag}={value}"], {})

    assert str(caught.value) == f"--{flag} {says}"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], ""),
        (["--web.external-url=https://metrics.internal"], ""),
        (["--web.external-url=https://xn--mnchen-3ya.internal"], ""),
        (["--web.external-url=https://metrics.internal/"], ""),
        (["--web.external-url=https://metrics.internal/a/b/"], "/a/b"),
        (["--web.external-url=https://metrics.internal/a%20b"], "/a b"),
        (["--web.external-url=https://metrics.internal/č"], "/č"),
        (["--web.external-url=https://metrics.internal/a", "--web.route-prefix=/"], ""),
        (["--web.external-url=https://metrics.internal/a", "--web.route-prefix=/c/"], "/c"),
        (["--web.route-prefix=/a%2Db%C4%8D"], "/a-bč"),
    ],
)
def test_the_external_urls_path_comes_before_every_route_unless_told_otherwise(
    flags: list[str], expected: str
) -> None:
    assert prefix(parse(["serve", *flags], {})) == expected


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_end_well(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([flag], {})

    assert caught.value.code == DONE
    assert "seasalt-exporter" in capsys.readouterr().out


def test_help_names_every_command_and_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"], {})

    told = capsys.readouterr().out
    assert all(f"--{flag.name}" in told for flag in FLAGS)
    assert all(command in told for command in COMMANDS)
