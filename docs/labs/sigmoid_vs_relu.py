# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab: sigmoid against ReLU, by hand
#
# Everybody has heard that sigmoids make the gradient vanish and that ReLU doesn't. In this lab you write
# backpropagation yourself, in four lines, and look at the two factors that each layer multiplies by: its slopes
# *and its weights*. Then you predict which of four networks will train, and train them.
#
# You need torch, plotly and scikit-learn. A lab *asserts* what it teaches: if one of the `assert` lines below
# fails, this page is not built.

# %%
import math

import plotly.graph_objects as go
import torch
from sklearn.datasets import load_digits

DEPTH, WIDTH, BATCH = 20, 100, 64
random = torch.Generator().manual_seed(0)


def weights(sigma_w2, dtype=torch.float64):
    """DEPTH square matrices whose entries have the variance sigma_w2 / fan-in."""
    scale = math.sqrt(sigma_w2 / WIDTH)
    return [scale * torch.randn(WIDTH, WIDTH, generator=random, dtype=dtype) for _ in range(DEPTH)]


# %% [markdown]
# ## Forward
#
# A layer computes $z_l = W_l\, h_{l-1}$ and $h_l = \phi(z_l)$. We keep every $z_l$ and $h_l$: the way back needs
# them. With the batch in rows, $W_l\, h$ is `h @ W.T`.


# %%
def forward(ws, phi, h):
    """Pre-activations z_1 ... z_L and activations h_0 ... h_L, each (batch, width)."""
    zs, hs = [], [h]
    for w in ws:
        zs.append(hs[-1] @ w.T)
        hs.append(phi(zs[-1]))
    return zs, hs


# %% [markdown]
# ## Backward
#
# Write $\delta_l = \partial \mathcal L / \partial z_l$. The chain rule takes two steps from one layer to the one
# below: through the weights, then through the activation's slopes.
#
# $$
# \delta_l = \bigl(W_{l+1}^{\top}\, \delta_{l+1}\bigr) \odot \phi'(z_l)
# $$
#
# That is all. The slopes are easy to write by hand: a sigmoid's is $\sigma(1 - \sigma)$, never more than $1/4$; a
# ReLU's is 1 where $z > 0$ and 0 elsewhere.


# %%
def sigmoid_slope(z):
    return torch.sigmoid(z) * (1 - torch.sigmoid(z))


def relu_slope(z):
    return (z > 0).to(z.dtype)


SIGMOID, RELU = (torch.sigmoid, sigmoid_slope), (torch.relu, relu_slope)


def backward(ws, slope, zs, from_above):
    """delta_1 ... delta_L, each (batch, width); `from_above` is the loss's gradient with respect to h_L."""
    deltas = [from_above * slope(zs[-1])]
    for w, z in zip(reversed(ws[1:]), reversed(zs[:-1]), strict=True):
        deltas.append(deltas[-1] @ w * slope(z))
    return deltas[::-1]


# %% [markdown]
# Do you believe it? Autograd does the same with more bookkeeping, so the two have to agree to the last digits. The
# loss is a random projection $\sum v \odot h_L$, so that its own gradient is $v$ and has nothing to do with the
# weights.

# %%
x = torch.randn(BATCH, WIDTH, generator=random, dtype=torch.float64)
v = torch.randn(BATCH, WIDTH, generator=random, dtype=torch.float64)

for phi, slope in (SIGMOID, RELU):
    ws = weights(sigma_w2=2)
    zs, hs = forward(ws, phi, x.clone().requires_grad_())
    by_hand = backward(ws, slope, zs, v)
    by_autograd = torch.autograd.grad((hs[-1] * v).sum(), zs)
    for mine, theirs in zip(by_hand, by_autograd, strict=True):
        assert (mine - theirs).norm() < 1e-12 * theirs.norm()
print("backpropagation by hand agrees with autograd")

# %% [markdown]
# ## Four networks before training
#
# Two activations, two scales of the weights: Xavier's, $\sigma_w^2 = 1$, which was made for activations of slope
# one, and He's, $\sigma_w^2 = 2$, which was made for ReLU. How does the norm of $\delta_l$ change on the way to the
# input?

# %%
NETWORKS = {
    "sigmoid, Xavier": (SIGMOID, 1.0),
    "sigmoid, He": (SIGMOID, 2.0),
    "ReLU, Xavier": (RELU, 1.0),
    "ReLU, He": (RELU, 2.0),
}

rate, predicted = {}, {}
fig = go.Figure()
for name, ((phi, slope), sigma_w2) in NETWORKS.items():
    ws = weights(sigma_w2)
    zs, _ = forward(ws, phi, x)
    norms = [float(delta.norm()) for delta in backward(ws, slope, zs, v)]
    rate[name] = (norms[0] / norms[-1]) ** (1 / (DEPTH - 1))
    mean_square_slope = torch.stack([slope(z) for z in zs]).square().mean()
    predicted[name] = math.sqrt(sigma_w2 * mean_square_slope)
    fig.add_scatter(
        x=list(range(1, DEPTH + 1)),
        y=[norm / norms[-1] for norm in norms],
        name=name,
        meta="healthy" if rate[name] > 0.9 else "vanishing",
    )
fig.update_xaxes(title="layer")
fig.update_yaxes(title="gradient w.r.t. pre-activations, relative", type="log", exponentformat="power")
fig.show()

