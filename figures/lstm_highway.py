"""An LSTM's cell is a highway as wide as its forget gates; by default {off_cell.default:.0f} steps of 100 are off it.

The cell state follows c_t = f_t * c_{t-1} + i_t * g_t. With the gates held fixed (h detached) the gradient along the
cell is the product of the forget gates, dc_T/dc_t = f_{t+1} * ... * f_T: this is the path that Hochreiter &
Schmidhuber 1997 (section 3.2) kept at 1, before Gers et al. 2000 put a forget gate into it. A gate of bias b is open
by about sigmoid(b), so that a bias of 0 halves the gradient at each step. The typical unit keeps sigmoid(b)^T; the norm
over all units falls more slowly, since units whose gates are open wider come to dominate it. The full gradient also
runs from c through h into the next step's gates and back into c. Per step that adds little to the gate, but a hundred
steps raise the sum to the power of a hundred.

How often does it leave the cell? Multiply the gradient through h by s at each step. The full gradient G is then the sum
of s^k G_k, where G_k came by the paths that leave the cell k times, and d log|G| / d log s at s = 1 is the mean of k: a
path weighs what it contributes along G.

Everything is measured at initialisation, with PyTorch's default weights and random inputs. PyTorch adds two bias
vectors: a forget bias b here means b in `bias_ih` and 0 in `bias_hh`.
"""

import math

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import rate

SEED = 0
REPLICAS = 20  # networks of each kind
STEPS = 100  # time steps, T
HIDDEN = 64  # units
INPUTS = 2  # standard normal values in each time step
BATCH = 8  # sequences
EVERY = 4  # every fourth time step is drawn

NUDGE = 1e-3  # of s, up and down

BIASES = {"default": None, "bias_1": 1.0, "bias_3": 3.0, "bias_5": 5.0}  # of the forget gate; by default near 0
BIASES |= {"closed_5": 5.0}  # and -5 on the input gate
GATES = {kind: 1 / (1 + math.exp(-(bias or 0))) for kind, bias in BIASES.items()}  # sigmoid(bias)
NAMES = {"rnn": "RNN", "default": "LSTM, default bias"} | {f"bias_{b}": f"LSTM, bias {b}" for b in (1, 3, 5)}
NAMES |= {"closed_5": "LSTM, bias 5, input −5"}
WIDER = {  # products of 100 factors, whose logarithms differ between networks
    "left.rnn": (1000.0, "networks differ by two orders of magnitude either way"),
    "left.default": (100.0, "networks differ by one order of magnitude either way"),
    "left.bias_1": (20.0, "a product over 100 steps"),
    "left.bias_3": (5.0, "a product over 100 steps"),
    "left.bias_5 unit_left.bias_1 unit_left.bias_3": (2.0, "a product over 100 steps"),
    "unit_left.default": (3.5, "a product over 100 steps"),
    "cell_left.default": (20.0, "a product over 100 steps, dominated by the units whose gates are open widest"),
    "cell_left.bias_1": (3.0, "a product over 100 steps"),
    "full_over_cell.default": (50.0, "a ratio of two such products"),
    "full_over_cell.bias_1": (10.0, "a ratio of two such products"),
    "full_over_cell.bias_3": (6.0, "a ratio of two such products"),
    "full_over_cell.bias_5": (2.0, "a ratio of two such products"),
    "off_cell.closed_5": (2.0, "paths that are all but closed"),
}


