"""How long the API asks to be left alone: the header Retry-After, or the same in the body. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

LONGEST: Final = 24 * 3600.0
"""Seconds; a longer wish is taken for this one."""

_FORMS: Final = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
"""The three forms of a date in HTTP; all are UTC, wherever the host is."""

_SECONDS: Final = re.compile(r"[0-9]+", re.ASCII)


def seconds(header: str, date: str, answer: object, now: datetime) -> float | None:
    """The seconds that the API asks to wait, None if it does not say.

    Args:
        header: Retry-After, empty where there is none.
        date: The answer's own Date, as its clock may differ from ours; empty where there is none.
        answer: The body as JSON, which counts where the header says nothing.
        now: The present.
    """
    asked = header.strip()
    if _SECONDS.fullmatch(asked):
        return LONGEST if len(asked.lstrip("0")) > 5 else min(float(asked), LONGEST)
    until = _instant(asked)
    if until:
        wish = (until - (_instant(date.strip()) or now)).total_seconds()
        return min(max(wish, 0.0), LONGEST)
    return _of_body(answer)


def _instant(text: str) -> datetime | None:
    if text.isascii():
        for form in _FORMS:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                continue
    return None


def _of_body(answer: object) -> float | None:
    wish = answer.get("retry_after") if isinstance(answer, dict) else None
    if isinstance(wish, str) and _SECONDS.fullmatch(wish) and len(wish) <= 5:
        wish = int(wish)
    if isinstance(wish, bool) or not isinstance(wish, int | float):
        return None
    return float(wish) if 0 <= wish <= LONGEST else None
