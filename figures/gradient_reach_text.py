"""In English text a new RNN sends {rnn.before:.0e} of a gradient back 40 characters, a trained one {rnn.after:.0e}.

Each network predicts the next character of the opening of Alice's Adventures in Wonderland (1865) from 60 others.
Plotted is the gradient of the last prediction's loss with respect to the embedding of each character, relative to the
last one's, on text that was not trained on. In recurrent networks it decays with distance, less so once they are
trained. Causal self-attention (Vaswani et al. 2017) has a path of length 1 to each character: it starts out flat, and
training teaches it that near characters matter more. Asking which inputs a gradient sees follows Madsen (2019).
"""

from pathlib import Path

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vgdocs.experiments import band, band_traces, derive_seeds
from vgdocs.gradients import norms_of_gradients

SEED = 0
REPLICAS = 3  # networks of each kind
TEXT = Path(__file__).parent.joinpath("data/alice.txt").read_text(encoding="ascii")
CONTEXT = 60  # characters a prediction sees
TRAINED_ON = 5000  # characters; the rest is for the gradients
HIDDEN = 64  # units, and entries of an embedding
HEADS = 4  # of the attention
BATCH = 32  # windows a training step
TRAINING_STEPS = 200  # of Adam
LR = 5e-3  # its learning rate
FAR = 40  # distance of the numbers that pages cite, characters
KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU, "attention": None}
SWEEP = {"reason": "trained to see which characters a trained network's gradient reaches, not to compare accuracies"}
WIDER = {
    "rnn.before": (20.0, "a product of 40 random factors"),
    "lstm.before gru.before": (10.0, "a product of 40 random factors"),
    "rnn.after lstm.after": (60.0, "a product of 40 factors, moved by training"),
    "gru.after": (300.0, "a product of 40 factors, moved by training"),
    "attention.after": (12.0, "training decides what is attended to"),
}
TOLERANCE = {"rnn.after": 0.9, "lstm.after": 0.9, "gru.after": 0.9, "attention.after": 0.5}


class Reader(nn.Module):
    """Embedded characters (T, batch, hidden) to scores of each next character (T, batch, characters)."""

    def __init__(self, kind: type[nn.RNNBase] | None, characters: int) -> None:
        super().__init__()
        self.embedding, self.readout = nn.Embedding(characters, HIDDEN), nn.Linear(HIDDEN, characters)
        if kind:
            self.recurrent = kind(HIDDEN, HIDDEN)
        else:
            self.recurrent, self.position = None, nn.Parameter(torch.randn(CONTEXT, 1, HIDDEN))
            self.attention = nn.TransformerEncoderLayer(HIDDEN, HEADS, 2 * HIDDEN, dropout=0, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        if self.recurrent:
            return self.readout(self.recurrent(x)[0])
        mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)  # no character sees a later one
        return self.readout(self.attention(x + self.position, mask, is_causal=True))


def gradient_back(net: Reader, windows: Tensor) -> list[float]:
    """Norms of the last prediction's gradient with respect to the embeddings 0 to CONTEXT - 1 characters back."""
    embedded = [e.detach().requires_grad_() for e in net.embedding(windows[:-1])]  # T of (batch, hidden)
    norms = norms_of_gradients(cross_entropy(net(torch.stack(embedded))[-1], windows[-1]), embedded)[::-1]
    return [norm / norms[0] for norm in norms]


def run(kind: type[nn.RNNBase] | None, seed: int) -> dict:
    """Train one network; its gradients over distance before and after."""
    torch.manual_seed(seed)  # the layers draw their weights from the global generator
    generator = torch.Generator().manual_seed(seed)
    alphabet = sorted(set(TEXT))
    text = torch.tensor([alphabet.index(c) for c in TEXT])
    windows = text[:TRAINED_ON].unfold(0, CONTEXT + 1, 1)  # (windows, T + 1)
    unseen = text[TRAINED_ON:].unfold(0, CONTEXT + 1, 10).T  # (T + 1, windows)
    net = Reader(kind, len(alphabet))
    before = gradient_back(net, unseen)
    adam = torch.optim.Adam(net.parameters(), lr=LR)
    for _ in range(TRAINING_STEPS):
        x = windows[torch.randint(len(windows), (BATCH,), generator=generator)].T  # (T + 1, batch)
        loss = cross_entropy(net(net.embedding(x[:-1])).flatten(0, 1), x[1:].flatten())
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
    return {"before": before, "after": gradient_back(net, unseen)}


def measure(seed: int = SEED) -> dict:
    """Gradients over distance of each kind of network, before and after training."""
    m = {}
    for name, kind in KINDS.items():
        curves = band([run(kind, s) for s in derive_seeds(seed, REPLICAS)])
        m[name] = {"curves": curves} | {when: curve["median"][FAR] for when, curve in curves.items()}
    return m


def draw(m: dict) -> go.Figure:
    """Gradients over distance, above before and below after training."""
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    labels = ["RNN", "LSTM", "GRU", "self-attention"]
    roles = ["vanishing", None, None, "healthy"]
    for row, when in [(1, "before"), (2, "after")]:
        for name, label, role in zip(KINDS, labels, roles, strict=True):
            fig.add_traces(band_traces(range(CONTEXT), m[name]["curves"][when], label, role), rows=row, cols=1)
        fig.update_yaxes(title=f"‖∂L/∂e‖ {when} training", row=row, col=1)
    return fig.update_xaxes(title="characters back", row=2, col=1).update_yaxes(type="log")


def claim_recurrent_gradients_vanish_before_training(m):
    """Before training {rnn.before:.0e} of the last character's gradient reaches the one 40 characters back in an RNN,
    {lstm.before:.0e} in an LSTM and {gru.before:.0e} in a GRU."""
    assert 2.5e-15 < m["rnn"]["before"] < 7e-13
    assert 8e-10 < m["lstm"]["before"] < 6e-8
    assert 8e-10 < m["gru"]["before"] < 4e-8


def claim_training_extends_the_reach(m):
    """After 200 training steps more of the gradient gets 40 characters back, and still little: {rnn.after:.0e} in an
    RNN, {lstm.after:.0e} in an LSTM and {gru.after:.0e} in a GRU."""
    assert 2e-8 < m["rnn"]["after"] < 2e-5
    assert 5e-6 < m["lstm"]["after"] < 3e-3
    assert 2e-8 < m["gru"]["after"] < 2e-4
    assert all(m[name]["after"] > 10 * m[name]["before"] for name in ("rnn", "lstm", "gru"))


def claim_attention_sees_all_distances_alike_at_first(m):
    """Self-attention starts with {attention.before:.4f} of the last character's gradient 40 characters back, and
    within a factor of two with as much at every other distance."""
    curve = m["attention"]["curves"]["before"]["median"][1:]
    assert 0.0043 < m["attention"]["before"] < 0.0085
    assert max(curve) / min(curve) < 2


def claim_attention_reaches_further_after_training(m):
    """After training self-attention has {attention.after:.3f} of the last character's gradient left 40 characters back,
    more than the median of any recurrent kind."""
    assert 0.004 < m["attention"]["after"] < 0.15
    lowest = m["attention"]["curves"]["after"]["lo"][FAR]
    assert all(lowest > 5 * m[name]["after"] for name in ("rnn", "lstm", "gru"))