def data(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random inputs, an initial state of zeros and the loss's gradient with respect to the last state."""
    torch.manual_seed(seed)  # nn.RNNCell and nn.LSTMCell draw from the global generator
    x = torch.randn(STEPS, BATCH, INPUTS, dtype=torch.float64)
    state = torch.zeros(BATCH, HIDDEN, dtype=torch.float64, requires_grad=True)
    return x, state, torch.randn(BATCH, HIDDEN, dtype=torch.float64)


def gradients(states: list[Tensor], v: Tensor) -> tuple[Tensor, list[float]]:
    """dL/dstate at time steps T to 0, (T + 1, BATCH, HIDDEN), and its norms over that at T."""
    back = torch.stack(torch.autograd.grad((states[-1] * v).sum(), states)).flip(0)
    norms = back.flatten(1).norm(dim=1)
    return back, (norms / norms[0]).tolist()


def rnn(seed: int) -> dict:
    """The gradient with respect to the hidden state of a tanh RNN, and the factor on its norm per step going back."""
    x, h0, v = data(seed)
    cell, h = nn.RNNCell(INPUTS, HIDDEN, dtype=torch.float64), [h0]
    for x_t in x:
        h.append(cell(x_t, h[-1]))  # (BATCH, HIDDEN)
    _, full = gradients(h, v)
    return {"profile": full[::EVERY], "rate": rate(full[::-1])}


def lstm(seed: int, kind: str) -> dict:
    """The same with respect to the cell state of an LSTM: in full, and along the cell alone, with the gates held."""
    x, c0, v = data(seed)
    cell, forget = nn.LSTMCell(INPUTS, HIDDEN, dtype=torch.float64), slice(HIDDEN, 2 * HIDDEN)
    with torch.no_grad():
        if (bias := BIASES[kind]) is not None:
            cell.bias_ih[forget], cell.bias_hh[forget] = bias, 0.0
        if kind.startswith("closed"):
            cell.bias_ih[:HIDDEN], cell.bias_hh[:HIDDEN] = -bias, 0.0

    def unroll(s: float) -> tuple[list[Tensor], Tensor]:
        """Cell states, and forget gates of (T, BATCH, HIDDEN); h passes s times its gradient on."""
        h, c, gates = torch.zeros_like(c0), [c0], []
        for x_t in x:
            h = s * h + (1 - s) * h.detach() if s else h.detach()
            z = x_t @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
            gates.append(torch.sigmoid(z[:, forget]).detach())
            h, c_next = cell(x_t, (h, c[-1]))
            c.append(c_next)
        return c, torch.stack(gates)

    _, full = gradients(unroll(1)[0], v)
    up, down = (gradients(unroll(s)[0], v)[1][-1] for s in (1 + NUDGE, 1 - NUDGE))
    c, gates = unroll(0)
    along_cell, norms = gradients(c, v)
    product = torch.cat([v[None], gates.flip(0)]).cumprod(0)  # what the gates alone let through
    return {
        "profile": full[::EVERY],
        "rate": rate(full[::-1]),
        "cell_profile": norms[::EVERY],
        "full_over_cell": full[-1] / norms[-1],
        "off_cell": math.log(up / down) / math.log((1 + NUDGE) / (1 - NUDGE)),
        "unit": float(gates.prod(0).median()),  # what the median unit keeps
        "gate": float(gates.mean()),
        "error": float(((along_cell - product) / product).abs().max()),  # relative, of the worst unit and step
    }


def measure(seed: int = SEED) -> dict:
    """The gradient over STEPS time steps, in full and along the cell alone."""
    seeds = derive_seeds(seed, REPLICAS)
    lstms = {kind: [lstm(s, kind) for s in seeds] for kind in BIASES}
    cell = {kind: band(runs) for kind, runs in lstms.items()}
    full = {"rnn": band([rnn(s) for s in seeds])} | cell
    return {
        "rate": {kind: b["rate"] for kind, b in full.items()},
        "profile": {kind: b["profile"] for kind, b in full.items()},
        "left": {kind: b["profile"]["median"][-1] for kind, b in full.items()},  # after STEPS time steps
        "cell_profile": {kind: b["cell_profile"] for kind, b in cell.items()},
        "cell_left": {kind: b["cell_profile"]["median"][-1] for kind, b in cell.items()},  # as a norm over all units
        "unit_left": {kind: b["unit"]["median"] for kind, b in cell.items()},
        "full_over_cell": {kind: b["full_over_cell"]["median"] for kind, b in cell.items()},
        "off_cell": {kind: b["off_cell"]["median"] for kind, b in cell.items()},  # steps, of STEPS
        "every_full_over_cell": {kind: [run["full_over_cell"] for run in runs] for kind, runs in lstms.items()},
        "mean_gate": {kind: sum(run["gate"] for run in runs) / REPLICAS for kind, runs in lstms.items()},
        "relative_error": {kind: [run["error"] for run in runs] for kind, runs in lstms.items()},
    }


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1)
    back = list(range(0, STEPS + 1, EVERY))
    for row, profiles in enumerate([m["profile"], m["cell_profile"]], start=1):
        for kind, profile in profiles.items():
            role = "healthy" if kind in ("bias_3", "bias_5", "closed_5") else "vanishing"
            fig.add_traces(band_traces(back, profile, NAMES[kind], role), rows=row, cols=1)
    for gate in sorted(set(GATES.values())):
        powers = [gate**b for b in back]
        fig.add_scatter(x=back, y=powers, name="sigmoid(bias) per step", mode="lines", meta="theory", row=2, col=1)
    fig.update_yaxes(title="gradient w.r.t.<br>state, in full", type="log")
    fig.update_yaxes(title="along the<br>cell alone", matches="y", row=2, col=1)
    return fig.update_xaxes(title="time steps gone back", row=2, col=1)


def claim_the_cell_passes_on_the_product_of_its_forget_gates(m):
    """Along the cell alone the gradient is the product of the forget gates, in every unit and at every step."""
    for kind in BIASES:
        assert all(error < 1e-12 for error in m["relative_error"][kind])
        assert min(m["cell_profile"][kind]["lo"]) > 0  # relative errors, of something that is not zero


def claim_the_bias_sets_how_wide_the_gates_open(m):
    """Forget gates are open by {mean_gate.default:.2f} by default and by {mean_gate.bias_1:.2f},
    {mean_gate.bias_3:.2f} and {mean_gate.bias_5:.3f} at biases of 1, 3 and 5; over 100 steps the cell alone keeps
    {cell_left.default:.0e}, {cell_left.bias_1:.0e}, {cell_left.bias_3:.3f} and {cell_left.bias_5:.2f}."""
    for kind, gate in GATES.items():
        assert abs(m["mean_gate"][kind] / gate - 1) < 0.01
    assert 5e-28 < m["cell_left"]["default"] < 5e-26
    assert 6e-14 < m["cell_left"]["bias_1"] < 3e-13
    assert 0.0105 < m["cell_left"]["bias_3"] < 0.0155
    for kind in ("bias_5", "closed_5"):
        assert 0.49 < m["cell_left"][kind] < 0.53


