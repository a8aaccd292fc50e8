"""The command line's root: which commands there are, where each lives, and the options they all share.

Commands are imported when they are asked for, so that `daywatch --help` is fast. Knows nothing of what they do.

To add a command, write a function with Typer annotations (or a Typer app, for a group) in
`daywatch/commands/NAME.py` and add one line to `COMMANDS`. A command that takes `ctx: typer.Context` gets
the merged settings from `settings_of(ctx, {"window.hop": hop})`.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command as built

if TYPE_CHECKING:
    from daywatch.settings import Settings

COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("daywatch.commands.demo:demo", "Watch a synthetic organisation's insiders being caught, start to finish."),
    "synth": ("daywatch.commands.synth:synth", "Write a synthetic organisation as a CERT r4.2 directory with its answer key."),
    "topics": ("daywatch.commands.topics:app", "Create the topics and look at them."),
    "replay": ("daywatch.commands.replay:replay", "Stream a CERT directory into the event topics."),
    "window": ("daywatch.commands.window:window", "Turn events into closed windows."),
    "detect": ("daywatch.commands.detect:detect", "Judge windows; write verdicts and alerts."),
    "judge": ("daywatch.commands.judge:judge", "Judge windows of a file; verdicts out, no servers."),
    "verify": ("daywatch.commands.verify:verify", "Judge an alert's window again; say what differs."),
    "classify": ("daywatch.commands.classify:classify", "Label log lines of a file or a topic."),
    "correlate": ("daywatch.commands.correlate:correlate", "Merge alerts into incidents, one story per user."),
    "alerts": ("daywatch.commands.alerts:alerts", "Show alerts with the events they cite."),
    "incidents": ("daywatch.commands.incidents:incidents", "Show incidents: what a user did, as one story."),
    "score": ("daywatch.commands.score:score", "Compare verdicts and alerts with a ground truth."),
    "evaluate": ("daywatch.commands.evaluate:evaluate", "Evaluate a detector over a directory, without servers."),
    "groups": ("daywatch.commands.groups:groups", "Show which threat groups texts are like; no attribution."),
    "train": ("daywatch.commands.train:app", "Fit a detector on a directory."),
    "models": ("daywatch.commands.models:app", "Keep models by name, pinned and checked file by file."),
    "config": ("daywatch.commands.config:config", "Show the settings in force and where each came from."),
    "doctor": ("daywatch.commands.doctor:doctor", "Say what is wrong with broker, store, settings and models, and what to do."),
    "state": ("daywatch.commands.state:state", "Show how far a namespace has come: clocks, lag, open windows, owners."),
    "reset": ("daywatch.commands.reset:reset", "Let a group of one namespace begin anew; asks first."),
    "dead-letters": ("daywatch.commands.dead_letters:dead_letters", "Show what was refused, why, and where it lay."),
    "forget": ("daywatch.commands.forget:forget", "Remove what the workers keep of a person; say what stays."),
    "reveal": ("daywatch.commands.reveal:reveal", "Look up who is behind a pseudonym; asking is written down."),
    "schema": ("daywatch.commands.schema:schema", "Print the JSON Schema of an event, window, verdict, alert or incident."),
}


class _Commands(TyperGroup):
    """The root group: imports a command's module only when that command is run or asked for help."""

    _listing = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - Typer's signature
        """Names of all commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - Typer's signature
        """The command of that name, or a mere stand-in with its help line while the list is printed."""
        if cmd_name not in COMMANDS:
            return None
        place, text = COMMANDS[cmd_name]
        if self._listing:
            return TyperCommand(cmd_name, help=text)
        return _load(cmd_name, place)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the list of commands without importing them."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False


def _load(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    if isinstance(found, typer.Typer):
        for info in found.registered_commands:
            if info.callback is not None:
                info.callback = with_common_options(info.callback)
        command = built(found)
    else:
        alone = typer.Typer(add_completion=False)
        alone.command(name)(with_common_options(found))
        command = built(alone)
    command.name = name
    return command


_COMMON: Mapping[str, tuple[Any, str]] = {
    "namespace": (str | None, "--namespace"),
    "config": (Path | None, "--config"),
    "bootstrap_servers": (str | None, "--bootstrap-servers"),
    "store_url": (str | None, "--store-url"),
    "set_": (list[str] | None, "--set"),
}
_HELP: Mapping[str, str] = {
    "namespace": "Prefix of every topic, group and key.",
    "config": "Settings file (default: ./daywatch.toml if it exists).",
    "bootstrap_servers": "The broker's addresses, host:port,…",
    "store_url": "The store's address, redis://host:port/0.",
    "set_": "Any other setting, as NAME=VALUE; may be repeated.",
}


def with_common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that every command has, so that they may also stand behind its name."""
    own = inspect.signature(command, eval_str=True)
    added = {name: shape for name, shape in _COMMON.items() if name not in own.parameters}
    context = next((p.name for p in own.parameters.values() if _is_context(p.annotation)), None)

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> Any:
        # a group's commands may be wrapped twice in one process: the inner wrapper's own parameter is not taken from it
        ctx: typer.Context = arguments.pop("ctx_") if context is None else arguments[context]
        _remember(ctx, {name: arguments.pop(name) for name in added})
        return command(**arguments)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own.parameters.values()]
    if context is None:
        parameters.append(inspect.Parameter("ctx_", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context))
    for name, (kind, flag) in added.items():
        option = typer.Option(flag, help=_HELP[name], rich_help_panel="Where", show_default=False)
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]))
    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def _is_context(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, typer.Context)


