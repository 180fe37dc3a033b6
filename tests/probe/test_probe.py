"""The probe against autograd and finite differences, in every kind of network, and what it leaves behind: nothing."""

import copy
import gc
import io
import math
import re
import subprocess
import sys
import warnings
import weakref
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from networks import Calls
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from vgdocs.probe import Probe
from vgdocs.probe.layers import find_layers, tensors_of
from vgdocs.probe.record import EARLY, LATE, STEPS, role_of

BATCH, WIDTH = 6, 8
ARCHITECTURES = {}


def architecture(make):
    ARCHITECTURES[make.__name__] = make
    return make


def stack(*activations):
    return nn.Sequential(*(layer for a in activations for layer in (nn.Linear(WIDTH, WIDTH), a)), nn.Linear(WIDTH, 3))


@architecture
def relu_mlp():
    return stack(nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU())


@architecture
def mlp_of_many_activations():
    return stack(nn.Sigmoid(), nn.Tanh(), nn.GELU(), nn.PReLU(), nn.LeakyReLU(0.1), nn.SiLU())


@architecture
def activations_called_as_functions():
    def forward(self, x):
        return self.c(torch.sigmoid(self.b(F.relu(self.a(x)))))

    return Calls(forward, a=nn.Linear(WIDTH, 5), b=nn.Linear(5, 5), c=nn.Linear(5, 2))


@architecture
def batch_norm():
    return nn.Sequential(nn.Linear(WIDTH, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


@architecture
def layer_and_rms_norm():
    return nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5), nn.RMSNorm(5), nn.Tanh(), nn.Linear(5, 3))


@architecture
def cnn():
    return nn.Sequential(
        nn.Unflatten(1, (2, 2, 2)),
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.GroupNorm(2, 4),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


@architecture
def transposed_convolution():
    return nn.Sequential(nn.Unflatten(1, (4, 2)), nn.Conv1d(4, 3, 1), nn.Tanh(), nn.ConvTranspose1d(3, 2, 3))


@architecture
def residual():
    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)

    return Calls(forward, blocks=nn.ModuleList(stack(nn.ReLU())[:2] for _ in range(3)), head=nn.Linear(WIDTH, 2))


@architecture
def one_layer_called_three_times():
    return Calls(
        lambda self, x: self.out(self.a(torch.tanh(self.a(torch.tanh(self.a(x)))))),
        a=nn.Linear(8, 8),
        out=nn.Linear(8, 2),
    )


@architecture
def two_names_for_one_module():
    layer = nn.Linear(WIDTH, WIDTH)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(WIDTH, 2))


@architecture
def tied_weights():
    def forward(self, x):
        return self.decoder(torch.tanh(self.encoder((x[:, :3] * 3).long().abs() % 5)))

    model = Calls(forward, encoder=nn.Embedding(5, WIDTH), decoder=nn.Linear(WIDTH, 5, bias=False))
    model.decoder.weight = model.encoder.weight
    return model


@architecture
def sparse_embedding():
    embedding = nn.Embedding(50, 4, sparse=True)
    return Calls(lambda self, x: self.b(self.a((x * 9).long().abs() % 50)), a=embedding, b=nn.Linear(4, 2))


@architecture
def half_frozen():
    model = stack(nn.Tanh(), nn.Tanh(), nn.Tanh())
    for parameter in (*model[0].parameters(), model[2].weight):
        parameter.requires_grad_(False)
    return model


@architecture
def weight_normalised():
    return nn.Sequential(weight_norm(nn.Linear(WIDTH, 5)), nn.Tanh(), nn.Linear(5, 2))


@architecture
def bilinear_with_several_outputs():
    def forward(self, x):
        return {"first": self.a(x, torch.tanh(x)), "rest": (self.b(x), [self.b(2 * x)])}

    return Calls(forward, a=nn.Bilinear(WIDTH, WIDTH, 2), b=nn.Linear(WIDTH, 2))


@architecture
def rnn():
    return Calls(
        lambda self, x: self.out(self.rnn(x.unflatten(1, (4, 2)))[0][:, -1]),
        rnn=nn.RNN(2, 5, batch_first=True),
        out=nn.Linear(5, 2),
    )


@architecture
def lstm_in_both_directions_read_at_its_state():
    lstm = nn.LSTM(2, 3, num_layers=2, bidirectional=True)
    return Calls(lambda self, x: self.out(self.lstm(x.view(4, -1, 2))[1][0][-1]), lstm=lstm, out=nn.Linear(3, 2))


@architecture
def gru_on_packed_sequences():
    def forward(self, x):
        lengths = torch.tensor([4, 4, 3, 2, 2, 1])
        packed = pack_padded_sequence(x.unflatten(1, (4, 2)), lengths, batch_first=True)
        return self.out(pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0])

    return Calls(forward, gru=nn.GRU(2, 3, batch_first=True), out=nn.Linear(3, 2))


@architecture
def lstm_cell_by_hand():
    def forward(self, x):
        state = None
        for t in range(4):
            state = self.cell(x[:, 2 * t : 2 * t + 2], state)
        return self.out(state[0])

    return Calls(forward, cell=nn.LSTMCell(2, 4), out=nn.Linear(4, 2))


@architecture
def attention():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    return Calls(
        lambda self, x: self.out(self.attend(*[x.unflatten(1, (2, 4))] * 3)[0]), attend=attention, out=nn.Linear(4, 2)
    )


@architecture
def transformer_encoder():
    block = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
    return Calls(lambda self, x: self.encoder(x.unflatten(1, (2, 4))), encoder=encoder)


