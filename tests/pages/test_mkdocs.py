"""`mkdocs build` over a miniature project: exit codes, one summary of everything, numbers.json."""

import json
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup
from mkdocs.config import load_config

from vgdocs.engine import observe
from vgdocs.pages import mkdocs as mkdocs_plugin
from vgdocs.pages.markdown import Context

PAGE = """\
# Page

It is [[halving.last:.1e]].

/// figure | halving
    code: measure

Caption with [[halving.first]].
///
"""

FAILS = 'def claim_it_grows(m):\n    """It grows to {last:.1e}."""\n    assert m["last"] > m["first"]\n'
RAISES = "def measure(seed: int = SEED) -> dict:\n    raise ValueError('no such layer')\n"

LINKING = """\
# %% [markdown]
# # A lab
#
# Back [home](../index.md).

# %%
print(6 * 7)
"""

LABS = """\
  - mkdocs-jupyter:
      include: ["labs/*.py"]
      execute: true
      allow_errors: false
"""


def test_a_good_project_builds_strictly_and_measures_once(project):
    project.page("index", PAGE)
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    assert "[1/1] halving" in output
    assert project.html().count('class="vg-number"') == 5  # in prose, caption and finding, and two in the claim
    numbers = json.loads((project.site / "numbers.json").read_text())
    assert numbers == project.library().summary()
    assert numbers["figures"]["halving"]["numbers"] == {"first": 0.5, "last": 0.5**10}
    code, output = project.mkdocs("build", "--strict")
    assert code == 0
    assert "[1/1]" not in output


@pytest.mark.parametrize(("patience", "at_once"), [(60.0, True), (0.0, False)])
def test_a_rebuild_under_serve_waits_for_an_edited_figure_if_it_is_quick(project, monkeypatch, patience, at_once):
    plugin = mkdocs_plugin.VgdocsPlugin()
    plugin.serving, plugin.context = True, Context(project.library())
    plugin._signal = project.root / "signal"
    plugin._ended = plugin._began + 1.0  # there was a build before this one
    project.edit(project.figures / "halving.py", "STEPS = 10", "STEPS = 11")
    monkeypatch.setattr(mkdocs_plugin, "PATIENCE", patience)
    plugin.on_pre_build(config=None)
    record = plugin.context.library.entries["halving"].record
    assert (record.numbers["last"] == 0.5**11) if at_once else record is None
    plugin._measured.wait(60)
    assert plugin._news.wait(1) is not at_once, "what was waited for is news, or what wasn't is none"
    plugin.on_shutdown()


def test_the_command_itself_fails_with_one_and_no_traceback(project):
    """In a process of its own, as a user has it, from another folder."""
    project.page("index", PAGE)
    project.script(claims=FAILS)
    project.library()  # so that the command has nothing to measure, which would take it seconds
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(project.root / "mkdocs.yml")]
    result = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert result.returncode == 1
    assert "sentence: It grows to 9.8 × 10⁻⁴." in result.stderr
    assert "Traceback" not in result.stderr


def test_all_that_is_wrong_is_told_in_one_summary(project):
    project.page("index", PAGE)
    project.page(
        "part/other",
        "---\ntitle: Other\n---\n\nIt is [[halving.lst]],\nand [[havling.last]].\n\n## Of [[halving.first]]\n",
    )
    project.page("blocks", "# Blocks\n\n/// figure | halving\n    color: red\n///\n\n/// figure | broken\n///\n")
    project.page("open", "# Open\n\n/// figure | failing\n\nA caption without an end.\n")
    project.script("failing", claims=FAILS)
    project.script("broken", measure=RAISES)
    project.script("dies", measure="def measure(seed: int = SEED) -> dict:\n    import os; os._exit(3)\n")
    project.script("empty", claims="")
    (project.figures / "again").mkdir()
    project.script("again/empty")
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    summary = output[output.index("ERROR") :]
    assert summary.startswith("ERROR   -  9 problems in figures and pages\n\n")
    assert summary.rstrip().endswith("Aborted with a BuildError!")
    paragraphs = [paragraph.strip().splitlines() for paragraph in summary.split("\n\n")[1:-1]]
    assert [lines[0] for lines in paragraphs] == [
        "figures/broken.py:13: raises ValueError: no such layer",
        "figures/dies.py: died without a word: exit code 3",
        "figures/empty.py: two scripts are named empty: again/empty.py and empty.py; pages find them by name",
        "figures/failing.py:23: claim_it_grows fails on this measurement",
        "docs/blocks.md:3: this is no block: a figure takes a name and the options code and notes, a table names of "
        "rows and the options columns, format and root, and both a closing ///",
        "docs/open.md:3: the block of the figure failing isn't closed by ///",
        "docs/part/other.md:5: halving measures no number 'lst'; did you mean last or first?",
        "docs/part/other.md:6: there is no figure 'havling'; did you mean halving or failing?",
        "docs/part/other.md:8: a heading cites a number, which would move its anchor with each measurement",
    ]
    assert paragraphs[3][-1] == "    cited at: docs/open.md:3"
    # what could be built was, for the author to look at
    assert "raises ValueError: no such layer" in project.html("blocks")
    assert project.html().count('class="vg-number"') == 5