def claim_the_typical_unit_keeps_the_power_of_its_gate(m):
    """Over 100 steps the median unit keeps {unit_left.default:.0e}, {unit_left.bias_1:.0e}, {unit_left.bias_3:.4f} and
    {unit_left.bias_5:.2f}, what its gate has to the power of 100; the norm over units, which the widest gates dominate,
    is larger, or about as large where all are wide."""
    for kind, gate in GATES.items():
        allowed = 2 if kind == "default" else 1.5
        assert gate**STEPS / allowed < m["unit_left"][kind] < allowed * gate**STEPS
        assert m["cell_left"][kind] > 0.99 * m["unit_left"][kind]
    assert m["cell_left"]["default"] > 1000 * m["unit_left"]["default"]


def claim_a_default_lstm_vanishes_nearly_as_fast_as_an_rnn(m):
    """By default an LSTM keeps {rate.default:.2f} of the gradient per step, hardly more than the {rate.rnn:.2f} of a
    plain RNN: after 100 steps {left.default:.0e} and {left.rnn:.0e} are left."""
    rnn, default = m["rate"]["rnn"], m["rate"]["default"]
    assert 0.5 < rnn["lo"] <= rnn["median"] <= rnn["hi"] < 0.72
    assert 0.58 < default["lo"] <= default["median"] <= default["hi"] < 0.72
    assert 0.0 < default["median"] - rnn["median"] < 0.12
    assert 3e-26 < m["left"]["rnn"] < 5e-22
    assert 1e-21 < m["left"]["default"] < 3e-19


def claim_a_larger_forget_bias_holds_the_gradient(m):
    """Per step the full gradient is multiplied by {rate.bias_1:.2f} at a forget bias of 1, by {rate.bias_3:.2f} at 3
    and by {rate.bias_5:.2f} at 5, so that at 3 and 5 it even grows: to {left.bias_3:.1f} and {left.bias_5:.0f} times
    its size over 100 steps, where a bias of 1 leaves {left.bias_1:.0e}."""
    for kind, low, high in [("bias_1", 0.81, 0.92), ("bias_3", 0.98, 1.06), ("bias_5", 1.0, 1.08)]:
        rate = m["rate"][kind]
        assert low < rate["lo"] <= rate["median"] <= rate["hi"] < high
    assert m["rate"]["bias_3"]["median"] > 1
    assert 2e-8 < m["left"]["bias_1"] < 1e-6
    assert 1.5 < m["left"]["bias_3"] < 15
    assert 18 < m["left"]["bias_5"] < 60


def claim_a_closed_input_gate_stops_the_growth(m):
    """With the input gate closed by as much as the forget gate is opened, biases of 5 and -5, the full gradient keeps
    {rate.closed_5:.4f} per step, what the forget gate lets through, and {left.closed_5:.2f} over 100 steps."""
    rate = m["rate"]["closed_5"]
    assert 0.99 < rate["lo"] <= rate["median"] <= rate["hi"] < 0.997
    assert 0.45 < m["left"]["closed_5"] < 0.6
    assert math.isclose(m["full_over_cell"]["closed_5"], 1, rel_tol=0.05)


def claim_detours_outweigh_the_straight_way(m):
    """After 100 steps the full gradient is {full_over_cell.default:.0e} times the part that never left the cell by
    default, {full_over_cell.bias_1:.0e} times at a forget bias of 1, {full_over_cell.bias_3:.0f} at 3 and
    {full_over_cell.bias_5:.0f} at 5."""
    for kind, on_every_seed in [("default", 1e3), ("bias_1", 1e4), ("bias_3", 20), ("bias_5", 8)]:
        assert min(m["every_full_over_cell"][kind]) > on_every_seed
    assert 3e5 < m["full_over_cell"]["default"] < 1e8
    assert 1.5e5 < m["full_over_cell"]["bias_1"] < 6e6
    assert 100 < m["full_over_cell"]["bias_3"] < 1200
    assert 35 < m["full_over_cell"]["bias_5"] < 110


def claim_a_path_is_on_the_cell_in_most_of_its_steps(m):
    """A path of the gradient leaves the cell in {off_cell.default:.0f} of 100 steps on average by default, in
    {off_cell.bias_1:.0f} at a forget bias of 1, in {off_cell.bias_3:.0f} at 3 and in {off_cell.bias_5:.0f} at 5; with
    the input gate closed as well, in {off_cell.closed_5:.2f}."""
    assert 16 < m["off_cell"]["default"] < 24
    assert 12 < m["off_cell"]["bias_1"] < 18
    assert 5.5 < m["off_cell"]["bias_3"] < 8.8
    assert 4.1 < m["off_cell"]["bias_5"] < 6.4
    assert 0.02 < m["off_cell"]["closed_5"] < 0.055
