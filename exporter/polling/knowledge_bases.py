"""Counts the files in each bot's knowledge base, bot after bot, each once an hour.

Only the wiki documents the endpoint. So the first answer decides whether this API has it: if that is
a 404, counting ends until the workspace's poller is replaced. A 404 is about a bot if it has an error
code of the API, or once a bot's files were counted, even before a restart.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from heapq import heapify, heapreplace
from typing import Final

from exporter.config import Bot, Workspace
from exporter.errors import ReplyError, RequestFailed
from exporter.metrics.poll_results import Results
from exporter.metrics.store import Record
from exporter.metrics.telemetry import KNOWLEDGE_BASE
from exporter.model.bot_list import MOST_PAGES
from exporter.model.knowledge_base import FILES, INTERVAL, REPORT, FileList, page
from exporter.model.reply_values import Drift
from exporter.polling.poller import Failure, next_turn, unreadable
from exporter.polling.schedule import Rhythm, phase
from exporter.polling.turn_queue import DueByKey
from exporter.polling.workload import files_key
from exporter.upstream.sender import Sender

_LOOK_AGAIN: Final = 10.0
"""The longest single sleep in seconds, so that a new bot, or a change of the clock, is soon noticed."""

log = logging.getLogger(__name__)


class KnowledgeBases:
    """The knowledge bases of one workspace's bots.

    Args:
        workspace: The workspace.
        bots: Returns the bots that are polled, by id.
        sender: Sends the requests.
        results: Takes the counts.
        now: The present as an aware instant.
    """

    def __init__(
        self,
        workspace: Workspace,
        bots: Callable[[], Mapping[str, Bot]],
        sender: Sender,
        results: Results,
        now: Callable[[], datetime],
    ) -> None:
        self._workspace = workspace
        self._bots = bots
        self._sender = sender
        self._results = results
        self._now = now
        # By id and name: the count of a renamed bot is needed under the new name soon.
        self._due: dict[tuple[str, str], datetime] = {}
        self._counted = False
        self._off = False

    @property
    def turns(self) -> DueByKey:
        """A function that returns when the files of each bot are counted next."""
        workspace, seconds = self._workspace, INTERVAL.total_seconds()
        bots = (
            [] if self._off else [(bot, self._due.get(_name(bot))) for bot in self._bots().values()]
        )
        return lambda: {files_key(workspace, bot): (seconds, due) for bot, due in bots}

    async def run(self) -> None:
        """Count the files of each bot whenever they are due, until cancelled or switched off."""
        known: Mapping[str, Bot] | None = None
        turns = list[tuple[datetime, str]]()
        while not self._off:
            bots = self._bots()
            if bots is not known:  # not each time: there may be many, and the loop must not be held
                known = bots
                names = set(map(_name, bots.values()))
                self._due = {name: due for name, due in self._due.items() if name in names}
                turns = [(self._turn(bot), bot.id) for bot in bots.values()]
                heapify(turns)
            wait = (turns[0][0] - self._now()).total_seconds() if turns else _LOOK_AGAIN
            if wait > 0:
                await asyncio.sleep(min(wait, _LOOK_AGAIN))
                continue
            bot = bots[turns[0][1]]
            failure = await self._count(bot)
            due = next_turn(self._rhythm(bot), self._now(), failure, self._sender)
            self._due[_name(bot)] = due
            heapreplace(turns, (due, bot.id))

    async def once(self) -> tuple[Failure, ...]:
        """Count the files of each bot once; the failures."""
        found = [await self._count(bot) for bot in self._bots().values() if not self._off]
        return tuple(filter(None, found))

    def _turn(self, bot: Bot) -> datetime:
        """When a bot's files are counted next: what was counted before a restart waits for its turn."""
        name = _name(bot)
        if name not in self._due:
            last = self._results.store.last_success(files_key(self._workspace, bot))
            now = self._now()
            patient = not self._workspace.shard.alone  # another shard may have counted them
            since = min(last, now) if last else now
            self._due[name] = self._rhythm(bot).after(since) if last or patient else now
        return self._due[name]

    def _wanted(self, bot: Bot) -> bool:
        """Whether a bot is still polled under its name; either may change while files are counted."""
        now = self._bots().get(bot.id)
        return now is not None and _name(now) == _name(bot)

    @property
    def _has_counted(self) -> bool:
        """Whether the files of any bot were ever counted, as far as the store knows."""
        store, one = self._results.store, self._workspace
        return self._counted or any(
            store.last_success(files_key(one, bot)) for bot in self._bots().values()
        )

    def _rhythm(self, bot: Bot) -> Rhythm:
        place = phase(f"{self._workspace.name}|{bot.id}|{REPORT}", INTERVAL)
        return Rhythm(INTERVAL, place, self._workspace.zone)

    async def _count(self, bot: Bot) -> Failure | None:
        """Count the files of one bot; the failure, if there is one."""
        key, drift = files_key(self._workspace, bot), Drift()
        try:
            number, seconds = await self._files(bot.id, drift)
        except RequestFailed as error:
            if error.missing and error.code is None and not self._has_counted:
                self._switch_off()
                return None
            return self._failed(bot, error)
        except ReplyError as error:
            self._results.telemetry.drifted(*self._place, REPORT, drift)
            return self._failed(bot, unreadable(error))
        self._counted = True
        self._results.telemetry.set(KNOWLEDGE_BASE, 1, *self._place)
        record = Record(
            INTERVAL.total_seconds(),
            success=True,
            duration_seconds=seconds,
            last_success=self._now(),
            samples=(FILES.sample(number),),
        )
        if self._wanted(bot):
            self._results.put(key, record.paced(INTERVAL, self._workspace.stale_after))
            self._results.changed()
        return None

    async def _files(self, bot_id: str, drift: Drift) -> tuple[int, float]:
        """The number of a bot's files, and the duration of the requests in seconds.

        Raises:
            RequestFailed: If a page's request failed.
            ReplyError: If not every row of the list could be read and counted.
        """
        files, seconds = FileList(), 0.0
        for _ in range(MOST_PAGES):
            with await self._sender.files(bot_id, files.rows) as received:
                more = files.add(await received.made(lambda answer: page(answer, drift)), drift)
            seconds += received.seconds
            if drift:
                raise ReplyError(f"{REPORT}: a row or a total that cannot be read")
            if not more:
                if files.starts_over:
                    raise ReplyError(f"{REPORT}: no total, and the list starts over")
                return len(files.found), seconds
        raise ReplyError(f"{REPORT}: more than {MOST_PAGES} pages")

    def _switch_off(self) -> None:
        self._off = True
        self._results.telemetry.set(KNOWLEDGE_BASE, 0, *self._place)
        reason = "HTTP 404: this API does not list the files of knowledge bases"
        extra = {"workspace": self._workspace.name, "reason": reason}
        log.warning("knowledge_base is off until the workspace's settings change", extra=extra)

    def _failed(self, bot: Bot, error: RequestFailed) -> Failure:
        key = files_key(self._workspace, bot)
        if self._wanted(bot):
            self._results.store.fail(
                key, error, now=self._now(), interval_seconds=INTERVAL.total_seconds()
            )
        failure = Failure(key, error)
        failure.log(log)
        self._results.changed()
        return failure

    @property
    def _place(self) -> tuple[str, str]:
        return self._workspace.api, self._workspace.name


def _name(bot: Bot) -> tuple[str, str]:
    """What a bot's files are counted under: its id, and the name that is shown."""
    return bot.id, bot.shown_name
