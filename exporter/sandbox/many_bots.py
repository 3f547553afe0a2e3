"""The workspaces of the big demo: four companies in four time zones, with bots as accounts have them.

Four bots of one company hide what many show: names that are long, that are written in other
scripts, or that several bots have; bots of twenty messages a day beside bots of thousands; a bot
that has fallen silent among others that have not.

All bots are those of `companies.make_workspaces`, with other names and sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Final

from exporter.sandbox import companies
from exporter.sandbox.companies import SandboxWorkspace, Traits

FEWEST, MOST = 20, 200
"""Bots of a big sandbox: fewer have no room for the bots with traits, more fill for too long.

From 25 on, all special names are among them.
"""

_SHARES: Final = (24, 14, 8, 4)
"""How the bots are divided among the workspaces, in fiftieths."""

_SMALLEST, _LARGEST = 2.0, 250.0
"""Conversations of the smallest and the largest bot on an average day.

With about nine messages each, and the growth of some years, that is from some twenty to three
thousand messages a day. The sizes between are evenly spaced on a logarithmic scale.
"""

_TOWNS: Final = (
    ("Boston", "Brooklyn", "Newark", "Hartford"),
    ("Taipei", "Kaohsiung", "Tainan", "Hsinchu"),
    ("Berlin", "Hamburg", "Köln", "München"),
    ("Mumbai", "Pune", "Delhi", "Chennai"),
)
_Place = tuple[int, int]
"""A workspace's place, and a bot's place in it."""

SAME_NAME: Final = "Customer Care"
_NAMES: Final[Mapping[_Place, str]] = {
    (0, 0): SAME_NAME,
    (0, 1): SAME_NAME,
    (0, 2): "Returns, Refunds, Exchanges and Warranty Claims for Online Orders and Store Pick-up"
    ": New England & Mid-Atlantic",
    (0, 4): r'Sales "Plan B" \ Outlet',
    (0, 5): "🎁 Gift Finder 🎄",
    (1, 0): "客服小幫手",
    (1, 1): "訂單查詢（台北門市）",  # noqa: RUF001 - the parentheses of the script
    (1, 3): "お問い合わせ窓口",
    (1, 4): "고객 지원 📚",
    (2, 0): SAME_NAME,
    (2, 1): "Rückfragen & Größenberatung",
    (2, 2): "👩🏽‍⚕️ Nurse on Call",
    (2, 3): "<b>Deals</b> & Co.",
    (3, 0): "यात्रा सहायक",
    (3, 1): "حجوزات الفنادق",
}
_TRAITS: Final[Mapping[_Place, tuple[float, Traits]]] = {
    (0, 0): (1.0, Traits()),
    (0, 1): (0.85, Traits()),
    (0, 5): (0.7, Traits(campaigns=True)),
    (0, 6): (0.75, Traits(surveyed=False)),
    (0, 8): (0.0, Traits()),
    (1, 2): (0.8, Traits(good=0.3)),
}
"""Bots that every big sandbox has: their size, from the smallest at 0 to the largest at 1, and
their traits."""

_SILENT: Final = (0, 1)
_DISABLED: Final = (0, 7)
_ON_HOLIDAY: Final = 1
"""The place of the workspace with public holidays."""


def make_many(seed: int, bots: int, silent_since: float) -> tuple[SandboxWorkspace, ...]:
    """The workspaces with so many bots in all.

    Args:
        seed: Determines all names, keys and sizes.
        bots: From `FEWEST` to `MOST`.
        silent_since: When the silent bot fell silent, in UTC epoch seconds.

    Raises:
        ValueError: If there are too few or too many bots.
    """
    if not FEWEST <= bots <= MOST:
        raise ValueError(f"a big sandbox has {FEWEST} to {MOST} bots, not {bots}")
    numbers = _divided(bots)
    places = [(place, bot) for place, number in enumerate(numbers) for bot in range(number)]
    traits = _traits(seed, places)
    traits[_SILENT] = replace(traits[_SILENT], silent_since=silent_since)
    made = companies.make_workspaces(seed, len(numbers), max(numbers))
    return tuple(
        replace(
            workspace,
            bots=tuple(
                replace(
                    bot,
                    name=_NAMES.get((place, number)) or _plain_name(place, number),
                    is_enabled=(place, number) != _DISABLED,
                    traits=traits[place, number],
                )
                for number, bot in enumerate(workspace.bots[: numbers[place]])
            ),
            holidays=place == _ON_HOLIDAY,
        )
        for place, workspace in enumerate(made)
    )


def _divided(bots: int) -> list[int]:
    """The number of bots of each workspace."""
    others = [bots * share // sum(_SHARES) for share in _SHARES[1:]]
    return [bots - sum(others), *others]


def _traits(seed: int, places: Sequence[_Place]) -> dict[_Place, Traits]:
    """What sets each bot apart; all sizes are different."""
    last = len(places) - 1
    sizes = [_SMALLEST * (_LARGEST / _SMALLEST) ** (rank / last) for rank in range(last + 1)]
    ranks = {place: round(high * last) for place, (high, _) in _TRAITS.items()}
    rest = [rank for rank in range(last + 1) if rank not in ranks.values()]
    Random(f"{seed}/sizes").shuffle(rest)  # noqa: S311 - made-up data, no secrets
    others = (place for place in places if place not in ranks)
    ranks |= dict(zip(others, rest, strict=True))
    return {
        place: replace(
            _TRAITS[place][1] if place in _TRAITS else Traits(),
            conversations_per_day=sizes[ranks[place]],
        )
        for place in places
    }


def _plain_name(place: int, number: int) -> str:
    """What the bot does, and a town: "Order Desk Boston"."""
    lap, kind = divmod(number, len(companies.KINDS))
    again, town = divmod(lap, len(_TOWNS[place]))
    name, *_ = companies.KINDS[kind]
    return f"{name} {_TOWNS[place][town]}" + (f" {again + 1}" if again else "")
