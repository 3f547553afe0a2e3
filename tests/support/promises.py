"""What a script that tests real parts prints: a line for each promise that holds, and what it could not test."""

import os
import sys

_lacking: list[str] = []


def holds(sentence: str) -> None:
    """Say that a promise holds."""
    print(f"ok      {sentence}", flush=True)


def lacks(what: str) -> None:
    """Say that something cannot be tested here."""
    _lacking.append(what)
    print(f"NOT TESTED: {what}", file=sys.stderr, flush=True)


def concluded(script: str) -> int:
    """Name once more what was not tested; the script's exit status."""
    for what in _lacking:
        print(f"{script}: NOT TESTED: {what}", file=sys.stderr)
    return int(bool(_lacking) and os.environ.get("CI", "").lower() in {"1", "true"})
