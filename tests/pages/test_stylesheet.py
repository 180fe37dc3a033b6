from __future__ import annotations

import pytest
from bs4 import BeautifulSoup

from vgdocs.pages import stylesheet

PAGE = (
    '<link rel="icon" href="a.svg">\n<link rel="stylesheet" href="../assets/stylesheets/main.1a2b.min.css"><p>text</p>'
)


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_addresses_are_moved_with_their_sheet(quote):
    css = f"@font-face{{src:url({quote}fonts/Main.woff2{quote})}}"
    assert f"url({quote}katex/fonts/Main.woff2{quote})" in stylesheet.merge({"assets/katex/katex.css": css})[1]
    assert f"url({quote}../themes/a/fonts/Main.woff2{quote})" in stylesheet.merge({"themes/a/main.css": css})[1]


@pytest.mark.parametrize("address", ["data:image/svg+xml;charset=utf-8,<svg/>", "#gradient", "/favicon.svg"])
def test_what_is_no_relative_address_stays(address):
    css = f"a{{mask:url({address})}}"
    assert stylesheet.merge({"other/main.css": css})[1] == css


def test_the_sheets_keep_their_order_and_lose_their_source_maps():
    _, text = stylesheet.merge({"a.css": "p{top:0}\n/*# sourceMappingURL=a.css.map */", "b.css": "p{top:1px}"})
    assert text.index("top:0") < text.index("top:1px")
    assert "sourceMappingURL" not in text


def test_what_styles_each_element_twice_more_is_left_out():
    stilling = "[data-md-color-switching] *,[data-md-color-switching] :after{transition-duration:0s!important}"
    assert stylesheet.merge({"a.css": "p{top:0}" + stilling + "p{top:1px}"})[1] == "p{top:0}p{top:1px}"


def test_the_name_changes_with_the_text():
    names = {stylesheet.merge({"a.css": css})[0] for css in ("p{top:0}", "p{top:1px}")}
    assert len(names) == 2
    assert stylesheet.merge({"a.css": "p{top:0}"})[0] in names


def test_a_page_loses_the_themes_links_alone():
    soup = BeautifulSoup(stylesheet.without_theme_links(PAGE), "html.parser")
    assert not soup.select("link[rel=stylesheet]")
    assert soup.select("link[rel=icon]")
    assert soup.p


def test_a_built_page_waits_for_one_stylesheet(project):
    """Material's two and the project's own become one, whose addresses hold; another host's stays by itself."""
    project.edit(project.root / "mkdocs.yml", "plugins:", "theme: {name: material, font: false}\nplugins:")
    with (project.root / "mkdocs.yml").open("a") as config:
        config.write('extra_css: [style/own.css, "https://example.org/theirs.css"]\n')
    (project.docs / "style").mkdir()
    (project.docs / "style/own.css").write_text("body { background: url(dot.png) }")
    (project.docs / "style/dot.png").write_bytes(b"")
    project.page("deep/page", "# Deep\n")
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    for page in ("index.html", "deep/page/index.html", "404.html"):
        soup = BeautifulSoup((project.site / page).read_text("utf-8"), "html.parser")
        sheet, theirs = soup.select("link[rel=stylesheet]")
        assert theirs["href"] == "https://example.org/theirs.css"
        path = project.site / str(sheet["href"]).removeprefix("/") if page == "404.html" else None
        css = (path or project.site.joinpath(page).parent / str(sheet["href"])).read_text("utf-8")
        assert "--md-primary-fg-color" in css, "Material's palette is missing"
        assert "data-md-color-switching" not in css
        assert "url(../style/dot.png)" in css


def test_what_only_its_author_reads_is_left_out():
    css = 'a{\n    /* why */\n    content: "/* kept */";\n    top: 0;\n}\n\n/* The end. */\n'
    _, text = stylesheet.merge({"a.css": css})
    assert text == 'a{\ncontent: "/* kept */";\ntop: 0;\n}\n'
