"""What people get to read: the shipped templates, rendered and sent by a real Alertmanager."""

import email
import json
import os
import quopri
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

import pytest
from support.alerting import ALERTMANAGER, Alerting, Labels, alertmanager_in, of_alertmanager
from support.mail import Mailbox, receiving
from support.notifications import PAGE, arrived, as_read, fired, with_notifications
from support.processes import finished, wait_for
from test_wiring import ALERTS, OF_CATEGORY

from exporter.sandbox.many_bots import make_many

REWRITE: Final = "REWRITE" in os.environ
TEXTS: Final = {
    "summary": "Data from the API is stale.",
    "description": (
        "Bot {bot} of workspace {workspace}: 3 reports have stale data. The oldest: csat (last_30_days)"
        " succeeded 3.4 intervals ago, activity_trend (today) succeeded 3.2 intervals ago, label_usage"
        " (last_7_days) has not succeeded since the exporter started."
    ),
    "runbook_url": "https://example.com/seasalt-exporter/docs/runbooks/SeasaltDataStale.md",
    "dashboard_url": "https://grafana.example.com/d/seasalt-exporter?var-workspace=acme&var-bot=bot_1",
}
SLACK_SHOWS: Final = 8000
"""Characters of a message that Slack shows."""
MAIL_SHOWS: Final = 100_000
"""Bytes from which on mail programs cut."""
HOSTILE: Final = (
    "<!channel> <https://evil.example|Log in> </style><script>alert(1)</script>"
    '"&amp;\r\nBcc: everybody@example.com\u202e'
)


class Desk:
    """A running Alertmanager, and all that it sends of one case."""

    def __init__(self, alerting: Alerting, mailbox: Mailbox) -> None:
        self.alerting = alerting
        self.mailbox = mailbox

    def post(self, case: str, *bots: str, ended: bool = False, **labels: str) -> None:
        """Tell of an alert of each bot, in a workspace that is named as the case."""
        alerts: list[Labels] = [
            {
                "alertname": "SeasaltDataStale",
                "severity": "critical",
                "job": case,
                "workspace": case,
                "bot_id": f"bot_{at:03}",
                "bot": bot,
                **labels,
            }
            for at, bot in enumerate(bots)
        ]
        self.alerting.post(*alerts, annotations=TEXTS, ended=ended)

    def slack(self, case: str) -> list[dict[str, Any]]:
        """The messages for Slack of a case."""
        return [
            body["attachments"][0]
            for path, body in list(self.alerting.webhook.messages)
            if path == "/slack-critical" and case in body["attachments"][0]["title"]
        ]

    def mails(self, case: str) -> list[EmailMessage]:
        """The mails of a case."""
        read = (email.message_from_bytes(raw, policy=default) for raw in list(self.mailbox.mails))
        return [mail for mail in read if case in str(mail["Subject"])]

    def first(self, case: str) -> tuple[dict[str, Any], EmailMessage]:
        """The first message for Slack and the first mail of a case."""
        wait_for(
            lambda: self.slack(case) and self.mails(case), "nothing comes", more=self.alerting.say
        )
        return self.slack(case)[0], self.mails(case)[0]


def part(mail: EmailMessage, kind: str) -> str:
    """The page of a mail, or its plain text."""
    body = mail.get_body((kind,))
    assert body
    return str(body.get_content())


class Page(HTMLParser):
    """The tags and links of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag and its link."""
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        self.text += data


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("notifications")
    blocks = ("slack_configs", "email_configs")
    with (
        receiving() as mailbox,
        alertmanager_in(folder, *blocks, mail_server=mailbox.address) as alerting,
    ):
        yield Desk(alerting, mailbox)


