"""The Markdown extension: figures, cited numbers, the page of all numbers, and what is told of their misuse."""

import itertools
import json
from typing import Any, ClassVar

import markdown
import pytest
from bs4 import BeautifulSoup

from vgdocs.engine.library import Library
from vgdocs.pages import markdown as markdown_module
from vgdocs.pages.markdown import Context, VgdocsExtension

LAST = (
    '<data class="vg-number" data-figure="halving" data-number="last" title="halving.last = 0.0009765625" '
    'value="0.0009765625">9.8 × 10<sup>−4</sup></data>'
)
CITE = "[[halving.last:.1e]]"
FAILS = 'def claim_it_grows(m):\n    """It grows to {last:.1e}."""\n    assert m["last"] > m["first"]\n'
ROWS = """\
def measure(seed: int = SEED) -> dict:
    page = {"text": "halving", "page": "part/halving.md"}
    rows = [{"step": "*one*", "left": 0.5, "shown_in": page}, {"step": "<two>", "left": 0.25, "shown_in": ""}]
    return {"first": 0.5, "last": 0.5**10, "left": [0.5**n for n in range(11)], "steps": rows}
"""
DRAW_TWO = """\
def draw(m: dict) -> go.Figure:
    fig = go.Figure(go.Scatter(x=[1, 2], y=[0.5, 0.25], name="a <b>"))
    fig.add_scatter(x={x}, y=[3.0, None], name="b")
    fig.add_scatter(x=[1, 2, 2, 1], y=[0, 0, 1, 1], meta={{"band": True}})
    fig.update_layout(xaxis_title="layer<br>n", yaxis={{"title": {{"text": "norm"}}}})
    return fig
"""
DRAW_PANELS = """\
def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True)
    for row in (1, 2):
        fig.add_scatter(x=[1, 2], y=[0.5, row], name="a", row=row, col=1)
        for _ in range(row):
            fig.add_scatter(x=[1, 2], y=[1, 1], name="theory", row=row, col=1)
    fig.update_xaxes(title="layer", row=2, col=1)
    fig.update_yaxes(title="gradient,<br>relative", row=1, col=1)
    return fig.update_yaxes(title="share", row=2, col=1)
"""


@pytest.fixture(scope="module")
def measured(make_project, tmp_path_factory):
    """One project for all tests that only convert."""
    project = make_project(tmp_path_factory.mktemp("measured"))
    project.script()
    project.script("failing", claims=FAILS)
    project.script(
        "broken", measure="def measure(seed: int = SEED) -> dict:\n    raise ValueError('no <such> layer')\n"
    )
    project.script("listed", measure=ROWS)
    project.script("bands", draw=DRAW_TWO.format(x="[1, 2]"))
    project.script("ragged", draw=DRAW_TWO.format(x="[1, 3]"))
    project.script("panels", draw=f"from plotly.subplots import make_subplots\n\n\n{DRAW_PANELS}")
    pie = "def draw(m: dict) -> go.Figure:\n    return go.Figure(go.Pie(labels=['a', 'b'], values=[1, 2]))\n"
    project.script("pie", draw=pie)
    project.measured = project.library()
    return project


@pytest.fixture
def convert(measured):
    return lambda text, **options: measured.convert(text, measured.measured, **options)


