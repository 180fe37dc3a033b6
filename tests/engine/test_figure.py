"""What a figure script is: what is read from one that keeps the contract, what is said of one that breaks it."""

import pytest

from vgdocs.engine.figure import FigureError, find, read, suggest

CLAIM = '''\
def claim_a(m):
    """It is so."""
    assert m["first"] == 0.5
'''
PLAIN = "a claim is a plain function, def claim_*(m), with the assertions in its body"


def test_a_whole_script(project):
    figure = project.figure(
        head="""\
import plotly.graph_objects as go

SEED = 7
STEPS = 3
TOLERANCE = {"last": 0.1}
WIDER: dict = {"first last": (3.0, "small")}
"""
    )
    (claim,) = figure.claims
    assert figure.name == "halving"
    assert figure.title == "Halving ten times leaves {last:.2e}."
    assert claim.name == "claim_halving_is_exact"
    assert claim.sentence == "After the first step {first} is left, and {last:.2e} after the last."
    assert figure.text.splitlines()[claim.line - 1] == "def claim_halving_is_exact(m):"
    assert (figure.seed, figure.tolerance) == (7, {"last": 0.1})
    assert figure.wider == {"first": (3.0, "small"), "last": (3.0, "small")}


@pytest.mark.parametrize(("seed", "expected"), [("SEED = 3", 3), ("SEED: int = 3", 3), ("", 0)])
def test_the_seed(project, seed, expected):
    head = f"import plotly.graph_objects as go\n\n{seed}\nSTEPS = 10\n"
    assert project.figure(head=head, measure="def measure(seed: int = 0):\n    return {}\n").seed == expected


def test_a_long_sentence_is_one_line(project):
    claims = 'def claim_a(m):\n    """It is\n    so."""\n    assert m\n'
    assert project.figure(claims=claims).claims[0].sentence == "It is so."


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"docstring": ""},
            "figures/halving.py:1: has no docstring: its first line is the figure's finding, one sentence",
        ),
        (
            {"docstring": '"""Half a\nsentence."""\n'},
            "figures/halving.py:1: the docstring's first line isn't one whole sentence: 'Half a'",
        ),
        ({"measure": ""}, "figures/halving.py: has no measure(seed: int = SEED) -> dict"),
        ({"draw": ""}, "figures/halving.py: has no draw(m: dict) -> go.Figure"),
        (
            {"claims": ""},
            "figures/halving.py: makes no claim: it needs one or more claim_*(m) functions that assert a bound",
        ),
        (
            {"measure": "def measure():\n    return {}\n"},
            "figures/halving.py:12: measure takes other arguments than the contract's: "
            "measure(seed: int = SEED) -> dict",
        ),
        (
            {"measure": "def measure(seed):\n    return {}\n"},
            "figures/halving.py:12: measure's seed has no default: measure(seed: int = SEED)",
        ),
        (
            {"draw": "def draw(m, colour):\n    return None\n"},
            "figures/halving.py:17: draw takes other arguments than the contract's: draw(m: dict) -> go.Figure",
        ),
        (
            {"claims": CLAIM.replace("(m)", "(m, n)")},
            "figures/halving.py:23: claim_a takes other arguments than the contract's: claim_a(m)",
        ),
        (
            {"claims": CLAIM.replace('"""It is so."""', "pass")},
            "figures/halving.py:23: claim_a has no docstring: it is the sentence that pages rely on",
        ),
        ({"claims": CLAIM.replace("assert ", "")}, "figures/halving.py:23: claim_a asserts nothing"),
        ({"claims": f"async {CLAIM}"}, f"figures/halving.py:23: {PLAIN}"),
        ({"claims": f"{CLAIM}\n\nclaim_b = lambda m: m"}, f"figures/halving.py:28: {PLAIN}"),
        ({"claims": f"{CLAIM}\n\nclaim_b: object = print"}, f"figures/halving.py:28: {PLAIN}"),
        ({"claims": f"{CLAIM}\n\nfrom bounds import claim_b"}, f"figures/halving.py:28: {PLAIN}"),
        (
            {"claims": f"{CLAIM}\n\n{CLAIM}"},
            "figures/halving.py:23: claim_a is defined twice, and the first is never asked",
        ),
        (
            {"claims": f"{CLAIM}    yield m\n"},
            "figures/halving.py:23: claim_a is a generator: calling it asserts nothing",
        ),
        (
            {"claims": CLAIM.replace('m["first"] == 0.5', '(m["first"] == 1, "one")')},
            "figures/halving.py:25: claim_a asserts a tuple, which is the same whatever was measured",
        ),
        (
            {"claims": CLAIM.replace('m["first"] == 0.5', "True")},
            "figures/halving.py:25: claim_a asserts a constant, which is the same whatever was measured",
        ),
        ({"head": "SEED = int(3)\n"}, "figures/halving.py:6: SEED isn't a plain literal"),
        ({"head": "SEED = 0.5\n"}, "figures/halving.py:6: SEED isn't of type int"),
        ({"head": "SEED = 0\nWIDER = [1]\n"}, "figures/halving.py:7: WIDER isn't of type dict"),
        ({"head": "SEED = 0\nWIDER = {1: 2}\n"}, "figures/halving.py:7: WIDER has a key that isn't a name"),
        ({"head": "SEED = 0\nTOLERANCE = {[1]: 2}\n"}, "figures/halving.py:7: TOLERANCE isn't a plain literal"),
        ({"draw": "def draw(m:\n"}, "figures/halving.py:17: isn't Python: '(' was never closed"),
    ],
)
def test_a_breach_of_the_contract_is_told_with_its_line(project, parts, message):
    with pytest.raises(FigureError) as error:
        project.figure(**parts)
    assert str(error.value) == message


