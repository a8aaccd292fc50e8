"""A text's likeness to threat groups by an encoder: MPNet's first token, and a head of two layers over ATT&CK's group ids.

The published model is none of the Auto classes: backbone and head are one module's state, and its label order is that of the sorted
ids it was trained on. Both are loaded here by an explicit map of keys; what is missing, left over or of another shape is an error.
Knows PyTorch and transformers, which are imported when a model is loaded.

    backbone   `embeddings.*`, `encoder.*`, alone or behind one of `PREFIXES`; a pooler is left aside
    head       768 -> 512 -> groups, named as in one of `HEADS`, in the same file or in one of `HEAD_FILES`
    labels     `label_to_groupid.json` {"0": "G0001", …} or a list of ids in the order of the outputs; else the ids of the config
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from detector.groups.lexical import Floats
from detector.models.errors import EXTRA, KeysDiffer, MalformedModel, NoLibraries, TooLittleMemory, UnsafeWeights, WrongLabels

PREFIXES: Final = ("", "mpnet.", "model.", "base_model.", "backbone.", "encoder_model.", "module.mpnet.", "module.model.")
HEADS: Final[tuple[tuple[str, str], ...]] = (
    ("classifier.0", "classifier.3"),
    ("classifier.0", "classifier.2"),
    ("classification_head.0", "classification_head.3"),
    ("classification_head.0", "classification_head.2"),
    ("head.0", "head.3"),
    ("head.0", "head.2"),
    ("fc1", "fc2"),
    ("linear1", "linear2"),
    ("0", "3"),
    ("0", "2"),
)
"""Names of the two linear layers: of a module with or without dropout between them, or of attributes."""
HEAD_FILES: Final = ("head.safetensors", "classifier.safetensors", "classification_head.safetensors")
LABEL_FILES: Final = ("label_to_groupid.json", "labels.json", "labels.txt")
TOKENS: Final = 128
"""Of a text, as on the published model's card."""
INNER: Final = 512
BATCH: Final = 32
_GROUP: Final = re.compile(r"G\d{4}")
_BACKBONE: Final = ("embeddings.", "encoder.")


