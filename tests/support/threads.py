"""Where something is worked out: on the event loop, or beside it."""

import threading

import pytest

from exporter.config import Bot, Workspace
from exporter.polling.workload import Workload


def made_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each workload that is made from now on was made in the main thread, as it comes."""
    found: list[bool] = []
    made = Workload.of

    def seen(workspace: Workspace, bots: tuple[Bot, ...]) -> Workload:
        found.append(threading.current_thread() is threading.main_thread())
        return made(workspace, bots)

    monkeypatch.setattr(Workload, "of", seen)
    return found
