"""Whatever stands in a page or in the store: no crash, no hang, no figure's text that turns into markup.

The inputs are made of pieces of our own syntax, put together as an author would never do. A few hundred of each kind
run by default, more than a hundred thousand in `make check-all`, each in a process's share of the time limit.
"""

from __future__ import annotations

import json
import logging
import time
from html.parser import HTMLParser

import markdown
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vgdocs.engine import record as records
from vgdocs.engine.figure import FigureError
from vgdocs.engine.library import Entry, Library
from vgdocs.engine.numbers import fill, format_number
from vgdocs.engine.record import FORMAT, Keys, Record, Verdict
from vgdocs.engine.store import Store
from vgdocs.pages.markdown import Context, VgdocsExtension

EXTENSIONS = ["admonition", "attr_list", "footnotes", "md_in_html", "tables", "toc", "pymdownx.arithmatex"]
EXTENSIONS += ["pymdownx.details", "pymdownx.superfences"]
EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{x}</div></td>-->]]>"
NAMED = ("halving", "evil", "broken", "pending", "failing")
HANGS = 20.0  # seconds for one input: none is that slow, however busy the machine


def times(few: int, many: int):
    """So many inputs by default, and so many in `make check-all`."""
    return pytest.mark.parametrize("inputs", [few, pytest.param(many, marks=pytest.mark.slow)])