def test_one_alert_says_what_where_since_when_and_where_to_look(desk: Desk) -> None:
    desk.post("one", "Support")
    slack, mail = desk.first("one")
    title = "[CRITICAL] Data from the API is stale: Support, one"
    assert slack["title"] == mail["Subject"] == title
    assert slack["color"] == "danger"
    assert slack["title_link"] == TEXTS["dashboard_url"]
    said = as_read(slack["text"])
    assert said.startswith("• *Support*: critical since ")
    sentence = "Bot Support of workspace one: 3 reports have stale data."
    links = (TEXTS["dashboard_url"], TEXTS["runbook_url"])
    page = Page(part(mail, "html"))
    for text in (said, part(mail, "plain"), page.text):
        assert sentence in text
        assert " UTC" in text
    assert page.links[:2] == list(links)
    for link in links:
        assert f"<{link.replace('&', '&amp;')}|" in slack["text"]
        assert link in part(mail, "plain")
    silence = (
        "/#/silences/new?filter=%7Balertname%3D%22SeasaltDataStale%22%2Cworkspace%3D%22one%22%7D"
    )
    assert silence in slack["text"]
    assert page.links[-1].endswith(silence)


def test_several_alerts_are_one_message_with_each_of_them(desk: Desk) -> None:
    desk.post("several", "Support", "Sales", "Orders")
    slack, mail = desk.first("several")
    assert slack["title"] == "[CRITICAL] Data from the API is stale: several (3 firing)"
    for text in (slack["text"], part(mail, "plain"), part(mail, "html")):
        for bot in ("Support", "Sales", "Orders"):
            assert text.count(f"Bot {bot} of workspace several") == 1


def test_134_alerts_are_a_page_that_can_be_read(desk: Desk) -> None:
    bots = [f"Customer service bot {at:03}" for at in range(134)]
    desk.post("many", *bots)
    slack, mail = desk.first("many")
    assert slack["title"].endswith("many (134 firing)")
    text = slack["text"]
    assert len(text) < SLACK_SHOWS
    assert text.count("3 reports have stale data") == 8
    assert "• 126 more: Customer service bot 008, Customer service bot 009, " in text
    assert "Customer service bot 067 and 66 others\n" in text
    assert "Customer service bot 068" not in text

    (raw,) = (raw for raw in desk.mailbox.mails if b"many (134 firing)" in raw)
    assert len(raw) < MAIL_SHOWS
    for kind in ("plain", "html"):
        told = part(mail, kind)
        assert told.count("3 reports have stale data") == 25
        assert "109 more" in told
        assert all(bot in told for bot in bots)


LONG: Final = {
    "as in the big demo": [
        bot.name for workspace in make_many(1, 134, 0.0) for bot in workspace.bots
    ],
    "of ampersands": ["&" * 300] * 134,
    "Chinese": ["客户服务机器人" * 40] * 134,
    "of emoji": ["🎁" * 300] * 134,
    "of plus signs": ["+=" * 150] * 134,
}


@pytest.mark.parametrize("names", LONG.values(), ids=LONG)
def test_whatever_the_names_of_134_bots_are_nothing_is_cut_off(
    desk: Desk, names: list[str], request: pytest.FixtureRequest
) -> None:
    case = request.node.callspec.id
    desk.post(f"{case} {'&客' * 40}", *(f"{name} {at}" for at, name in enumerate(names)))
    slack, mail = desk.first(case)
    (raw,) = (raw for raw in list(desk.mailbox.mails) if str(mail["Message-Id"]).encode() in raw)
    assert len(slack["text"]) < SLACK_SHOWS
    assert len(raw) < MAIL_SHOWS
    assert slack["text"].endswith("|Silence>")
    assert part(mail, "html").rstrip().endswith("</html>")
    for text in (slack["text"], part(mail, "plain"), part(mail, "html")):
        in_full = text.count("3 reports have stale data")
        [more] = re.findall(r"(\d+) more(?:</b>)?: ", text)
        assert in_full >= 1
        assert in_full + int(more) == 134
    assert slack["text"].count("3 reports have stale data") <= 8


def rendered(folder: Path, name: str, data: dict[str, Any], kind: str = "text") -> str:
    """What a template makes of a notification, without waiting for one."""
    path = folder / "data.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    command = [
        *(of_alertmanager("amtool"), "template", "render"),
        *(f"--template.glob={ALERTMANAGER.parent}/templates/*.tmpl", f"--template.type={kind}"),
        *(f"--template.data={path}", f'--template.text={{{{ template "seasalt.{name}" . }}}}'),
    ]
    done = finished(command)
    assert done.status == 0, done.stderr
    return done.stdout


