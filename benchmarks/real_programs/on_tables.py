"""Programs whose data is a table of numbers."""

from functools import partial

import standins as data
from as_keras import NESTEROV, Program, Training


def scaled(make):
    return partial(data.standardised, make)


TITANIC = partial(data.yes_or_no, data.TITANIC)
PACKETS = partial(data.yes_or_no, data.PACKETS)
LOANS = partial(data.yes_or_no, data.LOANS)
ADULT = partial(data.two_classes, data.ADULT)
HOUSES = partial(data.prices, data.HOUSES, 900_000)
SHOPS = partial(data.prices, [900, 120, 30, 7], 60_000)

PROGRAMS = [
    Program(
        "48251943",
        "activation of the output",
        ("output range",),
        "yes",
        "stand-in",
        "own",
        Training(data.motors, "4 relu, 1 relu", "mse", "sgd", 0.01, 10, 500),
        {"layers": "4 relu, 1 tanh"},
    ),
    Program(
        "38648195",
        "softmax over one unit; loss",
        ("softmax over one unit", "loss does not fit the outputs"),
        "yes",
        "own",
        "own",
        Training(
            data.one_label, "20 relu, drop 0.5, 20 relu, drop 0.5, 1 softmax", "mse", "sgd", 0.01, 20, 1000
        ),
        {"layers": "20 relu, drop 0.5, 20 relu, drop 0.5, 1 sigmoid", "loss": "binary"},
    ),
    Program(
        "39525358",
        "no output activation before binary cross-entropy; inputs not scaled; learning rate",
        ("loss does not fit the outputs", "inputs not scaled"),
        "yes",
        "stand-in",
        "own",
        Training(LOANS, "12 relu, 3 relu, 1", "binary", "adam", 1e-3, 10, 400, start="uniform"),
        {"data": scaled(LOANS), "layers": "12 relu, 3 relu, 1 sigmoid", "rate": 0.1},
    ),
    Program(
        "47724077",
        "inputs not scaled; optimizer; learning rate; epochs",
        ("inputs not scaled", "learning rate too small", "too few steps"),
        "partly",
        "stand-in",
        "own",
        Training(ADULT, "21 relu, 2 softmax", "categorical", "adam", 1e-3, 100, 400),
        {"data": scaled(ADULT), "rate": 0.01},
    ),
    Program(
        "59278771",
        "inputs not scaled; sigmoid output for three classes; ReLU",
        ("inputs not scaled", "loss does not fit the outputs"),
        "yes",
        "own",
        "own",
        Training(data.iris, "4 relu, 3 sigmoid", "categorical", "adam", 1e-3, 5, 600, start="normal"),
        {"data": scaled(data.iris), "layers": "4 selu, 3 softmax", "optimizer": "sgd", "rate": 0.01},
    ),
    Program(
        "34673164",
        "no normalisation; softmax over one unit + squared error",
        ("softmax over one unit", "inputs not scaled"),
        "partly",
        "stand-in",
        "own",
        Training(
            data.letters,
            "64 tanh, drop 0.5, 64 tanh, drop 0.5, 1 softmax",
            "mse",
            "sgd",
            0.1,
            16,
            400,
            start="uniform",
            more=NESTEROV,
        ),
        {"layers": "norm, 64 tanh, drop 0.5, norm, 64 tanh, drop 0.5, 1 sigmoid", "loss": "binary"},
    ),
    Program(
        "45337371",
        "softmax for targets that don't sum to one",
        ("loss does not fit the outputs",),
        "yes",
        "stand-in",
        "own",
        Training(partial(data.multilabel, 2000, 5), "60 relu, 50 relu, 5 softmax", "binary", "adam", 1e-3, 32, 300),
        {"layers": "60 relu, 50 relu, 5 sigmoid"},
    ),
    Program(
        "44066044",
        "inputs not scaled (output ReLU for labels 0/1)",
        ("inputs not scaled", "output range"),
        "yes",
        "stand-in",
        "own",
        Training(PACKETS, "12 relu, 12 relu, 1 relu", "binary", "adam", 1e-3, 5, 500, start="normal"),
        {"data": scaled(PACKETS), "layers": "12 relu, 12 relu, 1 sigmoid"},
    ),
    Program(
        "45442843",
        "loss; optimizer; activation; epochs",
        ("softmax over one unit", "loss does not fit the outputs"),
        "no",
        "stand-in",
        "own",
        Training(data.one_column, "1 sigmoid, 1 softmax", "mae", "rmsprop", 1e-3, 200, 400),
        {"layers": "1 sigmoid, 1 sigmoid", "loss": "mse", "optimizer": "adam", "rate": 0.01, "steps": 800},
    ),
    Program(
        "31627380",
        "softmax over one unit + categorical cross-entropy",
        ("softmax over one unit",),
        "yes",
        "stand-in",
        "own",
        Training(TITANIC, "512 relu, drop 0.5, 1 softmax", "categorical", "adam", 1e-3, 4, 400),
        {"layers": "512 relu, drop 0.5, 1 sigmoid", "loss": "binary", "optimizer": "sgd", "rate": 0.01},
        left=("inputs not scaled",),
    ),
    Program(
        "58609115",
        "categorical cross-entropy over one unit (its loss is 0 and so is its gradient)",
        ("softmax over one unit", "loss does not fit the outputs"),
        "yes",
        "stand-in",
        "described",
        Training(data.pairs_of_clusters, "32 relu, 16 relu, 1 sigmoid", "categorical", "adam", 1e-3, 32, 200),
        {"loss": "binary"},
    ),
    Program(
        "41600519",
        "optimizer; loss; layers",
        (),
        "no",
        "stand-in",
        "smaller",
        Training(
            data.particles,
            "60 relu, drop 0.5, 40 relu, drop 0.5, 10 relu, drop 0.5, 1 sigmoid",
            "binary",
            "rmsprop",
            1e-3,
            1,
            500,
        ),
        {"loss": "mse", "optimizer": "adam", "layers": "60 relu, 40 relu, 1 sigmoid"},
        left=("inputs not scaled",),
    ),
    Program(
        "42514960",
        "activation: autoencoder with ReLU bottleneck, targets of both signs",
        ("output range",),
        "partly",
        "stand-in",
        "described",
        Training(data.signs, "16 relu, 4 relu, 16 relu, 32 relu", "mse", "adam", 1e-3, 32, 300),
        {"layers": "16 tanh, 4 tanh, 16 tanh, 32 tanh"},
    ),
    Program(
        "42800203",
        "softmax over one unit",
        ("softmax over one unit",),
        "yes",
        "stand-in",
        "described",
        Training(
            data.pairs_of_clusters, "64 relu, drop 0.5, 64 relu, drop 0.5, 1 softmax", "binary", "adam", 1e-3, 32, 200
        ),
        {"layers": "64 relu, drop 0.5, 64 relu, drop 0.5, 1 sigmoid"},
    ),
    Program(
        "47932589",
        "inputs and targets not scaled",
        ("inputs not scaled", "targets not scaled"),
        "yes",
        "stand-in",
        "described",
        Training(SHOPS, "10 relu, 10 relu, 1", "mse", "adam", 1e-3, 32, 400),
        {"data": partial(data.both_to_one, SHOPS)},
    ),
    Program(
        "kaggle-melbourne_properties",
        "activation; architecture",
        (),
        "no",
        "stand-in",
        "described",
        Training(HOUSES, "20 relu, 20 relu, 1", "mse", "adam", 1e-3, 10, 400),
        {"layers": "64 relu, 32 relu, 1"},
        left=("inputs not scaled", "targets not scaled"),
    ),
    Program(
        "59282996",
        "epochs; labels that never occur; output size",
        ("too few steps",),
        "partly",
        "own",
        "own",
        Training(
            partial(data.labelled_steps, 3, 1), "lstm 20, drop 0.2, 3 sigmoid", "categorical", "sgd", 0.01, 20, 10, more=NESTEROV
        ),
        {"data": partial(data.labelled_steps, 2, 0), "layers": "lstm 20, drop 0.2, 2 sigmoid", "steps": 30},
        left=("loss does not fit the outputs",),
    ),
]
