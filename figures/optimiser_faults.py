"""Ten ways to hand an optimiser the wrong thing, each found by its name.

Handwritten digits: one or two hidden layers, of eight units where only a part is trained, Adam at 0.003 or 0.01 or SGD
at 0.1 or 0.3, but for the faulty rates themselves and for too few steps, which is SGD at 0.001; forty steps, of which
the cure of too few takes sixty times as many; and an encoder of eight Transformer layers that normalises after each
sum, or before each branch (Xiong et al. 2020, section 3). The share of the training examples that are answered rightly
in the end: medians and ranges of three networks. The sick ones are also trained at five rates of Adam and five of SGD,
but for the encoder and those whose fault is the rate or the number of steps.
"""

import plotly.graph_objects as go
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, draw_scores, mlp

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {
    "rates": {"adam": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "sgd": [0.01, 0.03, 0.1, 0.3, 1.0]},
    "steps": 40,
}


def not_in_the_optimizer(cured: bool) -> Trial:
    network = mlp(64, 8, 8, 10)
    return Trial(network, held=network if cured else network[-1], rate=1e-2)


def frozen(cured: bool) -> Trial:
    network = mlp(64, 8, 8, 10)
    network[:-1].requires_grad_(cured)
    return Trial(network, rate=1e-2)


def cleared_too_late(cured: bool) -> Trial:
    return Trial(mlp(64, 64, 10), clear=cured, between=lambda model: None if cured else model.zero_grad())


def gradients_accumulate(cured: bool) -> Trial:
    return Trial(mlp(64, 64, 10), clear=cured, optimiser="sgd", rate=0.3)


def weight_decay(cured: bool) -> Trial:
    decay = {"weight_decay": 1e-4 if cured else 3.0}
    return Trial(mlp(64, 64, 64, 10), optimiser="sgd", rate=0.1, options=decay)


def clipped_away(cured: bool) -> Trial:
    def clip(model: nn.Module) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 1.0 if cured else 1e-6)

    return Trial(mlp(64, 64, 10), optimiser="sgd", rate=0.3, between=clip)


class Rows(nn.Module):
    """A Transformer's encoder that reads an image row by row."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 2, 64, dropout=0.0, batch_first=True, norm_first=norm_first)
        self.embed, self.answer = nn.Linear(8, 64), nn.Linear(64, 10)
        self.body = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.body(self.embed(x.view(-1, 8, 8))).mean(1))


def post_norm(cured: bool) -> Trial:
    return Trial(Rows(norm_first=cured), rate=1e-2, batch=32, swept=False)


def too_few_steps(cured: bool) -> Trial:
    return Trial(mlp(64, 64, 10), optimiser="sgd", rate=0.001, times=60 if cured else 1, swept=False)


def too_large(cured: bool) -> Trial:
    return Trial(mlp(64, 64, 64, 10), optimiser="sgd", rate=0.3 if cured else 100.0, swept=False)


def too_small(cured: bool) -> Trial:
    return Trial(mlp(64, 64, 10), optimiser="sgd", rate=0.3 if cured else 1e-6, swept=False)


FAULTS = {
    "not in the optimizer": not_in_the_optimizer,
    "frozen": frozen,
    "gradients cleared too late": cleared_too_late,
    "gradients accumulate": gradients_accumulate,
    "weight decay": weight_decay,
    "clipped away": clipped_away,
    "post-norm without warm-up": post_norm,
    "learning rate too large": too_large,
    "learning rate too small": too_small,
    "too few steps": too_few_steps,
}


def measure(seed: int = SEED) -> dict:
    return before_and_after(FAULTS, derive_seeds(seed, REPLICAS), **SWEEP)


def draw(m: dict) -> go.Figure:
    return draw_scores(m)


def claim_the_cause_is_named_first(m):
    """In each of the {networks} networks the cause is the first that the diagnosis names."""
    assert m["named"] == m["networks"] == REPLICAS * len(FAULTS)


def claim_nothing_is_found_after_the_cure(m):
    """In the cured networks it finds nothing: {accused} of them are accused."""
    assert m["accused"] == 0


def claim_some_are_not_a_matter_of_the_rate(m):
    """At none of ten rates do forty steps get half of the answers right with only the last of three layers held, or
    free, behind eight units; with gradients that are cleared too late, or with a weight decay of 3.
    """
    best = dict(zip(m["causes"], m["best"], strict=True))
    for cause in ("not in the optimizer", "frozen", "gradients cleared too late", "weight decay"):
        assert best[cause]["hi"] < 0.5


def claim_others_are(m):
    """Gradients that accumulate are bearable at the best of ten rates, and clipping at a millionth is made up for by
    Adam, which divides by the gradient's size: both then get 0.8 of the answers right.
    """
    best, sick = (dict(zip(m["causes"], m[arm], strict=True)) for arm in ("best", "sick"))
    assert best["gradients accumulate"]["median"] > 0.8
    assert best["clipped away"]["median"] > 0.8
    assert sick["clipped away"]["hi"] < 0.25


def claim_the_cured_learn(m):
    """The median network gets twice as many answers right when it is cured, and more where gradients accumulated."""
    for cause, sick, cured in zip(m["causes"], m["sick"], m["cured"], strict=True):
        assert cured["median"] > (1 if cause == "gradients accumulate" else 2) * sick["median"]
