"""A real `mkdocs serve`: pages and scripts are broken and mended under it, and it answers throughout."""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import vgdocs

pytestmark = pytest.mark.posix("ends the server with its process group")

SECONDS = 90.0  # until something that never comes is given up; nothing here is that slow on its own

PAGE = """\
# Home

It is [[halving.last:.1e]].

/// figure | halving
///
"""

SHOWN = "9.8 × 10<sup>−4</sup>"


class Server:
    """`mkdocs serve` in a process of its own, asked for its page again and again."""

    def __init__(self, project, *arguments: str) -> None:
        self.log = project.root / "serve.log"
        command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", "127.0.0.1:0", *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=project.root, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.answers: list[int] = []
        self.failures: list[str] = []
        self._stopped = threading.Event()

    def port(self) -> int:
        """The port that the system gave to the server: no other process can have taken it meanwhile."""
        for connection in psutil.Process(self.process.pid).net_connections("inet4"):
            if connection.status == psutil.CONN_LISTEN:
                return connection.laddr.port
        raise ConnectionRefusedError("the server listens to no port")

    def get(self, path: str = "/") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            self.answers.append(response.status)
            return response.read().decode()

    def watch(self) -> None:
        """From now on, each request must be answered."""

        def ask() -> None:
            while not self._stopped.wait(0.1):
                try:
                    self.get()
                except OSError as error:
                    self.failures.append(repr(error))

        self._watcher = threading.Thread(target=ask)
        self._watcher.start()

    def until(self, *present: str, absent: tuple[str, ...] = ()) -> str:
        """The page, once it holds what it should and nothing that it shouldn't."""
        end = time.monotonic() + SECONDS
        html = ""
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(ConnectionError):  # not yet, or while it starts anew
                html = self.get()
            if all(text in html for text in present) and not any(text in html for text in absent):
                return html
            time.sleep(0.1)
        pytest.fail(f"{present} without {absent} never came; the page is\n{html[-3000:]}\n{self.log.read_text()}")

    def until_logged(self, words: str) -> None:
        end = time.monotonic() + SECONDS
        while words not in self.log.read_text():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        self._stopped.set()
        if hasattr(self, "_watcher"):
            self._watcher.join()
        if self.process.poll() is None:
            self.process.terminate()  # not SIGINT: what runs in the background of a shell ignores that
        try:
            self.process.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def serve(project):
    servers = []

    def serve(*arguments: str) -> Server:
        servers.append(Server(project, *arguments))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


def test_pages_and_scripts_are_broken_and_mended_under_a_server_that_answers_throughout(project, serve):
    page = project.page("index", PAGE)
    script = project.figures / "halving.py"
    good = {page: page.read_text(), script: script.read_text()}
    go = project.root / "go"
    wait = f"import os, time\n    while not os.path.exists({str(go)!r}):\n        time.sleep(0.05)\n    left ="
    project.edit(script, "left =", wait)
    server = serve("--strict")  # errors are shown, not counted

    # the page is up before its figure is measured, builds go on meanwhile, and then the page follows
    server.until("vg-pending", absent=("vg-number",))
    server.watch()
    page.write_text(f"{PAGE}\nA new sentence.\n")
    server.until("A new sentence.", "vg-pending", absent=("vg-number",))
    go.touch()
    server.until(SHOWN, "vg-plot", absent=("vg-pending",))

    page.write_text(good[page])
    script.write_text(good[script])
    server.until(SHOWN, "vg-plot", absent=("A new sentence.", "time.sleep"))
    for path, old, new, error in [
        (page, "halving.last", "halving.lst", "did you mean last or first?"),
        (page, "| halving", "| havling", "there is no figure &#x27;havling&#x27;"),
        (script, "0.5**n", "1 / 0", "figures/halving.py:13: raises ZeroDivisionError"),
        (script, "def measure", "def mesure", "has no measure(seed: int = SEED)"),
        (script, "def measure(", "def measure((", "isn&#x27;t Python"),
        (script, 'm["last"] ==', 'm["last"] ==7*', "measurement contradicts: After the first step"),
        (script, "{last:.2e} after", "{lst:.2e} after", "cites {lst}, which isn&#x27;t measured"),
        (script, "    left =", "    import os; os._exit(3)\n    left =", "died without a word: exit code 3"),
    ]:
        assert old in good[path]
        path.write_text(good[path].replace(old, new))
        server.until(error, "vg-error")
        path.write_text(good[path])
        server.until(SHOWN, "vg-plot", absent=(error, "vg-error"))

    assert server.failures == []
    assert set(server.answers) == {200}
    log = server.log.read_text()
    assert "docs/index.md:3: halving measures no number 'lst'; did you mean last or first?" in log
    assert "sentence: After the first step 0.5 is left" in log
    assert "The server will appear stuck" not in log


