"""HTML in which every text is escaped, because nobody can forget to. Pure.

A page is made of templates. What is put into a template is escaped, unless it came out of a template
itself. The types tell the two apart: a page is a stream of `Html`, so the type checker rejects plain
text in it. `tests/web/test_html.py` holds that templates are constants, and that nothing else makes
`Html`.
"""

from collections.abc import Iterable
from html import escape
from typing import Final, LiteralString


class Html(str):
    """HTML that may be sent as it is."""

    __slots__ = ()


def html(template: LiteralString, /, **texts: object) -> Html:
    """A template with each `{name}` replaced; attributes that take one must have quotes."""
    return Html(
        template.format_map(
            {
                name: text if isinstance(text, Html) else escape(str(text))
                for name, text in texts.items()
            }
        )
    )


def joined(parts: Iterable[Html], between: LiteralString = "") -> Html:
    """Parts one after the other, with a piece of HTML between them."""
    return Html(between.join(parts))


NOTHING: Final = Html()
