"""The command line: vgdocs init | new | run | show | numbers | diff | check | assets | explore | train."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

try:
    import click

    from vgdocs.engine import drift
    from vgdocs.engine.figure import SettingError, find
    from vgdocs.engine.library import CitationError, Library
    from vgdocs.engine.numbers import count, fill
    from vgdocs.engine.progress import bar
    from vgdocs.engine.runner import share
    from vgdocs.explorer.cli import explore, train
    from vgdocs.pages import settings, site_assets
    from vgdocs.pages.citations import Scanner
    from vgdocs.pages.report import report
except ModuleNotFoundError as error:
    if (error.name or "vgdocs").partition(".")[0] == "vgdocs":
        raise
    raise SystemExit(
        f"The command vgdocs needs the site's tools, of which {error.name} is not installed. In a checkout of the "
        "project run: pip install '.[site]' -c constraints.txt"
    ) from None

TEMPLATE = Path(__file__).parent / "template"  # of a project: one page, one figure
EXAMPLE = TEMPLATE / "figures/dice_mean.py"


def _read_shard(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    index, shares = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= shares:
        raise click.BadParameter("the second share of four is 2/4")
    return index, shares


class Failed(click.ClickException):
    """An error told in full, with exit code 1."""

    def show(self, file: object = None) -> None:
        click.secho(self.format_message(), err=True)


class Commands(click.Group):
    """Commands of which each tells by one message what is wrong with names, settings or files."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (CitationError, SettingError, drift.DriftError) as error:
            raise Failed(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="The folder with figures/ in it.",
)
@click.pass_context
def cli(context: click.Context, root: Path) -> None:
    """Figures that measure, pages that cite, claims that fail."""
    context.obj = settings.read(root.resolve()).library(root.resolve())


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--seed", "seeds", type=int, multiple=True, help="Measure with this seed; may be repeated.")
@click.option("--jobs", type=click.IntRange(min=1), help="Figures at a time; as many as there are cores.")
@click.option("--shard", callback=_read_shard, metavar="I/N", help="Measure only the I-th of N equal shares.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="On a GPU, the figures that can.")
@click.pass_obj
def run(
    library: Library,
    names: tuple[str, ...],
    seeds: tuple[int, ...],
    jobs: int | None,
    shard: tuple[int, int] | None,
    device: str,
) -> None:
    """Measure the figures named, or all, and run their claims."""
    chosen = _choose(library, names, shard, device)
    failures = []
    for seed in seeds or (None,):
        _refresh(library, chosen, seed=seed, jobs=jobs, device=device)
        heading = "" if seed is None else f"with seed {seed}: "
        failures += [f"{heading}{paragraph}" for paragraph in report(library)]
        click.echo(f"{heading}{_total(library)}")
    if failures:
        raise Failed("\n\n".join(failures))


@cli.command()
@click.argument("name")
@click.option("--browser", is_flag=True, help="Open the plot in a browser.")
@click.pass_obj
def show(library: Library, name: str, browser: bool) -> None:
    """Print a figure's finding, numbers and claims."""
    _refresh(library, [name])
    entry = library.figure(name)
    if entry.error:
        raise Failed(str(entry.error))
    assert entry.figure
    assert entry.record
    click.secho(entry.title, bold=True)
    click.echo()
    width = max(map(len, entry.numbers), default=0)
    for number, value in entry.numbers.items():
        click.echo(f"  {number:{width}}  {value!r}")
    click.echo()
    for claim in entry.figure.claims:
        verdict = entry.verdict(claim)
        mark = "holds" if verdict and verdict.passed else "FAILS"
        click.echo(f"  {mark}  {fill(claim.sentence, entry.numbers)}")
    versions = ", ".join(f"{k} {v}" for k, v in entry.record.versions.items())
    click.echo(f"\n  seed {entry.record.seed}, {entry.record.seconds:.1f} s, {versions}")
    if browser:
        import plotly.graph_objects as go

        go.Figure(entry.record.plot).show(renderer="browser")


@cli.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def init(folder: Path) -> None:
    """Write a project to begin with: one page and one figure, which build, serve and test."""
    sources = [path for path in sorted(TEMPLATE.rglob("*")) if path.is_file()]
    targets = {path: folder / path.relative_to(TEMPLATE) for path in sources if path.suffix != ".pyc"}
    targets[TEMPLATE / "gitignore"] = folder / ".gitignore"
    if there := [target.name for target in targets.values() if target.exists()]:
        raise Failed(f"Nothing is written: {folder} has {', '.join(there)} already")
    for source, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text("utf-8"), "utf-8")
        click.echo(f"{target} is written.")
    click.echo("Go there and see it with `mkdocs serve`; `mkdocs build --strict` and `pytest` hold it to its claims.")


