"""How long the API asks to be left alone: the header Retry-After, or the same in the body. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

LONGEST: Final = 24 * 3600.0
"""Seconds; a longer wish is taken for this one."""

_FORMS: Final = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
"""The three forms of a date in HTTP; all are UTC, wherever the host is."""

_SECONDS: Final = re.compile(r"([0-9]+)(?:\.[0-9]+)?", re.ASCII)
"""Fractions are not HTTP, and yet some send them."""
_ONE: Final = re.compile(r"(?:\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,)?[^,]+", re.ASCII)
"""One of several values, which stand between commas; a date may have one of its own."""

_FAR_OFF: Final = timedelta(days=1)
"""By this much no clock differs from ours that is believed."""

_INSTANT: Final = 1e9
"""A number above is no length of time but an instant, in Unix time: some APIs confuse the two."""

_FAR: Final = 1e11
"""Later than any instant that is meant, and small enough for every reckoning."""


def seconds(header: str, date: str, answer: object, now: datetime) -> float | None:
    """The seconds that the API asks to wait, None if it does not say.

    Args:
        header: Retry-After, empty where there is none; of several with commas the largest counts.
        date: The answer's own Date, as its clock may differ from ours; empty where there is none.
        answer: The body as JSON, which counts where the header says nothing.
        now: The present.
    """
    at = _instant(date.strip())
    if at is None or abs(at - now) > _FAR_OFF:
        at = now
    wishes = [_wish(one.strip(), at) for one in _ONE.findall(header)]
    said = [wish for wish in wishes if wish is not None]
    return max(said) if said else _of_body(answer, at)


def _wish(asked: str, at: datetime) -> float | None:
    """What one value asks for: seconds, or an instant."""
    if found := _SECONDS.fullmatch(asked):
        whole = found[1].lstrip("0")
        more = bool(asked[found.end(1) :].strip(".0"))
        return _length(float(int(whole or "0") + more) if len(whole) < 20 else LONGEST, at)
    until = _instant(asked)
    return min(max((until - at).total_seconds(), 0.0), LONGEST) if until else None


def _length(number: float, at: datetime) -> float:
    """Seconds, where they may be meant as an instant."""
    return min(max(number - at.timestamp(), 0.0) if number > _INSTANT else number, LONGEST)


def _instant(text: str) -> datetime | None:
    if text.isascii():
        for form in _FORMS:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                continue
    return None


def _of_body(answer: object, at: datetime) -> float | None:
    wish = answer.get("retry_after") if isinstance(answer, dict) else None
    if isinstance(wish, str):
        return _wish(wish, at)
    if isinstance(wish, bool) or not isinstance(wish, int | float) or not wish >= 0:
        return None
    return _length(min(wish, _FAR), at)
