"""`daywatch models`: models kept by name. Knows how to ask and what to show, not how a model is checked."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from detector.models.registry import Registered

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Keep models by name, pinned and checked file by file.")


@app.command("add")
def add(
    source: Annotated[str, typer.Argument(help="Hub id (owner/name), directory, or package:NAME.", show_default=False)],
    name: Annotated[str | None, typer.Option(help="What to call it (default: the last part of SOURCE).", show_default=False)] = None,
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a hub id; the commit it is now is recorded.", show_default=False)
    ] = None,
    base: Annotated[str | None, typer.Option(help="For an adapter: its base, if it does not name it itself.", show_default=False)] = None,
) -> None:
    """Check a model, fetch it if it is a hub id, and record its revision and the SHA-256 of every file.

    An adapter is recorded with its base's weights, too, and loaded on no others from then on.
    """
    from rich.console import Console

    from detector.models.registry import add as record

    entry = record(source, name=name, revision=revision, base=base)
    size = sum(file.bytes for file in entry.files.values())
    at = f" at {entry.revision}" if entry.revision else ""
    on = f", for the base {entry.base} ({entry.base_identity})" if entry.base else ""
    Console(stderr=True).print(
        f"{entry.name}: {entry.kind} from {entry.source}{at}, {len(entry.files)} files, "
        f"{size / 2**20:,.1f} MiB; weights {entry.identity}{on}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@app.command("verify")
def verify(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Which (default: all).", show_default=False)] = None,
) -> None:
    """Hash every file of models again and hold them against what was recorded; exit code 1 when anything differs.

    One line for each model on standard output, and one for each difference.
    """
    from detector.models.registry import registered
    from detector.models.registry import verify as look

    wanted = names or sorted(registered())
    differ = 0
    for name in wanted:
        told = look(name)
        differ += bool(told)
        print(f"{name}: {'differs' if told else 'as recorded'}")
        for line in told:
            print(f"{name}: {line}")
    if differ:
        raise ConfigurationError(
            f"{differ} of {len(wanted)} models are not what was recorded; fetch them again, or add them anew if that is meant"
        )


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="One JSON object for each model, with the SHA-256 of every file.")] = False,
) -> None:
    """Show the models that were added, and the small ones that come as packages."""
    from detector.models.packaged import PACKAGES, PREFIX, identity_of, installed
    from detector.models.registry import registered

    known = registered()
    packages = {PREFIX + name: installed(PREFIX + name) for name in PACKAGES}
    if json:
        _print_json(known, packages)
        return
    rows = [("name", "kind", "weights", "revision", "from", "for the base")]
    rows += [
        (entry.name, entry.kind, entry.identity[:12], (entry.revision or "-")[:12], entry.source, entry.base or "-")
        for entry in known.values()
    ]
    rows += [
        (name, "base", identity_of(name)[:12], "-", "installed" if there else "not installed", "-") for name, there in packages.items()
    ]
    # not cut to a terminal's width: what is asked for here is copied elsewhere
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(known: "dict[str, Registered]", packages: dict[str, bool]) -> None:
    from dataclasses import asdict

    import orjson

    from detector.models.packaged import identity_of

    rows: list[dict[str, Any]] = [asdict(entry) for entry in known.values()]
    rows += [
        {"name": name, "kind": "base", "source": name, "identity": identity_of(name), "installed": there}
        for name, there in packages.items()
    ]
    for row in rows:
        print(orjson.dumps(row).decode())
