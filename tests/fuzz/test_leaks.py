"""Canaries in every text and key of every reply: none comes out where it has no business to be.

The way is the real one, from the client to the served page, with logging as `--log.level=debug`
sets it up; the API alone is a stand-in, which repeats the request's own headers too.
"""

import asyncio
import base64
import json
import logging
import random
import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from support.api import in_pieces
from support.entries import DATA, KNOWN, Documented
from support.fuzz import times
from support.virtual import World
from support.workspaces import KEY, workspace

from exporter import __version__, logs
from exporter.config import Workspace, load
from exporter.errors import ConfigError
from exporter.metrics.exposition import rendered
from exporter.metrics.snapshot_refresh import SnapshotRefresher
from exporter.metrics.store import Store
from exporter.metrics.telemetry import Telemetry
from exporter.polling.poller import Failure
from exporter.polling.status import Status
from exporter.polling.workspace import WorkspacePoller
from exporter.web.status_page import page
from exporter.web.status_view import Links, View

SHOWN_KEYS: Final = frozenset({"name", "id"})
"""Fields whose values may be labels: of labels, of channels, of bots."""

SHOWN_MAPS: Final = {"channel_summary"}
"""Objects whose keys may be labels."""

BOTS: Final[dict[str, Any]] = {
    "data": [
        {
            "id": "b1",
            "workspace_id": "w",
            "name": "Support",
            "description": "for everybody",
            "use_case": "FAQ",
            "default_response_language": "en-US",
            "model_config": {"model": "gpt"},
        }
    ],
    "total": 1,
}
LIST_SHOWN: Final = frozenset({"name", "use_case", "default_response_language"})


@dataclass
class Canaries:
    """Tokens put into a reply.

    Attributes:
        dice: Chooses.
        plain: Tokens of letters that may be a label's value somewhere.
        banned: Those that may be nowhere.
    """

    dice: random.Random
    plain: list[str] = field(default_factory=list)
    banned: list[str] = field(default_factory=list)

    def token(self, *, shown: bool) -> str:
        """A new one: a word, a telephone number or an address."""
        unique = f"{self.dice.getrandbits(64):016x}"
        kind = self.dice.randrange(3)
        if kind == 0:
            made = f"CNRY{unique}"
        elif kind == 1:
            made = f"+1999{int(unique, 16) % 10**10:010}"
        else:
            made = f"c{unique}@{unique}.invalid"
        (self.plain if shown and kind == 0 else self.banned).append(made)
        return made

    def planted(
        self,
        value: Any,  # noqa: ANN401 - JSON
        share: float,
        shown: frozenset[str],
        within: tuple[str, ...] = (),
    ) -> Any:  # noqa: ANN401 - JSON
        """A JSON value with tokens in place of a share of its texts and keys, and beside them."""
        if isinstance(value, dict):
            made: dict[str, Any] = {}
            for key, inner in value.items():
                if value is BOTS["data"][0] and key == "id":  # what the bot is asked for by
                    made[key] = inner
                    continue
                is_label = bool(within) and within[-1] in SHOWN_MAPS
                if self.dice.random() < share / 4:
                    made[self.token(shown=is_label)] = inner
                else:
                    made[key] = self.planted(inner, share, shown, (*within, key))
            if self.dice.random() < share / 4 and not (within and within[-1] in SHOWN_MAPS):
                made[self.token(shown=False)] = self.token(shown=False)
            return made
        if isinstance(value, list):
            return [self.planted(one, share, shown, within) for one in value]
        if isinstance(value, str) and self.dice.random() < share:
            return self.token(shown=bool(within) and within[-1] in shown)
        if self.dice.random() < share / 20:
            return self.token(shown=bool(within) and within[-1] in shown)  # in place of a number
        return value


def forms(token: str) -> Iterator[str]:
    """A token as it is and as it may be written somewhere, in lower case."""
    raw = token.encode()
    yield from (quote(token, safe=""), json.dumps(token)[1:-1], raw.hex())
    yield base64.b64encode(raw).decode()[:-4]
    yield from (token[start : start + 10] for start in range(len(token) - 9))


def hits(outputs: Iterable[str], tokens: Iterable[str]) -> list[str]:
    """The tokens that are in any output, in any form."""
    seen = "\n".join(outputs).lower()
    return [token for token in tokens if any(form.lower() in seen for form in forms(token))]


# Where values come out


@contextmanager
def logging_all() -> Iterator[StringIO]:
    """Everything that is logged from here on, as `--log.level=debug` would have it."""
    stream, root, own = StringIO(), logging.getLogger(), logging.getLogger("exporter")
    handler, level = logging.StreamHandler(stream), own.level
    handler.setFormatter(logs.Formatter("json"))  # every line, at no walk
    root.addHandler(handler)
    own.setLevel(logging.DEBUG)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        own.setLevel(level)


@dataclass
class Api:
    """Answers with whatever it is told to, now and then with the request's own headers within.

    Not always: an answer that holds the key is refused, and nothing of it read.

    Attributes:
        reply: The next answer.
        status: Its status.
        listing: What the list of bots is answered with.
    """

    reply: object = None
    status: int = 200
    listing: object = None
    asked: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        answer = self.listing if request.method == "GET" else self.reply
        self.asked += 1
        if isinstance(answer, dict) and (self.status != 200 or self.asked % 4 == 0):
            answer = {**answer, "headers": dict(request.headers)}
        echo = {"x-echo": request.headers.get("x-api-key", "")}
        return httpx.Response(self.status, content=in_pieces(answer), headers=echo)


