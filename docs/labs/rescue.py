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
# # Lab: rescue a sick network
#
# A colleague brings you a network that doesn't learn. It has thirty hidden layers, it has been running all night,
# and its loss lies flat. In this lab you find out why, with the probe that measures this site's figures, and you
# mend one thing at a time. The third mend will make it worse in a new way. It needs
# `pip install ".[experiments]"`, in a checkout of this site.
#
# A lab *asserts* what it teaches: if one of the `assert` lines below fails, this page is not built.
#
# ## The patient

# %%
import math
import textwrap

import plotly.graph_objects as go
import torch
from torch import nn

from vgdocs.experiments import accuracy, digits
from vgdocs.probe import Probe, diagnose

DEPTH, WIDTH, STEPS = 30, 64, 180
x_train, y_train, x_test, y_test = digits()  # 8 x 8 images of handwritten digits, (n, 64)


class Skip(nn.Module):
    """x + branch(x)"""

    def __init__(self, *layers):
        super().__init__()
        self.branch = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.branch(x)


def build(activation, he=False, batch_norm=False, skips=False):
    torch.manual_seed(0)
    layers = [nn.Linear(64, WIDTH), activation()]
    for _ in range(DEPTH - 1):
        block = [nn.Linear(WIDTH, WIDTH), activation()]
        if batch_norm:
            block.insert(1, nn.BatchNorm1d(WIDTH))
        layers += [Skip(*block)] if skips else block
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for linear in model.modules():
        if he and isinstance(linear, nn.Linear):
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
    return model


# %% [markdown]
# The training loop is an ordinary one. The probe goes around it in one line and takes no part in it: the weights'
# gradients at every step, the rest at each fiftieth.


# %%
def train(model, labels=y_train, steps=STEPS):
    optimizer = torch.optim.Adam(model.parameters())
    order = torch.Generator().manual_seed(0)
    losses = []
    with Probe(model, optimizer, every=50) as probe:
        for _ in range(steps):
            rows = torch.randint(len(x_train), (32,), generator=order)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x_train[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    late = sum(losses[-20:]) / 20
    print(f"loss {late:.2f} in the end, accuracy {accuracy(model, x_test, y_test):.2f}")
    return probe.record, late


model = build(nn.Sigmoid)
record, loss = train(model)
assert abs(loss - math.log(10)) < 0.1, "the loss of guessing among ten digits"

# %% [markdown]
# The loss is $\ln 10 = 2.3$: this network guesses. From the loss alone you couldn't tell why. So look inside. The
# record is a table with a row for each layer, of which we print the beginning and the end.

# %%
lines = record.table(step=0).splitlines()
print("\n".join([*lines[:8], "...", *lines[DEPTH * 2 :]]))

# %% [markdown]
# Read the column of the gradient with respect to the outputs, `‖∂L/∂y‖`, from the bottom up. It loses a power of
# ten in little more than a layer. As a picture:

# %%
record.draw(step=0).show()

# %% [markdown]
# ## The verdict
#
# You have seen it already. `diagnose` puts it into words, with its evidence, and says what to try and what the
# record can't show.


# %%
def say(text):
    """Print long lines as paragraphs."""
    for line in str(text).splitlines():
        print(textwrap.fill(line, 84, subsequent_indent="    "))


verdict = diagnose(record, step=0)
say(verdict)
(finding,) = verdict.findings
assert (finding.symptom, finding.cause) == ("vanishing", "activation")

# %% [markdown]
# ## First mend: another activation
#
# Sigmoids, says the verdict; try ReLU. It also says *with He's initialisation*, but who reads to the end of the
# line?


# %%
def check(model, **options):
    """Train a model under the probe, show what is found at its first step, and return that."""
    record, _ = train(model, **options)
    findings = diagnose(record, step=0).findings
    say("\n".join(str(finding) for finding in findings) or "the probe finds nothing wrong")
    return record, [(finding.symptom, finding.cause) for finding in findings]


records = {"sigmoid": record}
records["ReLU"], found = check(build(nn.ReLU))
assert found == [("vanishing", "initialisation")]

# %% [markdown]
# It still guesses, and by the same illness from another cause. PyTorch's default weights have a sixth of the
# variance that ReLU needs. The finding names the measured factor per layer and, as this is a plain stack, what
# theory expects of such weights; the two agree.
#
# ## Second mend: the initialisation

# %%
records["ReLU, He"], found = check(he := build(nn.ReLU, he=True))
assert found == []
assert accuracy(he, x_test, y_test) > 0.5

# %% [markdown]
# It learns. One line of code has done what the whole night's training couldn't.
#
# ## A mend too many
#
# Your colleague, encouraged, adds batch normalisation after each linear layer. It can't do any harm, can it?

# %%
records["with batch norm"], found = check(normalised := build(nn.ReLU, he=True, batch_norm=True))
assert found == [("exploding", "batch normalisation")]
assert accuracy(normalised, x_test, y_test) < 0.5

# %% [markdown]
# It can, at this rate and in so few steps. The probe sees what is new: the gradient grows towards the input. Each batch
# normalisation with a ReLU behind it multiplies it by about 1.2, whatever the weights' scale, and twenty-nine of them
# make hundreds. That needn't be why it learns slowly: at a rate of 0.01 it trains, and
# [with the gradient levelled](../solutions/normalisation.md#does-the-explosion-matter) Adam does no better at 0.001.
#
# ## Skip connections

# %%
records["and skips"], found = check(whole := build(nn.ReLU, he=True, batch_norm=True, skips=True))
assert found == []
assert accuracy(whole, x_test, y_test) > 0.8

# %% [markdown]
# All five networks before their first update, in one picture. What tells them apart is not how large a gradient is but
# how it changes from layer to layer. Whether Adam can use it is a matter of its size beside $\varepsilon$.

# %%
fig = go.Figure()
roles = ["vanishing", "vanishing", "healthy", "exploding", "healthy"]
for (name, record), role in zip(records.items(), roles, strict=True):
    linear = [row for row in record.at(0) if row["kind"] == "Linear"][:-1]
    norms = [row["activation_gradient"] for row in linear]
    left = [norm / norms[-1] for norm in norms]
    fig.add_scatter(x=list(range(1, DEPTH + 1)), y=left, name=name, meta=role)
fig.update_xaxes(title="hidden layer")
fig.update_yaxes(title="gradient w.r.t. outputs, relative", type="log", exponentformat="power")
fig.show()

# %% [markdown]
# ## What a probe can't see
#
# Before you trust it with everything: take the healthy network with He's weights, and shuffle the labels.

# %%
shuffled = y_train[torch.randperm(len(y_train), generator=torch.Generator().manual_seed(1))]
fooled = build(nn.ReLU, he=True)
_, found = check(fooled, labels=shuffled, steps=60)
assert found == [], "its gradients are in perfect health"
assert accuracy(fooled, x_test, y_test) < 0.3, "and it has learned nothing"

# %% [markdown]
# Nothing is wrong with its gradients, and it learns nothing, because there is nothing to learn. A silent probe
# means that the gradient reaches every layer; it doesn't mean that it has something to say. The verdict says so
# itself, under "what this record cannot show".
#
# **Try it yourself.** Rescue the sigmoid network without touching its activation: with batch normalisation, with
# skips, with larger weights ([which?](../causes/activations.md)). One of them the probe still complains about, and
# is right. Then put the probe around a network of your own: [Find it in your network](../diagnose.md).