@pytest.mark.parametrize("strict", [["--strict"], []])
@pytest.mark.parametrize("what", ["number", "claim", "script"])
def test_any_one_of_them_fails_the_build_strict_or_not(project, what, strict):
    project.page("index", PAGE.replace("halving.last", "halving.lst") if what == "number" else PAGE)
    project.script(**{"claim": {"claims": FAILS}, "script": {"measure": RAISES}, "number": {}}[what])
    assert project.mkdocs("build", *strict)[0] == 1


def test_a_mended_project_builds_again(project):
    project.page("index", PAGE)
    project.script(measure=RAISES)
    assert project.mkdocs("build", "--strict")[0] == 1
    project.script()
    assert project.mkdocs("build", "--strict")[0] == 0


def test_a_constant_that_a_sentence_depends_on(project):
    project.page("index", PAGE)
    assert project.mkdocs("build", "--strict")[0] == 0
    project.edit(project.figures / "halving.py", "STEPS = 10", "STEPS = 9")
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    for line in [
        "figures/halving.py:23: claim_halving_is_exact fails on this measurement",
        "sentence: After the first step 0.5 is left, and 1.95 × 10⁻³ after the last.",
        'assert m["last"] == 0.5**10',
        "measured: last = 0.001953125",
        "cited at: docs/index.md:3, docs/index.md:5, docs/index.md:8",
    ]:
        assert line in output


def test_without_running_anything(project, monkeypatch):
    project.page("index", PAGE)
    monkeypatch.setenv("VGDOCS_RUN", "never")
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    assert "figures/halving.py: has no record, and VGDOCS_RUN=never forbids to make one" in output
    monkeypatch.delenv("VGDOCS_RUN")
    assert project.mkdocs("build", "--strict")[0] == 0
    monkeypatch.setenv("VGDOCS_RUN", "never")
    assert project.mkdocs("build", "--strict")[0] == 0


def test_a_store_that_cannot_be_written_is_told_without_a_traceback(project, monkeypatch):
    project.page("index", PAGE)
    (project.root / "file").write_text("")
    monkeypatch.setenv("VGDOCS_STORE", str(project.root / "file"))
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    assert "figures/halving.py: can't be measured: the store isn't writable" in output
    assert "Traceback" not in output


def test_a_project_without_figures(project):
    (project.figures / "halving.py").unlink()
    project.figures.rmdir()
    assert project.mkdocs("build", "--strict")[0] == 0
    assert json.loads((project.site / "numbers.json").read_text())["figures"] == {}


def test_a_project_s_own_files_are_left_alone(project):
    (project.root / "data.json").write_text("{}")
    before = set(project.root.iterdir())
    assert project.mkdocs("build", "--strict")[0] == 0
    assert set(project.root.iterdir()) - before <= {project.site, project.root / ".vgdocs"}


def test_a_lab_that_fails_is_one_more_problem_and_a_box_in_its_page(project):
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", f"  - vgdocs\n{LABS}")
    project.page("index", PAGE.replace("halving.last", "halving.lst"))
    (project.docs / "labs").mkdir()
    (project.docs / "labs/broken.py").write_text("# # A lab\n\n# %%\nprint(6 * 7)\nassert 1 == 2, 'no such luck'\n")
    code, output = project.mkdocs("build", "--strict")
    assert code == 1
    assert "2 problems in figures and pages" in output
    assert "docs/labs/broken.py: the lab fails: AssertionError: no such luck" in output
    assert "docs/index.md:3: halving measures no number 'lst'" in output
    assert "Traceback (most recent call last)" not in output
    (box,) = BeautifulSoup(project.html("labs/broken"), "html.parser").select(".vg-error[role=alert]")
    assert "no such luck" in box.get_text()