@cli.command()
@click.argument("name")
@click.pass_obj
def new(library: Library, name: str) -> None:
    """Write a figure script that keeps the contract and runs, for you to change."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise click.BadParameter("a figure's name is lower_snake_case: pages cite it")
    path = library.folder / f"{name}.py"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE.read_text("utf-8"))
    except FileExistsError:
        raise Failed(f"{path} exists already") from None
    click.echo(f"{library.figures}/{name}.py is written. Measure it with `vgdocs run {name}`; show it in a page with")
    click.echo(f"\n/// figure | {name}\n\nThe caption.\n///")


@cli.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print the content of the site's numbers.json.")
@click.option("--slowest", is_flag=True, help="Print the measuring times, slowest first, as shares of the whole.")
@click.option("--accept", is_flag=True, help="Write what moved, is new or gone to tests/numbers.json.")
@click.pass_obj
def numbers(library: Library, names: tuple[str, ...], as_json: bool, slowest: bool, accept: bool) -> None:
    """Print every number that pages can cite."""
    _refresh(library, names or None)
    failures = report(library)
    if accept:
        if failures:
            raise Failed("\n\n".join([*failures, "Nothing is accepted while figures or claims fail."]))
        old, new = _accepted(library), library.summary()
        changes = [change for change in drift.compare(old, new) if not names or change.figure in names]
        path = library.root / drift.ACCEPTED
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(drift.accept(old, new, changes), indent=1) + "\n", encoding="utf-8")
        click.echo(drift.text_table(changes) if changes else "No number moved beyond its tolerance.")
    elif as_json:
        click.echo(json.dumps(library.summary(), indent=1, ensure_ascii=False))
    elif slowest:
        times = library.times()
        total = sum(times.values()) or 1.0
        for name, seconds in times.items():
            click.echo(f"{seconds:7.2f} s  {seconds / total:6.1%}  {name}")
        click.echo(f"{total:7.2f} s  in all, on one core")
    else:
        for entry in library.entries.values():
            for name, value in entry.numbers.items():
                click.echo(f"{entry.name}.{name} = {value!r}")
    if failures:
        raise Failed("\n\n".join(failures))


@cli.command()
@click.argument("old")
@click.argument("new")
@click.pass_context
def diff(context: click.Context, old: str, new: str) -> None:
    """Compare the numbers of two numbers.json files, built sites or deployed versions (1.0, REF:PATH).

    Exits with 1 if a number moved beyond its tolerance, is new or gone, like diff.
    """
    try:
        changes = drift.compare(drift.load(old, context.obj.root), drift.load(new, context.obj.root))
    except drift.DriftError as error:
        raise click.UsageError(str(error)) from None
    if changes:
        click.echo(drift.text_table(changes))
        context.exit(1)


@cli.command()
@click.argument("site", type=click.Path(exists=True, file_okay=False, path_type=Path), default="site")
@click.pass_obj
def check(library: Library, site: Path) -> None:
    """Hold a built site to its sources: every figure and number is there, nothing is left over."""
    from vgdocs.pages import site_check

    scanner = Scanner.of_site(library.root)
    found = site_check.check(site, library.root / scanner.docs, scanner)
    if found:
        raise Failed("\n".join(found))
    click.echo(f"{site}: every figure and number is where its page cites it")


@cli.command()
@click.argument("site", type=click.Path(exists=True, file_okay=False, path_type=Path), default="site")
def assets(site: Path) -> None:
    """Put what pages can't do without into a site that was built without the plugin: loader, style, Plotly, fonts."""
    site_assets.copy(site)
    click.echo(f"{site}: {count(len(site_assets.served()), 'file')} below assets/")


def _choose(library: Library, names: tuple[str, ...], shard: tuple[int, int] | None, device: str) -> list[str]:
    """The names of the figures to measure."""
    figures, errors = find(library.folder)
    if not figures and not errors:
        raise Failed(
            f"There is nothing to measure: {library.folder} holds no figure script; `vgdocs new NAME` writes one"
        )
    chosen = list(names) or [*figures, *errors]
    if device != "cpu":
        able = [name for name in chosen if name not in figures or figures[name].takes_device]
        unable = sorted(set(names) & figures.keys() - set(able))
        if unable or not able:
            raise Failed(f"{', '.join(unable) or 'Nothing here'} can't run on {device}: its measure() takes no device")
        chosen = able
    if shard:
        known = _accepted(library)["figures"]
        shared = share(chosen, *shard, {name: figure.get("seconds", 1.0) for name, figure in known.items()})
        if not shared:
            most = f"{count(len(chosen), 'figure')} can be split into {count(len(chosen), 'share')} at most"
            raise Failed(f"The share {shard[0]}/{shard[1]} is empty: {most}")
        chosen = shared
    return chosen


def _refresh(library: Library, names: Iterable[str] | None, **options: Any) -> None:
    with bar() as progress:
        library.refresh(names, progress=progress, **options)


def _accepted(library: Library) -> drift.Content:
    path = library.root / drift.ACCEPTED
    return drift.load(str(path), library.root) if path.exists() else {"figures": {}}


def _total(library: Library) -> str:
    entries = [entry for entry in library.entries.values() if entry.record]
    claims = sum(len(entry.figure.claims) for entry in entries if entry.figure)
    failed = sum(len(entry.failed) for entry in entries)
    return f"{count(len(entries), 'figure')}, {count(claims, 'claim')}, {failed} failed"


cli.add_command(explore)
cli.add_command(train)
