r"""Formulas in Markdown come out typeset: what is in the page, what is reported, what is left alone."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import markdown
import pytest
from markdown.extensions import Extension

from vgdocs.pages import math
from vgdocs.pages.site_assets import KATEX

EXTENSIONS = [
    "abbr",
    "admonition",
    "attr_list",
    "def_list",
    "footnotes",
    "md_in_html",
    "tables",
    "toc",
    "pymdownx.arithmatex",
    "pymdownx.blocks.caption",
    "pymdownx.details",
    "pymdownx.superfences",
    "pymdownx.tabbed",
]


class Mathematics(Extension):
    def __init__(self, reports: list[tuple[str, str]]) -> None:
        super().__init__()
        self.reports = reports

    def extendMarkdown(self, md: markdown.Markdown) -> None:
        math.register(md, lambda message, snippet: self.reports.append((message, snippet)))


class Page:
    """A converted text, with the typeset formulas cut out of `outline` and their TeX in `formulas`."""

    def __init__(self, text: str, first: bool = False) -> None:
        self.reports: list[tuple[str, str]] = []
        own = Mathematics(self.reports)
        extensions = [own, *EXTENSIONS] if first else [*EXTENSIONS, own]
        options = {"pymdownx.arithmatex": {"generic": True}, "pymdownx.tabbed": {"alternate_style": True}}
        self.md = markdown.Markdown(extensions=extensions, extension_configs=options)
        self.html = self.md.convert(text)
        self.formulas = re.findall(r'<annotation encoding="application/x-tex">(.*?)</annotation>', self.html, re.S)
        self.outline = re.sub(r"<bdi data-search-exclude>.*?</bdi>", "KATEX", self.html, flags=re.S)
        self.headings = list(_flat(self.md.toc_tokens))


def _flat(tokens):
    for token in tokens:
        yield token["id"], token["name"]
        yield from _flat(token["children"])


def page_without_reports(text: str, **options) -> Page:
    page = Page(text, **options)
    assert page.reports == []
    assert "vg-error" not in page.html
    return page


class TextOutside(HTMLParser):
    """Text as Material's indexer sees it: an exclusion ends at the first closing tag of the same name."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.excluded = "", ""

    def handle_starttag(self, tag, attrs):
        if not self.excluded and "data-search-exclude" in dict(attrs):
            self.excluded = tag

    def handle_endtag(self, tag):
        if tag == self.excluded:
            self.excluded = ""

    def handle_data(self, data):
        self.text += "" if self.excluded else data


def indexed_text(page: Page) -> str:
    parser = TextOutside()
    parser.feed(page.html)
    return parser.text


# --- what a formula becomes ---------------------------------------------------------------------------------------


def test_an_inline_formula_is_mathml_for_readers_and_hidden_glyphs_for_eyes():
    page = page_without_reports(r"The rate is $\sqrt{\chi}$ here.")
    assert page.outline == ('<p>The rate is <span class="arithmatex"><span hidden>√χ</span>KATEX</span> here.</p>')
    assert page.formulas == [r"\sqrt{\chi}"]
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML"><semantics>' in page.html
    assert '<span class="katex-html" aria-hidden="true">' in page.html
    assert "katex-display" not in page.html


@pytest.mark.parametrize(
    "source",
    [
        "$$\nx < y \\quad z\n$$",
        "$$x < y \\quad z$$",
        "\\[\nx < y \\quad z\n\\]",
        "text\n\n$$\nx < y \\quad z\n$$\n\ntext",
    ],
)
def test_a_displayed_formula_is_a_block_whatever_its_fences(source):
    page = page_without_reports(source)
    assert '<div class="arithmatex">' in page.html
    assert '<span class="katex-display">' in page.html
    assert page.formulas == [r"x &lt; y \quad z"]


@pytest.mark.parametrize("environment", ["align", "aligned", "gather", "pmatrix", "cases"])
def test_environments_with_ampersands_survive_html_escaping(environment):
    body = r"a \\ b" if environment == "gather" else r"a &< b \\ c &> d"
    page = page_without_reports(f"$$\n\\begin{{{environment}}}\n{body}\n\\end{{{environment}}}\n$$")
    assert page.html.count("<mtr>") == 2
    assert "&amp;amp;" not in page.html
    assert "&amp;lt;" not in page.html


