"""Prompts of a given length and models of a given shape, both made up: speed and memory depend on neither's sense."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from detector.models.loading import Loaded
from detector.narrative.prompt import SYSTEM, Prompt
from detector.verdict import EventRef
from stream.kinds import Kind

# what is published of the shapes that people use
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "qwen3-8b": {
        "kind": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "qwen3.5-9b": {
        "kind": "qwen3_5",
        "vocab_size": 248_320,
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
    },
}
# the same architectures in a size that any machine runs in no time, to rehearse with
_SMALL: Final[dict[str, Any]] = {
    "vocab_size": 2048,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
_SMALL_LINEAR: Final[dict[str, Any]] = {
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 32,  # NF4 on a CPU wants multiples of 32 in every layer
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 2,
}
_WORDS: Final = ("document", "drive in", "late", "new machine", "first drive here", "program or archive", "attachments outside", "job site")
_PADDING: Final = "x"
_END: Final = "<|im_end|>"


def small(name: str) -> dict[str, Any]:
    """A shape of the same architecture that is small enough to rehearse with."""
    linear = _SMALL_LINEAR if SHAPES[name]["kind"] == "qwen3_5" else {}
    return {"kind": SHAPES[name]["kind"], **_SMALL, **linear}


def made_up_prompts(number: int, tokens: int, count: Callable[[Prompt], int], seed: int = 1) -> list[Prompt]:
    """Prompts of exactly so many tokens, or a few less, each with its own events; `count` is the length as the model reads it."""
    chance = random.Random(seed)
    return [_prompt(tokens, count, chance) for _ in range(number)]


def _prompt(tokens: int, count: Callable[[Prompt], int], chance: random.Random) -> Prompt:
    lines: list[str] = []
    prompt = Prompt(SYSTEM, "User: known\nFacts: none\nEvents:\n", (), 0)
    step = max(1, tokens // 200)
    while True:
        lines += [_line(len(lines) + extra, chance) for extra in range(step)]
        aliases = tuple(EventRef(Kind.FILE, str(place)) for place in range(len(lines)))
        longer = replace(prompt, user=f"User: known\nFacts: none\nEvents:\n{chr(10).join(lines)}", aliases=aliases)
        if count(longer) > tokens:
            break
        prompt = longer
    missing = tokens - count(prompt)
    while missing > 0 and count(padded := replace(prompt, user=prompt.user + f" {_PADDING}" * missing)) > tokens:
        missing -= 1
    return padded if missing > 0 else prompt


def _line(number: int, chance: random.Random) -> str:
    name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=8))
    marks = ", ".join(chance.sample(_WORDS, 2))
    return f'E{number + 1} {chance.randint(0, 23):02}:{chance.randint(0, 59):02} file copied "{name}.doc": {marks}'


def made_up_tokenizer(vocabulary: int = 1500) -> Any:
    """A byte-level tokenizer fitted to made-up prompts, so that a token is as long as real ones' are."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    chance = random.Random(0)
    texts = [
        SYSTEM,
        *(_line(number, chance) for number in range(400)),
        '{"risk": "malicious", "evidence": ["E1", "E12"], "reason": "copies"}',
    ]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=_END, pad_token=_END)


def random_model(shape: dict[str, Any], precision: str, device: str, tokenizer: Any) -> Loaded:
    """A causal model of random weights of a shape: bf16, or nf4 by bitsandbytes."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3_5TextConfig, Qwen3Config

    rest = {name: value for name, value in shape.items() if name != "kind"}
    kind = Qwen3_5TextConfig if shape["kind"] == "qwen3_5" else Qwen3Config
    config = kind(**rest, max_position_embeddings=8192, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if precision == "nf4":
        _quantize(model, device)
    return Loaded(model.eval(), tokenizer, device, precision, f"random-{shape['kind']}", "0" * 64, None, None, None)


def _quantize(model: Any, device: str) -> None:
    """Every linear layer but the head as NF4, one after the other, as loading in four bits would leave it."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and name != "lm_head"]
    for name, layer in layers:
        with torch.device("meta"):
            four = Linear4bit(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                compute_dtype=torch.bfloat16,
                compress_statistics=True,
                quant_type="nf4",
            )
        four.weight = Params4bit(layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4", module=four).to(device)
        if layer.bias is not None:
            four.bias = layer.bias
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, four)


def flops_of_prompt(shape: dict[str, Any], tokens: int) -> float:
    """Multiplications and additions of one prompt's forward pass, embeddings and head not counted, attention causal.

    Gated delta nets: their projections, and per token and head the update and the reading of a state of key times value numbers.
    """
    hidden, inner, layers = shape["hidden_size"], shape["intermediate_size"], shape["num_hidden_layers"]
    queries = shape["num_attention_heads"] * shape["head_dim"]
    keys = shape["num_key_value_heads"] * shape["head_dim"]
    mlp = 3 * hidden * inner
    gate = queries if shape["kind"] == "qwen3_5" else 0
    full = hidden * (queries + gate + 2 * keys) + queries * hidden + tokens * queries  # two products over half of the tokens on average
    if shape["kind"] != "qwen3_5":
        return 2.0 * tokens * layers * (mlp + full)
    n_full = layers // 4
    key = shape["linear_num_key_heads"] * shape["linear_key_head_dim"]
    value = shape["linear_num_value_heads"] * shape["linear_value_head_dim"]
    state = shape["linear_num_value_heads"] * shape["linear_key_head_dim"] * shape["linear_value_head_dim"]
    linear = hidden * (2 * key + 2 * value + 2 * shape["linear_num_value_heads"]) + value * hidden + 3 * state
    return 2.0 * tokens * (layers * mlp + n_full * full + (layers - n_full) * linear)


def answered(prompts: Sequence[Prompt], share: float) -> int:
    """How many of the prompts get an answer."""
    return max(1, round(len(prompts) * share))
