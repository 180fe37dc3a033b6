"""A deep ReLU network can keep the gradient's norm and still lose nearly all of its directions.

The singular values s_i of the Jacobian J = dh_L/dx, from the input to the last of L layers, are the factors on the
gradient's n components across the network. Their mean square gives its norm, and

    (s_1² + ... + s_n²)² / (s_1⁴ + ... + s_n⁴)

counts the directions that carry it: n if all are equal, 1 if a single one is left. For independent random layers whose
width is far above their number this is n / (1 + v_1 + ... + v_L), where v_l belongs to the Jacobian of one layer: the
variance of its squared singular values over their squared mean (Pennington et al. 2017, "Resurrecting the Sigmoid in
Deep Learning through Dynamical Isometry").

    ReLU, Gaussian weights (He)     v = 2            one from the weights, one from the closed half of the units
    ReLU, orthogonal weights        v = 1            the closed half remains; drawn uniformly, as all of them here
    ReLU, mirrored weights          v = 0            layers [[V, -V], [-V, V]] with V orthogonal ("looks linear",
                                                     Balduzzi et al. 2017): of each pair of units one is open
    tanh, orthogonal weights        v = E[phi'⁴] / E[phi'²]² - 1,  small as long as the inputs are
    residual, branch / sqrt(L)      v = 2 / L        from each of L blocks h + W2 relu(W1 h) / sqrt(L)

Chance takes something from the length as well. A random backward vector keeps exp(-5L / 4n) of it in ReLU layers of
Gaussian weights, exp(-3L / 4n) in those of orthogonal ones: the variance of a layer's factor on the squared length is
5/n and 3/n.
"""

import math
from statistics import fmean, median

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import nn

from vgdocs.experiments import band, band_traces, derive_seeds, weight
from vgdocs.gradients import jacobian_singular_values
from vgdocs.theory import derivative, gaussian_mean, variance_trajectory

SEED = 0
REPLICAS = 10  # networks of each kind and depth
DEPTHS = [1, 3, 10, 30, 100]  # layers, or residual blocks
WIDTH = 128  # units in a layer, n
INPUT = 0.1  # standard deviation of the inputs, which matters to tanh alone
LONG, NARROW, MANY = 200, 32, 100  # layers, their width, and the networks in which the loss of length is measured
SMALL = 1e-3  # a singular value below this counts as lost
FLOOR = 1e-12  # smaller ones are drawn here: rounding decides them

KINDS = {  # name and role
    "relu": ("ReLU, Gaussian weights", "vanishing"),
    "relu_orthogonal": ("ReLU, orthogonal", None),
    "relu_mirrored": ("ReLU, mirrored", None),
    "tanh_orthogonal": ("tanh, orthogonal", None),
    "residual": ("residual, branch / √L", "healthy"),
}
WIDER = {
    "norm_relu": (8.0, "a product over 100 layers of finite width"),
    "directions.relu": (1.9, "a median of ten networks with one direction or two"),
    "directions.relu_orthogonal": (2.0, "a median of ten networks with two directions or fewer"),
}


def orthogonal(width: int, generator: torch.Generator) -> torch.Tensor:
    """A matrix drawn uniformly: the Q of a QR decomposition alone has a diagonal that is negative on average."""
    return nn.init.orthogonal_(torch.empty(width, width, dtype=torch.float64), generator=generator)


def network(kind: str, depth: int, generator: torch.Generator, width: int = WIDTH):
    """A random network, as a function of one input, (width,) to (width,); "relu_mirrored" is always of WIDTH."""
    if kind == "relu_mirrored":
        return mirrored_network(depth, generator)
    phi = torch.tanh if kind == "tanh_orthogonal" else torch.relu
    if kind.endswith("orthogonal"):
        gain = 1.0 if phi is torch.tanh else math.sqrt(2)  # a ReLU passes on half of the variance
        W = [gain * orthogonal(width, generator) for _ in range(depth)]
    else:
        W = [weight(width, width, "he", generator) for _ in range(depth)]
    if kind == "residual":
        last = [weight(WIDTH, WIDTH, "lecun", generator) for _ in range(depth)]  # linear maps that end the branches

    def run(h: torch.Tensor) -> torch.Tensor:
        for layer in range(depth):
            out = phi(W[layer] @ h)
            h = h + last[layer] @ out / math.sqrt(depth) if kind == "residual" else out
        return h

    return run


