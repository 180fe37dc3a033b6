"""Mathematics typeset while the site is built: TeX goes in, KaTeX's HTML and MathML come out.

`pymdownx.arithmatex` (with `generic: true`) finds the formulas in a page; this module replaces each by its typeset
form, so a page carries no script for mathematics and asks no other host for one. KaTeX runs in mini-racer, an
embedded V8. Bad TeX becomes an error box in the page and a call of `report`, never an exception.

A formula comes out as

    <span class="arithmatex"><span hidden>σ_w^2</span><bdi data-search-exclude>KaTeX's markup</bdi></span>

The hidden line is what the search index reads, instead of the MathML, the TeX and the glyphs in a row. The wrapper
is a `bdi` because Material's indexer ends an exclusion at the first closing tag of the same name: KaTeX's markup is
full of spans, but holds no `bdi`.
"""

from __future__ import annotations

import atexit
import functools
import html
import re
from collections.abc import Callable, Iterator
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as etree

from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from vgdocs.pages.site_assets import KATEX

if TYPE_CHECKING:
    from markdown import Markdown

Report = Callable[[str, str], None]  # (message, the text to look for in the source)

HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
STRAY = re.compile(r"\$(\\\(.*?\\\))?\$[^\0\x02]*")  # up to the next element or escaped character
VERBATIM = {"code", "pre", "script", "style"}
RELATIONS = set("=≠<>≤≥≪≫≈∼≃≅≡∝∈→←↦⇒")
SCRIPTS = {"msub": "_", "munder": "_", "msup": "^", "mover": "^", "msubsup": "_^", "munderover": "_^"}
INVISIBLE = "\u2061\u2062\u200b"  # function application, times, zero-width space

# KaTeX by itself lets doubtful input pass with a warning or in red type; on a page nobody would notice.
DRIVER = """
const refuse = message => { throw new Error(message); };
const policy = {
  strict: (code, message) => refuse(message),
  trust: ({command}) => refuse(`${command} is not allowed`),
};
function typeset(tex, displayMode) {
  try {
    return {html: katex.renderToString(tex, {...policy, displayMode})};
  } catch (error) {
    const at = Number.isInteger(error.position) ? ` (character ${error.position + 1})` : "";
    return {error: (error.rawMessage ?? error.message) + at};
  }
}
"""


class MathError(ValueError):
    """TeX that cannot be typeset; the message says why and at which character."""


class EngineError(MathError):
    """The engine is missing or broken, so that every formula fails for the same reason."""


@functools.cache
def _engine() -> Any:
    """KaTeX in an embedded JavaScript engine, one a process: starting it costs more than a page of formulas."""
    try:
        from py_mini_racer import MiniRacer

        engine = MiniRacer()
        engine.eval(KATEX.read_text("utf-8"))
        engine.eval(DRIVER)
    except ImportError as error:
        raise EngineError("formulas need the package mini-racer: pip install '.[site]'") from error
    except Exception as error:
        raise EngineError(f"the mathematics engine does not start: {error}") from error
    # Python stops the engine's thread before it collects the engine, which would wait for that thread for ever.
    atexit.register(engine.close)
    return engine


@functools.cache
def render(tex: str, display: bool) -> str:
    """HTML and MathML of a formula. Raises `MathError` for bad TeX, `EngineError` without an engine."""
    engine = _engine()
    try:
        answer = engine.call("typeset", tex, display)
    except Exception as error:
        raise EngineError(f"the mathematics engine failed: {error}") from error
    if "error" in answer:
        raise MathError(answer["error"])
    return str(answer["html"])


def plain_text(markup: str) -> str:
    """The MathML in KaTeX's markup as one line of Unicode text, for names, search and alternative texts."""
    ((formula, _),) = etree.fromstring(re.findall("<math.*?</math>", markup, re.DOTALL)[0])  # the other is its TeX
    parts = [_line(child) for child in formula] if formula.tag.endswith("mrow") else [_line(formula)]
    return " ".join(_joined([f" {part} " if part in RELATIONS else part for part in parts]).split())


def _line(element: etree.Element) -> str:
    tag = element.tag.rpartition("}")[2]
    parts = [_line(child) for child in element]
    text = _joined(parts) or (element.text or "").strip(INVISIBLE)
    if tag == "mi" and len(text) > 1:
        return f" {text} "  # log, max
    if tag == "mfrac":
        return f"{_grouped(parts[0])}/{_grouped(parts[1])}"
    if tag == "msqrt":
        return f"√{_grouped(text)}"
    if tag in SCRIPTS and "true" not in (element.get("accent"), element.get("accentunder")):
        scripts = [
            part if set(part) <= {"′"} else mark + _grouped(part)
            for mark, part in zip(SCRIPTS[tag], parts[1:], strict=True)
        ]
        return parts[0].rstrip() + "".join(scripts)
    if tag == "mtable":
        return "; ".join(parts)
    if tag == "mtr":
        return " ".join(part for part in parts if part)
    return text


def _joined(parts: list[str]) -> str:
    """`W_l` and `h` make `W_l h`: without the space the index would seem to go on."""
    gaps = (" " if re.search(r"[_^]\w+$", left) and right[:1].isalnum() else "" for left, right in pairwise(parts))
    return "".join(gap + part for gap, part in zip(chain([""], gaps), parts, strict=False))


