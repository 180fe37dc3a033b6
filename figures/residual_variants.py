"""After a hundred blocks only post-LN with He's weights makes images alike, to a cosine of {cosine.post:.3f}.

Ways to keep a hundred residual blocks with branches f(h) = W2 relu(W1 h) from exploding. f keeps lengths at first.

    scaled            h + f(h) / sqrt(L)              L blocks
    ReZero, SkipInit  h + a f(h)                      a trained, from 0 (Bachlechner et al. 2021; De & Smith 2020)
    LayerScale        h + diag(a) f(h)                a trained, from 1e-6 (Touvron et al. 2021)
    Fixup             h + a f(h)                      a trained, from 1; W1 / sqrt(L), W2 = 0 (Zhang et al. 2019)
    pre-LN            h + f(LN(h))                    and one LN at the end
    DeepNorm          LN((2L)^(1/4) h + f(h))         W1 and W2 times (8L)^(-1/4) (Wang et al. 2022)
    post-LN           LN(h + f(h))

Left out of Fixup are its biases, and in its paper LayerScale stands behind a normalised branch. Two controls take one
thing out of post-LN each: the weight of the branch, LN(h + f(h) / sqrt(L)), or what makes images alike, by mirrored
weights, W1 = (V, -V) and W2 = U (1, -1), with which f is linear at the start.

Measured at the start: the gradient at the first block's input over that at the last one's output; the mean cosine of
two images' outputs; how far one step of Adam moves the outputs, relative to their norm. Then the accuracy after three
epochs: of post-LN at the best of fifteen settings, five of them with a rate that grows at first, and of the others at
one rate, which is no more than their best. Post-LN is also trained four times as long.
"""

import math
from functools import partial

import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from plotly.subplots import make_subplots
from torch import Tensor, nn

from vgdocs.experiments import OPTIMISERS, Stack, band, bars, best, derive_seeds, digits, sweep, train, weight
from vgdocs.gradients import norms_of_gradients, ratio

SEED = 0
REPLICAS = 20  # networks of each kind at the start
TRAINED = 3  # of them, trained
BLOCKS = 100  # L
WIDTH = 32
IMAGES = 64  # at the start
STEP = 1e-5  # Adam's rate of the one step
SWEEP = {
    "rates": {
        "adam": [1e-5, 1e-4, 1e-3, 3e-3, 1e-2],
        "warm_up": [1e-5, 1e-4, 1e-3, 3e-3, 1e-2],
        "sgd": [1e-3, 1e-2, 3e-2, 0.1, 1.0],
    },
    "epochs": 3,  # 36 steps
    "batch_size": 128,
}
LONGER = SWEEP | {"rates": {name: [1e-5, 1e-4, 1e-3] for name in ("adam", "warm_up")}, "epochs": 12}
RAMP = 18  # steps over which the rate grows, with a warm-up
RATE, SLOW = 3e-3, 1e-4  # Adam's, of the kinds that aren't swept; of the one with mirrored weights
TOLERANCE = {"accuracy": 0.2}
WIDER = {
    "gradient.post": (6.0, "the middle of networks that scatter more than fiftyfold"),
    "gradient.post_mirrored": (4.0, "the same, somewhat less"),
    "cosine.post_mirrored": (3.0, "what a hundred blocks of width 32 keep differs from network to network"),
    "step.post step.post_mirrored": (3.0, "as the gradients that it is made of"),
    "accuracy.post accuracy.post_mirrored": (2.0, "three networks, after three epochs"),
    "longer.adam longer.warm_up": (1.8, "three networks that have only begun to learn"),
}

norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
HEAVY = (2 * BLOCKS) ** 0.25  # DeepNorm's factor on the skip
KINDS = {  # name, role; the block, of h, the trained factor a and the branch f
    "scaled": ("branch / √L", "healthy", lambda h, a, f: h + f(h) / math.sqrt(BLOCKS)),
    "rezero": ("ReZero", "healthy", lambda h, a, f: h + a * f(h)),
    "layerscale": ("LayerScale", "healthy", lambda h, a, f: h + a * f(h)),
    "fixup": ("Fixup", "healthy", lambda h, a, f: h + a * f(h)),
    "pre": ("pre-LN", "healthy", lambda h, a, f: h + f(norm(h))),
    "deepnorm": ("DeepNorm", "healthy", lambda h, a, f: norm(HEAVY * h + f(h))),
    "post": ("post-LN", "vanishing", lambda h, a, f: norm(h + f(h))),
    "post_scaled": ("post-LN, / √L", None, lambda h, a, f: norm(h + f(h) / math.sqrt(BLOCKS))),
    "post_mirrored": ("post-LN, mirrored", None, lambda h, a, f: norm(h + f(h))),
}
HEALTHY = [kind for kind in KINDS if kind not in ("post", "post_mirrored")]
FACTORS = {"rezero": torch.zeros(1), "layerscale": torch.full((WIDTH,), 1e-6), "fixup": torch.ones(1)}  # a at the start
SHRUNK = {"fixup": (BLOCKS**-0.5, 0.0), "deepnorm": ((8 * BLOCKS) ** -0.25, (8 * BLOCKS) ** -0.25)}  # W1 and W2
PANELS = {
    "gradient": "gradient,<br>input / output",
    "cosine": "images'<br>cosine",
    "step": "moved by<br>one step",
    "accuracy": "accuracy",
}


