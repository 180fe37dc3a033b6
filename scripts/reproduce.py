"""Measures the figures of a released version anew, and compares them with the numbers that it was released with.

Usage: python scripts/reproduce.py 1.0 [--python PATH]

The text is that of the tag, v1.0. It is unpacked into build/, gets an environment of its own by its own
constraints.txt, and measures each figure from nothing. Its own `vgdocs diff` compares: a number may move by the
tolerance that its script declared then. With --python nothing is installed: what that Python has measures the text.

Exits with 0 if each number is where it was, 1 if one moved, a claim failed or a figure couldn't be measured, and 2 if
nothing could be compared. The folder is removed however that ends; what was measured is kept beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from repository import git, stop, tell

BUILD = Path("build/reproduce")
NOT_OURS = ("VGDOCS_STORE", "VGDOCS_RUN", "PYTHONPATH", "PYTHONHOME")  # would bring in records or code from elsewhere


def call(*command: object, output: IO[str] | None = None, **settings: str) -> int:
    """The exit code of a command, which is over when this returns or raises."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS} | settings
    with subprocess.Popen([str(part) for part in command], stdout=output, env=environment) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise


def check(version: str) -> None:
    """Stop unless the version has a tag, and its tag the numbers that it was released with."""
    if not version:
        stop("Which version? make reproduce VERSION=1.0, or python scripts/reproduce.py 1.0")
    if git("rev-parse", "--verify", "--quiet", f"refs/tags/v{version}^{{commit}}") is None:
        tags = ", ".join((git("tag", "--list", "v[0-9]*", "--sort=version:refname") or "").split())
        stop(
            f"There is no tag v{version} here; there is {tags or 'none'}.",
            "A clone may lack tags that its remote has: git fetch --tags",
        )
    if git("cat-file", "-e", f"v{version}:./{numbers(version)}") is None:
        stop(f"The tag v{version} has no {numbers(version)}, so there is nothing to compare with.")


def numbers(version: str) -> str:
    """The file of the numbers that a version was released with."""
    return f"docs/about/releases/{version}.json"


def unpack(version: str, folder: Path) -> None:
    archive = folder.with_name(f"{version}.zip")
    try:
        if git("archive", f"--output={archive}", f"v{version}") is None:
            stop(f"git archive v{version} failed")
        shutil.unpack_archive(archive, folder)
    finally:
        archive.unlink(missing_ok=True)


def install(folder: Path) -> Path:
    """Make the environment that the version names, and give its Python."""
    tell("Installing what it was measured with (PyTorch among it; this takes a minute or two) ...")
    environment = folder / ".venv"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = (python, "-m", "pip", "install", "--disable-pip-version-check")
    wanted = ("-e", f"{folder}[site,experiments]", "-c", folder / "constraints.txt")
    if call(sys.executable, "-m", "venv", environment) or call(*pip, *wanted):
        stop(
            "The packages that its constraints.txt names can't be installed here, by this Python at least: "
            f"{sys.version.partition(' ')[0]}.",
            "Make an environment with others, and name its Python by --python.",
        )
    return python


def reproduce(version: str, folder: Path, python: Path | None) -> int:
    unpack(version, folder)
    settings = {}
    if python:
        paths = [str(folder / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        settings["PYTHONPATH"] = os.pathsep.join(paths)
    else:
        python = install(folder)
    vgdocs = (python, "-m", "vgdocs", "--root", folder)
    old, new, kept = folder / numbers(version), folder / "measured.json", BUILD / f"{version}.json"
    tell("Measuring every figure, from nothing ...")
    with new.open("w", encoding="utf-8") as file:
        failed = call(*vgdocs, "numbers", "--json", output=file, **settings)
    try:
        measured = json.loads(new.read_text("utf-8"))
    except ValueError:
        stop(f"The figures of version {version} could not be measured.")
    new.replace(kept)
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    tell(f"Measured with {versions}. The numbers are kept in {kept}.")
    moved = call(*vgdocs, "diff", old, kept, **settings)
    if moved > 1:
        stop(f"The numbers of version {version} could not be compared.")
    if not moved:
        print(f"Every number of version {version} is where it was, within its tolerance.")
    return 1 if failed or moved else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", nargs="?", default="")
    parser.add_argument("--python", type=Path, help="measure with what this Python has, and install nothing")
    asked = parser.parse_args()
    check(asked.version)
    folder = (BUILD / asked.version).resolve()
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        stop(f"{folder} is there: a run measures in it, or one that was killed did. Delete it if none runs.")
    try:
        return reproduce(asked.version, folder, asked.python and asked.python.absolute())
    except KeyboardInterrupt:
        tell(f"\nInterrupted; {folder} is removed.")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
