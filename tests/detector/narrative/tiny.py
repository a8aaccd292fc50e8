"""Models of a few thousand random numbers and a tokenizer of single bytes: architectures to try things on, without any weights."""

from typing import Any

import numpy as np

from detector.models.loading import Loaded

WORDS = ["evidence", "reason", "risk", "malicious", "suspicious", "normal", '":', "Ġ[", 'Ġ["', '["', '"]', 'Ġ"', '",', "E1", "E12"]
ARCHITECTURES = ("qwen2", "qwen3_5", "gemma2")


def byte_level(words: list[str] = WORDS) -> Any:
    """A fast tokenizer of single bytes and some words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", additional_special_tokens=["<|im_start|>"])


def tiny(architecture: str, seed: int = 0) -> Loaded:
    """A random model of an architecture; its head is wider than its tokenizer, as real ones' are."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma2Config, Qwen2Config, Qwen3_5TextConfig

    tokenizer = byte_level()
    size = {
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": 4096,
        "initializer_range": 0.4,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    config = {
        "qwen2": lambda: Qwen2Config(num_hidden_layers=2, **size),
        "gemma2": lambda: Gemma2Config(
            num_hidden_layers=2, query_pre_attn_scalar=16, sliding_window=64, final_logit_softcapping=5.0, **size
        ),
        "qwen3_5": lambda: Qwen3_5TextConfig(
            num_hidden_layers=4,
            layer_types=["linear_attention", "linear_attention", "linear_attention", "full_attention"],
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            **size,
        ),
    }[architecture]()
    torch.manual_seed(seed)
    return loaded(AutoModelForCausalLM.from_config(config, dtype=torch.float32), tokenizer)


def loaded(model: Any, tokenizer: Any, base: str = "tiny", adapter_sha256: str | None = None) -> Loaded:
    """A model as it looks to those who ask it."""
    return Loaded(model, tokenizer, "cpu", "fp32", base, "0" * 64, None, adapter_sha256, None)


def allowed(constraint: Any, matcher: Any) -> list[int]:
    """The tokens that may come next."""
    words = np.zeros((constraint.n_words + 31) // 32, np.int32)
    constraint.masks_into([(0, matcher)], words.ctypes.data, 1, words.nbytes)
    return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")[: constraint.n_words]).tolist()
