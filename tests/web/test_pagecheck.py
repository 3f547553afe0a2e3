"""Our page checker finds each kind of problem, and none where there is none."""

import pytest
from hypothesis import given, strategies as st
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest as as_text
from prometheus_client.openmetrics.exposition import generate_latest as as_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from support.pagecheck import problems, series

GAUGE = "# HELP a_gauge What it is.\n# TYPE a_gauge gauge\n"
COUNTER = "# HELP a_total What it is.\n# TYPE a_total counter\n"
HISTOGRAM = "# HELP a_seconds What it is.\n# TYPE a_seconds histogram\n"
OPEN = "# HELP a What it is.\n# TYPE a counter\n"

GOOD = {
    "gauges": GAUGE + 'a_gauge{b="c"} 1\na_gauge{b="d"} -2.5e-3\na_gauge 3\n',
    "an empty label beside none": GAUGE + 'a_gauge{b=""} 1\n',
    "a family without samples": GAUGE,
    "a counter": COUNTER + "a_total 1\n",
    "a histogram": HISTOGRAM
    + 'a_seconds_bucket{le="1.0"} 1\na_seconds_bucket{le="+Inf"} 2\na_seconds_sum 3\n'
    + "a_seconds_count 2\n",
    "escapes": GAUGE + 'a_gauge{b="\\\\ \\" \\n } 1"} 1\n',
    "braces, commas and equals signs in a value": GAUGE + 'a_gauge{b="{x=\\"y\\", 1} 2"} 1\n',
    "letters of all scripts": GAUGE + 'a_gauge{b="支援 · 🌊"} 1\n',
    "TYPE before HELP": "# TYPE a_gauge gauge\n# HELP a_gauge What it is.\na_gauge 1\n",
    "two families": GAUGE + "a_gauge 1\n" + COUNTER + "a_total 1\n",
}

BAD = {
    "not UTF-8": (GAUGE.encode() + b'a_gauge{b="\xff"} 1\n', 3, "not UTF-8"),
    "a surrogate": (GAUGE.encode() + b'a_gauge{b="\xed\xa0\x80"} 1\n', 3, "not UTF-8"),
    "nothing": ("", 1, "empty"),
    "a last line cut off": (GAUGE + "a_gauge 1", 3, "does not end in a newline"),
    "no HELP": ("# TYPE a_gauge gauge\na_gauge 1\n", 1, "a_gauge has 0 HELP lines"),
    "two HELP": (
        "# HELP a_gauge One.\n" + GAUGE + "a_gauge 1\n",
        1,
        "a_gauge has 2 HELP lines",
    ),
    "an empty HELP": (
        "# HELP a_gauge \n# TYPE a_gauge gauge\na_gauge 1\n",
        1,
        "a_gauge has an empty HELP",
    ),
    "a HELP without even a space": (
        "# HELP a_gauge\n# TYPE a_gauge gauge\na_gauge 1\n",
        1,
        "a_gauge has an empty HELP",
    ),
    "no TYPE": (
        "# HELP a_gauge What it is.\na_gauge 1\n",
        2,
        "a_gauge does not belong to the family above it",
    ),
    "two TYPE": (GAUGE + "# TYPE a_gauge gauge\na_gauge 1\n", 1, "a_gauge has 2 TYPE lines"),
    "an unknown TYPE": (GAUGE.replace(" gauge", " gage"), 2, "no such type: gage"),
    "a TYPE after a sample": (
        GAUGE + "a_gauge 1\n# TYPE a_gauge gauge\n",
        4,
        "a_gauge is declared after its samples",
    ),
    "a family in two places": (
        GAUGE + "a_gauge 1\n" + COUNTER + "a_total 1\n" + GAUGE + 'a_gauge{b="c"} 1\n',
        7,
        "a_gauge is in two places",
    ),
    "a sample in another family": (
        GAUGE + "a_gauge 1\n" + COUNTER + "a_total 1\na_gauge 2\n",
        7,
        "a_gauge does not belong to the family above it",
    ),
    "a sample of no family": ("a 1\n", 1, "a does not belong to the family above it"),
    "a histogram's plain sample": (
        HISTOGRAM + "a_seconds 1\n",
        3,
        "a_seconds does not belong to the family above it",
    ),
    "a gauge's sum": (GAUGE + "a_gauge_sum 1\n", 3, "a_gauge_sum does not belong to the family"),
    "a bucket without le": (
        HISTOGRAM + "a_seconds_bucket 1\n",
        3,
        "a_seconds_bucket has no le",
    ),
    "a counter without _total": (
        "# HELP a What it is.\n# TYPE a counter\na 1\n",
        1,
        "a: a counter's name must end in _total",
    ),
    "a series twice": (GAUGE + 'a_gauge{b="c"} 1\na_gauge{b="c"} 2\n', 4, "this series twice"),
    "a series twice in another order": (
        GAUGE + 'a_gauge{b="c",d="e"} 1\na_gauge{d="e",b="c"} 1\n',
        4,
        "this series twice",
    ),
    "a series twice but for an empty label": (
        GAUGE + 'a_gauge{b=""} 1\na_gauge 1\n',
        4,
        "this series twice",
    ),
    "a label twice": (GAUGE + 'a_gauge{b="c",b="d"} 1\n', 3, "a label twice"),
    "a metric's name": (
        GAUGE.replace("a_gauge", "a-gauge") + "a-gauge 1\n",
        1,
        "no name of a family: 'a-gauge'",
    ),
    "a rule's name": (
        GAUGE.replace("a_gauge", "a:gauge") + "a:gauge 1\n",
        3,
        "no name of a metric: 'a:gauge'",
    ),
    "a label's name": (GAUGE + 'a_gauge{b-c="d"} 1\n', 3, "no name of a label: 'b-c'"),
    "a reserved label": (GAUGE + 'a_gauge{__b="d"} 1\n', 3, "no name of a label: '__b'"),
    "no number": (GAUGE + "a_gauge NaN\n", 3, "not a finite number: NaN"),
    "infinity": (GAUGE + "a_gauge +Inf\n", 3, "not a finite number: +Inf"),
    "a number too large": (GAUGE + "a_gauge 1e999\n", 3, "not a finite number: 1e999"),
    "Python's True": (GAUGE + "a_gauge True\n", 3, "not a finite number: True"),
    "Python's underscores": (GAUGE + "a_gauge 1_000\n", 3, "not a finite number: 1_000"),
    "digits that are not ASCII": (GAUGE + "a_gauge \u0661\n", 3, "not a finite number"),
    "a timestamp": (GAUGE + "a_gauge 1 1700000000000\n", 3, "not a sample, or one with"),
    "a value missing": (GAUGE + "a_gauge\n", 3, "not a sample"),
    "an empty line": (GAUGE + "\na_gauge 1\n", 3, "not a sample"),
    "a comment": (GAUGE + "# made by hand\na_gauge 1\n", 3, "neither HELP nor TYPE"),
    "an OpenMetrics end": (GAUGE + "a_gauge 1\n# EOF\n", 4, "neither HELP nor TYPE"),
    "a raw carriage return": (GAUGE + 'a_gauge{b="c\r"} 1\n', 3, "control character"),
    "a raw NUL": (GAUGE + 'a_gauge{b="\x00"} 1\n', 3, "control character"),
    "a raw C1 control": (GAUGE + 'a_gauge{b="\x85"} 1\n', 3, "control character"),
    "a quote that does not close": (GAUGE + 'a_gauge{b="c} 1\n', 3, "labels that cannot be read"),
    "a comma at the end": (GAUGE + 'a_gauge{b="c",} 1\n', 3, "labels that cannot be read"),
    "empty braces": (GAUGE + "a_gauge{} 1\n", 3, "labels that cannot be read"),
    "an unknown escape": (GAUGE + 'a_gauge{b="\\t"} 1\n', 3, "no such escape: \\t"),
    "an HTML page": ("<html>\n", 1, "not a sample"),
}

