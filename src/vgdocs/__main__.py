"""`python -m vgdocs` is the command."""

from vgdocs.cli import cli

cli()