def test_a_file_that_is_not_text(project):
    path = project.figures / "noise.py"
    path.write_bytes(b'"""\xff\xfe."""')
    with pytest.raises(FigureError, match="can't be read"):
        read(path)


def test_the_source_of_a_function(project):
    figure = project.figure(
        measure="import functools\n\n\n@functools.cache\ndef measure(seed: int = SEED):\n    return {}\n"
    )
    assert figure.source("measure") == "@functools.cache\ndef measure(seed: int = SEED):\n    return {}"
    with pytest.raises(KeyError, match=r"has no function 'mesure'; did you mean measure\?"):
        figure.source("mesure")


class TestFind:
    def test_all_scripts_good_and_bad(self, project):
        project.script("broken", measure="")
        project.script("_helper", measure="")
        (project.figures / ".ipynb_checkpoints").mkdir()
        project.script(".ipynb_checkpoints/halving-checkpoint")  # JupyterLab's, of each file that it saved
        figures, errors = find(project.figures)
        assert list(figures) == ["halving"]
        assert [str(error) for error in errors.values()] == [
            "figures/broken.py: has no measure(seed: int = SEED) -> dict"
        ]

    @pytest.mark.parametrize("folders", [["a", "b"], ["a", "b", "c"]])
    def test_scripts_of_one_name_are_an_error_however_many(self, project, folders):
        for folder in folders:
            (project.figures / folder).mkdir()
            project.script(f"{folder}/twice")
        figures, errors = find(project.figures)
        assert list(figures) == ["halving"]
        message = str(errors["twice"])
        assert message.endswith(
            f"two scripts are named twice: a/twice.py and {folders[-1]}/twice.py; pages find them by name"
        )

    def test_no_folder_is_no_figures(self, tmp_path):
        assert find(tmp_path / "figures") == ({}, {})


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("sigmod", ["sigmoid", "tanh"], "; did you mean sigmoid?"),
        ("xyz", ["sigmoid", "tanh"], "; there is sigmoid, tanh"),
        ("xyz", [f"other_{i}" for i in range(9)], ""),
        ("xyz", [], ""),
    ],
)
def test_suggestions(name, names, expected):
    assert suggest(name, names) == expected


def test_a_figure_that_takes_a_device(project):
    measure = 'def measure(seed: int = SEED, device: str = "cpu"):\n    return {}\n'
    assert project.figure(measure=measure).takes_device
    assert not project.figure().takes_device
    with pytest.raises(FigureError, match="has no default"):
        project.figure(measure=measure.replace(' = SEED, device: str = "cpu"', ", device"))