def soup_of(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"Left: {CITE}.", f"<p>Left: {LAST}.</p>"),
            (f"**{CITE}**", f"<p><strong>{LAST}</strong></p>"),
            (f"*{CITE}*", f"<p><em>{LAST}</em></p>"),
            (f"[{CITE} is left](x.md)", f'<p><a href="x.md">{LAST} is left</a></p>'),
            (f"- {CITE}", f"<ul>\n<li>{LAST}</li>\n</ul>"),
            (
                f'!!! note "Only {CITE}"\n    Text.',
                f'<div class="admonition note">\n<p class="admonition-title">Only {LAST}</p>\n<p>Text.</p>\n</div>',
            ),
            (
                f"| a |\n|---|\n| {CITE} |",
                "<table>\n<thead>\n<tr>\n<th>a</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n"
                f"<td>{LAST}</td>\n</tr>\n</tbody>\n</table>",
            ),
        ],
    )
    def test_where_a_number_can_be_cited(self, convert, text, expected):
        html, problems = convert(text)
        assert _sorted_attributes(html) == _sorted_attributes(expected)
        assert problems == []

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"`{CITE}`", f"<p><code>{CITE}</code></p>"),
            (f"\\{CITE}", f"<p>{CITE}</p>"),
            (f"    {CITE}", f"<pre><code>{CITE}\n</code></pre>"),
            (f"<!-- {CITE} -->", f"<!-- {CITE} -->"),
            ("[[1.5, 2.5]] and [[]]", "<p>[[1.5, 2.5]] and [[]]</p>"),
        ],
    )
    def test_where_it_is_inert(self, convert, text, expected):
        assert convert(text) == (expected, [])

    @pytest.mark.parametrize("text", [f"```\n{CITE}\n```", "$x + [[halving.last]]$", "$$\n[[halving.last]]\n$$"])
    @pytest.mark.parametrize(
        "order",
        list(itertools.permutations(["pymdownx.superfences", "pymdownx.arithmatex", "attr_list"])),
        ids="-".join,
    )
    def test_it_is_inert_in_fences_and_mathematics_whatever_the_order_of_extensions(self, convert, text, order):
        html, problems = convert(f"{text}\n\n{CITE}", extensions=list(order))
        assert problems == []
        assert html.count("vg-number") == 1

    @pytest.mark.parametrize(
        ("text", "problem", "shown"),
        [
            ("[[halving.lst]]", "halving measures no number 'lst'; did you mean last or first?", "halving.lst: "),
            ("[[havling.last]]", "there is no figure 'havling'; did you mean halving or failing?", "havling.last: "),
            ("[[halving]]", "which number of halving? Write it after a dot, as in [[halving.name:.2e]]", "halving: "),
            (
                "[[halving.last:huge]]",
                "'huge' isn't a number format; use .2e, .3f, .3g, d, .1% or none",
                "halving.last:huge: ",
            ),
            ("[[broken.last]]", "broken has no numbers: raises ValueError: no <such> layer", "broken.last: "),
        ],
    )
    def test_what_cannot_be_resolved_is_told_and_shown(self, convert, text, problem, shown):
        html, problems = convert(f"It is {text}.")
        assert problems == [problem]
        (box,) = soup_of(html).select(".vg-error[role=alert]")
        assert box.get_text() == shown + problem

    @pytest.mark.parametrize(
        "text",
        [
            "[[ halving.last ]]",
            "[[halving.last :.2e]]",
            "[[halving.last|.2e]]",
            "[[halving.a-b]]",
            "[[halving.last:.2e]",
        ],
    )
    def test_what_is_nearly_a_citation_is_told(self, convert, text):
        html, problems = convert(f"It is {text}.")
        assert problems == ["this cites no number: write [[figure.number:.2e]]"]
        assert "vg-error" in html

    @pytest.mark.parametrize("heading", [f"## Left {CITE}", f"Left {CITE}\n----"])
    def test_a_number_in_a_heading_is_told(self, convert, heading):
        _, problems = convert(heading)
        assert problems == ["a heading cites a number, which would move its anchor with each measurement"]


