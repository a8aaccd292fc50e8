"""`daywatch schema`: print the JSON Schema of a record. Knows where each schema lives, not what is in it."""

import json
from typing import Annotated, Any

import typer

from stream.errors import ConfigurationError

NAMES = ("logon", "device", "file", "email", "http", "window", "verdict", "alert", "incident")


def schema(kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(NAMES)}.", show_default=False)]) -> None:
    """Print the JSON Schema (2020-12) of an event, window, verdict, alert or incident on standard output."""
    if kind not in NAMES:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(NAMES)}")
    print(json.dumps(schema_of(kind), indent=2, ensure_ascii=False))


def schema_of(name: str) -> dict[str, Any]:
    """The JSON Schema of the records of a name in `NAMES`.

    Raises:
        ConfigurationError: there is no such record.
    """
    from stream.kinds import KINDS, Kind
    from stream.schemas import event_schema

    if name in KINDS:
        return event_schema(Kind(name))
    if name == "window":
        from windowing.record import json_schema

        return json_schema()
    if name == "verdict":
        from sinks.records import verdict_json_schema

        return dict(verdict_json_schema())
    if name == "alert":
        from sinks.ocsf_schema import alert_json_schema

        return alert_json_schema()
    if name == "incident":
        from sinks.ocsf_schema import incident_json_schema

        return incident_json_schema()
    raise ConfigurationError(f"there is no schema {name!r}")
