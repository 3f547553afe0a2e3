"""How an API key may look, and where it is taken from each time it is needed."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from exporter import files
from exporter.errors import NoKey

LARGEST_KEY = 4096

_NAMED: Final = re.compile(r"env:\w+|%\w+%", re.ASCII)
"""How a variable is named elsewhere; no key looks so."""

_VARIABLE: Final = re.compile(r"\$(?:\{.*\}|\(.*\)|[A-Z_][A-Z0-9_]*)", re.ASCII)


def cleaned(text: str) -> str:
    """A key without the white space around it.

    Raises:
        ValueError: If it cannot be one; never repeats it.
    """
    key = text.strip().removeprefix("\ufeff")
    if not key:
        raise ValueError("must not be empty")
    if key.lower().startswith(("x-api-key", "bearer ", "authorization")):
        raise ValueError("must be the key alone, without the name of a header before it")
    if _NAMED.fullmatch(key):
        raise ValueError("must be the key itself, or ${NAME} for a variable of the environment")
    if len(key) > LARGEST_KEY or not all("!" <= character <= "~" for character in key):
        raise ValueError("must be ASCII letters, digits and signs, without white space in it")
    return key


def elsewhere(file: Path, folder: Path) -> str:
    """The hint for a file that is not beside the configuration, but where the exporter was started."""
    if file.is_relative_to(folder) and folder != Path():
        with suppress(OSError):
            if file.relative_to(folder).is_file():
                return "; it is looked for beside this file, not in the working directory"
    return ""


def orphaned(file: Path) -> bool:
    """Whether a file has no name any more: it was replaced, and a container still has the old one."""
    with suppress(OSError):
        return file.stat().st_nlink == 0
    return False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, given in the configuration or in a file of its own.

    Attributes:
        secret: As given; None where it is in a file.
        file: Looked at again for every request, so that a rotated key is taken up at once.
    """

    secret: SecretStr | None = None
    file: Path | None = None

    def read(self) -> str:
        """The key to send now; a file is waited for, so not on the event loop.

        Raises:
            NoKey: If its file cannot be read or holds no key.
        """
        try:
            return self.check()
        except ValueError as error:
            raise NoKey(f"the key file {error}") from None

    def check(self) -> str:
        """The key as it stands now.

        Raises:
            ValueError: If there is none; says why, never what.
        """
        if self.file is None:
            return cleaned(self.secret.get_secret_value() if self.secret else "")
        try:
            # In the largest, white space is around a key, and each of its signs may take two bytes.
            key = cleaned(files.read(self.file, LARGEST_KEY * 4).decode())
        except OSError as error:  # of looking for it, too: its folder may be closed to us
            raise ValueError(files.reason(error)) from None
        except UnicodeDecodeError:
            raise ValueError("must be a text file that holds the key alone") from None
        if _VARIABLE.fullmatch(key):
            raise ValueError("must hold the key itself: nobody expands a variable in a key file")
        return key
