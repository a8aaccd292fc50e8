"""Models kept by name: where each lies, from where and which revision it came, and what every file of it was when it was added.

An adapter belongs to one base. Most published ones do not say to which weights (only to which name), so the base's identity is
recorded when the adapter is added, and every later loading holds it against the base at hand. Knows files; loads nothing.
"""

import fcntl
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from detector.models.errors import EXTRA, Changed, MalformedModel, MissingWeights, NoLibraries, OtherBase, UnknownModel
from detector.models.files import (
    ADAPTER_CONFIG,
    Entry,
    check_adapter,
    check_base,
    differences,
    identity,
    manifest,
    remembered_identity,
    sha256_of,
    tensors_of,
    write_whole,
)
from detector.models.packaged import identity_of, is_packaged, packaged
from detector.models.places import Places, usual_places
from stream.errors import ConfigurationError

SCHEMA: Final = "daywatch.models/1"
NOTES: Final = "daywatch.json"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HUB: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
# what a model is loaded from; pickles, other frameworks' copies and code are not even fetched
_WANTED: Final = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*")
# small enough to be hashed at every start
_SMALL: Final = 1 << 24

Fetch = Callable[[str, str | None], Path]


@dataclass(frozen=True, slots=True)
class Registered:
    """A model that was added."""

    name: str
    kind: Literal["base", "adapter"]
    source: str
    revision: str | None
    path: str
    identity: str
    files: Mapping[str, Entry]
    base: str | None = None
    base_identity: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A model's directory, and what is known of it."""

    path: Path
    name: str
    identity: str
    revision: str | None = None
    source: str | None = None  # its hub id, if that is known
    base_identity: str | None = None  # an adapter's base, where one was recorded
    base_source: str | None = None
    recorded: bool = False


