"""The pause that the API requests, in the header Retry-After or in the body. Pure."""

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from exporter.upstream.retries import Uniform

LONGEST: Final = 24 * 3600.0
"""The longest pause in seconds; a longer request is shortened to it."""

_FORMS: Final = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
"""The three date formats of HTTP; all are UTC, whatever the host's time zone."""

_SECONDS: Final = re.compile(r"([0-9]+)(?:\.[0-9]+)?", re.ASCII)
"""Seconds; HTTP allows no fraction, but some servers send one."""
_ONE: Final = re.compile(r"(?:\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,)?[^,]+", re.ASCII)
"""One of several values separated by commas; a date may contain a comma of its own."""

_FAR_OFF: Final = timedelta(days=1)
"""A Date that differs from our clock by more than this is ignored."""

_INSTANT: Final = 1e9
"""A larger number is a Unix timestamp and no duration: some APIs confuse the two."""

_FAR: Final = 1e11
"""Later than any real timestamp, and small enough for every calculation."""


def seconds(header: str, date: str, answer: object, now: datetime) -> float | None:
    """The pause that the API requests, in seconds; None if it requests none.

    Args:
        header: The header Retry-After, empty without one. The longest of several values counts.
        date: The answer's header Date, empty without one. It replaces our clock, because the
            server's clock may differ.
        answer: The body as JSON. Its field `retry_after` counts if the header has no value.
        now: The present as an aware instant.
    """
    at = _instant(date.strip())
    if at is None or abs(at - now) > _FAR_OFF:
        at = now
    wishes = [_wish(one.strip(), at) for one in _ONE.findall(header)]
    said = [wish for wish in wishes if wish is not None]
    return max(said) if said else _of_body(answer, at)


def clock_ahead(date: str, now: datetime) -> float | None:
    """The seconds by which a server's clock is ahead of ours; None if its Date is no date.

    Args:
        date: The answer's header Date, of whole seconds and rounded down.
        now: The present as an aware instant.
    """
    at = _instant(date.strip())
    return None if at is None else (at - now).total_seconds()


def _wish(asked: str, at: datetime) -> float | None:
    """The seconds that one value requests, as a number or as a date; None if it is neither."""
    if found := _SECONDS.fullmatch(asked):
        whole = found[1].lstrip("0")
        more = bool(asked[found.end(1) :].strip(".0"))
        return _length(float(int(whole or "0") + more) if len(whole) < 20 else LONGEST, at)
    until = _instant(asked)
    return min(max((until - at).total_seconds(), 0.0), LONGEST) if until else None


def _length(number: float, at: datetime) -> float:
    """The seconds that a number means, as a duration or as a Unix timestamp."""
    return min(max(number - at.timestamp(), 0.0) if number > _INSTANT else number, LONGEST)


def _instant(text: str) -> datetime | None:
    if text.isascii():
        for form in _FORMS:
            with suppress(ValueError):
                return datetime.strptime(text, form).replace(tzinfo=UTC)
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
"""The pause after a refusal that requests none, in seconds: the first in a row, and the longest.

The longest stays below ten minutes, after which a failed report is polled again.
"""


@dataclass(slots=True)
class RequestedPause:
    """The current pause of a workspace; times are seconds on the monotonic clock.

    Attributes:
        until: When the pause ends.
        _uniform: The source of randomness.
    """

    until: float
    _uniform: Uniform
    _unsaid: float = _FIRST

    def park(self, at: float, wish: float | None) -> None:
        """Pause for as long as the API requests, plus a jitter of up to a tenth.

        If the API requests none, the length doubles with each such refusal in a row. No pause is
        longer than `LONGEST`, and none shortens the current one.

        Args:
            at: The present.
            wish: The requested pause in seconds; None if the API requested none.
        """
        if wish is None:
            wish, self._unsaid = self._unsaid, min(self._unsaid * 2, _LONGEST_UNSAID)
        length = min(wish + self._uniform(0.0, wish * _JITTER), LONGEST)
        self.until = max(self.until, at + length)

    def heed(self, until: float) -> None:
        """Extend the pause to the end of another one."""
        self.until = max(self.until, until)

    def succeeded(self) -> None:
        """Note a success, so that the next refusal counts as the first in a row."""
        self._unsaid = _FIRST

    def wait(self, at: float) -> float:
        """Seconds until a request may be sent; 0 if it may be sent now."""
        return max(0.0, self.until - at)
