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
# # Lab: write a figure for this site
#
# Every figure here is one script that *measures*, *draws* and *claims*. In this lab you write one, measure it, cite
# its numbers in a sentence, and then break it on purpose to see who notices. It needs
# `pip install -e ".[site,experiments]" -c constraints.txt`, in a checkout of this site.
#
# Our question: a leaky ReLU lets a share $a$ of negative inputs through. With He's weights, what does that do to
# the gradient? Theory is short. Half of the slopes are 1 and half are $a$, so their mean square is $(1 + a^2)/2$;
# He's $\sigma_w^2 = 2$ makes it $1 + a^2$ per layer, and the norm's factor its root. So He's scale is too large for
# a leaky ReLU: the gradient should *grow* by $\sqrt{1 + a^2}$ per layer. Let us see.
#
# A lab *asserts* what it teaches: if one of the `assert` lines below fails, this page is not built.
#
# ## The script
#
# In a project you would type `vgdocs new leaky_rate` and edit `figures/leaky_rate.py`. Here the script is a string,
# so that we can change it below.

# %%
import json
import os
import tempfile
from pathlib import Path

import markdown
import plotly.graph_objects as go

from vgdocs.engine.library import Library
from vgdocs.engine.numbers import fill
from vgdocs.pages.markdown import Context, VgdocsExtension

SCRIPT = '''\
"""At He's scale a leaky ReLU with slope 0.5 makes the gradient grow by {rate.leak_5:.2f} per layer.

Twenty layers of width 128; the rate at which the norm of dL/dz changes from layer to layer going backward, median of
five random networks. Half of the slopes are 1 and half are a, so that theory has sqrt(1 + a**2) (He et al. 2015,
section 2.2).
"""

import math
import statistics

import plotly.graph_objects as go
import torch
import torch.nn.functional as F

from vgdocs.experiments import derive_seeds, weight
from vgdocs.gradients import norms_of_gradients, rate

SEED = 0
REPLICAS = 5  # random networks
DEPTH, WIDTH, BATCH = 20, 128, 64
LEAKS = (0.0, 0.2, 0.35, 0.5)  # slope for negative inputs


def one_rate(leak: float, seed: int) -> float:
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(BATCH, WIDTH, generator=g, dtype=torch.float64)  # (batch, width)
    zs = []
    for _ in range(DEPTH):
        zs.append((h @ weight(WIDTH, WIDTH, "he", g).T).requires_grad_())
        h = F.leaky_relu(zs[-1], leak)
    v = torch.randn(BATCH, WIDTH, generator=g, dtype=torch.float64)
    return rate(norms_of_gradients((h * v).sum(), zs))


def measure(seed: int = SEED) -> dict:
    seeds = derive_seeds(seed, REPLICAS)
    medians = [statistics.median(one_rate(leak, s) for s in seeds) for leak in LEAKS]
    return {"rates": medians, "rate": {"leak_0": medians[0], "leak_5": medians[-1]}}


def draw(m: dict) -> go.Figure:
    fig = go.Figure(go.Scatter(x=LEAKS, y=m["rates"], name="measured", mode="markers"))
    theory = [math.sqrt(1 + a**2) for a in LEAKS]
    fig.add_scatter(x=LEAKS, y=theory, name="theory", meta="theory")
    fig.update_layout(xaxis_title="slope for negative inputs", yaxis_title="rate of dL/dz per layer, pre-activations")
    return fig


def claim_the_rate_follows_theory(m):
    """With slopes 1 and a the norm is multiplied by the root of 1 + a² per layer, {rate.leak_5:.3f} at a half."""
    for leak, measured in zip(LEAKS, m["rates"], strict=True):
        assert abs(measured / math.sqrt(1 + leak**2) - 1) < 0.04
    assert abs(m["rate"]["leak_5"] / math.sqrt(1.25) - 1) < 0.04


def claim_relu_is_level(m):
    """Without a leak it is level: {rate.leak_0:.2f} per layer."""
    assert 0.96 < m["rate"]["leak_0"] < 1.04
'''

# %% [markdown]
# Its parts have names, and the engine finds them by these names: a docstring whose first line is the finding,
# `measure(seed)`, which returns plain numbers and lists; `draw(m)`, which sees nothing but the measurement and says
# nothing about colours; and `claim_*(m)`, each with a sentence that pages may rely on and a bound that it asserts.
# Numbers in sentences are written `{rate.leak_5:.2f}` and filled in from the measurement.
#
# ## Measure it
#
# A project is a folder with `figures/` in it. `refresh` measures what has changed, each figure in a process of its
# own, and keeps the records in `.vgdocs`.