def fuzz(strategy, inputs: int, test) -> None:
    """Try a property on so many inputs, and say how many there were and how long that took."""
    count = 0
    start = time.monotonic()

    @settings(
        max_examples=inputs,
        deadline=None,  # machines are busy; what hangs is caught by `HANGS`
        database=None,
        derandomize=inputs < 10_000,  # the short run is the same everywhere, the long one looks for what is new
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def tried(value):
        nonlocal count
        count += 1
        before = time.process_time()
        test(value)
        assert time.process_time() - before < HANGS, "one input took longer than all should"

    tried()
    print(f"{count} inputs in {time.monotonic() - start:.0f} s")


class Tags(HTMLParser):
    """The elements of some HTML with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def harmless(html: str) -> None:
    """What a figure says stays text: none of it became an element or an attribute that runs."""
    for tag, attributes in Tags(html).found:
        assert tag not in ("script", "img", "iframe", "object"), html
        assert not [name for name in attributes if name.startswith("on")], html


# ---------------------------------------------------------------- pages

names = st.sampled_from([*NAMED, "havling", "a.b", "../x", "", " ", "@0", "x" * 300, "Ünï", "1"])
numbers = st.sampled_from(["last", "deep.rate", "deep", "lo", "evil", "", "0", "last.last", "__class__", "Δ"])
specs = st.sampled_from(["", ".2e", ".1%", "d", "huge", "{}", ".99e", "<b>", ",", " .3g", ".2e:.3e", "=^9999999d"])
cited = st.builds(
    "{}{}{}{}{}{}".format,
    st.sampled_from(["[[", "[[", "[[", "[", "[[[", "\\[[", "`[["]),
    names,
    st.sampled_from([".", ".", "", ".."]),
    numbers,
    st.builds("{}{}".format, st.sampled_from([":", "", "::"]), specs),
    st.sampled_from(["]]", "]]", "]]", "]", "]]]", "]]`", ""]),
)
maths = st.sampled_from(
    [
        "$x$",
        "$$x$$",
        "$",
        "$$\n\\frac{1}{0}\n$$",
        "$\\href{javascript:alert(1)}{x}$",
        "$\\htmlData{x=1}{y}$",
        "$[[x.y]]$",
    ]
)
inline = st.one_of(
    cited,
    maths,
    st.sampled_from(
        ["word", "*em*", "**", "`code`", "<b>", "</div>", "<!--", "&lt;", "|", "\\", "[^1]", "{: .x }", "\x02"]
    ),
    st.text(max_size=12),
)
line = st.lists(inline, max_size=5).map(" ".join)
option = st.one_of(
    st.builds("    {}: {}".format, st.sampled_from(["code", "height", "type", "x", "<b>"]), line),
    st.sampled_from(
        ["    code: measure", "    code: measure, draw", "    code: no", "    - x", "    {", "    code: [1]"]
    ),
)
fence = st.sampled_from(["///", "////", "//", "/////", "    ///", "> ///", "- ///"])
opening = st.one_of(
    st.builds("{} figure | {}".format, fence, names),
    st.builds(
        "{} {}".format, fence, st.sampled_from(["numbers", "times", "changes", "figure", "figure |", "note", "| x"])
    ),
)


@st.composite
def block(draw, depth=0):
    lines = [draw(opening), *draw(st.lists(option, max_size=2)), ""]
    lines += draw(st.lists(line, max_size=3))
    if depth < 3 and draw(st.booleans()):
        lines.append(draw(block(depth=depth + 1)))
    if draw(st.integers(0, 4)):
        lines.append(draw(fence))
    return "\n".join(lines)


paragraph = st.one_of(
    line,
    block(),
    block(),
    st.builds("{} {}".format, st.sampled_from(["#", "##", ">", "-", "1.", "!!! note", "???", "    "]), line),
    st.builds("```{}\n{}\n```".format, st.sampled_from(["", "python", "figure"]), line),
    st.builds("| {} | {} |\n|---|---|\n| {} | {} |".format, line, line, line, line),
    st.builds("---\n{}\n---".format, line),
    st.builds("<div markdown>\n{}\n</div>".format, line),
    st.builds("[^1]: {}".format, line),
)
pages = st.lists(paragraph, max_size=6).map("\n\n".join)


def make_record(name: str, **content) -> Record:
    plot = {"data": [{"type": "scatter", "y": [0.5, 1], "name": "left"}], "layout": {}}
    fields = {"measured": {"last": 0.5, "deep": {"median": 1, "rate": 2}}, "plot": plot, "verdicts": ()} | content
    fields["measured"] = {"last": 0.5, "first": 0.5} | fields["measured"]
    fields |= {"inputs": {}, "versions": {}, "made": "2026-01-02T03:04:05+00:00", "seconds": 0.1}
    return Record(name, 0, "cpu", Keys("a" * 64, "c" * 64), **fields)


def entry_of(project, name: str, record: Record | None) -> Entry:
    return Entry(name, project.figure(name), record)


@pytest.fixture
def library(project) -> Library:
    """A figure of each kind; the scripts are never run."""
    library = Library(project.root)
    verdict = Verdict("claim_halving_is_exact", False, f"line 1: {EVIL}", ("last",))
    evil = make_record(
        "evil", plot={"data": [{"y": [1], "name": EVIL, "x": [EVIL]}], "layout": {"xaxis": {"title": EVIL}}}
    )
    library.entries = {
        "halving": entry_of(project, "halving", make_record("halving")),
        "evil": entry_of(project, "evil", evil),
        "broken": Entry("broken", error=FigureError(project.figures / "broken.py", EVIL, 3, EVIL)),
        "pending": entry_of(project, "pending", None),
        "failing": entry_of(project, "failing", make_record("failing", verdicts=(verdict,))),
    }
    return library


@pytest.fixture
def convert(library):
    """Converts pages one after another, as a builder does: nothing of one page may be left for the next."""
    context = Context(library, page="index.md")
    md = markdown.Markdown(
        extensions=[*EXTENSIONS, VgdocsExtension(context=context)],
        extension_configs={"pymdownx.arithmatex": {"generic": True}},
    )

    def convert(text: str) -> tuple[str, list[str]]:
        context.problems.clear()
        md.reset()
        return md.convert(text), [problem.message for problem in context.problems]

    return convert


@times(150, 20_000)
def test_pages(convert, inputs):
    """Every page is converted, and one that holds no HTML of its author's yields none that runs."""

    def converts(text):
        html, problems = convert(text)
        assert isinstance(html, str)
        assert all(isinstance(problem, str) and problem for problem in problems)
        harmless(html)

    fuzz(pages, inputs, converts)


# ---------------------------------------------------------------- what figures say

text = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [EVIL, "<b>", "&lt;", "`<i>`", "{last:.2e}", "{last:<}", "\x02stash\x03", "wzxhzdk:0", "javascript:x"]
    ),
    st.lists(st.sampled_from(["<", ">", '"', "'", "&", "`", "{", "}", "x", "onload=1"]), max_size=12).map("".join),
)
plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(text, inner, max_size=3)),
    max_leaves=8,
)
traces = st.fixed_dictionaries(
    {"y": st.lists(st.one_of(st.floats(), st.integers(), text, st.none()), max_size=4)},
    optional={"name": text, "x": st.lists(text, max_size=4), "meta": plain, "text": plain, "type": st.just("bar")},
)


