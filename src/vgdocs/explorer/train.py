"""The networks that the page "Watch it train" trains: what can be set, how a link says it, and each as PyTorch code.

`OPTIONS`, `TEMPLATE` and `FILLINGS` are data, because the page's engine reads and fills in the same ones. They are
written to docs/assets/train/settings.js. The script is also how `vgdocs train` measures: there is no second
implementation in PyTorch.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

ASSETS = "docs/assets/train"  # from the project's root
ACTIVATIONS = ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "gelu", "silu"]
RECURRENT = ["rnn", "lstm", "gru"]
TOYS = ["spirals", "circles", "moons", "xor"]
SEQUENCES = {"values": ["first", "middle"], "default": "first"}
INITS = ["pytorch", "xavier", "he", "lecun", "orthogonal"]
NORMS = ["none", "batch", "layer", "rms"]
SKIPS = ["none", "residual", "scaled", "rezero"]
RATES = {"sgd": 0.1, "momentum": 0.01, "rmsprop": 0.001, "adam": 0.001}  # of each optimizer, unless it is said

# What each key of a setting may be: one of `values`, or a number from `least` to `most`. Where that hangs on an earlier
# key, `by` names it and `per` has the difference for each of its values. `nets` are those that have the key; else all.
OPTIONS: dict[str, dict[str, Any]] = {
    "net": {"label": "Network", "values": ["mlp", *RECURRENT], "default": "mlp"},
    "data": {
        "label": "Data",
        "by": "net",
        "per": {"mlp": {"values": ["digits", *TOYS], "default": "digits"}, **dict.fromkeys(RECURRENT, SEQUENCES)},
    },
    "depth": {"label": "Hidden layers", "least": 1, "most": 50, "whole": True, "default": 20, "nets": ["mlp"]},
    "width": {"label": "Width", "least": 4, "most": 64, "whole": True, "default": 32},
    "length": {"label": "Time steps", "least": 10, "most": 200, "whole": True, "default": 50, "nets": RECURRENT},
    "activation": {"label": "Activation", "values": ACTIVATIONS, "default": "sigmoid", "nets": ["mlp"]},
    "init": {"label": "Initialisation", "values": INITS, "default": "pytorch"},
    "gain": {"label": "Times", "least": 0.001, "most": 1000, "default": 1},
    "norm": {"label": "Normalisation", "values": NORMS, "default": "none", "nets": ["mlp"]},
    "skip": {"label": "Skip", "values": SKIPS, "default": "none", "nets": ["mlp"]},
    "forget": {"label": "Forget-gate bias", "least": -10, "most": 10, "default": 0, "nets": ["lstm"]},
    "optimizer": {"label": "Optimiser", "values": list(RATES), "default": "sgd"},
    "lr": {
        "label": "Learning rate",
        "least": 0.000001,
        "most": 1000,
        "by": "optimizer",
        "per": {optimizer: {"default": rate} for optimizer, rate in RATES.items()},
    },
    "warmup": {"label": "Warm-up steps", "least": 0, "most": 10000, "whole": True, "default": 0},
    "clip": {"label": "Clip the norm at", "least": 0, "most": 1000, "default": 0},
    "batch": {"label": "Batch", "least": 1, "most": 256, "whole": True, "default": 64},
    "seed": {"label": "Seed", "least": 0, "most": 2**31 - 1, "whole": True, "default": 0},
}

# `{{name}}` stands for the setting's own value or for an entry of FILLINGS, which may hold such names again: the text
# that its key `by` asks for, or else the one called "*".
TEMPLATE = '''\
import itertools
import math

import torch
import torch.nn.functional as F
{{imports}}from torch import nn

SEED, STEPS = {{seed}}, 100
{{sizes}}
BATCH, GAIN, LR = {{batch}}, {{gain}}, {{lr}}


class Random:
    """SplitMix32: a number is a hash of its place, so that any program can draw the same ones."""

    def __init__(self, seed):
        self.place = mix(seed)

    def uniform(self, *shape):
        """Between 0 and 1, row by row."""
        places = self.place + 0x9E3779B9 * torch.arange(1, math.prod(shape) + 1)
        self.place = places[-1].item()
        return (mix(places).view(shape).double() + 0.5) / 2**32

    def normal(self, *shape):
        """Of variance 1, after Box and Muller."""
        u, v = self.uniform(*shape, 2).unbind(-1)
        return (-2 * u.log()).sqrt() * (2 * math.pi * v).cos()


def mix(x):
    """A hash of 32 bits."""
    x = x % 2**32
    x = (x ^ x >> 16) * 0x21F0AAAD % 2**32
    x = (x ^ x >> 15) * 0x735A2D97 % 2**32
    return x ^ x >> 15


draws, data = Random(2 * SEED), Random(2 * SEED + 1)  # of the weights, layer by layer; of points and batches
{{uniform}}

def weight(rows, columns):
    {{weight}}


{{network}}


def norm(gradient):
    size = gradient.abs().max()  # taken out, because the squares could underflow or overflow
    return (size * (gradient / size).norm() if 0 < size < math.inf else size).item()


def train():
    """Each step's number, loss and gradients' norms, before clipping and the update."""
    parameters = list(model.parameters())
    optimizer = {{optimiser}}
    for step in itertools.count():
        inputs, labels = batch()
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        yield step, loss.item(), [norm(x.grad) for x in {{watched}}]{{clipping}}{{warming}}
        optimizer.step()


if __name__ == "__main__":
    for step, loss, gradients in itertools.islice(train(), STEPS):
        print(f"{step:4d}  loss {loss:.12g}  gradients", *(f"{gradient:.6g}" for gradient in gradients))
'''
UNIFORM = '''

def uniform(fan_in, *shape):
    """Weights or biases as PyTorch's layers start with."""
    return (2 * draws.uniform(*shape) - 1) / fan_in**0.5
