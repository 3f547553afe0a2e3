"""The three APIs as dialects: where each lives, and how it wants to be asked. Pure.

Reports speak SeaChat's spelling of a request; a dialect turns it into its own and takes an answer
apart into one part per report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from exporter.errors import ReplyError
from exporter.model import paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One of Seasalt's analytics APIs.

    Attributes:
        name: As in the configuration, and the value of the label `api`.
        title: As in a sentence.
        base_url: Where it lives if the configuration says nothing else.
        path: Where its analytics are asked.
        old_path: Where its own samples ask, tried once where the documented path is not found.
        key_scope: The scope that its key must have, in the words of its settings page.
        many: Whether one call may ask for many metrics.
        per_bot: Whether a call can be about one bot.
        spelling: Its own word for a request field where that is not SeaChat's.
    """

    name: str
    title: str
    base_url: str
    path: str
    old_path: str = ""
    key_scope: str
    many: bool = True
    per_bot: bool = False
    spelling: Mapping[str, str] = field(default_factory=dict)

    def body(self, metrics: Sequence[str], fields: Mapping[str, object]) -> dict[str, object]:
        """The request that asks for some metrics; `fields` are in SeaChat's spelling."""
        asked = {"metrics": list(metrics)} if self.many else {"metric": metrics[0]}
        return asked | {self.spelling.get(name, name): value for name, value in fields.items()}

    def part(self, answer: object, metric: str) -> object:
        """What an answer says of one metric, whichever of the documented envelopes it came in.

        Raises:
            ReplyError: If it says nothing of it.
        """
        if isinstance(answer, dict):
            if metric in answer:
                return answer[metric]
            if answer.get("metric") == metric:
                return answer
        raise ReplyError(f"{metric}: not in the answer")


SEACHAT: Final = Api(
    name="seachat",
    title="SeaChat",
    base_url="https://chat.seasalt.ai",
    path=paths.SEACHAT_REPORT,
    key_scope="SeaChat API Access",
    per_bot=True,
)
PORTAL: Final = Api(
    name="portal",
    title="Portal",
    base_url="https://portal.seasalt.ai",
    path=paths.PORTAL_REPORT,
    old_path=paths.PORTAL_REPORT_OLD,
    key_scope="SeaContact",
    many=False,
    spelling={"start_date": "from_date", "end_date": "to_date", "message_type": "type"},
)
SEAX: Final = Api(
    name="seax",
    title="SeaX",
    base_url="https://seax.seasalt.ai",
    path=paths.SEAX_REPORT,
    key_scope="API access",
)

APIS: Final = {api.name: api for api in (SEACHAT, PORTAL, SEAX)}
"""Every API by its name."""
