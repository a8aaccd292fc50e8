"""Models for tests: tiny random ones of the architectures that are supported, made here, and the small real ones that come as packages.

Use the fixtures (they are in `tests/conftest.py`, so every test can ask for them), or the `write_…` functions for one's own shapes.
Everything skips where PyTorch or a package of weights is not installed. Session fixtures are directories: do not write into them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LOG_LABELS = ("Normal", "Suspicious", "Malicious", "Informational", "Error")
# small enough that a forward pass takes a millisecond, whole enough that every kind of layer occurs; NF4 wants 64 numbers in, 32 out
_SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}


def needs_models() -> None:
    """Skip the test where the libraries are not installed."""
    for name in ("torch", "transformers", "peft"):
        pytest.importorskip(name, reason="needs the extra llm")


def write_tokenizer(directory: Path) -> int:
    """A byte-level tokenizer with ChatML's special tokens and its template; how many tokens it knows (259)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    whole.add_special_tokens({"additional_special_tokens": list(SPECIAL[1:2])})
    whole.chat_template = CHATML
    whole.save_pretrained(directory)
    return len(whole)


def _written(directory: Path, model: Any) -> Path:
    from detector.models.quiet import quiet

    with quiet():
        model.save_pretrained(directory)
    return directory


def write_qwen2(directory: Path, seed: int = 0, **shape: Any) -> Path:
    """A tiny random Qwen2ForCausalLM with its tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = Qwen2Config(vocab_size=write_tokenizer(directory), **(_SMALL | shape))
    return _written(directory, Qwen2ForCausalLM(config))


def write_classifier(directory: Path, labels: Sequence[str] = LOG_LABELS, seed: int = 0, **shape: Any) -> Path:
    """A tiny random Qwen2ForSequenceClassification, without pad_token_id, as the published one."""
    import torch
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    config = Qwen2Config(
        vocab_size=write_tokenizer(directory), id2label=names, label2id={name: place for place, name in names.items()}, **(_SMALL | shape)
    )
    config.pad_token_id = None
    return _written(directory, Qwen2ForSequenceClassification(config))


def _qwen3_5_text(vocabulary: int, **shape: Any) -> dict[str, Any]:
    # four layers: three gated delta nets, one full attention, as in the original's interval
    small = _SMALL | {"vocab_size": vocabulary, "num_hidden_layers": 4, "head_dim": 16}
    linear = {"linear_key_head_dim": 16, "linear_num_key_heads": 4, "linear_value_head_dim": 2, "linear_num_value_heads": 32}
    return small | linear | shape


def write_qwen3_5(directory: Path, seed: int = 0, **shape: Any) -> Path:
    """A tiny random Qwen3_5ForCausalLM (text alone)."""
    import torch
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    return _written(directory, Qwen3_5ForCausalLM(Qwen3_5TextConfig(**_qwen3_5_text(write_tokenizer(directory), **shape))))


def write_qwen3_5_composite(directory: Path, seed: int = 0, **shape: Any) -> Path:
    """A tiny random Qwen3_5ForConditionalGeneration: text and vision in one, as it is published."""
    import torch
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 64, "num_position_embeddings": 16}
    config = Qwen3_5Config(text_config=_qwen3_5_text(write_tokenizer(directory), **shape), vision_config=vision)
    return _written(directory, Qwen3_5ForConditionalGeneration(config))


def write_mpnet(directory: Path, seed: int = 0, **shape: Any) -> Path:
    """A tiny random MPNetModel with the byte-level tokenizer."""
    import torch
    from transformers import MPNetConfig, MPNetModel

    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 514}
    return _written(directory, MPNetModel(MPNetConfig(vocab_size=write_tokenizer(directory), **(small | shape))))


def write_adapter(
    directory: Path,
    base: Path,
    *,
    kind: str = "causal",
    seed: int = 0,
    rank: int = 4,
    targets: Sequence[str] | str = ("q_proj", "k_proj", "v_proj", "o_proj"),
    strength: float = 0.1,
    composite: bool = False,
) -> Path:
    """A LoRA adapter with random weights for a base; `strength` 0 gives one that changes nothing.

    `kind` is causal or classifier (its score head is saved with it); `composite` makes it through the composite class.
    """
    from detector.models.quiet import quiet

    with quiet():
        return _write_adapter(directory, base, kind, seed, rank, targets, strength, composite)


def _write_adapter(directory: Path, base: Path, kind: str, seed: int, rank: int, targets: Any, strength: float, composite: bool) -> Path:
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    if kind == "classifier":
        model = transformers.AutoModelForSequenceClassification.from_pretrained(base)
    elif composite:
        model = transformers.AutoModelForImageTextToText.from_pretrained(base)
    else:
        model = transformers.AutoModelForCausalLM.from_pretrained(base)
    aims = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=aims, task_type="SEQ_CLS" if kind == "classifier" else "CAUSAL_LM")
    adapted = get_peft_model(model, config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.normal_(0.0, strength if "lora_B" in name else 0.1)
    adapted.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this process keeps its tiny models."""
    needs_models()
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_qwen2(tiny_models: Path) -> Path:
    """Directory of a tiny random Qwen2 (causal, with a chat template)."""
    return write_qwen2(tiny_models / "qwen2")


@pytest.fixture(scope="session")
def tiny_qwen3_5(tiny_models: Path) -> Path:
    """Directory of a tiny random Qwen3.5 (causal, text alone: gated delta nets and full attention)."""
    return write_qwen3_5(tiny_models / "qwen3_5")


@pytest.fixture(scope="session")
def tiny_qwen3_5_composite(tiny_models: Path) -> Path:
    """Directory of a tiny random Qwen3.5 as it is published: text and vision in one."""
    return write_qwen3_5_composite(tiny_models / "qwen3_5_composite")


@pytest.fixture(scope="session")
def tiny_classifier(tiny_models: Path) -> Path:
    """Directory of a tiny random Qwen2 classifier with the five labels of log lines and no pad_token_id."""
    return write_classifier(tiny_models / "classifier")


@pytest.fixture(scope="session")
def tiny_mpnet(tiny_models: Path) -> Path:
    """Directory of a tiny random MPNet encoder."""
    return write_mpnet(tiny_models / "mpnet")


@pytest.fixture(scope="session")
def tiny_adapter(tiny_models: Path, tiny_qwen2: Path) -> Path:
    """Directory of a random LoRA adapter for `tiny_qwen2` that changes its logits."""
    return write_adapter(tiny_models / "adapter", tiny_qwen2)


def packaged_or_skip(name: str) -> Path:
    """Directory of packaged weights; skips where the package is not installed. The cache is shared by all processes."""
    needs_models()
    from detector.models.packaged import installed, packaged

    if not installed(name):
        pytest.skip(f"needs the weights {name}")
    return packaged(name)


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """Directory of SmolLM2-135M-Instruct, real weights; `package:smollm2-135m` is the same by name."""
    return packaged_or_skip("package:smollm2-135m")


@pytest.fixture(scope="session")
def mpnet() -> Path:
    """Directory of all-mpnet-base-v2, real weights."""
    return packaged_or_skip("package:mpnet")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Directory of all-MiniLM-L6-v2, real weights."""
    return packaged_or_skip("package:minilm")