'''
MLP = """\
{{points}}


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(n, WIDTH) for n in [x.shape[1]] + (DEPTH - 1) * [WIDTH])
        self.norm = nn.ModuleList({{norms}} for _ in range(DEPTH)){{alpha}}
        self.output = nn.Linear(WIDTH, CLASSES)

    def forward(self, h):
        for layer in range(DEPTH):
            z = self.norm[layer](self.hidden[layer](h))
            h = {{step}}
        return self.output(h)


model = Network().double()  # float32 underflows where a gradient vanishes
layers = [*model.hidden, model.output]
for layer in layers:
    layer.weight.data = GAIN * weight(layer.out_features, layer.in_features)
    layer.bias.data = {{bias}}


def batch():
    rows = (data.uniform(BATCH) * len(x)).long()
    return x[rows], y[rows]"""
RECURRENT_NETWORK = """\
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.{{cell}}(SYMBOLS, WIDTH)
        self.output = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, sequence):  # (LENGTH, BATCH, SYMBOLS)
        {{start}} = torch.zeros(BATCH, WIDTH, dtype=torch.float64)
        self.h = []
        for symbol in sequence:
            {{next}}
            h.retain_grad()
            self.h.append(h)
        return self.output(h)


model = Network().double()  # float32 underflows where a gradient vanishes
for name, parameter in model.named_parameters():
    if name == "cell.weight_hh":  # a block for each gate
        parameter.data = GAIN * torch.cat([weight(WIDTH, WIDTH) for _ in range(len(parameter) // WIDTH)])
    else:
        parameter.data = uniform(WIDTH, *parameter.shape){{forgetting}}


def batch():
    symbols = (data.uniform(LENGTH, BATCH) * SYMBOLS).long()
    return F.one_hot(symbols, SYMBOLS).double(), symbols[{{place}}]"""
DIGITS = """\
pixels, y = load_digits(return_X_y=True)
pixels, _, y, _ = train_test_split(pixels, y, test_size=360, random_state=0, stratify=y)
x, y = torch.tensor((pixels - pixels.mean()) / pixels.std()), torch.tensor(y)"""
TOY = """\
y = torch.arange(400) % 2
sign = 1 - 2 * y
t, s, *noise = data.uniform(400, 4).T
{{toy}}
x = torch.stack(x, 1) + 0.05 * (2 * torch.stack(noise, 1) - 1)"""
FILLINGS: dict[str, dict[str, str]] = {
    "imports": {
        "by": "data",
        "digits": "from sklearn.datasets import load_digits\nfrom sklearn.model_selection import train_test_split\n",
        "*": "",
    },
    "sizes": {
        "by": "net",
        "mlp": "CLASSES, DEPTH, WIDTH = {{classes}}, {{depth}}, {{width}}",
        "*": "SYMBOLS, LENGTH, WIDTH = 4, {{length}}, {{width}}",
    },
    "classes": {"by": "data", "digits": "10", "*": "2"},
    "uniform": {"by": "net", "mlp": "{{as_pytorch}}", "*": UNIFORM},
    "as_pytorch": {"by": "init", "pytorch": UNIFORM, "*": ""},
    "weight": {
        "by": "init",
        "pytorch": "return uniform(columns, rows, columns)",
        "xavier": "return draws.normal(rows, columns) * (2 / (rows + columns)) ** 0.5",
        "he": "return draws.normal(rows, columns) * (2 / columns) ** 0.5",
        "lecun": "return draws.normal(rows, columns) / columns**0.5",
        "orthogonal": """q, r = torch.linalg.qr(draws.normal(max(rows, columns), min(rows, columns)))
    q = q * r.diagonal().sign()
    return q if rows >= columns else q.T""",
    },
    "network": {"by": "net", "mlp": MLP, "*": RECURRENT_NETWORK},
    "points": {"by": "data", "digits": DIGITS, "*": TOY},
    "toy": {
        "by": "data",
        "spirals": "angle = math.pi * (3.5 * t + y)\nx = t * angle.cos(), t * angle.sin()",
        "circles": "angle, r = 2 * math.pi * t, 1 - 0.6 * y.double()\nx = r * angle.cos(), r * angle.sin()",
        "moons": "angle = math.pi * t\nx = sign * (angle.cos() - 0.5), sign * (angle.sin() - 0.25)",
        "xor": "x = 2 * t - 1, (2 * t - 1).sign() * sign * s",
    },
    "norms": {
        "by": "norm",
        "none": "nn.Identity()",
        "batch": "nn.BatchNorm1d(WIDTH)",
        "layer": "nn.LayerNorm(WIDTH)",
        "rms": "nn.RMSNorm(WIDTH)",
    },
    "alpha": {"by": "skip", "rezero": "\n        self.alpha = nn.Parameter(torch.zeros(DEPTH))", "*": ""},
    "step": {
        "by": "skip",
        "none": "{{phi}}",
        "residual": "{{phi}} if layer == 0 else h + {{phi}}",
        "scaled": "{{phi}} if layer == 0 else h + {{phi}} / DEPTH**0.5",
        "rezero": "{{phi}} if layer == 0 else h + self.alpha[layer] * {{phi}}",
    },
    "phi": {
        "by": "activation",
        "linear": "z",
        **{name: f"torch.{name}(z)" for name in ("sigmoid", "tanh", "relu")},
        "*": "F.{{activation}}(z)",
    },
    "bias": {
        "by": "init",
        "pytorch": "uniform(layer.in_features, layer.out_features)",
        "*": "torch.zeros_like(layer.bias.data)",
    },
    "cell": {"by": "net", "rnn": "RNNCell", "lstm": "LSTMCell", "gru": "GRUCell"},
    "start": {"by": "net", "lstm": "h = c", "*": "h"},
    "next": {"by": "net", "lstm": "h, c = self.cell(symbol, (h, c))", "*": "h = self.cell(symbol, h)"},
    "forgetting": {"by": "net", "lstm": "{{remembering}}", "*": ""},
    "remembering": {
        "by": "forget",
        "0": "",
        "*": "\nmodel.cell.bias_ih.data[WIDTH : 2 * WIDTH] += {{forget}}  # of input, forget, cell and output gate",
    },
    "place": {"by": "data", "first": "0", "middle": "LENGTH // 2"},
    "optimiser": {
        "by": "optimizer",
        "sgd": "torch.optim.SGD(parameters, lr=LR)",
        "momentum": "torch.optim.SGD(parameters, lr=LR, momentum=0.9)",
        "rmsprop": "torch.optim.RMSprop(parameters, lr=LR)",
        "adam": "torch.optim.Adam(parameters, lr=LR)",
    },
    "watched": {"by": "net", "mlp": "[layer.weight for layer in layers]", "*": "model.h"},
    "clipping": {"by": "clip", "0": "", "*": "\n        nn.utils.clip_grad_norm_(parameters, {{clip}})"},
    "warming": {
        "by": "warmup",
        "0": "",
        "*": '\n        optimizer.param_groups[0]["lr"] = LR * min(1, (step + 1) / {{warmup}})',
    },
}

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
Setting = dict[str, str | int | float]


def option(key: str, setting: Setting) -> dict[str, Any]:
    """What a key may be, given the keys before it; empty where the setting's net doesn't have it."""
    found = OPTIONS[key]
    if setting.get("net", "mlp") not in found.get("nets", OPTIONS["net"]["values"]):
        return {}
    return found | found["per"][setting[found["by"]]] if "by" in found else found


def parse(link: str) -> Setting:
    """The setting of a link to the page, or of its query alone; raises ValueError for what isn't one.

    A key that isn't given has its default; one that the network doesn't have isn't in the setting.
    """
    query = link.partition("#")[0]
    if "?" in query or "/" in query:
        query = query.partition("?")[2]
    given: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, _, text = pair.partition("=")
        if key not in OPTIONS:
            raise ValueError(f'there is no setting "{key}": it is {_listed(list(OPTIONS))}')
        if key in given:
            raise ValueError(f"{key} is given twice")
        given[key] = text
    setting: Setting = {}
    for key in OPTIONS:
        known = option(key, setting)
        if known:
            setting[key] = _read(key, known, given[key]) if key in given else known["default"]
        elif key in given:
            raise ValueError(f"{key} is for {_listed(OPTIONS[key]['nets'])}, not for {setting['net']}")
    if setting.get("norm") == "batch" and setting["batch"] == 1:
        raise ValueError("norm=batch needs a batch of at least 2")
    return setting


def _read(key: str, known: dict[str, Any], text: str) -> str | int | float:
    if "values" in known:
        if text not in known["values"]:
            raise ValueError(f"{key} is {_listed(known['values'])}, not {text}")
        return text
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    if not known["least"] <= value <= known["most"]:
        raise ValueError(f"{key} is {number(known['least'])} to {number(known['most'])}, not {text}")
    if known.get("whole") and value % 1:
        raise ValueError(f"{key} is a whole number, not {text}")
    return int(value) if value % 1 == 0 else value


def _listed(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def query(setting: Setting) -> str:
    """A setting as the query of its link, without what is a default."""
    said = {key: value for key, value in setting.items() if value != option(key, setting)["default"]}
    return "&".join(f"{key}={number(value)}" for key, value in said.items())


def number(value: str | int | float) -> str:
    """A number as JavaScript writes it, so that both write the same script; names stay what they are."""
    if not isinstance(value, float):
        return str(value)
    return format(Decimal(repr(value)), "f") if abs(value) >= 1e-6 else repr(value).replace("e-0", "e-")


def script(setting: Setting) -> str:
    """A plain PyTorch script that trains the setting's network and prints its losses and its gradients' norms."""

    def fill(match: re.Match[str]) -> str:
        filling = FILLINGS.get(match[1])
        if filling is None:
            return number(setting[match[1]])
        return filling.get(number(setting[filling["by"]]), filling.get("*", ""))

    text = TEMPLATE
    while "{{" in text:
        text = re.sub(r"\{\{(\w+)\}\}", fill, text)
    return text


def train(
    setting: Setting, prepare: Callable[[dict[str, Any]], None] = lambda program: None
) -> Iterator[dict[str, Any]]:
    """What the script measures, without end: dictionaries of `step`, `loss` and `gradients`, the input's side first.

    `prepare` is given the script's names, such as `model`, before the first step.
    """
    program: dict[str, Any] = {"__name__": "train"}
    exec(compile(script(setting), "train.py", "exec"), program)
    prepare(program)
    for step, loss, gradients in program["train"]():
        yield {"step": step, "loss": loss, "gradients": gradients}


def settings_js() -> str:
    """The content of docs/assets/train/settings.js."""
    shared = {"OPTIONS": OPTIONS, "TEMPLATE": TEMPLATE, "FILLINGS": FILLINGS}
    return f"Object.assign((globalThis.vgTrain ??= {{}}), {json.dumps(shared, separators=(',', ':'))});\n"


def digits_js() -> str:
    """The content of docs/assets/train/digits.js: the training images, a letter a pixel from a, 0, to q, 16."""
    program: dict[str, Any] = {}
    exec("import torch\n" + FILLINGS["imports"]["digits"] + DIGITS, program)
    pixels = "".join(chr(97 + int(value)) for value in program["pixels"].flatten())
    labels = "".join(map(str, program["y"].tolist()))
    return f"globalThis.vgTrainDigits = {json.dumps({'pixels': pixels, 'labels': labels})};\n"


def record(folder: Path) -> None:
    """Write what the page shares with this module."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.js").write_text(settings_js(), encoding="utf-8")
    (folder / "digits.js").write_text(digits_js(), encoding="utf-8")
