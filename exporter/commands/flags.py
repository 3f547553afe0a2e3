"""The command line: sub-commands, flags with their environment variables, and their parsing."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NoReturn
from urllib.parse import quote, unquote, urlsplit

from exporter import build, logs
from exporter.commands.output import tell
from exporter.did_you_mean import nearest
from exporter.errors import StartError
from exporter.model.shards import MOST, WHOLE, Shard
from exporter.network_addresses import split, url_parts

OTHER_ROUTES: Final = (
    *("/", "/-/healthy", "/-/ready", "/-/reload", "/api/v1/status"),
    *("/probe", "/api/v1/sd/probes"),
)
"""The routes of the exporter other than the metrics page."""

DONE: Final = 0
MENDABLE: Final = 1
MISUSE: Final = 2
BUG: Final = 70
"""Exit statuses: success; an error that the operator can fix; invalid command line; a bug."""

ON: Final = ("true", "yes", "on", "1")
OFF: Final = ("false", "no", "off", "0", "")
"""Values for the environment variable of a switch, case-insensitive."""

FEW_BOTS: Final = 4
MANY_BOTS: Final = (20, 200)
"""How many bots the sandbox has: the default, or a number in a range."""

FIRST_DAY: Final = "2010-01-01"
"""The earliest day that `backfill` takes; a year of several digits less is a slip."""

ASKS_FIRST: Final = 1000
"""Up to this many requests, `backfill` does not ask before it sends them."""

CONFIGURATIONS: Final = ("config/seasalt.yml", "/etc/seasalt-exporter/seasalt.yml")
"""Where the configuration is expected: by default, and in the image."""

COMMANDS: Final = {
    "serve": "polls the API and serves /metrics (the default)",
    "demo": "starts the sandbox API and the exporter against it; no account needed",
    "sandbox": "starts the stand-in Seasalt API alone",
    "once": "polls each report once and prints the metrics",
    "plan": "prints the requests that the configuration leads to, and sends none",
    "health": "checks that the exporter on this machine or in this container is alive; exit status 0 or 1",
    "bots": "lists the bots of each workspace as YAML to paste",
    "doctor": "asks the API, in a dozen requests at most, what its documents leave open, and checks the configuration against the account",
    "backfill": "rebuilds the past of the metrics from the API, for Prometheus or a long-term store",
    "probe": "asks a bot a module's question once and prints what came of it; costs a message",
    "docs": "prints the metric reference",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag, which is also an environment variable.

    Attributes:
        name: The name without the dashes.
        default: The default as text; a switch has none.
        help: The text for `--help`.
        choices: The valid values; empty if any value may be valid.
        switch: Whether it takes no value.
        commands: The sub-commands that accept it; empty for all.
    """

    name: str
    default: str = ""
    help: str
    choices: tuple[str, ...] = ()
    switch: bool = False
    commands: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return "SEASALT_EXPORTER_" + self.name.replace(".", "_").replace("-", "_").upper()


_MEANT: Final = {
    "help": "--help",
    "version": "--version",
    "check": "--config.check",
    "validate": "--config.check",
    "start": "serve",
    "run": "serve",
    "-c": "--config.file",
    "-f": "--config.file",
    "-v": "--version",
    "-V": "--version",
}
"""Names that other programs use, each with the one that is meant here."""

_CONFIGURED: Final = ("serve", "once", "plan", "bots", "doctor", "backfill", "probe")
_SERVING: Final = ("serve", "demo")
_REACHING: Final = (*_SERVING, "health")
SHARDED: Final = ("serve", "once", "plan")
_SANDBOXED: Final = ("demo", "sandbox")
_REBUILDING: Final = ("backfill", "demo")