def of_everything(status: str, workspace: str, bot: str) -> dict[str, Any]:
    """An alert as Alertmanager gives it to a template."""
    return {
        "status": status,
        "labels": {"severity": "warning", "workspace": workspace, "bot": bot},
        "annotations": {"summary": "It fails.", "description": f"{bot} {'text ' * 50}."},
        "startsAt": "2026-01-14T09:12:00Z",
        "endsAt": "2026-01-14T10:12:00Z",
    }


MEDIA: Final = (("slack.text", "text"), ("text", "text"), ("email.html", "html"))


@pytest.mark.parametrize("workspaces", [1, 300])
@pytest.mark.parametrize("name", ["Support", "&" * 200, "客" * 200])
def test_what_began_and_what_ended_of_hundreds_is_counted_and_nothing_is_cut_off(
    tmp_path: Path, name: str, workspaces: int
) -> None:
    """Several workspaces come together with another `group_by`."""
    alerts = [
        of_everything(status, f"{number % workspaces} {name}", name)
        for status in ("firing", "resolved")
        for number in range(300)
    ]
    whole = {} if workspaces > 1 else {"workspace": f"0 {name}"}
    data = {"status": "firing", "alerts": alerts, "groupLabels": whole, "commonLabels": whole}
    slack, text, page = (rendered(tmp_path, medium, data, kind) for medium, kind in MEDIA)

    assert len(slack) < SLACK_SHOWS
    assert slack.endswith("|Silence>")
    assert page.rstrip().endswith("</html>")
    assert sum(len(quopri.encodestring(body.encode())) for body in (text, page)) < MAIL_SHOWS
    for body in (slack, text, page):
        assert body.count("It fails.") > 1
        assert re.search(r"\d+ more(?:</b>)? in other workspaces", body) or workspaces == 1
        assert "300 in all" in body


def test_alerts_of_several_workspaces_stand_together_by_workspace(tmp_path: Path) -> None:
    """As they come with another `group_by`, which amtool can render without waiting."""
    alerts = [
        of_everything("firing", workspace, bot)
        for bot, workspace in (
            ("Help", "acme"),
            ("Bills", "beta"),
            ("Orders", "acme"),
            ("Returns", "beta"),
        )
    ]
    data = {"status": "firing", "alerts": alerts, "groupLabels": {}, "commonLabels": {}}
    for name, kind in MEDIA:
        text = rendered(tmp_path, name, data, kind)
        words = ("acme", "Help", "Orders", "beta", "Bills", "Returns")
        places = [text.index(word) for word in words]
        assert places == sorted(places), text
        assert text.count("acme") == text.count("beta") == 1


def test_resolved_alerts_stand_apart_and_alone_they_are_good_news(desk: Desk) -> None:
    desk.post("over", "Support", "Sales")
    desk.first("over")
    # One that has ended, told with one that goes on; then the other.
    desk.alerting.post(posted(desk, "over", "Sales"), ended=True)
    partly = wait_for(
        lambda: [one for one in desk.slack("over") if "1 firing, 1 resolved" in one["title"]],
        "not told",
        more=desk.alerting.say,
    )[0]
    firing, _, resolved = as_read(partly["text"]).partition("*Resolved*")
    assert "Bot Support" in firing
    assert "Sales" not in firing
    assert resolved.startswith("\n• Sales, after ")
    desk.alerting.post(posted(desk, "over", "Support"), ended=True)
    last = wait_for(
        lambda: [one for one in desk.slack("over") if one["title"].startswith("[RESOLVED]")],
        "not told",
        more=desk.alerting.say,
    )[0]
    assert last["color"] == "good"
    wait_for(
        lambda: [mail for mail in desk.mails("over") if "[RESOLVED]" in mail["Subject"]], "no mail"
    )


def posted(desk: Desk, case: str, bot: str) -> Labels:
    """The labels of an alert that has been posted."""
    every: list[Labels] = [json.loads(labels) for labels in desk.alerting.began]
    (found,) = (each for each in every if (each.get("job"), each.get("bot")) == (case, bot))
    return found