# %%
project = Path(tempfile.mkdtemp())
os.environ["VGDOCS_STORE"] = str(project / ".vgdocs")  # its own, whatever the build that runs this page uses
os.environ.pop("VGDOCS_RUN", None)
(project / "figures").mkdir()


def measure(script):
    """Write the script, measure it if it has to be, and return what the site knows of it."""
    (project / "figures/leaky_rate.py").write_text(script, encoding="utf-8")
    library = Library(project)
    library.refresh()
    return library.figure("leaky_rate")


entry = measure(SCRIPT)
assert not entry.error, entry.error
assert not entry.failed
print(entry.title)
for claim in entry.figure.claims:
    print("claim:", fill(claim.sentence, entry.numbers))
print(json.dumps(entry.numbers, indent=1))

# %% [markdown]
# The plot is stored as plain data. The site's theme draws it in both of its colour schemes; here it is drawn by the
# same loader.

# %%
go.Figure(entry.record.plot).show()

# %% [markdown]
# ## Cite it
#
# A page never types a measured number. It names one, and the build fills it in; the reader can tap it to see where
# it comes from.

# %%
PAGE = "At a slope of a half the gradient *grows*, by [[leaky_rate.rate.leak_5:.2f]] per layer."


def build(page):
    """A page's HTML and what is wrong with it."""
    library = Library(project)
    library.refresh()
    context = Context(library, page="page.md")
    html = markdown.markdown(page, extensions=[VgdocsExtension(context=context)])
    return html, [problem.message for problem in context.problems]


html, problems = build(PAGE)
print(html)
assert not problems
assert 'class="vg-number"' in html

_, problems = build(PAGE.replace("leak_5", "leak_7"))
print("\nwith a slip of the pen:", problems)
assert "measures no number 'rate.leak_7'" in problems[0]

# %% [markdown]
# ## Break it
#
# A claim that can't fail says nothing. So take out what the figure is about and see whether it notices. Suppose
# someone "tidies" the script and the leak gets lost on the way:

# %%
broken = SCRIPT.replace("h = F.leaky_relu(zs[-1], leak)", "h = F.relu(zs[-1])")
entry = measure(broken)
for claim, verdict in entry.failed:
    print(f"{claim.name} fails: {verdict.message}")
assert [claim.name for claim, _ in entry.failed] == ["claim_the_rate_follows_theory"]

# %% [markdown]
# The other claim still holds, as it should: without a leak nothing has changed. On the site this ends the build,
# with the script's line, the claim's sentence, what was measured, and every page that cites it.
#
# What if only the *bound* is wrong? Then nothing has to be measured again: claims are judged on the record there
# is.

# %%
before = measure(SCRIPT).record.keys.measure
too_strict = SCRIPT.replace("0.96 < m", "0.99999 < m")
entry = measure(too_strict)
assert [claim.name for claim, _ in entry.failed] == ["claim_relu_is_level"]
assert entry.record.keys.measure == before, "the measurement was not made again"

# %% [markdown]
# ## Is every number held?
#
# The suite of this site asks one thing more. For each number that a page could cite it pretends that the number
# came out half as large again, or a third smaller, or as NaN, and each time some claim has to fail. You can play it
# with the claims themselves, which are plain functions:

# %%
entry = measure(SCRIPT)
namespace = {"__name__": "leaky_rate"}
exec(compile(SCRIPT, "leaky_rate.py", "exec"), namespace)
claims = [namespace[claim.name] for claim in entry.figure.claims]


def holds(measured):
    try:
        for claim in claims:
            claim(measured)
    except AssertionError:
        return False
    return True


assert holds(entry.record.measured)
for name in ("leak_0", "leak_5"):
    for factor in (1.5, 1 / 1.5, float("nan")):
        rates = dict(entry.record.measured["rate"])
        rates[name] *= factor
        assert not holds(entry.record.measured | {"rate": rates}), f"{name} x {factor} goes unnoticed"
print("every number is bounded on both sides")

# %% [markdown]
# That is all there is to a figure of this site. [Contributing](../about/contributing.md) has the rules in one page,
# and [Figures and records](../reference/figures.md) what the engine reads and keeps.
#
# **Try it yourself.** Choose the scale that makes every leak level ($\sigma_w^2 = 2/(1 + a^2)$, the argument `a` of
# PyTorch's `kaiming_normal_`) and change the claims until they say so. Which of them had to change, and which
# failed first?