FLAGS: Final = (
    Flag(
        name="config.file",
        default=CONFIGURATIONS[0],
        help="the YAML file; repeatable, the workspaces of all files are merged",
        commands=_CONFIGURED,
    ),
    Flag(
        name="config.check",
        help="print every mistake in the configuration, or the resolved configuration, and exit",
        switch=True,
        commands=_CONFIGURED,
    ),
    Flag(
        name="config.enable-auto-reload",
        help="reload the configuration when its files change",
        switch=True,
        commands=("serve",),
    ),
    Flag(
        name="web.listen-address",
        default=":9877",
        help="host:port, repeatable; port 0 picks a free port; demo: 127.0.0.1:9877",
        commands=_REACHING,
    ),
    Flag(
        name="web.telemetry-path",
        default="/metrics",
        help="the path of the metrics",
        commands=_SERVING,
    ),
    Flag(
        name="web.enable-lifecycle",
        help="allow POST /-/reload to reload the configuration",
        switch=True,
        commands=("serve",),
    ),
    Flag(
        name="web.external-url",
        help="the URL of the exporter behind a reverse proxy",
        commands=_REACHING,
    ),
    Flag(
        name="web.route-prefix",
        help="prefix of every path; default: the path of the external URL",
        commands=_REACHING,
    ),
    Flag(
        name="web.runbooks-url",
        help="the URL of the runbooks, which the status page then links",
        commands=_SERVING,
    ),
    Flag(
        name="web.grafana-url",
        help="the URL of Grafana, whose dashboards the status page then links",
        commands=_SERVING,
    ),
    Flag(
        name="state.file",
        help="file that keeps values and poll times over restarts",
        commands=("serve",),
    ),
    Flag(
        name="shard",
        default=str(WHOLE),
        help="i/n, such as 0/3: poll the i-th of n parts of all targets, counted from 0, within as large a part"
        " of all limits; give each of n instances another i",
        commands=SHARDED,
    ),
    Flag(
        name="web.config.file",
        help="the exporter-toolkit's web configuration: TLS, client certificates, passwords",
        commands=("serve",),
    ),
    Flag(
        name="sandbox.listen-address",
        default="127.0.0.1:9878",
        help="where the sandbox listens",
        commands=_SANDBOXED,
    ),
    Flag(
        name="sandbox.seed",
        default="1",
        help="seed of the made-up data, a number",
        commands=_SANDBOXED,
    ),
    Flag(
        name="bots",
        default=str(FEW_BOTS),
        help=f"bots of the sandbox; {MANY_BOTS[0]} to {MANY_BOTS[1]} are spread over four companies in four"
        " time zones, and differ in names and sizes",
        commands=_SANDBOXED,
    ),
    Flag(
        name="trouble",
        help="let faults of the sandbox come and go: a rejected key, rate limits, failures, slow"
        " answers",
        switch=True,
        commands=_SANDBOXED,
    ),
    Flag(
        name="module",
        help="name of the module; needed only if the bot may be probed with several",
        commands=("probe",),
    ),
    Flag(
        name="temperament",
        help="let the sandbox behave in another way that the documents allow; repeatable, see"
        " docs/sandbox.md for the names",
        commands=_SANDBOXED,
    ),
    Flag(
        name="json",
        help="print the findings as JSON",
        switch=True,
        commands=("doctor",),
    ),
    Flag(
        name="from",
        help="the first day to rebuild, like 2025-01-01, in each workspace's time zone",
        commands=("backfill",),
    ),
    Flag(name="to", help="the last day to rebuild (default: yesterday)", commands=("backfill",)),
    Flag(
        name="step",
        default="5m",
        help="how far apart the samples are",
        choices=("5m", "1h", "1d"),
        commands=("backfill",),
    ),
    Flag(
        name="intraday",
        help="for how many of the last days, like 14d, today's counts are rebuilt hour by hour, which"
        " wakes the alerts on what is usual",
        commands=("backfill",),
    ),
    Flag(
        name="workspace",
        help="rebuild this workspace alone, repeatable; or the name of the workspace of the bot to probe, needed"
        " only if there are several",
        commands=("backfill", "probe"),
    ),
    Flag(
        name="bot",
        help="rebuild the bot with this id or name alone, repeatable; or the id of the bot to probe",
        commands=("backfill", "probe"),
    ),
    Flag(
        name="dry-run",
        help="print what would be requested and written, and request nothing but the lists of bots",
        switch=True,
        commands=("backfill",),
    ),
    Flag(
        name="yes",
        help=f"do not ask before more than {ASKS_FIRST} requests",
        switch=True,
        commands=("backfill",),
    ),
    Flag(
        name="history",
        help="how much history the demo begins with, like 365d; 0d for none",
        commands=("demo",),
    ),
    Flag(
        name="output",
        default="seasalt-backfill",
        help="folder for the answers, which are never asked for twice, and for the OpenMetrics file",
        commands=_REBUILDING,
    ),
    Flag(
        name="push",
        help="remote write URL of a store, like http://localhost:9090/api/v1/write, which then gets"
        " the history instead of a file",
        commands=_REBUILDING,
    ),
    Flag(
        name="push.query-url",
        help="base URL of the store's query API; default: as the remote write URL says",
        commands=_REBUILDING,
    ),
    Flag(
        name="push.headers-file",
        help="file with more headers for the store, such as credentials, one `Name: value` a line",
        commands=_REBUILDING,
    ),
    Flag(
        name="label",
        help="label for every rebuilt series, like job=seasalt; repeatable",
        commands=_REBUILDING,
    ),
    Flag(
        name="log.level",
        default="info",
        help="how much to log",
        choices=tuple(logs.LEVELS),
    ),
    Flag(name="log.format", default="logfmt", help="how to log", choices=logs.FORMATS),
)


