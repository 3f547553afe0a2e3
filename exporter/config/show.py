"""The configuration in force as text, without its secrets."""

from typing import Any, Final

import yaml

from exporter.config.settings import Workspace
from exporter.config.validation import Config
from exporter.model.durations import show as show_duration
from exporter.model.entry import Entry

SECRET: Final = "<secret>"  # noqa: S105 - the mask itself


def shown_configuration(config: Config) -> str:
    """The configuration as YAML, with all defaults filled in and all secrets masked."""
    shown: dict[str, Any] = {
        "workspaces": [_workspace(workspace) for workspace in config.workspaces]
    }
    if config.modules:
        shown["modules"] = {
            name: module.model_dump(mode="json") for name, module in config.modules.items()
        }
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True)


def _workspace(workspace: Workspace) -> dict[str, Any]:
    shown = workspace.model_dump(mode="json", exclude={"metrics"}, exclude_none=True)
    secrets = {name for name in type(workspace).model_fields if name.endswith("api_key")}
    shown.update(dict.fromkeys(secrets & shown.keys(), SECRET))
    if "proxy_url" in shown["http"]:
        shown["http"]["proxy_url"] = SECRET
    return shown | {
        "base_url": workspace.base_url or workspace.dialect.base_url,
        "path": workspace.path or workspace.dialect.path,
        "metrics": [_entry(entry) for entry in workspace.entries],
    }


def _entry(entry: Entry) -> dict[str, Any]:
    options = entry.options.model_dump(mode="json", exclude_none=True)
    foreign = entry.report.foreign(entry.form)
    return {
        name: value for name, value in options.items() if name not in foreign and name != "window"
    } | {
        **({"window": entry.window} if entry.window else {}),
        "name": entry.name,
        "interval": show_duration(entry.interval),
        "scope": entry.scope,
    }