_FLAGS: Mapping[str, str] = {"namespace": "namespace", "bootstrap_servers": "kafka.bootstrap_servers", "store_url": "store.url"}


def _remember(ctx: typer.Context, given: Mapping[str, Any]) -> None:
    """Keep what was given of the common options; what stands behind the command's name wins."""
    kept: dict[str, Any] = ctx.obj if isinstance(ctx.obj, dict) else {}
    flags: dict[str, Any] = dict(kept.get("flags", {}))
    flags |= {_FLAGS[name]: value for name, value in given.items() if name in _FLAGS and value is not None}
    for pair in given.get("set_") or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint="--set")
        flags[name.strip()] = value
    ctx.obj = {"flags": flags, "config": given.get("config") or kept.get("config")}


def settings_of(ctx: typer.Context, flags: Mapping[str, object] | None = None) -> "Settings":
    """The settings this command runs with: its own flags on top (None = not given), then the common ones,
    then the environment, then the settings file.

    Raises:
        UsageError: a setting is unknown or not usable; the text names it and the cure.
    """
    from daywatch.settings import load

    kept: dict[str, Any] = ctx.obj if isinstance(ctx.obj, dict) else {}
    own = {name: value for name, value in (flags or {}).items() if value is not None}
    return load(config=kept.get("config"), flags={**flags_of(ctx), **own})


def flags_of(ctx: typer.Context) -> dict[str, Any]:
    """Settings that the command line itself gives, by dotted name."""
    kept: dict[str, Any] = ctx.obj if isinstance(ctx.obj, dict) else {}
    return dict(kept.get("flags", {}))


def config_of(ctx: typer.Context) -> Path | None:
    """The settings file that the command line names."""
    kept: dict[str, Any] = ctx.obj if isinstance(ctx.obj, dict) else {}
    return kept.get("config")


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"daywatch {version('daywatch')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[Path | None, typer.Option(help=_HELP["config"], show_default=False)] = None,
    namespace: Annotated[str | None, typer.Option(help=_HELP["namespace"] + " Default: daywatch.", show_default=False)] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help=_HELP["set_"], show_default=False)] = None,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Insider-threat detection over log streams: every alert rests on event ids that you can look up."""
    _remember(ctx, {"config": config, "namespace": namespace, "set_": set_})
