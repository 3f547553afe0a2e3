from support.talk import HOURS
from support.workspaces import workspace

from exporter.commands.plan import lines

MODULES = {"hours": HOURS}


def test_the_plan_says_what_probes_and_knowledge_bases_cost_at_most() -> None:
    known = {"hours": HOURS.model_dump(mode="json")}
    one = workspace(
        ["label_overview"],
        bots=[{"id": "b0"}, {"id": "b1"}, {"id": "b2", "probes": []}],
        modules=known,
        probes=["hours"],
        knowledge_base=True,
        workspace_id="ws-1",
        discover_bots={},
    )
    told = list(lines(one, MODULES))
    cost = "at most {} messages an hour, in at most {} requests"
    assert told[-2:] == [
        f"  probes, where Prometheus asks for them: {cost.format(12, 84)}",
        f"  and for each bot that is discovered: {cost.format(6, 42)}",
    ]
    assert "  every 1h     each bot: the files of its knowledge base, a page or more" in told
    # A conversation, a question, and five looks for the answer: see `most_requests`.
    # The list of bots once an hour, the labels of the workspace, and the files of three bots.
    assert "  10 requests an hour, 240 a day" in told


def test_a_plan_without_probes_says_nothing_of_them() -> None:
    assert not [line for line in lines(workspace(bots=1)) if "probes" in line or "files" in line]
