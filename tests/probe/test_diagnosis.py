"""The verdict's rules one by one; the zoo holds them together."""

import ast
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from networks import Calls
from torch import nn

from vgdocs import theory
from vgdocs.probe import Probe, diagnose, rules
from vgdocs.probe.evidence import Evidence
from vgdocs.probe.rules.flow import expected_rate

ROOT = Path(__file__).parents[2]


def stack(depth, activation, sigma_w2, width=64):
    """A plain stack of `depth` layers with Gaussian weights of variance sigma_w2 / fan-in and no biases."""
    torch.manual_seed(0)
    layers = [nn.Linear(width, width) for _ in range(depth)]
    for layer in layers:
        nn.init.normal_(layer.weight, std=(sigma_w2 / width) ** 0.5)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*(part for layer in layers for part in (layer, activation())), nn.Linear(width, 10))


def record(model, x=None, steps=1, loss=None, optimizer=None):
    x = torch.randn(32, 64) if x is None else x
    v = None
    with Probe(model, optimizer) as probe:
        for _ in range(steps):
            model.zero_grad()
            y = model(x)
            v = torch.randn_like(y) if v is None else v
            (loss(y) if loss else (y * v).sum()).backward()
            if optimizer:
                optimizer.step()
    return probe.record


def symptoms(verdict):
    return [(finding.symptom, finding.cause) for finding in verdict.findings]


