"""Loading a model so that it is the one that was asked for, whole, and at the precision this machine is best at.

Safetensors only and no code from a model's directory. What the libraries only warn about (weights that are missing, left over or
of another shape, an adapter that reaches nothing) is an error here. Knows PyTorch, transformers, peft and bitsandbytes, which are
imported when something is loaded; knows nothing of windows or what the answers mean.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from detector.models.adapters import attach, prove
from detector.models.errors import EXTRA, KeysDiffer, MalformedModel, NoLibraries, OtherBase, TooLittleMemory, WrongLabels
from detector.models.files import check_base, read_json, tensors_of
from detector.models.memory import Choice, Kind, Machine, choose, this_machine
from detector.models.places import Places
from detector.models.quiet import quiet
from detector.models.registry import Found, find

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())
_GIB: Final = 1 << 30
_HEADS: Final = ("lm_head", "score", "classifier")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that answers, and what it is: names and identities go into every verdict's provenance."""

    model: Any
    tokenizer: Any
    device: str
    precision: str
    base: str
    base_sha256: str
    adapter: str | None
    adapter_sha256: str | None
    revision: str | None
    told: str = ""  # the line that says what was chosen and why


def load_causal(
    base: str,
    adapter: str | None = None,
    *,
    precision: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    places: Places | None = None,
    machine: Machine | None = None,
) -> Loaded:
    """A language model with its head and its tokenizer (padding on the left), perhaps with an adapter.

    `base` and `adapter` are directories, names or hub ids that were added, hub ids with a full commit as `revision` (the base's), or
    `package:` names. `machine` is what this machine has unless given.

    Raises:
        ConfigurationError: it cannot be loaded; the type and the text say what is wrong and what would help.
    """
    return _load("causal", base, adapter, None, False, precision, device, revision, places, machine)


def load_classifier(
    base: str,
    adapter: str | None = None,
    *,
    labels: Sequence[str] | None = None,
    fresh: bool = False,
    precision: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    places: Places | None = None,
    machine: Machine | None = None,
) -> Loaded:
    """A sequence classifier and its tokenizer (padding on the right). Its own label map stands (`model.config.id2label`).

    `labels` are those it must have, in any order; a map that names none (`LABEL_0`…) takes these, in this order. `fresh` makes a new
    head for `labels` on a base that has none, to be trained. The rest is as for `load_causal`.

    Raises:
        WrongLabels: its labels are others.
        ConfigurationError: as for `load_causal`.
    """
    return _load("classifier", base, adapter, labels, fresh, precision, device, revision, places, machine)


def load_encoder(
    base: str,
    *,
    precision: str = "auto",
    device: str = "auto",
    revision: str | None = None,
    places: Places | None = None,
    machine: Machine | None = None,
) -> Loaded:
    """A model without a head, and its tokenizer: its answer is the last hidden state.

    Raises:
        ConfigurationError: as for `load_causal`.
    """
    return _load("encoder", base, None, None, False, precision, device, revision, places, machine)


def _load(
    kind: Kind,
    base: str,
    adapter: str | None,
    labels: Sequence[str] | None,
    fresh: bool,
    precision: str,
    device: str,
    revision: str | None,
    places: Places | None,
    machine: Machine | None,
) -> Loaded:
    _libraries()
    found = find(base, revision=revision, places=places)
    config = check_base(found.path, tokenizer=False)
    other = None if adapter is None else find(adapter, adapter=True, places=places)
    if other is not None:
        check_belongs(other, found)
    tokenizer = _tokenizer(found.path, None if other is None else other.path)
    _left_or_right(tokenizer, kind)
    tensors = tensors_of(found.path)
    choice = choose(tensors, machine or this_machine(device), kind=kind, precision=precision, device=device)
    own = _labels(config, found, labels) if kind == "classifier" else None
    try:
        with quiet():
            model = _model(kind, found, choice, own, fresh or other is not None)
            blind: list[str] = []
            if other is not None:
                model, blind = attach(model, other.path)
            _pad(model, tokenizer)
            model.eval()
            prove(model, min(_vocabulary(model), 1000), other.path if other is not None else None)
    except (MemoryError, RuntimeError, AssertionError) as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error):
            raise TooLittleMemory(
                f"{base}: memory ran out while it was loaded as {choice.precision}; it needs {choice.need / _GIB:.1f} GiB"
            ) from error
        raise MalformedModel(f"{base}: it does not run as {choice.precision} on {choice.device} ({_short(error)})") from error
    told = _line(found, other, choice, blind)
    _log.info(told)
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        device=choice.device,
        precision=choice.precision,
        base=found.source or found.name,
        base_sha256=found.identity,
        adapter=None if other is None else other.source or other.name,
        adapter_sha256=None if other is None else other.identity,
        revision=found.revision,
        told=told,
    )


