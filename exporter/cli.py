"""From the command line to the sub-command that it names, and back with an exit status."""

import sys
from collections.abc import Mapping, Sequence

from exporter import logs
from exporter.errors import ConfigError, StartError
from exporter.flags import MENDABLE, Invocation, parse


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the sub-command that the arguments name; its exit status."""
    try:
        invocation = parse(arguments, environment)
        logs.start(invocation.one("log.level"), invocation.one("log.format"))
        return _run(invocation)
    except (ConfigError, StartError) as error:
        print(error, file=sys.stderr)
        return MENDABLE


def _run(invocation: Invocation) -> int:
    """Hand over to the sub-command, which is the first to import anything heavy."""
    # ruff: noqa: PLC0415 - that is the point of it
    match invocation.command:
        case "docs":
            from exporter.commands import docs

            return docs.run()
        case "plan":
            from exporter.commands import plan

            return plan.run(invocation)
        case "once":
            from exporter.commands import once

            return once.run(invocation)
        case "sandbox":
            from exporter.commands import sandbox

            return sandbox.run(invocation)
        case "demo":
            from exporter.commands import demo

            return demo.run(invocation)
        case _:
            from exporter.commands import serve

            return serve.run(invocation)