def mirrored_network(depth: int, generator: torch.Generator):
    """ReLU layers of 2 WIDTH units: the second half has the first half's weights with the other sign."""
    first, *V, last = [orthogonal(WIDTH, generator) for _ in range(depth + 1)]
    W = [torch.cat([first, -first])]  # (2 WIDTH, WIDTH)
    W += [torch.cat([torch.cat([v, -v], 1), torch.cat([-v, v], 1)]) for v in V]  # (2 WIDTH, 2 WIDTH)

    def run(h: torch.Tensor) -> torch.Tensor:
        for matrix in W:
            h = torch.relu(matrix @ h)
        return torch.cat([last, -last], 1) @ h

    return run


def spectrum(kind: str, depth: int, seed: int) -> list[float]:
    """Singular values of the Jacobian from input to output, largest first."""
    generator = torch.Generator().manual_seed(seed)
    x = INPUT * torch.randn(WIDTH, generator=generator, dtype=torch.float64)
    return jacobian_singular_values(network(kind, depth, generator), x)


def length_lost(kind: str, seed: int) -> float:
    """-log of what LONG layers of width NARROW leave of the length of a random backward vector."""
    generator = torch.Generator().manual_seed(seed)
    x, v = torch.randn(2, NARROW, generator=generator, dtype=torch.float64)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(network(kind, LONG, generator, NARROW)(x) @ v, x)
    return -(gradient.norm() / v.norm()).log().item()


def directions(values: list[float]) -> float:
    """How many directions carry the gradient: (sum s²)² / sum s⁴."""
    return sum(s**2 for s in values) ** 2 / sum(s**4 for s in values)


def predicted(kind: str, depth: int) -> float:
    """The same for great width, n / (1 + v_1 + ... + v_depth)."""
    slope = derivative(torch.tanh)
    of_tanh = [
        gaussian_mean(lambda x: slope(x) ** 4, q) / gaussian_mean(lambda x: slope(x) ** 2, q) ** 2 - 1
        for q in variance_trajectory(torch.tanh, depth, 1.0, q0=INPUT**2)
    ]
    # a block: mean of the squared singular values 1 + 1/L, of their squares (1 + 2/L)²
    of_residual = ((1 + 2 / depth) / (1 + 1 / depth)) ** 2 - 1
    v = {"relu": 2, "relu_orthogonal": 1, "relu_mirrored": 0, "residual": of_residual}  # of one layer
    return WIDTH / (1 + (sum(of_tanh) if kind == "tanh_orthogonal" else depth * v[kind]))


def measure(seed: int = SEED) -> dict:
    """The spectrum of the deepest networks, and the number of directions against depth."""
    m = {
        "depths": DEPTHS,
        "spectrum": {},
        "by_depth": {},
        "theory": {},
        "kept": {},
        "directions": {},
        "length_lost": {},
    }
    for kind in KINDS:
        values = [[spectrum(kind, depth, s) for depth in DEPTHS] for s in derive_seeds(seed, REPLICAS)]
        deepest = [network[-1] for network in values]
        m["spectrum"][kind] = band([[max(s, FLOOR) for s in network] for network in deepest])
        m["by_depth"][kind] = band([[directions(s) for s in network] for network in values])
        m["theory"][kind] = [predicted(kind, depth) for depth in DEPTHS]
        m["kept"][kind] = median(sum(s > SMALL for s in network) for network in deepest)
        m["directions"][kind] = m["by_depth"][kind]["median"][-1]
        if kind == "relu":
            m["norm_relu"] = median(math.sqrt(sum(s**2 for s in network) / WIDTH) for network in deepest)
    for kind in ("relu", "relu_orthogonal"):
        m["length_lost"][kind] = fmean(length_lost(kind, s) for s in derive_seeds(seed, MANY))
    return m


