"""Citations with their page and line: every one that Markdown takes for one, and no other."""

import itertools

import pytest

from vgdocs.pages.citations import Citation, Problem, Scanner, locate

EXTENSIONS = ["tables", "admonition", "attr_list", "toc", "footnotes", "md_in_html", "pymdownx.superfences"]


def scan(text: str, extensions: list[str] = EXTENSIONS) -> list[tuple[int, str]]:
    """Line and name of each citation; a figure has a name without a dot."""
    found = Scanner(extensions).scan(text, "page.md")
    return [(c.line, c.figure if c.number is None else f"{c.figure}.{c.number}") for c in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No citations.", []),
        ("[[a.b]] and [[a.c:.2e]]\nand [[a.d.lo]].", [(1, "a.b"), (1, "a.c"), (2, "a.d.lo")]),
        ("**[[a.b]]** and _[[a.c]]_ and [link [[a.d]]](x.md)", [(1, "a.b"), (1, "a.c"), (1, "a.d")]),
        ("| a |\n|---|\n| [[a.b]] |\n| [[a.c]] |\n", [(3, "a.b"), (4, "a.c")]),
        ('!!! note "Title [[a.b]]"\n\n    Body [[a.c]].\n', [(1, "a.b"), (3, "a.c")]),
        ("- one\n- [[a.b]]\n\n    - [[a.c]]\n", [(2, "a.b"), (4, "a.c")]),
        ("> [[a.b]]\n", [(1, "a.b")]),
        ("Text.[^1]\n\n[^1]: Note [[a.b]].\n", [(3, "a.b")]),
        ("/// figure | fig\n    code: measure\n\nCaption [[a.b]].\n///\n", [(1, "fig"), (4, "a.b")]),
        ("- item\n\n    /// figure | fig\n    ///\n", [(3, "fig")]),
        (
            "Text.\n\n/// table | fig.rows other.rows\n    format: .2f\n\nCaption [[a.b]].\n///\n",
            [(3, "fig"), (3, "other"), (6, "a.b")],
        ),
        ("```\n/// table | fig.rows\n///\n```\n", []),
        ("[[a.b]] and [[a.b]]\n\n[[a.b]]", [(1, "a.b"), (1, "a.b"), (3, "a.b")]),
        ("# Heading [[a.b]]", [(1, "a.b")]),
        ("[[name]] is a slip, but is told", [(1, "name.")]),
        # inert
        ("`[[a.b]]` and ``[[a.c]]``", []),
        ("```\n[[a.b]]\n/// figure | fig\n///\n```\n", []),
        ("    [[a.b]]\n", []),
        (r"\[[a.b]]", []),
        ("<!-- [[a.b]] -->", []),
        ("[[1.5, 2.5]] and [[x], [y]] and [1][2]", []),
        ("text /// figure | fig", []),
        # front matter counts
        ("---\ntitle: A [[a.b]]\n---\n\n[[a.c]]\n", [(5, "a.c")]),
        ("---\nno front matter", []),
        ("[[a.b]]\n---\n[[a.c]]\n", [(1, "a.b"), (3, "a.c")]),
    ],
)
def test_scan(text, expected):
    assert scan(text) == expected


@pytest.mark.parametrize("text", ["$[[a.b]]$", "$$\n[[a.b]]\n$$", "`$[[a.b]]$`"])
def test_mathematics_is_inert_whatever_the_order_of_the_extensions(text):
    for order in itertools.permutations(["pymdownx.arithmatex", "pymdownx.superfences", "tables"]):
        assert scan(f"{text}\n\n[[c.d]]", list(order))[-1][1] == "c.d"
        assert len(scan(f"{text}\n\n[[c.d]]", list(order))) == 1


def test_a_citation_knows_its_place_and_its_words(project):
    project.page("part/deep", "# Deep\n\nIt is [[halving.last:.2e]].\n\n/// figure | halving\n///\n")
    scanner = Scanner.of_site(project.root)
    assert scanner.scan_folder(project.docs) == [
        Citation("part/deep.md", 3, "halving", "last", "[[halving.last:.2e]]"),
        Citation("part/deep.md", 5, "halving", None, "/// figure | halving"),
    ]
    assert scanner.scan_folder(project.docs)[0].place == "docs/part/deep.md:3"


def test_the_sites_extensions_are_read_without_importing_what_they_name(tmp_path):
    (tmp_path / "mkdocs.yml").write_text(
        "site_url: !ENV [SITE_URL, x]\n"
        "markdown_extensions:\n"
        "  - tables\n"
        "  - pymdownx.emoji:\n"
        "      emoji_index: !!python/name:no.such.module\n"
        "  - vgdocs.markdown\n"
    )
    assert Scanner.of_site(tmp_path).extensions == ["tables", "pymdownx.emoji"]


@pytest.mark.parametrize(
    ("text", "marker", "lines"),
    [
        ("x [[a.b]]\n\n`[[a.b]]`\n\n[[a.b]]\n", "[[a.b]]", [1, 5]),  # the one in code isn't meant
        ("---\nt: 1\n---\n/// figure |  fig\n///\n", "/// figure | fig", [4]),
        ("a $$x$$ b\n", "$$x$$ b", [1]),
        ("nothing", "[[a.b]]", []),
        ("nothing", "", []),
    ],
)
def test_a_problem_is_located_in_its_source(tmp_path, text, marker, lines):
    (tmp_path / "page.md").write_text(text)
    assert locate(Problem("page.md", marker, "is wrong"), tmp_path, Scanner(EXTENSIONS)) == lines


def test_a_problem_of_no_page_or_with_its_line_known(tmp_path):
    assert locate(Problem("gone.md", "[[a.b]]", "is wrong"), tmp_path, Scanner()) == []
