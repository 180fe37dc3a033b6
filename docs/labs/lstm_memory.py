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
# # Lab: an LSTM's memory
#
# An LSTM adds to its cell state instead of multiplying it by a matrix. How far back does its gradient reach before
# training? In this lab you measure it: first what one forget gate lets through, then what a hundred in a row do, and
# finally how the whole gradient travels, which is not quite the way most diagrams suggest.
#
# A lab *asserts* what it teaches: if one of the `assert` lines below fails, this page is not built.

# %%
import plotly.graph_objects as go
import torch

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)

STEPS, BATCH, INPUT, HIDDEN = 100, 8, 16, 64
x = torch.randn(STEPS, BATCH, INPUT)  # (T, batch, input)

# %% [markdown]
# ## A forget gate at initialisation
#
# PyTorch draws all weights and biases from a small interval around zero. The forget gate $f_t = \sigma(\cdot)$ of a new
# LSTM is therefore close to $\sigma(0) = 1/2$ whatever it reads. The function below builds an LSTM whose forget gate
# has a bias of our choosing. PyTorch adds *two* bias vectors, so one of them is set to the bias and the other to zero.


# %%
def make_lstm(forget_bias=None):
    lstm = torch.nn.LSTM(INPUT, HIDDEN)
    if forget_bias is not None:
        forget = slice(HIDDEN, 2 * HIDDEN)  # gates: input, forget, cell, output
        with torch.no_grad():
            lstm.bias_ih_l0[forget] = forget_bias
            lstm.bias_hh_l0[forget] = 0
    return lstm


def run(lstm, s=1.0):
    """Forget gates, (T, batch, hidden), and cell states of an LSTM that reads x; h passes s times its gradient on."""
    h = torch.zeros(BATCH, HIDDEN)
    c = torch.zeros(BATCH, HIDDEN, requires_grad=True)
    gates, cells = [], [c]
    for x_t in x:
        h = s * h + (1 - s) * h.detach()
        pre = x_t @ lstm.weight_ih_l0.T + lstm.bias_ih_l0
        pre = pre + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
        i, f, g, o = pre.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        gates.append(f.sigmoid())
        cells.append(c)
    return torch.stack(gates), cells


forget, _ = run(make_lstm())
print(f"mean forget gate of a new LSTM: {forget.mean():.3f}")
assert 0.45 < forget.mean() < 0.55

# %% [markdown]
# ## A hundred of them in a row
#
# Along the cell state alone the gradient is multiplied by one forget gate per step:
# $\partial c_T / \partial c_0 = f_T \odot \dots \odot f_1$, if the path through $h$ is left out. Half of a half of a
# half: a hundred times.

# %%
fig = go.Figure()
for bias in (None, 1, 3, 5):
    forget, _ = run(make_lstm(bias))
    kept = forget.detach().cumprod(0).mean((1, 2))
    name = "default" if bias is None else f"forget bias {bias}"
    fig.add_scatter(x=list(range(1, STEPS + 1)), y=kept.tolist(), name=name)
fig.update_xaxes(title="steps")
fig.update_yaxes(title="product of the forget gates, mean", type="log")
fig.show()

# %%
default = run(make_lstm())[0].prod(0).mean()
five = run(make_lstm(5.0))[0].prod(0).mean()
assert default < 1e-20, "by default next to nothing is left"
assert 0.3 < five < 0.7, "with a bias of 5 about half is left"

# %% [markdown]
# ## Most of the gradient leaves the highway now and then
#
# The product above is the *direct* path. But $h_t$ depends on $c_t$, and the gates of the next step read $h_t$, so
# there are other ways back. Autograd follows all of them. Compare the two for PyTorch's default.

# %%
lstm = make_lstm()
forget, cells = run(lstm)
readout = torch.randn(BATCH, HIDDEN)  # the loss is a random projection of c_T
full = torch.autograd.grad((cells[-1] * readout).sum(), cells[0])[0].norm()
direct = (forget.prod(0) * readout).norm()
print(f"direct path {direct:.1e}, full gradient {full:.1e}")
assert full > 100 * direct, "most of it has left the cell at least once"

# %% [markdown]
# How often does it leave the cell? Multiply the gradient through $h$ by $s$. A path that leaves the cell $k$ times is
# multiplied by $s^k$. So the slope of $\log \lVert \partial L / \partial c_0 \rVert$ over $\log s$, at $s = 1$, is the
# mean of $k$, in which each path weighs what it contributes.


# %%
def norm(s):
    c = run(lstm, s)[1]
    return torch.autograd.grad((c[-1] * readout).sum(), c[0])[0].norm()


off = (norm(1.001) / norm(0.999)).log() / torch.tensor(1.001 / 0.999).log()
print(f"steps off the cell, of {STEPS}: {off:.0f}")
assert 5 < off < 40, "it is on the cell in most of its steps"

# %% [markdown]
# The full gradient is orders of magnitude larger than what never left the cell, though each path is on the cell most of
# the time: there are very many of them. And it is still nothing beside that of the last few steps. A forget bias opens
# the gates from the start, and training can open them later; [Gates](../solutions/gates.md) shows what either costs.
#
# **Try it yourself.** Download [this page as a notebook](lstm_memory.ipynb), open it in Jupyter or VS Code, and find
# the forget bias at which half of the *direct path's* product is left after ten steps, a hundred, a thousand. It is
# close to the logarithm of the number of steps plus a constant. Why? And what has the full gradient become by then?
