"""`daywatch config`: which settings are in force and where each came from. Knows how to ask and to show; asks no server."""

import json as json_text
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import config_of, flags_of, settings_of

if TYPE_CHECKING:
    from daywatch.settings_shown import InForce


def config(
    ctx: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="JSON lines: setting, value, source, place, secret.")] = False,
    changed: Annotated[bool, typer.Option("--changed", help="Leave out what stands at its default.")] = False,
    example: Annotated[bool, typer.Option("--example", help="Write a settings file with every setting at its default instead.")] = False,
) -> None:
    """Show every setting, its value and where that came from: a flag, an environment variable, the settings file or the default.

    Settings are checked as every command does. Secrets are hidden.
    """
    from daywatch import settings_shown
    from daywatch.settings import given

    if example:
        print("\n".join(settings_shown.example()))
        return
    settings = settings_of(ctx)
    said = given(config_of(ctx), flags_of(ctx))
    rows = [row for row in settings_shown.in_force(settings, said) if not changed or row.origin.source != "default"]
    sys.stderr.write(
        f"daywatch config: {f'settings file {said.file}' if said.file else 'no settings file (./daywatch.toml is not there)'}\n"
    )
    if json:
        for row in rows:
            record = {"setting": row.name, "value": row.value, "source": row.origin.source, "place": row.origin.place or None}
            print(json_text.dumps({**record, "secret": row.secret}, ensure_ascii=False))
    else:
        _show(rows)


def _show(rows: "list[InForce]") -> None:
    texts = [(row.name, _text(row.value), f"{row.origin.source} {row.origin.place}".rstrip()) for row in rows]
    # one very long value does not push everything else aside
    widths = [max((len(text[column]) for text in texts if len(text[column]) <= 40), default=0) for column in (0, 1)]
    for name, value, origin in texts:
        print(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {origin}")


def _text(value: object) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
