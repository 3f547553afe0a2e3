"""When people write: by weekday, by hour, by month."""

from typing import Final

from grafana.builder.board import Board, Row
from grafana.builder.common import (
    A_WEEK_AGO,
    API,
    BOT,
    MATRIX_COLOURS,
    MONTH,
    PERCENT,
    WEEK,
    change,
    link_column,
    matrix,
    whole_days,
)
from grafana.builder.panel import Json, Panel, Query
from grafana.builder.query import bots, ratio, recorded, told_apart, total, whole
from grafana.builder.words import (
    AXIS,
    FOUR_WEEKS as WORDS,
    LAST_7_DAYS,
    LEAST_EXPECTED,
    NEEDS_RULES,
    RANGE_30_DAYS,
    THIS_YEAR,
    TODAY,
)

_SMALL: Final = (8, 5)
_HOUR: Final = "conversation_breakdown_hour_messages"
_WEEKDAY: Final = "conversation_breakdown_weekday_messages"
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_HOURS: Final = tuple(f"{hour:02}" for hour in range(24))
_HOUR_RATE: Final = whole_days(_HOUR, "hour")


def _most(title: str, asks: str, expression: str, label: str) -> Panel:
    """A name instead of a number."""
    return Panel(
        kind="stat",
        title=title,
        asks=asks,
        window=WORDS,
        queries=(Query(f"topk(1, {expression})", label),),
        options={"textMode": "name"},
        size=_SMALL,
    )


GLANCE: Final = (
    _most(
        "Busiest hour, four weeks", "At what hour do most messages come?", _HOUR_RATE, "{{hour}}:00"
    ),
    _most(
        "Busiest weekday, four weeks",
        "On which day of the week do most messages come?",
        whole_days(_WEEKDAY, "weekday"),
        "{{weekday}}",
    ),
    Panel(
        kind="stat",
        title="Outside 8 to 18 o'clock, four weeks",
        asks="Which share of the messages comes before 8 or from 18 on, whatever the weekday?",
        window=WORDS,
        queries=(
            Query(f"1 - {whole_days(_HOUR, '', hour='=~0[89]|1[0-7]')} / {whole_days(_HOUR, '')}"),
        ),
        unit="percentunit",
        decimals=0,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Messages per conversation, 30 days",
        asks="How long is a conversation?",
        window=RANGE_30_DAYS,
        queries=(
            Query(
                ratio(
                    total(bots("conversation_overview_messages", MONTH)),
                    total(bots("conversation_overview_conversations", MONTH)),
                )
            ),
        ),
        unit="none",
        decimals=1,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Conversations per user, 30 days",
        asks="How often does the same person come back to a bot?",
        window=RANGE_30_DAYS,
        queries=(
            Query(
                ratio(
                    total(bots("conversation_overview_conversations", MONTH)),
                    total(bots("conversation_overview_users", MONTH)),
                )
            ),
        ),
        unit="none",
        decimals=1,
        size=_SMALL,
    ),
    Panel(
        kind="stat",
        title="Messages, 7 days",
        asks="How many messages did the week bring, of all senders?",
        window=LAST_7_DAYS,
        queries=(Query(total(bots("activity_trend_messages", WEEK))),),
        size=_SMALL,
    ),
)


def _bars(title: str, asks: str, expression: str, label: str) -> Panel:
    """Bars by hour, in the order of the clock."""
    return Panel(
        kind="barchart",
        title=title,
        asks=asks,
        window=WORDS,
        queries=(Query(expression),),
        names={label: label.title(), "Value": "Messages"},
        transformations=(_sorted(label.title()),),
        options={"xField": label.title()},
    )


