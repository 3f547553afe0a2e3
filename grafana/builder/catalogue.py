"""Every dashboard, and what none of them shows."""

from collections.abc import Mapping
from typing import Final

from grafana.builder import agents, bot, csat, demand, exporter, overview, topics, usage
from grafana.builder.board import Board

BOARDS: Final[tuple[Board, ...]] = (
    overview.BOARD,
    bot.BOARD,
    demand.BOARD,
    csat.BOARD,
    agents.BOARD,
    topics.BOARD,
    usage.BOARD,
    exporter.BOARD,
)

UNUSED: Final[Mapping[str, str]] = {
    "seasalt_up": (
        "tells of the last request alone: a coin flip where one bot of ten fails; the share of reports"
        " that succeed does not depend on which came last"
    ),
    "seasalt_activity_trend_calls": (
        "the same calls as seasalt_communication_volume_calls, which is there on quiet days too"
    ),
    "seasalt_activity_trend_change_ratio": (
        "that of seven days holds them, of which today is unfinished, against seven whole ones"
    ),
    "seasalt_conversation_overview_change_ratio": (
        "cannot be added up over bots: one against a week ago can, and two would not agree"
    ),
    "seasalt_conversation_overview_period_start_timestamp_seconds": (
        "says what the API took a range for: for who doubts a number, not for a morning's look"
    ),
    "seasalt_conversation_overview_period_end_timestamp_seconds": "like the period's start",
    "seasalt_report_duration_seconds": (
        "the histogram of the requests has the same times without a series for each report"
    ),
    "seasalt_api_retries_total": "they are among the requests, which are shown by outcome",
    "seasalt_workspace_load_ratio": (
        "set by the configuration alone: the log says at the start when it is above 1; for an alert"
    ),
    "seasalt_api_paused_until_timestamp_seconds": (
        "a pause shows as reports that fail, and the status page says until when it lasts"
    ),
    "seasalt_exporter_config_last_reload_success_timestamp_seconds": (
        "for the alert; the dashboard says whether the configuration is in force"
    ),
    "seasalt_exporter_state_last_write_success_timestamp_seconds": (
        "grows on a quiet exporter that has nothing new to write; the dashboard says whether it can"
    ),
    "seasalt_exporter_state_write_failures_total": "the dashboard says whether the last one failed",
    "seasalt_exporter_state_quarantined_total": "once after a start, if ever; the log says why",
    "seasalt_exporter_web_config_last_reload_success_timestamp_seconds": (
        "for an alert; the dashboard says whether the last good one is in force"
    ),
    "seasalt_knowledge_base_available": (
        "0 once, from which on there are no counts of files; the log says why"
    ),
    "probe_duration_seconds": "the sum of the phases, of which those of the bot are shown",
    "seasalt_probe_answer_matches": "the reason of a failure says that an answer does not match",
    "seasalt_probe_timestamp_seconds": (
        "tells how old a result is that is served again: for who doubts it, and for an alert"
    ),
    "seasalt_exporter_bugs_total": "0 unless the exporter has a bug; the log says where, at critical",
    "seasalt_exporter_log_lines_dropped_total": (
        "for who reads the log and misses something; repeated lines are left out on purpose"
    ),
}
"""Families of the exporter that no dashboard shows, each with the reason."""
