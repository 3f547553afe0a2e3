"""Statuses as an exporter in trouble has them: every cause, at any number of bots."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from exporter.errors import Cause
from exporter.metrics.store import Record, expiry
from exporter.model.samples import Family
from exporter.model.targets import Key, Target
from exporter.polling.status import Status, WorkspaceStatus, targets
from exporter.web.status_page import page
from exporter.web.status_view import Links, View

NOW: Final = datetime(2026, 11, 21, 2, 46, tzinfo=UTC)
LINKS: Final = Links("metrics", "api/v1/status")
INTERVAL: Final = 600.0
_FAMILY: Final = Family("seasalt_x", "X.")

REPORTS: Final = (
    *(("activity_trend", "today"), ("activity_trend", "last_28_days")),
    *(("agent_activity", "today"), ("conversation_breakdown", "today")),
    *(("conversation_breakdown", "last_7_days"), ("conversation_breakdown", "last_28_days")),
    *(("conversation_overview", "today"), ("conversation_overview", "last_day")),
    *(("conversation_overview", "last_7_days"), ("conversation_overview", "last_30_days")),
    *(("conversation_overview_yearly", ""), ("csat", "last_7_days"), ("csat", "last_30_days")),
    *(("label_overview", "today"), ("label_overview", "last_28_days"), ("label_relation", "today")),
    *(("label_usage", "last_7_days"), ("label_usage", "last_28_days"), ("total_usage", "today")),
    *(("total_usage", "last_7_days"), ("total_usage", "this_month"), ("total_usage", "last_month")),
)
"""As many as the demo polls for each bot."""

BOTS: Final = (
    *("Returns Desk", "Order Desk", "Customer Care", "Help Center", "Store Guide", "Booking"),
    *("Zahlungserinnerungen und Rechnungsfragen für Bestandskunden der Energieversorgung Nord",),
    *(
        "客服机器人",
        "予約アシスタント",
        "🤖 Night Shift",
        "Billing",
        "Claims",
        "Concierge",
        "Payroll",
    ),
)
ERRORS: Final = {
    Cause.KEY_REJECTED: "HTTP 401: the key is not accepted; its scope must be SeaChat API Access",
    Cause.NO_KEY: "the key file does not exist",
    Cause.REFUSED: "HTTP 422",
    Cause.NOT_FOUND: "HTTP 404",
    Cause.BUDGET_SPENT: "daily request limit reached; next request at 2026-11-21 05:00:00 UTC",
    Cause.RATE_LIMITED: "HTTP 429",
    Cause.BLOCKED: "HTTP 403 from something before the API, not JSON but text/html",
    Cause.CONNECT: "the API cannot be reached: connection refused",
    Cause.TIMEOUT: "no answer in time",
    Cause.SERVER_ERROR: "HTTP 500",
    Cause.INVALID: "HTTP 200, not JSON",
    Cause.BUG: "rejected because of a bug in the exporter",
}


def ok(age: float = 240) -> Record:
    """A report whose last poll succeeded so many seconds ago."""
    return _record(age)


def failing(cause: Cause, age: float | None = 900, error: str = "") -> Record:
    """A report that has failed since a success so many seconds ago; None for one without any."""
    since = NOW - timedelta(seconds=300 if age is None else max(age - INTERVAL, 5))
    return _record(age, error=error or ERRORS[cause], cause=cause, failing_since=since)


def _record(age: float | None, error: str = "", **others: Any) -> Record:  # noqa: ANN401 - fields
    last = None if age is None else NOW - timedelta(seconds=age)
    return Record(
        INTERVAL,
        success=not error,
        last_success=last,
        samples=() if last is None else tuple(_FAMILY.sample(1) for _ in range(12)),
        expires=expiry(last, None, timedelta(seconds=INTERVAL), 3),
        error=error,
        **others,
    )


def bots(number: int, first: int = 0) -> Iterable[tuple[str, str]]:
    """Ids and names of so many bots; names repeat with a number."""
    for place in range(first, first + number):
        again, which = divmod(place, len(BOTS))
        yield f"bot-{place:03}-2839e65f9ca7", BOTS[which] + (f" {again + 1}" if again else "")


def workspace(
    name: str,
    known: Iterable[tuple[Target, Iterable[Record | None]]],
    **others: Any,  # noqa: ANN401 - fields
) -> WorkspaceStatus:
    """A workspace with records for the first reports of each target; None for one not polled yet."""
    turns, records = dict[Key, tuple[float, datetime | None]](), dict[Key, Record]()
    for target, found in known:
        for place, (record, (report, window)) in enumerate(zip(found, REPORTS, strict=False)):
            key = Key(target, report, window)
            turns[key] = (INTERVAL, NOW + timedelta(seconds=60 + place))
            if record:
                records[key] = record
    given: dict[str, Any] = {
        "name": name,
        "api": "seachat",
        "timezone": "Europe/Berlin",
        "answered": True,
        "requests_today": 1234,
        "requests_per_day": 5000,
        "requests_per_minute": 60,
        "targets": targets(turns, records, NOW),
        "load": 0.45,
        "key_valid": True,
    }
    return WorkspaceStatus(**(given | others))


def status(*workspaces: WorkspaceStatus) -> Status:
    """The status of some workspaces."""
    return Status("0.1.0", NOW, workspaces)


def fine() -> Status:
    """A workspace with three bots, of which nothing is wrong."""
    whole = (Target("seachat", "harbor"), [ok()] * 2)
    those = [(Target("seachat", "harbor", *bot), [ok()] * len(REPORTS)) for bot in bots(3)]
    return status(workspace("harbor", [whole, *those]))


def troubled() -> Status:
    """Fifty bots and five workspaces, with faults of every cause."""

    def bot(workspace: str, ids: tuple[str, str]) -> Target:
        return Target("seachat", workspace, *ids)

    all_of = len(REPORTS)
    harbor = [(Target("seachat", "harbor"), [ok()] * 2)]
    harbor += [(bot("harbor", one), [ok()] * all_of) for one in bots(13)]
    harbor[1] = (harbor[1][0], [failing(Cause.SERVER_ERROR, 7200)] * all_of)
    harbor[2] = (harbor[2][0], [ok()] * 4 + [failing(Cause.TIMEOUT)] + [ok()] * (all_of - 5))
    harbor[3] = (harbor[3][0], [ok()] * 9 + [failing(Cause.REFUSED, None)] + [ok()] * 12)
    deleted = failing(Cause.NOT_FOUND, 660).withdrawn_at(NOW - timedelta(seconds=60))
    harbor[4] = (harbor[4][0], [deleted] * all_of)
    harbor[5] = (harbor[5][0], [failing(Cause.KEY_REJECTED, 7200)] * all_of)
    harbor[6] = (harbor[6][0], [failing(Cause.INVALID)] * 2 + [ok()] * (all_of - 2))
    harbor[7] = (harbor[7][0], [ok()] * 3 + [failing(Cause.BUG)] + [ok()] * (all_of - 4))
    globex = [(Target("seachat", "globex"), [failing(Cause.KEY_REJECTED, 9000)] * 2)]
    globex += [
        (bot("globex", one), [failing(Cause.KEY_REJECTED, 9000)] * all_of) for one in bots(12, 13)
    ]
    initech = [(Target("seachat", "initech"), [ok()] * 2)]
    initech += [(bot("initech", one), [ok()] * all_of) for one in bots(11, 25)]
    initech[1] = (initech[1][0], [ok(1000)] * 3 + [ok()] * (all_of - 3))
    initech[2] = (initech[2][0], [failing(Cause.RATE_LIMITED)] * 5 + [ok()] * (all_of - 5))
    umbrella = [(Target("seachat", "umbrella"), [ok()] * 2)]
    umbrella += [(bot("umbrella", one), [ok()] * all_of) for one in bots(13, 37)]
    umbrella[1] = (umbrella[1][0], [failing(Cause.CONNECT)] * 3 + [ok()] * (all_of - 3))
    umbrella[2] = (umbrella[2][0], [failing(Cause.BLOCKED)] * 2 + [ok()] * (all_of - 2))
    umbrella[3] = (umbrella[3][0], [failing(Cause.BUDGET_SPENT)] * 2 + [ok()] * (all_of - 2))
    portal = [(Target("portal", "harbor-portal"), [failing(Cause.NO_KEY)] * 2 + [ok()] * 8)]
    return status(
        workspace("harbor", harbor),
        workspace(
            "globex",
            globex,
            key_valid=False,
            key_settings=("api_key_file", "api_key_file"),
            timezone="Asia/Taipei",
        ),
        workspace(
            "initech",
            [*initech, (bot("initech", ("bot-036-2839e65f9ca7", "Brand New")), [None] * all_of)],
            load=1.34,
            paused_until=NOW + timedelta(minutes=14),
            timezone="America/New_York",
        ),
        workspace(
            "umbrella", umbrella, requests_per_day=None, probe_at=NOW + timedelta(seconds=40)
        ),
        workspace(
            "harbor-portal",
            portal,
            api="portal",
            key_valid=None,
            key_settings=("api_key_file",) * 2,
        ),
    )


def night() -> Status:
    """Fifty bots and five workspaces in a bad night: one key, one bot, and one poll that failed."""
    all_of = len(REPORTS)
    names = {"harbor": 13, "globex": 12, "initech": 12, "umbrella": 13}
    rows: dict[str, list[tuple[Target, list[Record | None]]]] = {}
    first = 0
    for name, number in names.items():
        rows[name] = [(Target("seachat", name), [ok(), ok(200)])]
        rows[name] += [
            (Target("seachat", name, *one), [ok(120 + 7 * place) for place in range(all_of)])
            for one in bots(number, first)
        ]
        first += number
    rejected: list[Record | None] = [failing(Cause.KEY_REJECTED, 9000)] * all_of
    rows["globex"] = [(target, rejected[: len(known)]) for target, known in rows["globex"]]
    rows["harbor"][1] = (rows["harbor"][1][0], [failing(Cause.SERVER_ERROR, 7200)] * all_of)
    rows["umbrella"][3][1][12] = failing(Cause.TIMEOUT, 660)
    found = [
        workspace(name, known, requests_today=1000 + 17 * len(known), load=0.4 + len(name) / 100)
        for name, known in rows.items()
    ]
    found[1] = replace(found[1], key_valid=False, key_settings=("api_key_file",) * 2)
    portal: list[Record | None] = [ok(90)] * 10
    return status(
        *found,
        workspace("harbor-portal", [(Target("portal", "harbor-portal"), portal)], api="portal"),
    )


def shown(found: Status, links: Links = LINKS, **view: Any) -> str:  # noqa: ANN401 - of View
    """The page of a view, by default of everything."""
    return "".join(page(found, View(**view), links))
