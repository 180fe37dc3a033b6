"""What MkDocs does for a page and mkdocs-jupyter leaves out for a lab: mathematics, links to other pages, a download.

A lab goes through nbconvert, which knows neither our Markdown extension nor MkDocs' link rewriting.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable
from html import escape, unescape
from typing import Any

from bs4 import BeautifulSoup, Tag

from vgdocs.pages.math import MathError, Report, render
from vgdocs.pages.site_assets import UNDRAWN

# a page's source, relative to docs/, to its address; None if there is no such page
Resolve = Callable[[str], str | None]

PIECES = (".jp-MarkdownOutput", ".highlight-ipynb pre", ".jp-OutputArea-output")  # text, code and what it prints
LONGEST = 180  # characters of a description that search engines show
VERBATIM = re.compile(r"(<(?P<tag>pre|code|script|style|textarea)\b.*?</(?P=tag)>|<[^>]*>)", re.DOTALL)
FORMULA = re.compile(r"\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$]*[^\s$])?)\$(?!\w)", re.DOTALL)
LINK = re.compile(r'(?P<head><a\b[^>]*\bhref=")(?P<target>[^":#?]+\.(?:md|py))(?P<anchor>#[^"]*)?"')
PLOT = re.compile(  # as `notebook.plot_html` writes it; nbconvert sorts the attributes and prefers other quotes
    r"""(?P<open><div\b(?=[^>]*\bclass="vg-plot")[^>]*\bdata-plot=(?P<quote>["'])(?P<plot>.*?)(?P=quote)[^>]*>)\s*</div>"""
)
MARKDOWN_LINK = re.compile(r"(?P<head>\]\()(?P<target>[^():#?\s]+\.(?:md|py))(?P<anchor>#[^()\s]*)?\)")


def slim(html: str) -> str:
    """A lab's cells without JupyterLab's style (90 KB, compressed), scripts and wrappings.

    What is left is HTML like that of any page, to which the site's own style and its copy button apply.
    """
    pieces = BeautifulSoup(html, "html.parser").select(", ".join(PIECES))
    return "\n".join(_piece(piece) for piece in pieces) or html


def describe(html: str) -> str:
    """What a lab is about, for search engines and shared links: the beginning of its first paragraph."""
    first = BeautifulSoup(html, "html.parser").p
    words = " ".join(first.get_text().split()) if first else ""
    kept = ""
    for sentence in re.findall(r".+?[.?!:](?=\s|$)", words):
        if len(kept) + len(sentence) > LONGEST:
            break
        kept = f"{kept} {sentence.strip()}".strip()
    return kept


def _piece(piece: Tag) -> str:
    inner = piece.decode_contents()
    if piece.name == "pre":
        return f'<div class="highlight"><pre><code>{inner}</code></pre></div>'
    if "jp-MarkdownOutput" in piece["class"]:
        return inner.replace('class="anchor-link"', 'class="headerlink"')
    return f'<div class="vg-output">{inner}</div>'


def typeset(html: str, report: Report) -> str:
    """Typeset `$…$` and `$$…$$` in a lab's HTML, outside code and tags."""

    def one(match: re.Match[str]) -> str:
        display = match["display"] is not None
        tex = unescape(match["display"] if display else match["inline"]).strip()
        try:
            return render(tex, display)
        except MathError as error:
            report(str(error), tex)
            told = f"Formula: {escape(str(error))}: <code>{escape(tex)}</code>"
            return f'<span class="vg-error" role="alert">{told}</span>'

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


def plots(html: str) -> list[dict[str, Any]]:
    """What the figures in a lab's HTML draw."""
    return [json.loads(unescape(match["plot"])) for match in PLOT.finditer(html)]


def illustrate(html: str, poster: Callable[[dict[str, Any]], str]) -> str:
    """Put its poster into each figure of a lab's HTML."""

    def one(match: re.Match[str]) -> str:
        return f"{match['open']}{poster(json.loads(unescape(match['plot']))) or UNDRAWN}</div>"

    return PLOT.sub(one, html)


def offer(html: str, source: str) -> str:
    """Put a link to the notebook, which `notebook` makes and which lies beside the page, under a lab's title."""
    name = f"{posixpath.basename(source).removesuffix('.py')}.ipynb"
    line = f'<p class="vg-download"><a href="{escape(name)}" download>Download as a notebook</a> (.ipynb)</p>'
    head, end, rest = html.partition("</h1>")
    return f"{head}{end}{line}{rest}" if end else line + html


def notebook(text: str, source: str, resolve: Resolve) -> str:
    """A lab in percent format as the text of an .ipynb, always the same for the same lab.

    `resolve` gives a page's whole address, since the notebook leaves the site; without one, a link stays as it is.
    """
    import jupytext  # type: ignore[import-untyped]

    def one(match: re.Match[str]) -> str:
        address = resolve(posixpath.normpath(posixpath.join(posixpath.dirname(source), match["target"])))
        return f"{match['head']}{address}{match['anchor'] or ''})" if address else match[0]

    content = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate(content.cells, start=1):
        cell["id"] = f"cell-{number}"  # it would be random
        if cell.cell_type == "markdown":
            cell.source = MARKDOWN_LINK.sub(one, cell.source)
    written: str = jupytext.writes(content, fmt="ipynb")
    return written
