"""Looks for secrets and personal data in whatever comes out of the exporter. Pure.

A secret is found in any common spelling of it, and in any part of ten characters.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

LEAST: Final = 10
"""Characters of a secret that are one."""


def spellings(secret: str) -> set[str]:
    """The ways in which a text goes through logs and files."""
    raw = secret.encode()
    found = {secret, secret.lower(), secret.upper(), secret[::-1]}
    found |= {quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    found |= {raw.hex(), raw.hex().upper(), raw.hex(" ")}
    # What comes before a secret moves its base64 by up to two bytes; the edges depend on it.
    for shift in range(3):
        moved = base64.b64encode(bytes(shift) + raw).decode()
        inner = moved[4 if shift else 0 : -4]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return found


class Scanner:
    """Knows some secrets.

    Args:
        secrets: What must not be found.
        known: Texts that may stand anywhere, although parts of a secret look like them.
    """

    def __init__(self, secrets: Iterable[str], known: Iterable[str] = ()) -> None:
        harmless = {part for text in known for part in _parts(text)}
        self._parts = {
            part for secret in secrets for text in spellings(secret) for part in _parts(text)
        } - harmless

    def hits(self, text: str) -> list[str]:
        """The parts of secrets that a text holds, each once."""
        parts = self._parts
        ends = range(LEAST, len(text) + 1)
        return sorted({text[end - LEAST : end] for end in ends} & parts)


def _parts(text: str) -> Iterator[str]:
    return (text[at : at + LEAST] for at in range(len(text) - LEAST + 1))
