"""The shape of the configuration file: its keys, their types and their defaults."""

import re
import stat
import zoneinfo
from datetime import timedelta
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationInfo
from pydantic.json_schema import WithJsonSchema

from exporter.config.api_keys import ApiKey, elsewhere
from exporter.did_you_mean import nearest
from exporter.model.answer_pattern import LONGEST_PATTERN, checked
from exporter.model.api_paths import BOTS
from exporter.model.apis import APIS, Api
from exporter.model.bot_list import BOT_ID, DEFAULT_MOST
from exporter.model.durations import Duration
from exporter.model.entry import Entry
from exporter.model.label_values import writable
from exporter.model.report import LabelName, Section, matching, printable
from exporter.model.shards import WHOLE, Shard
from exporter.network_addresses import url_parts

_ID_WORDS: Final = "letters, digits and . _ : @ -"
# Files of the database that are not time zones, and copies of the database with other rules.
_NOT_ZONES: Final = {"Factory", "posixrules", "localtime"}
_NOT_TREES: Final = ("posix/", "right/")
# Not in the tz database, but used as examples in the API's documents.
_ZONE_MEANT: Final = {
    "asia/mumbai": "Asia/Kolkata",
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "edt": "America/New_York",
}
_OFFSET: Final = re.compile(r"(?:UTC|GMT)? ?([+-])(\d{1,2})(?::?(\d\d))?", re.ASCII | re.IGNORECASE)


def _is_zone(name: str) -> bool:
    return name not in _NOT_ZONES and not name.startswith(_NOT_TREES)


def _zone(name: str) -> str:
    """The name, if it is in the tz database; otherwise an error that suggests the nearest one."""
    try:
        if name and len(name) < 64 and _is_zone(name):
            zoneinfo.ZoneInfo(name)
            return name
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        pass  # a folder, an unknown name, or a path that leads out of the database
    if not zoneinfo.available_timezones():
        raise ValueError("cannot be looked up: no time zones are here, install the package tzdata")
    raise ValueError(f"must be a name of the IANA time zone database{_zone_hint(name)}")


def _zone_hint(name: str) -> str:
    """A suggestion for a name that is not a time zone."""
    offset = _OFFSET.fullmatch(name.strip())
    if offset:
        sign, hours, minutes = offset.groups()
        turned = f"Etc/GMT{'-' if sign == '+' else '+'}{int(hours)}"
        whole = int(hours) and not int(minutes or 0)
        known = whole and turned in zoneinfo.available_timezones()
        exact = (
            f", or {turned} (the sign is turned round there) for a fixed offset" if known else ""
        )
        return f": a place like Asia/Taipei, which knows its summer time{exact}"
    wanted = name[:64].casefold()
    folded = _zones()
    meant = _ZONE_MEANT.get(wanted) or folded.get(nearest(wanted, folded, cutoff=0.8))
    return f"; did you mean {meant}?" if meant else ", like America/Los_Angeles or UTC"


@cache
def _zones() -> dict[str, str]:
    """The names in the database, by their lower-case form."""
    names = sorted(filter(_is_zone, zoneinfo.available_timezones()))
    return {name.casefold(): name for name in names}


def _api(name: str) -> str:
    if name not in APIS:
        raise ValueError(f"must be one of {', '.join(APIS)}")
    return name


_PUNYCODE: Final = re.compile(r"(?:^|\.)xn--", re.IGNORECASE)
_PATH: Final = r"/[A-Za-z0-9._~/-]{0,200}"


def _parts(value: str) -> SplitResult | None:
    """The parts of a URL; None if httpx could not use it, which fails on invalid punycode."""
    parts = url_parts(value)
    return None if parts and _PUNYCODE.search(parts.hostname or "") else parts


def _url(value: str) -> str:
    parts = _parts(value)
    if parts is None:
        raise ValueError("must be a URL like https://chat.seasalt.ai")
    path = parts.path.rstrip("/")
    if (
        "@" in parts.netloc
        or parts.query
        or parts.fragment
        or not re.fullmatch(f"(?:{_PATH})?", path)
    ):
        raise ValueError("must be scheme, host and path alone: no user, query or fragment")
    host = parts.hostname or ""
    if host.startswith("your-") or f".{host}".endswith((".example.com", ".example", ".invalid")):
        raise ValueError("is a placeholder; leave it out for the API's own address")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _proxy(value: SecretStr) -> SecretStr:
    parts = _parts(value.get_secret_value())
    if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be a URL like http://proxy.internal:3128")
    return value


def _named(path: Path, info: ValidationInfo) -> Path:
    """The path of a file, relative to the folder of the configuration that names it."""
    if not str(path).isprintable():
        raise ValueError("must be the name of a file")
    if str(path).startswith("~"):
        raise ValueError("must be a whole path: nobody expands the ~ in it")
    return info.context / path if isinstance(info.context, Path) else path