def test_a_hostile_name_stays_a_name(desk: Desk) -> None:
    desk.post("hostile", HOSTILE)
    slack, mail = desk.first("hostile")
    for text in (slack["title"], slack["fallback"], slack["text"]):
        assert "<!channel>" not in text
        assert "<https://evil" not in text
        assert "&lt;!channel&gt;" in text
        assert "\u202e" not in text
        assert "\r" not in text
    for text in (str(mail["Subject"]), part(mail, "plain"), part(mail, "html")):
        assert "\u202e" not in text
        assert "\nBcc" not in text
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])
    page = Page(part(mail, "html"))
    assert "script" not in page.tags
    assert not any("evil" in link for link in page.links)
    assert "<!channel> <https://evil.example|Log in> </style>" in page.text


def test_a_link_that_is_no_link_is_none_in_a_mail(desk: Desk) -> None:
    alert = {"alertname": "X", "severity": "critical", "workspace": "link", "job": "link"}
    desk.alerting.post(alert, annotations={"dashboard_url": "javascript:alert(1)"})
    _, mail = desk.first("link")
    assert not any("javascript" in link for link in Page(part(mail, "html")).links)


def test_a_webhook_for_a_chat_gets_the_text_in_its_own_form(tmp_path: Path) -> None:

    def for_critical(config: dict[str, Any], url: str) -> None:
        """Put the example in the place of the receiver for critical alerts."""
        *others, chat = config["receivers"]
        del chat["webhook_configs"][0]["url_file"]
        chat["webhook_configs"][0]["url"] = url
        chat["name"] = "critical"
        config["receivers"] = [each for each in others if each["name"] != "critical"] + [chat]

    with alertmanager_in(tmp_path, "- name", change=for_critical) as alerting:
        labels = {"alertname": "SeasaltDataStale", "severity": "critical", "workspace": "chat"}
        alerting.post({**labels, "bot": 'Say "hi"'}, annotations=TEXTS)
        messages = alerting.webhook.messages
        wait_for(lambda: messages, "nothing comes", more=alerting.say)
        ((_, body),) = messages
        assert body.keys() == {"text"}
        title, _, text = body["text"].partition("\n\n")
        assert title == '[CRITICAL] Data from the API is stale: Say "hi", chat'
        assert 'Bot Say "hi" of workspace chat: 3 reports have stale data.' in text


BUSY: Final = {
    "SeasaltBotSilent",
    "SeasaltNoAgentAvailable",
    "SeasaltVolumeDropped",
    "SeasaltChannelSilent",
    "SeasaltRatingsStopped",
}
"""What means nothing on a holiday."""


def test_on_a_holiday_only_what_depends_on_how_busy_people_are_is_not_told(
    tmp_path: Path,
) -> None:

    def always(config: dict[str, Any], _: str) -> None:
        config["time_intervals"][0]["time_intervals"] = [{"days_of_month": ["1:31"]}]

    with alertmanager_in(tmp_path, change=always) as alerting:
        people = {name for name, labels in ALERTS.items() if labels["category"] not in OF_CATEGORY}
        for name in people:  # a job of its own each, so that none inhibits another
            alerting.post({"alertname": name, "job": name, "workspace": "acme", **ALERTS[name]})
        wait_for(lambda: alerting.muted() == BUSY, "not muted", more=alerting.muted)
        told = {(name, name) for name in people - BUSY}
        wait_for(lambda: told <= alerting.told("firing"), "not told", more=alerting.say)
        assert alerting.told("firing") == told


def test_the_page_says_what_arrives_of_every_alert(tmp_path: Path) -> None:
    blocks = ("slack_configs", "webhook_configs")
    with alertmanager_in(tmp_path, *blocks) as alerting:
        found = arrived(alerting)
    for alert in fired():
        receiver = OF_CATEGORY.get(alert.labels["category"], alert.labels["severity"])
        assert found[alert.name][0] == receiver
        assert alert.annotations["description"] in found[alert.name][1]
    assert found.keys() == {n for n, labels in ALERTS.items() if labels["category"] != "inhibitor"}
    text = PAGE.read_text(encoding="utf-8")
    if REWRITE:
        PAGE.write_text(with_notifications(text, found), encoding="utf-8")
    else:
        assert with_notifications(text, found) == text, "tests/rewrite writes it anew"
