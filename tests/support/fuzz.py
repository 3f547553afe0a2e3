"""How often the generated tests try: few for every change, very many when asked for.

`pytest tests/fuzz --hypothesis-profile long` takes the long way; `tests/fuzz/conftest.py` makes
that profile known.
"""

from typing import Final

from hypothesis import HealthCheck, settings

LONG: Final = "long"


def taking_long() -> bool:
    """Whether the long way was asked for."""
    return settings.get_current_profile_name() == LONG


def times(few: int, many: int) -> int:
    """How often to do something on the way that was asked for."""
    return many if taking_long() else few


def examples(few: int, many: int) -> settings:
    """So many examples on the way that was asked for, however long one takes."""
    return settings(
        max_examples=times(few, many),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
