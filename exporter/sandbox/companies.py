"""The sandbox's workspaces with their keys, bots, agents and labels.

Everything here is derived from the seed and from positions in lists, never from the clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

_TIMEZONES: Final = (
    "America/New_York",
    "Asia/Taipei",
    "Europe/Berlin",
    "Asia/Kolkata",
    "America/Los_Angeles",
    "Australia/Sydney",
)
_COMPANIES: Final = (
    "Harbor Outfitters",
    "Lantern Books",
    "Northwind Clinics",
    "Orchard Travel",
    "Summit Hardware",
    "Tidewater Bank",
)
KINDS: Final = (
    ("Customer Care", "Customer Service", "Answers questions about orders and accounts."),
    ("Order Desk", "Menu Ordering", "Takes orders and says where they are."),
    ("Store Guide", "Recommend Products", "Helps to choose a product."),
    ("Help Center", "FAQ", "Answers common questions."),
    ("Appointments", "Appointment Scheduling", "Books, moves and cancels appointments."),
    ("Staff Handbook", "Internal KB", "Answers questions of the staff."),
    ("Visit Survey", "Customer Satisfaction Survey", "Asks how a visit went."),
    ("Returns Desk", "Customer Service", "Handles returns and refunds."),
)
"""The kinds of bots: name, use case, description."""
_LANGUAGES: Final = ("default", "en-US", "default", "zh-TW", "en-GB")
AGENTS: Final = (
    "maria.lopez@example.com",
    "agent_user_2",
    "james.chen@example.com",
    "agent_user_4",
    "anna.weber@example.com",
    "agent_user_6",
)
"""The user accounts of a workspace's agents; some are e-mail addresses, as on SeaX."""
_OWN_LABELS: Final = (
    ("Sales", "#33C3FF", "Interest in buying"),
    ("Support", "#FF5733", "Help with a product"),
    ("Billing", "#2E8B57", "Invoices and payments"),
    ("Shipping", "#8A63D2", "Delivery questions"),
    ("Returns", "#C2185B", "Returns and refunds"),
    ("Complaint", "#D32F2F", "Something went wrong"),
    ("Feedback", "#00838F", "Ideas and praise"),
)
_SYSTEM_LABELS: Final = (
    ("Live Agent", "#607D8B", "Handed to a person"),
    ("Unanswered", "#9E9E9E", "Nobody replied"),
    ("Resolved by Bot", "#43A047", "Closed without a person"),
)
# Bots and labels are created within the two years after 2018-01-01T00:00:00Z.
_LONG_AGO: Final = 1_514_764_800
_TWO_YEARS: Final = 730 * 86_400


@dataclass(frozen=True, slots=True)
class Traits:
    """What sets a bot apart from the average one.

    Attributes:
        conversations_per_day: On an average day; None for about the sandbox's mean.
        good: A factor on the chance of a 4 or a 5 in its survey; None for a random one.
        surveyed: Whether its users are asked for a rating.
        campaigns: Whether it is advertised for three days every few weeks.
        silent_since: When it fell silent, in UTC epoch seconds; None if it did not.
    """

    conversations_per_day: float | None = None
    good: float | None = None
    surveyed: bool = True
    campaigns: bool = False
    silent_since: float | None = None


@dataclass(frozen=True, slots=True)
class SandboxBot:
    """A bot; `created_at` is in UTC epoch seconds."""

    number: int
    id: str
    name: str
    description: str
    use_case: str
    default_response_language: str
    live_agent_transfer: bool
    is_enabled: bool
    created_at: int
    traits: Traits = Traits()


@dataclass(frozen=True, slots=True)
class SandboxWorkspace:
    """A workspace with a key for each API.

    `timezone` is an IANA name. `holidays` says whether it has a public holiday every few weeks.
    """

    id: str
    name: str
    timezone: str
    bots: tuple[SandboxBot, ...]
    seachat_key: str
    portal_key: str
    seax_key: str
    number: int
    holidays: bool = False


def _token(rng: Random, letters: int) -> str:
    """A lower-case hexadecimal identifier."""
    return f"{rng.getrandbits(4 * letters):0{letters}x}"


def make_workspaces(seed: int, workspaces: int, bots: int) -> tuple[SandboxWorkspace, ...]:
    """The workspaces; the first ones do not depend on how many there are."""
    return tuple(_workspace(seed, place, bots) for place in range(workspaces))


def make_labels(seed: int, workspaces: Iterable[SandboxWorkspace]) -> list[tuple[Any, ...]]:
    """The rows of the table `label`: the system's labels, then those of each workspace."""
    labels = [
        _label(seed, None, place, looks) for place, looks in enumerate(_SYSTEM_LABELS, start=1)
    ]
    for workspace in workspaces:
        first = 1 + 100 * (workspace.number + 1)
        labels += [
            _label(seed, workspace.number, place, looks)
            for place, looks in enumerate(_OWN_LABELS, start=first)
        ]
    return labels


def _workspace(seed: int, place: int, bots: int) -> SandboxWorkspace:
    rng = Random(f"{seed}/workspace/{place}")  # noqa: S311 - made-up data, no secrets
    lap, company = divmod(place, len(_COMPANIES))
    return SandboxWorkspace(
        id=f"ws-{_token(rng, 12)}",
        name=_COMPANIES[company] + (f" {lap + 1}" if lap else ""),
        timezone=_TIMEZONES[place % len(_TIMEZONES)],
        seachat_key=f"seachat-{_token(rng, 32)}",
        portal_key=f"portal-{_token(rng, 32)}",
        seax_key=f"seax-{_token(rng, 32)}",
        # A bot's number begins with its workspace's, as a conversation's begins with its bot's.
        bots=tuple(_bot(seed, place, (place << 16) | bot) for bot in range(bots)),
        number=place,
    )


def _bot(seed: int, workspace: int, number: int) -> SandboxBot:
    rng = Random(f"{seed}/bot/{number}")  # noqa: S311 - made-up data, no secrets
    place = number & 0xFFFF
    lap, kind = divmod(place, len(KINDS))
    name, use_case, description = KINDS[kind]
    return SandboxBot(
        id=f"bot-{workspace}-{_token(rng, 12)}",
        name=name + (f" {lap + 1}" if lap else ""),
        number=number,
        description=description,
        use_case=use_case,
        default_response_language=_LANGUAGES[place % len(_LANGUAGES)],
        live_agent_transfer=place % 4 != 3,
        is_enabled=place % 10 != 7,
        created_at=_LONG_AGO + rng.randrange(_TWO_YEARS),
    )


def _label(
    seed: int, workspace: int | None, number: int, looks: tuple[str, str, str]
) -> tuple[Any, ...]:
    rng = Random(f"{seed}/label/{number}")  # noqa: S311 - made-up data, no secrets
    created_at = _LONG_AGO + rng.randrange(_TWO_YEARS)
    label_id = f"label-{_token(rng, 12)}"
    updated_at = created_at + rng.randrange(30 * 86_400)
    return number, workspace, label_id, *looks, workspace is None, created_at, updated_at
