"""Every report that the exporter supports, in the order of the page and the documentation."""

from collections.abc import Mapping
from typing import Final

from exporter.model.report import AnyReport, Form
from exporter.reports import (
    activity_trend,
    agent_activity,
    communication_volume,
    conversation_breakdown,
    conversation_overview,
    conversation_overview_yearly,
    csat,
    label_overview,
    label_relation,
    label_usage,
    total_usage,
)

REPORTS: Final[tuple[AnyReport, ...]] = (
    conversation_overview.REPORT,
    communication_volume.REPORT,
    activity_trend.REPORT,
    label_usage.REPORT,
    label_overview.REPORT,
    label_relation.REPORT,
    csat.REPORT,
    total_usage.REPORT,
    conversation_breakdown.REPORT,
    conversation_overview_yearly.REPORT,
    agent_activity.REPORT,
)


def of_api(api: str) -> Mapping[str, tuple[AnyReport, Form]]:
    """The reports of an API, by the API's name for each."""
    return {
        report.apis[api].metric or report.name: (report, report.apis[api])
        for report in REPORTS
        if api in report.apis
    }
