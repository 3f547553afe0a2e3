"""What the sub-commands that read a configuration have in common."""

from datetime import UTC, datetime

from exporter import logs
from exporter.config import Config, load
from exporter.config.show import text
from exporter.flags import Invocation


def now() -> datetime:
    """The present, aware; the one place where the process asks the wall clock for it."""
    return datetime.now(UTC)


def configuration(invocation: Invocation) -> Config | None:
    """The configuration in force; None where the operator only wanted to see it, which is done.

    Raises:
        ConfigError: With every mistake.
    """
    config = load(invocation.values["config.file"], invocation.environment, now().date())
    for warning in config.warnings:
        logs.say(warning)
    if invocation.one("config.check"):
        print(text(config), end="")
        return None
    return config
