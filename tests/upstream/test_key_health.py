"""A key that was rejected is not sent until it may be another."""

from collections import defaultdict
from pathlib import Path

import pytest
from pydantic import SecretStr

from exporter.config import ApiKey
from exporter.errors import Outcome, RequestFailed
from exporter.upstream.api_key_file import KeyAtHand
from exporter.upstream.key_health import Judgement, KeyHealth

INTERVAL = 600.0
KEY = "sk-canary-1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "key"
    found.write_text(KEY, encoding="utf-8")
    return found


class Direct(KeyAtHand):
    """A key whose file is read at each use."""

    def read(self) -> str:
        """The key."""
        return self._key.read()


def of(key: ApiKey) -> KeyHealth:
    return KeyHealth(Direct(key), INTERVAL, defaultdict[str, Judgement](Judgement).__getitem__)


def test_a_rejected_key_rests_for_nearly_an_interval(file: Path) -> None:
    found = of(ApiKey(file=file))
    found.rejected(found.usable(0.0), 0.0)

    with pytest.raises(RequestFailed) as caught:
        found.usable(500.0)
    assert caught.value.outcome is Outcome.UNAUTHORIZED
    assert found.usable(INTERVAL - 1) == KEY  # its own next turn is not lost to a second


def test_another_key_is_sent_at_once_and_the_rejected_one_still_is_not(file: Path) -> None:
    found = of(ApiKey(file=file))
    found.rejected(KEY, 0.0)
    assert not found.changed_since(KEY)

    file.write_text("sk-2", encoding="utf-8")
    assert found.changed_since(KEY)
    assert found.usable(1.0) == "sk-2"
    file.write_text(KEY, encoding="utf-8")
    with pytest.raises(RequestFailed):
        found.usable(2.0)


def test_a_key_that_works_for_others_rests_only_when_it_is_rejected_twice_in_a_row(
    file: Path,
) -> None:
    found = of(ApiKey(file=file))
    found.accepted(KEY, "b1")
    found.rejected(KEY, 1.0, about="b2")
    assert found.usable(1.0) == KEY

    found.accepted(KEY, "b1")  # so it is about b2, and never again about the key
    found.rejected(KEY, 2.0, about="b2")
    found.rejected(KEY, 3.0, about="b2")
    assert found.usable(3.0) == KEY

    found.rejected(KEY, 4.0, about="b1")
    found.rejected(KEY, 5.0, about="b3")
    with pytest.raises(RequestFailed):
        found.usable(5.0)


def test_what_was_barred_and_is_answered_again_counts_again(file: Path) -> None:
    found = of(ApiKey(file=file))
    found.rejected(KEY, 0.0, about="b2")
    found.accepted(KEY, "b1")  # on its way before
    found.accepted(KEY, "b2")

    found.rejected(KEY, 1.0, about="b2")
    found.rejected(KEY, 2.0, about="b2")
    with pytest.raises(RequestFailed):
        found.usable(2.0)


def test_a_file_that_is_gone_is_no_other_key(file: Path) -> None:
    found = of(ApiKey(file=file))
    file.unlink()

    assert not found.changed_since(KEY)


def test_the_key_is_in_no_text_of_it() -> None:
    found = of(ApiKey(secret=SecretStr(KEY)))
    found.rejected(found.usable(0.0), 0.0)

    with pytest.raises(RequestFailed) as caught:
        found.usable(1.0)
    assert KEY not in f"{caught.value!r} {found!r} {found}"