def warm_up(parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
    """Adam whose rate grows in proportion to the steps taken, up to `lr`."""
    adam = torch.optim.Adam(parameters, lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, start_factor=1 / RAMP, total_iters=RAMP - 1)
    adam.register_step_post_hook(lambda *_: schedule.step())
    return adam


def mirrored(g: torch.Generator) -> tuple[Tensor, Tensor]:
    """W1 and W2 of a branch that is an isometry of half the space, as W2 relu(W1 h) = sqrt(2) U V h."""
    u, v = (nn.init.orthogonal_(torch.empty(WIDTH, WIDTH), generator=g)[: WIDTH // 2] for _ in "uv")
    return torch.cat([v, -v]), math.sqrt(2) * torch.cat([u, -u]).T


class Net(nn.Module):
    """Digits through a hundred blocks of one kind."""

    def __init__(self, kind: str, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.kind, self.block = kind, KINDS[kind][-1]
        self.first = nn.Parameter(weight(WIDTH, 64, "lecun", g, torch.float32))
        self.last = nn.Parameter((kind != "fixup") * weight(10, WIDTH, "lecun", g, torch.float32))
        self.w1, self.w2, self.factors = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        for _ in range(BLOCKS):
            w1, w2 = (weight(WIDTH, WIDTH, init, g, torch.float32) for init in ("he", "lecun"))
            if kind == "post_mirrored":
                w1, w2 = mirrored(g)
            c1, c2 = SHRUNK.get(kind, (1.0, 1.0))
            self.w1.append(c1 * w1)
            self.w2.append(c2 * w2)
            if kind in FACTORS:
                self.factors.append(FACTORS[kind].clone())

    def stream(self, x: Tensor) -> list[Tensor]:
        """The first block's input and each block's output."""
        h = x @ self.first.T
        stream = [norm(h) if self.kind.startswith(("post", "deep")) else h]
        for i, (w1, w2) in enumerate(zip(self.w1, self.w2, strict=True)):
            a = self.factors[i] if self.kind in FACTORS else None
            stream.append(self.block(stream[-1], a, lambda u, w1=w1, w2=w2: torch.relu(u @ w1.T) @ w2.T))
        return stream

    def forward(self, x: Tensor) -> Tensor:
        h = self.stream(x)[-1]
        return (norm(h) if self.kind == "pre" else h) @ self.last.T


def cosine(h: Tensor) -> float:
    """Mean cosine of two different rows."""
    unit = F.normalize(h, dim=1)
    return float(((unit @ unit.T).sum() - len(h)) / (len(h) * (len(h) - 1)))


def at_start(kind: str, seed: int, x: Tensor, y: Tensor) -> dict[str, float]:
    """The measures of one new network."""
    net = Net(kind, seed).double()
    h = net.stream(x)
    before = h[-1].detach()
    v = torch.randn(before.shape, generator=torch.Generator().manual_seed(seed), dtype=before.dtype)
    found = {"gradient": ratio(norms_of_gradients((h[-1] * v).sum(), [h[0], h[-1]])), "cosine": cosine(before)}
    F.cross_entropy(net(x), y).backward()
    torch.optim.Adam(net.parameters(), lr=STEP).step()
    with torch.no_grad():
        return found | {"step": float((net.stream(x)[-1] - before).norm() / before.norm())}


def measure(seed: int = SEED) -> dict:
    """The measures of all kinds at the start, and their accuracies after training."""
    data, seeds = digits(), derive_seeds(seed, REPLICAS)
    x, y = data[0][:IMAGES].double(), data[1][:IMAGES]
    bands: dict = {kind: band([at_start(kind, s, x, y) for s in seeds]) for kind in KINDS}
    build, settings = partial(Net, "post"), {"seeds": seeds[:TRAINED], "optimisers": OPTIMISERS | {"warm_up": warm_up}}
    m: dict = {"swept": sweep(build, data, **settings, **SWEEP)}
    longer = sweep(build, data, **settings, **LONGER)
    m["longer"] = {name: best({name: at})["median"] for name, at in longer.items()}
    budget = {"epochs": SWEEP["epochs"], "batch_size": SWEEP["batch_size"]}
    for kind in KINDS:
        if kind != "post":
            stack, shuffle = Stack([Net(kind, s) for s in seeds[:TRAINED]]), torch.Generator().manual_seed(seed)
            rate = SLOW if kind == "post_mirrored" else RATE
            accuracies = train(stack, data, lr=rate, generator=shuffle, **budget)["test_accuracy"]
            bands[kind]["accuracy"] = band(accuracies)
    bands["post"]["accuracy"] = best(m["swept"])
    for key in PANELS:
        m[key] = {kind: bands[kind][key]["median"] for kind in KINDS}
    return m | {"ends": {key: {kind: [bands[kind][key][e] for e in ("lo", "hi")] for kind in KINDS} for key in PANELS}}


def draw(m: dict) -> go.Figure:
    """A panel for each measure, a bar for each kind."""
    fig = make_subplots(rows=len(PANELS), cols=1, shared_xaxes=True, vertical_spacing=0.05)
    for row, (key, title) in enumerate(PANELS.items(), 1):
        for kind, (name, role, _) in KINDS.items():
            lo, hi = m["ends"][key][kind]
            there = bars({"median": m[key][kind], "lo": lo, "hi": hi})
            fig.add_bar(x=[name], **there, name=name, meta=role, showlegend=False, row=row, col=1)
        fig.update_yaxes(title=title, type="log" if key in ("gradient", "step") else "linear", row=row, col=1)
    return fig


def claim_the_gradient_tells_nothing(m):
    """Over a hundred blocks the gradient changes by a factor of {gradient.scaled:.2f} with branches over √L, of
    {gradient.rezero:.2f} with ReZero, of {gradient.pre:.1f} with pre-LN, of {gradient.deepnorm:.2f} with DeepNorm and
    of {gradient.post:.2f} with post-LN, where twenty networks lie more than tenfold apart."""
    bounds = dict.fromkeys(("rezero", "fixup"), (0.9999, 1.0001)) | {"layerscale": (0.999, 1.001)}
    bounds |= {"scaled": (1.4, 1.8), "deepnorm": (0.9, 1.1), "pre": (7.5, 16.2), "post_scaled": (0.75, 1.3)}
    bounds |= {"post": (0.2, 3), "post_mirrored": (0.5, 4.5)}
    assert all(low < m["gradient"][kind] < high for kind, (low, high) in bounds.items())
    assert all(0.5 < end < 40 for kind in HEALTHY for end in m["ends"]["gradient"][kind])
    least, most = m["ends"]["gradient"]["post"]
    assert most > 15 * least


def claim_post_ln_makes_images_alike(m):
    """Post-LN brings two images to a cosine of {cosine.post:.3f}, pre-LN to {cosine.pre:.2f}. A branch divided by √L
    in post-LN leaves {cosine.post_scaled:.2f}, and mirrored weights {cosine.post_mirrored:.2f}."""
    bounds = dict.fromkeys(KINDS, (0.34, 0.68)) | dict.fromkeys(("scaled", "post_scaled"), (0.44, 0.87))
    bounds |= {"pre": (0.6, 0.95), "post": (0.985, 1), "post_mirrored": (0.16, 0.9)}
    assert all(low < m["cosine"][kind] < high for kind, (low, high) in bounds.items())
    assert m["cosine"]["post"] > 0.98 > max(m["ends"]["cosine"][kind][1] for kind in HEALTHY)


def claim_a_step_moves_post_ln_further(m):
    """One step of Adam at a rate of 1e-5 moves post-LN's outputs by {step.post:.1%}, with mirrored weights by
    {step.post_mirrored:.1%}; of the others pre-LN's most, by {step.pre:.2%}, and DeepNorm's by {step.deepnorm:.2%}."""
    bounds = {"scaled": (0.00195, 0.0039), "rezero": (0.0003, 0.0006), "layerscale": (0.00055, 0.0011)}
    bounds |= {"pre": (0.0034, 0.0072), "deepnorm": (0.0008, 0.0016), "post_scaled": (0.0017, 0.0032)}
    bounds |= {"post": (0.015, 0.1), "post_mirrored": (0.03, 0.15)}
    assert all(low < m["step"][kind] < high for kind, (low, high) in bounds.items())
    assert m["step"]["fixup"] == 0  # all but its last layer get no gradient at first
    assert m["step"]["post"] > 3 * m["step"]["pre"]
    assert m["step"]["pre"] == max(m["step"][kind] for kind in HEALTHY)


def claim_all_but_post_ln_train(m):
    """Post-LN is at {accuracy.post:.2f} at the best of fifteen settings. At one rate mirrored weights bring it to
    {accuracy.post_mirrored:.2f}; at another branches over √L bring it to {accuracy.post_scaled:.2f}, and the variants
    reach {accuracy.scaled:.2f} (branch / √L), {accuracy.rezero:.2f} (ReZero), {accuracy.layerscale:.2f} (LayerScale),
    {accuracy.fixup:.2f} (Fixup), {accuracy.pre:.2f} (pre-LN) and {accuracy.deepnorm:.2f} (DeepNorm)."""
    assert all(0.75 < m["accuracy"][kind] < 0.99 for kind in HEALTHY)
    assert min(m["ends"]["accuracy"][kind][0] for kind in HEALTHY) > 0.55
    assert 0.17 < m["accuracy"]["post_mirrored"] < 0.62
    assert 0.08 < m["accuracy"]["post"] < 0.25
    assert max(max(at["hi"]) for at in m["swept"].values()) < 0.28


def claim_a_warm_up_and_more_epochs_help_little(m):
    """In twelve epochs post-LN gets to {longer.adam:.2f} by Adam, with a warm-up to {longer.warm_up:.2f}."""
    assert 0.15 < m["longer"]["adam"] < 0.45
    assert 0.14 < m["longer"]["warm_up"] < 0.43
    assert max(m["longer"].values()) < 0.5 * min(m["accuracy"][kind] for kind in HEALTHY)