@architecture
def transformer():
    transformer = nn.Transformer(4, 2, 1, 1, 6, dropout=0.0, batch_first=True)
    return Calls(lambda self, x: self.t(x.unflatten(1, (2, 4)), x.unflatten(1, (2, 4)).flip(1)), t=transformer)


@architecture
def checkpointed():
    def forward(self, x):
        return self.head(checkpoint(self.body, x, use_reentrant=False))

    return Calls(forward, body=stack(nn.Tanh(), nn.ReLU())[:4], head=nn.Linear(WIDTH, 2))


def make(name):
    torch.manual_seed(0)
    model = ARCHITECTURES[name]().double()
    return model, torch.randn(BATCH, WIDTH, dtype=torch.float64)


def loss_of(output):
    """A loss whose gradient doesn't depend on the output, but is other for each element."""
    return sum((y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)).sum() for y in tensors_of(output))


class Outputs:
    """The outputs of each layer of a model, and room to shift them; written without the probe's means."""

    def __init__(self, model):
        self.calls, self.shifts = {}, {}
        for layer, module in find_layers(model):
            module.register_forward_hook(partial(self.keep, layer.name))

    def keep(self, layer, module, args, output):
        calls = self.calls.setdefault(layer, [])
        shifts = self.shifts[layer][len(calls)] if layer in self.shifts else [0.0] * 9
        moved = shifted(output, iter(shifts))  # by 0 too: no output is then made from another
        calls.append(list(tensors_of(moved)))
        return moved


def shifted(output, shifts):
    """The output of a module with something added to each of its tensors."""
    if isinstance(output, torch.Tensor):
        return output + next(shifts)
    if isinstance(output, PackedSequence):
        return output._replace(data=output.data + next(shifts))
    return None if output is None else type(output)(shifted(part, shifts) for part in output)


class Reference:
    """A network and, by `torch.autograd.grad`, what the probe should find in it."""

    def __init__(self, name):
        self.model, self.x = make(name)
        for module in self.model.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # or autograd means the value that the next layer has written over
        self.watch = Outputs(self.model)
        loss = loss_of(self.model(self.x))
        self.loss = loss.item()
        parameters = list(self.model.parameters())
        self.weights = {}  # layer: [(parameter, gradient)]
        self.outputs = {}  # layer: for each call a gradient for each part
        for layer, _ in find_layers(self.model):
            own = [parameters[i] for i in layer.parameters if parameters[i].requires_grad]
            self.weights[layer.name] = list(zip(own, self.gradients(loss, own), strict=True))
            self.outputs[layer.name] = [self.gradients(loss, call) for call in self.watch.calls.get(layer.name, [])]
        norms = {(layer, "weight_gradient"): _norm(g for _, g in pairs) for layer, pairs in self.weights.items()}
        norms |= {
            (layer, "activation_gradient"): _norm(g for call in calls for g in call)
            for layer, calls in self.outputs.items()
        }
        self.norms = {key: norm for key, norm in norms.items() if norm is not None}

    @staticmethod
    def gradients(loss, tensors):
        reached = [t for t in tensors if t.requires_grad]
        found = iter(torch.autograd.grad(loss, reached, retain_graph=True, allow_unused=True) if reached else [])
        return [next(found) if t.requires_grad else None for t in tensors]

    def slope(self, shift, step=1e-5):
        """Central difference of the loss along what `shift` moves."""
        losses = []
        for by in (step, -step):
            shift(by)
            self.watch.calls.clear()
            with torch.no_grad():
                losses.append(loss_of(self.model(self.x)).item())
        shift(0.0)
        return (losses[0] - losses[1]) / (2 * step)

    def slope_along_weights(self, layer):
        starts = [parameter.detach().clone() for parameter, _ in self.weights[layer]]

        def shift(by):
            for (parameter, g), start in zip(self.weights[layer], starts, strict=True):
                if g is not None:
                    parameter.data.copy_(start + by * g / self.norms[layer, "weight_gradient"])

        return self.slope(shift)

    def slope_along_outputs(self, layer):
        def shift(by):
            by /= self.norms[layer, "activation_gradient"]
            self.watch.shifts[layer] = [[0.0 if g is None else by * g for g in call] for call in self.outputs[layer]]

        slope = self.slope(shift)
        self.watch.shifts.clear()
        return slope


def _norm(gradients):
    found = [(g.to_dense() if g.is_sparse else g).pow(2).sum().item() for g in gradients if g is not None]
    return math.sqrt(sum(found)) if found else None


def probed(name):
    model, x = make(name)
    with Probe(model) as probe:
        loss_of(model(x)).backward()
    return {
        (row["layer"], quantity): row[quantity]
        for row in probe.record.rows
        for quantity in ("weight_gradient", "activation_gradient")
        if row[quantity] is not None
    }


def test_there_are_twenty_architectures():
    assert len(ARCHITECTURES) >= 20


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_norms_equal_autograds(name):
    expected = Reference(name).norms
    assert probed(name) == pytest.approx(expected, rel=1e-12, abs=0)
    assert len(expected) > 2


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "checkpointed"])
def test_norms_equal_central_differences(name):
    """Along its gradient a loss rises by the gradient's norm: one difference a layer sees all of its elements."""
    reference, seen = Reference(name), 0
    for (layer, quantity), norm in probed(name).items():
        if norm > 1e-6 * max(abs(reference.loss), 1):  # below it the loss's own rounding hides the difference
            slope = reference.slope_along_weights if quantity == "weight_gradient" else reference.slope_along_outputs
            assert slope(layer) == pytest.approx(norm, rel=1e-5, abs=0), (layer, quantity)
            seen += 1
    assert seen > 2