@times(50, 5_000)
def test_what_a_figure_says_stays_text(convert, library, inputs):
    """Names, titles, ticks, messages of a failed claim, an exception's text: none becomes markup."""
    page = "[[halving.last]]\n\n/// figure | halving\n    code: measure\n\nA caption.\n///\n\n"
    page += "/// figure | broken\n///\n\n/// numbers\n///\n\n/// times\n///\n"
    figure = library.entries["halving"].figure
    claims = figure.claims

    def shows(said):
        trace, title, message, broken = said
        verdict = Verdict(claims[0].name, False, message, (message, "last"))
        plot = {"data": [trace], "layout": {"xaxis": {"title": {"text": title}}, "title": title}}
        record = make_record("halving", measured={"text": message}, plot=plot, verdicts=(verdict,))
        library.entries["halving"] = Entry("halving", figure, record)
        library.entries["broken"] = Entry("broken", error=FigureError(figure.path, broken, 1, broken))
        html, _ = convert(page)
        harmless(html)
        (shown,) = [a for _, a in Tags(html).found if a.get("data-plot")]
        assert json.loads(shown["data-plot"]) == json.loads(json.dumps(plot))

    fuzz(st.tuples(traces, text, text, text), inputs, shows)


@times(500, 40_000)
def test_numbers(inputs):
    """Any number and any spec: a ValueError for a bad spec, else nothing but digits, signs, <sup>."""

    def formats(pair):
        value, spec = pair
        try:
            shown = format_number(value, spec)
        except ValueError:
            return
        assert {tag for tag, _ in Tags(shown.html).found} <= {"sup"}
        assert not set(shown.html.replace("<sup>", "").replace("</sup>", "")) & set("<>&\"'")
        assert "<" not in shown.text

    values = st.one_of(st.integers(), st.floats(), st.integers(10**300, 10**400))
    fuzz(
        st.tuples(values, st.one_of(specs, st.from_regex(r"[+ ]?,?(\.\d{1,2})?[defgEFG%]?", fullmatch=True), text)),
        inputs,
        formats,
    )


@times(200, 5_000)
def test_sentences(inputs):
    def fills(template):
        try:
            fill(template, {"last": 0.5, "deep.rate": 2})
        except (KeyError, ValueError):
            return

    fuzz(
        st.lists(st.one_of(text, st.sampled_from(["{last}", "{deep.rate:.1%}", "{", "}"])), max_size=5).map("".join),
        inputs,
        fills,
    )


# ---------------------------------------------------------------- the record reader


@st.composite
def contents(draw):
    """The JSON of a record, whole or with parts of it replaced, missing or more than there should be."""
    content = json.loads(make_record("halving", verdicts=(Verdict("claim_a", True, "", ("last",)),)).to_json())
    del content["digest"]
    for _ in range(draw(st.integers(0, 3))):
        at = content
        while isinstance(at, dict) and at and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or draw(st.booleans()):
                at[key] = draw(plain)
                break
            at = at[key]
        else:
            if isinstance(at, dict) and at and draw(st.booleans()):
                del at[draw(st.sampled_from(sorted(at)))]
            elif isinstance(at, dict):
                at[draw(text)] = draw(plain)
    return content


def check_record(record: Record) -> None:
    """What the reader lets pass can be shown: everything has its type."""
    assert record.format == FORMAT
    assert all(
        isinstance(value, str) for value in (record.name, record.device, record.made, *vars(record.keys).values())
    )
    assert all(
        isinstance(text, str) for pair in (record.inputs, record.versions) for item in pair.items() for text in item
    )
    assert isinstance(record.seed, int)
    assert isinstance(record.plot["layout"], dict)
    assert all(isinstance(verdict.name, str) and isinstance(verdict.message, str) for verdict in record.verdicts)
    for value in record.numbers.values():
        format_number(value, "")
    assert Record.from_json(record.to_json()) == record


@times(300, 20_000)
def test_whole_records_of_any_content(inputs):
    """A right digest proves nothing but that no bit was lost: a record is one only if its content is, too."""

    def reads(content):
        try:
            record = Record.from_json(records.seal(json.dumps(content)))
        except ValueError:
            return
        check_record(record)

    fuzz(contents(), inputs, reads)


@times(300, 20_000)
def test_files_of_any_content(tmp_path, caplog, inputs):
    """Bytes that no record ever had, in the place of one: the store finds nothing there."""
    caplog.set_level(logging.ERROR)  # each damaged file is told, which is too often here
    store = Store(tmp_path)
    good = make_record("halving")
    store.save(good)
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_bytes()

    def damage(parts):
        at, length, filling = parts
        at %= len(whole)
        return whole[:at] + filling + whole[at + length :]

    replaced = st.tuples(st.integers(0), st.integers(0, 40), st.binary(max_size=8)).map(damage)

    def finds(data):
        path.write_bytes(data)
        assert store.find("halving", good.keys) == (good if data == whole else None)

    fuzz(st.one_of(st.binary(max_size=200), replaced, plain.map(lambda v: json.dumps(v).encode())), inputs, finds)
