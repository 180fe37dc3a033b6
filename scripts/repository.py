"""Git, as the scripts ask it, and how they stop."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import NoReturn


def stop(*lines: str) -> NoReturn:
    print(*lines, sep="\n", file=sys.stderr)
    sys.exit(2)


def tell(text: str) -> None:
    print(text, file=sys.stderr)


def git(*arguments: str) -> str | None:
    """What git prints, or None where it fails."""
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    result = subprocess.run(["git", *arguments], env=environment, capture_output=True, encoding="utf-8")
    return result.stdout.rstrip("\n") if result.returncode == 0 else None


def must(*arguments: str) -> str:
    output = git(*arguments)
    if output is None:
        stop(f"git {' '.join(arguments)} failed")
    return output