def linear_pair():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), torch.randn(5, 4)


def rows(probe, layer, quantity):
    return [row[quantity] for row in probe.record.rows if row["layer"] == layer]


class TestSteps:
    def test_without_an_optimizer_the_next_forward_ends_a_step(self):
        model, x = linear_pair()
        norms = []
        with Probe(model) as probe:
            for factor in (1.0, 2.0, 3.0):
                model.zero_grad(set_to_none=True)
                (factor * model(x).sum()).backward()
                norms.append(model[0].weight.grad.norm().item())
        assert probe.record.steps == [0, 1, 2]
        assert rows(probe, "1", "activation_gradient") == pytest.approx([math.sqrt(10) * f for f in (1, 2, 3)])
        assert [n / norms[0] for n in norms] == pytest.approx([1, 2, 3])

    def test_with_an_optimizer_its_step_ends_one_however_many_passes_are_accumulated(self):
        model, x = linear_pair()
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        with Probe(model, optimizer) as probe:
            for _ in range(2):
                optimizer.zero_grad()
                for part in x.split(1):
                    model(part).sum().backward()
                optimizer.step()
        whole, x = linear_pair()
        with Probe(whole) as at_once:
            whole(x).sum().backward()
        assert probe.record.steps == [0, 1]
        assert rows(probe, "0", "calls") == [5, 5]
        for layer in "01":
            for quantity in ("weight_gradient", "activation_gradient"):
                expected = rows(at_once, layer, quantity) * 2
                assert rows(probe, layer, quantity) == pytest.approx(expected, rel=1e-6)

    def test_everything_is_recorded_at_each_everyth_step_and_loss_and_gradients_at_all(self):
        model, x = linear_pair()
        optimizer = torch.optim.Adam(model.parameters())
        with Probe(model, optimizer, every=3) as probe:
            for _ in range(5):
                optimizer.zero_grad()
                model(x).sum().backward()
                optimizer.step()
        assert probe.record.full_steps == [0, 3]
        at_full_steps = ("signal", "zero_gradients", "dead", "weight", "update_ratio", "sigma_w2", "nonfinite", "calls")
        for quantity in ("activation_gradient", *at_full_steps):
            known = [value is not None for value in rows(probe, "0", quantity)]
            assert known == [True, False, False, True, False], quantity
        assert None not in rows(probe, "0", "weight_gradient")
        assert None not in [row[name] for row in probe.record.step_rows for name in ("loss", "lr", "gradient")]

    def test_passes_without_gradients_are_no_steps(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            model(x).sum().backward()
            with torch.no_grad():
                model(100 * x)
            with torch.inference_mode():
                model(100 * x)
        assert probe.record.steps == [0]
        assert rows(probe, "0", "calls") == [1]

    def test_a_gradient_with_respect_to_the_input_is_not_the_losss(self):
        """As physics-informed networks and gradient penalties take it, before the loss."""

        def loss(model, x):
            (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
            return (slope**2).sum() + model(x.detach()).sum()

        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
        x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
        outputs = []
        handle = model[2].register_forward_hook(lambda m, a, y: outputs.append(y))
        expected = torch.autograd.grad(loss(model, x), outputs, allow_unused=True)
        handle.remove()
        with Probe(model) as probe:
            loss(model, x).backward()
        norm = math.sqrt(sum((g**2).sum().item() for g in expected if g is not None))
        assert rows(probe, "2", "activation_gradient") == pytest.approx([norm], rel=1e-12, abs=0)

    def test_the_record_can_be_read_while_it_grows(self):
        model, x = linear_pair()
        with Probe(model, torch.optim.SGD(model.parameters(), 0.1)) as probe:
            assert probe.record.steps == []
            model(x).sum().backward()
            probe._optimizer.step()
            assert len(probe.record) == 1
            model(x).sum().backward()
            probe._optimizer.step()
            assert len(probe.record) == 2


class TestQuantities:
    def test_signal_weights_and_updates(self):
        model, x = linear_pair()
        before = copy.deepcopy(model)
        optimizer = torch.optim.SGD(model.parameters(), 0.5)
        with Probe(model, optimizer) as probe:
            model(x).sum().backward()
            optimizer.step()
        (row,) = [row for row in probe.record.rows if row["layer"] == "0"]
        weight = torch.cat([p.detach().flatten() for p in before[0].parameters()])
        update = torch.cat(
            [(p - q).detach().flatten() for p, q in zip(before[0].parameters(), model[0].parameters(), strict=True)]
        )
        assert row["signal"] == pytest.approx(before[0](x).pow(2).mean().sqrt().item(), rel=1e-6)
        assert row["weight"] == pytest.approx(weight.norm().item(), rel=1e-6)
        assert row["update_ratio"] == pytest.approx((update.norm() / weight.norm()).item(), rel=1e-6)
        assert row["sigma_w2"] == pytest.approx(4 * before[0].weight.pow(2).mean().item(), rel=1e-6)
        assert row["sigma_b2"] == pytest.approx(before[0].bias.pow(2).mean().item(), rel=1e-6)

    def test_updates_are_seen_without_the_optimizer_too(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            for _ in range(2):
                model.zero_grad()
                model(x).sum().backward()
                with torch.no_grad():
                    model[0].weight -= 0.1 * model[0].weight
            model.zero_grad()
            model(x).sum().backward()
        ratios = rows(probe, "0", "update_ratio")
        assert ratios[0] > 0.05
        assert ratios[0] > ratios[1] > 0.05
        assert ratios[2] is None, "nothing moved after the last backward pass"

    @pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
    def test_the_gate_that_keeps_the_state_stands_where_its_biases_put_it(self, kind):
        layer = kind(2, 3)
        layer.bias_ih_l0.data.zero_()[3:6] = -1.0  # after the input gate's, or the reset gate's
        layer.bias_hh_l0.data.zero_()[3:6] = -2.0
        with Probe(layer) as probe:
            layer(torch.randn(4, 1, 2))[0].sum().backward()
        assert rows(probe, "(model)", "gate") == [pytest.approx(1 / (1 + math.exp(3)))]

    def test_a_recurrent_layer_without_biases_has_no_gate_to_tell_of(self):
        layer = nn.LSTM(2, 3, bias=False)
        with Probe(layer) as probe:
            layer(torch.randn(4, 1, 2))[0].sum().backward()
        assert rows(probe, "(model)", "gate") == [None]
        assert probe.record.gaps == []

    def test_dead_units_are_silent_on_the_whole_batch(self):
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        model[0].bias.data = torch.tensor([-100.0, 100.0, 100.0, -100.0])
        with Probe(model) as probe:
            model(torch.randn(8, 4)).sum().backward()
        assert rows(probe, "1", "dead") == [0.5]
        assert rows(probe, "0", "dead") == [0.5]
        assert rows(probe, "0", "zero_gradients") == [0.5]
        assert rows(probe, "1", "zero_gradients") == [0.0]

    def test_dead_channels_of_a_convolution(self):
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
        model[0].bias.data = torch.tensor([-100.0, 100.0, 100.0, 100.0])
        with Probe(model) as probe:
            model(torch.randn(8, 1, 4, 4)).sum().backward()
        assert rows(probe, "1", "dead") == rows(probe, "0", "dead") == [0.25]

    def test_a_unit_alive_in_any_call_is_not_dead(self):
        relu = nn.ReLU()
        model = nn.Sequential(nn.Linear(2, 2, bias=False), relu)
        model[0].weight.data = torch.eye(2)
        with Probe(model) as probe:
            a = relu(torch.tensor([[1.0, -1.0]]) * model[0].weight[0, 0])
            b = model(torch.tensor([[-1.0, 1.0]]))
            (a.sum() + b.sum()).backward()
        assert rows(probe, "1", "dead") == [0.0]

    @pytest.mark.parametrize(
        ("activation", "inputs", "share"),
        [
            (nn.Sigmoid(), [-4.5, -4.2, 0.0, 4.2, 4.5], 0.4),  # slope below 0.0125 beyond 4.36
            (nn.Tanh(), [-2.3, -2.1, 0.0, 2.1, 2.3], 0.4),  # below 0.05 beyond 2.18
            (nn.Hardtanh(), [-2.0, -0.5, 0.0, 0.5, 2.0], 0.4),
            (nn.Hardsigmoid(), [-4.0, -1.0, 0.0, 1.0, 4.0], 0.4),
            (nn.Softsign(), [-9.0, -2.0, 0.0, 2.0, 9.0], 0.4),
        ],
    )
    def test_saturated_where_the_slope_is_below_a_twentieth_of_its_largest(self, activation, inputs, share):
        model = nn.Sequential(nn.Linear(1, 1), activation)
        model[0].weight.data.fill_(1.0)
        model[0].bias.data.zero_()
        with Probe(model) as probe:
            model(torch.tensor(inputs).unsqueeze(1)).sum().backward()
        assert rows(probe, "1", "saturated") == [pytest.approx(share)]

    def test_norms_do_not_underflow_before_the_gradient(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            (1e-35 * model(x)).sum().backward()
        assert rows(probe, "1", "activation_gradient") == [pytest.approx(1e-35 * math.sqrt(10), rel=1e-5, abs=0)]

    @pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-14, 1.0, 1e14, 1e30])
    def test_norms_are_right_at_every_scale_of_float32(self, scale):
        model, x = linear_pair()
        v = torch.randn(5, 2)
        with Probe(model) as probe:
            (model(x) * (scale * v)).sum().backward()
        expected = (scale * v).double().norm().item()
        assert rows(probe, "1", "activation_gradient") == [pytest.approx(expected, rel=1e-6, abs=0)]

    def test_clipping_does_not_hide_the_gradient(self):
        model, x = linear_pair()
        optimizer = torch.optim.SGD(model.parameters(), 1.0)
        with Probe(model, optimizer) as probe:
            (1e6 * model(x)).sum().backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
            optimizer.step()
        found = math.hypot(*rows(probe, "0", "weight_gradient"), *rows(probe, "1", "weight_gradient"))
        assert found == pytest.approx(norm, rel=1e-5)
        assert max(rows(probe, "0", "update_ratio")) < 2

    def test_frozen_layers_are_marked_and_have_no_gradient(self):
        model, x = linear_pair()
        model[0].requires_grad_(False)
        with Probe(model) as probe:
            model(x).sum().backward()
        assert rows(probe, "0", "frozen") == [True]
        assert rows(probe, "0", "weight_gradient") == [None]
        assert "Linear (frozen)" in str(probe.record)

    def test_skips_are_seen_in_the_graph_and_biases_are_not(self):
        model, x = make("residual")
        with Probe(model) as probe:
            model(x).sum().backward()
        assert probe.record.joins == 2  # the first of three skips comes from the input, which isn't computed
        assert probe.record.operations["Relu"] == 3


class TestTime:
    @pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
    @pytest.mark.parametrize("batch_first", [False, True])
    @pytest.mark.parametrize("known", [False, True])  # whether the input has a gradient of its own
    def test_the_gradient_of_each_time_step_is_that_of_its_input(self, kind, batch_first, known):
        torch.manual_seed(0)
        layer = kind(3, 4, batch_first=batch_first).double()
        x = torch.randn(5, 7, 3, dtype=torch.float64, requires_grad=known)
        last = (lambda y: y[:, -1]) if batch_first else (lambda y: y[-1])
        with Probe(layer) as probe:
            (last(layer(input=x)[0]).sum() + x.sum()).backward()
        y = x.detach().requires_grad_()
        (g,) = torch.autograd.grad(last(layer(y)[0]).sum(), y)
        expected = g.norm(dim=(0, 2) if batch_first else (1, 2)).tolist()
        found = probe.record.time_rows
        assert [row["gradient"] for row in found] == pytest.approx(expected, rel=1e-12, abs=0)
        assert [row["time"] for row in found] == list(range(7 if batch_first else 5))
        assert [row["direct"] > 0 for row in found] == [False] * (len(found) - 1) + [True]
        assert (x.grad is not None) == known
        if known:
            assert torch.allclose(x.grad, g + 1)

    def test_packed_sequences(self):
        torch.manual_seed(0)
        layer, x = nn.GRU(3, 4).double(), torch.randn(6, 2, 3, dtype=torch.float64)
        lengths = torch.tensor([6, 4])
        with Probe(layer) as probe:
            layer(pack_padded_sequence(x, lengths))[1].sum().backward()
        y = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(layer(pack_padded_sequence(y, lengths))[1].sum(), y)
        assert [row["gradient"] for row in probe.record.time_rows] == pytest.approx(
            g.norm(dim=(1, 2)).tolist(), rel=1e-12
        )

    def test_a_cell_called_step_by_step(self):
        torch.manual_seed(0)
        cell, x = nn.RNNCell(3, 4).double(), torch.randn(6, 2, 3, dtype=torch.float64)

        def run():
            states = [cell(x[0])]
            for t in range(1, 6):
                states.append(cell(x[t], states[-1]))
            return states

        with Probe(cell) as probe:
            run()[-1].sum().backward()
        states = run()
        expected = [g.norm().item() for g in torch.autograd.grad(states[-1].sum(), states)]
        found = probe.record.time_rows
        assert [row["gradient"] for row in found] == pytest.approx(expected, rel=1e-12, abs=0)
        assert {row["wrt"] for row in found} == {"output"}

    def test_accumulated_batches_are_not_time_steps(self):
        model, x = linear_pair()
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        with Probe(model, optimizer) as probe:
            for part in x.split(1):
                model(part).sum().backward()
            optimizer.step()
        assert probe.record.time_rows == []


class TestMixedPrecision:
    def run(self, factor=1.0, optimizer_given=True):
        model, x = linear_pair()
        scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=2.0**12), torch.optim.SGD(model.parameters(), 1e-3)
        with Probe(model, optimizer if optimizer_given else None, scaler) as probe:
            for step in range(3):
                optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = model(x).sum() * (factor if step == 1 else 1.0)
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
        return model, probe, scaler

    @pytest.mark.parametrize("given", [True, False])
    def test_gradients_are_unscaled(self, given):
        _, probe, _ = self.run(optimizer_given=given)
        assert probe.record.steps == [0, 1, 2]
        assert rows(probe, "1", "activation_gradient") == pytest.approx([math.sqrt(10)] * 3, rel=1e-2)
        plain, x = linear_pair()
        plain(x).sum().backward()
        expected = math.hypot(*[p.grad.norm().item() for p in plain[0].parameters()])
        assert rows(probe, "0", "weight_gradient")[0] == pytest.approx(expected, rel=2e-2)

    def test_a_step_that_the_scaler_skips_is_a_step_and_said_to_be_one(self):
        _, probe, _ = self.run(factor=math.inf)
        assert probe.record.steps == [0, 1, 2]
        assert probe.record.skipped_steps == [1]
        assert not math.isfinite(rows(probe, "0", "weight_gradient")[1])
        assert math.isfinite(rows(probe, "0", "weight_gradient")[2])
        assert rows(probe, "0", "update_ratio")[1] is None
        assert "skipped 1 of 3 steps" in str(probe.record)

    def test_the_scaler_is_left_as_it_was(self):
        _, _, scaler = self.run()
        assert "step" not in vars(scaler)

    def test_a_gradient_that_underflows_in_half_precision_is_counted(self):
        model = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())]).half()
        with Probe(model) as probe:
            model(torch.randn(4, 8).half()).sum().backward()
        assert rows(probe, "0", "weight_gradient") == [0.0]
        assert rows(probe, "0", "zero_gradients") == [1.0]


