"""A model's directory as files: what is in it, what it must hold, and hashes. Reads bytes only; knows neither PyTorch nor any hub.

Two hashes, for two questions. The *manifest* has the SHA-256 of every file: has anything changed since it was recorded? The
*identity* is a digest of the tensors alone (names, types, shapes, bytes, in the order of names): are these the weights an adapter
was made for? Sharding, a rewritten header or a new README change the manifest and leave the identity as it is.
"""

import hashlib
import itertools
import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detector.models.errors import Changed, MalformedModel, UnsafeWeights

INDEX: Final = "model.safetensors.index.json"
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
_UNSAFE: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".gguf", ".npz", ".joblib")
_TOKENIZERS: Final = (("tokenizer.json",), ("tokenizer.model",), ("spiece.model",), ("vocab.txt",), ("vocab.json", "merges.txt"))
_SIZES: Final[Mapping[str, int]] = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F4": 4,
}  # fmt: skip
_MOST_HEADER: Final = 100 * 1024 * 1024
_CHUNK: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a safetensors file, where its bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        count = 1
        for side in self.shape:
            count *= side
        return count


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a manifest."""

    sha256: str
    bytes: int


def tensors_in(file: Path) -> list[Tensor]:
    """The tensors of a safetensors file, from its header, in the order of their names.

    Raises:
        MalformedModel: it is no such file, or it is cut off.
    """
    size = file.stat().st_size
    with file.open("rb") as source:
        first = source.read(8)
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
        if not 2 <= length <= min(_MOST_HEADER, size - 8):
            raise MalformedModel(f"{file}: no safetensors file, or cut off within its header ({size:,} bytes)")
        raw = source.read(length)
    try:
        header = json.loads(raw)
        found = [_tensor(name, entry, file, 8 + length) for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise MalformedModel(f"{file}: its safetensors header cannot be read") from error
    end = max((tensor.end for tensor in found), default=8 + length)
    if end != size:
        what = "cut off" if size < end else "longer than its header says"
        raise MalformedModel(f"{file}: {what}: {size:,} bytes, and the header speaks of {end:,}; fetch it again")
    return sorted(found, key=lambda tensor: tensor.name)


def _tensor(name: str, entry: Mapping[str, Any], file: Path, base: int) -> Tensor:
    start, end = entry["data_offsets"]
    tensor = Tensor(name, str(entry["dtype"]), tuple(int(side) for side in entry["shape"]), file, base + int(start), base + int(end))
    if start < 0 or tensor.dtype not in _SIZES or (tensor.count * _SIZES[tensor.dtype] + 7) // 8 != tensor.end - tensor.start:
        raise ValueError(name)
    return tensor


def tensors_of(directory: Path, *, adapter: bool = False) -> list[Tensor]:
    """All tensors of a model's (or an adapter's) directory, in the order of their names; every header is checked.

    Raises:
        UnsafeWeights: there are weights, and none that is safe to read.
        MalformedModel: there are none, a shard is missing, cut off, or holds what another holds too.
    """
    found = [tensor for file in weight_files(directory, adapter=adapter) for tensor in tensors_in(file)]
    found.sort(key=lambda tensor: tensor.name)
    twice = next((one.name for one, other in itertools.pairwise(found) if one.name == other.name), None)
    if twice is not None:
        raise MalformedModel(f"{directory}: {twice} stands in two of its files")
    if not found:
        raise MalformedModel(f"{directory}: its weights hold no tensor")
    return found


def weight_files(directory: Path, *, adapter: bool = False) -> list[Path]:
    """The safetensors files a model is loaded from: the shards its index names, or the one file there is.

    Raises:
        UnsafeWeights: there are weights, and none that is safe to read.
        MalformedModel: there are none, or not all.
    """
    whole = directory / (ADAPTER_WEIGHTS if adapter else "model.safetensors")
    if whole.is_file():
        return [whole]
    index = directory / INDEX
    if not adapter and index.is_file():
        named = read_json(index).get("weight_map")
        if (
            not isinstance(named, dict)
            or not named
            or not all(isinstance(name, str) and Path(name).name == name for name in named.values())
        ):
            raise MalformedModel(f"{index}: it names no files of weights")
        shards = [directory / name for name in sorted(set(named.values()))]
        gone = [shard.name for shard in shards if not shard.is_file()]
        if gone:
            raise MalformedModel(f"{directory}: {len(gone)} of {len(shards)} files of weights are missing, the first {gone[0]}")
        return shards
    unsafe = sorted(file.name for file in directory.iterdir() if file.suffix.lower() in _UNSAFE and file.name != "training_args.bin")
    if unsafe:
        raise UnsafeWeights(
            f"{directory}: its weights come as {unsafe[0]}, which may run code when it is read; "
            f"only safetensors are loaded ({whole.name}): ask for them, or convert them on a machine you can lose"
        )
    raise MalformedModel(f"{directory}: there are no weights; {whole.name} is missing")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        MalformedModel: it is missing or none.
    """
    try:
        found = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise MalformedModel(f"{file.parent}: {file.name} is missing") from error
    except (OSError, ValueError) as error:
        raise MalformedModel(f"{file}: it is no JSON that can be read") from error
    if not isinstance(found, dict):
        raise MalformedModel(f"{file}: it is no JSON object")
    return found


