"""`benchmarks/papers_size.py`: its small versions show what the large ones are for, and nothing is lost or mixed."""

import json
import math
import pickle

import numpy as np
import papers_size
import pytest
import torch
from papers_size import EXPERIMENTS, Experiment, main

from vgdocs.gradients import norms_of_gradients

FEW = {  # one rate instead of five, and as few steps as tell the arms apart
    "mean_field": {},
    "ten_thousand": {"rates": [1], "steps": 40},
    "residual": {"rates": [0.1]},
    "transformer": {"rates": [3e-3], "steps": 4},
}


def works() -> Experiment:
    runs = {"a": lambda: {"value": 1.0}, "b": lambda: {"value": 2.0}}
    return Experiment(runs, lambda: 90, lambda done: [{"network": name, "value": done[name]["value"]} for name in done])


@pytest.fixture(autouse=True)
def apart(monkeypatch, tmp_path):
    """Nothing of the project's own is read or written."""
    monkeypatch.setattr(papers_size, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(papers_size, "RECORDED", tmp_path / "recorded.json")
    monkeypatch.setattr(papers_size, "SEEDS", (1,))


@pytest.fixture
def experiments(monkeypatch):
    """Two that take no time, `one` and `two`; a test may make others of them."""
    made = {name: works() for name in ("one", "two")}
    table = {name: (lambda device, data, name=name: made[name], {}, {}) for name in made}
    monkeypatch.setattr(papers_size, "EXPERIMENTS", table)
    return made


def small(name: str) -> list[dict]:
    """The rows of an experiment's small version."""
    make, _, size = EXPERIMENTS[name]
    experiment = make("cpu", None, **size | FEW[name])
    return experiment.rows({key: run() for key, run in experiment.runs.items()})


class TestExperiments:
    """Bounds are a factor or more away from what other seeds gave."""

    def test_rates_agree_with_theory(self):
        table = small("mean_field")
        for row in table:
            assert row["rate"] == pytest.approx(row["theory"], rel=0.03)
        scales = {row["weights"]: (row["depth scale"], row["its theory"]) for row in table}
        assert scales.pop("on the line")[1] == "∞"
        for measured, theory in scales.values():
            assert theory / 1.5 < measured < 1.5 * theory

    def test_a_matrix_that_is_drawn_twice_is_the_same(self, monkeypatch):
        """The rate is the one that autograd finds where all matrices are kept."""
        size = {"width": 16, "depth": 12, "batch": 4, "seeds": 1}
        once = papers_size.mean_field("cpu", None, **size).runs["above, seed 1"]()
        monkeypatch.setattr(papers_size, "checkpoint", lambda layer, z, seed, **_: layer(z, seed))
        assert papers_size.mean_field("cpu", None, **size).runs["above, seed 1"]() == once

    def test_orthogonal_kernels_keep_the_gradient_and_train(self):
        delta, gaussian = small("ten_thousand")
        assert delta["gradient"] > 0.03
        assert gaussian["gradient"] < 1e-4
        assert delta["fitted"] > gaussian["fitted"] + 0.05

    def test_only_the_residual_network_trains(self):
        skips, plain = small("residual")
        assert skips["fitted"] > 2 * plain["fitted"]
        assert plain["gradient"] > 2 * skips["gradient"]

    def test_post_ln_moves_further_in_a_step(self):
        deepnorm, post = small("transformer")
        assert 0.3 < deepnorm["gradient"] < 3
        assert post["moved"] > 2 * deepnorm["moved"] > 0
        assert all(math.isfinite(value) for row in (deepnorm, post) for value in list(row.values())[1:])

    def test_a_network_that_blows_up_is_stopped_and_told_as_it_is(self):
        data = papers_size.stand_in(1, 8, 50, 20, 0.0)
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        found = papers_size.fit(model, data, torch.optim.SGD, lr=1e38, steps=50, batch=10, seed=0)
        assert found["steps"] < 50
        assert found["test_accuracy"] < 0.5

    def test_layers_are_counted_as_in_the_paper(self):
        net = papers_size.ResNet(True, 18, 4, 3, seed=0)
        layers = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        assert len(layers) == 110
        parameters = sum(p.numel() for p in papers_size.ResNet(True, 18, 16, 3, seed=0).parameters())
        assert parameters == pytest.approx(1.7e6, rel=0.03)  # their table 6

    def test_a_delta_orthogonal_network_is_an_isometry_at_first(self):
        net = papers_size.Plain("delta-orthogonal", 5, 8, torch.zeros(1, 12, 12), seed=0)
        x = torch.randn(2, 1, 12, 12)
        first, last = net.ends(1e-4 * x)
        assert last.norm().item() == pytest.approx(first.norm().item(), rel=1e-4)
        first, last = norms_of_gradients(last.sum(), [first, last])
        assert first == pytest.approx(last, rel=1e-4)


class TestData:
    def test_the_stand_in_has_the_form_that_was_asked_for(self):
        x, y, x_test, y_test = papers_size.stand_in(3, 32, 40, 20, 0.5)
        assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((40, 3, 32, 32), (40,), (20, 3, 32, 32), (20,))
        assert x.mean((0, 2, 3)).abs().max() < 1e-5
        assert set(y.tolist()) <= set(range(10))
        assert torch.equal(papers_size.stand_in(3, 32, 40, 20, 0.5)[0], x)

    def test_cifar_is_read_from_its_folder(self, tmp_path):
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            pixels = np.random.default_rng(0).integers(256, size=(3, 3072), dtype=np.uint8)
            (tmp_path / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": [7, 0, 9]}))
        x, y, x_test, _ = papers_size.cifar(tmp_path)
        assert (x.shape, x_test.shape, y[:3].tolist()) == ((15, 3, 32, 32), (3, 3, 32, 32), [7, 0, 9])
        assert x.std((0, 2, 3)) == pytest.approx(torch.ones(3))

    def test_a_folder_without_it(self, tmp_path):
        with pytest.raises(SystemExit, match="cifar-10-batches-py"):
            main(["--small", "--data", str(tmp_path)])


class TestCommand:
    def recorded(self) -> dict:
        return json.loads(papers_size.RECORDED.read_text("utf-8"))

    def test_what_is_complete_is_recorded(self, experiments, capsys):
        assert main(["--device", "cpu"]) == 0
        assert capsys.readouterr().out.startswith("one: 2 of 2 networks to go, about 3.0 min\n")
        found = self.recorded()
        assert list(found) == ["one", "two"]
        keys = {"size", "device", "versions", "runs", "peak_gb", "made", "hours", "rows", "trained"}
        assert found["one"].keys() == keys
        assert found["one"]["rows"] == [{"network": "a", "value": 1.0}, {"network": "b", "value": 2.0}]
        assert found["one"]["versions"]["torch"] == torch.__version__

    def test_a_trial_is_not(self, experiments):
        assert main(["--small"]) == 0
        assert not papers_size.RECORDED.exists()

    def test_one_alone_leaves_the_other_as_it_is(self, experiments):
        assert main(["--device", "cpu", "--only", "two"]) == 0
        before = self.recorded()
        assert main(["--device", "cpu", "--only", "one"]) == 0
        assert self.recorded() == before | {"one": self.recorded()["one"]}

    def test_it_goes_on_where_it_ended(self, experiments, capsys):
        calls = []

        def first() -> dict:
            calls.append("a")
            return {"value": 1.0}

        def second() -> dict:
            calls.append("b")
            if calls.count("b") == 1:
                raise torch.OutOfMemoryError("too large")
            return {"value": 2.0}

        experiments["one"].runs.update(a=first, b=second)
        assert main(["--device", "cpu"]) == 1
        assert "one failed: too large" in capsys.readouterr().out
        assert list(self.recorded()) == ["two"]
        assert main(["--device", "cpu"]) == 0
        assert list(self.recorded()) == ["two", "one"]
        assert calls == ["a", "b", "b"]
        assert "one: 1 of 2 networks to go" in capsys.readouterr().out

    def test_what_was_made_otherwise_is_not_added_to(self, experiments, monkeypatch):
        assert main(["--device", "cpu"]) == 0
        monkeypatch.setattr(papers_size, "machine", lambda device: {"device": "another", "versions": {}})
        with pytest.raises(SystemExit, match=r"one\.json was measured with another device and versions"):
            main(["--device", "cpu"])

    def test_an_experiment_that_does_not_fit_is_left_out(self, experiments, monkeypatch, capsys):
        def too_large(device, data):
            raise torch.OutOfMemoryError("too large")

        monkeypatch.setitem(papers_size.EXPERIMENTS, "one", (too_large, {}, {}))
        assert main(["--device", "cpu"]) == 1
        assert "one is left out: too large" in capsys.readouterr().out
        assert list(self.recorded()) == ["two"]

    def test_an_unknown_name(self, capsys):
        with pytest.raises(SystemExit):
            main(["--only", "residul"])
        assert "'residul'" in capsys.readouterr().err

    def test_without_cuda_it_says_so(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SystemExit, match="no CUDA device here; --small"):
            main([])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_is_prepared_at_its_size_with_controls(name):
    _, full, small = EXPERIMENTS[name]
    assert full.keys() == small.keys()
    if "rates" in full:
        assert len(full["rates"]) >= 5
        assert max(full["rates"]) >= 100 * min(full["rates"])