class TestEvidence:
    def test_it_names_layers_rates_theory_and_scale(self):
        (finding,) = diagnose(record(stack(30, nn.ReLU, 1 / 3))).findings
        assert 'layer 1 ("0")' in finding.evidence
        assert "less than 1e-04" in finding.evidence
        assert "PyTorch's default" in finding.evidence
        assert "with relu the gradient holds at 2" in finding.evidence
        measured, expected = re.findall(r"0\.\d+(?= per layer| of these)", finding.evidence)
        assert float(measured) == pytest.approx(float(expected), rel=0.05)
        assert float(expected) == pytest.approx(theory.rate(torch.relu, 1 / 3), rel=0.05)  # of the weights drawn

    @pytest.mark.parametrize(
        ("activation", "name", "sigma_w2"),
        [(nn.Tanh, "tanh", 0.5), (nn.Sigmoid, "sigmoid", 1.0), (nn.GELU, "gelu", 0.7), (nn.SELU, "selu", 0.4)],
    )
    def test_a_plain_stack_is_held_to_mean_field_theory(self, activation, name, sigma_w2):
        evidence = Evidence(record(stack(20, activation, sigma_w2)))
        profile = theory.gradient_profile(
            theory.ACTIVATIONS[name], 20, evidence.sigma_w2, evidence.median("0", "signal") ** 2
        )
        assert expected_rate(evidence) == pytest.approx(profile[0] ** (1 / 19), rel=0.02)

    @pytest.mark.parametrize(
        "model",
        [
            nn.Sequential(*stack(6, nn.ReLU, 2.0), nn.LayerNorm(10)),
            nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *[nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()] * 6),
        ],
    )
    def test_other_networks_are_not_held_to_it(self, model):
        assert expected_rate(Evidence(record(model))) is None

    def test_several_steps_are_judged_by_their_median_and_one_can_be_asked_for(self):
        model = stack(30, nn.ReLU, 2.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with Probe(model, optimizer) as probe:
            for step in range(3):
                for layer in model[:-1:2]:
                    layer.weight.data *= 0.4 if step == 2 else 1.0
                model.zero_grad()
                model(torch.randn(32, 64)).sum().backward()
                optimizer.step()
        assert symptoms(diagnose(probe.record)) == []
        assert symptoms(diagnose(probe.record, step=2)) == [("vanishing", "initialisation")]
        assert symptoms(diagnose(probe.record, step=0)) == []

    @pytest.mark.parametrize("late", [False, True])
    def test_what_breaks_late_is_seen_as_such(self, late):
        model = stack(30, nn.ReLU, 2.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with Probe(model, optimizer, every=1) as probe:
            for step in range(9):
                for layer in model[:-1:2] if late and step == 6 else ():
                    layer.weight.data *= 0.4
                model.zero_grad()
                model(torch.randn(32, 64)).square().mean().backward()
                optimizer.step()
        found = [(f.symptom, f.since) for f in diagnose(probe.record).findings if f.symptom == "vanishing"]
        assert found == ([("vanishing", 6)] if late else [])

    @pytest.mark.parametrize(("every", "where"), [(None, "not looked at in full"), (1, 'is layer 1 ("0")')])
    def test_the_layer_that_overflows_is_named_only_where_it_was_seen(self, every, where):
        model = stack(4, nn.ReLU, 2.0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        with Probe(model, optimizer, every=every) as probe:
            for step in range(7):
                if step == 6:
                    model[0].weight.data.fill_(math.inf)
                model.zero_grad()
                model(torch.randn(32, 64)).square().mean().backward()
                optimizer.step()
        (finding,) = (f for f in diagnose(probe.record).findings if f.cause == "overflow")
        assert where in finding.evidence

    def test_an_odd_layer_is_no_trend(self):
        """A branch with a tiny weight gets little gradient, and the network is none the worse."""

        parts = {"side": nn.Linear(64, 64), "main": stack(8, nn.Tanh, 1.0)}
        model = Calls(lambda self, x: self.main(x + 1e-6 * self.side(x)), **parts)
        assert symptoms(diagnose(record(model))) == []

    def test_vanishing_that_nothing_accounts_for_is_said_to_be_unexplained(self):
        shrinking = Calls(lambda self, x: x * 0.3)
        model = nn.Sequential(
            *(part for layer in stack(20, nn.ReLU, 2.0)[:-1:2] for part in (layer, nn.ReLU(), shrinking))
        )
        assert symptoms(diagnose(record(model))) == [("vanishing", "unknown")]
        assert "by" not in str(diagnose(record(model))).partition(":")[0]

    def test_what_was_there_all_along_was_seen_from_the_step_on_that_is_asked_about(self):
        model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(3)))
        found = record(model, steps=3, optimizer=torch.optim.SGD(model.parameters(), 0.0))
        assert [(f.cause, f.since) for f in diagnose(found, step=2).findings] == [("no activations", 2)]

    def test_what_two_rules_have_found_is_told_once(self):
        """Grey values are large, and send a tanh to where it is flat."""
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
        assert symptoms(diagnose(record(model, 255 * torch.rand(32, 64)))) == [("data", "inputs not scaled")]

    @pytest.mark.parametrize("is_post_norm", [True, False])
    def test_a_norm_at_the_end_of_a_branch_is_no_post_norm(self, is_post_norm):
        def forward(self, x):
            branch = F.relu(self.linear(x))
            return self.norm(x + branch) if is_post_norm else x + self.norm(branch)

        torch.manual_seed(0)
        blocks = [Calls(forward, linear=nn.Linear(64, 64), norm=nn.LayerNorm(64)) for _ in range(8)]
        model, y = nn.Sequential(*blocks, nn.Linear(64, 10)), torch.randint(10, (32,))
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)  # so that nothing is learned
        found = record(model, steps=10, loss=lambda z: F.cross_entropy(z, y), optimizer=optimizer)
        causes = [cause for _, cause in symptoms(diagnose(found))]
        assert ("post-norm without warm-up" in causes) == is_post_norm


