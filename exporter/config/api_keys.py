"""API keys: their format, and reading them from the configuration or from a file."""

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
"""Variable syntax of other programs; no key looks like this."""

_VARIABLE: Final = re.compile(r"\$(?:\{.*\}|\(.*\)|[A-Z_][A-Z0-9_]*)", re.ASCII)


def cleaned(text: str) -> str:
    """The key without surrounding white space.

    Raises:
        ValueError: If it cannot be a key; the message never contains it.
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
    """A hint if the file exists in the working directory instead of the configuration's."""
    if file.is_relative_to(folder) and folder != Path():
        with suppress(OSError):
            if file.relative_to(folder).is_file():
                return "; it is looked for beside this file, not in the working directory"
    return ""


def orphaned(file: Path) -> bool:
    """Whether a file is unlinked: it was replaced, but a container still mounts the old one."""
    with suppress(OSError):
        return file.stat().st_nlink == 0
    return False


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key from the configuration or from a file of its own.

    Attributes:
        secret: The key from the configuration; None if it is in a file.
        file: The key file; it is read again for every request, so that a rotated key is used at
            once.
    """

    secret: SecretStr | None = None
    file: Path | None = None

    def read(self) -> str:
        """The key to send now. Reading the file may block, so do not call it on the event loop.

        Raises:
            NoKey: If the file cannot be read or holds no key.
        """
        try:
            return self.check()
        except ValueError as error:
            raise NoKey(f"the key file {error}") from None

    def check(self) -> str:
        """The current key.

        Raises:
            ValueError: If there is no valid key; the message says why, without the content.
        """
        if self.file is None:
            return cleaned(self.secret.get_secret_value() if self.secret else "")
        try:
            # Leave room for surrounding white space and for multi-byte characters.
            key = cleaned(files.read(self.file, LARGEST_KEY * 4).decode())
        except OSError as error:  # also if the folder is not accessible
            raise ValueError(files.reason(error)) from None
        except UnicodeDecodeError:
            raise ValueError("must be a text file that holds the key alone") from None
        if _VARIABLE.fullmatch(key):
            raise ValueError("must hold the key itself: nobody expands a variable in a key file")
        return key
