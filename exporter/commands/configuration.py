"""Reading and checking the configuration, for all sub-commands that need it."""

from datetime import UTC, datetime
from pathlib import Path

from exporter import logs
from exporter.commands.flags import DONE, SHARDED, Invocation
from exporter.commands.output import tell
from exporter.config import Config, load
from exporter.config.api_keys import orphaned
from exporter.config.show import shown_configuration
from exporter.config.validation import ORPHANED
from exporter.errors import ConfigError, Mistake, StartError
from exporter.model.shards import Shard
from exporter.web import web_config


def now() -> datetime:
    """The current time, aware; the only place where the process reads the wall clock."""
    return datetime.now(UTC)


def read(invocation: Invocation) -> Config:
    """The configuration that the files contain now, as the shard of the command line polls it.

    Raises:
        ConfigError: With every mistake.
        StartError: If a limit is too low for so many shards.
    """
    found = load(invocation.values["config.file"], invocation.environment, now().date())
    # An environment variable reaches every command, but the others are about all targets.
    shards = invocation.command in SHARDED
    return found.of_shard(Shard.parsed(invocation.one("shard"))) if shards else found


def run(invocation: Invocation) -> int:
    """Check the configuration, whatever the sub-command; one that passes also starts."""
    configuration(invocation)
    return DONE


def rehearsed(config: Config) -> None:
    """Create everything that polling needs before the first request, and discard it.

    Raises:
        StartError: With a line for each workspace that could not be polled.
    """
    from exporter.polling.workspace import rehearse  # noqa: PLC0415 - slow to import

    wrong, made = [], []
    for workspace in config.workspaces:
        try:
            made.append(rehearse(workspace))  # clients share equal TLS contexts while one is alive
        except StartError as error:
            wrong.append(str(error))
    if wrong:
        raise StartError("\n".join(wrong))


def configuration(invocation: Invocation) -> Config | None:
    """The configuration in force; None after printing it for `--config.check`.

    Raises:
        ConfigError: With every mistake.
        StartError: If a limit is too low for the shards, or with `--config.check`, if a workspace
            could not be polled.
    """
    web, config, mistakes = invocation.one("web.config.file"), None, list[Mistake]()
    try:
        if web:
            web_config.load(web, invocation.environment)
    except ConfigError as error:
        mistakes += error.mistakes
    try:
        config = read(invocation)
    except ConfigError as error:
        mistakes += error.mistakes
    if config is None or mistakes:
        raise ConfigError(mistakes)
    if web and orphaned(Path(web)):
        logs.say(Mistake(web, 0, "", ORPHANED))
    for warning in config.warnings:
        logs.say(warning)
    if invocation.one("config.check"):
        rehearsed(config)
        tell(shown_configuration(config))
        return None
    return config
