"""The tutorial, followed word for word by a stranger: in an empty folder, from the built wheel alone."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from web import serve

pytestmark = [pytest.mark.browser, pytest.mark.posix(reason="the page is for its shell")]

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/about/your_own.md").read_text("utf-8")
BLOCK = re.compile(r'^```(?P<kind>\w+)(?: title="(?P<file>\S+)")?\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
WHERE = "export VGDOCS=~/vanishing-gradient\n"  # which each reader has elsewhere
SERVED = """\
import subprocess, sys, time, urllib.request
server = subprocess.Popen(["mkdocs", "serve", "--dev-addr", "localhost:{port}"])
for _ in range(600):
    try:
        page = urllib.request.urlopen("http://localhost:{port}/").read().decode()
    except OSError:
        page = ""
    if "dice_mean" in page and "being measured" not in page:
        break
    time.sleep(0.2)
server.terminate()
sys.exit("dice_mean" not in page or "being measured" in page)
"""


def script(port: int) -> str:
    """Everything that the page has its reader type or save, in its order, for bash."""
    steps = ["set -euo pipefail"]
    for block in BLOCK.finditer(TEXT):
        text = block["text"]
        if block["file"]:
            steps.append(f"cat > {block['file']} <<'END OF FILE'\n{text}END OF FILE")
        elif text == "mkdocs serve\n":  # for as long as it takes to look, at a port that is free
            steps.append(f"python - <<'END OF FILE'\n{SERVED.format(port=port)}END OF FILE")
        elif block["kind"] == "sh" and text != WHERE:
            steps.append(re.sub(r"^(.+?) +# fails$", r"! \1 > failed.txt 2>&1", text, flags=re.MULTILINE))
    return "\n".join(steps)


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> tuple[Path, str]:
    """The folder in which the page was followed, and what the shell said."""
    wheels, folder = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("stranger")
    make = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT]
    subprocess.run(make, check=True)
    (wheel,) = wheels.glob("vgdocs-*.whl")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VGDOCS", "PYTEST"))}
    environment = kept | {"VGDOCS": str(wheel), "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    result = subprocess.run(["bash", "-c", script(port)], cwd=folder, env=environment, **told)
    assert result.returncode == 0, result.stdout[-4000:]
    return folder, result.stdout


def test_the_page_is_followed_as_it_is_written():
    assert TEXT.count(WHERE) == 1
    assert script(0).count("! mkdocs build --strict") == 1
    kinds = [block["kind"] for block in BLOCK.finditer(TEXT)]
    assert (kinds.count("sh"), kinds.count("python"), kinds.count("markdown")) == (8, 1, 1)


def test_every_command_says_what_the_page_says(followed):
    folder, output = followed
    assert output.count(" is written.") == 5
    assert "1 figure, 1 claim, 0 failed" in output
    assert "In a group of 23, two share a birthday with probability 0.5" in output
    assert "site: every figure and number is where its page cites it" in output
    assert "2 passed" in output
    failed = (folder / "failed.txt").read_text()
    assert "claim_twenty_three_are_enough fails on this measurement" in failed
    assert "measured: shared.of_23 = 0.2" in failed
    assert "docs/birthdays.md:4, docs/birthdays.md:6, docs/birthdays.md:9" in failed


def test_nothing_of_ours_was_needed_and_no_torch(followed):
    folder, _ = followed
    python = folder / ".venv/bin/python"
    code = "import importlib.util, vgdocs; print(vgdocs.__file__, importlib.util.find_spec('torch'))"
    found = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(folder / ".venv"))
    assert found.endswith(" None\n")


def test_its_figures_are_drawn_offline(followed, profile):
    folder, _ = followed
    with serve(folder / "site") as address, profile(f"{address}/") as visitor:
        for name in ("", "birthdays/"):
            visitor.open(f"{address}/{name}")
            visitor.sees_the_figure()
        visitor.is_told_of("birthdays.shared.of_30")
