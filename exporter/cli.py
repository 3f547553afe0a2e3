"""From the command line to the sub-command that it names, and back with an exit status."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

from exporter import logs
from exporter.errors import ConfigError, StartError
from exporter.flags import MENDABLE, parse


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the sub-command that the arguments name; its exit status."""
    try:
        invocation = parse(arguments, environment)
        logs.start(invocation.one("log.level"), invocation.one("log.format"))
        # The sub-command is the first to import anything heavy, and imports what it needs alone.
        command = import_module(f"exporter.commands.{invocation.command}")
        status: int = command.run(invocation)
    except (ConfigError, StartError) as error:
        print(error, file=sys.stderr)
        return MENDABLE
    except KeyboardInterrupt:
        return MENDABLE  # before there was anything to end cleanly
    return status
