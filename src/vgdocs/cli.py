"""The command line: vgdocs diagnose watches a script of yours; the site's are
init | new | run | seeds | show | numbers | diff | check | assets | explore | train."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from vgdocs.explorer.cli import explore, train

LACKING: ModuleNotFoundError | None = None  # of what the site's commands need; `diagnose` needs none of it
TOLD: tuple[type[Exception], ...] = ()  # errors whose message is enough
try:
    from vgdocs.engine import drift
    from vgdocs.engine import seeds as certainty
    from vgdocs.engine.figure import SettingError, find
    from vgdocs.engine.library import CitationError, Entry, Library
    from vgdocs.engine.numbers import count, fill
    from vgdocs.engine.progress import bar
    from vgdocs.engine.record import make_keys
    from vgdocs.engine.runner import share
    from vgdocs.pages import settings, site_assets
    from vgdocs.pages.citations import Scanner
    from vgdocs.pages.report import report
except ModuleNotFoundError as error:
    LACKING = error
else:
    TOLD = (CitationError, SettingError, drift.DriftError)

EXTRAS = {"distributed": "cluster", "torch": "probe", "sklearn": "experiments"}  # that bring what `site` doesn't
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


def _read_seeds(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> list[int]:
    seeds: list[int] = []
    for value in values:
        match = re.fullmatch(r"(-?\d+)(?:\.\.(-?\d+))?", value)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise click.BadParameter(f"{value!r} is neither a seed nor a range of seeds, as 1..100 is")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


seed_option = click.option(
    "--seed", "seeds", callback=_read_seeds, multiple=True, metavar="N|N..M", help="Measure with these seeds."
)
jobs_option = click.option("--jobs", type=click.IntRange(min=1), help="Figures at a time; as many as there are cores.")
cluster_option = click.option(
    "--cluster", metavar="ADDRESS|local", help="Measure on the cluster of this Dask scheduler, or on one started here."
)


class Failed(click.ClickException):
    """An error told in full, with exit code 1."""

    def show(self, file: object = None) -> None:
        click.secho(self.format_message(), err=True)


class Commands(click.Group):
    """Commands that tell by one message which name, setting or file is wrong, or what isn't installed."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except TOLD as error:
            raise Failed(str(error)) from None
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("vgdocs"):
                raise
            why = f"vgdocs {context.invoked_subcommand} can't be run: {error.name} is not installed"
            install = f"pip install '.[{EXTRAS.get(error.name, 'site')}]' -c constraints.txt"
            raise Failed(f"{why}. In a checkout of the project run: {install}") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=".",
    help="The folder with figures/ in it.",
)
@click.pass_context
def cli(context: click.Context, root: Path) -> None:
    """Figures that measure, pages that cite, claims that fail; and `diagnose`, for a script of your own."""
    if context.invoked_subcommand == "diagnose":
        return
    if LACKING:
        raise LACKING
    context.obj = settings.read(root.resolve()).library(root.resolve())