class TestFigure:
    def test_an_embedded_figure(self, convert, measured):
        html, problems = convert(f"/// figure | halving\n\nThe *caption* has {CITE}.\n///\n")
        assert problems == []
        (figure,) = soup_of(html).select("figure.vg-figure")
        assert (figure["id"], figure["data-figure"]) == ("fig-halving", "halving")
        assert figure.select_one(".vg-finding").get_text() == "Halving ten times leaves 9.77 × 10−4."
        plot = figure.select_one(".vg-plot")
        assert plot["aria-label"] == "Halving ten times leaves 9.77 × 10⁻⁴."
        assert plot["role"] == "img"
        assert json.loads(plot["data-plot"]) == measured.measured.entries["halving"].record.plot
        assert str(figure.figcaption.p) == f"<p>The <em>caption</em> has {_sorted_attributes(LAST)}.</p>"
        (claim,) = figure.select(".vg-claims li")
        assert claim["data-passed"] == "true"
        assert claim.get_text() == "After the first step 0.5 is left, and 9.77 × 10−4 after the last."
        assert figure.select_one(".vg-claims summary").get_text() == "1 claim checked by this build"
        assert figure.select_one(".vg-source pre").get_text().strip() == measured.script().read_text().strip()
        assert not figure.select(".vg-code")

    def test_no_script_holds_data(self, convert):
        """Material would execute it on instant navigation."""
        assert not soup_of(convert("/// figure | halving\n///\n")[0]).select("script")

    def test_its_options(self, convert):
        html, problems = convert("/// figure | halving\n    code: measure, draw\n///\n")
        soup = soup_of(html)
        assert problems == []
        assert [summary.get_text() for summary in soup.select(".vg-code summary")] == [
            "The code of measure",
            "The code of draw",
        ]
        assert soup.select(".vg-code pre")[0].get_text().startswith("def measure(seed: int = SEED) -> dict:\n    left")

    def test_notes_in_words(self, project):
        """A measured list of strings, which may hold anything."""
        project.edit(project.figures / "halving.py", '"first":', '"said": {"why": ["a <b>", "c"]}, "first":')
        html, problems = project.convert("/// figure | halving\n    notes: said.why\n///\n")
        assert problems == []
        (notes,) = soup_of(html).select(".vg-notes")
        assert notes.summary.get_text() == "2 notes"
        assert [item.get_text() for item in notes.select("li")] == ["a <b>", "c"]

    @pytest.mark.parametrize(("rows", "style"), [(1, None), (2, "--vg-height: 28rem"), (3, "--vg-height: 42rem")])
    def test_panels_above_one_another_need_height(self, project, rows, style):
        body = f"from plotly.subplots import make_subplots\n    fig = make_subplots(rows={rows}, cols=2)"
        project.script(draw=f"def draw(m: dict) -> go.Figure:\n    {body}\n    return fig.add_scatter(y=m['left'])\n")
        html, _ = project.convert("/// figure | halving\n///\n")
        assert soup_of(html).select_one(".vg-plot").get("style") == style

    @pytest.mark.parametrize(
        ("text", "problems"),
        [
            ("/// figure | havling\n///", ["there is no figure 'havling'; did you mean halving or failing?"]),
            (
                "/// figure | halving\n///\n\n/// figure | halving\n///",
                ["the page shows the figure halving twice"],
            ),
            (
                "/// figure | halving\n    code: mesure\n///",
                ["halving.py has no function 'mesure'; did you mean measure?"],
            ),
            (
                "/// figure | halving\n    notes: left\n///",
                ["halving measures no list of strings 'left'"],
            ),
            (
                "/// figure | halving\n    notes: missing.list\n///",
                ["halving measures no list of strings 'missing.list'"],
            ),
            (
                "/// figure | halving\n\nThe caption.\n\nThe rest of the page.",
                ["the block of the figure halving isn't closed by ///"],
            ),
            ("/// figure | halving\n    colour: red\n///", ["NO BLOCK"]),
            ("/// figure | halving\n    colour: red\n\nCaption.\n///", ["NO BLOCK"]),
            ("Text before\n/// figure | halving\n    colour: red\n\nCaption.\n///", ["NO BLOCK"]),
            ("**Text** before\n/// figure | halving\n    : [\n///", ["NO BLOCK"]),
            ("/// figure\n///", ["NO BLOCK"]),
            ("/// figures | halving\n///", ["NO BLOCK"]),
            ("Text.\n\n///", ["NO BLOCK"]),
        ],
    )
    def test_misuse_is_told_and_shown(self, convert, text, problems):
        html, found = convert(text)
        no_block = markdown_module.NO_BLOCK
        assert found == [no_block if problem == "NO BLOCK" else problem for problem in problems]
        assert soup_of(html).select(".vg-error[role=alert]")

    @pytest.mark.parametrize("text", ["```\n/// figure | no\n///\n```", "`/// figure | no`", "https:///x and a///b"])
    def test_what_only_looks_like_a_block_is_left_alone(self, convert, text):
        assert convert(text)[1] == []

    def test_a_claim_that_fails_is_shown_with_the_figure(self, convert):
        html, problems = convert("/// figure | failing\n///\n")
        soup = soup_of(html)
        assert problems == []  # the report tells of it, once however many pages show it
        assert soup.select_one(".vg-error strong").get_text() == (
            "This build's measurement contradicts: It grows to 9.8 × 10⁻⁴."
        )
        assert soup.select_one(".vg-error pre").get_text() == 'line 25: assert m["last"] > m["first"]'
        assert soup.select_one(".vg-claims li")["data-passed"] == "false"
        assert soup.select_one(".vg-plot")

    def test_a_script_that_fails_is_shown_with_its_traceback(self, convert):
        html, _ = convert("/// figure | broken\n    code: measure\n///\n")
        soup = soup_of(html)
        message = "figures/broken.py:13: raises ValueError: no <such> layer"
        assert soup.select_one(".vg-error strong").get_text() == message
        assert "raise ValueError('no <such> layer')" in soup.select_one(".vg-error pre").get_text()
        assert not soup.select(".vg-plot")

    def test_a_figure_still_to_be_measured(self, project):
        html, problems = project.convert(f"/// figure | halving\n///\n\n{CITE}", project.library(run=False))
        assert problems == []
        assert [box.get_text() for box in soup_of(html).select(".vg-pending")] == [
            "halving is being measured; the page reloads when it is done.",
            "…",
        ]

    def test_claims_that_were_not_judged_are_not_said_to_be(self, project, monkeypatch):
        project.library()
        project.edit(project.figures / "halving.py", "== 0.5**10", "== 0.5**11")
        monkeypatch.setenv("VGDOCS_RUN", "never")
        soup = soup_of(project.convert("/// figure | halving\n///\n")[0])
        assert soup.select_one(".vg-claims summary").get_text() == "1 claim, not checked by this build"
        assert soup.select_one(".vg-claims li")["data-passed"] == "unknown"

    def test_each_page_may_show_it_once(self, measured):
        """Whether a builder makes a new converter for each page, or resets one."""
        context = Context(measured.measured)
        md = markdown.Markdown(extensions=[VgdocsExtension(context=context)])
        for _ in range(2):
            assert "vg-plot" in md.reset().convert("/// figure | halving\n///\n")
        assert context.problems == []