def test_every_edit_of_what_a_page_is_made_of_is_seen(project, serve, monkeypatch, tmp_path_factory):
    engine = project.root / "engine"
    shutil.copytree(Path(vgdocs.__file__).parent, engine / "vgdocs", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("PYTHONPATH", str(engine))
    config = project.root / "mkdocs.yml"
    config.write_text(f"{config.read_text()}  - pymdownx.snippets:\n      check_paths: true\n")
    snippet = project.root / "part.md"
    snippet.write_text("Words of a snippet.\n")
    data = tmp_path_factory.mktemp("elsewhere") / "steps.txt"
    script = project.script(
        head="from pathlib import Path\n\nimport plotly.graph_objects as go\n\n"
        f"SEED = 0\nSTEPS = Path({str(data)!r})\n",
        measure="""\
def measure(seed: int = SEED) -> dict:
    left = [0.5**n for n in range(int(STEPS.read_text()) + 1)]
    return {"left": left, "first": left[1], "last": left[-1]}
""",
        draw="""\
def draw(m: dict) -> go.Figure:
    return go.Figure(go.Scatter(x=list(range(len(m["left"]))), y=m["left"], name="left"))
""",
        claims='def claim_half(m):\n    """After the first step {first} is left."""\n    assert m["first"] == 0.5\n',
    )
    project.page("index", PAGE.replace("halving\n///", 'halving\n    code: measure\n///\n\n--8<-- "part.md"\n'))
    server = serve()
    server.until("raises FileNotFoundError", "Words of a snippet.")
    data.write_text("10")
    server.until(SHOWN, "vg-plot", "The code of", absent=("vg-error",))

    snippet.write_text("Other words.\n")
    server.until("Other words.")
    fresh = project.root / "fresh.md"  # many editors write another file and put it in the place of the first
    for words in ("Words in its place.", "Words in the place of those."):
        fresh.write_text(f"{words}\n")
        os.replace(fresh, snippet)
        server.until(words)
    snippet.unlink()
    server.until("The page fails", "part.md")
    snippet.write_text("It is back.\n")
    server.until("It is back.", SHOWN, absent=("vg-error",))

    data.write_text("20")
    server.until("9.5 × 10<sup>−7</sup>")
    data.unlink()
    server.until("raises FileNotFoundError")
    data.write_text("10")
    server.until(SHOWN, absent=("vg-error",))
    project.edit(script, "int(STEPS", "int(STEP")
    server.until("raises NameError")
    project.edit(script, "int(STEP", "int(STEPS")
    server.until(SHOWN, absent=("vg-error",))

    fragments, page = engine / "vgdocs/pages/fragments.py", engine / "vgdocs/pages/markdown.py"
    good = fragments.read_text()
    fragments.write_text(f"{good}\nthis is no Python\n")
    server.until_logged("can't be loaded; what was loaded before serves on")
    server.until(SHOWN)
    fragments.write_text(good)
    project.edit(page, "The code of <code>", "Here are the lines of <code>")
    server.until("Here are the lines of", SHOWN)
    data.write_text("20")  # which the server that was started anew follows too
    server.until("9.5 × 10<sup>−7</sup>")
    assert "The server will appear stuck" not in server.log.read_text()


def test_a_store_that_cannot_be_written_is_shown_in_the_page(project, serve, monkeypatch):
    (project.root / "file").write_text("")
    monkeypatch.setenv("VGDOCS_STORE", str(project.root / "file"))
    project.page("index", PAGE)
    server = serve()
    server.until("can&#x27;t be measured: the store isn&#x27;t writable")


def test_posters_that_cannot_be_drawn_are_told_once(project, serve, monkeypatch):
    """Drawing them ends with another build, which must not try again: that would go on for ever."""
    browser = project.root / "browser"
    browser.write_text("#!/bin/sh\nexit 1\n")
    browser.chmod(0o755)
    monkeypatch.setenv("VGDOCS_BROWSER", str(browser))
    monkeypatch.setenv("VGDOCS_POSTERS", "require")
    page = project.page("index", PAGE)
    server = serve()
    server.until(SHOWN, "vg-plot")
    for words in ("Other words.", "And others."):
        server.until_logged("could not draw them")
        page.write_text(f"{PAGE}\n{words}\n")
        server.until(words, SHOWN, absent=("vg-poster",))
    time.sleep(5)
    log = server.log.read_text()
    assert log.count("could not draw them") == 1, log
    assert log.count("Detected file changes") <= 4, log  # measured, drawn in vain, and two edits
