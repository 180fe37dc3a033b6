"""A sure and wrong output gets a slope of {at.cross_entropy:.2f} by cross-entropy, {at.squared:.1e} by squared error.

The derivative of the loss with respect to the logit z, the number before the output function, of one example whose
target says "yes". With s the sigmoid:

    cross-entropy        -log s(z)                  s(z) - 1
    squared error        (s(z) - 1)^2 / 2           (s(z) - 1) s'(z)
    tanh, squared error  (tanh(z) - 1)^2 / 2        (tanh(z) - 1) (1 - tanh(z)^2)
    hinge                max(0, 1 - z)              -1 below z = 1
    sigmoid twice        -log s(s(z))               (s(s(z)) - 1) s'(z)

A softmax inside and another in the loss: probabilities p lie between 0 and 1, and as logits they can't be far apart, so
that the loss of K classes never falls below log(1 + (K - 1) / e). At equal logits the inner softmax divides the
gradient by K. A high temperature T, softmax(z / T), divides it by T, and where the targets are made at the same
temperature (Hinton et al. 2015, section 2) by about T^2. Computed apart, in float32, the sigmoid is rounded to 1 before
the logarithm could make up for its slope. Nothing is trained; the lowest losses are found by descent on the logits.
"""

import math
import statistics

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor

from vgdocs.experiments import derive_seeds

SEED = 0
WRONG = -10.0  # a logit that is sure, and wrong
CLASSES = [2, 4, 10, 30, 100, 300, 1000]
FEW, MANY = 10, 1000  # classes of the numbers
ROUNDED = 20.0  # a logit at which float32 rounds the sigmoid to 1
STEPS = 300  # of Adam, on the logits
SWEEP = {"reason": "Adam moves free logits to where the loss is lowest, which is known; no network is trained"}
DRAWS = 101  # of random logits, for the temperature
HOT = (10.0, 20.0)  # temperatures
LOSSES = {
    "cross_entropy": ("sigmoid, cross-entropy", "healthy", lambda z: -F.logsigmoid(z)),
    "hinge": ("hinge", None, lambda z: F.relu(1 - z)),
    "squared": ("sigmoid, squared error", "vanishing", lambda z: (torch.sigmoid(z) - 1) ** 2 / 2),
    "tanh": ("tanh, squared error", "vanishing", lambda z: (torch.tanh(z) - 1) ** 2 / 2),
    "twice": ("sigmoid twice, cross-entropy", "vanishing", lambda z: -F.logsigmoid(torch.sigmoid(z))),
}
LOGITS = [-14 + 28 * i / 112 for i in range(113)]
SOFTMAX = {"once": lambda z: z, "twice": lambda z: torch.softmax(z, -1)}  # before cross-entropy, which has one


def gradient(loss, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(loss(z).sum(), z)[0]


def lowest(loss, z: Tensor) -> float:
    """What Adam gets the loss down to, on the logits themselves."""
    z = z.clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=1.0)
    for _ in range(STEPS):
        adam.zero_grad()
        loss(z).backward()
        adam.step()
    return float(loss(z).detach())


