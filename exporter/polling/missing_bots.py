"""Which targets of a workspace the API knows: that it knows none of them is no proof of anything. Pure."""

from collections.abc import Container


class MissingBots:
    """The last word of the API about each target: an answer, or that it does not know it.

    A deploy gone wrong, or a database that is not there, makes an API deny every bot in turn. So
    a bot is gone only if the API answers about others meanwhile, and about no fewer than it denies.
    """

    def __init__(self) -> None:
        self._words: dict[str, tuple[int, bool]] = {}
        self._answered = 0
        self.number = 0
        """How many words there were so far, which dates them."""

    def heard(self, target: str, *, known: bool) -> None:
        """Take note of a word about a target."""
        self.number += 1
        self._words[target] = self.number, known
        if known:
            self._answered = self.number

    def gone(self, target: str, since: int) -> bool:
        """Whether what the API said since some word means that a target it denies is gone."""
        if self._answered <= since:
            return False  # as in an outage, where nothing is looked through for each bot
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
        """Forget all but these targets."""
        self._words = {one: word for one, word in self._words.items() if one in targets}
