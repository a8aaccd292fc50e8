"""`daywatch demo`: the whole chain on one machine, watched. Knows the order of things and what is kept; each part is its own command."""

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from daywatch.cli import flags_of
from daywatch.extras import installed
from stream.errors import ConfigurationError, PipelineError

if TYPE_CHECKING:
    from daywatch.demo.chain import Streaming, Worker
    from daywatch.demo.results import Results
    from sinks.show import Alert

KEPT = ("organisation", "windows.jsonl", "verdicts.jsonl", "alerts.jsonl", "incidents.jsonl", "scorecard.json", "report.html")
_SILENT_FOR_S = 90.0
_MODEL_SILENT_FOR_S = 600.0  # loading a model, and a batch on a slow machine
# what suits a language model on a CPU: plain user/days, and of them those that triage finds most telling; anybody's own word goes first
_WITH_A_MODEL = {"window.hop": "24h", "detect.share": "0.02"}
_MOST_EVENTS = 12
_MOST_INCIDENTS = 5
# its heartbeats are Python's: on a busy machine they may be late, and here it must not lose its partitions
_PATIENT = ("--set", "kafka.session_timeout=10s")
_WIDTH = 132  # of what is written where no terminal says how wide it is


class Judge(StrEnum):
    """Who judges the windows."""

    BASELINE = "baseline"
    NARRATIVE = "narrative"
    REMOTE = "remote"