def _libraries() -> None:
    try:
        with quiet():
            import peft
            import torch
            import transformers
    except ImportError as error:
        raise NoLibraries(f"{error.name or 'a library'} is not installed: {EXTRA}") from error
    del torch, transformers, peft


def check_belongs(adapter: Found, base: Found) -> None:
    """See that an adapter was made for this base: by the identity recorded for it, else by the name it gives itself.

    Raises:
        OtherBase: it was not.
    """
    if adapter.base_identity is not None:
        if adapter.base_identity != base.identity:
            called = f" ({adapter.base_source})" if adapter.base_source else ""
            theirs, ours = f"{adapter.base_identity[:12]}…{called}", f"{base.identity[:12]}…"
            raise OtherBase(f"{adapter.name}: made for a base with the identity {theirs}, and {base.name} has {ours}")
        return
    named = read_json(adapter.path / "adapter_config.json").get("base_model_name_or_path")
    # a path says where the weights lay when it was trained, a hub id which they were
    if isinstance(named, str) and base.source and not named.startswith((".", "/", "~")) and named != base.source and named.count("/") == 1:
        raise OtherBase(
            f"{adapter.name}: made for {named}, and the base is {base.source}; `daywatch models add … --base` records it if that is meant"
        )


def _tokenizer(base: Path, adapter: Path | None) -> Any:
    from transformers import AutoTokenizer

    # an adapter that brings a tokenizer was trained with it
    place = adapter if adapter is not None and (adapter / "tokenizer.json").is_file() else base
    if place == base:
        check_base(base)
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(place), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers' own errors have no common root
        raise MalformedModel(f"{place}: its tokenizer cannot be read ({type(error).__name__})") from error


def _left_or_right(tokenizer: Any, kind: Kind) -> None:
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise MalformedModel("its tokenizer has neither a padding token nor one that ends a text: batches cannot be made")
        tokenizer.pad_token = tokenizer.eos_token
    # what is generated must follow the text itself, and a classifier looks at the last token that is no padding
    tokenizer.padding_side = "left" if kind == "causal" else "right"


def _labels(config: Mapping[str, Any], found: Found, labels: Sequence[str] | None) -> list[str] | None:
    """The classifier's labels in the order of its outputs.

    Raises:
        WrongLabels: the map is none, or not the one asked for.
    """
    raw = config.get("id2label")
    if raw is None:
        return list(labels) if labels is not None else None
    try:
        own = [str(raw[str(place)]) for place in range(len(raw))]
    except (KeyError, TypeError) as error:
        raise WrongLabels(f"{found.name}: its id2label does not count from 0 upwards") from error
    if len(set(own)) != len(own):
        raise WrongLabels(f"{found.name}: its id2label names a label twice")
    if labels is None:
        return own
    if all(name == f"LABEL_{place}" for place, name in enumerate(own)):
        if len(own) != len(labels):
            raise WrongLabels(f"{found.name}: it has {len(own)} labels without names, and these are {len(labels)}: {', '.join(labels)}")
        return list(labels)
    if sorted(own) != sorted(labels):
        raise WrongLabels(f"{found.name}: its labels are {', '.join(own)}, and not {', '.join(labels)}")
    return own


