"""Nothing that a figure says is run by a reader's browser, and the workflows can do no more than they must."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from vgdocs.engine.store import Store
from vgdocs.pages import browser
from vgdocs.pages.posters import Posters
from vgdocs.pages.site_assets import FOLDER as ASSETS

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

RUN = "window.pwned=1"  # what none of these may bring a browser to do
HOSTILE = [
    f"<script>{RUN}</script>",
    f"<img src=x onerror={RUN}>",
    f"<svg onload={RUN}><animate onbegin={RUN}></svg>",
    f'<a href="javascript:{RUN}">link</a>',
    f'<a href="https://example.org" onclick="{RUN}" style="onclick:{RUN}">link</a>',
    f'<span style="onclick:{RUN};onmouseover:{RUN};href:javascript:{RUN}">styled</span>',
    f'"><b onmouseover={RUN}>quoted</b>',
    f"' onfocus='{RUN}' tabindex='0' autofocus='",
    f"</div></figure></td></table><script>{RUN}</script>",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"]]><script>{RUN}</script>",
    f"[link](javascript:{RUN}) <javascript:{RUN}>",
]
LINKS = {"href", "src", "xlink:href", "action", "formaction", "data", "poster"}
FOREIGN = "script, iframe, object, embed, img, image, foreignObject, form, base, link, meta, style, animate, set"

needs_browser = pytest.mark.skipif(browser.executable() is None, reason="no browser")


def plot() -> dict:
    """Everything that Plotly shows as text, hostile."""
    some = iter(HOSTILE * 3)
    traces = [
        {
            "x": list(range(len(HOSTILE))),
            "y": list(range(len(HOSTILE))),
            "mode": "lines+markers+text",
            "text": HOSTILE,
            "name": text,
        }
        for text in HOSTILE
    ]
    traces[0] |= {"hovertemplate": next(some), "hovertext": HOSTILE, "meta": next(some), "legendgroup": next(some)}
    return {
        "data": traces,
        "layout": {
            "height": 3000,  # for all that text
            "xaxis": {"title": {"text": next(some)}, "tickvals": list(range(len(HOSTILE))), "ticktext": HOSTILE},
            "yaxis": {"title": {"text": next(some)}, "ticksuffix": next(some)},
            "legend": {"title": {"text": next(some)}},
            "annotations": [{"text": text, "x": 1, "y": 1, "captureevents": True} for text in HOSTILE],
            "updatemenus": [{"buttons": [{"label": text, "method": "skip"} for text in HOSTILE]}],
            "images": [{"source": f"javascript:{RUN}"}, {"source": f"data:image/svg+xml,<svg onload='{RUN}'/>"}],
        },
    }


@pytest.fixture
def page(project) -> str:
    """A page with a figure, its numbers, its claims, its data and its source, all of it hostile."""
    text = " ".join(HOSTILE).replace("\\", "")
    claims = f'def claim_a(m):\n    {text!r}\n    assert m["first"] == 0.5\n'
    assert "{" not in text
    project.script(
        docstring=f"{text + '.'!r}",
        draw=f"def draw(m):\n    return go.Figure({plot()!r}, skip_invalid=True)\n",
        claims=claims.replace("def claim_a(m):\n    '", "def claim_a(m):\n    r'"),
    )
    project.script("failing", claims=f"def claim_b(m):\n    {text!r}\n    assert False, {text!r}\n")
    project.script("raising", measure=f"def measure(seed: int = SEED) -> dict:\n    raise ValueError({text!r})\n")
    blocks = "".join(f"/// figure | {name}\n    code: draw\n///\n\n" for name in ("halving", "failing", "raising"))
    html, _ = project.convert(f"# Page\n\n[[halving.first]] [[raising.a]]\n\n{blocks}/// numbers\n///\n")
    for name in ("halving", "failing"):
        assert f'id="fig-{name}"' in html
    return html


def executable(html: str) -> list[str]:
    """What a browser would run, or fetch, in some HTML."""
    soup = BeautifulSoup(html, "html.parser")
    found = [str(element)[:100] for element in soup.select(FOREIGN)]
    for element in soup.find_all(True):
        for name, value in element.attrs.items():
            text = re.sub(r"\s", "", str(value)).lower()
            if name.lower().startswith("on") or (name in LINKS and not re.match(r"(#|\.|/|https?:)", text)):
                found.append(f"{element.name} {name}={value}"[:100])
    return found


def test_what_would_be_run_is_noticed():
    assert len(executable("".join(HOSTILE))) > 10


def test_a_page_runs_nothing_that_its_figures_say(page):
    assert executable(page) == []
    assert BeautifulSoup(page, "html.parser").select_one(".vg-plot")["data-plot"].count(RUN) > 50  # it was all there


def test_a_record_that_was_tampered_with_runs_nothing_either(project):
    library = project.library()
    record = library.entries["halving"].record
    record.plot.update(plot())
    object.__setattr__(record.verdicts[0], "message", HOSTILE[0])
    object.__setattr__(record.verdicts[0], "read", tuple(HOSTILE))
    record.versions.update(dict.fromkeys(HOSTILE, HOSTILE[0]))
    html, problems = project.convert("/// figure | halving\n///\n\n/// numbers\n///\n\n/// times\n///\n", library)
    assert problems == []
    assert executable(html) == []


@pytest.fixture(scope="module")
def drawn(own_environment, tmp_path_factory) -> str:
    os.environ.pop("VGDOCS_POSTERS")  # which conftest.py sets
    made = Posters(Store(tmp_path_factory.mktemp("store")), ASSETS)
    made.draw({"hostile": plot()})
    return made.get(plot())


@pytest.mark.browser
@needs_browser
def test_a_poster_runs_nothing(drawn):
    assert "styled" in drawn
    assert executable(drawn) == []


@pytest.mark.browser
@needs_browser
def test_a_browser_that_is_shown_all_of_it_runs_nothing(page, drawn):
    """The page, the poster and the live figure, with the pointer over, and a click on, each of their elements."""
    pwned = []

    async def show(tab) -> None:
        await tab.evaluate("html => { document.body.innerHTML = html }", page + drawn)
        await tab.evaluate(
            """async plot => {
              const box = document.body.appendChild(document.createElement("div"));
              Object.assign(box.style, { width: "600px", height: "3000px" });
              await Plotly.newPlot(box, { ...vg.paint(plot, 600) });
              Plotly.Fx.hover(box, [{ curveNumber: 0, pointNumber: 1 }]);
            }""",
            json.loads(json.dumps(plot())),
        )
        await tab.evaluate(
            """() => document.querySelectorAll("body *").forEach(element => {
              if (element.closest("a[href^='http']")) return;
              for (const type of ["mouseover", "focus", "click"]) element.dispatchEvent(new MouseEvent(type));
            })"""
        )
        await tab.wait_for_timeout(200)
        pwned.append(await tab.evaluate("window.pwned"))

    with browser.Browser(ASSETS) as started:
        started.ask({}, show).result()
    assert pwned == [None]


def test_the_loader_makes_no_html_of_text():
    """innerHTML and its kin would; textContent doesn't."""
    text = (ASSETS / "vg.js").read_text(encoding="utf-8")
    assert not re.findall(r"(?:inner|outer|insertAdjacent)HTML|document\.write|\beval\(|new Function", text)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
class TestWorkflows:
    def test_actions_are_pinned_to_a_commit(self, path):
        used = re.findall(r"uses: (\S+)( # v[\d.]+)?", path.read_text(encoding="utf-8"))
        assert used
        assert [action for action, version in used if not re.search(r"@[0-9a-f]{40}$", action) or not version] == []

    def test_they_may_read_and_a_job_that_may_write_says_so_itself(self, path):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert workflow["permissions"] in ({}, {"contents": "read"})
        writes = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
        assert writes in ({}, {"deploy": {"contents": "write"}})

    def test_what_others_write_is_no_part_of_a_command(self, path):
        """A branch's name or a request's title may hold shell; and no workflow lends a stranger's code its rights."""
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert "pull_request_target" not in workflow[True]  # YAML reads the key `on` as a truth
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        inserted = {i for step in steps for i in re.findall(r"\$\{\{ *([\w.]+)", step.get("run", ""))}
        assert inserted <= {"matrix.shard", "runner.os"}

    def test_what_a_build_runs_finds_no_token(self, path):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        checkouts = [step for step in steps if "checkout@" in step.get("uses", "")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
        assert all("git push" in step["run"] for step in steps if "token" in json.dumps(step).lower())
