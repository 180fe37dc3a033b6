"""A page that weighs megabytes is refused, whatever it is that weighs."""

import pytest

from vgdocs.pages.weight import MB, too_heavy, weigh

HEAVY = """\
def draw(m: dict) -> go.Figure:
    fig = go.Figure([go.Scatter(y=[i / 7 for i in range(2000)], name=f"{n}") for n in range(200)])
    fig.update_layout(xaxis_title="x", yaxis_title="y")
    return fig
"""


def test_its_parts_heaviest_first():
    html = '<p>é</p><figure class="a" id="fig-one">....</figure><img alt="" src="b.png"><img src="data:x"><p>'
    parts = weigh(html, {"b.png": 1000}.__getitem__)
    assert list(parts) == ["b.png", "the text", "the figure one"]
    assert sum(parts.values()) == len(html.encode()) + 1000


def test_what_is_shown_twice_is_loaded_once():
    assert weigh('<img src="b.png"><img src="b.png">', lambda address: 1000)["b.png"] == 1000


@pytest.mark.parametrize(("size", "told"), [(2 * MB, False), (2 * MB + 1, True)])
def test_the_limit(size, told):
    assert bool(too_heavy({"the text": size}, 2)) is told


@pytest.mark.parametrize("kind", ["hundreds of traces", "an image", "html"])
def test_a_page_of_megabytes_fails_the_build_with_its_size_and_the_limit(project, kind):
    if kind == "hundreds of traces":
        project.script(draw=HEAVY)
        project.page("index", "# Home\n\n/// figure | halving\n///\n")
        part = "the figure halving"
    elif kind == "an image":
        (project.docs / "big picture.png").write_bytes(bytes(3 * MB))
        project.page("part/index", "# Part\n\n![All of it](../big%20picture.png)\n")
        part = "../big%20picture.png 3.0 MB"
    else:
        project.page("index", f"# Home\n\n<pre>{'many words ' * 300_000}</pre>\n")
        part = "the text 3.3 MB"
    code, output = project.mkdocs("build")
    assert code == 1
    assert "MB, and 2 MB is the limit" in output
    assert part in output
    assert "raise page_limit of the plugin vgdocs in mkdocs.yml" in output
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", "  - vgdocs:\n      page_limit: 9.5\n")
    assert project.mkdocs("build", "--strict")[0] == 0


def test_a_limit_that_is_none(project):
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", "  - vgdocs:\n      page_limit: 0\n")
    code, output = project.mkdocs("build")
    told = "the option page_limit of the plugin vgdocs is 0: it takes a size in MB, above zero"
    assert (code, told in output) == (1, True)