def _grouped(line: str) -> str:
    line = line.strip()
    return line if len(line) == 1 or re.fullmatch(r"[\w.^∂∇′√]*", line) else f"({line})"


class _Processor(Treeprocessor):
    def __init__(self, md: Markdown, report: Report) -> None:
        super().__init__(md)
        self.report = report


class _Labels(_Processor):
    """Runs before toc: a heading's formulas appear in the table of contents as text."""

    def run(self, root: etree.Element) -> None:
        if "toc" not in self.md.treeprocessors:
            return
        for heading in _headings_with_math(root):
            if "data-toc-label" not in heading.attrib:
                heading.set("data-toc-label", "".join(_readable(heading)))


class _Names(_Processor):
    """Runs after toc, which made the anchor from the TeX, and before MkDocs reads the page's title."""

    def run(self, root: etree.Element) -> None:
        for heading in _headings_with_math(root):
            for formula in _formulas(heading):
                formula.set("data-tex", formula.text or "")
                formula.text = AtomicString(_readable_tex(formula.text or ""))
        self._find_stray_dollars(root)

    def _find_stray_dollars(self, element: etree.Element) -> None:
        # Here an escaped dollar is still a code, so that two dollars are what arithmatex left alone.
        if element.tag in VERBATIM or _is_formula(element):
            return
        for child in list(element):
            self._find_stray_dollars(child)
        text = element.text or ""
        for child in element:
            text += ((child.text or "") if _is_formula(child) else "\0") + (child.tail or "")
        if stray := STRAY.search(text):
            message = "a displayed formula stands in a paragraph of its own, without blank lines inside"
            snippet = re.sub(r"\\[()]", "$", stray[0]).strip()
            self.report(message, snippet)
            box = _error_box(message, snippet)
            box.tail, element.text = element.text, None
            element.insert(0, box)


class _Formulas(_Processor):
    """Runs last: puts KaTeX's markup, or an error box, where arithmatex found a formula."""

    def run(self, root: etree.Element) -> None:
        dead = ""  # the engine's error: one report of it is enough for a page
        for formula in list(_formulas(root)):
            tex, display = _tex(formula.attrib.pop("data-tex", formula.text or ""))
            try:
                formula.text = self._typeset(tex, display)
            except Exception as error:
                message = str(error)
                formula.text = None
                formula[:] = [_error_box(message, tex)]
                if message != dead:
                    self.report(message, tex)
                if isinstance(error, EngineError):
                    dead = message
        for element in root.iter():
            for name in ("alt", "title"):
                if text := element.get(name):
                    element.set(name, re.sub(r"\\\(.+?\\\)", lambda m: _readable_tex(m[0]), text))

    def _typeset(self, tex: str, display: bool) -> str:
        if not tex:
            raise MathError("an empty formula, or pymdownx.arithmatex without `generic: true`")
        markup = render(tex, display)
        text = html.escape(plain_text(markup), quote=False)
        return self.md.htmlStash.store(f"<span hidden>{text}</span><bdi data-search-exclude>{markup}</bdi>")


def _error_box(message: str, snippet: str) -> etree.Element:
    """The box in place of a formula that can't be typeset."""
    box = etree.Element("span", {"class": "vg-error", "role": "alert"})
    box.text = AtomicString(html.escape(f"Formula: {message}: ", quote=False))
    code = etree.SubElement(box, "code")
    code.text = AtomicString(html.escape(snippet, quote=False))
    return box


def register(md: Markdown, report: Report) -> None:
    """Make `md` typeset its formulas; `report(message, snippet)` is called for each one that cannot be."""
    md.treeprocessors.register(_Labels(md, report), "vgdocs-math-labels", 5.5)  # toc: 5
    md.treeprocessors.register(_Names(md, report), "vgdocs-math-names", 4.5)  # MkDocs: 1
    # after whoever reads the text of a heading: without its tags KaTeX's markup says everything three times
    md.treeprocessors.register(_Formulas(md, report), "vgdocs-math", -10)


def _is_formula(element: etree.Element) -> bool:
    return "arithmatex" in element.get("class", "").split()


def _formulas(root: etree.Element) -> Iterator[etree.Element]:
    return (element for element in root.iter() if _is_formula(element))


def _headings_with_math(root: etree.Element) -> Iterator[etree.Element]:
    return (element for element in root.iter() if element.tag in HEADINGS and any(map(_is_formula, element.iter())))


def _tex(source: str) -> tuple[str, bool]:
    r"""TeX, and whether it is displayed; arithmatex writes `\(…\)` as it was and `\[…\]` with & and < escaped."""
    if source.startswith("\\["):
        return html.unescape(source[2:-2]).strip(), True
    return (source[2:-2].strip() if source.startswith("\\(") else ""), False


def _readable(element: etree.Element) -> Iterator[str]:
    if _is_formula(element):
        yield _readable_tex(element.text or "")
    else:
        yield element.text or ""
        for child in element:
            yield from _readable(child)
            yield child.tail or ""


def _readable_tex(source: str) -> str:
    tex, _ = _tex(source)
    try:
        return plain_text(render(tex, False))
    except Exception:
        return tex  # reported where the formula itself is typeset