def test_an_environment_needs_no_dollars():
    page = page_without_reports("\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}")
    assert page.html.count('<span class="katex-display">') == 1


def test_unicode_letters_and_signs_are_tex_too():
    page = page_without_reports("$σ_w² = −1 × δ$")
    assert "<mi>σ</mi>" in page.html
    assert "<span hidden>σ_w^2 = −1×δ</span>" in page.html


def test_characters_of_html_stay_text():
    page = page_without_reports(r"$a<b$ and $a \& b$ and $a>b$")
    assert "<b>" not in page.html
    assert page.formulas == ["a&lt;b", r"a \&amp; b", "a&gt;b"]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("source", "around"),
    [
        ("| a | b |\n|---|---|\n| $x$ | y |", "<td>{}</td>"),
        ('!!! note "Title $x$"\n    text', '<p class="admonition-title">Title {}</p>'),
        ("!!! note\n    text $x$", "<p>text {}</p>"),
        ("??? note\n    text $x$", "<p>text {}</p>"),
        ("text\n\n/// caption\nBelow $x$\n///", "<figcaption>\n<p>Below {}</p>\n</figcaption>"),
        ("- item $x$\n- item", "<li>item {}</li>"),
        ("**bold $x$** text", "<strong>bold {}</strong>"),
        ("[link $x$](https://example.org)", '<a href="https://example.org">link {}</a>'),
        ("Term\n:   meaning $x$", "<dd>meaning {}</dd>"),
        ("Term $x$\n:   meaning", "<dt>Term {}</dt>"),
        ("note[^1]\n\n[^1]: below $x$", "<p>below {}&#160;"),
        ('<div markdown="1">\ninside $x$\n</div>', "<p>inside {}</p>"),
        ('=== "tab"\n    text $x$', "<p>text {}</p>"),
        ("*[x]: abbreviation\n\nplain $x$", "<p>plain {}</p>"),
    ],
)
def test_inline_formulas_work_wherever_text_does_in_any_order_of_extensions(source, around, first):
    page = page_without_reports(source, first=first)
    formula = '<span class="arithmatex"><span hidden>x</span>KATEX</span>'
    assert around.format(formula) in page.outline


@pytest.mark.parametrize(
    "source",
    [
        "- item\n\n    $$\n    x\n    $$\n\n- item",
        "!!! note\n    text\n\n    $$\n    x\n    $$",
        "text\n\n/// caption\n$$\nx\n$$\n///",
        "> quoted\n>\n> $$\n> x\n> $$",
    ],
)
def test_displayed_formulas_work_inside_other_blocks(source):
    page = page_without_reports(source)
    assert '<div class="arithmatex"><span hidden>x</span>KATEX</div>' in page.outline


# --- what is no formula -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "`$x$`",
        "```\n$x$\n\n$$\ny\n$$\n```",
        "```python\nprice = '$x$'\n```",
        "    $x$ in indented code",
        r"\$x\$",
        "prices like $5 and $6",
        "one $ alone",
        "<script>let $x$ = 1</script>",
        r"two \$\$ escaped \$\$ pairs and `$$`",
    ],
)
def test_code_prices_and_escaped_dollars_are_left_alone(source):
    page = page_without_reports(source)
    assert "katex" not in page.html
    assert "$" in page.html


def test_nothing_of_the_delimiters_is_left_over():
    page = page_without_reports(
        "# Head $a$ {title='$b$'}\n\n$c$ and ![alt $d$](i.png 'title $e$')\n\n$$\nf\n$$\n\n[TOC]"
    )
    assert not re.search(r"\\[(\[\])]", page.html + str(page.headings))
    assert 'alt="alt d"' in page.html


# --- headings -----------------------------------------------------------------------------------------------------


def test_a_heading_has_a_readable_name_and_an_anchor_from_its_tex():
    page = page_without_reports(r"## Why $\sigma_w^2$ matters & `code`" + "\n\n[TOC]")
    assert page.headings == [("why-sigma_w2-matters-code", "Why σ_w^2 matters &amp; code")]
    assert '<a href="#why-sigma_w2-matters-code">Why σ_w^2 matters &amp; code</a>' in page.html
    assert page.html.count("KaTeX") == page.html.count("data-tex") == page.html.count("data-toc-label") == 0
    assert page.formulas == [r"\sigma_w^2"]


