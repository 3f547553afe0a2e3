"""From a document to the configuration in force: inheritance, defaults and consistency checks.

Each part of the file is first validated on its own, so that a mistake in one part does not hide
those in others. Then the checks that involve several settings run. All mistakes are reported at
once.
"""

from collections.abc import Iterable, Iterator, Mapping, Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from re import ASCII, fullmatch
from typing import Any, Final

from pydantic import ValidationError

from exporter.config.api_keys import ApiKey, elsewhere, orphaned
from exporter.config.settings import MODULE_NAME, Module, Settings, Workspace
from exporter.config.shape import validated
from exporter.config.yaml_document import Document, Place, read
from exporter.did_you_mean import did_you_mean
from exporter.errors import ConfigError, Mistake, StartError
from exporter.model import bot_list, knowledge_base
from exporter.model.apis import APIS
from exporter.model.durations import show
from exporter.model.entry import Entry
from exporter.model.label_values import personal
from exporter.model.report import AnyReport, Form, Options, Windows
from exporter.model.samples import BOT_LABELS, COMMON_LABELS, PROBE_LABELS, REPORT_LABELS
from exporter.model.shards import Shard
from exporter.model.windows import window
from exporter.reports.catalogue import REPORTS, of_api

GUIDANCE: Final = timedelta(minutes=10)
"""The shortest interval that the API's documents recommend."""

ADVISED_DAYS: Final = 90
"""The longest range of dates that the API's documents advise."""

RESERVED_LABELS: Final = frozenset(
    (
        *(*COMMON_LABELS, *REPORT_LABELS, *BOT_LABELS, *PROBE_LABELS),
        *("le", "quantile", "job", "instance"),
    )
) | {label for report in REPORTS for family in report.families for label in family.labels}