def measure(seed: int = SEED) -> dict:
    g = torch.Generator().manual_seed(seed)
    z = torch.tensor(LOGITS, dtype=torch.float64)
    wrong, zero = (torch.tensor(at, dtype=torch.float64) for at in (WRONG, 0.0))
    m: dict = {"slope": {}, "at": {}, "at_zero": {}, "wrong": {}, "start": {}, "lowest": {}, "floor": {}}
    for key, (_, _, loss) in LOSSES.items():
        m["slope"][key] = gradient(loss, z).abs().tolist()
        m["at"][key] = float(gradient(loss, wrong).abs())
        m["at_zero"][key] = float(gradient(loss, zero).abs())
    for key, inner in SOFTMAX.items():

        def loss(z: Tensor, inner=inner) -> Tensor:
            return -torch.log_softmax(inner(z), -1)[..., 0]  # the first class is the right one

        sure = torch.zeros(FEW, dtype=torch.float64)
        sure[1] = -WRONG
        m["wrong"][key] = float(gradient(loss, sure).norm())
        m["start"][key] = {
            name: float(gradient(loss, torch.zeros(k, dtype=torch.float64)).norm())
            for name, k in (("few", FEW), ("many", MANY))
        }
        start = [torch.randn(k, generator=g, dtype=torch.float64) for k in CLASSES]
        m["lowest"][key] = [lowest(loss, z) for z in start]
    m["floor"] |= {f"of_{k}": m["lowest"]["twice"][CLASSES.index(k)] for k in (2, FEW, 100, MANY)}
    m["sigmoid_floor"] = {  # of sigmoid twice, and of a network that says the same to all
        name: lowest(lambda z, y=y: F.binary_cross_entropy_with_logits(torch.sigmoid(z), y), 0 * wrong)
        for name, y in (("yes", zero + 1), ("no", zero))
    }
    no = torch.zeros(())  # in float32
    apart = gradient(lambda z: F.binary_cross_entropy(torch.sigmoid(z), no), no + ROUNDED)
    together = gradient(lambda z: F.binary_cross_entropy_with_logits(z, no), no + ROUNDED)
    m["rounded"] = {"apart": float(apart), "together": float(together)}
    cooled: dict = {"hard": [], "soft": []}  # the gradient at HOT[0] over that at HOT[1]
    for s in derive_seeds(seed, DRAWS):
        student, teacher = torch.randn(2, FEW, generator=torch.Generator().manual_seed(s), dtype=torch.float64)
        norms: dict = {"hard": [], "soft": []}
        for t in HOT:
            right = F.one_hot(teacher.argmax(), FEW).double()
            for key, target in (("hard", right), ("soft", torch.softmax(teacher / t, 0))):
                norms[key].append(
                    float(gradient(lambda z, y=target, t=t: -y @ torch.log_softmax(z / t, 0), student).norm())
                )
        for key, (one, other) in norms.items():
            cooled[key].append(one / other)
    m["cooled"] = {key: statistics.median(ratios) for key, ratios in cooled.items()}
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.2)
    for key, (name, role, _) in LOSSES.items():
        slope = [s if s > 1e-14 else None for s in m["slope"][key]]
        fig.add_scatter(x=LOGITS, y=slope, name=name, mode="lines", meta=role, row=1, col=1)
    guess = [math.log(k) for k in CLASSES]
    floor = [math.log1p((k - 1) / math.e) for k in CLASSES]
    fig.add_scatter(x=CLASSES, y=guess, name="guessing, log K", mode="lines", meta="reference", row=2, col=1)
    low = {"name": "softmax twice, at its lowest", "mode": "markers"}
    fig.add_scatter(x=CLASSES, y=m["lowest"]["twice"], **low, meta="vanishing", row=2, col=1)
    fig.add_scatter(x=CLASSES, y=floor, name="log(1 + (K − 1)/e)", mode="lines", meta="theory", row=2, col=1)
    once = {"name": "softmax once, at its lowest", "mode": "markers"}
    fig.add_scatter(x=CLASSES, y=m["lowest"]["once"], **once, meta="healthy", row=2, col=1)
    fig.update_xaxes(title="logit z, target “yes”", row=1, col=1)
    fig.update_xaxes(title="classes K", type="log", row=2, col=1)
    fig.update_yaxes(title="|∂L/∂z|, logit", type="log", range=[-9, 0.6], row=1, col=1)
    return fig.update_yaxes(title="cross-entropy", row=2, col=1)


def claim_cross_entropy_cancels_the_flat_end(m):
    """At a logit of −10 where the target says yes, the slope is {at.cross_entropy:.4f} by cross-entropy and
    {at.hinge:.0f} by the hinge, but {at.squared:.1e} by squared error and {at.tanh:.1e} if the output is a tanh."""
    s = 1 / (1 + math.exp(-WRONG))
    assert math.isclose(m["at"]["cross_entropy"], 1 - s, rel_tol=1e-9)
    assert m["at"]["hinge"] == 1
    assert math.isclose(m["at"]["squared"], (1 - s) ** 2 * s, rel_tol=1e-9)
    assert math.isclose(m["at"]["tanh"], (1 - math.tanh(WRONG)) / math.cosh(WRONG) ** 2, rel_tol=1e-6)
    for key, formula in (("cross_entropy", lambda p: 1 - p), ("squared", lambda p: (1 - p) ** 2 * p)):
        for z, slope in zip(LOGITS, m["slope"][key], strict=True):
            assert math.isclose(slope, formula(1 / (1 + math.exp(-z))), rel_tol=1e-6)


