"""Claims are tests: collected from figures/ by pytest itself, and eloquent where they fail."""

import multiprocessing.forkserver

import plotly.graph_objects
import pytest

import vgdocs.engine.runner
import vgdocs.pages.report

# pytester forgets what a run imports, the plugin's late imports too; these stay, and the fork server with them, so that
# it starts but once
KEPT = (multiprocessing.forkserver, plotly.graph_objects, vgdocs.pages.report, vgdocs.engine.runner)

PYPROJECT = """\
[tool.pytest.ini_options]
testpaths = ["figures"]
vgdocs_figures = "figures"
"""

CLAIMS = '''\
def claim_it_grows(m):
    """It grows from {first} to {last:.1e}."""
    assert m["last"] > m["first"]


def claim_it_is_positive(m):
    """It is positive."""
    assert m["last"] > 0
'''


@pytest.fixture
def run(pytester, make_project, monkeypatch):
    """Runs pytest in a project of its own."""
    project = make_project(pytester.path)
    (pytester.path / "pyproject.toml").write_text(PYPROJECT)

    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others cost seconds

    def run(*arguments: str):
        return pytester.runpytest_inprocess("-p", "vgdocs.pages.pytest", "-p", "no:cacheprovider", *arguments)

    run.project = project
    return run


def test_claims_that_hold_pass(run):
    run.project.script()
    run.project.script("doubling")
    run().assert_outcomes(passed=2)


def test_a_claim_that_fails_names_figure_sentence_measured_value_and_the_lines_that_cite_it(run):
    run.project.script(claims=CLAIMS)
    run.project.page("index", "# Home\n\nIt is [[halving.last:.1e]].\n\n/// figure | halving\n///\n")
    run.project.page("other", "It was [[halving.first]].\n")
    result = run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "figures/halving.py:23: claim_it_grows fails on this measurement",
            "    sentence: It grows from 0.5 to 9.8 × 10⁻⁴.",
            '    line 25: assert m["last"] > m["first"]',
            "    measured: last = 0.0009765625",
            "    measured: first = 0.5",
            "    cited at: docs/index.md:3, docs/index.md:5, docs/other.md:1",
        ],
        consecutive=False,
    )


def test_a_script_that_fails_fails_its_claims_with_the_reason_alone(run):
    run.project.script(measure="def measure(seed: int = SEED) -> dict:\n    raise ValueError('no such layer')\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["figures/halving.py:13: raises ValueError: no such layer"])
    result.stdout.no_fnmatch_line("*pages/pytest.py*")


def test_what_a_claim_cites_but_the_script_does_not_measure(run):
    run.project.script(claims=CLAIMS.replace("{first}", "{frist}"))
    result = run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["figures/halving.py:23: claim_it_grows cites {frist}, which isn't measured; did you mean first*"]
    )


def test_another_seed(run):
    body = 'return {"left": [1], "first": 0.5, "last": 0.5**10 * (seed < 5)}'
    run.project.script(measure=f"def measure(seed: int = SEED) -> dict:\n    {body}\n")
    run("--vgdocs-seed", "4").assert_outcomes(passed=1)
    result = run("--vgdocs-seed", "7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["    measured: last = 0.0"])


def test_a_script_that_breaks_the_contract_is_an_error_of_collection(run):
    run.project.script(claims="claim_a = None\n")
    result = run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*figures/halving.py:23: a claim is a plain function, def claim_[*](m), *"])


def test_a_folder_that_is_not_named_is_left_alone(run):
    run.project.script()
    (run.project.root / "pyproject.toml").write_text("[tool.pytest.ini_options]\ntestpaths = ['figures']\n")
    run().assert_outcomes()


def test_a_claim_is_chosen_by_its_name(run):
    run.project.script(claims=CLAIMS)
    run("-k", "positive").assert_outcomes(passed=1, deselected=1)


def test_no_script_is_run_in_the_process_of_pytest(run):
    run.project.script(
        head='import sys\nassert "pytest" not in sys.modules\nimport plotly.graph_objects as go\nSTEPS = 10\n',
        measure="def measure(seed: int = 0) -> dict:\n    return {'left': [1], 'first': 0.5, 'last': 0.5**10}\n",
    )
    run().assert_outcomes(passed=1)
