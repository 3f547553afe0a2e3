"""Runs the sub-command that the command line names, and turns its result into an exit status."""

import gc
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from exporter import logs, startup_signals
from exporter.commands.flags import (
    BUG,
    CONFIGURATIONS,
    DONE,
    MENDABLE,
    Invocation,
    help_text,
    parse,
)
from exporter.commands.output import tell
from exporter.errors import ConfigError, StartError

_NOT_STARTED: Final = "can't start new thread"
"""Python's message if it cannot start a thread; the log is the first to need one."""

_NO_THREAD: Final = (
    "no thread can be started here: the limit on processes (ulimit -u, the container's pids limit)"
    " is too low, or the container engine too old for this Python"
)

_BEGIN: Final = """
There is no configuration at {file}. To begin:

  with made-up data, no account needed
    seasalt-exporter demo
    docker run --rm -p 127.0.0.1:9877:9877 IMAGE demo --web.listen-address=:9877

  with your account: write config/{name} as docs/install.md shows
    seasalt-exporter --config.file=config/{name}
    docker run -p 127.0.0.1:9877:9877 -e SEACHAT_API_KEY -v "$PWD/config:{folder}:ro" IMAGE serve
"""

log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the sub-command that the arguments name, and return its exit status."""
    try:
        invocation = parse(arguments, environment)
        if not arguments and (file := _unconfigured(invocation)):
            in_image = Path(CONFIGURATIONS[1])
            text = _BEGIN.format(file=file, name=in_image.name, folder=in_image.parent)
            tell(help_text(environment) + text)
            return DONE
        with logs.started(invocation.one("log.level"), invocation.one("log.format")):
            return _run(invocation)
    except (ConfigError, StartError) as error:
        logs.say(error)
    except RuntimeError as error:
        if not (missing := _missing(error)):
            raise
        logs.say(missing)
    except KeyboardInterrupt:
        pass  # before there was anything to shut down
    return MENDABLE


def _unconfigured(invocation: Invocation) -> str:
    """The file that is not there where nothing at all has been configured; empty otherwise.

    Whoever names a file or sets a flag wants to serve, and has to learn that it failed.
    """
    file, *more = invocation.values["config.file"]
    if more or invocation.given - {"config.file"} or file not in CONFIGURATIONS:
        return ""
    try:
        Path(file).stat()
    except FileNotFoundError:
        return file
    except OSError:
        pass  # the usual error says why it cannot be read
    return ""


def _run(invocation: Invocation) -> int:
    # A check of the configuration needs no other module, whatever the sub-command.
    module = "configuration" if invocation.one("config.check") else invocation.command
    if module != "serve":
        startup_signals.usual()
    try:
        # Only the sub-command's module imports heavy libraries, and only those that it needs. All
        # of these objects stay alive, so the garbage collector need not scan them again and again.
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
        if missing := _missing(error):
            raise StartError(missing) from None
        # A bug. Log it as one line without secrets instead of printing a traceback.
        log.critical("exiting because of a bug", exc_info=True)
        return BUG
    return status


def _missing(error: Exception) -> str:
    """What to do if a thread or a fit third-party package cannot be had; empty for a bug."""
    if isinstance(error, RuntimeError) and str(error) == _NOT_STARTED:
        return _NO_THREAD
    module = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if module in {"", "exporter"}:
        return ""
    if module.removeprefix("_") in sys.stdlib_module_names:
        return f"this Python was built without its module {module}: install it whole"
    package = {"yaml": "pyyaml"}.get(module, module.replace("_", "-"))
    why = "is not installed" if isinstance(error, ModuleNotFoundError) else "is of an unfit version"
    return f"the Python package {package} {why}: install what requirements.lock says"
