"""What the sub-commands that read a configuration have in common."""

from datetime import UTC, datetime
from pathlib import Path

from exporter import logs
from exporter.commands.flags import DONE, Invocation
from exporter.commands.output import tell
from exporter.config import Config, load
from exporter.config.keys import orphaned
from exporter.config.load import ORPHANED
from exporter.config.show import shown_configuration
from exporter.errors import ConfigError, Mistake, StartError
from exporter.web.config import mistakes


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
    """Check the configuration, whatever it is for: what is right here starts."""
    configuration(invocation)
    return DONE


def rehearsed(config: Config) -> None:
    """Make all that is made of a configuration before the first request, and throw it away.

    Raises:
        StartError: With a line for each workspace that could not be polled.
    """
    from exporter.polling.workspace import rehearse  # noqa: PLC0415 - whoever only prints needs none of it

    wrong, made = [], []
    for workspace in config.workspaces:
        try:
            made.append(rehearse(workspace))  # each TLS context is made once while one has it
        except StartError as error:
            wrong.append(str(error))
    if wrong:
        raise StartError("\n".join(wrong))


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
        rehearsed(config)
        tell(shown_configuration(config))
        return None
    return config
