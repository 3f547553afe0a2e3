"""Requests that have failed, without anybody having sent them."""

from exporter.errors import Outcome, RequestFailed


def failed(
    text: str = "HTTP 500", outcome: Outcome = Outcome.SERVER_ERROR, seconds: float = 1.0
) -> RequestFailed:
    """A request that has failed after some seconds."""
    error = RequestFailed(outcome, text)
    error.seconds = seconds
    return error
