"""The commands of `logwax`, one function each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from connectors.saying import prepare

app = typer.Typer(
    name="logwax",
    help="Log files into ClickHouse: every line stored once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _before() -> None:
    prepare()


@app.command()
def run(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Files, directories, or globs in quotes. Default: logwax.toml."),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="Format of the lines. Default: LOG_FORMAT, or found.")
    ] = "",
    store: Annotated[
        str, typer.Option("--store", help="Where they are stored. Default: STORE.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Read what is there, and end.")] = False,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Read your own files: store every line once, show progress, until Ctrl-C."""
    from cli.loading import Loading

    loading = Loading()  # before what takes time here, too
    from cli.run import run

    raise typer.Exit(run(paths or (), loading, form=form, store=store, once=once, browse=browse))


@app.command()
def up(
    fresh: Annotated[
        bool, typer.Option("--fresh", help="First delete everything in DATA_DIR.")
    ] = False,
) -> None:
    """Run the log generator and the pipeline, and show their progress, until Ctrl-C."""
    from cli.up import run

    raise typer.Exit(run(fresh=fresh))


@app.command()
def check() -> None:
    """Print the effective settings, and everything that is wrong with them."""
    from cli.check import run

    raise typer.Exit(run())


@app.command()
def audit() -> None:
    """Prove that every line of the files on disk is stored exactly once; exit 0 only then."""
    from cli.audit import run

    raise typer.Exit(run())


@app.command("try")
def try_(
    file: Annotated[str, typer.Argument(help="The file, compressed or not.")],
    form: Annotated[
        str, typer.Option("--format", help="Format of its lines. Default: LOG_FORMAT, or found.")
    ] = "",
) -> None:
    """Show the first rows that a file would give, and what does not fit and why; store nothing."""
    from cli.trial import run

    raise typer.Exit(run(file, form=form))


@app.command()
def test(
    directory: Annotated[str, typer.Argument(help="Files with lines, and what is expected.")],
    update: Annotated[bool, typer.Option("--update", help="Write what came, to be read.")] = False,
) -> None:
    """Compare what lines in files become with what is expected of them; exit 0 if all is equal."""
    from cli.cases import run

    raise typer.Exit(run(directory, update=update))


@app.command()
def infer(
    paths: Annotated[list[str], typer.Argument(help="Files, directories, or globs in quotes.")],
) -> None:
    """Find out what files are, and write it down in logwax.toml."""
    from cli.infer import run

    raise typer.Exit(run(paths))


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help='Such as "SELECT count() FROM logs".')],
) -> None:
    """Ask the store; nothing can be changed. JSON lines where stdout is no terminal."""
    from cli.query import run

    raise typer.Exit(run(sql))


@app.command()
def patterns(
    since: Annotated[
        str, typer.Option("--since", help="A time, or 30m, 2h, 7d ago. Default: the last hour.")
    ] = "",
    new: Annotated[bool, typer.Option("--new", help="Only those that no row before has.")] = False,
) -> None:
    """Print what messages are about: counts, shares, first and last times, an example of each."""
    from cli.patterns import run

    raise typer.Exit(run(since=since, new=new))


@app.command()
def tap(
    where: Annotated[str, typer.Option("--where", help="Only rows that this filter takes.")] = "",
) -> None:
    """Print rows as the running pipeline stores them. JSON lines where stdout is no terminal."""
    from cli.tap import run

    raise typer.Exit(run(where=where))


@app.command()
def top() -> None:
    """Show what the running pipeline does: rates, lag, problems, values; in a pipe once."""
    from cli.top import run

    raise typer.Exit(run())


@app.command()
def dead(
    reason: Annotated[str, typer.Option("--reason", help="Only those with this reason.")] = "",
) -> None:
    """Print how many dead letters there are of each reason, and the newest of them."""
    from cli.dead import run

    raise typer.Exit(run(reason=reason))


@app.command()
def positions() -> None:
    """Print every known file: its id, size, how far it is stored, the lag, and where it is."""
    from cli.positions import run

    raise typer.Exit(run())


@app.command()
def redrive(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; change nothing.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Only those with this reason.")] = "",
    source: Annotated[
        str, typer.Option("--source", help="Only those of files with this path, or glob.")
    ] = "",
) -> None:
    """Send dead letters through the parser again: what fits now becomes a row, once."""
    from cli.redrive import run

    raise typer.Exit(run(dry_run=dry_run, reason=reason, source=source))


@app.command()
def backfill(
    path: Annotated[Path, typer.Argument(help="The file, plain or compressed.")],
    first: Annotated[str, typer.Option("--from", help="Only lines from this time on.")] = "",
    last: Annotated[str, typer.Option("--to", help="Only lines before this time.")] = "",
) -> None:
    """Store the lines of one old file, each once; twice changes nothing."""
    from cli.backfill import run

    raise typer.Exit(run(path, first=first, last=last))
