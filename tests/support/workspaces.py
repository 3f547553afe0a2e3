"""Workspaces as a configuration file makes them, without the file."""

import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from exporter.config import Workspace, load

TODAY = date(2026, 11, 21)
KEY = "sk-canary-0123456789abcdef"


def workspace(
    metrics: object = None,
    *,
    bots: int | list[Any] = 0,
    **others: Any,  # noqa: ANN401 - any key of the file
) -> Workspace:
    """One workspace called acme.

    Args:
        metrics: Its `metrics`, None for the default ones.
        bots: How many bots it has, b0, b1 …, or its `bots`.
        others: Any other key of the file; `modules` is one of its top.
    """
    top = {key: others.pop(key) for key in ("modules",) if key in others}
    one: dict[str, Any] = {"name": "acme", "api": "seachat", "api_key": KEY, **others}
    if metrics is not None:
        one["metrics"] = metrics
    if isinstance(bots, int):
        bots = [{"id": f"b{number}", "name": f"Bot {number}"} for number in range(bots)]
    if bots:
        one["bots"] = bots
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "seasalt.yml")
        file.write_text(yaml.safe_dump({"workspaces": [one], **top}), encoding="utf-8")
        return load([str(file)], {}, TODAY).workspaces[0]
