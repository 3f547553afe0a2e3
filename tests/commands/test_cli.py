import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from exporter.commands.cli import main
from exporter.commands.flags import CONFIGURATIONS, DONE, MENDABLE

NAME: Final = "SEASALT_EXPORTER_CONFIG_FILE"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run where nothing is configured, and give the signal back that `serve` listens to."""
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


def test_where_nothing_is_configured_it_says_how_to_begin(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main([], {}) == DONE

    told = capfd.readouterr()
    assert told.err == ""
    assert told.out.startswith("usage: seasalt-exporter")
    assert f"There is no configuration at {CONFIGURATIONS[0]}. To begin:" in told.out
    assert "seasalt-exporter demo\n" in told.out


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["serve"], {}),
        (["--config.file=config/seasalt.yml"], {}),
        ([], {NAME: "/nowhere/seasalt.yml"}),
        ([], {NAME: "config/seasalt.yml\nmore.yml"}),
        ([], {"SEASALT_EXPORTER_LOG_LEVEL": "warn"}),
    ],
    ids=["command", "flag", "another file", "several files", "another setting"],
)
def test_whoever_asks_for_anything_learns_that_the_configuration_is_missing(
    arguments: list[str], environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, environment) == MENDABLE

    told = capfd.readouterr()
    assert told.out == ""
    assert "seasalt.yml: cannot be read: No such file or directory" in told.err


def test_a_configuration_that_is_there_and_cannot_be_read_is_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Path("config").touch()  # a file where a folder should be

    assert main([], {}) == MENDABLE

    assert "cannot be read: Not a directory" in capfd.readouterr().err
