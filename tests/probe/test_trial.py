"""A fault and its cure side by side: what is scored, what is counted, and what the sweep may change."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vgdocs.probe.trial import Trial, before_and_after, explained, mlp, right


@pytest.mark.parametrize(
    ("answers", "y", "share"),
    [
        (torch.eye(4), torch.tensor([0, 1, 2, 0]), 0.75),
        (torch.tensor([[2.0], [-1.0]]), torch.tensor([[1.0], [1.0]]), 0.5),
        (torch.tensor([[torch.nan], [-1.0]]), torch.tensor([[1.0], [0.0]]), 0.5),
        (torch.full((2, 2), torch.nan), torch.tensor([0, 1]), 0.0),
    ],
)
def test_right(answers, y, share):
    assert right(answers, y) == share


@pytest.mark.parametrize(
    ("answers", "share"),
    [([0.0, 2.0], 1.0), ([1.0, 1.0], 0.0), ([9.0, 9.0], 0.0), ([torch.nan, 2.0], 0.0), ([0.5, 1.5], 0.75)],
)
def test_explained(answers, share):
    assert explained(torch.tensor(answers)[:, None], torch.tensor([[0.0], [2.0]])) == share


def blobs(rate: float, **settings) -> Trial:
    x = torch.randn(64, 4)
    return Trial(mlp(4, 8, 2), x=x, y=(x[:, 0] > 0).long(), optimiser="sgd", rate=rate, batch=32, **settings)


def test_what_is_named_and_what_is_accused_is_counted():
    def too_small(cured: bool) -> Trial:
        return blobs(0.5 if cured else 1e-8)

    found = before_and_after({"learning rate too small": too_small, "dropout": too_small}, [1, 2], steps=20)
    assert (found["networks"], found["named"], found["accused"]) == (4, 2, 0)
    assert found["causes"] == ["learning rate too small", "dropout"]
    assert found["best"] == [None, None]
    assert found["sick"][0]["hi"] < found["cured"][0]["lo"]
    assert [row["remedy"] != "" for row in found["rows"]] == [True, False]  # of a dropout nothing was said
    found = before_and_after({"none": lambda cured: blobs(1e-8 if cured else 0.5)}, [1, 2], steps=20)
    assert (found["named"], found["accused"]) == (0, 2)


def test_the_sick_one_is_tried_at_each_rate_and_the_best_is_kept():
    rates = {"adam": [1e-9], "sgd": [1e-9, 0.5]}
    found = before_and_after(
        {"a": lambda cured: blobs(1e-8), "b": lambda cured: blobs(1e-8, swept=False)}, [1, 2, 3], steps=20, rates=rates
    )
    assert found["best"][0]["median"] > 0.8 > found["sick"][0]["median"]
    assert found["best"][1] is None


def test_the_same_seed_gives_the_same_networks_and_leaves_the_generator_alone():
    before = torch.random.get_rng_state()
    one, other = (before_and_after({"a": lambda cured: blobs(0.1)}, [5], steps=5) for _ in range(2))
    assert one == other
    assert one["sick"] == one["cured"]
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_a_trial_may_ask_for():
    """Its own question in the end, a part of the model to be held, more steps, and something between the passes."""
    seen: list[nn.Module] = []
    network = mlp(4, 8, 2)
    first = network[0].weight.detach().clone()
    trial = Trial(
        network,
        F.cross_entropy,
        x=torch.randn(16, 4),
        y=torch.zeros(16, dtype=torch.long),
        ask=lambda x: torch.tensor([[0.0, 1.0]]).expand(len(x), 2),
        held=network[2],
        times=3,
        between=seen.append,
    )
    assert trial.run(4) == (0.0, ())
    assert seen == [network] * 12
    assert torch.equal(network[0].weight, first)