def check_base(directory: Path, *, tokenizer: bool = True) -> dict[str, Any]:
    """See that a directory has what a model needs before any library is asked; its configuration.

    Raises:
        MalformedModel: something is missing or cannot be read; the text names it.
    """
    if not directory.is_dir():
        raise MalformedModel(f"{directory}: there is no such directory")
    if (directory / ADAPTER_CONFIG).is_file() and not (directory / "config.json").is_file():
        raise MalformedModel(f"{directory}: this is an adapter; name its base, and this one as the adapter")
    config = read_json(directory / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise MalformedModel(f"{directory}: config.json names no model_type")
    if tokenizer and not any(all((directory / name).is_file() for name in names) for names in _TOKENIZERS):
        raise MalformedModel(f"{directory}: its tokenizer is missing (tokenizer.json, or the vocabulary it is made from)")
    tensors_of(directory)
    return config


def check_adapter(directory: Path) -> dict[str, Any]:
    """See that a directory holds an adapter; its configuration.

    Raises:
        MalformedModel: something is missing or cannot be read; the text names it.
    """
    if not directory.is_dir():
        raise MalformedModel(f"{directory}: there is no such directory")
    if (directory / "config.json").is_file() and not (directory / ADAPTER_CONFIG).is_file():
        raise MalformedModel(f"{directory}: this is a whole model and no adapter; name it as the base")
    config = read_json(directory / ADAPTER_CONFIG)
    if not isinstance(config.get("peft_type"), str):
        raise MalformedModel(f"{directory}: {ADAPTER_CONFIG} names no peft_type")
    tensors_of(directory, adapter=True)
    return config


def identity(directory: Path, *, adapter: bool = False) -> str:
    """Digest of the tensors alone, hexadecimal: the same weights have the same, however they are packed."""
    whole = hashlib.sha256()
    for tensor in tensors_of(directory, adapter=adapter):
        whole.update(f"{tensor.name}\0{tensor.dtype}\0{','.join(map(str, tensor.shape))}\0".encode())
        whole.update(_digest(tensor))
    return whole.hexdigest()


def _digest(tensor: Tensor) -> bytes:
    digest = hashlib.sha256()
    if tensor.end > tensor.start:
        with tensor.file.open("rb") as source, mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as view:
            for at in range(tensor.start, tensor.end, _CHUNK):
                digest.update(view[at : min(at + _CHUNK, tensor.end)])
    return digest.digest()


def remembered_identity(directory: Path, notes: Path, *, adapter: bool = False) -> str:
    """The identity, from `notes` as long as the files' inodes, sizes and times are those it was taken from.

    Weights of many gigabytes would else be read twice at every start. `verify` never believes these notes.
    """
    files = weight_files(directory, adapter=adapter)
    state = json.dumps([[str(file.resolve()), *_state(file)] for file in files])
    note = notes / (hashlib.sha256(state.encode()).hexdigest() + ".json")
    try:
        found = json.loads(note.read_bytes())
        if found["state"] == state and len(found["identity"]) == 64:
            return str(found["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    taken = identity(directory, adapter=adapter)
    # a cache that cannot be written costs the time to read the weights again, nothing else
    with suppress(OSError):
        write_whole(note, json.dumps({"state": state, "identity": taken}).encode())
    return taken


def _state(file: Path) -> list[int]:
    # the change time cannot be set back by whoever swaps a file and mends its modification time
    found = file.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def manifest(directory: Path) -> dict[str, Entry]:
    """SHA-256 and size of every file below a directory, by path with `/`; what a hub client or a run left beside them does not count."""
    return {name: Entry(sha256_of(file), file.stat().st_size) for name, file in _files(directory)}


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(directory.rglob("*")):
        name = file.relative_to(directory).as_posix()
        if file.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in name.split("/")):
            yield name, file


def differences(recorded: Mapping[str, Entry], found: Mapping[str, Entry]) -> list[str]:
    """What differs, one sentence each, in the order of names; empty when nothing does."""
    told = []
    for name in sorted(recorded.keys() | found.keys()):
        if name not in found:
            told.append(f"{name} is missing")
        elif name not in recorded:
            told.append(f"{name} was not there")
        elif recorded[name] != found[name]:
            told.append(f"{name} has changed ({recorded[name].sha256[:12]}… is {found[name].sha256[:12]}… now)")
    return told


def same(recorded: Mapping[str, Entry], directory: Path) -> None:
    """See that a directory's files are those that were recorded.

    Raises:
        Changed: one is not; the text names the first few.
    """
    told = differences(recorded, manifest(directory))
    if told:
        more = f" and {len(told) - 3} more" if len(told) > 3 else ""
        raise Changed(f"{directory}: not what was recorded: {'; '.join(told[:3])}{more}")


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that any reader sees all of it or none, whoever else writes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(file)


def total(tensors: Iterable[Tensor]) -> int:
    """Bytes of the tensors together."""
    return sum(tensor.end - tensor.start for tensor in tensors)
