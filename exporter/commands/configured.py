"""What the sub-commands that read a configuration have in common."""

from datetime import UTC, datetime
from pathlib import Path

from exporter import logs
from exporter.config import Config, load
from exporter.config.keys import orphaned
from exporter.config.load import ORPHANED
from exporter.config.show import text
from exporter.errors import ConfigError, Mistake
from exporter.flags import DONE, Invocation
from exporter.printing import tell
from exporter.web_config import mistakes


def now() -> datetime:
    """The present, aware; the one place where the process asks the wall clock for it."""
    return datetime.now(UTC)


def read(invocation: Invocation) -> Config:
    """What the files hold now.

    Raises:
        ConfigError: With every mistake.
    """
    return load(invocation.values["config.file"], invocation.environment, now().date())


def run(invocation: Invocation) -> int:
    """Check the configuration, whatever it is for."""
    configuration(invocation)
    return DONE


def configuration(invocation: Invocation) -> Config | None:
    """The configuration in force; None where the operator only wanted to see it, which is done.

    Raises:
        ConfigError: With every mistake.
    """
    wrong = mistakes(invocation.one("web.config.file"), invocation.environment)
    try:
        config = read(invocation)
    except ConfigError as error:
        raise ConfigError((*error.mistakes, *wrong)) from None
    if wrong:
        raise ConfigError(wrong)
    web = invocation.one("web.config.file")
    if web and orphaned(Path(web)):
        logs.say(Mistake(web, 0, "", ORPHANED))
    for warning in config.warnings:
        logs.say(warning)
    if invocation.one("config.check"):
        tell(text(config))
        return None
    return config
