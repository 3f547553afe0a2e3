"""Writes the revision that is built into the wheel and the sdist, so that --version can tell it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "exporter/revision"


class RevisionHook(BuildHookInterface[Any]):
    """Adds `exporter/revision`, unless the revision is unknown; an sdist has it for the wheel."""

    _folder = ""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file to what is built, but not to an editable installation: that moves on."""
        root = Path(self.root)
        if version == "editable" or (root / NAME).exists() or not (found := revision(root)):
            return
        self._folder = tempfile.mkdtemp()
        file = Path(self._folder, "revision")
        file.write_text(f"{found}\n", encoding="ascii")
        build_data["force_include"][str(file)] = NAME

    def finalize(self, *_: object) -> None:
        """Remove the temporary folder."""
        if self._folder:
            shutil.rmtree(self._folder)


def revision(root: Path) -> str:
    """The commit, with `-dirty` if files differ from it; empty if that cannot be known."""
    if given := os.environ.get("SEASALT_EXPORTER_REVISION"):
        return given
    if not (root / ".git").exists():  # git would look further up
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603 - our own words
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()
