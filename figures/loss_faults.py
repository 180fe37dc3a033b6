"""Nine losses that don't fit what the network says, each found by its name; some cost little that accuracy shows.

A hidden layer, Adam at 0.003 or 0.01, on handwritten digits or a regression of eight inputs; saturated sigmoids are
trained by SGD at 10. The share of the training examples that are answered rightly in the end, or of the targets'
variance that is explained, or of what a generator makes that is taken for real: medians and ranges of three networks.
The sick ones are also trained at five rates of Adam and five of SGD.
"""

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgdocs.experiments import derive_seeds
from vgdocs.probe.trial import Trial, before_and_after, digits, draw_scores, explained, mlp

SEED = 0
REPLICAS = 3  # networks of each kind
SWEEP = {
    "rates": {"adam": [3e-4, 1e-3, 3e-3, 1e-2, 3e-2], "sgd": [0.01, 0.03, 0.1, 0.3, 1.0]},
    "steps": 60,
}


def even() -> Tensor:
    """1 for each even digit, (n, 1)."""
    return (digits()[1] % 2 == 0).float()[:, None]


def softmax_over_one_unit(cured: bool) -> Trial:
    network = nn.Sequential(mlp(64, 64, 1), nn.Sigmoid() if cured else nn.Softmax(dim=1))
    return Trial(network, F.binary_cross_entropy, y=even(), ask=lambda x: network(x) - 0.5)


def wrong_dimension(cured: bool) -> Trial:
    """A softmax over the images of a batch; in the end each image is shown alone."""
    network = nn.Sequential(mlp(64, 64, 10), nn.LogSoftmax(dim=1 if cured else 0))
    return Trial(network, F.nll_loss, ask=torch.vmap(lambda image: network(image[None])[0]))


def softmax_twice(cured: bool) -> Trial:
    network = mlp(64, 64, 10)
    return Trial(network if cured else nn.Sequential(network, nn.Softmax(dim=1)), F.cross_entropy)


def sigmoid_twice(cured: bool) -> Trial:
    network = nn.Sequential(mlp(64, 64, 1), nn.Sigmoid())
    loss = F.binary_cross_entropy if cured else F.binary_cross_entropy_with_logits
    return Trial(network, loss, y=even(), ask=lambda x: network(x) - 0.5)


def loss_does_not_fit(cured: bool) -> Trial:
    """The right class's score, where the logarithm of its probability was meant."""
    return Trial(mlp(64, 64, 10), F.cross_entropy if cured else F.nll_loss)


def output_range(cured: bool) -> Trial:
    """Targets of both signs, and a ReLU at the end."""
    x = torch.randn(512, 8)
    network = mlp(8, 64, 1)
    y = x[:, :1] + x[:, 1:2]
    return Trial(network if cured else nn.Sequential(network, nn.ReLU()), F.mse_loss, x, y, explained, rate=1e-2)


def saturation(cured: bool) -> Trial:
    """Ten sigmoids that begin where they are flat."""
    network = nn.Sequential(mlp(64, 64, 10), nn.Sigmoid())
    nn.init.constant_(network[0][2].bias, 0.0 if cured else -12.0)

    def squared_error(p: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(p, F.one_hot(y, 10).float())

    return Trial(network, squared_error, optimiser="sgd", rate=10.0)


def saturating_gan_loss(cured: bool) -> Trial:
    """A generator, and a discriminator that is sure; the share of what is generated that it takes for real."""
    generator, discriminator = mlp(8, 64, 64), nn.Linear(64, 1).requires_grad_(False)
    discriminator.weight.fill_(0.2)
    discriminator.bias.fill_(-40.0)

    def loss(score: Tensor, _: Tensor) -> Tensor:
        return -F.logsigmoid(score).mean() if cured else torch.log1p(-torch.sigmoid(score)).mean()

    model = nn.Sequential(generator, discriminator)
    return Trial(model, loss, x=torch.randn(512, 8), y=torch.ones(512, 1), held=generator)


def no_lower_bound(cured: bool) -> Trial:
    """A critic that is to score even digits high and odd ones low."""

    def linear(score: Tensor, y: Tensor) -> Tensor:
        return (score * (1 - 2 * y)).mean()

    return Trial(mlp(64, 64, 1), F.binary_cross_entropy_with_logits if cured else linear, y=even(), rate=1e-2)


FAULTS = {
    "softmax over one unit": softmax_over_one_unit,
    "wrong dimension": wrong_dimension,
    "softmax twice": softmax_twice,
    "sigmoid twice": sigmoid_twice,
    "loss does not fit the outputs": loss_does_not_fit,
    "output range": output_range,
    "saturation": saturation,
    "saturating GAN loss": saturating_gan_loss,
    "loss without a lower bound": no_lower_bound,
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


def claim_no_learning_rate_makes_up_for_five(m):
    """At none of ten rates does a network learn over one unit's softmax, over the batch's, or against a discriminator
    that is sure; a loss that wants log-probabilities gets it to less than 0.7 of the answers, and a ReLU that half of
    the targets lie below to less than 0.7 of their variance.
    """
    for arm in ("sick", "best"):
        reached = dict(zip(m["causes"], m[arm], strict=True))
        assert reached["softmax over one unit"]["hi"] < 0.6
        assert reached["wrong dimension"]["hi"] < 0.2
        assert reached["loss does not fit the outputs"]["hi"] < 0.7
        assert reached["output range"]["hi"] < 0.7
        assert reached["saturating GAN loss"]["hi"] < 0.1
    assert min(band["lo"] for band in m["cured"]) > 0.8


def claim_others_hide_from_accuracy(m):
    """At the best of ten rates a softmax or a sigmoid too many leaves more than 0.8 of the answers right, and so does a
    squared error on saturated sigmoids, which get out of it.
    """
    best = dict(zip(m["causes"], m["best"], strict=True))
    for cause in ("softmax twice", "sigmoid twice", "saturation"):
        assert best[cause]["median"] > 0.8
    assert m["sick"][m["causes"].index("saturation")]["hi"] < 0.4