def _file(path: Path, info: ValidationInfo) -> Path:
    try:
        found = stat.S_ISREG(path.stat().st_mode)  # `is_file` hides every error from 3.14 on
    except (FileNotFoundError, NotADirectoryError):
        found = False
    except OSError as error:  # for example a folder without permission, or a name that is too long
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not found:
        hint = elsewhere(path, info.context) if isinstance(info.context, Path) else ""
        raise ValueError(f"must be a file that exists{hint}")
    return path


_LONGEST_TIMEOUT: Final = timedelta(minutes=4)
"""Below the time that the web server allows an answer."""


def _patient(timeout: timedelta) -> timedelta:
    if timeout > _LONGEST_TIMEOUT:
        raise ValueError("must be at most 4m")
    return timeout


ZoneName = Annotated[str, AfterValidator(_zone)]
FileName = Annotated[Path, AfterValidator(_named)]
File = Annotated[FileName, AfterValidator(_file)]
StaticLabel = Annotated[
    str, *matching("[a-zA-Z_][a-zA-Z0-9_]{0,63}", "named with letters, digits and underscores")
]
StaticLabels = Annotated[
    dict[StaticLabel, Annotated[str, Field(min_length=1), AfterValidator(writable)]],
    Field(max_length=20),
]


class Http(Section):
    """The connection to the API; proxy and TLS environment variables are ignored."""

    proxy_url: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        None, description="Proxy for every request, as a URL. Proxy variables are ignored."
    )
    ca_file: File | None = Field(
        None, description="CA certificates to trust, in PEM, instead of certifi's public CAs."
    )
    cert_file: File | None = Field(None, description="Client certificate, in PEM.")
    key_file: File | None = Field(
        None, description="Private key of the client certificate, unless `cert_file` contains it."
    )


class Settings(Section):
    """Settings for all workspaces, which each workspace can override."""

    interval: Duration = Field(
        timedelta(minutes=10),
        description="How often each report is polled. The API recommends 10m to 15m; less than 10m"
        " needs `allow_fast_polling`.",
    )
    timezone: ZoneName = Field(
        "UTC",
        description="IANA time zone. It decides where days, weeks, months and years begin.",
        validate_default=True,  # fails on a system without a time zone database
    )
    timeout: Duration = Field(
        timedelta(seconds=60), description="Total time for one request, connection included."
    )
    concurrency: int = Field(
        4, ge=1, le=1000, description="Requests in flight at a time, per workspace."
    )
    requests_per_minute: int = Field(
        60,
        ge=1,
        le=600_000,
        description="Rate limit, per workspace: a token bucket that starts empty and holds ten.",
    )
    requests_per_day: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        None,
        description="Hard limit for one local day, per workspace. Once it is reached, reports fail"
        " until local midnight. Without a state file, a restart resets the count.",
    )
    stale_after: float = Field(
        3,
        ge=1,
        le=1000,
        allow_inf_nan=False,
        description="How many intervals of its report a value is kept after the last success.",
    )
    max_series: int = Field(
        100_000,
        ge=1,
        description="Series limit for the workspace's reports. The largest values of each report"
        " are kept; the rest are counted in `seasalt_series_dropped_total`.",
    )
    max_labels: int = Field(
        200,
        ge=1,
        description="Limit for customer-defined label values, per report and target. The largest"
        " are kept; the rest are counted likewise. Channels have a fixed limit of 32.",
    )
    allow_fast_polling: bool = Field(default=False, description="Allows intervals below 10m.")
    http: Http = Field(Http(), description="How the API is reached.")


def _shown_as_it_is(name: str) -> str:
    return writable(name) if name.strip() else name


MODULE_NAME: Final = "[a-zA-Z][a-zA-Z0-9_-]{0,63}"
"""The pattern of a module's name."""

ModuleName = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^({MODULE_NAME})$"})]
"""The name of a module where it is used; whether there is one is checked with all modules known."""


class ProbeUser(Section):
    """The user as whom the exporter writes to a bot."""

    id: Annotated[str, *matching(BOT_ID, _ID_WORDS)] = Field(
        "seasalt-exporter-probe",
        description="ID of the user. Nobody else may have it. If omitted, the name of the module"
        " follows: `seasalt-exporter-probe-MODULE`.",
    )
    first_name: LabelName = Field("Monitoring", description="First name, for those who read along.")
    last_name: LabelName = Field("Probe", description="Last name, likewise.")


