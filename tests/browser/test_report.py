"""The page that `vgdocs diagnose --report` and `probe.report` write, opened from disk."""

from pathlib import Path

import pytest
import torch
from torch import nn

from vgdocs.probe import Probe

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "vendor/axe.min.js"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_it_opens_from_disk_fits_and_can_be_read(browser, tmp_path, scheme, width):
    torch.manual_seed(0)
    layers = [layer for _ in range(12) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(32, 8), torch.randint(3, (32,))
    with Probe(model, optimizer) as probe:
        for _ in range(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    probe.report(tmp_path / "report.html", title="train.py")
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    shown, asked, told = context.new_page(), [], []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("console", lambda message: told.append(message.text))
    shown.goto((tmp_path / "report.html").as_uri())
    assert len(asked) == 1
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    dark = shown.evaluate("getComputedStyle(document.documentElement).backgroundColor") != "rgb(253, 252, 249)"
    assert dark == (scheme == "dark")
    shown.evaluate(AXE.read_text("utf-8"))
    found = shown.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]] == []
    assert told == []
    context.close()
