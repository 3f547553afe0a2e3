"""Protections of the exporter, each with the small change that switches it off and who must notice.

`tests/switch-off` makes the changes one at a time in a copy of the checkout; a test that stays
green holds nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Protection:
    """One protection.

    Attributes:
        name: What it keeps from happening.
        file: Where it is.
        before: The text that protects; once in the file.
        after: The text without the protection.
        tests: Files, and tests where the rest of a file is about other things and takes long; at
            least one must fail without it.
    """

    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]

    def off(self, text: str) -> str:
        """The file's text without the protection.

        Raises:
            ValueError: If the text that protects is not there, or more than once.
        """
        if text.count(self.before) != 1:
            raise ValueError(f"{self.name}: found {text.count(self.before)} times in {self.file}")
        return text.replace(self.before, self.after)

    def switch_off(self, root: Path) -> None:
        """Change the file in a checkout."""
        file = root / self.file
        file.write_text(self.off(file.read_text(encoding="utf-8")), encoding="utf-8")


PROTECTIONS: Final = (
    Protection(
        "a database that cannot be filled is closed",
        "exporter/sandbox/app.py",
        "connection.close()  # nobody else knows of it yet",
        "pass",
        ("tests/sandbox/test_data.py",),
    ),
    Protection(
        "no redirect is followed",
        "exporter/client.py",
        "follow_redirects=False,",
        "follow_redirects=True,",
        ("tests/test_client.py",),
    ),
    Protection(
        "no proxy of the environment is used",
        "exporter/client.py",
        "trust_env=False,",
        "trust_env=True,",
        ("tests/test_client.py", "tests/test_network.py"),
    ),
    Protection(
        "an answer ends at its deadline",
        "exporter/client.py",
        "asyncio.timeout(self._workspace.timeout.total_seconds()):",
        "asyncio.timeout(3600):",
        ("tests/test_client.py",),
    ),
    Protection(
        "an answer is unfolded up to its bound",
        "exporter/client.py",
        "room = LARGEST_BODY + 1 - len(body)",
        "room = 0",
        ("tests/test_client.py",),
    ),
    Protection(
        "an answer has a largest size",
        "exporter/client.py",
        "if len(body) > LARGEST_BODY or (inflate and wire > LARGEST_ON_WIRE):",
        "if inflate and wire > LARGEST_ON_WIRE:",
        ("tests/test_client.py",),
    ),
    Protection(
        "an answer is strict JSON",
        "exporter/client.py",
        'from_json(content.removeprefix(b"\\xef\\xbb\\xbf"), allow_inf_nan=False)',
        'from_json(content.removeprefix(b"\\xef\\xbb\\xbf"), allow_partial=True)',
        ("tests/test_client.py",),
    ),
    Protection(
        "no cookie is kept",
        "exporter/client.py",
        "cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),",
        "cookies=CookieJar(),",
        ("tests/test_client.py",),
    ),
    Protection(
        "a network error does not say an address",
        "exporter/client.py",
        "raise RequestFailed(Outcome.CONNECT, _words(error)) from None",
        "raise RequestFailed(Outcome.CONNECT, str(error)) from error",
        ("tests/test_client.py",),
    ),
    Protection(
        "an error does not quote what was refused",
        "exporter/client.py",
        'raise RequestFailed(_outcome(status), f"HTTP {status}", status, wish)',
        'raise RequestFailed(_outcome(status), f"HTTP {status}: {answer}", status, wish)',
        ("tests/test_client.py", "tests/test_traps.py"),
    ),
    Protection(
        "the other path is tried for a missing one alone",
        "exporter/gate.py",
        "if not (missing and other and self._extra(failure.outcome)):",
        "if not (other and self._extra(failure.outcome)):",
        ("tests/test_gate.py",),
    ),
    Protection(
        "the bucket starts empty",
        "exporter/budget.py",
        "self._tokens = 0.0",
        "self._tokens = float(CAPACITY)",
        ("tests/test_budget.py",),
    ),
    Protection(
        "names shaped like personal data are redacted",
        "exporter/values.py",
        '        return "redacted"\n    return short',
        "        return short\n    return short",
        ("tests/test_values.py", "tests/fuzz/test_leaks.py"),
    ),
    Protection(
        "names are cleaned of what is not printed",
        "exporter/values.py",
        'seen = _HIDDEN.sub("", raw)[:_LOOKED_AT]',
        "seen = raw[:_LOOKED_AT]",
        ("tests/test_values.py",),
    ),
    Protection(
        "a boolean is no number",
        "exporter/values.py",
        "if type(value) is int or type(value) is float:",
        "if isinstance(value, int | float):",
        ("tests/test_values.py",),
    ),
    Protection(
        "a series comes once in an answer",
        "exporter/contract.py",
        "series = sample[:2]",
        "series = (sample.family, (*sample.labels, str(len(found))))",
        ("tests/reports", "tests/test_catalogue.py"),
    ),
    Protection(
        "a series comes once on the page",
        "exporter/exposition.py",
        "new = part.without(before) if before and not tails.isdisjoint(before) else part",
        "new = part",
        ("tests/test_exposition.py",),
    ),
    Protection(
        "absent is not zero",
        "exporter/contract.py",
        "                if value is not None:\n                    found[name] = found.get(name, 0) + value",
        "                found[name] = found.get(name, 0) + (value or 0)",
        ("tests/fuzz/test_mutations.py", "tests/test_catalogue.py"),
    ),
    Protection(
        "rows of other days are left out",
        "exporter/contract.py",
        "            if self.days is None or row.period.overlaps(self.days):\n                yield row",
        "            yield row",
        ("tests/reports/test_activity_trend.py",),
    ),
    Protection(
        "an error does not quote the answer",
        "exporter/contract.py",
        "        except ValidationError:\n"
        "            # The error itself would quote the answer: keys of objects are in its locations.\n"
        '            raise ReplyError(f"{self.name}: not of the documented shape") from None',
        "        except ValidationError as error:\n"
        '            raise ReplyError(f"{self.name}: {error.errors()}") from None',
        ("tests/test_catalogue.py",),
    ),
    Protection(
        "a page is not served past the expiry of what is on it",
        "exporter/exposition.py",
        "return self.at - SKEW <= now < self.until",
        "return self.at - SKEW <= now",
        ("tests/test_pages.py",),
    ),
    Protection(
        "a page from before the clock was set back is not served",
        "exporter/exposition.py",
        "return self.at - SKEW <= now < self.until",
        "return now < self.until",
        ("tests/test_pages.py",),
    ),
    Protection(
        "one page is made at a time",
        "exporter/pages.py",
        "async with self._one:",
        "async with asyncio.Lock():",
        ("tests/test_pages.py",),
    ),
    Protection(
        "a page is made beside the event loop",
        "exporter/pages.py",
        "made = await self._elsewhere(snapshot, records, at, self.snapshot)",
        "made = snapshot(records, at, self.snapshot)",
        ("tests/test_pages.py",),
    ),
    Protection(
        "a page is of one generation",
        "exporter/store.py",
        "self._parts[index] = self._parts[index].copy()",
        "pass",
        ("tests/test_store.py",),
    ),
    Protection(
        "of a page only what changed is made anew",
        "exporter/exposition.py",
        "elif stale := before.stale(part, at):",
        "elif stale := _ALL:",
        ("tests/test_blocks.py",),
    ),
    Protection(
        "a series of the exporter's own that comes or goes is on the page",
        "exporter/registry_text.py",
        "if series != self._series:",
        "if not self._series:",
        ("tests/test_registry_text.py",),
    ),
    Protection(
        "targets that could write the same series are neighbours",
        "exporter/plan.py",
        'return fraction(f"{self.bot_id}|{self.workspace}")',
        "return fraction(repr(self))",
        ("tests/test_blocks.py",),
    ),
    Protection(
        "what is kept is kept small",
        "exporter/store.py",
        "samples = Samples.of(record.samples)",
        "samples = record.samples",
        ("tests/test_samples.py",),
    ),
    Protection(
        "the checksum of a page is that of the whole",
        "exporter/stitch.py",
        "crc = _moved(crc, piece.size) ^ piece.crc",
        "crc = crc ^ piece.crc",
        ("tests/test_blocks.py::test_the_checksum_of_what_is_joined_is_that_of_the_whole",),
    ),
    Protection(
        "who asks for more than is allowed is told",
        "exporter/schedule.py",
        "if hourly > 60 * per_minute:",
        "if False:",
        ("tests/test_schedule.py",),
    ),
    Protection(
        "values expire",
        "exporter/store.py",
        "return known and self.expires is not None and now < self.expires",
        "return True",
        ("tests/test_store.py", "tests/test_poller.py", "tests/fuzz/test_calendar.py"),
    ),
    Protection(
        "yesterday is withdrawn at midnight",
        "exporter/store.py",
        "return min(stale, withdrawn) if withdrawn else stale",
        "return stale",
        ("tests/test_poller.py",),
    ),
    Protection(
        "a bot is gone after two lists without it",
        "exporter/bots.py",
        "LISTINGS_BEFORE_GONE: Final = 2",
        "LISTINGS_BEFORE_GONE: Final = 1",
        ("tests/test_bots.py",),
    ),
    Protection(
        "an empty list drops no bot",
        "exporter/bots.py",
        "if self._listed and not listing.bots:",
        "if False and not listing.bots:",
        ("tests/test_bots.py",),
    ),
    Protection(
        "a file that cannot be looked for is no file that is missing",
        "exporter/config/models.py",
        'raise ValueError(f"cannot be read: {error.strerror}") from None',
        "found = False",
        ("tests/test_config.py",),
    ),
    Protection(
        "a key goes to https alone",
        "exporter/config/load.py",
        'if workspace.url.startswith("http:") and not (',
        "if False and not (",
        ("tests/test_config.py",),
    ),
    Protection(
        "anchors are refused",
        "exporter/config/document.py",
        'if getattr(event, "anchor", None) is not None:',
        "if False:",
        ("tests/test_config.py",),
    ),
    Protection(
        "a mistake does not say a key of the file",
        "exporter/config/document.py",
        "        elif _SHOWN_KEY.fullmatch(step):",
        "        elif step:",
        ("tests/test_config.py", "tests/fuzz/test_configurations.py"),
    ),
    Protection(
        "a syntax error does not quote the file",
        "exporter/config/document.py",
        'text = f": {problem}" if problem and not set(problem) & set("\'\\"") else ""',
        'text = f": {error}"',
        ("tests/test_config.py",),
    ),
    Protection(
        "secrets are masked where the configuration is shown",
        "exporter/config/show.py",
        "shown.update(dict.fromkeys(secrets & shown.keys(), SECRET))",
        "shown.update({name: getattr(workspace, name).get_secret_value() for name in secrets & shown.keys()})",
        ("tests/test_config.py",),
    ),
    Protection(
        "the libraries' logs stay silent",
        "exporter/logs.py",
        "logging.basicConfig(level=max(logging.WARNING, LEVELS[level]),",
        "logging.basicConfig(level=logging.DEBUG,",
        ("tests/test_logs.py",),
    ),
    Protection(
        "only exact routes answer",
        "exporter/web.py",
        "known = path == self._metrics or",
        'known = path.rstrip("/") == self._metrics or',
        ("tests/test_web.py",),
    ),
    Protection(
        "nothing but GET and HEAD is answered",
        "exporter/web.py",
        'elif scope["method"] not in {"GET", "HEAD"}:',
        "elif False:",
        ("tests/test_web.py",),
    ),
    Protection(
        "names on the status page are no part of it",
        "exporter/status_page.py",
        "<summary><b>{escape(name)}</b>",
        "<summary><b>{name}</b>",
        ("tests/test_status.py",),
    ),
    Protection(
        "names of customers are limited in number",
        "exporter/caps.py",
        "    if len({*names} - {()}) <= limit:\n        return given",
        "    return given",
        ("tests/test_caps.py", "tests/test_poller.py"),
    ),
    Protection(
        "nothing goes where it is not meant to",
        "exporter/client.py",
        "self._leaves.get((method, url))",
        "httpx.URL(url)",
        ("tests/test_client.py",),
    ),
    Protection(
        "an answer has so many levels",
        "exporter/client.py",
        "or _deeper_than(DEEPEST, answer)",
        "",
        ("tests/test_client.py",),
    ),
    Protection(
        "requests beyond the schedule are few",
        "exporter/retries.py",
        "enough = self._left >= cost - 1e-9",
        "enough = True",
        (
            "tests/test_retries.py",
            "tests/test_gate.py",
        ),
    ),
    Protection(
        "a pause is never shorter than the API asks",
        "exporter/parking.py",
        "wish + self._uniform(0.0, wish * _JITTER)",
        "wish - self._uniform(0.0, wish * _JITTER)",
        (
            "tests/test_parking.py",
            "tests/test_gate.py",
        ),
    ),
    Protection(
        "nothing is sent during a pause",
        "exporter/terms.py",
        "max(self._parking.wait(at), self._breaker.wait(at)) or ",
        "",
        ("tests/test_gate.py",),
    ),
    Protection(
        "a long pause is a failure",
        "exporter/terms.py",
        "if self._parking.wait(at) > self._timeout:",
        "if False:",
        (
            "tests/test_gate.py",
            "tests/test_poller.py",
        ),
    ),
    Protection(
        "a remembered pause is a day at most",
        "exporter/terms.py",
        "max((instant - self._now()).total_seconds(), 0.0), most)",
        "max((instant - self._now()).total_seconds(), 0.0), 1e12)",
        ("tests/test_gate.py",),
    ),
    Protection(
        "an API that says too many is asked less",
        "exporter/budget.py",
        "max(self._per_second / 2, SLOWEST)",
        "self._full",
        (
            "tests/test_budget.py",
            "tests/test_gate.py",
        ),
    ),
    Protection(
        "an API that says too many is asked at all",
        "exporter/budget.py",
        "max(self._per_second / 2, SLOWEST)",
        "self._per_second / 2",
        ("tests/test_budget.py",),
    ),
    Protection(
        "an API that is down is only probed",
        "exporter/breaker.py",
        "self.probe_at = at + self._lease",
        "pass",
        (
            "tests/test_breaker.py",
            "tests/test_gate.py",
        ),
    ),
    Protection(
        "a probe ends by itself",
        "exporter/breaker.py",
        "self.probe_at = at + self._lease",
        'self.probe_at = float("inf")',
        (
            "tests/test_breaker.py",
            "tests/test_gate.py",
        ),
    ),
    Protection(
        "what waits behind a probe has failed",
        "exporter/terms.py",
        "if behind and self._breaker.wait(at):",
        "if False:",
        ("tests/test_poller.py",),
    ),
    Protection(
        "what was put off is asked after an outage",
        "exporter/poller.py",
        "        self._catch_up()\n",
        "",
        ("tests/test_poller.py",),
    ),
    Protection(
        "a rejected key is not sent again",
        "exporter/credential.py",
        "if key == self._rejected and at < self._until:",
        "if False:",
        (
            "tests/test_credential.py",
            "tests/test_gate.py",
        ),
    ),
    Protection(
        "a bot that is forbidden is no reason to keep the key from others",
        "exporter/credential.py",
        "        if about in self._barred:\n            return\n",
        "",
        ("tests/test_credential.py",),
    ),
    Protection(
        "what waits in line is not sent with a rejected key",
        "exporter/gate.py",
        "key = self._usable(credential)  # once more",
        "key = credential._key.read()  # once more",
        ("tests/test_gate.py",),
    ),
    Protection(
        "refusals that never cease slow down",
        "exporter/budget.py",
        "            self._refused_at = at  #",
        "        self._refused_at = at  #",
        ("tests/test_budget.py", "tests/test_gate.py"),
    ),
    Protection(
        "a failed report is asked early within the bounds alone",
        "exporter/poller.py",
        "gate.early(failed.outcome)",
        "True",
        ("tests/test_poller.py",),
    ),
    Protection(
        "a bot that is gone leaves the page",
        "exporter/poller.py",
        "if turn.missing >= GONE_AFTER:",
        "if False:",
        ("tests/test_poller.py",),
    ),
    Protection(
        "a state with a bit turned over is none",
        "exporter/state.py",
        'if words[1:3] != [sha256(payload).hexdigest().encode(), b"%d" % len(payload)]:',
        "if False:",
        ("tests/test_state.py",),
    ),
    Protection(
        "two processes never use one state file",
        "exporter/state_file.py",
        "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        ("tests/test_state_file.py",),
    ),
    Protection(
        "values are never the answer to another question",
        "exporter/store.py",
        "if record.last_success and record.question != question:",
        "if False:",
        ("tests/test_restart.py",),
    ),
    Protection(
        "a workspace that is as it was goes on undisturbed",
        "exporter/fleet.py",
        "or old.likeness != likenesses[workspace.name]",
        "or True",
        ("tests/test_fleet.py",),
    ),
    Protection(
        "what the API wishes is heard",
        "exporter/client.py",
        "if status in {429, 503}:",
        "if False:",
        ("tests/test_client.py", "tests/test_gate.py"),
    ),
    Protection(
        "the requests of a day are no more than allowed",
        "exporter/budget.py",
        "if self.remaining(now) != 0:",
        "if True:",
        ("tests/test_budget.py", "tests/test_poller.py"),
    ),
    Protection(
        "a workspace has so many series",
        "exporter/poller.py",
        "+ len(named) > workspace.max_series:",
        "+ len(named) > 10**9:",
        ("tests/test_poller.py",),
    ),
    Protection(
        "a configuration with a mistake ends nothing",
        "exporter/reload.py",
        "except (ConfigError, StartError) as error:",
        "except StartError as error:",
        ("tests/test_reload.py",),
    ),
    Protection(
        "a file is not taken up while it is written",
        "exporter/reload.py",
        "if seen == before != in_force:",
        "if seen != in_force:",
        ("tests/test_reload.py",),
    ),
    Protection(
        "a state is nobody else's to read",
        "exporter/state_file.py",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)",
        ("tests/test_state_file.py",),
    ),
    Protection(
        "a state is written whole or not at all",
        "exporter/state_file.py",
        "beside.replace(self._path)",
        "self._path.write_bytes(content)",
        ("tests/test_state_file.py",),
    ),
    Protection(
        "nobody gets in without a password",
        "exporter/guard.py",
        "return None if given and await self._passwords.right(*given) else UNAUTHORIZED",
        "return None if given or not await self._passwords.right(b'', b'') else UNAUTHORIZED",
        ("tests/test_secured.py::test_nothing_else_does",),
    ),
    Protection(
        "no joining of name and password is taken for another",
        "exporter/passwords.py",
        'b"".join(len(part).to_bytes(4, "big") + part for part in parts)',
        'b"".join(parts)',
        (
            "tests/test_secured.py::test_no_two_users_are_taken_for_one_another",
            "tests/test_secured.py::test_no_joining_of_name_and_password_gets_somebody_in",
        ),
    ),
    Protection(
        "a name that nobody has costs as much as one that somebody has",
        "exporter/passwords.py",
        "costs = sorted(hashed[4:6] for hashed in self.users.values())",
        'costs = [b"04"]',
        ("tests/test_secured.py::test_nothing_shows_whether_a_name_is_known",),
    ),
    Protection(
        "few passwords wait for their check",
        "exporter/passwords.py",
        "if len(self._running) >= WAITING:",
        "if False:",
        ("tests/test_secured.py::test_only_so_many_wait_for_a_check_and_who_is_known_does_not",),
    ),
    Protection(
        "the rate limit of the web configuration holds",
        "exporter/guard.py",
        "if not self._in_time(config.rate_limit):",
        "if False:",
        (
            "tests/test_secured.py::test_a_rate_limit_answers_429_after_the_burst_and_before_any_password",
        ),
    ),
    Protection(
        "only the allowed names are let in",
        "exporter/server.py",
        "if secured and not secured.context.admits(secured.getpeercert()):",
        "if False:",
        ("tests/test_secured.py::test_only_the_allowed_names_are_let_in",),
    ),
    Protection(
        "a head that drips ends the connection",
        "exporter/server.py",
        "_Alarm(self._limits.head_seconds, transport.abort)",
        "_Alarm(1e6, transport.abort)",
        ("tests/test_connections.py::test_a_head_that_drips_gains_no_time",),
    ),
    Protection(
        "one address cannot take all the room",
        "exporter/server.py",
        " or self._present[address] >= self._per_address:",
        ":",
        ("tests/test_connections.py::test_one_address_cannot_take_all_the_room",),
    ),
    Protection(
        "no second has more than so many lines",
        "exporter/logs.py",
        "self._limits = ((LINES_A_SECOND, 1.0),",
        "self._limits = ((10**6, 1.0),",
        (
            "tests/test_logs.py::test_no_second_has_more_than_10_lines_and_no_hour_more_than_a_mebibyte",
        ),
    ),
    Protection(
        "whoever says to be the API must prove it",
        "exporter/client.py",
        "verify=trust,",
        "verify=False,",
        ("tests/test_client.py", "tests/test_network.py"),
    ),
    Protection(
        "a workspace that is gone leaves the page",
        "exporter/fleet.py",
        "self._store.keep(frozenset(), old.workspace.name)",
        "pass",
        ("tests/test_fleet.py",),
    ),
    Protection(
        "nothing is asked after the signal to end",
        "exporter/commands/serve.py",
        "    await stop.wait()\n    for task in background:\n        task.cancel()\n    await fleet.close()",
        "    await stop.wait()\n    await asyncio.sleep(5)",
        (
            "tests/faults/test_processes.py::test_it_ends_in_time_and_asks_nothing_more_whatever_is_in_flight",
        ),
    ),
    Protection(
        "the process ends in time, even where its event loop does not come back",
        "exporter/ending.py",
        "signal.alarm(LAST_SECONDS)",
        "pass",
        ("tests/test_end.py::test_it_ends_in_time_where_the_event_loop_hangs",),
    ),
)
