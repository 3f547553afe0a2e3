"""The JSON Schema of the configuration file, for editors: `python -m exporter.config.json_schema`."""

import json
from datetime import timedelta
from typing import Any

from pydantic import Field
from pydantic.json_schema import GenerateJsonSchema

from exporter.config.settings import Module, ModuleName, Settings, Workspace
from exporter.model.apis import APIS
from exporter.model.durations import show
from exporter.reports.catalogue import REPORTS, of_api


class _File(Settings):
    """The configuration of seasalt-exporter."""

    workspaces: tuple[Workspace, ...] = Field(description="Workspaces to poll.", min_length=1)
    modules: dict[ModuleName, Module] = Field(
        {},
        description="Probes by name. `probes` of a workspace or bot says where they are allowed.",
    )


class _Schema(GenerateJsonSchema):
    """Writes default durations the way the file does; pydantic writes `PT10M`."""

    def encode_default(self, dft: object) -> Any:  # noqa: ANN401 - as pydantic has it
        """The default as a plain value."""
        return show(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def schema() -> dict[str, Any]:
    """The schema as nested plain values, including the options of each report."""
    found = _File.model_json_schema(by_alias=False, schema_generator=_Schema)
    found["title"] = "seasalt-exporter"
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    words = sorted({metric for api in APIS for metric in of_api(api)})
    items: list[dict[str, Any]] = [{"enum": words}]
    for report in REPORTS:
        names = sorted({form.metric or report.name for form in report.apis.values()})
        options = report.options.model_json_schema(ref_template="#/$defs/{model}")
        options["properties"]["metric"] = {"enum": names}
        options["title"] = report.name
        found["$defs"][report.name] = options
        items.append({"$ref": f"#/$defs/{report.name}"})
    _allow_variables(found)
    metrics = found["$defs"]["Workspace"]["properties"]["metrics"]
    metrics["anyOf"][0]["items"] = {"anyOf": items}
    return found


def _allow_variables(node: object) -> None:
    """Allow `${NAME}` in every string with a pattern, because variables are expanded first."""
    if isinstance(node, dict):
        if isinstance(node.get("pattern"), str):
            node["pattern"] += r"|\$\{"
        for value in node.values():
            _allow_variables(value)
    elif isinstance(node, list):
        for value in node:
            _allow_variables(value)


def schema_text() -> str:
    """The schema as the text of config/schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
