"""Promises of adapters: every weight finds its place whatever the class, or loading fails; nothing is only warned about."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from detector.models.adapters import BrokenNumbers, attach, core, mapped, prove
from detector.models.errors import IdleAdapter, KeysDiffer, OtherBase
from stream.errors import ConfigurationError
from tests.detector.model_fixtures import write_adapter, write_qwen2

FRONT = "base_model.model."


def loaded(directory: Path, composite: bool = False) -> Any:
    import transformers

    from detector.models.quiet import quiet

    auto = transformers.AutoModelForImageTextToText if composite else transformers.AutoModelForCausalLM
    with quiet():
        return auto.from_pretrained(directory).eval()


def answer(model: Any, tokens: list[int]) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits


def test_keys_meet_by_what_two_classes_agree_on() -> None:
    names = [
        "model.layers.0.q.lora_A.weight",
        "model.language_model.layers.0.q.lora_A.weight",
        "language_model.model.layers.0.q.lora_A.weight",
    ]
    assert {core(FRONT + name) for name in names} == {"layers.0.q.lora_A.weight"}
    for theirs in names:
        for ours in names:
            assert mapped([FRONT + theirs], [FRONT + ours]) == ({FRONT + theirs: FRONT + ours}, [])


def test_a_key_that_is_missing_left_over_or_there_twice_is_an_error() -> None:
    for given, wanted, told in (
        (["model.a.w"], ["model.a.w", "model.b.w"], "1 missing, the first b.w"),
        (["model.a.w", "model.b.w"], ["model.a.w"], "1 left over, the first model.b.w"),
        (["model.a.w", "a.w"], ["model.a.w"], "one place"),
    ):
        with pytest.raises(KeysDiffer, match=told):
            mapped(given, wanted)


def test_weights_for_eyes_are_left_aside_by_a_model_without_and_said() -> None:
    given = ["model.a.w", "model.visual.blocks.0.w"]
    assert mapped(given, ["model.a.w"]) == ({"model.a.w": "model.a.w"}, ["model.visual.blocks.0.w"])
    assert mapped(given, given)[1] == []


@pytest.fixture(scope="module")
def plain_adapter(tiny_models: Path, tiny_qwen3_5: Path) -> Path:
    return write_adapter(tiny_models / "adapter_text", tiny_qwen3_5)


def test_an_adapter_trained_on_the_text_class_works_on_the_composite_and_back(tiny_models: Path, tiny_qwen3_5_composite: Path) -> None:
    through_text = write_adapter(tiny_models / "through_text", tiny_qwen3_5_composite)
    through_whole = write_adapter(tiny_models / "through_whole", tiny_qwen3_5_composite, composite=True)
    import torch

    tokens = [5, 9, 40, 41, 7]
    for adapter in (through_text, through_whole):
        answers = [answer(attach(loaded(tiny_qwen3_5_composite, composite), adapter)[0], tokens) for composite in (False, True)]
        bare = answer(loaded(tiny_qwen3_5_composite), tokens)
        # 2e-3: the two classes place tokens by different code
        torch.testing.assert_close(answers[0], answers[1], atol=2e-3, rtol=0)
        assert (answers[0] - bare).abs().max() > 0.01


def test_an_adapter_over_all_layers_of_a_composite_loads_on_its_text(tiny_models: Path, tiny_qwen3_5_composite: Path) -> None:
    adapter = write_adapter(tiny_models / "all_linear", tiny_qwen3_5_composite, targets="all-linear", composite=True)
    adapted, aside = attach(loaded(tiny_qwen3_5_composite), adapter)
    assert aside
    assert all("visual" in key for key in aside)
    prove(adapted, 200, adapter)


def test_a_pattern_of_modules_written_for_the_composite_class_finds_them_in_the_text_class(
    tiny_models: Path, tiny_qwen3_5_composite: Path, tmp_path: Path
) -> None:
    pattern = r"model\.language_model\.layers\.\d+\.self_attn\.(q|v)_proj"
    adapter = write_adapter(tmp_path / "pattern", tiny_qwen3_5_composite, targets=pattern, composite=True)
    prove(attach(loaded(tiny_qwen3_5_composite), adapter)[0], 200, adapter)


def test_a_weight_that_is_missing_from_an_adapter_is_an_error(tiny_qwen2: Path, tiny_adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = tmp_path / "half"
    shutil.copytree(tiny_adapter, adapter)
    weights = load_file(adapter / "adapter_model.safetensors")
    lost = next(key for key in weights if "layers.1" in key and "lora_B" in key)
    del weights[lost]
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(KeysDiffer, match=f"1 missing, the first {core(lost)}"):
        attach(loaded(tiny_qwen2), adapter)


def test_an_adapter_for_a_base_of_another_shape_is_refused(tiny_adapter: Path, tmp_path: Path) -> None:
    wide = write_qwen2(tmp_path / "wide", hidden_size=128)
    with pytest.raises(OtherBase, match=r"k_proj\.lora_A\.weight is 4×64 .* needs 4×128"):
        attach(loaded(wide), tiny_adapter)


def test_an_adapter_for_a_deeper_base_is_refused(tiny_adapter: Path, tmp_path: Path) -> None:
    shallow = write_qwen2(tmp_path / "shallow", num_hidden_layers=1)
    with pytest.raises(KeysDiffer, match="8 left over"):
        attach(loaded(shallow), tiny_adapter)


def test_an_adapter_that_changes_nothing_is_refused(tiny_qwen2: Path, tmp_path: Path) -> None:
    idle = write_adapter(tmp_path / "idle", tiny_qwen2, strength=0.0)
    adapted, _ = attach(loaded(tiny_qwen2), idle)
    with pytest.raises(IdleAdapter, match="changes nothing"):
        prove(adapted, 200, idle)


def test_a_classifiers_own_head_does_not_hide_that_its_adapter_changes_nothing(tiny_classifier: Path, tmp_path: Path) -> None:
    import transformers
    from safetensors.torch import load_file, save_file

    idle = write_adapter(tmp_path / "idle", tiny_classifier, kind="classifier", strength=0.0)
    live = write_adapter(tmp_path / "live", tiny_classifier, kind="classifier")
    for adapter in (idle, live):
        # a head that was trained, so that the answers differ whatever the layers do
        weights = load_file(adapter / "adapter_model.safetensors")
        weights["base_model.model.score.weight"] += 1
        save_file(weights, adapter / "adapter_model.safetensors")
    for adapter in (idle, live):
        model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_classifier).eval()
        adapted, _ = attach(model, adapter)
        if adapter == live:
            prove(adapted, 200, adapter)
        else:
            with pytest.raises(IdleAdapter):
                prove(adapted, 200, adapter)


def test_a_model_that_answers_with_no_number_is_refused(tiny_qwen2: Path) -> None:
    import torch

    model = loaded(tiny_qwen2)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(BrokenNumbers, match="NaN"):
        prove(model, 200)


@pytest.mark.parametrize(
    ("key", "value"), [("auto_mapping", {"parent_library": "os"}), ("megatron_config", {"a": 1}), ("peft_type", "IA3")]
)
def test_an_adapters_configuration_names_no_code_and_no_other_kind(
    tiny_qwen2: Path, tiny_adapter: Path, tmp_path: Path, key: str, value: Any
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(tiny_adapter, adapter)
    config = json.loads((adapter / "adapter_config.json").read_bytes())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(ConfigurationError, match="only LORA" if key == "peft_type" else "code to import"):
        attach(loaded(tiny_qwen2), adapter)
