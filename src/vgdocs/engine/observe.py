"""The files that a measurement opens, looks for and lists, observed while it runs.

Python tells an audit hook of every file that is opened, whatever library asks for it (PEP 578), and imports open
their modules too. Not seen is what C code opens by itself (HDF5, a memory-mapped `torch.load`), what another process
reads beyond the files named in its command, and the network. `open(path).close()` in the script names such a file.

What is installed counts by its version and not by its files; this package counts by its files wherever it lies.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = Path(os.path.realpath(__file__)).parents[1]
OURS = "vgdocs:"  # begins the place of one of this package's files
MISSING, PRESENT, NAMES = "missing", "present", "names "  # states of what is not read: looked for, or listed
INSTALLED = tuple(
    os.path.normcase(f"{os.path.realpath(folder)}{os.sep}")
    for folder in {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
        *([sys.prefix] if sys.prefix != sys.base_prefix else []),
    }
)
SYSTEM = ("/dev/", "/proc/", "/sys/")
IMPORTS = (  # whose code it is, as code names its file
    *("<frozen importlib", os.path.dirname(importlib.util.__file__)),
    os.path.join(sysconfig.get_path("purelib"), "importlib_metadata"),  # takes its place, where a library brings it
)


def hold(inputs: Mapping[str, str], root: Path) -> bool:
    """Whether all that a measurement read is as it was; `root` is the project's folder."""
    return all(_state(_path(place, root), was) == was for place, was in inputs.items())


def files(inputs: Mapping[str, str], root: Path) -> list[Path]:
    """The files and folders among the inputs, those too that were looked for and not found, for a server to watch."""
    return [_path(place, root) for place in list(inputs)]  # another thread of a server may be noting one still


