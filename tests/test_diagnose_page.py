"""What docs/diagnose.md shows as code runs and says what the page says it does; its thresholds are the code's."""

import ast
import os
import re
from pathlib import Path

import pytest

from vgdocs.probe import diagnosis, evidence, record, rules

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/diagnose.md").read_text(encoding="utf-8")
CAUSES = (ROOT / "docs/diagnose/causes.md").read_text(encoding="utf-8")
FENCES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
LOOPS = dict(
    re.findall(r"^```python title=\"(\w+)\"\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)  # of other libraries


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The names there are after each fence, run one after the other as a reader does who pastes them all."""
    import torch

    torch.manual_seed(0)
    names: dict = {}
    found = []
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("reader"))
    for number, code in enumerate(FENCES, start=1):
        exec(compile(code, f"fence {number} of diagnose.md", "exec"), names)
        found.append(dict(names))
    os.chdir(before)
    return found


def test_every_fence_runs(states):
    assert len(states) == len(FENCES) == 5


def test_the_ten_lines_find_what_the_page_says(states):
    (finding,) = diagnosis.diagnose(states[0]["probe"].record).findings
    assert (finding.symptom, finding.cause) == ("vanishing", "initialisation")


def test_the_ten_lines_are_about_ten():
    assert sum(bool(line.strip()) for line in FENCES[0].splitlines()) <= 13


def test_a_probe_in_training_sees_its_first_full_look_and_its_last(states):
    assert len(states[1]["probe"].record.steps) == 40
    assert {trace.name.partition(", ")[2] for trace in states[1]["figure"].data} == {"step 0", "step 30"}


def test_the_recurrent_network_vanishes_in_time(states):
    found = [(f.symptom, f.cause) for f in diagnosis.diagnose(states[2]["probe"].record).findings]
    assert ("vanishing", "recurrence") in found


def test_the_plain_way_leaves_no_hook_behind(states):
    assert len(states[4]["outputs"]) == 21
    assert not any(module._forward_hooks for module in states[4]["model"].modules())


def test_the_loops_of_other_libraries_are_asked_for_what_is_there():
    """With their real Trainers: probe/test_callbacks.py."""
    from vgdocs.probe.lightning import LightningProbe
    from vgdocs.probe.transformers import TrainerProbe

    assert LOOPS.keys() == {"Lightning", "Transformers"}
    for code, kind in ((LOOPS["Lightning"], LightningProbe), (LOOPS["Transformers"], TrainerProbe)):
        assert f"from {kind.__module__} import {kind.__name__}\n" in code
        assert isinstance(kind.verdict, property)


def test_the_thresholds_are_those_of_the_code():
    named = re.findall(r"^\| `(\w+)\.([A-Z_]+) = ([\d.e-]+)`", PAGE, re.MULTILINE)
    assert len(named) >= 5
    modules = {"record": record, "evidence": evidence, **vars(rules)}
    for module, name, value in named:
        assert float(value) == getattr(modules[module], name)


def test_each_cause_is_shown():
    """A new cause needs a network that has it, in a figure whose rows both pages show."""
    tables = re.findall(r"^/// table \| (.*)$", PAGE, re.MULTILINE)
    figures = [name.partition(".")[0] for table in tables for name in table.split()]
    shown = re.findall(r"^/// table \| (\w+)\.rows$", CAUSES, re.MULTILINE)
    assert (
        sorted(shown)
        == sorted(figures)
        == sorted(path.stem for path in (ROOT / "figures").glob("*.py") if faults(path.stem))
    )
    named = {cause for name in figures for cause in faults(name)}
    assert named == set(rules.CAUSES)


def faults(name: str) -> list[str]:
    """The keys of FAULTS in a figure's script."""
    for node in ast.parse((ROOT / f"figures/{name}.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAULTS":
            assert isinstance(node.value, ast.Dict)
            return [ast.literal_eval(key) for key in node.value.keys if key]
    return []