BAD_OPENMETRICS = {
    "no end": (OPEN + "a_total 1\n", 3, "does not end in # EOF"),
    "something after the end": (OPEN + "# EOF\na_total 1\n# EOF\n", 3, "# EOF before the end"),
    "nothing": ("", 1, "does not end in # EOF"),
    "the end without a newline": (OPEN + "a_total 1\n# EOF", 4, "does not end in a newline"),
    "a counter's family with _total": (
        COUNTER + "a_total_total 1\n# EOF\n",
        1,
        "a_total: a counter's name must not end in _total",
    ),
    "a counter's sample without _total": (
        OPEN + "a 1\n# EOF\n",
        3,
        "a does not belong to the family above it",
    ),
    "the text format's untyped": (
        OPEN.replace("counter", "untyped") + "# EOF\n",
        2,
        "no such type",
    ),
}


@pytest.mark.parametrize("page", GOOD.values(), ids=GOOD)
def test_a_good_page_has_no_problem_and_reads_as_the_client_library_reads_it(page: str) -> None:
    assert problems(page.encode()) == []
    theirs = {
        (sample.name, frozenset(pair for pair in sample.labels.items() if pair[1])): sample.value
        for family in read_text(page)
        for sample in family.samples
    }
    assert series(page.encode()) == theirs


@pytest.mark.parametrize(("page", "line", "text"), BAD.values(), ids=BAD)
def test_a_bad_page_has_its_problem_told(page: str | bytes, line: int, text: str) -> None:
    found = problems(page if isinstance(page, bytes) else page.encode())
    assert [problem for problem in found if problem.line == line and text in problem.text], found


@pytest.mark.parametrize(("page", "line", "text"), BAD_OPENMETRICS.values(), ids=BAD_OPENMETRICS)
def test_bad_openmetrics_has_its_problem_told(page: str, line: int, text: str) -> None:
    found = problems(page.encode(), openmetrics=True)
    assert [problem for problem in found if problem.line == line and text in problem.text], found


def test_a_problem_shows_its_line() -> None:
    assert [str(problem) for problem in problems(b"a 1")] == [
        "line 1: does not end in a newline",
        "line 1: empty",
    ]


values = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n"))


@given(labelled=st.dictionaries(texts.filter(bool), values, max_size=5), counted=st.integers(0, 9))
def test_what_the_client_library_writes_has_no_problem_in_either_format(
    labelled: dict[str, float], counted: int
) -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the exporter does
    registry = CollectorRegistry()
    gauge = Gauge("a_gauge", "Some help: \\ and\nmore.", ["label"], registry=registry)
    for label, value in labelled.items():
        gauge.labels(label).set(value)
    Counter("b_total", "Help.", registry=registry).inc(counted)
    Histogram("c_seconds", "Help.", registry=registry).observe(counted)
    text = as_text(registry)
    openmetrics = as_openmetrics(registry)  # type: ignore[no-untyped-call]

    assert problems(text) == []
    assert problems(openmetrics, openmetrics=True) == []
    read = series(text)
    assert read["b_total", frozenset()] == counted
    for label, value in labelled.items():
        assert read["a_gauge", frozenset({("label", label)})] == value
    families = read_openmetrics(openmetrics.decode())  # type: ignore[no-untyped-call]
    assert sum(len(family.samples) for family in families) == len(read)


@given(page=st.binary() | st.text().map(str.encode))
def test_no_page_makes_the_checker_fail(page: bytes) -> None:
    problems(page)
    problems(GAUGE.encode() + page, openmetrics=True)
