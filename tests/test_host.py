"""Whatever is installed works with what is installed: nothing here needs what torch and plotly alone don't bring."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SITE_TOOLS = ["bs4", "filelock", "jinja2", "jupytext", "markdown", "mike", "mkdocs"]
SITE_TOOLS += ["playwright", "py_mini_racer", "pymdownx", "sklearn", "yaml"]
HIDE = "import sys\nsys.modules |= dict.fromkeys({}, None)\n"
TRAINING = """
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).pow(2).mean().backward()
    optimizer.step()
"""


@pytest.fixture
def run(tmp_path):
    """Runs Python where the packages named can't be imported."""

    def run(*arguments: str, without: list[str]) -> subprocess.CompletedProcess[str]:
        (tmp_path / "sitecustomize.py").write_text(HIDE.format(without))
        path = os.pathsep.join([str(tmp_path), *sys.path])
        environment = os.environ | {"PYTHONPATH": path}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def test_pytest_runs_beside_us(run, tmp_path):
    Path(tmp_path, "test_one.py").write_text("def test_one():\n    assert True\n")
    without = [*SITE_TOOLS, "click", "torch", "plotly", "numpy"]
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_one.py"]
    result = run("-m", "pytest", *options, without=without)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


def test_the_probe_needs_none_of_the_sites_tools(run):
    code = "from vgdocs.probe import Probe, diagnose"
    result = run("-c", code, without=[*SITE_TOOLS, "click"])
    assert result.returncode == 0, result.stderr


def test_a_script_is_diagnosed_without_the_sites_tools(run, tmp_path):
    Path(tmp_path, "train.py").write_text(TRAINING)
    Path(tmp_path, "mkdocs.yml").write_text("plugins: [[[")  # of another project, and none of this command's business
    result = run("-m", "vgdocs", "diagnose", "train.py", "--report", "report.html", without=SITE_TOOLS)
    assert result.returncode == 0, result.stderr
    assert "model (Linear), 3 steps of SGD" in result.stdout
    assert Path(tmp_path, "report.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "missing", "extra"),
    [(["run"], "filelock", "site"), (["explore"], "torch", "probe"), (["diagnose", __file__], "torch", "probe")],
)
def test_the_command_says_what_to_install(run, arguments, missing, extra):
    result = run("-m", "vgdocs", *arguments, without=[missing])
    assert result.returncode == 1
    assert f"{missing} is not installed" in result.stderr
    assert f"pip install '.[{extra}]'" in result.stderr
    assert "Traceback" not in result.stderr
