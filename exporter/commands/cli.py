"""From the command line to the sub-command that it names, and back with an exit status."""

import gc
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from exporter import early_signals, logs
from exporter.commands.flags import BUG, MENDABLE, Invocation, parse
from exporter.errors import ConfigError, StartError

_NOT_STARTED: Final = "can't start new thread"
"""How Python says so; the log is the first to want one."""

_NO_THREAD: Final = (
    "no thread can be started here: the limit on processes (ulimit -u, the container's pids limit)"
    " is too low, or the container engine too old for this Python"
)

log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the sub-command that the arguments name; its exit status."""
    try:
        invocation = parse(arguments, environment)
        with logs.started(invocation.one("log.level"), invocation.one("log.format")):
            return _run(invocation)
    except (ConfigError, StartError) as error:
        logs.say(error)
        return MENDABLE
    except RuntimeError as error:
        if str(error) != _NOT_STARTED:
            raise
        logs.say(_NO_THREAD)
        return MENDABLE
    except KeyboardInterrupt:
        return MENDABLE  # before there was anything to end cleanly


def _module(invocation: Invocation) -> str:
    """Where the sub-command is; to check a configuration, nothing of it is needed."""
    checking = invocation.values.get("config.check") and invocation.one("config.check")
    return "configuration" if checking else invocation.command


def _run(invocation: Invocation) -> int:
    module = _module(invocation)
    if module != "serve":
        early_signals.usual()
    try:
        # The sub-command is the first to import anything heavy, and imports what it needs alone.
        # All of that stays: the garbage collector would but look at it, again and again.
        gc.disable()
        try:
            command = import_module(f"exporter.commands.{module}")
            gc.freeze()
        finally:
            gc.enable()
        status: int = command.run(invocation)
    except (ConfigError, StartError):
        raise
    except Exception as error:
        if isinstance(error, RuntimeError) and str(error) == _NOT_STARTED:
            raise
        if missing := _missing(error):
            raise StartError(missing) from None
        # The end, like any other bug's, but told as one line that holds no secret.
        log.critical("ended by a bug", exc_info=True)
        return BUG
    return status


def _missing(error: Exception) -> str:
    """What to install, if somebody else's package is not there or is another than we know."""
    module = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if module in {"", "exporter"}:
        return ""
    if module.removeprefix("_") in sys.stdlib_module_names:
        return f"this Python was built without its module {module}: install it whole"
    package = {"yaml": "pyyaml"}.get(module, module.replace("_", "-"))
    why = "is not installed" if isinstance(error, ModuleNotFoundError) else "is of an unfit version"
    return f"the Python package {package} {why}: install what requirements.lock says"