def claim_sigmoid_and_logarithm_belong_in_one_function(m):
    """In float32, at a logit of 20 where the target says no, a sigmoid followed by the cross-entropy of probabilities
    passes back exactly {rounded.apart:.0f}, and both in one function {rounded.together:.0f}."""
    assert m["rounded"]["apart"] == 0
    assert math.isclose(m["rounded"]["together"], 1, rel_tol=1e-6)


def claim_a_second_sigmoid_brings_it_back(m):
    """A second sigmoid leaves {at.twice:.1e} at a logit of −10 and {at_zero.twice:.2f} at zero, where one leaves
    {at_zero.cross_entropy:.1f}; and its loss can't fall below {sigmoid_floor.yes:.3f} where the target says yes, and
    {sigmoid_floor.no:.3f}, that of guessing, where it says no."""
    for z, at in ((WRONG, "at"), (0.0, "at_zero")):
        for key, (_, _, loss) in LOSSES.items():
            step = 1e-4
            ends = [float(loss(torch.tensor(z + h, dtype=torch.float64))) for h in (-step, step)]
            assert math.isclose(m[at][key], (ends[0] - ends[1]) / (2 * step), rel_tol=1e-3, abs_tol=1e-10)
    assert m["at"]["twice"] < 1e-4 * m["at"]["cross_entropy"]
    assert m["at_zero"]["twice"] < 0.2 < m["at_zero"]["cross_entropy"]
    assert math.isclose(m["sigmoid_floor"]["yes"], math.log1p(1 / math.e), rel_tol=1e-3)
    assert math.isclose(m["sigmoid_floor"]["no"], math.log(2), rel_tol=1e-3)


def claim_a_second_softmax_too(m):
    """With ten classes, and a wrong one ten logits ahead, one softmax passes back {wrong.once:.2f} and two
    {wrong.twice:.1e}; at equal logits the second divides by the number of classes: {start.once.few:.3f} and
    {start.twice.few:.3f} with ten, {start.once.many:.4f} and {start.twice.many:.4f} with a thousand."""
    assert math.isclose(m["wrong"]["once"], math.sqrt(2), rel_tol=1e-2)
    assert 1e-4 < m["wrong"]["twice"] < 1.4e-4
    for name, k in (("few", FEW), ("many", MANY)):
        once = math.sqrt(1 - 1 / k)
        assert math.isclose(m["start"]["once"][name], once, rel_tol=1e-9)
        assert math.isclose(m["start"]["twice"][name], once / k, rel_tol=1e-9)


def claim_its_lowest_loss_gives_it_away(m):
    """Descent on the logits themselves gets softmax twice down to log(1 + (K − 1)/e), {floor.of_2:.3f} with two
    classes, {floor.of_10:.3f} with ten and {floor.of_1000:.3f} with a thousand, and a single softmax to nothing."""
    for key, floor in m["floor"].items():
        assert math.isclose(floor, math.log1p((int(key[3:]) - 1) / math.e), rel_tol=1e-3)
    for k, once, twice in zip(CLASSES, m["lowest"]["once"], m["lowest"]["twice"], strict=True):
        assert once < 1e-3
        assert math.isclose(twice, math.log1p((k - 1) / math.e), rel_tol=1e-3)


def claim_temperature_divides(m):
    """From a temperature of 10 to one of 20 the gradient is divided by {cooled.hard:.2f} if the target is a class, and
    by {cooled.soft:.2f} if it is made by another network's logits at the same temperature."""
    assert math.isclose(m["cooled"]["hard"], HOT[1] / HOT[0], rel_tol=0.05)
    assert math.isclose(m["cooled"]["soft"], (HOT[1] / HOT[0]) ** 2, rel_tol=0.1)