class TestTable:
    BLOCK = "/// table | listed.steps\n    format: .1f\n    root: ../\n\nHalves, from {} on.\n///\n"

    def test_rows_become_a_table_that_says_what_it_is(self, convert):
        html, problems = convert(self.BLOCK.format("[[listed.first:.1f]]"))
        soup = soup_of(html)
        assert problems == []
        assert soup.caption.get_text().strip() == "Halves, from 0.5 on."
        assert [(cell["scope"], cell.get_text()) for cell in soup.select("thead th")] == [
            ("col", "step"),
            ("col", "left"),
            ("col", "shown in"),
        ]
        assert [cell["scope"] for cell in soup.select("tbody th")] == ["row", "row"]
        assert [[cell.get_text() for cell in row.select("th, td")] for row in soup.select("tbody tr")] == [
            ["*one*", "0.5", "halving"],
            ["<two>", "0.2", ""],
        ]
        assert soup.select_one("tbody a")["href"] == "../part/halving.md"
        assert [cell["data-label"] for cell in soup.select("tbody tr")[0].select("td")] == ["left", "shown in"]

    def test_rows_of_several_names_and_some_of_their_columns(self, convert):
        html, problems = convert("/// table | listed.steps listed.steps\n    columns: left, step\n///\n")
        rows = [[cell.get_text() for cell in row.select("th, td")] for row in soup_of(html).select("tbody tr")]
        assert problems == []
        assert rows == [["0.5", "*one*"], ["0.25", "<two>"]] * 2

    @pytest.mark.parametrize(
        ("block", "problem"),
        [
            ("/// table | havling.steps\n///", "there is no figure 'havling'; did you mean halving or failing?"),
            ("/// table | broken.steps\n///", "broken has no rows: raises ValueError: no <such> layer"),
            ("/// table | listed.steep\n///", "listed measures no rows 'steep': a list of dictionaries, one a row"),
            ("/// table | listed.left\n///", "listed measures no rows 'left': a list of dictionaries, one a row"),
            ("/// table | listed\n///", "listed measures no rows '': a list of dictionaries, one a row"),
            ("/// table | listed.steps\n    columns: lift\n///", "a row has no column 'lift'; did you mean left?"),
        ],
    )
    def test_misuse_is_told_and_shown(self, convert, block, problem):
        html, problems = convert(block)
        assert problems == [problem]
        assert problem in soup_of(html).select_one(".vg-error[role=alert]").get_text()
        assert not soup_of(html).select("table")

    def test_a_format_that_is_none(self, convert):
        html, (problem,) = convert("/// table | listed.steps\n    format: .1q\n///")
        assert ".1q" in problem
        assert not soup_of(html).select("table")

    def test_rows_still_to_be_measured(self, project):
        project.script("listed", measure=ROWS)
        html, problems = project.convert("/// table | listed.steps\n///\n", project.library(run=False))
        assert problems == []
        assert soup_of(html).select_one(".vg-table.vg-pending")


