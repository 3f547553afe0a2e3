"""The Helm chart, rendered by Helm as a user would render it."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from e2e.programs import ROOT, missing

from support.processes import Ended, finished

CHART: Final = ROOT / "deploy" / "helm" / "seasalt-exporter"
CASES: Final = {path.stem.removesuffix("-values"): path for path in (CHART / "ci").glob("*.yaml")}
"""Files of values that the tests render, by name."""
RELEASE: Final = "chat"
NAMESPACE: Final = "analytics"

_LINK: Final = re.compile(r".*found symbolic link in path.*\n")

Object = Mapping[str, Any]


def helm() -> str:
    """The path of Helm: ours, or the machine's."""
    ours = ROOT / ".tools/helm/helm"
    found = str(ours) if os.access(ours, os.X_OK) else shutil.which("helm")
    return found or missing("no helm: tests/get-helm fetches it")


def ran(*arguments: str, values: object = None, environment: dict[str, str] | None = None) -> Ended:
    """What Helm does, with values on top of those in files; without what it says of the chart's links."""
    given = ("--values=-",) if values is not None else ()
    done = finished(
        [helm(), *arguments, *given], environment, stdin=yaml.safe_dump(values).encode()
    )
    return Ended(done.status, done.stdout, _LINK.sub("", done.stderr))


def rendered(case: str = "", values: object = None, chart: Path = CHART) -> list[Object]:
    """The objects of a release."""
    files = [f"--values={CASES[case]}"] if case else []
    done = ran("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", *files, values=values)
    assert done.status == 0, done.stderr
    # The dashboards are large, and the parser in C reads them ten times as fast.
    return [found for found in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if found]


def refused(values: object) -> str:
    """What Helm says of values that are mistaken."""
    done = ran("template", RELEASE, str(CHART), values=values)
    assert done.status != 0, "rendered what is mistaken"
    assert not done.stdout
    return done.stderr


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """The objects of some kinds."""
    return [found for found in objects if found["kind"] in kinds]


def only(objects: list[Object], kind: str) -> Object:
    """The one object of a kind."""
    (found,) = of_kind(objects, kind)
    return found


def workload(objects: list[Object]) -> Object:
    """The Deployment, or the StatefulSet of the shards."""
    (found,) = of_kind(objects, "Deployment", "StatefulSet")
    return found


def container(objects: list[Object]) -> Any:  # noqa: ANN401 - JSON
    """The exporter's container."""
    return workload(objects)["spec"]["template"]["spec"]["containers"][0]


def configuration(objects: list[Object]) -> str:
    """The exporter's configuration file."""
    (found,) = [
        one["data"]["seasalt.yml"]
        for one in of_kind(objects, "ConfigMap")
        if "seasalt.yml" in one.get("data", {})
    ]
    return str(found)


def groups(objects: list[Object]) -> Iterator[dict[str, Any]]:
    """The groups of rules."""
    for rule in of_kind(objects, "PrometheusRule"):
        yield from rule["spec"]["groups"]
