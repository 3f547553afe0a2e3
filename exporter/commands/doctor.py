"""doctor: asks the API what its documents leave open, and checks the configuration against it."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from exporter.commands.configuration import configuration, now
from exporter.commands.flags import DONE, MENDABLE, Invocation
from exporter.commands.output import tell
from exporter.config import Config
from exporter.doctor.examination import Examination, examined
from exporter.doctor.findings import ASKED, NOTHING_TO_DO, Verdict
from exporter.upstream.shared_keys import SharedKeys

VERSION: Final = 1
"""The version of the JSON: a new one if a field is removed or changes its meaning."""

_SIGN: Final = max(map(len, Verdict))
_ASKED: Final = max(map(len, ASKED.values()))


def run(invocation: Invocation) -> int:
    """Examine every workspace; status 1 if a finding has to be mended."""
    config = configuration(invocation)
    if config is None:
        return DONE
    found = asyncio.run(_examined(config))
    if invocation.one("json"):
        tell(json.dumps(as_json(found), indent=2, ensure_ascii=False) + "\n")
    else:
        tell("\n".join(text(one) for one in found))
    mend = any(finding.verdict is Verdict.MEND for one in found for finding in one.findings)
    return MENDABLE if mend else DONE


async def _examined(config: Config) -> list[Examination]:
    shared_keys = SharedKeys(secrets.token_bytes(32))
    return await asyncio.gather(
        *(examined(workspace, now, shared_keys=shared_keys) for workspace in config.workspaces)
    )


def text(one: Examination) -> str:
    """A workspace's findings as a table for people."""
    return "".join(f"{line}\n" for line in _lines(one))


def _lines(one: Examination) -> Iterator[str]:
    workspace = one.workspace
    title = f"{workspace.dialect.title}, {workspace.timezone}"
    sent = "1 request" if one.sent == 1 else f"{one.sent} requests"
    yield f"workspace {workspace.name} ({title}): {sent} in {one.seconds:.0f} s"
    indent = " " * (2 + _SIGN + 2 + _ASKED + 2)
    for finding in one.findings:
        asked = ASKED[finding.question]
        yield f"  {finding.verdict:<{_SIGN}}  {asked:<{_ASKED}}  {finding.found}"
        if finding.setting != NOTHING_TO_DO:
            yield f"{indent}-> {finding.setting}"
    number = Counter(finding.verdict for finding in one.findings)
    yield "  " + ", ".join(f"{number[verdict]} {verdict}" for verdict in Verdict)


def as_json(found: Iterable[Examination]) -> dict[str, object]:
    """All findings, for machines."""
    return {
        "version": VERSION,
        "workspaces": [
            {
                "workspace": one.workspace.name,
                "api": one.workspace.api,
                "requests": one.sent,
                "seconds": round(one.seconds, 3),
                "findings": [
                    {
                        "question": finding.question,
                        "asked": ASKED[finding.question],
                        "verdict": finding.verdict,
                        "answer": finding.answer,
                        "found": finding.found,
                        "setting": finding.setting,
                    }
                    for finding in one.findings
                ],
                "asked": [
                    {
                        "about": timed.about,
                        "metrics": timed.metrics,
                        "outcome": timed.outcome,
                        "seconds": round(timed.seconds, 3),
                    }
                    for timed in one.timed
                ],
            }
            for one in found
        ],
    }