class TestTime:
    @pytest.mark.parametrize(("bias", "cause"), [(-5.0, "forget gate"), (0.0, "recurrence")])
    def test_a_forget_gate_that_is_closed_is_told_from_one_that_is_half_open(self, bias, cause):
        torch.manual_seed(0)
        reader = Calls(lambda self, x: self.cell(x)[0][:, -1], cell=nn.LSTM(4, 16, batch_first=True))
        nn.init.constant_(reader.cell.bias_ih_l0[16:32], bias)
        found = record(reader, torch.randn(8, 80, 4), optimizer=torch.optim.SGD(reader.parameters(), 0.1))
        assert symptoms(diagnose(found)) == [("vanishing", cause)]

    @pytest.mark.parametrize(("loss", "found"), [(lambda y: y[:, -1].sum(), 1), (lambda y: y.sum(), 0)])
    def test_how_far_back_cannot_be_known_where_every_step_is_read(self, loss, found):
        torch.manual_seed(0)
        model = Calls(lambda self, x: self.rnn(x)[0], rnn=nn.RNN(4, 16, batch_first=True))
        verdict = diagnose(record(model, torch.randn(8, 60, 4), loss=loss))
        assert len(verdict.findings) == found
        assert any("how far back" in what for what in verdict.unknown) != bool(found)

    def test_steps_after_the_last_that_is_read_do_not_count(self):
        torch.manual_seed(0)
        model = Calls(lambda self, x: self.rnn(x)[0][:, 11], rnn=nn.RNN(4, 16, batch_first=True))
        assert symptoms(diagnose(record(model, torch.randn(8, 60, 4)))) == []

    def test_a_cell_called_step_by_step(self):
        def forward(self, x):
            h = None
            for t in range(x.shape[1]):
                h = self.cell(x[:, t], h)
            return h

        torch.manual_seed(0)
        model = Calls(forward, cell=nn.RNNCell(4, 16))
        assert symptoms(diagnose(record(model, torch.randn(8, 60, 4)))) == [("vanishing", "recurrence")]


class TestSilence:
    def test_layers_behind_one_that_starts_at_zero_have_no_gradient_at_first(self):
        model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        nn.init.zeros_(model[2].weight)
        assert symptoms(diagnose(record(model))) == []

    def test_a_scaler_may_skip_a_few_steps_and_not_most_of_them(self):
        def run(overflowing):
            model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
            scaler, optimizer = torch.amp.GradScaler("cpu"), torch.optim.SGD(model.parameters(), 1e-3)
            with Probe(model, optimizer, scaler) as probe:
                for step in range(4):
                    optimizer.zero_grad()
                    loss = model(torch.randn(32, 64)).sum() * (math.inf if step < overflowing else 1.0)
                    scaler.scale(loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
            return diagnose(probe.record)

        assert run(0).findings == run(1).findings == ()
        assert any("skipped 1 of 4 steps" in what for what in run(1).unknown)
        (finding,) = run(3).findings
        assert finding.symptom == "non-finite"
        assert "skipped 3 of 4 steps" in finding.evidence

    def test_answers_are_compared_with_their_own_targets(self):
        """In a squared error that is written out, of one column."""
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Linear(64, 1), nn.Sigmoid()), torch.randn(32, 64)
        nn.init.constant_(model[0].weight, 2.0)
        nn.init.zeros_(model[0].bias)
        y = (x.sum(1) > 0).float()
        assert symptoms(diagnose(record(model, x, loss=lambda p: ((p[:, 0] - y) ** 2).mean()))) == []

    def test_a_saturated_last_layer_may_be_right(self):
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1), nn.Sigmoid())
        nn.init.constant_(model[2].bias, 20.0)
        assert symptoms(diagnose(record(model))) == []


