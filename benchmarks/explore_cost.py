"""What the explorer's measurements cost, beside the naive way and beside the matrix products alone.

    python benchmarks/explore_cost.py [--quick]

Three ways to measure the same settings on one thread, in one run, in processor time:

    explore   vgdocs.explorer.model.measure: settings side by side, depths cut off one forward pass
    naive     one nn.Module per setting and seed, hooks on its layers, autograd
    floor     the matrix products that any of them has to make, and nothing else

Seconds are of this machine, and of how busy it is; what carries over are the ratios.
"""

import argparse
import math
import time
import timeit
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from vgdocs import theory
from vgdocs.explorer import grid
from vgdocs.explorer import model as explore
from vgdocs.explorer.model import Setting

WIDTHS = (32, 64, 128)
DEPTHS = (10, 20, 50, 100)
SEEDS = (1, 2)
REPEATS = 3  # of each way, of which the fastest counts


class Layer(nn.Module):
    """One layer of the model, as one would write it for a single network."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        size = setting.width
        self.phi = theory.ACTIVATIONS[setting.activation]
        self.W = nn.Linear(size, size, bias=False, dtype=torch.float64)
        nn.init.normal_(self.W.weight, std=math.sqrt(setting.sigma_w2 / size))
        if setting.skip != "none":
            self.V = nn.Linear(size, size, bias=False, dtype=torch.float64)
            branch = setting.sigma_w2 / (setting.depth if setting.skip == "scaled" else 1)
            nn.init.normal_(self.V.weight, std=math.sqrt(branch / size))
        self.watched = nn.Identity()  # what is hooked

    def norm(self, z: torch.Tensor) -> torch.Tensor:
        if self.setting.norm == "batch":
            return F.batch_norm(z, None, None, training=True, eps=explore.EPS)
        if self.setting.norm == "layer":
            return F.layer_norm(z, z.shape[1:], eps=explore.EPS)
        return F.rms_norm(z, z.shape[1:], eps=explore.EPS) if self.setting.norm == "rms" else z

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        if self.setting.skip == "none":
            return self.phi(self.watched(self.norm(self.W(h))))
        inner = self.W(self.norm(h)) if self.setting.skip == "prenorm" else self.norm(self.W(h))
        return self.watched(h + self.V(self.phi(inner)))


def naive(settings: list[Setting]) -> None:
    """Norms of every layer's gradient, by hooks."""
    for setting in settings:
        for seed in SEEDS:
            torch.manual_seed(seed)
            model = nn.Sequential(*(Layer(setting) for _ in range(setting.depth)))
            norms: list[float] = []

            def hook(_module: nn.Module, _inner: object, outer: tuple, norms: list[float] = norms) -> None:
                norms.append(outer[0].norm().item())

            for layer in model:
                layer.watched.register_full_backward_hook(hook)
            x, v = torch.randn(2, setting.batch, setting.width, dtype=torch.float64)
            (model(x.requires_grad_()) * v).sum().backward()
            assert len(norms) == setting.depth


def batched(settings: list[Setting]) -> None:
    explore._draws.cache_clear()  # no way is given its weights
    explore.measure(settings, SEEDS)


def floor(settings: list[Setting]) -> None:
    """The products that `measure` makes, in the blocks in which it makes them."""
    for networks in explore._passes(settings):
        one, depths = networks[0][0], {setting.depth for network in networks for setting in network}
        matrices = 1 if one.skip == "none" else 2
        passes = max(depths) + sum(depths)  # forward once, backward from each depth
        W = torch.randn(one.width, one.width, dtype=torch.float64)
        block = torch.randn(len(networks) * one.batch, one.width, dtype=torch.float64)
        out = torch.empty_like(block)
        for _ in range(matrices * passes * len(SEEDS)):
            torch.mm(block, W, out=out)


def seconds(way: Callable[[list[Setting]], None], settings: list[Setting]) -> float:
    """Of the processor, so that a busy machine counts less; the least of a few runs."""
    return min(timeit.repeat(lambda: way(settings), timer=time.process_time, number=1, repeat=REPEATS))


def some(width: int, depth: int, count: int) -> list[Setting]:
    """`count` settings of one depth: all activations in turn, every norm and skip."""
    kinds = [(norm, skip) for skip in explore.SKIPS for norm in explore.NORMS]
    return [
        Setting(explore.ACTIVATIONS[i % 9], "gaussian", 1.0 + i / 7, *kinds[i // 9 % 16], depth, width)
        for i in range(count)
    ]


def row(label: str, settings: list[Setting]) -> float:
    spent = {way.__name__: seconds(way, settings) for way in (batched, naive, floor)}
    over_floor = spent["batched"] / spent["floor"]
    print(
        f"{label:34}{spent['batched']:9.3f}{spent['naive']:9.3f}{spent['floor']:9.3f}"
        f"{over_floor:12.2f}{spent['naive'] / spent['batched']:14.2f}",
        flush=True,
    )
    return over_floor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a third of the settings")
    count = 48 if parser.parse_args().quick else 144
    torch.set_num_threads(1)
    print(f"{'processor seconds':34}{'explore':>9}{'naive':>9}{'floor':>9}{'over floor':>12}{'naive/explore':>14}")
    for width in WIDTHS:
        print(f"width {width}")
        row("  depth 20, all norms and skips", some(width, 20, count))
    print(f"width {WIDTHS[-1]}, against depth")
    for depth in DEPTHS:
        row(f"  depth {depth}", some(WIDTHS[-1], depth, count // 3))
    print(f"width {WIDTHS[-1]}, depth 20, against the number of settings")
    for number in (1, 9, count // 3, count):
        row(f"  {number} settings", some(WIDTHS[-1], 20, number))
    print("part of the page’s grid, whose depths share a forward pass")
    part = [s for s in grid.measured() if s.activation == "tanh" and s.depth <= 20 and s.family == "gaussian"]
    over = row(f"  {len(part)} settings", part)
    print(f"\nThe grid takes {over:.2f} times its floor at width {WIDTHS[-1]}.")


if __name__ == "__main__":
    main()