def test_an_authors_own_label_and_anchor_win():
    page = page_without_reports('## The $q$ map {#map data-toc-label="The map"}')
    assert page.headings == [("map", "The map")]


def test_anchors_of_equal_formulas_differ():
    page = page_without_reports("## $q$\n\n## $q$")
    assert page.headings == [("q", "q"), ("q_1", "q")]


def test_a_comparison_in_a_heading_is_no_tag():
    page = page_without_reports(r"## If $\rho<1$ and $a > b$")
    assert page.headings == [("if-rho1-and-a-b", "If ρ &lt; 1 and a &gt; b")]


def test_mkdocs_reads_a_readable_title():
    page = Page("")
    seen = []

    class Title(markdown.treeprocessors.Treeprocessor):
        def run(self, root):
            seen.append("".join(root[0].itertext()))

    page.md.treeprocessors.register(Title(page.md), "title", 1)  # MkDocs's own priority
    page.md.convert(r"# Why $\sigma_w^2$ matters")
    assert seen == ["Why σ_w^2 matters"]


# --- search -------------------------------------------------------------------------------------------------------


def test_search_finds_each_formula_once_and_in_plain_text():
    page = Page("The error $\\delta_l = \\partial L / \\partial z_l$ obeys\n\n$$\n\\frac{a}{b+c}\n$$\n\nas shown.")
    assert " ".join(indexed_text(page).split()) == "The error δ_l = ∂L/∂z_l obeys a/(b+c) as shown."


@pytest.mark.parametrize(
    ("tex", "plain"),
    [
        (r"\delta_l", "δ_l"),
        (r"z_{l+1}", "z_(l+1)"),
        (r"\phi'(z)", "ϕ′(z)"),
        (r"W_l h_{l-1}", "W_l h_(l−1)"),
        (r"\frac{\partial L}{\partial z_l}", "∂L/∂z_l"),
        (r"\sigma_1\le 1/\gamma", "σ_1 ≤ 1/γ"),
        (r"\sum_{l=1}^{L}\log x_l", "∑_(l=1)^L log x_l"),
        (r"\sqrt{\pi/(\pi-1)}", "√(π/(π−1))"),
        (r"\operatorname{diag}(x)", "diag (x)"),
        (r"\mathbb{E}[x^2]", "E[x^2]"),
        (r"\text{fan-in}", "fan-in"),
        (r"\begin{pmatrix}a&b\\c&d\end{pmatrix}", "(a b; c d)"),
        ("x", "x"),
        ("", ""),
    ],
)
def test_a_formula_in_one_line_of_text(tex, plain):
    assert math.plain_text(math.render(tex, False)) == plain


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message", "snippet"),
    [
        (r"bad $\foo{x}$ here", r"Undefined control sequence: \foo (character 1)", r"\foo{x}"),
        (r"bad $\frac{1$ here", "Unexpected end of input in a macro argument, expected '}' (character 8)", r"\frac{1"),
        ("$$\nx & y < \\bar\n$$", "Expected 'EOF', got '&' (character 3)", r"x & y < \bar"),
        (r"$\href{https://example.org}{x}$", r"\href is not allowed", r"\href{https://example.org}{x}"),
        ("$é$", 'Accented Unicode text character "é" used in math mode', "é"),
        (r"\begin{nonsense}x\end{nonsense}", "No such environment: nonsense (character 7)", None),
        (r"## Heading $\foo$", r"Undefined control sequence: \foo (character 1)", r"\foo"),
    ],
)
def test_bad_tex_is_shown_and_reported_and_the_page_lives_on(source, message, snippet):
    page = Page(source + "\n\nNext $x$.")
    assert page.reports == [(message, snippet or source)]
    assert page.html.count('<span class="vg-error" role="alert">') == 1
    assert page.formulas == ["x"]
    assert f"{message}: {snippet or source}" in indexed_text(page)


def test_each_bad_formula_is_reported():
    page = Page("$\\one$ and $\\two$ and $\\one$")
    assert [snippet for _, snippet in page.reports] == ["\\one", "\\two", "\\one"]


