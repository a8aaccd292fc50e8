"""Putting a LoRA adapter onto a base, strictly: every weight finds its place, every place gets its weight, and the answers change.

An adapter trained through one class and loaded on another silently does nothing: `AutoModelForCausalLM` gives the text model of a
composite checkpoint, whose modules are called `model.layers…`, while the composite class calls the same ones
`model.language_model.layers…`. So keys are matched by what is left when such containers are taken off their front. Knows peft;
knows nothing of where files come from.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from detector.models.errors import IdleAdapter, KeysDiffer, MalformedModel, OtherBase
from detector.models.files import ADAPTER_WEIGHTS, check_adapter
from detector.models.quiet import quiet
from stream.errors import ConfigurationError

_CONTAINERS: Final = ("base_model", "model", "language_model", "text_model")
# an adapter over all linear layers of a composite model has weights for its eyes, too, which a text model has not
_EYES: Final = ("visual", "vision_tower", "vision_model", "audio_tower", "multi_modal_projector")
_PROBE: Final = 24


class BrokenNumbers(MalformedModel):
    """The model's answer to a plain question is no number."""


def core(key: str) -> str:
    """A key without the containers at its front: what two classes over the same weights agree on.

    >>> core("base_model.model.model.language_model.layers.3.mlp.up_proj.lora_A.weight")
    'layers.3.mlp.up_proj.lora_A.weight'
    """
    parts = key.split(".")
    while len(parts) > 1 and parts[0] in _CONTAINERS:
        parts = parts[1:]
    return ".".join(parts)


def mapped(given: Iterable[str], wanted: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """For each given key the wanted one it stands for, and the given keys that belong to eyes this model has not.

    Raises:
        KeysDiffer: a key is missing or left over, or two stand for the same place.
    """
    theirs, ours = list(given), {core(key): key for key in wanted}
    blind = [key for key in theirs if core(key) not in ours and core(key).split(".")[0] in _EYES]
    rest = [key for key in theirs if key not in set(blind)]
    over = [key for key in rest if core(key) not in ours]
    missing = sorted(ours.keys() - {core(key) for key in rest})
    if over or missing or len({core(key) for key in rest}) != len(rest):
        told = [f"{len(keys)} {what}, the first {keys[0]}" for what, keys in (("left over", over), ("missing", missing)) if keys]
        raise KeysDiffer(f"the adapter's weights do not match this base: {'; '.join(told) or 'two keys stand for one place'}")
    return {key: ours[core(key)] for key in rest}, blind


def attach(model: Any, directory: Path) -> tuple[Any, list[str]]:
    """The model with the adapter in it, ready to answer, and the keys that were left aside because this model has no eyes.

    Raises:
        MalformedModel: it is no adapter that can be loaded.
        KeysDiffer: a weight is missing or left over.
        OtherBase: its weights have other shapes than this base.
    """
    with quiet():
        return _attached(model, directory)


def _attached(model: Any, directory: Path) -> tuple[Any, list[str]]:
    import peft
    from peft.utils.save_and_load import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict

    raw = check_adapter(directory)
    config = _config(raw, directory)
    config.target_modules = _targets(config.target_modules, [name for name, _ in model.named_modules()])
    config.inference_mode = True
    try:
        # adapter weights in the base's own type: casting every activation up and down again would cost more than the layers do
        adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    except ValueError as error:
        raise KeysDiffer(f"{directory}: none of the modules it was trained for are in this base") from error
    given = load_peft_weights(str(directory), device="cpu")
    wanted = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    try:
        places, blind = mapped(given, wanted)
    except KeysDiffer as error:
        raise KeysDiffer(f"{directory}: {error}") from error
    _same_shapes({places[key]: weights for key, weights in given.items() if key in places}, wanted, directory)
    result = set_peft_model_state_dict(adapted, {places[key]: weights for key, weights in given.items() if key in places})
    if result.unexpected_keys:
        raise KeysDiffer(f"{directory}: {len(result.unexpected_keys)} weights found no place, the first {result.unexpected_keys[0]}")
    now = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    for key, place in places.items():
        if not bool((now[place].cpu() == given[key].to(now[place].dtype)).all()):
            raise KeysDiffer(f"{directory}: {key} did not reach its place")
    return adapted.eval(), blind


def _config(raw: Mapping[str, Any], directory: Path) -> Any:
    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    if raw.get("megatron_config") or raw.get("auto_mapping"):
        # both name Python modules that peft would import
        raise ConfigurationError(f"{directory}: its configuration names code to import (megatron_config or auto_mapping); that is not done")
    if raw["peft_type"] != "LORA":
        raise ConfigurationError(f"{directory}: a {raw['peft_type']} adapter; only LORA is loaded")
    try:
        config: PeftConfig = PEFT_TYPE_TO_CONFIG_MAPPING[raw["peft_type"]].from_pretrained(str(directory))
    except (TypeError, ValueError, KeyError) as error:
        raise MalformedModel(f"{directory}: adapter_config.json cannot be used ({type(error).__name__})") from error
    return config


def _targets(targets: Any, names: list[str]) -> Any:
    """The modules to adapt; a pattern written for a composite class is held against both ways of calling each module."""
    if not isinstance(targets, str) or targets == "all-linear" or any(re.fullmatch(targets, name) for name in names):
        return targets
    found = [name for name in names if name and any(re.fullmatch(targets, other) for other in _also_called(name))]
    return found or targets


def _also_called(name: str) -> list[str]:
    rest = core(name)
    return [f"{front}{rest}" for front in ("model.", "model.language_model.", "language_model.model.", "language_model.", "")]


def _same_shapes(given: Mapping[str, Any], wanted: Mapping[str, Any], directory: Path) -> None:
    for key, weights in given.items():
        if tuple(weights.shape) != tuple(wanted[key].shape):
            theirs, ours = ("×".join(map(str, shape)) for shape in (weights.shape, wanted[key].shape))
            raise OtherBase(f"{directory}: made for another base: {core(key)} is {theirs} in {ADAPTER_WEIGHTS}, and this base needs {ours}")


def prove(model: Any, vocabulary: int, directory: Path | None = None) -> None:
    """Ask the model about a few tokens and see that numbers come back, and, with an adapter, that it changes them.

    What the layers make of the tokens is compared, not only the answer: an adapter that brings its own head would else always pass.

    Raises:
        BrokenNumbers: the answer is not finite.
        IdleAdapter: with and without the adapter the answer is the same, bit for bit.
    """
    import torch

    # any tokens do, as long as they are the same every time
    asked = torch.tensor([[(7 * place + 3) % vocabulary for place in range(_PROBE)]], device=next(model.parameters()).device)
    with torch.no_grad():
        inner, answer = _asked(model, asked)
        if not (bool(torch.isfinite(inner).all()) and bool(torch.isfinite(answer).all())):
            raise BrokenNumbers("the model answers a plain question with NaN or infinity: its weights or this precision do not work here")
        if directory is None:
            return
        with model.disable_adapter():
            plain, other = _asked(model, asked)
    heads = any(getattr(config, "modules_to_save", None) for config in model.peft_config.values())
    if torch.equal(inner, plain) and (heads or torch.equal(answer, other)):
        raise IdleAdapter(
            f"{directory}: the adapter was loaded and changes nothing in the model's answers; it was never trained, or not for this base"
        )


def _asked(model: Any, tokens: Any) -> tuple[Any, Any]:
    found = model(input_ids=tokens, output_hidden_states=True)
    last = found.hidden_states[-1]
    return last, getattr(found, "logits", last)
