"""What came of a probe, and how Prometheus sees it. Pure.

The page has no label that says which bot was probed. As with the blackbox exporter, Prometheus knows
whom it asks for, and the service discovery gives it the labels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from exporter.model.samples import Family, Sample
from exporter.model.targets import Target


class Phase(StrEnum):
    """A part of a probe."""

    WAIT = "wait"
    CONVERSATION = "conversation"
    ANSWER = "answer"


class Reason(StrEnum):
    """Why a probe did not succeed; a label value, so the set is closed."""

    WRONG_ANSWER = "wrong_answer"
    NO_ANSWER = "no_answer"
    HANDOVER = "handover"
    REFUSED = "refused"
    API_ERROR = "api_error"
    KEY_REJECTED = "key_rejected"
    HELD_BACK = "held_back"


MEANINGS: Final[Mapping[Reason, str]] = {
    Reason.WRONG_ANSWER: "the bot's answer does not match",
    Reason.NO_ANSWER: "the bot did not answer in time",
    Reason.HANDOVER: "the bot handed the conversation over to a person",
    Reason.REFUSED: "the API refused the request",
    Reason.API_ERROR: "the API could not be reached, failed, or answered something else",
    Reason.KEY_REJECTED: "the API rejected the key",
    Reason.HELD_BACK: "a limit, a pause, a missing key or a reload held the probe back",
}
"""Each reason in words."""

ABOUT_THE_BOT: Final = frozenset(Reason) - {Reason.KEY_REJECTED, Reason.HELD_BACK}
"""The reasons that count as failures of the bot."""

SUCCESS: Final = Family(
    "probe_success",
    "Whether the bot's answer matched; none if nothing is known about the bot.",
)
DURATION: Final = Family(
    "probe_duration_seconds", "How long the probe took, waiting for the rate limit included."
)
PHASE: Final = Family(
    "seasalt_probe_phase_duration_seconds",
    "How long each phase of the probe took: waiting for the rate limit, opening the conversation,"
    " and the bot's answer.",
    ("phase",),
)
MATCHES: Final = Family(
    "seasalt_probe_answer_matches",
    "Whether the answer matched the module's pattern; none without an answer.",
)
FAILURE: Final = Family(
    "seasalt_probe_failure",
    "Why the probe did not succeed; 1, and none if it did.",
    ("reason",),
)
FAILURES: Final = Family(
    "seasalt_probe_consecutive_failures",
    "Probes in a row that failed because of the bot, this one included; at most one an interval.",
)
TIMESTAMP: Final = Family(
    "seasalt_probe_timestamp_seconds",
    "When the probe began, in Unix time; its result is served again until the interval is over.",
)
FAMILIES: Final = (SUCCESS, DURATION, PHASE, MATCHES, FAILURE, FAILURES, TIMESTAMP)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one probe.

    Attributes:
        at: When it began.
        phases: The seconds of each phase that was reached.
        reason: Why it did not succeed; None if it did.
        matches: Whether the answer matched; None without an answer.
        detail: The exporter's own words about the reason, for people; no part of an answer.
        asked: Whether the question was sent, and so may have cost a message.
        retry: Whether nothing was done for the probe, so that it is tried again before the interval
            is over: it was held back, or there was no connection.
        failures: The probes in a row that failed because of the bot.
    """

    at: datetime
    phases: Mapping[Phase, float] = field(default_factory=dict)
    reason: Reason | None = None
    matches: bool | None = None
    detail: str = ""
    asked: bool = True
    retry: bool = False
    failures: int = 0

    @property
    def known(self) -> bool:
        """Whether the result says anything about the bot."""
        return self.reason is None or self.reason in ABOUT_THE_BOT

    @property
    def seconds(self) -> float:
        """How long the probe took."""
        return sum(self.phases.values())

    def samples(self) -> Iterator[Sample]:
        """The result as Prometheus sees it."""
        if self.known:
            yield SUCCESS.sample(self.reason is None)
        yield DURATION.sample(self.seconds)
        for phase, seconds in self.phases.items():
            yield PHASE.sample(seconds, phase)
        if self.matches is not None:
            yield MATCHES.sample(self.matches)
        if self.reason is not None:
            yield FAILURE.sample(1, self.reason)
        yield FAILURES.sample(self.failures)
        yield TIMESTAMP.sample(self.at.timestamp())


def page(result: Result) -> bytes:
    """The result in the text format."""
    lines = []
    found = list(result.samples())
    for family in FAMILIES:
        own = [sample for sample in found if sample.family is family]
        if own:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} gauge"]
        lines += [_line(sample) for sample in own]
    return "".join(f"{line}\n" for line in lines).encode()


def _line(sample: Sample) -> str:
    # Names and values of these labels are the exporter's own, so nothing needs to be escaped.
    pairs = zip(sample.family.labels, sample.labels, strict=True)
    labels = ",".join(f'{name}="{value}"' for name, value in pairs)
    value = float(sample.value)
    number = int(value) if value.is_integer() else value
    return f"{sample.family.name}{f'{{{labels}}}' if labels else ''} {number}"


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """A bot, and a module with which it may be probed.

    Attributes:
        bot: The bot as on `/metrics`, with the operator's labels.
        module: The name of the module.
    """

    bot: Target
    module: str


def discovery(targets: Iterable[ProbeTarget]) -> bytes:
    """The targets in the form of Prometheus' HTTP service discovery.

    The address names the bot, and is to be relabelled to the exporter's. Parameters of the request
    and labels of the series are there already.
    """
    found = [
        {
            "targets": [f"{one.bot.workspace}/{one.bot.bot_id}"],
            "labels": {
                "__param_workspace": one.bot.workspace,
                "__param_bot_id": one.bot.bot_id,
                "__param_module": one.module,
                "api": one.bot.api,
                "workspace": one.bot.workspace,
                "bot_id": one.bot.bot_id,
                "bot": one.bot.bot,
                "module": one.module,
                **dict(one.bot.labels),
            },
        }
        for one in targets
    ]
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()