@cli.command()
@click.argument("names", nargs=-1)
@seed_option
@jobs_option
@cluster_option
@click.option("--shard", callback=_read_shard, metavar="I/N", help="Measure only the I-th of N equal shares.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="On a GPU, the figures that can.")
@click.pass_obj
def run(
    library: Library,
    names: tuple[str, ...],
    seeds: list[int],
    jobs: int | None,
    cluster: str | None,
    shard: tuple[int, int] | None,
    device: str,
) -> None:
    """Measure the figures named, or all, and run their claims."""
    chosen = _choose(library, names, shard, device)
    failures = []
    sampled = _sample(library, chosen, seeds or [None], jobs, cluster, device)
    for seed, library.entries in sampled.items():
        heading = "" if seed is None else f"with seed {seed}: "
        failures += [f"{heading}{paragraph}" for paragraph in report(library)]
        click.echo(f"{heading}{_total(library)}")
    if failures:
        raise Failed("\n\n".join(failures))


@cli.command()
@click.argument("names", nargs=-1)
@seed_option
@jobs_option
@cluster_option
@click.option("--record", is_flag=True, help=f"Write the result to {certainty.RECORDED}, which a page shows.")
@click.pass_context
def seeds(
    context: click.Context,
    names: tuple[str, ...],
    seeds: list[int],
    jobs: int | None,
    cluster: str | None,
    record: bool,
) -> None:
    """Say how sure claims are: on how many seeds each holds, and by which margin.

    Without --seed, of the seeds that were measured already; the claims that will fail next, if any does, come first.
    """
    library: Library = context.obj
    chosen = _choose(library, names, None, "cpu")
    sampled = _sample(library, chosen, seeds, jobs, cluster)
    failures = [
        f"with seed {seed}: {entry.error}"
        for seed, entries in sampled.items()
        for entry in entries.values()
        if entry.error
    ]
    figures, _ = find(library.folder)
    found, records = [], []
    for name in (name for name in chosen if name in figures):
        tried = seeds or sorted(library.store.seeds(name))
        made = [library.store.find(name, make_keys(figures[name], seed)) for seed in tried]
        if len(there := [record for record in made if record]) > 1:
            found += certainty.sureness(figures[name], there)
            records += [replace(record, measured={}, plot={}) for record in there]
    if not found:
        raise Failed("\n\n".join(failures) or "No figure was measured with two seeds: name some, as in --seed 1..10")
    for one in certainty.thinnest(found)[: certainty.THINNEST]:
        margin = "     " if one.margin is None else f"{one.margin:5.2f}"
        fails = f"  fails with {', '.join(map(str, one.failed))}" if one.failed else ""
        click.echo(f"{one.held:>7}  {margin}  {one.figure}.{one.claim.removeprefix('claim_')}{fails}")
    failed = sum(bool(one.failed) for one in found)
    figures_asked = count(len({one.figure for one in found}), "figure")
    click.echo(f"{count(len(found), 'claim')} of {figures_asked}, {failed} of them failed on a seed")
    if record:
        path = library.root / certainty.RECORDED
        path.write_text(json.dumps(certainty.content(found, figures, records)) + "\n", encoding="utf-8")
        click.echo(f"{certainty.RECORDED} is written")
    if failures:
        raise Failed("\n\n".join(failures))
    if failed:
        context.exit(1)


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
        old, new = library.accepted(), library.summary()
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
        raise Failed(f"There is nothing to measure: {library.folder} has no script in it; `vgdocs new NAME` writes one")
    chosen = list(names) or [*figures, *errors]
    if device != "cpu":
        able = [name for name in chosen if name not in figures or figures[name].takes_device]
        unable = sorted(set(names) & figures.keys() - set(able))
        if unable or not able:
            raise Failed(f"{', '.join(unable) or 'Nothing here'} can't run on {device}: its measure() takes no device")
        chosen = able
    if shard:
        shared = share(chosen, *shard, library.accepted_seconds())
        if not shared:
            most = f"{count(len(chosen), 'figure')} can be split into {count(len(chosen), 'share')} at most"
            raise Failed(f"The share {shard[0]}/{shard[1]} is empty: {most}")
        chosen = shared
    return chosen


def _refresh(library: Library, names: Iterable[str] | None) -> None:
    with bar() as progress:
        library.refresh(names, progress=progress)


def _sample(
    library: Library,
    names: list[str],
    seeds: Sequence[int | None],
    jobs: int | None,
    cluster: str | None,
    device: str = "cpu",
) -> dict[int | None, dict[str, Entry]]:
    """The figures with each of the seeds, measured on this machine or on a cluster."""
    with contextlib.ExitStack() as stack:
        executor = None
        if cluster:
            from vgdocs.engine.cluster import connect

            figures, _ = find(library.folder)
            scripts = [figure.text for name, figure in figures.items() if name in names]
            tell = partial(click.echo, err=True)
            executor = stack.enter_context(connect(cluster, library.folder, scripts, jobs, tell))
        progress = stack.enter_context(bar())
        return library.sample(names, seeds, device=device, jobs=jobs, executor=executor, progress=progress)


def _total(library: Library) -> str:
    entries = [entry for entry in library.entries.values() if entry.record]
    claims = sum(len(entry.figure.claims) for entry in entries if entry.figure)
    failed = sum(len(entry.failed) for entry in entries)
    return f"{count(len(entries), 'figure')}, {count(claims, 'claim')}, {failed} failed"


class _WithArguments(click.Command):
    """One that knows where options stand that aren't its own."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(context, args)
        except click.NoSuchOption as error:
            message = f"{error.format_message()} The script's own options stand after `--`."
            raise click.UsageError(message, context) from None


@cli.command(cls=_WithArguments, short_help="Run a training script as it is, and say what is wrong with its training.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1)
@click.option("--epochs", type=click.IntRange(min=1), help="End the run after so many passes through a DataLoader.")
@click.option("--steps", type=click.IntRange(min=1), help="End it after so many steps of an optimizer.")
@click.option("--every", type=click.IntRange(min=1), help="Measure everything at each N-th step only.")
@click.option("--report", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to send.")
@click.option("--site", help="The address at which you read this site, for links to its pages.")
@click.pass_context
def diagnose(
    context: click.Context,
    /,
    script: Path,
    arguments: tuple[str, ...],
    path: Path | None,
    site: str | None,
    **options: Any,
) -> None:
    """Run SCRIPT as `python SCRIPT` would, and say what is wrong with its training.

    Found and watched are the modules that its optimizers of torch.optim hold. The verdict is printed at its end, at an
    exception and at Ctrl-C, and the exit code is the script's own. The script's ARGUMENTS stand after `--`:

    \b
        vgdocs diagnose train.py --epochs 3 -- --lr 0.1

    An epoch is a whole pass through a DataLoader in which an optimizer stepped.
    """
    if path and not path.parent.is_dir():
        raise click.UsageError(f"--report {path}: there is no folder {path.parent}")
    from vgdocs.probe import report
    from vgdocs.probe import script as scripts

    done = scripts.run(script, arguments, tell=lambda note: click.echo(f"vgdocs: {note}", err=True), **options)
    click.echo(f"\n{done.text(site)}")
    if path and not done.empty:
        report.write(path, done.watched, title=script.name, settings=done.settings, notes=done.notes, site=site)
        click.echo(f"\n{path} is written.")
    context.exit(done.code or int(done.empty))


cli.add_command(explore)
cli.add_command(train)