class Module(Section):
    """A probe: the question that a bot is asked, and what its answer must be like."""

    question: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(printable)] = (
        Field(description="The message that is sent.")
    )
    answer: Annotated[
        str,
        AfterValidator(checked),
        WithJsonSchema({"type": "string", "maxLength": LONGEST_PATTERN}),
    ] = Field(
        description="Regular expression in Rust's syntax, which the answer must match anywhere."
        " Write `$$` for a dollar sign."
    )
    timeout: Annotated[Duration, AfterValidator(_patient)] = Field(
        timedelta(seconds=30), description="How long the bot may take to answer, at most 4m."
    )
    interval: Duration = Field(
        timedelta(minutes=10),
        description="How long the last result is served again, because each probe costs a message."
        " Less than 10m needs `allow_fast_polling`.",
    )
    user: ProbeUser = Field(ProbeUser(), description="The user who asks.")

    def named(self, name: str) -> Self:
        """The module with a user of its own, unless it is given one.

        Modules that share a user share the conversation, where a late answer to one question is
        taken for the answer to the other.
        """
        if "id" in self.user.model_fields_set:
            return self
        user = self.user.model_copy(update={"id": f"{self.user.id}-{name}"})
        return self.model_copy(update={"user": user})


class Bot(Section):
    """One bot to poll."""

    id: Annotated[str, *matching(BOT_ID, _ID_WORDS)] = Field(
        description="ID of the bot, as in the URL of its page in SeaChat."
    )
    name: Annotated[str, AfterValidator(_shown_as_it_is)] = Field(
        "", description="Value of the label `bot`; the ID if omitted."
    )
    labels: StaticLabels = Field({}, description="Labels added to every series of the bot.")
    probes: tuple[ModuleName, ...] | None = Field(
        None, description="Modules with which the bot may be probed, instead of the workspace's."
    )

    @property
    def shown_name(self) -> str:
        """The value of the label `bot`: the name, or the id."""
        return self.name if self.name.strip() else self.id


def _bot(value: object) -> object:
    if isinstance(value, str):
        raise ValueError("must be a mapping like {id: bot_12345}, not the id alone")  # noqa: TRY004 - pydantic's
    return value


class Discovery(Section):
    """Which bots of the workspace's list are polled."""

    include: tuple[str, ...] = Field(
        ("*",),
        min_length=1,
        description="Shell patterns, case-sensitive. A bot is polled if its displayed name matches"
        " one of them.",
    )
    exclude: tuple[str, ...] = Field(
        (), description="Shell patterns. A bot whose displayed name matches one is not polled."
    )
    interval: Duration = Field(timedelta(hours=1), description="How often the bot list is read.")
    max_bots: int = Field(
        DEFAULT_MOST,
        ge=1,
        le=100_000,
        description="Limit for discovered bots. The oldest are kept; the rest are counted in"
        " `seasalt_series_dropped_total`.",
    )

    def wants(self, name: str) -> bool:
        """Whether a bot with this name is polled; the patterns are case-sensitive."""
        return any(fnmatchcase(name, pattern) for pattern in self.include) and not any(
            fnmatchcase(name, pattern) for pattern in self.exclude
        )