def outputs(
    store: Store,
    telemetry: Telemetry,
    poller: WorkspacePoller,
    world: World,
    failures: Iterable[Failure],
) -> Iterator[str]:
    """Everything that a person or a scraper could see of what happened."""
    now = world.now()
    yield rendered(store, now)
    pages = SnapshotRefresher(store, telemetry, world.now)
    yield from (piece.decode() for piece in pages.snapshot.page.text())
    for openmetrics in (False, True):
        own = telemetry.text(openmetrics=openmetrics).decode()
        yield re.sub(r"^(python|process)_.*$", "", own, flags=re.MULTILINE)
    status = Status(__version__, now, (poller.status(),))
    for view in (View(), View(workspace="acme"), View(bot="b0"), View(q="csat")):
        yield "".join(page(status, view, Links("/metrics", "/api")))
    yield "".join(status.json())
    for failure in failures:
        yield f"{failure} {failure!r}"
    yield repr(list(store))


def asking(sample: Documented) -> Workspace:
    """A workspace that asks for what a sample is an answer to."""
    item = {"metric": sample.metric, **sample.options}
    others: dict[str, Any] = {"bots": 1} if sample.bot else {}
    if sample.api == "seachat":
        others |= {"workspace_id": "w", "discover_bots": {}}
    return workspace(
        [item],
        api=sample.api,
        timezone=sample.zone,
        requests_per_minute=600_000,
        **others,
    )


def enveloped(sample: Documented, part: object) -> object:
    """A part as the answer of its API."""
    whole = sample.reply
    if sample.metric in whole:
        return {sample.metric: part}
    return part if isinstance(part, dict) else {"data": part}


ERRORS: Final = [
    json.loads(path.read_text(encoding="utf-8")) for path in sorted((DATA / "errors").glob("*"))
]
REPLIES: Final = times(80, 800)
"""Answers for each of the documents' samples: 2,080 or 20,800 in all."""


@pytest.mark.parametrize("sample", [pytest.param(one, id=str(one)) for one in KNOWN])
def test_nothing_of_a_reply_comes_out_but_names_that_may_be_labels(sample: Documented) -> None:
    dice = random.Random(f"{sample}")  # noqa: S311 - chooses, keeps no secret
    one, world, api = asking(sample), World(sample.at), Api()
    store, telemetry, allowed = Store(), Telemetry(), 0
    found: list[tuple[list[str], object]] = []

    async def go() -> None:
        nonlocal allowed
        with logging_all() as stream:
            async with WorkspacePoller(
                one, store, telemetry, world.now, transport=httpx.MockTransport(api)
            ) as poller:
                for number in range(REPLIES):
                    canaries = Canaries(dice)
                    share = dice.choice([0.1, 0.5, 1.0])
                    names = SHOWN_KEYS if "label" in sample.metric else frozenset[str]()
                    if number % 5 == 4:
                        api.status = dice.choice([200, 400, 401, 403, 404, 409, 422, 429, 500, 503])
                        api.reply = canaries.planted(dice.choice(ERRORS), 1.0, frozenset())
                    else:
                        api.status = 200
                        part = canaries.planted(sample.part, share, names)
                        api.reply = enveloped(sample, part)
                    api.listing = canaries.planted(BOTS, share, LIST_SHOWN)
                    failures = await poller.once()
                    seen = [
                        *outputs(store, telemetry, poller, world, failures),
                        stream.getvalue(),
                    ]
                    stream.seek(0)
                    stream.truncate()
                    leaked = hits(seen, [*canaries.banned, KEY])
                    if leaked:
                        found.append((leaked, api.reply))
                    allowed += len(hits(seen, canaries.plain))
                    if api.status != 200:
                        await asyncio.sleep(660)  # a rejected key and a pause are over then

    world.run(go)
    assert found == []
    if "label" in sample.metric and sample.metric != "label_relation":
        assert allowed, "no name was ever shown: nothing was tested"


def test_a_number_to_call_and_an_address_are_redacted_and_a_word_is_shown() -> None:
    """The canaries themselves, switched off: a word does come out where a name may be."""
    assert hits(["page CNRY0123456789abcdef"], ["CNRY0123456789abcdef"])
    assert hits(["page +19991234567890"], ["+19991234567890"])
    assert hits(
        [base64.b64encode(b"c0123456789abcdef@x.invalid").decode()], ["c0123456789abcdef@x.invalid"]
    )
    assert not hits(["page"], ["CNRY0123456789abcdef"])


# Configurations


CONFIGS: Final = sorted((DATA / "configs").glob("*.bad.yml"))


def test_there_are_enough_bad_configurations_with_a_canary() -> None:
    assert sum("canary" in path.read_text(encoding="utf-8") for path in CONFIGS) >= 40


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in CONFIGS])
def test_no_bad_configuration_says_a_key_in_any_form_of_its_error(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load([str(path)], {}, date(2026, 11, 21))
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value.mistakes)
    assert "canary" not in said.replace(str(path), "").casefold()
