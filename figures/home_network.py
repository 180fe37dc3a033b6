"""Of the gradient at the last of twenty sigmoid layers {plain:.0e} reaches the first; with skips it arrives whole.

Two networks with the very same weights read handwritten digits, from 64 pixels through twenty layers of
twelve units to ten classes. With W_l of N(0, 1/12), layer l's pre-activations are

    plain       z_l =           W_l sigmoid(z_{l-1})
    with skips  z_l = z_{l-1} + W_l sigmoid(z_{l-1})

Each dot is one unit of such a pair, and none is left out. Its gradient is dL/dz, the root mean square over
the images, of the cross-entropy L at initialisation; the loss sits at the right, so the gradient comes from
there. Wide plain networks keep sqrt(chi) = 0.236 of it per layer (Schoenholz et al. 2017), and a skip adds 1 to
chi.
"""

import math

import plotly.graph_objects as go
import torch
import torch.nn.functional as F

from vgdocs import theory
from vgdocs.experiments import band, derive_seeds, digits, weight

SEED = 0
REPLICAS = 10  # pairs of networks; the first is drawn, the numbers are medians
LAYERS = 20
UNITS = 12  # in each layer
IMAGES = 256  # the gradient's root mean square is taken over these


def gradients(x: torch.Tensor, y: torch.Tensor, skip: int, seed: int) -> torch.Tensor:
    """Root mean square of dL/dz of every unit: (layers, units)."""
    g = torch.Generator().manual_seed(seed)
    z = (x @ weight(UNITS, 64, "lecun", g).T).requires_grad_()  # (images, units)
    layers = [z]
    for _ in range(LAYERS - 1):
        z = skip * z + torch.sigmoid(z) @ weight(UNITS, UNITS, "lecun", g).T
        layers.append(z)
    logits = torch.sigmoid(z) @ weight(10, UNITS, "lecun", g).T
    grads = torch.autograd.grad(F.cross_entropy(logits, y), layers)
    return torch.stack([dz.pow(2).mean(0).sqrt() for dz in grads])


def measure(seed: int = SEED) -> dict:
    """What share of the last layer's gradient reaches each unit, and the first layer as a whole."""
    x, y, _, _ = digits()
    x, y = x[:IMAGES].double(), y[:IMAGES]
    m: dict = {"theory_per_layer": theory.rate(torch.sigmoid, sigma_w2=1.0), "units": {}, "shares": {}}
    for name, skip in {"plain": 0, "skips": 1}.items():
        replicas = [gradients(x, y, skip, s) for s in derive_seeds(seed, REPLICAS)]
        m["units"][name] = (replicas[0] / replicas[0][-1].pow(2).mean().sqrt()).tolist()
        m["shares"][name] = [float(units[0].norm() / units[-1].norm()) for units in replicas]
        m[name] = band(m["shares"][name])["median"]
    m["plain_per_layer"] = m["plain"] ** (1 / (LAYERS - 1))
    return m


def draw(m: dict) -> go.Figure:
    """A column of dots for each layer; colour and size say how much of the gradient reaches the unit."""
    fig = go.Figure()
    lowest = {"plain": UNITS + 2, "skips": 0}  # the height of each network's lowest dot
    for name, height in lowest.items():
        shares = [share for layer in m["units"][name] for share in layer]
        powers = [math.log10(share) for share in shares]
        sizes = [min(9, max(2.5, 8.5 + 0.5 * power)) for power in powers]
        fig.add_scatter(
            x=[layer + 1 for layer in range(LAYERS) for _ in range(UNITS)],
            y=[height + unit for _ in range(LAYERS) for unit in range(UNITS)],
            name=name,
            mode="markers",
            marker={"color": powers, "size": sizes, "opacity": 1, "coloraxis": "coloraxis"},
            text=[f"{share:.1e}" for share in shares],
            hovertemplate="layer %{x}: %{text} of the last layer's gradient<extra></extra>",
            showlegend=False,
        )
    middle = [height + (UNITS - 1) / 2 for height in lowest.values()]
    fig.update_xaxes(title="layer, from the image (left) to the loss (right)", tickvals=[1, 5, 10, 15, 20])
    fig.update_yaxes(tickvals=middle, ticktext=["plain", "with skips"], tickangle=-90)
    fig.update_xaxes(showgrid=False, zeroline=False).update_yaxes(showgrid=False, zeroline=False)
    bar = {"orientation": "h", "thickness": 12, "y": 1.02, "yanchor": "bottom"}
    bar |= {"tickvals": [-12, -9, -6, -3, 0], "ticktext": ["10⁻¹²", "10⁻⁹", "10⁻⁶", "10⁻³", "1"]}
    bar["title"] = {"text": "unit's |∂L/∂z| over the last layer's", "side": "top"}
    return fig.update_coloraxes(cmin=-12, cmax=0, colorbar=bar)


def claim_the_plain_network_loses_the_gradient(m):
    """Twenty plain sigmoid layers pass {plain:.0e} of the gradient on, a factor of {plain_per_layer:.3f} per layer."""
    assert math.isclose(m["theory_per_layer"], 0.2361, rel_tol=1e-3)
    assert math.isclose(m["plain_per_layer"], m["theory_per_layer"], rel_tol=0.1)  # twelve units aren't many
    assert math.isclose(m["plain"], m["plain_per_layer"] ** (LAYERS - 1), rel_tol=1e-6)
    assert all(share < 1e-11 for share in m["shares"]["plain"])


def claim_skips_keep_the_gradient(m):
    """With skips the same weights pass {skips:.1f} times the last layer's gradient on to the first."""
    assert 1.05 < m["skips"] < 1.6
    assert all(0.6 < share < 2.5 for share in m["shares"]["skips"])