class Workspace(Settings):
    """One workspace of one API, and the reports to poll."""

    name: Annotated[str, Field(min_length=1, max_length=120), AfterValidator(printable)] = Field(
        description="Value of the label `workspace`; must be unique."
    )
    api: Annotated[str, AfterValidator(_api), WithJsonSchema({"enum": list(APIS)})] = Field(
        description="The API to poll."
    )
    base_url: Annotated[str, AfterValidator(_url)] | None = Field(
        None,
        description="Base URL of the API; its public address if omitted. `http://` is accepted for"
        " loopback addresses, or with `allow_insecure_http`.",
    )
    path: Annotated[str, *matching(_PATH, "a path like /api/v1")] | None = Field(
        None, description="Path of the analytics endpoint; the documented one if omitted."
    )
    allow_insecure_http: bool = Field(
        default=False, description="Allows `http://` to any host, not only to loopback addresses."
    )
    api_key: SecretStr | None = Field(
        None, description="API key. Write `${NAME}` to take it from the environment."
    )
    api_key_file: FileName | None = Field(
        None, description="File that contains the API key. It is read again at every use."
    )
    bots_api_key: SecretStr | None = Field(
        None, description="API key for the bot list; the key above if omitted."
    )
    bots_api_key_file: FileName | None = Field(
        None, description="File that contains the API key for the bot list."
    )
    workspace_id: Annotated[str, *matching(BOT_ID, _ID_WORDS)] | None = Field(
        None, description="ID of the workspace in the API; `discover_bots` needs it."
    )
    labels: StaticLabels = Field({}, description="Labels added to every series of the workspace.")
    bots: tuple[Annotated[Bot, BeforeValidator(_bot)], ...] = Field(
        (), description="Bots to poll one by one. SeaChat only."
    )
    discover_bots: Discovery | None = Field(
        None,
        description="Reads the bots from the API, instead of `bots` or in addition to it. SeaChat only.",
    )
    probes: tuple[ModuleName, ...] = Field(
        (),
        description="Modules with which the workspace's bots may be probed; none if omitted."
        " SeaChat only.",
    )
    knowledge_base: bool = Field(
        default=False,
        description="Counts the files in the knowledge base of each bot, once an hour. SeaChat only.",
    )
    metrics: Annotated[tuple[Any, ...], Field(min_length=1, max_length=500)] | None = Field(
        None,
        description="Reports to poll. If omitted, one of each metric of the API that needs no option.",
    )
    _entries: tuple[Entry, ...] = PrivateAttr(())
    _shard: Shard = PrivateAttr(WHOLE)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The reports in force: `metrics` with every default filled in."""
        return self._entries

    def with_entries(self, entries: tuple[Entry, ...]) -> Self:
        """The same workspace with these entries."""
        copy = self.model_copy()
        copy._entries = entries  # noqa: SLF001 - a fresh copy that nothing else refers to
        return copy

    @property
    def shard(self) -> Shard:
        """Which part of the workspace this instance polls."""
        return self._shard

    def of_shard(self, shard: Shard) -> Self:
        """The workspace as one shard polls it: with its own of the configured bots."""
        own = tuple(bot for bot in self.bots if shard.owns(self.name, bot.id))
        copy = self.model_copy(update={"bots": own})
        copy._shard = shard  # noqa: SLF001 - a fresh copy that nothing else refers to
        return copy

    @property
    def own_per_minute(self) -> Fraction:
        """This shard's part of `requests_per_minute`."""
        return Fraction(self.requests_per_minute, self.shard.count)

    @property
    def own_per_day(self) -> int | None:
        """This shard's part of `requests_per_day`; None without a limit."""
        return None if self.requests_per_day is None else self.shard.per_day(self.requests_per_day)

    @property
    def own_concurrency(self) -> int:
        """This shard's part of `concurrency`."""
        return self.shard.part(self.concurrency)

    @property
    def dialect(self) -> Api:
        """The API that serves the workspace."""
        return APIS[self.api]

    @property
    def url(self) -> str:
        """The full URL of the analytics endpoint."""
        return (self.base_url or self.dialect.base_url) + (self.path or self.dialect.path)

    @property
    def path_of_the_api(self) -> str:
        """The part of an API path that the base URL already ends with; empty if there is none.

        On another host than the API's, a single matching step does not count: it may be a proxy's.
        """
        host = urlsplit(self.url).hostname
        least = 1 if host == urlsplit(self.dialect.base_url).hostname else 2
        has = urlsplit(self.base_url or "").path.split("/")[1:]
        for path in () if self.path else (self.dialect.path, self.dialect.old_path, BOTS):
            steps = path.split("/")[1:]
            for count in range(len(steps), least - 1, -1):
                if has[-count:] == steps[:count]:
                    return "/" + "/".join(steps[:count])
        return ""

    @property
    def other_url(self) -> str:
        """The URL that the API's own samples use, if it differs and no path is configured."""
        old = "" if self.path else self.dialect.old_path
        return old and (self.base_url or self.dialect.base_url) + old

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone in which its days begin."""
        return zoneinfo.ZoneInfo(self.timezone)

    @property
    def key(self) -> ApiKey:
        """The key for the analytics endpoint."""
        return ApiKey(self.api_key, self.api_key_file)

    @property
    def bots_key(self) -> ApiKey:
        """The key for the list of bots."""
        if self.bots_api_key or self.bots_api_key_file:
            return ApiKey(self.bots_api_key, self.bots_api_key_file)
        return self.key

    @property
    def key_settings(self) -> tuple[str, str]:
        """The names of the settings that hold the keys for the reports and for the bot list."""
        key = "api_key_file" if self.api_key_file else "api_key"
        if self.bots_api_key_file:
            return key, "bots_api_key_file"
        return key, "bots_api_key" if self.bots_api_key else key

    @property
    def bots_url(self) -> str:
        """The URL of the list of bots."""
        return (self.base_url or self.dialect.base_url) + BOTS

    @property
    def has_bots(self) -> bool:
        """Whether reports are polled per bot by default."""
        return bool(self.bots) or self.discover_bots is not None

    def modules(self, bot: Bot) -> tuple[str, ...]:
        """The names of the modules with which a bot may be probed."""
        return self.probes if bot.probes is None else bot.probes

    @property
    def has_probes(self) -> bool:
        """Whether any bot may be probed."""
        return bool(self.probes) or any(bot.probes for bot in self.bots)

    @property
    def loopback(self) -> bool:
        """Whether the API is on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def static_labels(self, bot: Bot | None = None) -> tuple[tuple[str, str], ...]:
        """The configured labels of the workspace, merged with those of a bot if given."""
        return tuple((self.labels | (bot.labels if bot else {})).items())