@pytest.mark.parametrize(
    ("source", "snippet"),
    [
        ("text $$x + y$$ text", "$$x + y$$ text"),
        ("text\n$$\nx\n$$", "$$\nx\n$$"),
        ("$$\nx\n\ny\n$$", "$$\nx"),
        ("**bold $$** text", "$$"),
    ],
)
def test_a_displayed_formula_that_markdown_does_not_take_for_one_is_reported(source, snippet):
    page = Page(source)
    assert page.reports[0][1] == snippet
    assert "a paragraph of its own" in page.reports[0][0]
    assert '<span class="vg-error" role="alert">' in page.html


def test_without_generic_the_option_is_named():
    reports = []
    options = {"pymdownx.arithmatex": {"generic": False}}
    html = markdown.markdown("$x$", extensions=["pymdownx.arithmatex", Mathematics(reports)], extension_configs=options)
    assert "generic: true" in reports[0][0]
    assert "vg-error" in html


def test_without_the_engine_a_page_says_so_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "py_mini_racer", None)
    for cached in ("_engine", "render"):  # as in a process that has typeset nothing yet
        monkeypatch.setattr(math, cached, getattr(math, cached).__wrapped__)
    page = Page("# About $x$\n\n$x$ and\n\n$$\ny\n$$")
    assert [message for message, _ in page.reports] == ["formulas need the package mini-racer: pip install '.[site]'"]
    assert page.html.count('<span class="vg-error" role="alert">') == 3


def test_no_exception_leaves_a_conversion(monkeypatch):
    def broken(tex: str, display: bool) -> str:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(math, "render", broken)
    page = Page("## About $x$\n\n$y$")
    assert page.reports == [("out of memory", "x"), ("out of memory", "y")]


# --- the engine ---------------------------------------------------------------------------------------------------


def test_a_formula_is_typeset_once(monkeypatch):
    first = math.render("x^2", display=False)
    monkeypatch.setattr(math, "_engine", lambda: pytest.fail("the engine is asked again"))
    assert math.render("x^2", display=False) is first


def test_inline_and_displayed_are_kept_apart():
    render = math.render
    assert render(r"\sum_l x_l", display=False) != render(r"\sum_l x_l", display=True)


def test_the_engine_starts_with_the_first_formula():
    code = (
        "import sys; from vgdocs.pages import math; print('py_mini_racer' in sys.modules, math._engine.cache_info()[3])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False 0\n"
    assert math._engine() is math._engine()


def test_a_process_that_has_typeset_comes_to_its_end():
    # The name makes Python collect the engine late; without it even an engine that nobody closes lets it go.
    code = "from vgdocs.pages import math; math.render('x', False); held = math._engine(); print('typeset')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "typeset\n"), done.stderr


def test_bad_tex_raises_a_math_error_and_leaves_the_engine_usable():
    with pytest.raises(math.MathError, match="Undefined control sequence") as caught:
        math.render(r"\foo", display=False)
    assert not isinstance(caught.value, math.EngineError)
    assert "katex" in math.render("x", display=False)


# --- style and fonts ----------------------------------------------------------------------------------------------


def test_the_style_sheet_asks_for_the_fonts_that_exist_and_nothing_else():
    css = (KATEX.parent / "katex.min.css").read_text("utf-8")
    asked = re.findall(r"url\(([^)]*)\)", css)
    exist = [f"fonts/{path.name}" for path in sorted((KATEX.parent / "fonts").iterdir())]
    assert sorted(asked) == exist
    assert all(path.endswith(".woff2") for path in exist)
    assert "@import" not in css
    assert css.count("@font-face") == css.count("font-display:block") == len(exist)


def test_style_sheet_script_and_their_record_are_of_one_version():
    version = math._engine().eval("katex.version")
    assert f'content:"{version}"' in (KATEX.parent / "katex.min.css").read_text("utf-8")
    assert f"`katex` {version} " in (KATEX.parent / "README.txt").read_text("utf-8")


def test_every_class_that_a_page_uses_for_layout_is_in_the_style_sheet():
    css = (KATEX.parent / "katex.min.css").read_text("utf-8")
    markup = math.render(r"\sqrt{\frac{a}{b}} \left( x \right)^2 \tag{1}", display=True)
    used = {name for names in re.findall(r'class="([^"]*)"', markup) for name in names.split()}
    assert {"katex-mathml", "katex-base", "mfrac", "sqrt", "vlist-t", "katex-tag"} <= used
    for name in ("katex-mathml", "katex-base", "mfrac", "sqrt", "vlist-t", "katex-tag"):
        assert f".{name}" in css
