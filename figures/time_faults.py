"""Two recurrent networks that forget what came first, each found by its name.

They read noise and answer, at its end, with the sign of the first symbol. A plain RNN reads 80 steps, and cured 8 of
them; an LSTM reads 40, with a forget gate (Gers et al. 2000, section 4) that its bias closes or opens. Adam at 0.003,
thirty steps; in sixty it teaches one RNN in ten to reach back over all 80. The share of the training sequences that are
answered rightly in the end: medians and ranges of three networks.
"""

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, draw_scores

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {"reason": "adding_problem and gradient_reach_text sweep the rates; these networks are diagnosed"}
STEPS = 30
UNITS = 32


class Reader(nn.Module):
    """Reads a sequence and answers at its end."""

    def __init__(self, cell: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cell, self.answer = cell(2, UNITS, batch_first=True), nn.Linear(UNITS, 2)

    def forward(self, x: Tensor) -> Tensor:  # (batch, T, 2)
        return self.answer(self.cell(x)[0][:, -1])


def first_sign(length: int) -> tuple[Tensor, Tensor]:
    """Noise that begins with a sign, (256, length, 2), and which it was, (256,)."""
    x, y = 0.1 * torch.randn(256, length, 2), torch.randint(2, (256,))
    x[:, 0, 0] = 2.0 * y - 1
    return x, y


def recurrence(cured: bool) -> Trial:
    x, y = first_sign(8 if cured else 80)
    return Trial(Reader(nn.RNN), x=x, y=y)


def forget_gate(cured: bool) -> Trial:
    x, y = first_sign(40)
    model = Reader(nn.LSTM)
    nn.init.constant_(model.cell.bias_ih_l0[UNITS : 2 * UNITS], 6.0 if cured else -4.0)
    return Trial(model, x=x, y=y)


FAULTS = {"recurrence": recurrence, "forget gate": forget_gate}


def measure(seed: int = SEED) -> dict:
    return before_and_after(FAULTS, derive_seeds(seed, REPLICAS), steps=STEPS)


def draw(m: dict) -> go.Figure:
    return draw_scores(m)


def claim_the_cause_is_named_first(m):
    """In each of the {networks} networks the cause is the first that the diagnosis names."""
    assert m["named"] == m["networks"] == REPLICAS * len(FAULTS)


def claim_nothing_is_found_after_the_cure(m):
    """In the cured networks it finds nothing: {accused} of them are accused."""
    assert m["accused"] == 0


def claim_the_cured_remember(m):
    """The cured networks get 0.9 of the answers right, and the sick ones, of two, not three quarters."""
    for sick, cured in zip(m["sick"], m["cured"], strict=True):
        assert sick["hi"] < 0.75
        assert cured["lo"] > 0.9