class TestCompiled:
    def compiled(self, model):
        torch._dynamo.reset()
        return torch.compile(model, backend="aot_eager")

    def test_only_the_weights_gradients_are_recorded_and_it_says_why(self):
        model, x = linear_pair()
        fast = self.compiled(model)
        with Probe(fast) as probe:
            for _ in range(2):
                fast.zero_grad()
                fast(x).sum().backward()
        plain, x = linear_pair()
        with Probe(plain) as expected:
            plain(x).sum().backward()
        assert probe.record.steps == [0, 1]
        for layer in "01":
            assert rows(probe, layer, "weight_gradient")[0] == pytest.approx(
                rows(expected, layer, "weight_gradient")[0]
            )
            assert rows(probe, layer, "activation_gradient") == [None, None]
            assert rows(probe, layer, "sigma_w2")[0] is not None
        assert "A compiled model" in str(probe.record)

    @pytest.mark.parametrize("before", [True, False])
    def test_a_model_that_runs_compiled_under_its_own_name(self, before):
        """Compiled before or after the probe is attached: what its hooks see differs, and is right or missing."""
        model, x = linear_pair()
        fast = self.compiled(model)
        if before:
            fast(x)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Probe(model, optimizer) as probe:
            fast(x).sum().backward()
            optimizer.step()
        assert probe.record.steps in ([], [0])
        if probe.record.steps:
            assert rows(probe, "1", "activation_gradient")[0] in (None, pytest.approx(math.sqrt(10)))
        else:
            assert "compiled" in str(probe.record)
        assert fast(x).shape == (5, 2)