@dataclass(frozen=True, slots=True)
class Invocation:
    """The parsed command line and environment.

    Attributes:
        command: A key of `COMMANDS`.
        values: The values of every flag, by its name; a switch that is on has one value.
        given: The flags that are set on the command line or in the environment.
        environment: The variables for `${NAME}` in the configuration.
    """

    command: str
    values: Mapping[str, tuple[str, ...]]
    given: frozenset[str]
    environment: Mapping[str, str]

    def one(self, flag: str) -> str:
        """The last value of a flag; empty if it has none."""
        return self.values[flag][-1] if self.values[flag] else ""


def help_text(environment: Mapping[str, str]) -> str:
    """What `--help` prints."""
    return _parser(environment).format_help()


def prefix(invocation: Invocation) -> str:
    """The prefix of every route, decoded: as given, or else the path of the external URL."""
    path = invocation.one("web.route-prefix") or urlsplit(invocation.one("web.external-url")).path
    return unquote(path).rstrip("/")


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, in UTF-8 whatever the locale."""

    def _print_message(self, message: str, file: object = None) -> None:
        if file is sys.stdout:
            tell(message)
        else:
            logs.say(message.rstrip("\n"))

    def error(self, message: str) -> NoReturn:
        """Print the line and exit."""
        self.exit(MISUSE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """The parsed command line; flags may come before or after the sub-command.

    Raises:
        SystemExit: With `MISUSE` if it is invalid; with `DONE` for --help and --version.
        StartError: If the value of a flag is invalid.
    """
    parser = _parser(environment)
    misread = _misread(arguments)
    if misread:
        parser.error(misread)
    space, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        parser.error(f"one command is enough, {unknown[0]} is a second one")
    command = space.command or "serve"
    values: dict[str, tuple[str, ...]] = {}
    given: set[str] = set()
    for flag in FLAGS:
        found: Any = getattr(space, flag.name)
        if found and flag.commands and command not in flag.commands:
            parser.error(f"--{flag.name} is no flag of {command}")
        name = f"--{flag.name}"
        if not found and flag.variable in environment:
            name = flag.variable
            found = _from_environment(flag, environment[name])
        if found:
            given.add(flag.name)
        values[flag.name] = tuple(found or ([flag.default] if flag.default else []))
        _check(flag, name, values[flag.name])
    return Invocation(command, values, frozenset(given), environment)


def _misread(arguments: Sequence[str]) -> str:
    """The error for the first argument that is neither flag, value nor command; empty if none.

    argparse would take the value of an unknown flag for the command.
    """
    flags = {f"--{flag.name}": flag for flag in FLAGS}
    rest, command = iter(arguments), ""
    for argument in rest:
        name, equals, _ = argument.partition("=")
        flag = flags.get(name)
        if flag and flag.switch and equals:
            return (
                f"{name} takes no value: it is on where it is given, and off where it is left out"
            )
        if flag and not flag.switch and not equals:
            next(rest, None)
        elif flag is None and argument.startswith("-"):
            if argument not in {"-h", "--help", "--version"}:
                return f"unknown argument {name}{_near(name, flags)}"
        elif flag is None and not command:
            command = argument
            if command.endswith((".yml", ".yaml")):
                return f"a file is no command, did you mean --config.file={command}?"
            if command not in COMMANDS:
                known = ", ".join(COMMANDS)
                return f"unknown command {command}{_near(command, COMMANDS) or f', must be one of {known}'}"
    return ""


def _near(word: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown word; empty if no known word is similar."""
    on = word.removeprefix("--no-")
    if on != word and f"--{on}" in known:
        return f", leave --{on} out instead"
    meant = _MEANT.get(word) or nearest(word, known)
    return f", did you mean {meant}?" if meant else ""


def _from_environment(flag: Flag, value: str) -> list[str]:
    """The values in a flag's environment variable, one a line; none for a switch that is off."""
    if not flag.switch:
        return [line.strip() for line in value.splitlines() if line.strip()]
    word = value.strip().lower()
    if word not in (*ON, *OFF):
        raise StartError(f"{flag.variable} must be one of {', '.join(filter(None, (*ON, *OFF)))}")
    return ["true"] if word in ON else []


def _check(flag: Flag, name: str, values: tuple[str, ...]) -> None:
    """Reject an invalid value, under the name of the flag or variable that set it."""
    for value in values:
        for wrong, right in _rules(flag, value):
            if wrong:
                raise StartError(f"{name} must {right}")