def _sorted(by: str) -> Json:
    return {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": by, "desc": False}]}}


BY_CLOCK: Final = (
    _bars(
        "Messages by hour, SeaChat bots, four weeks",
        "At what hours do users write to the chosen bots?",
        _HOUR_RATE,
        "hour",
    ),
    Panel(
        kind="bargauge",
        title="Messages by weekday, SeaChat bots, four weeks",
        asks="On which days do users write to the chosen bots?",
        window=WORDS,
        queries=tuple(Query(whole_days(_WEEKDAY, "", weekday=day), day) for day in _WEEKDAYS),
        options={"orientation": "vertical"},
    ),
    _bars(
        "Messages by hour, Portal, four weeks",
        "At what hours do users write, as Portal tells it of whole workspaces?",
        whole_days(_HOUR, "hour", "portal"),
        "hour",
    ),
    Panel(
        kind="bargauge",
        title="Messages by weekday, Portal, four weeks",
        asks="On which days do users write, as Portal tells it of whole workspaces?",
        window=WORDS,
        queries=tuple(
            Query(whole_days(_WEEKDAY, "", "portal", weekday=day), day) for day in _WEEKDAYS
        ),
        options={"orientation": "vertical"},
    ),
)


# Five minutes before the hour is over, and before `today` begins again. Every half hour, as some time
# zones have one: the later of the two is near the end of an hour in each of them.
_LATE: Final = " offset 5m"
_LOCAL: Final = (
    "max by (workspace) ("
    + recorded("workspace:seasalt_local_time:seconds", _LATE, api="seachat")
    + ")"
)
_MIDDLE: Final = f"({_LOCAL} - 1800)"
_SLOT: Final = f"((day_of_week{_MIDDLE} + 6) % 7 * 100 + 100 + hour{_MIDDLE})"
_WITHIN_HOUR: Final = total(
    f"max by ({BOT}) ({recorded('target:seasalt_messages_1h:sum', _LATE, api='seachat')})",
    "workspace",
)
_SLOTS: Final = (
    "sum by (slot) (avg_over_time(("
    f"({_WITHIN_HOUR} and on (workspace) minute({_LOCAL}) >= 30)"
    f' * on (workspace) group_right () count_values by (workspace) ("slot", {_SLOT})'
    ")[28d:30m]))"
)
"""What a usual hour of the week brings: `slot` is 109 from Monday 9 o'clock on, 723 on Sunday 23."""
_DAY_AND_HOUR: Final = (
    f'label_replace(label_replace({_SLOTS}, "weekday", "$1", "slot", "(.).."),'
    ' "hour", "$1", "slot", ".(..)")'
)
WEEK_BY_HOUR: Final = Panel(
    kind="table",
    title="Messages by weekday and hour, SeaChat bots, four weeks",
    asks="At which hours of the week do the chosen bots get their messages?",
    window=(
        "Window: the last 28 days, so that each weekday is there four times, by the clock of each"
        " workspace's time zone. The mean of an hour, not of what the history lacks. The stronger the"
        " colour, the nearer to the busiest hour."
    ),
    queries=(Query(_DAY_AND_HOUR),),
    empty="Needs the recording rules and an hour of history",
    decimals=0,
    custom={"cellOptions": {"type": "color-background", "mode": "basic"}, "minWidth": 40},
    transformations=(
        _sorted("weekday"),
        {
            "id": "groupingToMatrix",
            "options": {"rowField": "weekday", "columnField": "hour", "valueField": "Value"},
        },
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {
                    name: place for place, name in enumerate(("weekday\\hour", *_HOURS))
                },
                "renameByName": {"weekday\\hour": "Weekday"},
            },
        },
    ),
    overrides=(
        {
            "matcher": {"id": "byRegexp", "options": "/^[0-9]{2}$/"},
            "properties": [
                {"id": "color", "value": {"mode": "thresholds"}},
                {
                    "id": "thresholds",
                    "value": {
                        "mode": "percentage",
                        "steps": [
                            {"color": colour, "value": value}
                            for value, colour in zip(
                                (None, 15, 35, 55, 75), MATRIX_COLOURS, strict=True
                            )
                        ],
                    },
                },
            ],
        },
    ),
    columns={
        "Weekday": {
            "mappings": [
                {
                    "type": "value",
                    "options": {
                        str(place): {"index": place, "text": day}
                        for place, day in enumerate(_WEEKDAYS, 1)
                    },
                }
            ],
            "custom__cellOptions": {"type": "auto"},
            "custom__width": 110,
        }
    },
    size=(24, 11),
)


def _matrix(title: str, asks: str, family: str, label: str, values: tuple[str, ...]) -> Panel:
    """Bots against hours or weekdays, a colour for the share of the bot's own messages."""
    share = (
        f"{whole_days(family, f'{BOT}, {label}')}"
        f" / on ({BOT}) group_left () ({whole_days(family, BOT)} > 0)"
    )
    return Panel(
        kind="table",
        title=title,
        asks=asks,
        window=f"{WORDS} Each row adds up to 100%: the stronger the colour, the more of its messages.",
        queries=(Query(f'label_join({told_apart(share)}, "who", " / ", "bot", "workspace")'),),
        unit="percentunit",
        decimals=0,
        **matrix(label, values, usual=1 / len(values)),
        size=(24, 14),
    )