class TestRecorded:
    BLOCK = "/// recorded | docs/elsewhere.json deep\n**Open**: `run it`.\n///\n\nAfter.\n"
    DEEP: ClassVar[dict[str, Any]] = {
        "made": "2026-01-02",
        "device": "a GPU <b>",
        "versions": {"Python": "3.11", "CUDA": "12.8"},
        "hours": 1.25,
        "peak_gb": 13.04,
        "trained": True,
        "runs": {"one": {}, "two": {}},
        "rows": [{"network": "deep", "best_rate": 0.001, "fitted": 0.98765}],
    }

    def shown(self, project, content: object) -> tuple[BeautifulSoup, list[str]]:
        if content is not None:
            (project.docs / "elsewhere.json").write_text(json.dumps(content), encoding="utf-8")
        html, problems = project.convert(self.BLOCK)
        return soup_of(html), problems

    @pytest.mark.parametrize("content", [None, {}, {"wide": DEEP}])
    def test_until_it_is_measured_the_page_says_what_it_says(self, project, content):
        soup, problems = self.shown(project, content)
        assert problems == []
        assert soup.select_one("strong").text == "Open"
        assert not soup.select("table")

    def test_then_the_values_with_their_device_and_date(self, project):
        soup, problems = self.shown(project, {"deep": self.DEEP})
        assert problems == []
        told = "on 2026-01-02 on a GPU <b> with Python 3.11, CUDA 12.8: 2 networks in 1.25 hours, at most 13 GB."
        assert soup.select_one(".vg-table caption").text == f"Measured {told}"
        assert [cell.text for cell in soup.select("thead th")] == ["network", "best rate", "fitted"]
        assert [cell.text for cell in soup.select("tbody th, tbody td")] == ["deep", "0.001", "0.988"]
        assert "Open" not in soup.text
        assert soup.select_one("p").text == "After."

    def test_a_comparison_that_compares_nothing_is_told(self, project):
        soup, _ = self.shown(project, {"deep": self.DEEP | {"trained": False}})
        assert soup.select_one("caption").text.endswith("so that this is no comparison yet.")

    @pytest.mark.parametrize("content", [[1], {"deep": 1}, {"deep": DEEP | {"rows": []}}, {"deep": {"rows": [{}]}}])
    def test_what_is_no_record_is_told(self, project, content):
        soup, (problem,) = self.shown(project, content)
        assert problem.startswith("docs/elsewhere.json deep: ")
        assert soup.select_one(".vg-error[role=alert]")
        assert not soup.select("table")

    def test_a_name_is_needed(self, project):
        html, (problem,) = project.convert("/// recorded | docs/elsewhere.json\n///\n")
        assert "vg-error" in html
        assert problem


class TestData:
    @pytest.mark.parametrize(
        ("figure", "head", "rows"),
        [
            ("bands", ["layer n", "a", "b"], [["1", "0.5", "3"], ["2", "0.25", ""]]),
            (
                "panels",
                [
                    *("layer", "a: gradient, relative", "theory: gradient, relative"),
                    *("a: share", "theory 1: share", "theory 2: share"),
                ],
                [["1", "0.5", "1", "0.5", "1", "1"], ["2", "1", "1", "2", "1", "1"]],
            ),
            (
                "ragged",
                ["series", "layer n", "norm"],
                [["a <b>", "1", "0.5"], ["a <b>", "2", "0.25"], ["b", "1", "3"], ["b", "3", ""]],
            ),
        ],
    )
    def test_what_is_drawn_as_a_table_without_bands(self, convert, figure, head, rows):
        table = soup_of(convert(f"/// figure | {figure}\n///\n")[0]).select_one(".vg-data table")
        assert [" ".join(cell.get_text().split()) for cell in table.select("th")] == head
        assert [[cell.get_text() for cell in row.select("td")] for row in table.select("tbody tr")] == rows

    def test_a_plot_without_points(self, convert):
        data = soup_of(convert("/// figure | pie\n///\n")[0]).select_one(".vg-data")
        assert data.p.get_text() == "This figure draws no points."