def draw(m: dict) -> go.Figure:
    fig = make_subplots(rows=2, cols=1, vertical_spacing=0.18)
    places = list(range(1, WIDTH + 1, 3))  # every third: a page carries each point twice, as data and in its poster
    for kind, (name, role) in KINDS.items():
        shown = {line: values[::3] for line, values in m["spectrum"][kind].items()}
        fig.add_traces(band_traces(places, shown, name, role), rows=1, cols=1)
        fig.add_traces(band_traces(m["depths"], m["by_depth"][kind], name, role), rows=2, cols=1)
    for kind in KINDS:
        fig.add_scatter(x=m["depths"], y=m["theory"][kind], name="theory", mode="lines", meta="theory", row=2, col=1)
    fig.update_xaxes(title=f"singular values of the Jacobian, sorted, depth {m['depths'][-1]}", row=1, col=1)
    fig.update_yaxes(title="factor on the gradient<br>w.r.t. the input", type="log", range=[-6, 1], row=1, col=1)
    fig.update_xaxes(title="layers or residual blocks", type="log", tickvals=m["depths"], row=2, col=1)
    fig.update_yaxes(title="directions<br>that carry it", type="log", tickvals=[1, 10, 100], row=2, col=1)
    return fig


def claim_plain_relu_loses_its_directions(m):
    """Of 128 singular values {kept.relu:.0f} are above 1/1000 after 100 ReLU layers at He's scale, and
    {directions.relu:.1f} directions carry the gradient, though its norm is still multiplied by {norm_relu:.2f}."""
    assert 6.5 < m["kept"]["relu"] < 11.5
    assert 1 <= m["directions"]["relu"] < 1.9
    assert m["by_depth"]["relu"]["hi"][-1] < 4
    assert 0.15 < m["norm_relu"] < 2


def claim_independent_orthogonal_weights_do_not_make_relu_an_isometry(m):
    """Independent orthogonal weights, drawn uniformly, leave ReLU with {kept.relu_orthogonal:.0f} singular values
    above 1/1000 and {directions.relu_orthogonal:.1f} directions after 100 layers."""
    assert 11 < m["kept"]["relu_orthogonal"] < 19
    assert 1.15 < m["directions"]["relu_orthogonal"] < 2.5
    assert m["by_depth"]["relu_orthogonal"]["hi"][-1] < 5


def claim_orthogonal_weights_take_two_fifths_off_the_exponent(m):
    """In 200 ReLU layers of width 32 the logarithm of the length falls by {length_lost.relu:.1f} on average with
    Gaussian weights and by {length_lost.relu_orthogonal:.1f} with uniform orthogonal ones."""
    for kind, v in {"relu": 5, "relu_orthogonal": 3}.items():
        assert math.isclose(m["length_lost"][kind], v * LONG / (4 * NARROW), rel_tol=0.28)
    assert 0.5 < m["length_lost"]["relu_orthogonal"] / m["length_lost"]["relu"] < 0.78


def claim_mirrored_weights_make_relu_an_isometry(m):
    """With mirrored weights 100 ReLU layers keep all {kept.relu_mirrored:.0f} singular values, each at one, and so
    {directions.relu_mirrored:.0f} directions."""
    for edge in ("lo", "hi"):
        assert all(abs(s - 1) < 1e-9 for s in m["spectrum"]["relu_mirrored"][edge])
        assert all(abs(count - 128) < 1e-6 for count in m["by_depth"]["relu_mirrored"][edge])
    assert m["kept"]["relu_mirrored"] == 128
    assert abs(m["directions"]["relu_mirrored"] - 128) < 1e-6


def claim_residuals_and_orthogonal_tanh_keep_all_directions(m):
    """After 100 blocks a residual network whose branches are divided by √L has all {kept.residual:.0f} singular values
    above 1/1000 and {directions.residual:.0f} directions, and 100 orthogonal tanh layers with small inputs have
    {kept.tanh_orthogonal:.0f} and {directions.tanh_orthogonal:.0f}."""
    for kind, low, high in [("residual", 38, 48), ("tanh_orthogonal", 118, 128)]:
        assert m["kept"][kind] == 128
        assert low < m["directions"][kind] < high
        assert min(m["by_depth"][kind]["lo"]) > 0.85 * low


def claim_the_count_of_directions_is_that_of_theory(m):
    """Up to ten layers the median network's count of directions is that of theory, n / (1 + v_1 + ... + v_L), within a
    third; with residuals or orthogonal tanh it follows theory within 6% at every depth."""
    for kind in ("relu", "relu_orthogonal", "residual", "tanh_orthogonal"):
        up_to, bound = (10, 0.33) if kind.startswith("relu") else (100, 0.06)
        for depth, count, expected in zip(m["depths"], m["by_depth"][kind]["median"], m["theory"][kind], strict=True):
            assert depth > up_to or abs(count / expected - 1) < bound
