"""The three APIs: their addresses, their request fields and their response envelopes. Pure.

Reports name request fields as SeaChat does. Each API translates them into its own spelling and
splits a response into one part per report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from exporter.errors import ReplyError
from exporter.model import api_paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One of Seasalt's analytics APIs.

    Attributes:
        name: Its name in the configuration and the value of the label `api`.
        title: Its name in messages.
        base_url: Its default address.
        path: The default path of its analytics endpoint.
        old_path: The path in its own code samples, tried once if `path` is not found.
        key_scope: The scope that the API key needs, as the settings page calls it.
        many: Whether one request can carry many metrics.
        per_bot: Whether a request can be limited to one bot.
        spelling: Its names for request fields, by SeaChat's name, where the two differ.
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
        """The request body for some metrics; `fields` are in SeaChat's spelling."""
        asked = {"metrics": list(metrics)} if self.many else {"metric": metrics[0]}
        return asked | {self.spelling.get(name, name): value for name, value in fields.items()}

    def part(self, answer: object, metric: str) -> object:
        """The part of a response that belongs to one metric, in any documented envelope.

        Raises:
            ReplyError: If the response does not contain the metric.
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
    path=api_paths.SEACHAT_REPORT,
    key_scope="SeaChat API Access",
    per_bot=True,
)
PORTAL: Final = Api(
    name="portal",
    title="Portal",
    base_url="https://portal.seasalt.ai",
    path=api_paths.PORTAL_REPORT,
    old_path=api_paths.PORTAL_REPORT_OLD,
    key_scope="SeaContact",
    many=False,
    spelling={"start_date": "from_date", "end_date": "to_date", "message_type": "type"},
)
SEAX: Final = Api(
    name="seax",
    title="SeaX",
    base_url="https://seax.seasalt.ai",
    path=api_paths.SEAX_REPORT,
    key_scope="API access",
)

APIS: Final = {api.name: api for api in (SEACHAT, PORTAL, SEAX)}
"""Every API, by name."""