def demo(
    ctx: typer.Context,
    out: Annotated[
        Path | None, typer.Option(help="Directory that keeps everything that was made (default: a new temporary one).", show_default=False)
    ] = None,
    users: Annotated[int, typer.Option(min=12, help="People in the organisation.")] = 100,
    days: Annotated[int, typer.Option(min=28, help="Days of its life.")] = 56,
    seed: Annotated[int, typer.Option(help="The same seed makes the same organisation.")] = 7,
    insiders: Annotated[
        int | None, typer.Option(min=0, help="How many of them are insiders (default: one in twenty).", show_default=False)
    ] = None,
    backend: Annotated[
        Judge | None,
        typer.Option(
            help="Who judges: boosted trees (baseline, the default), a language model behind them (narrative: needs the extra llm, and "
            "a few minutes on a CPU), or one on a server (remote: with --set remote.url=…).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Watch a synthetic organisation's insiders being caught, on a real broker and a real store that this command starts and stops.

    Keeps organisation/, windows.jsonl, verdicts.jsonl, alerts.jsonl, incidents.jsonl, scorecard.json and report.html. Incidents need the
    extra incidents; without it they are left out.
    """
    flags = _flags_with(flags_of(ctx), backend)
    kept = _ready(out)
    # asked to end, the demonstration cleans up after itself as it does on Ctrl-C
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="daywatch-demo-") as scratch:
        _Demo(flags, kept, Path(scratch)).run(
            users=users, days=days, seed=seed, insiders=max(1, users // 20) if insiders is None else insiders
        )


def _flags_with(flags: dict[str, str], backend: Judge | None) -> dict[str, str]:
    """The flags for everything that runs here.

    Raises:
        ConfigurationError: nothing here can run a language model; said now, and not when broker, store and organisation are there.
    """
    chosen = flags.get("detect.backend", Judge.BASELINE.value) if backend is None else backend.value
    if chosen == Judge.BASELINE:
        return {**flags, "detect.backend": chosen}
    missing = [name for name in ("torch", "transformers", "peft", "llguidance") if not installed(name)]
    if chosen == Judge.NARRATIVE and missing:
        cure = "pip install 'daywatch[llm]', or `make models` in a clone"
        raise ConfigurationError(f"--backend narrative needs the extra llm, but {missing[0]} is not installed: {cure}")
    # workers run elsewhere: what is named from here must be found from there
    places = {name: flags[name] for name in ("detect.model", "detect.base", "detect.adapter") if flags.get(name)}
    resolved = {name: str(Path(place).resolve()) for name, place in places.items() if Path(place).exists()}
    return {**_WITH_A_MODEL, **flags, **resolved, "detect.backend": chosen}


def _ready(out: Path | None) -> Path:
    """Make the directory ready: what an earlier demonstration left there goes, anything else is left alone."""
    if out is None:
        return Path(tempfile.mkdtemp(prefix="daywatch-"))
    try:
        out.mkdir(parents=True, exist_ok=True)
        foreign = sorted(path.name for path in out.iterdir() if path.name not in KEPT)
        if (out / "organisation").exists() and not (out / "organisation" / "organisation.json").is_file():
            foreign.append("organisation")  # none that we made up
        if foreign:
            raise ConfigurationError(
                f"--out: {out} holds other things ({', '.join(foreign[:3])}); name an empty directory or an earlier demo"
            )
        for name in KEPT:
            path = out / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--out: cannot write {out} ({error.strerror})") from error
    return out.resolve()


class _Demo:
    """One demonstration, from an empty directory to the scorecard."""

    def __init__(self, flags: Mapping[str, str], out: Path, scratch: Path) -> None:
        from rich.console import Console

        from daywatch.demo.view import Seen, View
        from daywatch.settings import load
        from sinks.incidents.show import Incidents
        from sinks.show import Findings

        # few people: more partitions would only be more of the same work
        self._flags = {"topics.partitions": "2", **flags}
        self._settings = load(flags=self._flags, alone=True)
        self._out, self._scratch = out, scratch
        self._console = Console(stderr=True)
        if not self._console.is_terminal:
            self._console.width = _WIDTH
        self._view: View = View(self._console, "daywatch demo", self._settings.zone)
        self._seen = Seen()
        self._findings, self._incidents = Findings(), Incidents()
        self._with_incidents = installed("faust")
        self._with_a_model = self._settings.detect.backend != Judge.BASELINE
        self._seen.read = 0 if self._with_a_model else None
        self._began = time.monotonic()

    def run(self, users: int, days: int, seed: int, insiders: int) -> None:
        """Make the organisation, stream it, judge it, score it."""
        from daywatch.commands.topics import admin_of, layout_of
        from daywatch.embedded import servers
        from stream.synth import FIRST_DAY, write_organisation
        from stream.topics import create_topics
        from windowing.calendar import wall_to_utc_ms

        with servers(self._scratch) as (broker, store):
            self._use(broker.bootstrap_servers, store.url)
            self._say(f"A broker at {broker.bootstrap_servers} and a store at {store.url} are running; both end with this command.")
            create_topics(layout_of(self._settings), admin_of(self._settings))
            made = write_organisation(self._out / "organisation", users, days, seed, insiders, self._settings.zone)
            self._seen.events_in_all, self._seen.days = made.total, made.days
            self._seen.first_ms = wall_to_utc_ms(datetime.combine(FIRST_DAY, datetime.min.time()), ZoneInfo(self._settings.zone))
            whom = f"{made.users} people, {made.days} days, {made.total:,} events"
            self._say(f"{whom}; {made.insiders} insiders did {made.malicious_events:,} of them.")
            self._stream()
        self._score()

    def _use(self, bootstrap_servers: str, url: str) -> None:
        """Let everything run on these servers."""
        from daywatch.settings import load

        self._flags |= {
            "kafka.bootstrap_servers": bootstrap_servers,
            "kafka.embedded": "true",
            "kafka.session_timeout": "2s",  # the embedded broker lets a group wait for half of it
            "store.url": url,
        }
        self._settings = load(flags=self._flags, alone=True)

    @contextmanager
    def _worker(self, name: str, *arguments: str) -> "Iterator[Worker]":
        from daywatch.demo.chain import Worker

        worker = Worker(name, [name, *arguments], self._flags, self._scratch)
        try:
            yield worker
        finally:
            worker.stop()

    def _stream(self) -> None:
        """Run the chain until everything has been judged, and keep what came out."""
        from daywatch.demo.chain import Streaming
        from daywatch.demo.results import Results, by_finding, by_revision, by_window

        if self._with_a_model:
            self._say("A language model reads those windows that triage finds most telling; what it says stands in the alerts.")
        organisation = self._out / "organisation"
        roles = ("windows", "verdicts", "alerts", *(["incidents"] if self._with_incidents else []))
        topics = {role: self._settings.topic(role) for role in roles}
        with ExitStack() as stack:
            workers = [
                stack.enter_context(self._worker("window", "--directory", str(organisation / "LDAP"))),
                stack.enter_context(self._worker("detect")),
                *([stack.enter_context(self._worker("correlate", *_PATIENT))] if self._with_incidents else []),
            ]
            results = Results(self._settings.kafka.client(), topics, self._settings.topics.partitions, self._scratch / "results")
            stack.callback(results.close)
            streaming = Streaming(self._settings, organisation)
            stack.callback(streaming.stop)
            stack.enter_context(self._view)
            self._watch(results, workers, streaming)
        if self._with_a_model:
            self._say(self._model_cost(workers[1]))
        self._say(f"All judged after {time.monotonic() - self._began:.0f} s. Putting the records in order.")
        results.merge("windows", by_window, self._out / "windows.jsonl")
        results.merge("verdicts", by_window, self._out / "verdicts.jsonl")
        results.merge("alerts", by_finding, self._out / "alerts.jsonl")
        if self._with_incidents:
            results.merge("incidents", by_revision, self._out / "incidents.jsonl")
            self._tell_incidents()
        else:
            self._say("Incidents are left out: they need the extra incidents, pip install 'daywatch[incidents]'.")

    def _model_cost(self, detect: "Worker") -> str:
        """How many windows reached the model and how long it took over them, in the words of the worker that has just ended."""
        said = detect.said_of("the model has read")
        read = self._seen.read or 0
        return said[:1].upper() + said[1:] + "." if said else f"The model has read {read:,} of {self._seen.verdicts:,} windows."

    def _watch(self, results: "Results", workers: "list[Worker]", streaming: "Streaming") -> None:
        """Take in results and show them until the last mark has come through, and every alert with it."""
        heard = time.monotonic()
        patience_s = _MODEL_SILENT_FOR_S if self._with_a_model else _SILENT_FOR_S
        while True:
            if results.poll(0.1, self._record):
                heard = time.monotonic()
            for worker in workers:
                if not worker.running():
                    raise PipelineError(f"the {worker.name} process ended before its work was done: {worker.said()}")
            self._show(results, streaming)
            if all(results.done(name) for name in results.progress if name != "alerts"):
                break
            if time.monotonic() - heard > patience_s:
                raise PipelineError(f"nothing has come for {patience_s:.0f} s; last heard: {'; '.join(w.said() for w in workers)}")
        # an alert leaves in one transaction with its verdict, so it is there by now, but perhaps not read
        results.expect_end("alerts")
        while not results.at_end("alerts"):
            results.poll(0.1, self._record)
        self._show(results, streaming)

    def _record(self, name: str, value: bytes) -> None:
        import orjson

        if name == "verdicts":
            verdict = orjson.loads(value)
            self._seen.labels[verdict["label"]] = self._seen.labels.get(verdict["label"], 0) + 1
            if self._seen.read is not None:
                self._seen.read += verdict["provenance"].get("judged_by") == "model"
        elif name == "alerts":
            change = self._findings.take(value)
            if change.risk_before is None:
                self._seen.alerts += 1
                self._tell(change.alert)
            else:
                self._seen.updates += 1
        elif name == "incidents":
            self._incidents.take(value)

    def _tell_incidents(self) -> None:
        """Print what the alerts tell as stories: of many, the gravest."""
        from sinks.incidents.show import story_text

        found = sorted(self._incidents.by_uid.values(), key=lambda incident: (-incident.peak, incident.opened_ms, incident.uid))
        self._say(f"The alerts are {len(found)} stories; the gravest first, `daywatch incidents` shows them whole:\n")
        for incident in found[:_MOST_INCIDENTS]:
            self._console.print(story_text(incident, self._settings.zone))
        if len(found) > _MOST_INCIDENTS:
            self._say(f"    … {len(found) - _MOST_INCIDENTS} more: incidents.jsonl has them all\n")

    def _tell(self, alert: "Alert") -> None:
        """Print a new alert; of very many cited events, the first few."""
        from sinks.show import alert_text

        events = alert.in_order()
        alert.events = {(event.kind, event.id): event for event in events[:_MOST_EVENTS]}
        self._view.say(alert_text(alert, self._settings.zone))
        alert.events = {(event.kind, event.id): event for event in events}
        if len(events) > _MOST_EVENTS:
            self._view.say(f"    … it cites {len(events)} events: alerts.jsonl has them all\n")

    def _show(self, results: "Results", streaming: "Streaming") -> None:
        seen, progress = self._seen, results.progress
        seen.events = dict(streaming.events)
        seen.elapsed_ms = round((time.monotonic() - self._began) * 1000)
        seen.windows, seen.verdicts = progress["windows"].records, progress["verdicts"].records
        seen.clock_ms = results.clock_ms("windows") or seen.clock_ms
        if streaming.running():
            seen.phase, seen.streaming_ms = "streaming", round((time.monotonic() - streaming.began) * 1000)
        else:
            seen.phase = "judging the rest"
        self._view.show(seen)

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def _score(self) -> None:
        """Print the scorecard on standard output: it is what this command has to say."""
        from rich.console import Console

        from daywatch.commands.score import write
        from daywatch.pages import print_page
        from sinks.report import scorecard_page
        from sinks.scorecard import json_lines, scorecard

        windows, verdicts, alerts = (json_lines(self._out / f"{name}.jsonl") for name in ("windows", "verdicts", "alerts"))
        card = scorecard(self._out / "organisation", windows, verdicts, alerts, self._settings.zone)
        write(card, self._out)
        shown = Console()
        if not shown.is_terminal:
            shown.width = _WIDTH
        print_page(scorecard_page(card), shown)
        self._say(f"Done in {time.monotonic() - self._began:.0f} s. Everything is in {self._out}; open report.html first.")
