"""What MkDocs does for a page and mkdocs-jupyter leaves out for a lab: mathematics and links to other pages.

A lab goes through nbconvert, which knows neither our Markdown extension nor MkDocs' link rewriting.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from html import escape, unescape

from vgdocs.math import MathError, typesetter

Report = Callable[[str, str], None]  # (message, the text to look for in the lab's source)
Resolve = Callable[
    [str], str | None
]  # a page's source, relative to docs/, to its address; None if there is no such page

VERBATIM = re.compile(r"(<(?P<tag>pre|code|script|style|textarea)\b.*?</(?P=tag)>|<[^>]*>)", re.DOTALL)
FORMULA = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$]*[^\s$])?)\$(?!\w)", re.DOTALL)
LINK = re.compile(r'(?P<head><a\b[^>]*\bhref=")(?P<target>[^":#?]+\.md)(?P<anchor>#[^"]*)?"')


def typeset(html: str, report: Report) -> str:
    """Typeset `$…$` and `$$…$$` in a lab's HTML, outside code and tags."""

    def one(match: re.Match[str]) -> str:
        display = match["display"] is not None
        tex = unescape(match["display"] if display else match["inline"]).strip()
        try:
            return typesetter().render(tex, display)
        except MathError as error:
            report(str(error), tex)
            return (
                f'<span class="vg-error" role="alert">Formula: {escape(str(error))}: <code>{escape(tex)}</code></span>'
            )

    parts = VERBATIM.split(html)  # by threes: text, then what stays as it is, then that element's name or None
    parts[::3] = [FORMULA.sub(one, text) for text in parts[::3]]
    del parts[2::3]
    return "".join(parts)


def link(html: str, source: str, resolve: Resolve, report: Report) -> str:
    """Point links to Markdown sources at the pages made from them. `source` is the lab's own, relative to docs/."""

    def one(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["target"]))
        address = resolve(target)
        if address is None:
            report(f"the lab links to {match['target']}, which isn't a page", match["target"])
            return match[0]
        return f'{match["head"]}{address}{match["anchor"] or ""}"'

    return LINK.sub(one, html)
