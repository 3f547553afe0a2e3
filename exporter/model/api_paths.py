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
