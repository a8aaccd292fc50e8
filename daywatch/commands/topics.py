"""`daywatch topics`: create the topics of a namespace and look at them. Knows how to ask and to show, not what a broker is."""

import json as json_text
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from daywatch.cli import settings_of

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from stream.kafka_topics import KafkaTopicAdmin
    from stream.topics import TopicLayout

app = typer.Typer(no_args_is_help=True)

_Partitions = Annotated[int | None, typer.Option(help="Partitions of every topic; fixed for a namespace's life.", show_default=False)]
_Replicas = Annotated[int | None, typer.Option(help="Copies of every topic (default 1).", show_default=False)]
_Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")]


@app.command()
def create(
    ctx: typer.Context,
    partitions: _Partitions = None,
    replication_factor: _Replicas = None,
    retention: Annotated[
        str | None, typer.Option(help="How long events and dead letters are kept, such as 7d; or forever.", show_default=False)
    ] = None,
    results_retention: Annotated[
        str | None, typer.Option(help="How long windows, verdicts and alerts are kept (default forever).", show_default=False)
    ] = None,
    json: _Json = False,
) -> None:
    """Create the topics of the namespace that are missing. Topics that exist must be as the settings say."""
    from stream.topics import create_topics

    settings = settings_of(
        ctx,
        {
            "topics.partitions": partitions,
            "topics.replication_factor": replication_factor,
            "topics.retention": retention,
            "topics.results_retention": results_retention,
        },
    )
    layout = layout_of(settings)
    created = {spec.name for spec in create_topics(layout, admin_of(settings))}
    for spec in layout.specs():
        if json:
            print(json_text.dumps({"topic": spec.name, "partitions": spec.partitions, "created": spec.name in created}))
    print(
        f"daywatch topics: {len(created)} created, {len(layout.specs()) - len(created)} there already, {layout.partitions} partitions each",
        file=sys.stderr,
    )


@app.command(name="list")
def list_topics(ctx: typer.Context, json: _Json = False) -> None:
    """Show the topics of the namespace, and how many records each holds (clock marks and transaction markers included)."""
    settings = settings_of(ctx)
    layout, admin = layout_of(settings), admin_of(settings)
    names = [spec.name for spec in layout.specs()]
    found = admin.find(names)
    records = admin.count_records([name for name in names if name in found])
    rows: list[dict[str, object]] = [
        {
            "topic": name,
            "exists": name in found,
            "partitions": found[name].partitions if name in found else None,
            "records": records.get(name),
            "cleanup_policy": found[name].cleanup_policy if name in found else None,
            "retention_ms": found[name].retention_ms if name in found else None,
        }
        for name in names
    ]
    if json:
        for row in rows:
            print(json_text.dumps(row))
    else:
        _show(rows)


def layout_of(settings: "Settings") -> "TopicLayout":
    """The topics that the settings ask for.

    Raises:
        ConfigurationError: two of them have the same name, or one is not legal.
    """
    from stream.topics import ROLES, TopicLayout

    return TopicLayout(
        settings.namespace,
        settings.topics.partitions,
        settings.topics.replication_factor,
        settings.topics.retention,
        settings.topics.results_retention,
        {role: getattr(settings.topics, role.replace("-", "_")) for role in ROLES},
    )


def admin_of(settings: "Settings") -> "KafkaTopicAdmin":
    """An admin client for the settings' broker."""
    from stream.kafka_topics import KafkaTopicAdmin

    return KafkaTopicAdmin(settings.kafka.client())


def _show(rows: list[dict[str, object]]) -> None:
    width = max(len(str(row["topic"])) for row in rows)
    print(f"{'topic':<{width}}  partitions     records  kept")
    for row in rows:
        if not row["exists"]:
            print(f"{row['topic']!s:<{width}}  missing")
            continue
        print(f"{row['topic']!s:<{width}}  {row['partitions']!s:>10}  {row['records']:>10,}  {_kept(row)}")


def _kept(row: dict[str, object]) -> str:
    if row["cleanup_policy"] == "compact":
        return "newest per key"
    retention = row["retention_ms"]
    if not isinstance(retention, int):
        return "as the broker decides"
    return "for ever" if retention < 0 else f"{retention / 86_400_000:g} days"