def stamp(path: Path) -> tuple[int, int]:
    """A cheap sign of a file's or a folder's state: when it was written, and its size; zeros if it isn't there."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def sources(inputs: Mapping[str, str], root: Path) -> list[str]:
    """The texts of the Python files among the inputs."""
    paths = [path for path in files(inputs, root) if path.suffix == ".py"]
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file()]


class Watch:
    """Notes what is read while the block runs, in this process and by any of its threads.

    After it, `inputs` maps each place to the state in which it was found first: the digest of a file's content, of
    Python code without comments; the names in a folder that was listed; or whether something was there at all. A
    place is relative to the project's folder where it lies below it. What the block itself writes is no input.
    """

    _running: Watch | None = None  # the one that the hook, which Python never lets go, reports to

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs: dict[str, str] = {}
        self._written: set[str] = set()
        self._noting = threading.local()  # whoever notes a file opens it too
        self._stat = os.stat

    def __enter__(self) -> Watch:
        _add_hook()
        Watch._running = self
        os.stat = self._look  # no event tells of a file that was looked for
        for supporting in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            supporting.add(os.stat)
        sys.meta_path.append(self)  # asked last, for what no one has found
        return self

    def __exit__(self, *error: object) -> None:
        sys.meta_path.remove(self)
        os.stat = self._stat
        Watch._running = None

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        """Note where a module would be that isn't there, if it wasn't an installed one that tried it."""
        frame: FrameType | None = sys._getframe(1)
        while frame and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        if frame and _place(frame.f_code.co_filename, self.root) is not None:
            last = name.rpartition(".")[2]
            for folder in sys.path if path is None else path:
                self.note(os.path.join(folder, f"{last}.py"), PRESENT, below=True)
                self.note(os.path.join(folder, last, "__init__.py"), PRESENT, below=True)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note what an audit event says of files."""
        if event == "open":
            path, mode, flags = arguments
            if _quotes_code(path, sys._getframe(2).f_back):
                return
            if not (set(mode) & set("wax") if mode else flags & (os.O_WRONLY | os.O_TRUNC | os.O_EXCL)):
                self.note(path)
            elif (place := _place(path, self.root)) is not None and place not in self.inputs:
                self._written.add(place)
        elif event == "sqlite3.connect":
            self.note(arguments[0])
        elif event in ("os.listdir", "os.scandir"):
            if not sys._getframe(2).f_code.co_filename.startswith(IMPORTS):  # which look for modules and packages
                self.note("." if arguments[0] is None else arguments[0], NAMES, below=True)
        elif event == "subprocess.Popen":
            _, command, folder, _ = arguments
            for word in [command] if isinstance(command, str | bytes | os.PathLike) else command:
                path = os.path.join(os.fsdecode(folder or "."), os.fsdecode(word))
                if os.path.isfile(path):
                    self.note(path, below=True)

    def note(self, path: Any, kind: str = "", below: bool = False) -> None:
        """Note the state of a path; with `below` only if it lies in the project's folder."""
        if getattr(self._noting, "now", False):
            return
        self._noting.now = True
        try:
            place = _place(path, self.root)
            if place is None or place in self._written or (below and os.path.isabs(place)):
                return
            path = _path(place, self.root)
            if self.inputs.get(place, MISSING) not in (MISSING, PRESENT):
                return
            state = _state(path, kind)
            if state and not (state in (MISSING, PRESENT) and str(path) in sys.path):  # where imports look
                self.inputs[place] = state
        finally:
            self._noting.now = False

    def _look(self, path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if not _quotes_code(path, sys._getframe(1)):
            self.note(path, PRESENT, below=True)
        return self._stat(path, *arguments, **options)


@cache
def _add_hook() -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if Watch._running:
            Watch._running.heard(event, arguments)

    sys.addaudithook(hook)


def _quotes_code(path: Any, asks: FrameType | None) -> bool:
    """Whether a file is wanted to quote its lines in a warning or a traceback."""
    return str(path).endswith(".py") and asks is not None and asks.f_globals.get("__name__") == "linecache"


def _place(path: Any, root: Path) -> str | None:
    """An input's name, the same on every machine; None for what is no file, or is installed."""
    if isinstance(path, int):
        return None  # a descriptor: what it stands for was opened before
    try:
        name = os.path.abspath(os.fsdecode(path))
    except (TypeError, ValueError):
        return None
    if name.endswith(".pyc"):
        with contextlib.suppress(ValueError, NotImplementedError):
            name = importlib.util.source_from_cache(name)
    real = os.path.realpath(name)
    if Path(real).is_relative_to(PACKAGE):
        return f"{OURS}{Path(real).relative_to(PACKAGE).as_posix()}"
    if os.path.normcase(real).startswith(INSTALLED) or name.startswith(SYSTEM):
        return None
    for known, base in ((name, root), (real, Path(os.path.realpath(root)))):
        if Path(known).is_relative_to(base):
            return Path(known).relative_to(base).as_posix()
    return Path(name).as_posix()


def _path(place: str, root: Path) -> Path:
    return PACKAGE / place.removeprefix(OURS) if place.startswith(OURS) else root / place


def _state(path: Path, kind: str) -> str:
    """The state of a path now, of the same kind as another state of it; empty for what can't be read."""
    with contextlib.suppress(OSError):
        if kind.startswith(NAMES):
            names = sorted(name for name in os.listdir(path) if not name.startswith((".", "__pycache__")))
            return f"{NAMES}{digest(chr(0).join(names).encode(errors='surrogateescape'))}"
        if kind in (MISSING, PRESENT):
            return PRESENT if path.exists() else MISSING
        if path.is_file() and path.suffix == ".py":
            return _code(path.read_bytes())
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    return "" if path.exists() else MISSING


@lru_cache(maxsize=1024)
def _code(text: bytes) -> str:
    """The digest of Python code as it runs: comments and layout don't count."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError):
        text = ast.unparse(ast.parse(text)).encode()
    return digest(text)


def digest(content: bytes) -> str:
    """A content's name: half of its SHA-256."""
    return hashlib.sha256(content).hexdigest()[:32]
