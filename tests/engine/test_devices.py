"""`--device`: a figure that declares it runs on a GPU, with everything it computes; others are not sent there."""

import sys
from pathlib import Path

import papers_size
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from vgdocs.engine import worker
from vgdocs.engine.figure import find
from vgdocs.experiments import OPTIMISERS

ROOT = Path(__file__).parents[2]
TAKE_DEVICE = sorted(name for name, figure in find(ROOT / "figures")[0].items() if figure.takes_device)
SMALLER = {"REPLICAS": 2, "STEPS": 10}  # each operation takes many times as long as on a device that there is
ELSEWHERE = "meta"  # a device whose name torch knows on every machine
WITH_DEVICE = (
    'def measure(seed: int = SEED, device: str = "cpu") -> dict:\n'
    '    return {"left": [1, 0.5], "first": 0.5, "last": 0.5**10, "there": int(device == "cuda")}\n'
)


class _There(torch.Tensor):
    """A tensor that says it is on the other device, and keeps its values in `held`, on the CPU."""

    @staticmethod
    def __new__(cls, held):
        there = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=ELSEWHERE
        )
        there.held = held
        return there

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class OtherDevice(TorchDispatchMode):
    """A second device on a machine that has none, as strict as a GPU: no operation mixes its tensors with the CPU's."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


def _run(operation, args, kwargs):
    here = there = False
    for value in tree_iter((args, kwargs)):
        there |= isinstance(value, _There)
        here |= isinstance(value, torch.Tensor) and not isinstance(value, _There) and value.dim() > 0
    sent = kwargs.get("device")
    if here and there:
        raise RuntimeError(f"{operation} mixes tensors of two devices")
    if sent is not None:
        there = torch.device(sent).type == ELSEWHERE
        kwargs = kwargs | {"device": "cpu"}
    args, kwargs = tree_map(lambda value: value.held if isinstance(value, _There) else value, (args, kwargs))
    result = operation(*args, **kwargs)
    return tree_map(lambda value: _There(value) if there and isinstance(value, torch.Tensor) else value, result)


@pytest.fixture
def load():
    loaded = []

    def load(name: str, old: str = "", new: str = ""):
        path = ROOT / f"figures/{name}.py"
        text = path.read_text(encoding="utf-8")
        assert old in text
        loaded.append(name)
        return worker.load(str(path), text.replace(old, new))

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


def test_there_are_figures_that_run_on_a_gpu():
    assert len(TAKE_DEVICE) >= 3


@pytest.mark.parametrize("name", TAKE_DEVICE)
def test_all_that_such_a_figure_computes_is_on_the_device(load, name):
    module = load(name)
    for constant, size in SMALLER.items():
        if hasattr(module, constant):
            setattr(module, constant, size)
    with OtherDevice():
        there = module.measure(device=ELSEWHERE)
    assert there == module.measure()


def test_what_is_left_behind_on_the_cpu_is_noticed(load):
    module = load("finite_width", "torch.float32).to(device)", "torch.float32)")
    with OtherDevice(), pytest.raises(RuntimeError, match="mixes tensors of two devices"):
        module.gradient_norms(32, 0, ELSEWHERE)


@pytest.mark.parametrize("name", papers_size.EXPERIMENTS)
def test_all_that_is_measured_at_the_papers_size_is_on_the_device(monkeypatch, name):
    monkeypatch.setitem(OPTIMISERS, "adam", torch.optim.Adam)  # a fused one knows the devices that there are
    # and a tensor such as ours knows neither `model.double()` nor `tolist()`
    monkeypatch.setattr(papers_size, "gradient", lambda model, x: {})
    monkeypatch.setattr(papers_size, "accuracy", lambda model, x, y: model(x).mean().item())
    make, _, small = papers_size.EXPERIMENTS[name]
    fewer = {"images": small["images"] | {"train": 40, "test": 10}, "steps": 2} if "images" in small else {}
    size = small | {"batch": 4} | fewer
    size |= {key: 4 for key in ("depth", "n") if key in size}

    def first(device: str) -> dict:
        return next(iter(make(device, None, **size).runs.values()))()

    with OtherDevice():
        there = first(ELSEWHERE)
    assert there == pytest.approx(first("cpu"), rel=1e-4)  # in float32


class TestCommand:
    def test_the_cpu_measures_all(self, call, project):
        project.script("doubling", measure=WITH_DEVICE)
        assert call("run", "--device", "cpu")[1].endswith("2 figures, 2 claims, 0 failed\n")

    def test_a_figure_that_takes_a_device_is_told_which(self, project, monkeypatch):
        monkeypatch.setattr(worker, "_use_one_thread", lambda device: None)  # which asks for a device that there is
        figure = project.figure(measure=WITH_DEVICE)
        for device in ("cpu", "cuda"):
            made = worker._run(worker.Job(str(figure.path), figure.text, str(project.root), 0, device, None))
            assert made["measured"]["there"] == (device == "cuda")

    def test_where_there_is_none_it_says_so(self, call, project, monkeypatch):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        project.script("doubling", measure=WITH_DEVICE)
        code, _, output = call("run", "--device", "cuda")
        assert code == 1
        assert "figures/doubling.py: can't be measured on cuda: PyTorch" in output
        assert "halving" not in output

    def test_a_figure_that_takes_no_device_is_refused_by_name(self, call):
        told = "halving can't run on cuda: its measure() takes no device\n"
        assert call("run", "--device", "cuda", "halving") == (1, "", told)

    def test_where_no_figure_takes_a_device(self, call):
        code, _, output = call("run", "--device", "cuda")
        assert (code, output.split(" can't")[0]) == (1, "Nothing here")

    def test_a_figure_that_there_is_not(self, call):
        code, _, output = call("run", "--device", "cuda", "halvin")
        assert (code, "there is no figure 'halvin'; did you mean halving?" in output) == (1, True), output