def registered(places: Places | None = None) -> dict[str, Registered]:
    """All models that were added, by name.

    Raises:
        Changed: the registry's file cannot be read.
    """
    file = (places or usual_places()).registry
    try:
        document = json.loads(file.read_bytes())
        if document["schema"] != SCHEMA:
            raise Changed(f"{file}: written by another version of Daywatch ({document['schema']})")
        return {name: _registered(name, entry) for name, entry in document["models"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Changed(f"{file}: the registry of models cannot be read; move it away and add the models again") from error


def _registered(name: str, entry: Mapping[str, Any]) -> Registered:
    files = {path: Entry(str(one["sha256"]), int(one["bytes"])) for path, one in entry["files"].items()}
    return Registered(**{**entry, "name": name, "files": files})


def add(
    source: str,
    *,
    name: str | None = None,
    revision: str | None = None,
    base: str | None = None,
    places: Places | None = None,
    fetch: Fetch | None = None,
) -> Registered:
    """Check a model and record it: a hub id (fetched), a directory (left where it is) or a `package:` name.

    Raises:
        PipelineError: it is no model that can be loaded, or the adapter's base is not known; the text names the cure.
    """
    places = places or usual_places()
    path, revision = _fetched(source, revision, places, fetch or from_hub)
    adapter = (path / ADAPTER_CONFIG).is_file() and not (path / "config.json").is_file()
    label = name or _usual_name(source)
    if not _NAME.fullmatch(label):
        raise ConfigurationError(f"--name {label!r}: letters, digits, dots, hyphens and underscores")
    if adapter:
        config = check_adapter(path)
        base_name, base_identity = _base_of(path, config, base, places)
        entry = Registered(
            label, "adapter", source, revision, str(path), identity(path, adapter=True), manifest(path), base_name, base_identity
        )
    else:
        if base is not None:
            raise ConfigurationError(f"--base is for adapters, and {source} is a whole model")
        check_base(path, tokenizer=False)
        entry = Registered(label, "base", source, revision, str(path), identity(path), manifest(path))
    with _alone(places):
        known = registered(places)
        known[label] = entry
        _write(known, places)
    return entry


def _fetched(source: str, revision: str | None, places: Places, fetch: Fetch) -> tuple[Path, str | None]:
    if is_packaged(source):
        return packaged(source, places.cache), None
    local = Path(source).expanduser()
    if local.is_dir():
        if revision is not None:
            raise ConfigurationError(f"--revision is for hub ids, and {source} is a directory")
        return local.resolve(), None
    if not _HUB.fullmatch(source):
        raise UnknownModel(f"{source}: neither a directory nor a hub id (owner/name) nor a package")
    path = fetch(source, revision)
    # the hub's client keeps each commit in a directory of its own, named by it: what `main` is today is pinned here
    commit = path.name if _COMMIT.fullmatch(path.name) else revision
    return path, commit


def _usual_name(source: str) -> str:
    return source.removeprefix("package:").rstrip("/").rpartition("/")[2] or source


def _base_of(path: Path, config: Mapping[str, Any], base: str | None, places: Places) -> tuple[str, str]:
    """The name and the identity of an adapter's base: those it names itself are held against the base at hand."""
    named = base or config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise OtherBase(f"{path}: the adapter names no base; name it with --base")
    try:
        found = find(named, places=places)
    except UnknownModel as error:
        raise OtherBase(f"{path}: its base is {named}, which is not here; add it first, or name where it lies with --base") from error
    theirs = named_base_identity(path)
    if theirs is not None and theirs != found.identity:
        raise OtherBase(f"{path}: made for a base with the identity {theirs[:12]}…, and {named} has {found.identity[:12]}…")
    return found.source or named, found.identity


def named_base_identity(path: Path) -> str | None:
    """The base's identity as Daywatch's notes beside an adapter have it; None where there are none."""
    try:
        found = json.loads((path / NOTES).read_bytes()).get("base_sha256")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and found else None


def find(
    source: str, *, adapter: bool = False, revision: str | None = None, places: Places | None = None, fetch: Fetch | None = None
) -> Found:
    """The directory that a name, hub id, directory or `package:` name stands for; what was recorded is held against what is there.

    A name or id that was added wins over a directory that happens to be called so. A hub id that was not added must come with a
    full commit as its revision: a branch's name means other weights tomorrow.

    Raises:
        UnknownModel: nothing of that name is here; the text says how to get it.
        Changed: it is not what was recorded.
        MalformedModel: its weights are missing or cannot be read.
    """
    places = places or usual_places()
    if is_packaged(source):
        return Found(packaged(source, places.cache), source, identity_of(source), source=source, recorded=True)
    entry = _entry(source, revision, registered(places))
    if entry is not None:
        return _checked(entry, adapter, places)
    local = Path(source).expanduser()
    if local.is_dir():
        return _unrecorded(local.resolve(), source, adapter, places, None, None)
    if not _HUB.fullmatch(source):
        raise UnknownModel(f"{source}: there is no such directory and no model was added by that name (`daywatch models list` shows them)")
    if revision is None or not _COMMIT.fullmatch(revision):
        raise UnknownModel(
            f"{source}: it was not added, and a hub id alone pins no weights; "
            f"`daywatch models add {source}` fetches and records it, or name a full commit as its revision"
        )
    return _unrecorded((fetch or from_hub)(source, revision), source, adapter, places, revision, source)


def _entry(source: str, revision: str | None, known: Mapping[str, Registered]) -> Registered | None:
    by_name = [known[source]] if source in known else []
    matching = by_name or [entry for entry in known.values() if entry.source == source]
    if revision is not None and matching:
        matching = [entry for entry in matching if entry.revision == revision]
        if not matching and by_name:
            raise UnknownModel(f"{source}: added at revision {by_name[0].revision}, not {revision}; add that one by another name")
    if len(matching) > 1:
        raise UnknownModel(f"{source}: added {len(matching)} times ({', '.join(entry.name for entry in matching)}); use one of these names")
    return matching[0] if matching else None


def _checked(entry: Registered, adapter: bool, places: Places) -> Found:
    if (entry.kind == "adapter") is not adapter:
        wanted = "an adapter" if adapter else "a whole model"
        raise MalformedModel(
            f"{entry.name}: added as {'an adapter' if entry.kind == 'adapter' else 'a whole model'}, and {wanted} is wanted here"
        )
    path = Path(entry.path)
    if not path.is_dir():
        raise MissingWeights(f"{entry.name}: {path} is gone; `daywatch models add {entry.source}` brings it back")
    for name, recorded in entry.files.items():
        file = path / name
        if not file.is_file() or file.stat().st_size != recorded.bytes or (recorded.bytes < _SMALL and sha256_of(file) != recorded.sha256):
            raise Changed(
                f"{entry.name}: {name} is not what was recorded when it was added; `daywatch models verify {entry.name}` says more"
            )
    found = remembered_identity(path, places.identities, adapter=adapter)
    if found != entry.identity:
        raise Changed(f"{entry.name}: its weights are not those that were added ({found[:12]}…, not {entry.identity[:12]}…)")
    source = entry.source if _HUB.fullmatch(entry.source) else None
    return Found(path, entry.name, found, entry.revision, source, entry.base_identity, entry.base, recorded=True)


def _unrecorded(path: Path, name: str, adapter: bool, places: Places, revision: str | None, source: str | None) -> Found:
    (check_adapter if adapter else check_config)(path)
    found = remembered_identity(path, places.identities, adapter=adapter)
    base = named_base_identity(path) if adapter else None
    return Found(path, name, found, revision, source, base)


def check_config(path: Path) -> dict[str, Any]:
    """The configuration of a base whose tokenizer may lie elsewhere."""
    return check_base(path, tokenizer=False)


def verify(name: str, places: Places | None = None) -> list[str]:
    """Hash every file of a model again, and its base's identity; what differs, one sentence each, nothing when all is as recorded.

    Raises:
        UnknownModel: no model was added by that name.
    """
    places = places or usual_places()
    known = registered(places)
    if name not in known:
        raise UnknownModel(f"{name}: no model was added by that name (`daywatch models list` shows them)")
    entry = known[name]
    path = Path(entry.path)
    if not path.is_dir():
        return [f"{path} is gone"]
    told = differences(entry.files, manifest(path))
    weights_changed = any(line.split(" ")[0].endswith(".safetensors") for line in told)
    if not weights_changed and identity(path, adapter=entry.kind == "adapter") != entry.identity:
        told.append("the weights' identity differs")
    if entry.kind == "adapter" and entry.base is not None:
        told += _base_differs(entry, places)
    return told


def _base_differs(entry: Registered, places: Places) -> list[str]:
    try:
        base = find(str(entry.base), places=places)
    except ConfigurationError as error:
        return [f"its base cannot be had: {error}"]
    return [] if base.identity == entry.base_identity else [f"its base {entry.base} has other weights than when it was added"]


def from_hub(repository: str, revision: str | None) -> Path:
    """Fetch a model's files from the hub into its client's own cache; the directory of that commit.

    What the cache has already is taken without asking the hub.

    Raises:
        NoLibraries: the hub's client is not installed.
        MissingWeights: the hub does not answer, does not have it, or asks for a login.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise NoLibraries(f"{repository} cannot be fetched: {EXTRA}") from error
    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": list(_WANTED), "ignore_patterns": ["*/*"]}
    if revision is not None and _COMMIT.fullmatch(revision):
        try:
            here = Path(snapshot_download(repository, local_files_only=True, **wanted))
            tensors_of(here, adapter=(here / ADAPTER_CONFIG).is_file() and not (here / "config.json").is_file())
        except (LocalEntryNotFoundError, FileNotFoundError, MalformedModel):
            pass  # not here, or not all of it: a download that was cut off goes on
        else:
            return here
    try:
        return Path(snapshot_download(repository, **wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        at = f" at revision {revision}" if revision else ""
        raise MissingWeights(
            f"{repository}{at} could not be fetched from the hub ({type(error).__name__}); a directory works without one"
        ) from error


def _write(known: Mapping[str, Registered], places: Places) -> None:
    models = {name: {key: value for key, value in asdict(entry).items() if key != "name"} for name, entry in sorted(known.items())}
    write_whole(places.registry, json.dumps({"schema": SCHEMA, "models": models}, indent=1).encode())


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    places.registry.parent.mkdir(parents=True, exist_ok=True)
    with places.registry.with_name(".models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
