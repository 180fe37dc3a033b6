"""All plugins that people use beside ours, at once: the figure is drawn, the number explained, an image enlarged."""

import pytest
from playwright.sync_api import expect

from web import serve

pytestmark = pytest.mark.browser

CONFIG = """\
site_name: Tiny
theme: {{name: material, font: false}}
plugins: [{}]
markdown_extensions: [pymdownx.superfences, {{pymdownx.arithmatex: {{generic: true}}}}, vgdocs.markdown]
"""
OTHERS = """\
macros, include-markdown, awesome-nav, glightbox,
{git-revision-date-localized: {fallback_to_build_date: true, strict: false, enable_parallel_processing: false}},
{minify: {minify_html: true, htmlmin_opts: {remove_comments: true, remove_empty_space: true}}}"""
PAGE = (
    "# Tiny\n\nIt is [[halving.first]], as in $0.5^1$.\n\n/// figure | halving\n\nA caption.\n///\n\n![Dot](dot.svg)\n"
)
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="20"/></svg>'


@pytest.mark.parametrize("plugins", [f"search, vgdocs, {OTHERS}", f"{OTHERS}, vgdocs, search"], ids=["first", "last"])
def test_a_site_with_all_of_them(project, profile, plugins):
    (project.root / "mkdocs.yml").write_text(CONFIG.format(plugins), "utf-8")
    project.page("index", PAGE)
    (project.docs / "dot.svg").write_text(DOT, "utf-8")
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    with serve(project.site) as address, profile(f"{address}/") as visitor:
        visitor.open(f"{address}/")
        visitor.sees_the_figure()
        visitor.is_told_of("halving.first")
        visitor.page.locator("a.glightbox").click()
        expect(visitor.page.locator(".gslide-image img")).to_be_visible()