# %% [markdown]
# ## Which half does it?
#
# Each step back multiplies by a random matrix and by slopes. A random matrix whose entries have the variance
# $\sigma_w^2/n$ multiplies a vector's squared length by about $\sigma_w^2$; slopes multiply it by their mean
# square. So the factor per layer should be
#
# $$
# \sqrt{\sigma_w^2\; \mathbb E\,[\phi'(z)^2]}.
# $$
#
# Weights and slopes stand in it side by side. Compare the formula with what you measured:

# %%
for name in NETWORKS:
    print(f"{name:16}  measured {rate[name]:.3f}   predicted {predicted[name]:.3f}")
    assert abs(rate[name] / predicted[name] - 1) < 0.05

assert rate["sigmoid, Xavier"] < rate["sigmoid, He"] < 0.4, "sigmoids lose most of it in each layer"
assert rate["ReLU, Xavier"] < 0.8, "and ReLU loses it too, at the wrong scale"
assert rate["ReLU, He"] > 0.95

# %% [markdown]
# A ReLU's slope is zero for half of the units, which leaves a mean square of one half; He's factor of two puts that
# back. At Xavier's scale ReLU vanishes as well, only more slowly. And a sigmoid? Its slopes at the middle are
# $1/4$, so it would take $\sigma_w^2$ above 16 to make up for them, and larger weights push the units away from the
# middle, where the slopes are smaller still. Let us look for the scale at which it balances.

# %%
SCALES = [1, 4, 16, 40, 103, 250]
balance = []
for sigma_w2 in SCALES:
    ws = weights(sigma_w2)
    zs, _ = forward(ws, torch.sigmoid, x)
    norms = [float(delta.norm()) for delta in backward(ws, sigmoid_slope, zs, v)]
    balance.append((norms[0] / norms[-1]) ** (1 / (DEPTH - 1)))
    print(f"sigma_w² = {sigma_w2:4}: {balance[-1]:.2f} per layer")
assert balance == sorted(balance), "the larger the weights, the more comes back"
assert balance[2] < 0.8, "16 is not enough"
assert 0.9 < balance[4] < 1.1, "about a hundred is"

# %% [markdown]
# So the sigmoid is not doomed by its quarter, and ReLU isn't saved by its one. What decides is the product.
#
# ## Does it matter?
#
# Now train all four on handwritten digits with the gradients from your own `backward`, and plain gradient descent.
# A first matrix takes the 64 pixels to the width of the network and a last one to ten classes. A layer's weights
# get the gradient $\delta_l\, h_{l-1}^{\top}$, summed over the batch.

# %%
pixels, labels = load_digits(return_X_y=True)
images = torch.tensor((pixels - pixels.mean()) / pixels.std(), dtype=torch.float32)
labels = torch.tensor(labels)
train, test = slice(0, 1400), slice(1400, None)
STEPS, RATE = 600, 0.01


def fit(phi, slope, sigma_w2):
    """Losses by step, and the accuracy on unseen digits in the end."""
    ws = weights(sigma_w2, torch.float32)
    inwards = torch.randn(WIDTH, 64, generator=random) / 8
    outwards = torch.randn(10, WIDTH, generator=random) / math.sqrt(WIDTH)
    losses = []
    for _ in range(STEPS):
        chosen = torch.randint(1400, (BATCH,), generator=random)
        zs, hs = forward(ws, phi, images[chosen] @ inwards.T)
        probabilities = torch.softmax(hs[-1] @ outwards.T, dim=1)
        correct = torch.nn.functional.one_hot(labels[chosen], 10)
        losses.append(float(-(probabilities[correct == 1] + 1e-12).log().mean()))
        error = (probabilities - correct) / BATCH  # the loss's gradient with respect to the scores
        deltas = backward(ws, slope, zs, error @ outwards)
        outwards = outwards - RATE * error.T @ hs[-1]
        ws = [w - RATE * delta.T @ h for w, delta, h in zip(ws, deltas, hs[:-1], strict=True)]
    _, hs = forward(ws, phi, images[test] @ inwards.T)
    return losses, float(((hs[-1] @ outwards.T).argmax(1) == labels[test]).float().mean())


fig, accuracy = go.Figure(), {}
for name, ((phi, slope), sigma_w2) in NETWORKS.items():
    losses, accuracy[name] = fit(phi, slope, sigma_w2)
    smooth = torch.tensor(losses).reshape(-1, 20).mean(1)
    fig.add_scatter(
        x=list(range(20, STEPS + 1, 20)),
        y=smooth.tolist(),
        name=name,
        meta="healthy" if rate[name] > 0.9 else "vanishing",
    )
fig.add_hline(y=math.log(10))
fig.update_xaxes(title="steps")
fig.update_yaxes(title="training loss, mean of 20 steps", rangemode="tozero")
fig.show()

# %%
for name, value in accuracy.items():
    print(f"{name:16}  accuracy {value:.2f}")
assert max(accuracy["sigmoid, Xavier"], accuracy["sigmoid, He"]) < 0.2, "guessing scores one in ten"
assert accuracy["ReLU, He"] > 0.8

# %% [markdown]
# The line at $\ln 10$ is the loss of guessing, and that is where the sigmoids stay, at this learning rate and for as
# many steps as "ReLU, He" needs. Four numbers, taken before the first step, foretold it. In
# [Sigmoid against ReLU](../compare.md) deep sigmoids stay there at each of ten settings.
#
# **Try it yourself.** What does "ReLU, Xavier" do if you give it ten times as many steps, and which of the two,
# more steps or a larger learning rate, helps it more? Give the sigmoids $\sigma_w^2 = 103$: their gradient is level
# now, so do they train? (Look at how many units have a slope above $0.01$.) Then read [What it is
# not](../problem/not-this.md).
