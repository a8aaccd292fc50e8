"""`daywatch reveal`: who is behind a pseudonym, for those who may read the map. Nothing is shown before it is written down who asked."""

import json as json_text
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of

if TYPE_CHECKING:
    from windowing.identities import IdentityMap, Revealed


def reveal(
    ctx: typer.Context,
    pseudonym: Annotated[
        str | None, typer.Argument(help="As windows, verdicts, alerts and incidents have it: u-….", show_default=False)
    ] = None,
    why: Annotated[
        str | None, typer.Option(help="What it is looked up for, such as a case's number; goes into the log.", show_default=False)
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Show who has looked up what, when and why, instead.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")] = False,
) -> None:
    """Look up who is behind a pseudonym; that it was looked up, by whom and why is written down first.

    Reads the map NAMESPACE:identities at privacy.map_url, or the store: who may read that may look up. The key is not needed.
    """
    from daywatch.privacy import identities_of

    settings = settings_of(ctx)
    if log == (pseudonym is not None):
        raise typer.BadParameter("give a pseudonym, or --log", param_hint="PSEUDONYM")
    identities = identities_of(settings)
    try:
        if log:
            _show_log(identities, as_json=json)
        else:
            _reveal(identities, pseudonym or "", (why or "").strip(), settings.namespace, as_json=json)
    finally:
        identities.close()


def _reveal(identities: "IdentityMap", pseudonym: str, why: str, namespace: str, *, as_json: bool) -> None:
    from stream.clock import SystemClock
    from stream.errors import ConfigurationError
    from windowing.identities import Revealed

    if not why:
        raise typer.BadParameter("say what it is looked up for", param_hint="--why")
    user = identities.look_up(pseudonym)
    identities.record(Revealed(SystemClock().now_ms(), _asker(), why, pseudonym, user is not None))
    sys.stderr.write(f"daywatch reveal: written into the log of namespace {namespace}: {_asker()} looked up {pseudonym[:40]}\n")
    if user is None:
        raise ConfigurationError("the map knows no such pseudonym: mistyped, of another namespace, or forgotten since")
    print(json_text.dumps({"pseudonym": pseudonym, "user": user}) if as_json else user)


def _asker() -> str:
    """The account that this runs under, and the machine."""
    import os
    import pwd
    import socket

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def _show_log(identities: "IdentityMap", *, as_json: bool) -> None:
    for each in identities.log():
        print(json_text.dumps(_plain(each)) if as_json else _line(each))


def _plain(each: "Revealed") -> dict[str, object]:
    return {"at": _when(each), "by": each.by, "why": each.why, "pseudonym": each.pseudonym, "known": each.known}


def _line(each: "Revealed") -> str:
    return f"{_when(each)}  {each.by}  {each.pseudonym}{'' if each.known else ' (not known)'}  {each.why}"


def _when(each: "Revealed") -> str:
    return datetime.fromtimestamp(each.at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