ORPHANED: Final = (
    "warning: the file that is mounted here has been replaced where it comes from, and this is the"
    " old one: mount its folder"
)
"""The warning about a mounted file that will never change, because the original was replaced."""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force.

    Attributes:
        workspaces: In the order of the files.
        warnings: Settings that are valid but probably not intended.
        modules: What bots may be probed with, by name.
    """

    workspaces: tuple[Workspace, ...]
    warnings: tuple[Mistake, ...] = ()
    modules: Mapping[str, Module] = field(default_factory=dict)

    def of_shard(self, shard: Shard) -> "Config":
        """The configuration as one shard polls it.

        Raises:
            StartError: With a line for each limit that is too low to give every shard a part.
        """
        if shard.alone:
            return self
        wrong = [text for one in self.workspaces for text in _indivisible(one, shard)]
        if wrong:
            raise StartError("\n".join(wrong))
        own = tuple(workspace.of_shard(shard) for workspace in self.workspaces)
        return replace(self, workspaces=own)


def _indivisible(workspace: Workspace, shard: Shard) -> Iterator[str]:
    least = {"concurrency": shard.count, "requests_per_day": shard.whole_day(1)}
    for name, needed in least.items():
        allowed = getattr(workspace, name)
        if allowed is not None and allowed < needed:
            yield (
                f"workspace {workspace.name}: {name} {allowed} is too low for {shard.count} shards,"
                f" which need {needed}"
            )


def load(files: Iterable[str], environment: Mapping[str, str], today: date) -> Config:
    """The configuration from one or more files.

    Args:
        files: Their names; the workspaces and the modules of all files are merged.
        environment: The variables for `${NAME}`.
        today: Decides whether `current` and a fixed year may be the same.

    Raises:
        ConfigError: With every mistake of every file.
    """
    workspaces: list[Workspace] = []
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    readers: list[_Reader] = []
    modules: dict[str, Module | None] = {}
    names: set[str] = set()
    for file in files:
        if orphaned(Path(file)):
            warnings.append(Mistake(file, 0, "", ORPHANED))
        try:
            document = read(file, environment)
        except ConfigError as error:
            mistakes += error.mistakes
            continue
        readers.append(reader := _Reader(document, today, names, modules))
        reader.read_modules()  # of all files first: a workspace may name those of another one
    for reader in readers:
        workspaces += reader.workspaces()
        mistakes += reader.document.mistakes
        warnings += reader.warnings
    if mistakes:
        raise ConfigError(mistakes)
    right = {name: module for name, module in modules.items() if module}
    return Config(tuple(workspaces), tuple(warnings), right)


class _Reader:
    """Turns one document into workspaces, and records its mistakes in the document.

    Args:
        document: The document.
        today: See `load`.
        names: The names of the workspaces so far, of all documents.
        modules: The modules so far, likewise; None in place of an invalid one.
    """

    def __init__(
        self, document: Document, today: date, names: set[str], modules: dict[str, Module | None]
    ) -> None:
        self.document = document
        self.today = today
        self.names = names
        self.modules = modules
        self.hurried: list[Place] = []
        self.warnings: list[Mistake] = []
        self.folder = Path(document.file).parent
        self._validated = partial(validated, document, folder=self.folder)

    def read_modules(self) -> None:
        """Add the document's modules."""
        data = self.document.data
        found = data.get("modules", {}) if isinstance(data, dict) else {}
        if not isinstance(found, dict):
            self.document.wrong(("modules",), "must be a mapping")
            return
        for name, item in found.items():
            if self.document.full:
                break
            place = ("modules", name)
            if not fullmatch(MODULE_NAME, name, ASCII):
                self.document.wrong(
                    place, "must be named with letters, digits, underscores and hyphens"
                )
            elif name in self.modules:
                self.document.wrong(place, "is the name of a module of another file already")
            module, _ = self._validated(Module, item, place)
            if module and module.interval < GUIDANCE:
                self.hurried.append((*place, "interval"))
            self.modules.setdefault(name, module and module.named(name))

    def workspaces(self) -> list[Workspace]:
        """The valid workspaces; the list is incomplete if there are mistakes."""
        data = self.document.data
        if not isinstance(data, dict):
            self.document.wrong((), "must be a mapping with the key workspaces")
            return []
        others = ("workspaces", "modules")
        top = {key: value for key, value in data.items() if key not in others}
        settings, broken = self._validated(Settings, top, (), others=others)
        if settings and not settings.allow_fast_polling:
            for place in self.hurried:
                self.document.wrong(place, _TOO_MANY_MESSAGES)
        inherited = {key: value for key, value in top.items() if key not in broken}
        items = data.get("workspaces")
        if not isinstance(items, list) or not items:
            self.document.wrong(("workspaces",), "must be a list of at least one workspace")
            return []
        found = []
        for index, item in enumerate(items):
            if self.document.full:
                break
            found.append(self._workspace(item, inherited, ("workspaces", index)))
        return [workspace for workspace in found if workspace]

    def _workspace(
        self, item: object, inherited: Mapping[str, object], place: Place
    ) -> Workspace | None:
        if not isinstance(item, dict):
            self.document.wrong(place, "must be a mapping with name, api and api_key")
            return None
        data = {**inherited, **item}
        workspace, broken = self._validated(Workspace, data, place)
        if workspace is None:
            # Stand-ins replace the invalid values, so that the other checks can still run.
            kept = {key: value for key, value in data.items() if key not in broken}
            stand_ins = {key: _STAND_INS[key] for key in broken & _STAND_INS.keys()}
            try:
                workspace = Workspace.model_validate(kept | stand_ins, context=self.folder)
            except ValidationError:
                return None  # an invalid key of the mapping, for which there is no stand-in
        self._alone(workspace, place, inherited.keys() - item.keys())
        self._credentials(workspace, place)
        self._labels(workspace, place)
        if "api" in broken:
            return None  # without the API, its bots and metrics cannot be checked
        self._bots(workspace, place)
        return workspace.with_entries(tuple(self._entries(workspace, place)))

    def _alone(self, workspace: Workspace, place: Place, inherited: AbstractSet[str]) -> None:
        """Check a workspace's own settings; report inherited ones at their place in the file."""
        if workspace.name in self.names:
            self.document.wrong((*place, "name"), "is the name of another workspace already")
        self.names.add(workspace.name)
        if workspace.url.startswith("http:") and not (
            workspace.loopback or workspace.allow_insecure_http
        ):
            self.document.wrong(
                (*place, "base_url"), "must be https, or set allow_insecure_http: true"
            )
        written = workspace.path_of_the_api
        if written:
            self.document.wrong(
                (*place, "base_url"),
                f"must be without {written}, which the exporter adds itself; path says otherwise",
            )
        http = workspace.http
        for name, file in (
            ("api_key_file", workspace.api_key_file),
            ("bots_api_key_file", workspace.bots_api_key_file),
            *(("http", file) for file in (http.ca_file, http.cert_file, http.key_file)),
        ):
            if file and orphaned(file):
                self.warnings.append(self.document.note((*place, name), ORPHANED))
        if workspace.interval < GUIDANCE and not workspace.allow_fast_polling:
            where = () if "interval" in inherited else place
            self.document.wrong((*where, "interval"), _TOO_FAST)

    def _credentials(self, workspace: Workspace, place: Place) -> None:
        told = any(self.document.told((*place, name)) for name in ("api_key", "api_key_file"))
        if told:
            return
        if (workspace.api_key is None) == (workspace.api_key_file is None):
            self.document.wrong(place, "needs one of api_key and api_key_file")
        else:
            self._key(workspace.key, "api_key", place)
        if workspace.bots_api_key is not None and workspace.bots_api_key_file is not None:
            self.document.wrong(place, "needs one of bots_api_key and bots_api_key_file")
        elif workspace.bots_key != workspace.key:
            self._key(workspace.bots_key, "bots_api_key", place)

    def _key(self, key: ApiKey, name: str, place: Place) -> None:
        try:
            key.check()
        except ValueError as error:
            hint = elsewhere(key.file, self.folder) if key.file else ""
            where = (*place, name if key.file is None else f"{name}_file")
            self.document.wrong(where, f"{error}{hint}")

    def _labels(self, workspace: Workspace, place: Place) -> None:
        given = [((*place, "labels"), workspace.labels)]
        given += [
            ((*place, "bots", index, "labels"), bot.labels)
            for index, bot in enumerate(workspace.bots)
        ]
        for where, labels in given:
            for name, value in labels.items():
                if name in RESERVED_LABELS or name.startswith("__"):
                    self.document.wrong((*where, name), "is a label of the exporter's own")
                self._warn_of_personal((*where, name), value)

    def _warn_of_personal(self, place: Place, value: str) -> None:
        """Warn about a value that would be redacted if it came from the API."""
        if personal(value):
            self.warnings.append(self.document.note(place, _PERSONAL))

    def _bots(self, workspace: Workspace, place: Place) -> None:
        able = ", ".join(api.title for api in APIS.values() if api.per_bot)
        for name in ("bots", "discover_bots", "probes", "knowledge_base"):
            if getattr(workspace, name) and not workspace.dialect.per_bot:
                self.document.wrong(
                    (*place, name),
                    f"{workspace.dialect.title} cannot be asked bot by bot, only {able} can",
                )
            elif name in _ABOUT_BOTS and getattr(workspace, name) and not workspace.has_bots:
                self.document.wrong(
                    (*place, name), "is about bots: give the workspace bots or discover_bots"
                )
        self._modules_of(workspace.probes, (*place, "probes"))
        if workspace.discover_bots:
            if workspace.workspace_id is None:
                self.document.wrong((*place, "discover_bots"), "needs the workspace_id")
            if workspace.discover_bots.interval < GUIDANCE and not workspace.allow_fast_polling:
                self.document.wrong((*place, "discover_bots", "interval"), _TOO_FAST)
        seen: set[str] = set()
        for index, bot in enumerate(workspace.bots):
            if bot.id in seen:
                self.document.wrong((*place, "bots", index, "id"), "is in the list already")
            seen.add(bot.id)
            self._warn_of_personal((*place, "bots", index, "name"), bot.name)
            self._modules_of(bot.probes or (), (*place, "bots", index, "probes"))

    def _modules_of(self, names: Iterable[str], place: Place) -> None:
        """Check the modules with which bots may be probed."""
        known, seen = self.modules.keys(), set[str]()
        for index, name in enumerate(names):
            if name in seen:
                self.document.wrong((*place, index), "is in the list already")
            elif name not in known:
                self.document.wrong(
                    (*place, index),
                    f"must be the name of one of the modules{did_you_mean(name, known)}",
                )
            seen.add(name)

    def _entries(self, workspace: Workspace, place: Place) -> list[Entry]:
        reports = of_api(workspace.api)
        items: Iterable[object] = (
            workspace.metrics
            if workspace.metrics is not None
            else [
                metric
                for metric, (report, form) in reports.items()
                if not report.needs_choice and (workspace.has_bots or not form.needs_bot)
            ]
        )
        entries: dict[int, Entry] = {}
        for index, item in enumerate(items):
            if self.document.full:
                break
            where = (*place, "metrics", index)
            entry = self._entry(item, workspace, reports, where)
            if entry:
                self._apart(entry, entries, where)
                entries[index] = entry
        return list(entries.values())

    def _entry(
        self,
        item: object,
        workspace: Workspace,
        reports: Mapping[str, tuple[AnyReport, Form]],
        place: Place,
    ) -> Entry | None:
        data = {"metric": item} if isinstance(item, str) else item
        if not isinstance(data, dict) or not isinstance(data.get("metric"), str):
            self.document.wrong(place, "must be a metric's name or a mapping with the key metric")
            return None
        if data["metric"] not in reports:
            self.document.wrong(
                (*place, "metric") if isinstance(item, dict) else place,
                partial(_no_such_metric, data["metric"], workspace.api, reports),
            )
            return None
        report, form = reports[data["metric"]]
        options, _ = self._validated(report.options, data, place)
        if options is None or not self._fits(options, report, form, workspace, place):
            return None
        if options.window is None and form.window:
            options = options.model_copy(update={"window": window(form.window)})
        by_bot = workspace.has_bots and not report.workspace_scope
        return Entry(
            report=report,
            form=form,
            options=options,
            name=options.name or report.default_name(options),
            interval=options.interval or report.interval or workspace.interval,
            scope=options.scope or ("bots" if by_bot else "workspace"),
            zone=workspace.zone,
        )

    def _fits(
        self, options: Options, report: AnyReport, form: Form, workspace: Workspace, place: Place
    ) -> bool:
        """Whether the API and the workspace support an item; records a mistake if not."""
        before = self.document.found
        for name in sorted(options.model_fields_set & report.foreign(form)):
            able = [APIS[api].title for api, other in report.apis.items() if name in other.options]
            self.document.wrong((*place, name), f"is an option of {', '.join(able)} alone")
        if options.window and not form.windows.allow(options.window):
            self.document.wrong(
                (*place, "window"), f"{form.metric or report.name} {form.windows.value}"
            )
        if options.scope == "bots" and not workspace.has_bots:
            self.document.wrong((*place, "scope"), "there are no bots in this workspace")
        if options.name in _OWN_REPORTS:
            self.document.wrong((*place, "name"), f"is the name of {_OWN_REPORTS[options.name]}")
        if form.needs_bot and not workspace.has_bots:
            self.document.wrong(
                place, f"{report.name} is asked for one bot: give the workspace bots"
            )
        elif form.needs_bot and options.scope == "workspace":
            self.document.wrong((*place, "scope"), f"{report.name} is asked for one bot alone")
        if options.interval and options.interval < GUIDANCE and not workspace.allow_fast_polling:
            self.document.wrong((*place, "interval"), _TOO_FAST)
        long = options.window and options.window.longest > ADVISED_DAYS
        if (
            long
            and form.windows is not Windows.RANGES
            and getattr(options, "time_unit", "") != "month"
        ):
            relief = ", or time_unit: month" if "time_unit" in form.options else ""
            self.warnings.append(
                self.document.note(
                    (*place, "window"),
                    f"warning: the API advises at most {ADVISED_DAYS} days{relief}",
                )
            )
        return self.document.found == before

    def _apart(self, entry: Entry, others: Mapping[int, Entry], place: Place) -> None:
        """Record a mistake, and only one, if an entry cannot be told from earlier ones."""
        for index, other in others.items():
            if (entry.name, entry.window) == (other.name, other.window):
                self.document.wrong(
                    place, f"has the name and the window of metrics[{index}]: give one a name"
                )
            elif (
                entry.report is other.report
                and entry.scope == other.scope
                and entry.report.collides(entry.options, other.options, self.today)
            ):
                self.document.wrong(
                    place,
                    f"could write the same series as metrics[{index}]: ask for another window,"
                    " or for what the other does not",
                )


