"""Which build of the exporter this is, as `--version` and `seasalt_exporter_build_info` tell it."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from exporter import __version__

_BUILT_IN: Final = Path(__file__).with_name("revision")  # written by hatch_build.py
_LONGEST: Final = 100


def revision(environment: Mapping[str, str]) -> str:
    """The commit that this is built from; empty if unknown, as in a checkout.

    SEASALT_EXPORTER_REVISION, which the image sets, precedes what is built into the package.
    """
    if given := environment.get("SEASALT_EXPORTER_REVISION", ""):
        return given
    with suppress(OSError, UnicodeDecodeError), _BUILT_IN.open(encoding="ascii") as file:
        return file.read(_LONGEST).strip()
    return ""


def described(environment: Mapping[str, str]) -> str:
    """Version, revision and Python in one line."""
    found = revision(environment)
    built = f"revision {found}, " if found else ""
    return f"seasalt-exporter {__version__} ({built}Python {platform.python_version()})"