def _model(kind: Kind, found: Found, choice: Choice, labels: list[str] | None, fresh: bool) -> Any:
    import torch
    import transformers

    auto: Any = {
        "causal": transformers.AutoModelForCausalLM,
        "classifier": transformers.AutoModelForSequenceClassification,
        "encoder": transformers.AutoModel,
    }[kind]
    given: dict[str, Any] = {
        "dtype": torch.float32 if choice.precision == "fp32" else torch.bfloat16,
        "device_map": {"": choice.device},
        "use_safetensors": True,
        "trust_remote_code": False,
        "local_files_only": True,
        "output_loading_info": True,
        # so that it says which; `_complete` refuses them
        "ignore_mismatched_sizes": True,
    }
    if choice.precision in ("int8", "nf4"):
        given["quantization_config"] = _quantization(choice, kind)
    if labels is not None:
        given |= {"id2label": dict(enumerate(labels)), "label2id": {name: place for place, name in enumerate(labels)}}
    try:
        model, info = auto.from_pretrained(str(found.path), **given)
    except (ValueError, KeyError, OSError, RuntimeError, TypeError) as error:
        if "out of memory" in str(error):
            raise
        raise MalformedModel(f"{found.name}: transformers cannot make a model of it ({type(error).__name__}: {_short(error)})") from error
    if kind == "encoder" and any(key.startswith("pooler.") for key in info["missing_keys"]):
        # saved without the layer that pools, so it was made up; nobody here asks it, and nobody shall
        model.pooler = None
    _complete(kind, found, info, fresh)
    _heads_whole(model)
    return model


def _quantization(choice: Choice, kind: Kind) -> Any:
    import torch
    from transformers import BitsAndBytesConfig

    # it says at every call of every layer which type it casts to
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

    # a list of our own replaces the library's, which leaves out tied and output embeddings: what a language model needs; of a
    # classifier's head of several layers it would leave out the last one only
    skip = ["score", "classifier"] if kind == "classifier" else None
    if choice.precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=skip,
    )


def _heads_whole(model: Any) -> None:
    """See that no head was quantized: a label's probability is the small difference between its rows."""
    for name, module in model.named_modules():
        if set(name.split(".")) & set(_HEADS) and type(module).__module__.startswith("bitsandbytes"):
            raise KeysDiffer(f"{name} was quantized, which moves the answers; this version of transformers chooses its layers otherwise")


def _complete(kind: Kind, found: Found, info: Mapping[str, Any], fresh: bool) -> None:
    missing = sorted(key for key in info["missing_keys"] if not (fresh and kind == "classifier" and _is_head(key)))
    if kind == "encoder":
        missing = [key for key in missing if not key.startswith("pooler.")]
    # a checkpoint of a whole language model is a fine encoder: its head is left over, and so are the places it counted
    over = sorted(key for key in info["unexpected_keys"] if not (kind != "causal" and _left_over(key)))
    shapes = sorted(str(key[0]) for key in info["mismatched_keys"])
    told = [
        f"{len(keys)} {what}, the first {keys[0]}"
        for what, keys in (("missing", missing), ("left over", over), ("of another shape", shapes))
        if keys
    ]
    told += [_short(message) for message in info.get("error_msgs") or []]
    if told:
        raise KeysDiffer(f"{found.name}: its weights do not cover its architecture: {'; '.join(told)}")


def _is_head(key: str) -> bool:
    return key.split(".", maxsplit=1)[0] in ("score", "classifier")


def _left_over(key: str) -> bool:
    return key.split(".", maxsplit=1)[0] in _HEADS or key.endswith("position_ids")


def _pad(model: Any, tokenizer: Any) -> None:
    # a Qwen2 classifier without it refuses every batch of more than one
    for config in (model.config, model.config.get_text_config()):
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = tokenizer.pad_token_id


def _vocabulary(model: Any) -> int:
    return int(model.config.get_text_config().vocab_size)


def _line(found: Found, adapter: Found | None, choice: Choice, blind: Sequence[str]) -> str:
    with_ = "" if adapter is None else f" with {adapter.name} ({adapter.identity[:12]}…)"
    at = f"@{found.revision[:12]}" if found.revision else ""
    aside = f"; {len(blind)} adapter weights for images left aside" if blind else ""
    loose = "; the adapter names no base's identity, `daywatch models add` records it" if adapter and adapter.base_identity is None else ""
    return (
        f"{found.name}{at} ({found.identity[:12]}…){with_}: {choice.precision} on {choice.device} ({choice.why}), "
        f"{choice.need / _GIB:.1f} GiB of {choice.free / _GIB:.1f} GiB free{aside}{loose}"
    )


def _short(error: object) -> str:
    return " ".join(str(error).split())[:200]