def _rules(flag: Flag, value: str) -> Iterator[tuple[bool, str]]:
    """For each rule, whether the value breaks it, and the rule's text."""
    of = flag.name
    yield of == "config.file" and not value, "be the name of a file"
    yield bool(flag.choices) and value not in flag.choices, f"be one of {', '.join(flag.choices)}"
    yield of == "sandbox.seed" and not re.fullmatch("[0-9]{1,18}", value), "be a whole number"
    yield (
        of == "shard" and not _is_shard(value),
        f"be i/n, like 0/3: i from 0 to n - 1, n up to {MOST}",
    )
    few, many = FEW_BOTS, MANY_BOTS
    bots = f"be {few}, or a whole number from {many[0]} to {many[1]}"
    yield of == "bots" and not _is_bots(value), bots
    yield of.endswith("-address") and not _is_address(value), "be host:port or :port"
    path = of.endswith(("-path", "-prefix"))
    yield path and not _is_path(value), "be a path that begins with /"
    other = of == "web.telemetry-path" and unquote(value) in OTHER_ROUTES
    yield other, f"not be {', '.join(OTHER_ROUTES)}"
    url = "be a URL like https://metrics.internal/seasalt"
    yield of.endswith("-url") and not _is_url(value), url
    folder = of == "state.file" and value.rpartition("/")[2] in {"", ".", ".."}
    yield folder, "be the name of a file, not of a folder"
    yield of in {"from", "to"} and not _is_day(value), "be a day like 2025-01-01"
    # Before that there is nothing to rebuild, and windows would reach back before the calendar.
    too_early = of in {"from", "to"} and value < FIRST_DAY
    yield too_early, f"be {FIRST_DAY} or later"
    days = {"intraday": "[1-9][0-9]{0,3}d", "history": "[0-9]{1,4}d"}.get(of)
    yield days is not None and not re.fullmatch(days, value), "be a number of days like 14d"
    label = "be name=value, with letters, digits and underscores in the name"
    yield of == "label" and not re.fullmatch(r"(?a:[a-zA-Z_]\w*)=[^\x00-\x1f]+", value), label
    meant = of == "label" and value.startswith("__")
    yield meant, "not begin with __, as only Prometheus's own labels do"
    yield of == "push" and not _is_url(value), "be a URL like http://localhost:9090/api/v1/write"
    home = of.endswith(".file") and value.startswith("~")
    yield home, "be a whole path: nobody expands the ~ in it"


def _is_bots(value: str) -> bool:
    fewest, most = MANY_BOTS
    number = int(value) if re.fullmatch("[0-9]{1,4}", value) else 0
    return number == FEW_BOTS or fewest <= number <= most


def _is_shard(value: str) -> bool:
    try:
        Shard.parsed(value)
    except ValueError:
        return False
    return True


def _is_day(value: str) -> bool:
    try:
        return re.fullmatch(r"\d{4}-\d\d-\d\d", value) is not None and bool(
            date.fromisoformat(value)
        )
    except ValueError:
        return False


def _is_address(value: str) -> bool:
    try:
        split(value)
    except ValueError:
        return False
    return True


def _is_path(value: str) -> bool:
    """Whether clients request a path as it is written: no empty segments, no `.` or `..`."""
    steps = unquote(value).split("/")
    return (
        re.fullmatch("/([A-Za-z0-9._~/-]|%[0-9A-Fa-f]{2})*", value) is not None
        and "" not in steps[1:-1]
        and not {".", ".."} & {*steps}
    )


def _is_url(value: str) -> bool:
    parts = url_parts(value)
    return (
        parts is not None
        and parts.port != 0
        and not ("@" in parts.netloc or parts.query or parts.fragment)
        and _is_path(quote(parts.path or "/", safe="/%~"))
    )


def _parser(environment: Mapping[str, str]) -> _Parser:
    commands = "\n".join(f"  {name:<8} {does}" for name, does in COMMANDS.items())
    parser = _Parser(
        prog="seasalt-exporter",
        usage="%(prog)s [FLAG ...] [COMMAND] [FLAG ...]",
        description="Prometheus exporter for Seasalt.ai's chatbot analytics.\n\n"
        f"commands:\n{commands}",
        epilog="Every flag is also an environment variable: --config.file is\n"
        "SEASALT_EXPORTER_CONFIG_FILE.\n\nExit status: 0 success, 1 configuration or start-up error,"
        " 2 invalid command line,\n70 a bug.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=tuple(COMMANDS), help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=build.described(environment))
    for flag in FLAGS:
        default = f" (default {flag.default})" if flag.default else ""
        choices = f": {', '.join(flag.choices)}" if flag.choices else ""
        common: dict[str, Any] = {"dest": flag.name, "help": flag.help + choices + default}
        if flag.switch:
            parser.add_argument(f"--{flag.name}", action="append_const", const="true", **common)
        else:
            parser.add_argument(f"--{flag.name}", action="append", metavar="VALUE", **common)
    return parser
