"""The paths of Seasalt's APIs: one list, shared by the client and the sandbox."""

from typing import Final

SEACHAT_REPORT: Final = "/api/v1/analytics/generate_metric_report"
"""SeaChat's analytics, many metrics per request (SeaChat Analytics API, "Endpoint")."""

PORTAL_REPORT: Final = "/portal-api/api/v1/analytics/generate_analytics"
"""Portal's analytics, one metric per request (Portal Analytics API, "Endpoint")."""

PORTAL_REPORT_OLD: Final = "/portal-api/api/v1/generate_analytics"
"""The path in Portal's own code samples; tried once if the documented path is not found."""

SEAX_REPORT: Final = "/analytics-api/v1/generate_metric_report"
"""SeaX's analytics, many metrics per request (SeaX Analytics API, "Endpoint")."""

BOTS: Final = "/api/v1/public/bots"
"""A workspace's bots, paginated (SeaChat API Wiki, "Get Agent List")."""

CONVERSATION: Final = "conversations/ops/get_or_create"
"""Below a bot: the conversation of one user, created if there is none (SeaChat OpenAPI)."""

MESSAGES: Final = "messages"
"""Below a bot's conversation: sends a message, or reads those that were sent (SeaChat OpenAPI)."""

KNOWLEDGE_BASE_FILES: Final = "kb/files"
"""Below a bot: its files, paginated (SeaChat API Wiki; the published OpenAPI lacks it)."""


def of_bot(bot_id: str, path: str) -> str:
    """A path below a bot."""
    return f"{BOTS}/{bot_id}/{path}"


def messages(bot_id: str, conversation_id: str) -> str:
    """The path of the messages of a bot's conversation."""
    return of_bot(bot_id, f"conversations/{conversation_id}/{MESSAGES}")