@dataclass(slots=True)
class Encoder:
    """An encoder with its head, ready to be asked. `masked` says whether it was trained on texts without names."""

    name: str
    groups: tuple[str, ...]
    masked: bool
    model: Any
    head: Any
    tokenizer: Any
    device: str
    batch: int = BATCH

    @classmethod
    def load(
        cls, place: str, *, labels: Path | None = None, precision: str = "auto", device: str = "auto", revision: str | None = None
    ) -> "Encoder":
        """From a directory, a name or hub id that was added, or a `package:` name.

        Raises:
            ConfigurationError: it cannot be loaded; the type and the text say what is wrong.
        """
        torch = torch_or_say()
        from detector.models.registry import find

        found = find(place, revision=revision)
        state = state_of(found.path)
        notes = _notes(found.path)
        groups = labels_of(found.path, labels, len(state.second_bias), notes)
        chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        half = precision == "bf16" or (precision == "auto" and chosen != "cpu")
        if precision not in ("auto", "fp32", "bf16"):
            raise MalformedModel(f"--precision {precision}: this model runs as fp32 or bf16")
        model, head = built(found.path, state)
        kind = torch.bfloat16 if half else torch.float32
        masked = bool(notes.get("masked", False))
        # the head stays in float32: it costs nothing, and a probability is the small difference between its rows
        return cls(found.name, groups, masked, model.to(chosen, kind).eval(), head.to(chosen).eval(), tokenizer_of(found.path), chosen)

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """Natural logarithms of probabilities among the groups, shape (n, groups); texts of like length share a batch.

        Raises:
            MalformedModel: the model gives no numbers.
            TooLittleMemory: a single text does not fit.
        """
        torch = torch_or_say()
        found = np.zeros((len(texts), len(self.groups)), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        start = 0
        while start < len(order):
            places = order[start : start + self.batch]
            try:
                found[places] = self._ask([texts[place] for place in places])
            except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
                if not isinstance(error, MemoryError) and "out of memory" not in str(error).lower():
                    raise
                if self.batch == 1:
                    raise TooLittleMemory(f"{self.name}: memory runs out on a single text of {TOKENS} tokens") from error
                self.batch //= 2
                continue
            start += len(places)
        if not np.isfinite(found).all():
            raise MalformedModel(f"{self.name}: the model answers with what is no number; load it with --precision fp32")
        return found

    def _ask(self, texts: list[str]) -> Floats:
        torch = torch_or_say()
        asked = self.tokenizer(texts, truncation=True, max_length=TOKENS, padding=True, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            first = self.model(input_ids=asked["input_ids"], attention_mask=asked["attention_mask"]).last_hidden_state[:, 0]
            return np.asarray(torch.log_softmax(self.head(first.float()), dim=-1).cpu().numpy(), np.float32)


@dataclass(frozen=True, slots=True)
class State:
    """A checkpoint's tensors, mapped: the backbone by MPNet's own keys, and the head's four."""

    backbone: Mapping[str, Any]
    first_weight: Any
    first_bias: Any
    second_weight: Any
    second_bias: Any


def state_of(directory: Path) -> State:
    """Read a checkpoint in the published layout.

    Raises:
        UnsafeWeights: its weights are pickles.
        KeysDiffer: there is no head, or more than backbone and head.
        MalformedModel: a file cannot be read.
    """
    from detector.models.files import tensors_in, weight_files

    files = weight_files(directory)
    beside = [directory / name for name in HEAD_FILES if (directory / name).is_file()]
    held: dict[str, Any] = {}
    for file in [*files, *beside]:
        tensors_in(file)
        held |= _read(file)
    prefix = next((one for one in PREFIXES if f"{one}embeddings.word_embeddings.weight" in held), None)
    if prefix is None:
        raise KeysDiffer(f"{directory}: there is no MPNet backbone in its weights (embeddings.word_embeddings.weight)")
    backbone = {key.removeprefix(prefix): value for key, value in held.items() if key.startswith(tuple(prefix + one for one in _BACKBONE))}
    rest = {key: value for key, value in held.items() if not key.startswith(tuple(prefix + one for one in (*_BACKBONE, "pooler.")))}
    backbone = {key: value for key, value in backbone.items() if not key.endswith("position_ids")}
    names = next((pair for pair in HEADS if f"{pair[0]}.weight" in rest and f"{pair[1]}.weight" in rest), None)
    if names is None:
        unsafe = next((file.name for file in sorted(directory.iterdir()) if file.suffix in (".pt", ".pth", ".bin")), None)
        if unsafe is not None:
            raise UnsafeWeights(
                f"{directory}: the head is not among its safetensors, and {unsafe} may run code when it is read; convert it to "
                f"{HEAD_FILES[0]} on a machine you can lose"
            )
        raise KeysDiffer(f"{directory}: there is no head in its weights; known are {', '.join('+'.join(pair) for pair in HEADS)}")
    try:
        parts = [rest.pop(f"{name}.{kind}") for name in names for kind in ("weight", "bias")]
    except KeyError as error:
        raise KeysDiffer(f"{directory}: the head has no {error.args[0]}") from error
    if rest:
        raise KeysDiffer(f"{directory}: {len(rest)} left over, the first {min(rest)}")
    wide = backbone["embeddings.word_embeddings.weight"].shape[1]
    first, second = tuple(parts[0].shape), tuple(parts[2].shape)
    if first[1:] != (wide,) or second[1:] != first[:1] or tuple(parts[1].shape) != first[:1] or tuple(parts[3].shape) != second[:1]:
        raise KeysDiffer(f"{directory}: the head's layers {first} and {second} do not follow a backbone of {wide}")
    return State(backbone, *parts)


def built(directory: Path, state: State) -> tuple[Any, Any]:
    """Backbone and head with those weights, in float32.

    Raises:
        KeysDiffer: the weights do not cover the architecture.
        MalformedModel: the configuration is no MPNet's.
    """
    torch = torch_or_say()
    from transformers import MPNetConfig, MPNetModel

    from detector.models.files import check_base

    config = check_base(directory, tokenizer=False)
    if config["model_type"] != "mpnet":
        raise MalformedModel(f"{directory}: its model_type is {str(config['model_type'])[:40]}, and this head follows an mpnet")
    model = MPNetModel(MPNetConfig.from_pretrained(str(directory), local_files_only=True), add_pooling_layer=False)
    _covered(directory, model, state.backbone)
    head = new_head(state.first_weight.shape[1], len(state.second_bias), inner=len(state.first_bias))
    with torch.no_grad():
        for layer, weight, bias in ((head[0], state.first_weight, state.first_bias), (head[3], state.second_weight, state.second_bias)):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return model, head


def new_head(wide: int, groups: int, inner: int = INNER, dropout: float = 0.3) -> Any:
    """The head as published: two layers with a rectifier and dropout between them."""
    nn = torch_or_say().nn
    return nn.Sequential(nn.Linear(wide, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, groups))


def _covered(directory: Path, model: Any, backbone: Mapping[str, Any]) -> None:
    wanted = {key: value for key, value in model.state_dict().items() if not key.endswith("position_ids")}
    told = [
        f"{len(keys)} {what}, the first {min(keys)}"
        for what, keys in (
            ("missing", wanted.keys() - backbone.keys()),
            ("left over", backbone.keys() - wanted.keys()),
            ("of another shape", {key for key in wanted.keys() & backbone.keys() if wanted[key].shape != backbone[key].shape}),
        )
        if keys
    ]
    if told:
        raise KeysDiffer(f"{directory}: its weights do not cover its architecture: {'; '.join(told)}")
    model.load_state_dict(dict(backbone), strict=False)


def labels_of(directory: Path, given: Path | None, outputs: int, notes: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Group ids in the order of the outputs: of the file given, else of one beside the weights, else of the configuration.

    Raises:
        WrongLabels: there are none, not as many as outputs, or what stands there is no group's id.
    """
    file = given or next((directory / name for name in LABEL_FILES if (directory / name).is_file()), None)
    if file is not None:
        found, where = _labels_in(file), str(file)
    else:
        raw = _json(directory / "config.json").get("id2label") or {}
        found, where = [str(raw[key]) for key in sorted(raw, key=_number)], f"{directory / 'config.json'}"
        if not all(_GROUP.fullmatch(one) for one in found) or len(found) != outputs:
            found = [str(one) for one in (notes or {}).get("groups", ())]
    if not found:
        raise WrongLabels(
            f"{directory}: nothing says which group each of its {outputs} outputs is; give the sorted ids of its training set with --labels"
        )
    if len(found) != outputs or len(set(found)) != len(found):
        raise WrongLabels(f"{where}: {len(set(found))} labels for {outputs} outputs")
    strange = next((one for one in found if not _GROUP.fullmatch(one)), None)
    if strange is not None:
        raise WrongLabels(f"{where}: {strange[:40]!r} is no id of a group, such as G0007")
    return tuple(found)


def _labels_in(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongLabels(f"{file}: it cannot be read") from error
    if text.lstrip()[:1] not in ("{", "["):
        return text.split()
    try:
        value = json.loads(text)
        if isinstance(value, dict) and all(_GROUP.fullmatch(str(key)) for key in value):
            value = {number: key for key, number in value.items()}
        return [str(value[key]) for key in sorted(value, key=_number)] if isinstance(value, dict) else [str(one) for one in value]
    except (ValueError, TypeError) as error:
        raise WrongLabels(f"{file}: neither a list of ids nor a table from outputs to ids") from error


def _number(key: object) -> int:
    return int(str(key))


def tokenizer_of(directory: Path) -> Any:
    """The tokenizer that stands beside the weights.

    Raises:
        MalformedModel: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    from detector.models.files import check_base
    from detector.models.quiet import quiet

    check_base(directory)
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers' own errors have no common root
        raise MalformedModel(f"{directory}: its tokenizer cannot be read ({type(error).__name__})") from error


def _read(file: Path) -> dict[str, Any]:
    torch_or_say()
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    load: Callable[[Path], dict[str, Any]] = load_file
    try:
        return load(file)
    except (OSError, SafetensorError) as error:
        raise MalformedModel(f"{file}: it cannot be read") from error


def _notes(directory: Path) -> dict[str, Any]:
    file = directory / "daywatch.json"
    return _json(file) if file.is_file() else {}


def _json(file: Path) -> dict[str, Any]:
    from detector.models.files import read_json

    return read_json(file)


def torch_or_say() -> Any:
    """PyTorch.

    Raises:
        NoLibraries: it or transformers is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise NoLibraries(f"{error.name or 'a library'} is not installed: {EXTRA}") from error
    del transformers
    return torch
