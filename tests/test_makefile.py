"""README's commands for a machine without make are those of the Makefile."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGET = re.compile(r"^([a-z-]+):[^\n]*##[^\n]*\n((?:\t[^\n]+\n)*)", re.MULTILINE)
RECIPES = TARGET.findall((ROOT / "Makefile").read_text("utf-8"))
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))


def commands(recipe: str) -> list[str]:
    """The commands of a recipe, as they are typed in an environment that has been entered."""
    typed = []
    for line in recipe.splitlines():
        command = re.sub(r"^@?([A-Z_]+=\S* )*", "", line.strip()).replace("$(BIN)/", "")
        command = re.sub(r"^\$\(if \$\(NPM\),([^,]+),.*", r"\1", command)
        command = command.replace('"$(VERSION)"', "1.0").replace(" $(ARGUMENTS)", "")
        command = command.replace("$(SEEDS)", "101..110")
        if not command.startswith(("echo ", "rm ", "sed ")):
            typed.append(command)
    return typed


def test_every_target_has_a_row():
    assert {name for name, _ in RECIPES} - {"help"} == ROWS.keys()


@pytest.mark.parametrize(("target", "recipe"), [pair for pair in RECIPES if pair[0] != "help"])
def test_a_row_has_the_commands_of_its_recipe(target, recipe):
    quoted = re.findall(r"`([^`]+)`", ROWS[target])
    told = [text for text in quoted if re.match(r"(mkdocs|vgdocs|python|ruff|mypy|npm run)\b", text)]
    assert told == commands(recipe)