def test_the_page_of_all_numbers(convert):
    html, problems = convert("/// numbers\n///\n")
    soup = soup_of(html)
    assert problems == []
    names = ["bands", "broken", "failing", "halving", "listed", "panels", "pie", "ragged"]
    assert [heading["id"] for heading in soup.select("h2")] == names
    halving = soup.select("h2")[3].find_next("table")
    assert [[cell.get_text() for cell in row.select("td")] for row in halving.select("tbody tr")] == [
        ["first", "0.5", "halving is exact"],
        ["last", "0.000977", "halving is exact"],
    ]
    assert "no <such> layer" in soup.select("h2")[1].find_next(class_="vg-error").get_text()


@pytest.mark.parametrize(
    ("times", "rows"),
    [
        ({"a": 3.0, "b": 1.0}, [["a", "75%"], ["b", "25%"]]),
        ({"a": 0.0}, [["a", "0%"]]),
        (
            {f"f{i}": 1.0 for i in range(10)},
            [*([f"f{i}", "10%"] for i in range(8)), ["the other 2", "20%"]],
        ),
    ],
)
def test_the_table_of_times(convert, monkeypatch, times, rows):
    monkeypatch.setattr(Library, "times", lambda library: times)
    html, problems = convert("/// times\n///\n")
    assert problems == []
    assert [[cell.get_text() for cell in row.select("td")] for row in soup_of(html).select("tbody tr")] == rows


class TestWithoutThePlugin:
    """Under a builder that knows Markdown extensions only, such as Zensical."""

    def convert(self, project, text: str) -> str:
        return markdown.markdown(text, extensions=["vgdocs.markdown"], extension_configs=self.options(project))

    def options(self, project) -> dict:
        return {"vgdocs.markdown": {"root": str(project.root)}}

    def test_it_measures_and_follows_edits(self, project):
        assert "9.8 × 10" in self.convert(project, CITE)
        project.edit(project.figures / "halving.py", "STEPS = 10", "STEPS = 20")
        assert "9.5 × 10" in self.convert(project, CITE)

    def test_the_articles_come_out_the_same_as_with_the_plugin(self, project):
        text = f"{CITE}\n\n/// figure | halving\n    code: measure\n\nCaption.\n///\n\n/// numbers\n///\n"
        assert self.convert(project, text) == project.convert(text, extensions=[])[0]

    def test_errors_are_boxes_in_the_page_for_the_check_to_find(self, project):
        project.script(measure="def measure(seed: int = SEED) -> dict:\n    raise ValueError\n")
        html = self.convert(project, f"{CITE}\n\n/// figure | halving\n///\n\n/// figure | no\n///\n")
        assert len(soup_of(html).select(".vg-error")) == 3


def test_no_exception_leaves_the_extension(project):
    """One would leave mkdocs serve stuck; here the library is in a state that can't be."""
    library = Library(project.root)
    html, problems = project.convert(f"{CITE}\n\n/// figure | halving\n///\n", library)
    assert html.count("vg-error") == 2
    assert problems == ["there is no figure 'halving'"] * 2


def _sorted_attributes(html: str) -> str:
    soup = soup_of(html)
    for tag in soup.find_all(True):
        tag.attrs = dict(sorted(tag.attrs.items()))
    return str(soup)


class TestTimes:
    def test_the_slowest_figures_are_named_with_their_shares(self, convert, monkeypatch):
        monkeypatch.setattr("vgdocs.pages.fragments.SLOWEST", 2)
        monkeypatch.setattr(Library, "times", lambda _: {"second": 6.0, "first": 3.0, "third": 1.0})
        html, problems = convert("/// times\n///")
        rows = [[cell.text for cell in row.select("td")] for row in soup_of(html).select(".vg-times tbody tr")]
        assert rows == [["second", "60%"], ["first", "30%"], ["the other 1", "10%"]]
        assert problems == []
