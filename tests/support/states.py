"""A state such as a process really leaves."""

from datetime import timedelta
from functools import cache
from gzip import decompress

from exporter.state.encoding import State
from support.api import FakeApi
from support.polled import Polled
from support.virtual import World
from support.workspaces import workspace


@cache
def real() -> State:
    """The state of a workspace that was polled for an hour."""
    world = World()
    run = Polled(workspace(bots=2, labels={"team": "süd"}), world, FakeApi(world.now))
    run.lasts(timedelta(hours=1))
    return State((run.poller.memory,), run.store.generation())


def unpacked(content: bytes) -> bytes:
    """What a state file says, without its first line."""
    return decompress(content.partition(b"\n")[2])
