"""What holds for every test: no haste, zones of our own, and nothing that is left behind."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import leftovers, zones

from exporter.sandbox import Sandbox

# How long an example takes says how busy the machine is, and nothing of what we promise.
settings.register_profile(
    "any-machine",
    settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any-machine")

# `nohup` switches it off for all that it starts, and so for what the tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first; the last to begin would be waited for alone."""
    items.sort(key=lambda item: item.get_closest_marker("takes_minutes") is None)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A test that leaves something in its process for the next one fails itself."""
    before = leftovers.look()
    yield
    if found := leftovers.since(before):
        pytest.fail("\n".join(found), pytrace=False)


@pytest.fixture(scope="session")
def _zone_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoneinfo")
    zones.write(folder)
    return folder


@pytest.fixture
def _our_zones(_zone_files: Path) -> Iterator[None]:
    """The rules of `support.zones` hold, whatever the machine knows of these zones."""
    with zones.ours(_zone_files):
        yield


@pytest.fixture
def make_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Makes sandboxes, as `Sandbox.make` does, that are closed after the test."""
    with ExitStack() as stack:
        yield lambda **given: stack.enter_context(closing(Sandbox.make(**given)))
