"""How long the API asks to be left alone, and until when it is. Pure.

The API asks in the header Retry-After, or in the body.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.upstream.retries import Uniform

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


_JITTER: Final = 0.1
_FIRST: Final = 60.0
_LONGEST_UNSAID: Final = 540.0
"""Seconds after a refusal that names no time: the first of a row, and what they grow to.

Short of ten minutes, after which a failed report is asked for again.
"""


class RequestedPause:
    """When requests may be sent again.

    Args:
        until: On the monotonic clock, in seconds.
        uniform: The source of randomness.

    Attributes:
        until: As given, and as the API asked since.
    """

    def __init__(self, until: float, uniform: Uniform) -> None:
        self.until = until
        self._uniform = uniform
        self._unsaid = _FIRST

    def park(self, at: float, wish: float | None) -> None:
        """Send nothing for as long as the API asks, and up to a tenth longer: never less.

        Args:
            at: The present on the monotonic clock, in seconds.
            wish: The seconds that it asked for, None if it did not say.
        """
        if wish is None:
            wish, self._unsaid = self._unsaid, min(self._unsaid * 2, _LONGEST_UNSAID)
        length = min(wish + self._uniform(0.0, wish * _JITTER), LONGEST)
        self.until = max(self.until, at + length)

    def heed(self, until: float) -> None:
        """Send nothing before a time that another has been told."""
        self.until = max(self.until, until)

    def succeeded(self) -> None:
        """Note that the API answers: the next refusal is the first of a row."""
        self._unsaid = _FIRST

    def wait(self, at: float) -> float:
        """Seconds until a request may be sent, 0 if now."""
        return max(0.0, self.until - at)
