"""What measures the language model's speed runs from end to end, on any machine."""

import json
import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the llm extra")
pytest.importorskip("llguidance", reason="needs the llm extra")
pytest.importorskip("bitsandbytes", reason="needs the llm extra")

from bench import gpu  # noqa: E402
from bench.detect import measure  # noqa: E402
from bench.shapes import SHAPES, flops_of_prompt, made_up_prompts, made_up_tokenizer, random_model, small  # noqa: E402


def test_every_part_of_the_gpu_check_is_rehearsed_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["gpu_check", "--out", str(tmp_path / "figures.json")])
    gpu.main()
    told = json.loads((tmp_path / "figures.json").read_text())
    assert told["measured"] is False
    how = {name: part["rehearsal"] for name, part in told["figures"].items()}
    assert {part["not_measured"] for part in told["figures"].values()} == {"no GPU"}
    # vLLM is installed nowhere here; the shipped model's weights may not be
    assert how.pop("vLLM") in ("vLLM is not installed", "rehearsed")
    how.pop("shipped model")
    assert set(how.values()) == {"rehearsed"}
    assert {"matrix rate", "qwen3-8b nf4", "qwen3-8b bf16", "qwen3.5-9b nf4", "qwen3.5-9b bf16", "training"} <= set(how)
    assert os.access(repository / "scripts" / "gpu_check", os.X_OK)


def test_figures_are_those_of_the_work_that_was_done() -> None:
    loaded = random_model(small("qwen3-8b"), "bf16", "cpu", made_up_tokenizer())
    report = measure(loaded, windows=10, tokens=150, plain=1, most=4)
    plain, labels, whole = report.parts
    assert (plain.windows, labels.windows, whole.windows) == (1, 10, 10)
    assert 140 <= report.prompt_tokens <= 150
    assert labels.tokens_out == 0
    assert plain.tokens_out <= 4
    assert whole.tokens_out > 0
    assert labels.tokens_in < whole.tokens_in < 1.2 * labels.tokens_in
    assert report.valid["daywatch"] == 1.0
    assert report.ratio["labels"] == pytest.approx(labels.windows_per_s / plain.windows_per_s)


def test_a_prompts_work_is_that_of_its_parameters() -> None:
    """Two operations a token for each number of the layers, as torch counts them; attention comes on top."""
    for name in SHAPES:
        shape = small(name)
        model = random_model(shape, "bf16", "cpu", made_up_tokenizer()).model
        weights = sum(w.numel() for n, w in model.named_parameters() if w.dim() == 2 and "embed" not in n and "lm_head" not in n)
        assert flops_of_prompt(shape, 1) == pytest.approx(2 * weights, rel=0.1)
        assert flops_of_prompt(SHAPES[name], 1000) == pytest.approx(2e3 * {"qwen3-8b": 7.1e9, "qwen3.5-9b": 7.0e9}[name], rel=0.1)


def test_prompts_have_the_length_that_is_asked_for() -> None:
    tokenizer = made_up_tokenizer()
    for prompt in made_up_prompts(2, 300, lambda one: len(tokenizer(one.user).input_ids)):
        assert 295 <= len(tokenizer(prompt.user).input_ids) <= 300
        assert len(prompt.aliases) > 3
