"""Where Seasalt's APIs live: the one list that the client and the sandbox share."""

from typing import Final

SEACHAT_REPORT: Final = "/api/v1/analytics/generate_metric_report"
"""SeaChat's analytics, many metrics a call (SeaChat Analytics API, "Endpoint")."""

PORTAL_REPORT: Final = "/portal-api/api/v1/analytics/generate_analytics"
"""Portal's analytics, one metric a call (Portal Analytics API, "Endpoint")."""

PORTAL_REPORT_OLD: Final = "/portal-api/api/v1/generate_analytics"
"""The path that Portal's own samples call; tried once where the documented one is not found."""

SEAX_REPORT: Final = "/analytics-api/v1/generate_metric_report"
"""SeaX's analytics, many metrics a call (SeaX Analytics API, "Endpoint")."""

BOTS: Final = "/api/v1/public/bots"
"""The bots of a workspace, in pages (SeaChat API Wiki, "Get Agent List")."""