class TestWhatItLeavesBehind:
    @pytest.mark.parametrize("name", ARCHITECTURES)
    def test_training_is_the_same_to_the_bit(self, name):
        def train(watch):
            model, x = make(name)
            model.train()
            optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
            with Probe(model, optimizer) if watch else torch.enable_grad():
                for _ in range(2):
                    optimizer.zero_grad()
                    loss_of(model(x)).backward()
                    optimizer.step()
            return [parameter.detach() for parameter in model.parameters()] + [torch.rand(1)]

        for with_probe, without in zip(train(True), train(False), strict=True):
            assert torch.equal(with_probe, without)

    def state(self, model, optimizer):
        """Every attribute that hooks live in."""
        names = (
            *("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"),
            *("_backward_hooks", "_backward_pre_hooks"),
        )
        modules = [{name: dict(getattr(m, name)) for name in names} | {"own": set(vars(m))} for m in model.modules()]
        parameters = [(p._post_accumulate_grad_hooks, p._backward_hooks) for p in model.parameters()]
        steps = [dict(optimizer._optimizer_step_pre_hooks), dict(optimizer._optimizer_step_post_hooks)]
        return modules, [tuple(dict(h or {}) for h in pair) for pair in parameters], steps

    @pytest.mark.parametrize("name", ARCHITECTURES)
    @pytest.mark.parametrize("fails", [False, True])
    def test_every_hook_is_removed_also_after_an_exception(self, name, fails):
        model, x = make(name)
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
        before = self.state(model, optimizer)
        try:
            with Probe(model, optimizer):
                assert self.state(model, optimizer) != before
                loss_of(model(x)).backward()
                if fails:
                    raise KeyError("mine")
                optimizer.step()
        except KeyError as error:
            assert (fails, error.args) == (True, ("mine",))  # noqa: PT017  # it comes out unchanged
        assert self.state(model, optimizer) == before
        copy.deepcopy(model)

    def test_neither_the_probe_nor_its_record_keeps_the_model_or_the_graph(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            loss = model(x).sum()
            loss.backward()
        record, gone = probe.record, [weakref.ref(model), weakref.ref(x)]
        del model, probe, loss, x
        gc.collect()
        assert [ref() for ref in gone] == [None, None]
        assert len(record.rows) == 2

    def test_a_graph_that_outlives_the_block_can_still_be_gone_back_through(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            loss = model(x).sum()
        loss.backward()
        assert model[0].weight.grad is not None
        assert probe.record.rows == []

    def test_nothing_is_fetched_from_the_device_while_it_runs(self, monkeypatch):
        """Each of these makes a GPU finish all its work first."""
        model, x = (each.float() for each in make("cnn"))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)

        def fetch(*_):
            raise AssertionError("waits for the device")

        with Probe(model, optimizer) as probe, monkeypatch.context() as patch:
            patch.setattr("vgdocs.probe.norms.IMMEDIATE", set())  # the CPU doesn't wait for itself
            for name in ("item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__"):
                patch.setattr(torch.Tensor, name, fetch)
            for _ in range(2):
                optimizer.zero_grad()
                loss_of(model(x)).backward()
                optimizer.step()
        assert probe.record.steps == [0, 1]

    def test_a_transformer_keeps_its_fast_path_and_can_be_evaluated_meanwhile(self):
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), 1)
        x = torch.randn(2, 3, 8)
        model.eval()
        with torch.no_grad():
            expected = model(x)
        with Probe(model) as probe:
            model(x).sum().backward()
            with torch.no_grad():
                assert torch.allclose(model(x), expected, atol=1e-5)
        assert probe.record.steps == [0]
        with torch.no_grad():
            assert torch.equal(model(x), expected)