MATRICES: Final = (
    _matrix(
        "Hours of each bot, four weeks",
        "Which SeaChat bot is busy at which hour?",
        _HOUR,
        "hour",
        _HOURS,
    ),
    _matrix(
        "Weekdays of each bot, four weeks",
        "Which SeaChat bot is busy on which day?",
        _WEEKDAY,
        "weekday",
        _WEEKDAYS,
    ),
)

_MESSAGES: Final = total(bots("activity_trend_messages", WEEK), BOT)
_BEFORE: Final = total(bots("activity_trend_messages", WEEK, at=" offset 1w"), BOT)
TREND: Final = (
    Panel(
        kind="table",
        title="Messages, 7 days against the 7 before",
        asks="Which SeaChat bots moved most against the 7 days before, in messages and not in per cent?",
        # Not the API's own change: it holds 7 days, of which today is unfinished, against 7 whole ones.
        window=f"{LAST_7_DAYS} {A_WEEK_AGO}",
        queries=(
            Query(_MESSAGES),
            Query(change(_MESSAGES, _BEFORE)),
            Query(f"abs({_MESSAGES} - {_BEFORE})"),
        ),
        names={
            "workspace": "Workspace",
            "bot": "Bot",
            "Value #A": "Messages",
            "Value #B": "Change",
            "Value #C": "Moved by",
        },
        columns={
            "Workspace": {"custom__width": 110},
            "Bot": link_column(),
            "Change": {**PERCENT, "min": -1},
            "Moved by": {"decimals": 0},
        },
        options={"sortBy": [{"displayName": "Moved by", "desc": True}]},
        size=(12, 13),
    ),
    Panel(
        title="Today against usual, by workspace",
        asks="Is a workspace busier than at the same hour of the last four weeks? 100% is as usual.",
        window=(
            f"{TODAY} Shown from {LEAST_EXPECTED:g} expected messages on, so not by night;"
            f" in the morning few of them make it jump. {AXIS}"
        ),
        queries=(
            Query(
                f"max by (workspace) ({recorded('target:seasalt_messages_today:ratio', bots=False)})",
                "{{workspace}}",
            ),
        ),
        empty=NEEDS_RULES,
        unit="percentunit",
        size=(12, 13),
    ),
)


_OTHERS: Final = "=~portal|seax"


def _of_year(of: str, api: str = "") -> str:
    """A number of the year by API: of the bots, or of the whole workspaces of other APIs."""
    family = f"conversation_overview_yearly_{of}"
    return total(whole(family, api=api) if api else bots(family), "api, workspace, year")


_MONTHS: Final = total(bots("conversation_overview_yearly_month_messages"), "year, month")
YEAR: Final = (
    Panel(
        kind="barchart",
        title="Messages of the year by month, SeaChat bots",
        asks="How does the year go?",
        window=THIS_YEAR,
        queries=(Query(f'label_join({_MONTHS}, "period", "-", "year", "month")'),),
        names={"period": "Month", "Value": "Messages"},
        transformations=(_sorted("Month"),),
        options={"xField": "Month"},
        size=(12, 10),
    ),
    Panel(
        kind="table",
        title="The year by API",
        asks="How many conversations and messages has the year brought, as each API tells it?",
        window=f"{THIS_YEAR} Where a company is on several APIs these are the same conversations.",
        queries=(
            Query(f"{_of_year('conversations')} or {_of_year('conversations', _OTHERS)}"),
            Query(f"{_of_year('messages')} or {_of_year('messages', _OTHERS)}"),
            Query(
                f"{_of_year('messages')} / {_of_year('conversations')}"
                f" or {_of_year('messages_per_conversation', _OTHERS)}"
            ),
        ),
        names={
            "workspace": "Workspace",
            "api": "API",
            "year": "Year",
            "Value #A": "Conversations",
            "Value #B": "Messages",
            "Value #C": "Per conversation",
        },
        columns={"API": API, "Per conversation": {"unit": "none", "decimals": 1}},
        size=(12, 10),
    ),
)

BOARD: Final = Board(
    uid="seasalt-demand",
    title="Demand",
    about="When people write, by hour, weekday and month, for who plans shifts.",
    rows=(
        Row("SeaChat bots at a glance", GLANCE),
        Row("By the clock and the calendar", (WEEK_BY_HOUR, *BY_CLOCK)),
        Row("Bot by bot", MATRICES),
        Row("Against before", TREND),
        Row("The year", YEAR),
    ),
    since="now-30d",
)
