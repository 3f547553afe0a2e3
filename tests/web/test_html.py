import ast
import re
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, strategies as st

from exporter.web.html import Html, html, joined

WEB = Path(__file__).parents[2] / "exporter/web"
PAGES = sorted(WEB.glob("status_*.py"))
CALLS = [
    node
    for file in PAGES
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    if node.func.id in {"html", "Html"}
]


def placeholders(template: str) -> Iterator[re.Match[str]]:
    return re.finditer(r"\{\w+\}", template)


@given(st.text())
def test_whatever_is_put_into_a_template_is_text(text: str) -> None:
    found = html('<a title="{title}">{text}</a>', title=text, text=text)

    assert re.fullmatch('<a title="[^<>"\']*">[^<>"\']*</a>', found, re.DOTALL)


def test_what_came_out_of_a_template_is_not_escaped_again() -> None:
    inner = html("<b>{text}</b>", text="a < b")

    assert html("<p>{inner}</p>", inner=inner) == "<p><b>a &lt; b</b></p>"
    assert joined((inner, inner), "<br>") == "<b>a &lt; b</b><br><b>a &lt; b</b>"
    assert type(joined(())) is Html


def test_every_template_of_the_page_is_a_constant() -> None:
    assert len(CALLS) > 50
    for call in CALLS:
        template = call.args[0]
        assert isinstance(template, ast.Constant), ast.unparse(call)
        assert isinstance(template.value, str)


def test_what_is_put_into_an_attribute_stands_in_quotes() -> None:
    for call in CALLS:
        template = str(ast.literal_eval(call.args[0]))
        for found in placeholders(template):
            begun = template.rfind("<", 0, found.start())
            if begun > template.rfind(">", 0, found.start()):  # within a tag
                assert template[begun : found.start()].count('"') % 2 == 1, template


def test_nothing_but_a_template_makes_html() -> None:
    made = [
        f"{file.name}: {line}"
        for file in (WEB / "html.py", *PAGES)
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"\bHtml\(|\bcast\(", line)
    ]

    assert made == [
        "html.py: class Html(str):",
        "html.py:     return Html(",
        "html.py:     return Html(between.join(parts))",
        "html.py: NOTHING: Final = Html()",
        'status_style.py: STYLE: Final = Html("""',
    ]