class TestSickness:
    def test_nan_names_where_it_began(self):
        model = stack(4, nn.Tanh, 1.0)
        model[4].weight.data[0, 0] = math.nan
        (finding,) = diagnose(record(model)).findings
        assert (finding.symptom, finding.layers) == ("non-finite", ("4",))
        assert "forward pass" in finding.evidence

    @pytest.mark.parametrize("loss", [F.mse_loss, F.huber_loss, F.smooth_l1_loss])
    def test_targets_that_are_missing_at_a_step_that_is_not_looked_at_in_full(self, loss):
        """From the next step on the weights are nan as well, so that a full look comes too late."""
        torch.manual_seed(0)
        model, x, y = (
            nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)),
            torch.randn(9, 32, 8),
            torch.randn(9, 32, 1),
        )
        y[3, 5] = torch.nan
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Probe(model, optimizer, every=5) as probe:
            for batch, target in zip(x, y, strict=True):
                optimizer.zero_grad()
                loss(model(batch), target).backward()
                optimizer.step()
        first = diagnose(probe.record).findings[0]
        assert (first.cause, first.since) == ("nan in the targets", 3)

    def test_nan_in_the_backward_pass_alone(self):
        model = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 8), Calls(lambda self, x: torch.sqrt(x * 0)))
        (finding,) = diagnose(record(model)).findings
        assert (finding.symptom, finding.layers) == ("non-finite", ("1",))
        assert "backward pass" in finding.evidence

    def test_a_gradient_that_underflows_in_half_precision(self):
        model = stack(24, nn.Sigmoid, 1.0).half()
        verdict = diagnose(record(model, torch.randn(8, 64).half()))
        assert symptoms(verdict) == [("vanishing", "activation")]
        assert verdict.findings[0].consequences == ("exactly zero",)
        assert "gets nothing of it" in verdict.findings[0].evidence

    def test_what_follows_is_told_by_its_symptom_where_nothing_says_why(self):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(30, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1))
        x = 10 * torch.randn(400, 30)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        verdict = diagnose(record(model, x, 3, lambda y: ((y - 3 * x[:, :1]) ** 2).mean(), optimizer))
        assert symptoms(verdict) == [("large updates", "learning rate too large")]
        assert verdict.findings[0].consequences == ("exploding", "overflow")

    def test_a_layer_behind_which_nothing_arrives(self):
        cut = Calls(lambda self, x: x * 0)
        (finding,) = diagnose(record(nn.Sequential(*stack(4, nn.Tanh, 1.0)[:4], cut, nn.Linear(64, 10)))).findings
        assert (finding.symptom, finding.cause, finding.layers) == ("no gradient", "exactly zero", ("0", "2"))

    def test_updates_as_large_as_the_weights(self):
        model = stack(3, nn.Tanh, 1.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.5)
        assert ("large updates", "learning rate too large") in symptoms(diagnose(record(model, optimizer=optimizer)))


class TestUnknown:
    def test_what_it_cannot_know_is_always_said(self):
        verdict = diagnose(record(stack(3, nn.ReLU, 2.0)))
        assert verdict.findings == ()
        text = str(verdict)
        assert text.startswith("Nothing wrong found")
        for what in ("whether the network learns", "the probe was given none", "one step"):
            assert what in text

    def test_adam_hides_how_weak_a_gradient_is(self):
        model = stack(3, nn.ReLU, 2.0)
        assert "Adam divides" in str(diagnose(record(model, optimizer=torch.optim.AdamW(model.parameters()))))
        assert "Adam divides" not in str(diagnose(record(model, optimizer=torch.optim.SGD(model.parameters(), 0.1))))

    def test_functions_are_not_seen(self):
        model = Calls(lambda self, x: F.relu(self.a(x)), a=nn.Linear(64, 10))
        assert "relu is called as a function" in str(diagnose(record(model)))

    def test_nothing_recorded(self):
        with Probe(nn.Linear(1, 1)) as probe:
            pass
        with pytest.raises(ValueError, match="nothing recorded"):
            diagnose(probe.record)

    def test_a_step_that_was_not_recorded(self):
        with pytest.raises(ValueError, match="step 5 was not recorded"):
            diagnose(record(stack(2, nn.ReLU, 2.0)), step=5)


def test_every_rules_pages_exist():
    files = [*(ROOT / "src/vgdocs/probe").glob("*.py"), *(ROOT / "src/vgdocs/probe/rules").glob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    pages = {page for text in texts for page in re.findall(r"\b[a-z-]+/[a-z-]+\.md\b(?:#[a-z-]+)?", text)}
    assert len(pages) >= 8
    for page in pages:
        name, _, anchor = page.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert not anchor or anchor in [heading.lower().replace(" ", "-") for heading in headings], page


def test_every_rule_is_in_force():
    modules = [value for value in vars(rules).values() if getattr(value, "__package__", None) == "vgdocs.probe.rules"]
    there = {
        f"{module.__name__}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__annotations__", {}).get("return") == "Finding | None"
    }
    assert {f"{rule.__module__}.{rule.__name__}" for rule in rules.RULES} == there
    assert len(there) > 30
