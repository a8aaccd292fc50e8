"""From the settings to a backend: which there are, and how their parts are put together. Knows no model's inside.

What needs PyTorch is imported when a language model is asked for, and not before.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stream.errors import ConfigurationError

if TYPE_CHECKING:
    from daywatch.settings import Settings
    from detector.backend import Backend
    from detector.baseline import Baseline
    from detector.narrative.backend import Alone, Explain, Lines, Spent
    from detector.narrative.cascade import Cascade
    from detector.narrative.notes import Notes
    from detector.narrative.remote import Server
    from detector.narrative.seam import NarrativeModel
    from detector.trees import Calibration

    Parts = tuple[NarrativeModel, Notes | None, Mapping[str, str]]
    """A model, what stands beside its adapter, and what verdicts call its parts."""

NAMES: Final = ("baseline", "narrative", "remote")
NO_ADAPTER: Final = "none"
SHIPPED_ADAPTER: Final = "shipped"
"""Name of the adapter that comes with Daywatch: where it lies differs between machines, and alerts do not."""
SMALL_BASE: Final = "package:smollm2-135m"
"""Base of the adapter that comes with Daywatch."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a backend is made of; names are those of the settings, and None is what suits.

    Besides:
        alone: the model judges every window by itself, without triage; for evaluation.
        explain: what it then gives reasons for.
        defended: False shows the model raw texts, for measuring what the defence is worth.
        lines: labels of a window's events by the log-line classifier.
    """

    backend: str = "baseline"
    track: str = "all"
    model: Path | None = None
    budget: float = 5.0
    base: str | None = None
    adapter: str | None = None
    revision: str | None = None
    precision: str = "auto"
    device: str = "auto"
    shots: int = 0
    prompt_tokens: int | None = None
    share: float | None = None
    server: "Server | None" = None
    alone: bool = False
    explain: "Explain" = "alerting"
    defended: bool = True
    lines: "Lines | None" = None


def choice_of(settings: "Settings") -> Choice:
    """What the settings say.

    Raises:
        ConfigurationError: the budget is none.
    """
    from detector.narrative.cascade import share_of_seconds
    from detector.narrative.remote import Server

    detect, remote = settings.detect, settings.remote
    share = detect.share
    if detect.seconds_a_day is not None:
        share = share_of_seconds(detect.seconds_a_day, detect.windows_a_day or 0, detect.seconds_per_window or 0)
    key = remote.api_key
    server = None
    if remote.url is not None:
        secret = key.get_secret_value if key is not None else lambda: None
        server = Server(remote.url, remote.model, secret, remote.timeout / 1_000, remote.attempts, remote.concurrency)
    return Choice(
        backend=detect.backend,
        track=detect.track,
        model=detect.model,
        budget=detect.budget,
        base=detect.base,
        adapter=detect.adapter,
        revision=detect.revision,
        precision=detect.precision,
        device=detect.device,
        shots=detect.shots,
        prompt_tokens=detect.prompt_tokens,
        share=share,
        server=server,
    )


def backend_of(settings: "Settings") -> "Backend":
    """The backend that the settings name.

    Raises:
        ConfigurationError: there is none of that name, or its model cannot be read.
        TransientError: a server does not answer.
    """

    def judge(lines: "Lines | None") -> "Backend":
        if settings.detect.backend == "baseline":
            from detector.baseline import Baseline

            return Baseline.load(settings.detect.model, track=settings.detect.track, budget=settings.detect.budget)
        return made(replace(choice_of(settings), lines=lines))

    return with_groups(settings, with_lines(settings.detect.lines, settings.detect.device, judge))


def with_groups(settings: "Settings", backend: "Backend") -> "Backend":
    """The backend, with what its alerts resemble among threat groups, if that is asked for or a language model judges."""
    wanted = settings.detect.groups
    if not (settings.detect.backend != "baseline" if wanted is None else wanted):
        return backend
    from detector.groups.match import Resembling
    from detector.groups.shipped import shipped_groups

    return Resembling(backend, shipped_groups())


def with_lines(classifier: str | None, device: str, judge: "Callable[[Lines | None], Backend]") -> "Backend":
    """The backend that `judge` makes, with the labels of a log-line classifier in its prompts and alerts, if one is named.

    Raises:
        ConfigurationError: the classifier cannot be loaded, or as `judge`.
    """
    if classifier is None:
        return judge(None)
    from detector.logline.classifier import LineClassifier
    from detector.logline.events import EventLabels, WithLines

    loaded = LineClassifier.load(classifier, device=device)
    labels = EventLabels(loaded)
    return WithLines(judge(labels.telling), labels, loaded.provenance)


def made(choice: Choice) -> "Backend":
    """A backend from its parts.

    Raises:
        ConfigurationError: there is none of that name, a part is missing, or parts do not belong together.
        TransientError: a server does not answer.
    """
    if choice.backend not in NAMES:
        raise ConfigurationError(f"detect.backend: there is no backend {choice.backend!r}; use {', '.join(NAMES)}")
    from detector.baseline import Baseline

    triage = Baseline.load(choice.model, track=choice.track, budget=choice.budget)
    if choice.backend == "baseline":
        return triage
    model, notes, named = _on_a_server(choice) if choice.backend == "remote" else _here(choice)
    return with_model(model, choice, triage, notes, named)


def made_alike(choices: "Sequence[Choice]") -> "list[Backend]":
    """Backends around one model, which is loaded once, as the first choice says; the others differ in how it is asked.

    Raises:
        ConfigurationError: as `made`.
        TransientError: a server does not answer.
    """
    from detector.baseline import Baseline

    first = choices[0]
    if first.backend not in ("narrative", "remote"):
        return [made(choice) for choice in choices]
    triages = {
        one: Baseline.load(one[0], track=one[1], budget=one[2]) for one in {(each.model, each.track, each.budget) for each in choices}
    }
    model, notes, named = _on_a_server(first) if first.backend == "remote" else _here(first)
    return [with_model(model, each, triages[each.model, each.track, each.budget], notes, named) for each in choices]


def _here(choice: Choice) -> "Parts":
    base, adapter, notes = weights_of(choice)
    _prompt_track(choice, notes)
    from detector.models.loading import load_causal
    from detector.models.registry import find
    from detector.narrative.engine import Engine
    from detector.narrative.evidence_head import read_head

    loaded = load_causal(base, adapter, precision=choice.precision, device=choice.device, revision=choice.revision)
    sys.stderr.write(f"daywatch: {loaded.told}\n")
    named = {"adapter": SHIPPED_ADAPTER} if choice.adapter in (None, SHIPPED_ADAPTER) and adapter is not None else {}
    if notes is not None and notes.base_sha256 != loaded.base_sha256:
        raise ConfigurationError(
            f"detect.base: the adapter was trained on weights {notes.base_sha256[:12]}…, but {base} holds {loaded.base_sha256[:12]}…"
        )
    head = read_head(find(adapter, adapter=True).path) if adapter is not None and notes is not None else None
    if head is not None and notes is not None and head.prompt != notes.prompt:
        raise ConfigurationError(f"detect.adapter: its evidence head was fitted to prompts {head.prompt}, the adapter to {notes.prompt}")
    return Engine(loaded, head=head), notes, named


def _on_a_server(choice: Choice) -> "Parts":
    from detector.narrative.notes import read_notes
    from detector.narrative.remote import Remote

    if choice.server is None:
        raise ConfigurationError("remote.url: the backend remote needs the server's address, such as http://127.0.0.1:8000/v1")
    # what stands beside an adapter that was trained here holds for it on a server, too
    directory = Path(choice.adapter) if choice.adapter not in (None, NO_ADAPTER) else None
    notes = read_notes(directory) if directory is not None else None
    count = _counter(choice.base) if choice.base is not None else None
    return Remote(choice.server, count, adapter=directory.name if directory is not None else None), notes, {}


def with_model(
    model: "NarrativeModel", choice: Choice, triage: "Baseline", notes: "Notes | None", named: Mapping[str, str] | None = None
) -> "Backend":
    """The narrative backend around whatever answers prompts; `named` is what verdicts call its parts.

    Raises:
        ConfigurationError: the adapter was trained on prompts that this version does not make.
    """
    from detector.narrative.backend import NarrativeBackend, no_lines
    from detector.narrative.prompt import BUDGET, Composer
    from detector.narrative.shots import shots_of

    tokens = choice.prompt_tokens or (notes.budget if notes is not None else BUDGET)
    track = _prompt_track(choice, notes)
    composer = Composer(track, tokens, model.count, shots=shots_of(choice.shots, track), defended=choice.defended)
    as_trained = choice.defended and choice.shots == 0 and choice.prompt_tokens is None
    if notes is not None and as_trained and notes.prompt != composer.identity:
        raise ConfigurationError(
            f"detect.adapter: it was trained on prompts {notes.prompt}, this version makes {composer.identity}; train it anew with "
            "`daywatch train narrative`, or use the version of Daywatch that it was trained with"
        )
    how = _alone(choice, notes) if choice.alone else _cascade(choice, triage, notes)
    more = {"shots": str(choice.shots), "prompt_tokens": str(tokens), "budget": f"{choice.budget:g}", **(named or {})}
    if not choice.defended:
        more["defended"] = "no"
    return NarrativeBackend(model, composer, how, triage, name=choice.backend, lines=choice.lines or no_lines, provenance=more)


def _alone(choice: Choice, notes: "Notes | None") -> "Alone":
    from detector.narrative.backend import Alone

    return Alone(_calibration(notes), choice.track, choice.explain, notes.decision if notes is not None else 0.0)


def _cascade(choice: Choice, triage: "Baseline", notes: "Notes | None") -> "Cascade":
    """Numbers that were fixed on training users: the adapter's, or, where there are none, triage's own."""
    from detector.narrative.calibrated import Combination
    from detector.narrative.cascade import DEFAULT_SHARE, Cascade, alert_at, reach_of

    share = choice.share if choice.share is not None else DEFAULT_SHARE
    calibration, decision = _calibration(notes), notes.decision if notes is not None else 0.0
    if choice.model is not None:
        notes = None  # its numbers hold behind the triage that it was fitted with; of the shipped one's tracks either will do
    thresholds = notes.thresholds if notes is not None else {}
    combination = Combination()
    if notes is not None and notes.combination is not None:
        of_model, of_triage, shift = notes.combination
        combination = Combination(triage=of_triage, model=of_model, shift=shift)
    return Cascade(
        share=share,
        reach=reach_of(share, notes.triage if notes is not None else {}, triage),
        malicious=thresholds.get("malicious", triage.malicious_at),
        suspicious=thresholds.get("suspicious", triage.suspicious_at),
        alert=alert_at(choice.budget, thresholds, triage.alert_at),
        calibration=calibration,
        combination=combination,
        decision=decision,
    )


def _prompt_track(choice: Choice, notes: "Notes | None") -> str:
    """The track of the prompts: the adapter's. One that was trained without shortcuts may stand behind any triage, never the reverse.

    Raises:
        ConfigurationError: the adapter was trained on what the track forbids.
    """
    track = notes.track if notes is not None else choice.track
    if track not in (choice.track, "shortcut-free"):
        raise ConfigurationError(f"detect.track: the adapter was trained on the track {track}, which shows more than {choice.track} may")
    return track


def _calibration(notes: "Notes | None") -> "Calibration":
    from detector.trees import Calibration

    return Calibration(*notes.calibration) if notes is not None and notes.calibration is not None else Calibration()


def weights_of(choice: Choice) -> "tuple[str, str | None, Notes | None]":
    """Base, adapter and the adapter's notes, with what was not said filled in.

    Raises:
        ConfigurationError: nothing says which base, or the adapter that comes with Daywatch is missing.
    """
    from detector.models.registry import find
    from detector.narrative.notes import read_notes

    shipped = _shipped()
    if choice.adapter == NO_ADAPTER or (choice.adapter is None and choice.base not in (None, SMALL_BASE)):
        return choice.base or SMALL_BASE, None, None
    if choice.adapter in (None, SHIPPED_ADAPTER):
        if shipped is None:
            raise ConfigurationError(
                "detect.adapter: the adapter that comes with Daywatch is missing; name one with --adapter, or `--adapter none` for the base"
            )
        return choice.base or SMALL_BASE, str(shipped), read_notes(shipped)
    adapter = choice.adapter or ""
    # a directory, or the name or hub id under which it was added: its notes lie beside it either way
    found = find(adapter, adapter=True)
    notes = read_notes(found.path)
    base = choice.base or (notes.base if notes is not None else None) or found.base_source or _base_of(found.path)
    if base is None:
        raise ConfigurationError(f"detect.base: nothing says which base the adapter {choice.adapter} belongs to; name it with --base")
    return base, adapter, notes


def _shipped() -> Path | None:
    from importlib.resources import files

    place = Path(str(files("detector") / "data" / "narrative"))
    return place if (place / "adapter_config.json").is_file() else None


def _base_of(directory: Path) -> str | None:
    """The base that an adapter of another maker names."""
    import orjson

    try:
        found = orjson.loads((directory / "adapter_config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    name = found.get("base_model_name_or_path") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name else None


def _counter(base: str) -> Callable[[str], int]:
    """Counts tokens as the tokenizer in a directory does."""
    place = Path(base) / "tokenizer.json"
    try:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(place))
    except ImportError as error:
        raise ConfigurationError("detect.base: counting its tokens needs `tokenizers`: pip install 'daywatch[llm]'") from error
    except Exception as error:
        # what tokenizers raises is a bare Exception
        raise ConfigurationError(f"detect.base: {place} holds no tokenizer") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def spent_of(backend: "Backend") -> "Spent | None":
    """What a language model has cost so far; None for backends that have none."""
    from detector.narrative.backend import NarrativeBackend

    inner = backend
    while (wrapped := getattr(inner, "backend", None)) is not None:
        inner = wrapped
    return inner.spent if isinstance(inner, NarrativeBackend) else None


def spent_by(backend: "Backend") -> str | None:
    """The same in a sentence."""
    spent = spent_of(backend)
    return spent.text() if spent is not None else None