def test_a_lab_that_works_shows_its_figure_for_the_loader(project):
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", f"  - vgdocs\n{LABS}")
    (project.docs / "labs").mkdir()
    lab = "# # A lab\n\n# %%\nimport plotly.graph_objects as go\n\ngo.Figure(go.Scatter(y=[1.0, 0.5]))\n"
    (project.docs / "labs/plot.py").write_text(lab)
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    (plot,) = BeautifulSoup(project.html("labs/plot"), "html.parser").select(".vg-plot[data-plot]")
    assert json.loads(plot["data-plot"])["data"][0]["type"] == "scatter"


def test_a_lab_can_be_downloaded_as_a_notebook(project):
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", f"  - vgdocs\n{LABS}")
    project.edit(project.root / "mkdocs.yml", "site_name:", "site_url: https://example.org/site/\nsite_name:")
    (project.docs / "labs").mkdir()
    (project.docs / "labs/one.py").write_text(LINKING)
    assert project.mkdocs("build", "--strict")[0] == 0
    page = BeautifulSoup(project.html("labs/one"), "html.parser")
    (link,) = page.select("h1 + .vg-download a[download]")
    text = (project.site / "labs/one" / link["href"]).read_text()
    cells = json.loads(text)["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code"]
    assert cells[1]["source"] == ["print(6 * 7)"]
    # read elsewhere, it still leads back to the site
    assert "[home](https://example.org/site/)" in "".join(cells[0]["source"])
    assert page.select_one('a[href="../../"]')
    project.mkdocs("build", "--strict")
    assert (project.site / "labs/one/one.ipynb").read_text() == text, "two builds differ"


@pytest.mark.parametrize("name", ["theory.py", "engine/part.py"])
def test_a_change_in_vgdocs_makes_the_labs_run_again(project, monkeypatch, name):
    """Also in a package of it: the labs' cache has another name then."""
    package = project.root / "package"
    (package / name).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(observe, "PACKAGE", package)

    def cache(text: str) -> str:
        (package / name).write_text(text)
        project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", f"  - vgdocs\n{LABS}")
        config = load_config(str(project.root / "mkdocs.yml"))
        project.edit(project.root / "mkdocs.yml", LABS, "")
        config.plugins.on_config(config)
        return config.plugins["mkdocs-jupyter"].config["cache_dir"]

    first = cache("x = 1\n")
    assert cache("x = 1\n") == first
    assert cache("x = 2\n") != first


def test_what_stands_in_a_page_s_head_is_whole_and_escaped(project):
    says = 'Says "why" σ < 1 & <script>x</script> ends here.'
    front = f"---\ntitle: 'A \"b\" <i>c</i> & d'\ndescription: '{says}'\n---\n\n"
    project.page("index", "# Home\n")
    project.page("page", f"{front}# Page\n")
    config = project.root / "mkdocs.yml"
    config.write_text(f"{config.read_text('utf-8')}\ntheme: material\nsite_description: 'Of \"<b>\" & more'\n", "utf-8")
    assert project.mkdocs("build", "--strict")[0] == 0
    head = BeautifulSoup(project.html("page"), "html.parser").head
    assert head.select_one("meta[name=description]")["content"] == says
    assert head.title.get_text().startswith('A "b" <i>c</i> & d')
    assert not head.find("script", string="x")
    home = BeautifulSoup(project.html(), "html.parser").head
    assert home.select_one("meta[name=description]")["content"] == 'Of "<b>" & more'


@pytest.mark.parametrize("spoil", [lambda text: text[:400], lambda text: text.replace("42", "43")])
def test_a_lab_whose_kept_run_was_altered_runs_again(project, spoil):
    project.edit(project.root / "mkdocs.yml", "  - vgdocs\n", f"  - vgdocs\n{LABS}")
    (project.docs / "labs").mkdir()
    (project.docs / "labs/one.py").write_text("# # A lab\n\n# %%\nprint(6 * 7)\n")
    assert project.mkdocs("build", "--strict")[0] == 0
    (run,) = (project.root / ".vgdocs/labs").glob("*/*.json")
    run.write_text(spoil(run.read_text("utf-8")), "utf-8")
    code, output = project.mkdocs("build", "--strict")
    assert code == 0, output
    assert "42" in project.html("labs/one")
    assert "43" not in BeautifulSoup(project.html("labs/one"), "html.parser").select_one(".vg-output").get_text()
