"""The oldest dependencies that pyproject.toml allows, as requirements that pip can install.

Each runtime dependency stands at its lower bound, and each tool of the tests at the version that
requirements-dev.lock names. What the runtime dependencies need themselves is left to pip.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_BOUND: Final = re.compile(r"([A-Za-z0-9._-]+)>=([0-9][0-9.]*)(?:,<[0-9][0-9.]*)?")
_LOCKED: Final = re.compile(
    r"^([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)([^\\\n]*)", re.MULTILINE
)


def bounds() -> dict[str, str]:
    """The lower bound of each runtime dependency, by name.

    Raises:
        ValueError: If a dependency has no lower bound.
    """
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lowest = {}
    for dependency in found["project"]["dependencies"]:
        bound = _BOUND.fullmatch(dependency)
        if bound is None:
            raise ValueError(f"{dependency}: must be NAME>=VERSION or NAME>=VERSION,<VERSION")
        lowest[bound[1]] = bound[2]
    return lowest


def locked(name: str) -> dict[str, str]:
    """The requirements of a lock file without their hashes, by name."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return {
        found[1]: f"{found[1]}=={found[2]}{found[3]}".strip() for found in _LOCKED.finditer(text)
    }


def requirements() -> Iterator[str]:
    """A line for each package."""
    users = locked("requirements.lock")
    for name, version in bounds().items():
        yield f"{name}=={version}"
    for name, line in locked("requirements-dev.lock").items():
        if name not in users:
            yield line


if __name__ == "__main__":
    print("\n".join(requirements()))