class TestNeverHarm:
    def test_a_model_can_be_saved_and_copied_meanwhile(self):
        twin = nn.Sequential(nn.Linear(4, 3), nn.GRU(3, 2))
        with Probe(twin) as other:
            loss_of(twin(torch.randn(5, 4))).backward()
            copied = copy.deepcopy(twin)
            file = io.BytesIO()
            torch.save(twin, file)
            file.seek(0)
            loaded = torch.load(file, weights_only=False)
            for one in (copied, loaded):
                loss_of(one(torch.randn(5, 4))).backward()
        assert other.record.steps == [0]

    def test_functions_of_torch_func_run_as_without_it(self):
        model, x = linear_pair()
        parameters = dict(model.named_parameters())

        def loss(parameters, row):
            return torch.func.functional_call(model, parameters, (row,)).sum()

        per_example = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))
        expected = per_example(parameters, x)
        with Probe(model) as probe:
            found = per_example(parameters, x)
            model(x).sum().backward()
        assert all(torch.equal(found[name], expected[name]) for name in found)
        assert len(probe.record) == 1

    def test_an_error_of_its_own_is_a_warning_and_a_gap(self, monkeypatch):
        model, x = linear_pair()

        def fail(*_):
            raise KeyError("broken")

        monkeypatch.setattr(Probe, "_signal", fail)
        with Probe(model) as probe, pytest.warns(RuntimeWarning, match="left a gap"):
            model(x).sum().backward()
        assert rows(probe, "0", "weight_gradient")[0] > 0
        assert rows(probe, "0", "signal") == [None]
        assert "broken" in str(probe.record)

    def test_an_error_stays_a_gap_where_warnings_are_errors(self, monkeypatch):
        model, x = linear_pair()
        monkeypatch.setattr(Probe, "_signal", lambda *_: 1 / 0)
        with warnings.catch_warnings(), Probe(model) as probe:
            warnings.simplefilter("error")
            model(x).sum().backward()
        assert len(probe.record) == 1

    def test_a_long_record_keeps_its_ends_and_its_changes(self):
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        with Probe(model, optimizer, every=500) as probe:
            for step in range(2500):
                optimizer.zero_grad()
                ((100.0 if step == 777 else 1.0) * model(torch.ones(1, 1)).square().sum()).backward()
                optimizer.step()
                assert len(probe._closed) <= STEPS
        assert len(probe.record) == 2500
        assert probe.record.steps[:EARLY] == list(range(EARLY))
        assert probe.record.steps[-LATE:] == list(range(2500 - LATE, 2500))
        assert 777 in probe.record.steps
        assert "of 2500 steps" in probe.record.notes[-1]

    def test_a_record_that_grows_is_not_made_again(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            for _ in range(3):
                model(x).sum().backward()
        first = probe.record.rows[0]
        with probe:
            model(x).sum().backward()
        assert len(probe.record) == 4
        assert probe.record.rows[0] is first


class TestLoss:
    def test_it_is_what_backward_is_called_on(self):
        model, x = linear_pair()
        optimizer = torch.optim.Adam(model.parameters(), 0.01, weight_decay=0.1)
        before = torch.autograd.backward
        with Probe(model, optimizer, every=2) as probe:
            losses = []
            for _ in range(3):
                optimizer.zero_grad()
                for part in x.split(3):
                    loss = model(part).square().sum()
                    loss.backward()
                    losses.append(loss.item())
                optimizer.step()
        assert torch.autograd.backward is before
        own = probe.record.step_rows
        assert [row["loss"] for row in own] == pytest.approx(
            [a + b for a, b in zip(losses[::2], losses[1::2], strict=True)]
        )
        assert (own[0]["lr"], own[0]["weight_decay"], own[0]["beta1"]) == (0.01, 0.1, 0.9)

    def test_it_can_be_told(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            loss = model(x).square().mean()
            probe.loss(loss)
            (1000 * loss).backward()
        assert probe.record.step_rows[0]["loss"] == pytest.approx(loss.item())
        names = [operation.name for operation in next(iter(probe.record.graphs.values())).operations]
        assert names[:2] == ["Mean", "Pow"]

    def test_a_square_may_have_a_tensor_for_its_exponent(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            ((model(x) - 1) ** torch.tensor(2.0)).mean().backward()
        assert probe.record.gaps == []
        assert any(what == "rms" for _, what in probe.record.statistics[0])

    def test_two_probes_listen_and_leave_in_any_order(self):
        before = torch.autograd.backward
        (a, x), (b, _) = linear_pair(), linear_pair()
        first, second = Probe(a), Probe(b)
        with first:
            second.__enter__()
            a(b(x)[:, :1].expand(-1, 4)).sum().backward()
        b(x).sum().backward()
        second.__exit__(None, None, None)
        assert torch.autograd.backward is before
        assert (len(first.record), len(second.record)) == (1, 2)


class TestScalars:
    def test_they_are_flat_finite_floats_under_names_that_every_tracker_takes(self):
        model = nn.Sequential(nn.ModuleDict({"größe (1)": nn.Linear(4, 4)})["größe (1)"], nn.ReLU(), nn.Linear(4, 2))
        model.add_module("größe (1)", nn.Linear(2, 2))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        probe = Probe(model, optimizer, every=2)
        assert probe.scalars() == {}
        logged = []
        with probe:
            for _ in range(2):
                optimizer.zero_grad()
                model(torch.randn(8, 4)).square().mean().backward()
                optimizer.step()
                logged.append(probe.scalars())
        for scalars in logged:
            assert {type(value) for value in scalars.values()} == {float}
            assert all(map(math.isfinite, scalars.values()))
            assert all(re.fullmatch(r"[A-Za-z0-9_./-]+", name) for name in scalars)
        full, between = logged
        assert {"signal/0", "dead/1", "update_ratio/2", "first_over_last", "weight_gradient/gr__e__1_"} <= full.keys()
        expected = {"loss", "lr", "gradient", "skipped", "nonfinite"}
        assert between.keys() == expected | {f"weight_gradient/{name}" for name in ("0", "2", "gr__e__1_")}

    def test_they_are_those_of_the_record(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            model(x).square().mean().backward()
        scalars, first, last = probe.scalars(), *probe.record.rows
        assert scalars["loss"] == probe.record.step_rows[0]["loss"]
        assert scalars["signal/1"] == last["signal"]
        assert scalars["first_over_last"] == first["activation_gradient"] / last["activation_gradient"]
        assert scalars["gradient"] == pytest.approx(math.hypot(first["weight_gradient"], last["weight_gradient"]))

    def test_what_is_not_finite_is_counted_and_left_out(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            (model(x).sum() * math.nan).backward()
        scalars = probe.scalars()
        assert scalars["nonfinite"] == 7  # the loss, the whole gradient, two of each layer, and the ratio of two
        assert "loss" not in scalars
        assert all(map(math.isfinite, scalars.values()))


class TestMessages:
    def test_a_model_without_parameters(self):
        with pytest.raises(ValueError, match="no parameters"):
            Probe(nn.ReLU())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"model": print}, "needs an nn.Module, not a builtin_function_or_method"),
            ({"optimizer": 3}, "optimizer is a int"),
            ({"scaler": 3}, "scaler is a int"),
        ],
    )
    def test_arguments_of_the_wrong_kind(self, arguments, message):
        with pytest.raises(TypeError, match=message):
            Probe(**({"model": nn.Linear(1, 1)} | arguments))

    def test_every_below_one(self):
        with pytest.raises(ValueError, match="every is at least 1, not 0"):
            Probe(nn.Linear(1, 1), every=0)

    def test_lazy_layers(self):
        with pytest.raises(ValueError, match="run one batch through it first"):
            Probe(nn.LazyLinear(2))

    def test_attaching_twice(self):
        with Probe(nn.Linear(1, 1)) as probe, pytest.raises(RuntimeError, match="already attached"):
            probe.__enter__()
        with probe:
            pass

    @pytest.mark.parametrize("train", [lambda model, x: None, lambda model, x: model(x)])
    def test_no_backward_pass(self, train):
        model, x = linear_pair()
        with Probe(model) as probe:
            train(model, x)
        assert probe.record.rows == []
        assert str(probe.record).startswith("nothing recorded: no step ended")
        for ask in (probe.record.draw, probe.record.draw_time):
            with pytest.raises(ValueError, match="nothing recorded"):
                ask()

    def test_a_step_that_was_not_recorded(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            model(x).sum().backward()
        with pytest.raises(ValueError, match="step 7 was not recorded; recorded are 0 to 0"):
            probe.record.at(7)
        with pytest.raises(ValueError, match="no recurrent layer"):
            probe.record.draw_time()

    def test_gradients_that_are_nan(self):
        model, x = linear_pair()
        with Probe(model) as probe:
            (model(x).sum() * math.nan).backward()
        assert math.isnan(rows(probe, "0", "weight_gradient")[0])
        assert rows(probe, "1", "nonfinite") == [True]
        assert "nan/inf" in str(probe.record)
        assert str(probe.record).count("yes") == 2
        probe.record.draw()


class TestShowing:
    def test_the_table_has_a_line_for_each_layer_and_no_empty_columns(self):
        model, x = make("relu_mlp")
        with Probe(model) as probe:
            model(x).sum().backward()
        head, columns, *lines = str(probe.record).splitlines()
        assert head == "step 0"
        assert [line.split()[2] for line in lines[:7]] == ["Linear", "ReLU"] * 3 + ["Linear"]
        assert "update" not in columns
        assert "saturated" not in columns
        assert "nan/inf" not in columns
        assert len({line.find("%") for line in lines[:7]}) == 1, "columns are aligned"

    def test_the_plot_says_which_gradient_and_how_it_fares(self):
        model = nn.Sequential(*[layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())])
        with Probe(model) as probe:
            model(torch.randn(4, 8)).sum().backward()
        plot = probe.record.draw()
        assert [(trace.name, trace.meta) for trace in plot.data] == [
            ("∂L/∂outputs", "vanishing"),
            ("∂L/∂weights", "vanishing"),
        ]
        assert plot.layout.xaxis.title.text
        assert plot.layout.yaxis.title.text
        assert plot.layout.yaxis.type == "log"

    def test_the_plot_over_time(self):
        layer = nn.RNN(3, 4)
        with Probe(layer) as probe:
            layer(torch.randn(40, 2, 3))[0][-1].sum().backward()
        (trace,) = probe.record.draw_time().data
        assert trace.meta == "vanishing"
        assert list(trace.x) == list(range(1, 41))

    @pytest.mark.parametrize(
        ("norms", "role"),
        [
            ([1e-5, 1.0], "vanishing"),
            ([1e-3, 1.0], "healthy"),
            ([50.0, 1.0], "healthy"),
            ([200.0, 1.0], "exploding"),
            ([math.inf, 1.0], "exploding"),
            ([math.nan, 1.0], "exploding"),
            ([0.0, 1.0], "vanishing"),
            ([0.0, 0.0], "vanishing"),
            ([1.0], "healthy"),
        ],
    )
    def test_roles(self, norms, role):
        assert role_of(norms) == role


def test_the_public_modules_need_nothing_but_torch_and_plotly():
    """What the extra [probe] brings; the site's tools are the extra [site]."""
    code = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        blocked = "mkdocs material mkdocs_jupyter mike sklearn filelock bs4 pymdownx markdown yaml py_mini_racer click"
        if name.partition(".")[0] in blocked.split():
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import torch
from torch import nn
from vgdocs.probe import Probe
from vgdocs.probe import diagnose
import vgdocs.theory
model = nn.Linear(2, 2)
with Probe(model) as probe:
    model(torch.ones(1, 2)).sum().backward()
probe.record.draw()
print(probe.record, diagnose(probe.record))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