_STAND_INS: Final[Mapping[str | int, Any]] = {
    "name": "?",
    "api": "seachat",
    "api_key": "?",
    "api_key_file": None,
    "workspace_id": "x",
    "bots": [{"id": "x"}],
    "discover_bots": {},
    "allow_fast_polling": True,
}

_ABOUT_BOTS: Final = ("probes", "knowledge_base")
_OWN_REPORTS: Final = {
    bot_list.REPORT: "the list of bots",
    knowledge_base.REPORT: "the count of the knowledge base",
}
"""Values of the label `report` that no entry may have."""

_PERSONAL: Final = (
    "warning: looks like a telephone number or an e-mail address; it is shown as it stands"
)

_TOO_FAST: Final = (
    f"must be at least {show(GUIDANCE)}, the API's guidance, or set allow_fast_polling: true"
)

_TOO_MANY_MESSAGES: Final = (
    f"must be at least {show(GUIDANCE)}, as each probe costs a message, or set allow_fast_polling:"
    " true beside modules"
)


def _no_such_metric(metric: str, api: str, reports: Mapping[str, tuple[AnyReport, Form]]) -> str:
    able = [other.title for name, other in APIS.items() if name != api and metric in of_api(name)]
    if able:
        return f"{metric} is a metric of {', '.join(able)}, not of {APIS[api].title}"
    return f"must be one of {', '.join(reports)}{did_you_mean(metric, reports)}"
