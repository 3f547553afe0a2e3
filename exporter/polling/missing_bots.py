"""Tells a deleted bot from an API that has lost all its bots. Pure."""

from collections.abc import Container


class MissingBots:
    """The API's last response about each target: an answer, or that it does not know the target.

    A bot is named by its id, and the workspace by an empty text.

    After a failed deploy or without its database, an API may answer 404 for one bot after another.
    So a bot counts as gone only if the API answers for other targets meanwhile, and for at least as
    many as it denies.

    Attributes:
        number: The responses so far; a number dates a response.
    """

    def __init__(self) -> None:
        self._words: dict[str, tuple[int, bool]] = {}
        self._answered = 0
        self.number = 0

    def heard(self, target: str, *, known: bool) -> None:
        """Note a response about a target, and whether it was an answer."""
        self.number += 1
        self._words[target] = self.number, known
        if known:
            self._answered = self.number

    def gone(self, target: str, since: int) -> bool:
        """Whether the responses since a denial, given by its number, mean that a target is gone."""
        if self._answered <= since:
            return False  # the quick way out in an outage, for every bot
        own = self._words.get(target)
        if own and own[1] and own[0] > since:
            return False
        others = [
            known
            for other, (number, known) in self._words.items()
            if other != target and number > since
        ]
        return 0 < len(others) <= 2 * sum(others)

    def keep(self, targets: Container[str]) -> None:
        """Forget all targets but these."""
        self._words = {one: word for one, word in self._words.items() if one in targets}
