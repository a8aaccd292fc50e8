"""All that is worth measuring on a lent GPU, in under ten minutes: `scripts/gpu_check [--out FILE] [--minutes 9]`.

    matrix rate      products of square bf16 matrices: what the machine reaches at best
    SHAPE PRECISION  a model of random weights in a published shape, 1,000 prompt tokens: the plain loop, labels, and labels with a
                     tenth explained; windows/s, memory, and the share of the matrix rate
    vLLM             the same shape and prompts in vLLM, where it is installed: windows/s of labels
    training         QLoRA steps: tokens/s, memory
    shipped model    SmolLM2 with the adapter that comes with Daywatch, where its weights are installed

The share counts each prompt's forward pass once, and what is written; reading an explained prompt for the second time is no work that
was asked for. Writes JSON to standard output (or FILE) and a table to standard error. Without a GPU every part is rehearsed with models
of a few thousand numbers, and every figure is "not measured".
"""

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.detect import Report, measure
from bench.shapes import SHAPES, flops_of_prompt, made_up_prompts, made_up_tokenizer, random_model, small
from stream.errors import ConfigurationError, PipelineError

Figures = dict[str, Any]
_ADAPTER: Final = Path(__file__).resolve().parent.parent / "detector" / "data" / "narrative"
_VLLM: Final = """
import json, sys, time
from vllm import LLM, SamplingParams
asked = json.load(sys.stdin)
model = LLM(model=asked["directory"], load_format="dummy", skip_tokenizer_init=True, dtype="bfloat16", max_model_len=2048)
prompts = [{"prompt_token_ids": ids} for ids in asked["prompts"]]
one = SamplingParams(max_tokens=1, temperature=0.0, detokenize=False)
model.generate(prompts[:2], one, use_tqdm=False)
start = time.perf_counter()
model.generate(prompts, one, use_tqdm=False)
print("RESULT", len(prompts) / (time.perf_counter() - start))
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is: for real, or to rehearse."""

    device: str
    side: int
    shapes: dict[str, dict[str, Any]]
    tokens: int
    windows: dict[str, int]
    plain: int
    most: int
    batch: int
    steps: int


def real() -> Scale:
    """What a GPU is asked for. Architectures without fast kernels in plain PyTorch get fewer windows."""
    return Scale("cuda", 8192, SHAPES, 1000, {"qwen3-8b": 200, "qwen3.5-9b": 64}, 2, 80, 4, 5)


def rehearsal() -> Scale:
    """The same parts in seconds on any machine."""
    return Scale("cpu", 64, {name: small(name) for name in SHAPES}, 150, dict.fromkeys(SHAPES, 2), 1, 3, 1, 1)


def matrix_rate(scale: Scale) -> Figures:
    """Floating-point operations a second of square bf16 products, the best of three runs."""
    import torch

    left, right = (torch.randn(scale.side, scale.side, device=scale.device, dtype=torch.bfloat16) for _ in range(2))
    out = left @ right
    times, repeats = [], 20
    for _ in range(3):
        _wait(scale)
        start = time.perf_counter()
        for _ in range(repeats):
            torch.matmul(left, right, out=out)
        _wait(scale)
        times.append((time.perf_counter() - start) / repeats)
    return {"tflops": 2 * scale.side**3 / min(times) / 1e12, "side": scale.side}


def speed(scale: Scale, name: str, precision: str, rate: float | None) -> Figures:
    """Windows a second of one shape at one precision."""
    shape = scale.shapes[name]
    loaded = random_model(shape, precision, scale.device, made_up_tokenizer())
    report = measure(loaded, scale.windows[name], scale.tokens, scale.plain, most=scale.most)
    labels, whole = report.parts[1:]
    # a token that is written costs what one costs that is read
    each = flops_of_prompt(shape, report.prompt_tokens)
    written = each / report.prompt_tokens * whole.tokens_out
    work = {"labels": each * labels.windows / labels.wall_s, "end_to_end": (each * whole.windows + written) / whole.wall_s}
    share = {part: flops / (rate * 1e12) for part, flops in work.items()} if rate else {}
    return {"share_of_matrix_rate": share, "tflops": {part: flops / 1e12 for part, flops in work.items()}, **_told(report)}


def _told(report: Report) -> Figures:
    return {
        "prompt_tokens": report.prompt_tokens,
        "parts": [asdict(part) for part in report.parts],
        "ratio": report.ratio,
        "first_alert_s": report.first_alert_s,
        "valid": report.valid,
    }


def shared_prefix(scale: Scale) -> Figures:
    """Windows a second of labels with three examples before each prompt, with and without keeping the examples' states."""
    from detector.narrative.engine import Engine
    from detector.narrative.prompt import Prompt, Shot

    name = next(iter(scale.shapes))
    loaded = random_model(scale.shapes[name], "bf16", scale.device, made_up_tokenizer())
    rates: Figures = {}
    for share in (False, True):
        engine = Engine(loaded, share_prefix=share)
        made = made_up_prompts(4 + scale.windows[name] // 4, scale.tokens // 2, lambda prompt, engine=engine: engine.count(prompt.user))
        shots = tuple(Shot(one.user, '{"risk": "normal"}') for one in made[:3])
        prompts = [Prompt(one.system, one.user, one.aliases, 0, shots) for one in made[3:]]
        engine.label(prompts[:1])
        start = time.perf_counter()
        engine.label(prompts)
        rates["windows_per_s, shared" if share else "windows_per_s, each whole"] = len(prompts) / (time.perf_counter() - start)
    return rates


def training(scale: Scale) -> Figures:
    """Steps of QLoRA on the dense shape: NF4, adapters on every linear layer, activations computed again on the way back."""
    import torch
    from peft import LoraConfig, get_peft_model

    from detector.models.quiet import quiet

    name = next(iter(scale.shapes))
    loaded = random_model(scale.shapes[name], "nf4", scale.device, made_up_tokenizer())
    model = loaded.model
    model.is_loaded_in_4bit = True  # what loading in four bits sets, and what tells peft which layers it has before it
    model.config.use_cache = False
    with quiet():
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
        adapted = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    adapted.train()
    learned = [weights for weights in adapted.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4)
    ids = torch.randint(0, 1000, (scale.batch, 1024 if scale.device == "cuda" else 64), device=scale.device)
    taken, losses = 0.0, []
    for step in range(scale.steps + 1):
        _wait(scale)
        start = time.perf_counter()
        loss = adapted(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        _wait(scale)
        taken += (time.perf_counter() - start) if step else 0.0  # the first step is the slowest
    peak = torch.cuda.max_memory_allocated() >> 20 if scale.device == "cuda" else 0
    figures = {"tokens_per_s": ids.numel() * scale.steps / taken, "step_s": taken / scale.steps, "peak_mib": peak}
    return {**figures, "learned_millions": sum(weights.numel() for weights in learned) / 1e6, "losses": losses}


def in_vllm(scale: Scale, ours: float | None) -> Figures:
    """Windows a second of labels in vLLM, dense shape, bf16: its own process, random weights."""
    if importlib.util.find_spec("vllm") is None:
        raise ConfigurationError("vLLM is not installed")
    from transformers import Qwen3Config

    name = next(iter(scale.shapes))
    rest = {key: value for key, value in scale.shapes[name].items() if key != "kind"}
    with tempfile.TemporaryDirectory() as scratch:
        config = Qwen3Config(**rest, max_position_embeddings=8192, tie_word_embeddings=False, architectures=["Qwen3ForCausalLM"])
        config.save_pretrained(scratch)
        prompts = [[(17 * row + place) % 1000 for place in range(scale.tokens)] for row in range(scale.windows[name])]
        asked = json.dumps({"directory": scratch, "prompts": prompts})
        done = subprocess.run([sys.executable, "-c", _VLLM], input=asked, capture_output=True, text=True, timeout=300, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not found:
        raise ConfigurationError(f"vLLM ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    rate = float(found[0].split()[1])
    return {"windows_per_s": rate, "ours_over_vllm": ours / rate if ours else None}


def shipped_model(scale: Scale) -> Figures:
    """The model that comes with Daywatch."""
    from detector.models.loading import load_causal

    adapter = str(_ADAPTER) if (_ADAPTER / "adapter_model.safetensors").exists() else None
    loaded = load_causal("package:smollm2-135m", adapter, device=scale.device, precision="bf16")
    many = 256 if scale.device == "cuda" else 2
    return {"adapter": adapter is not None, **_told(measure(loaded, many, min(scale.tokens, 640), scale.plain, most=scale.most))}


def _wait(scale: Scale) -> None:
    if scale.device == "cuda":
        import torch

        torch.cuda.synchronize()


class Check:
    """Runs the parts one after the other, as long as there is time; what cannot be measured says why."""

    def __init__(self, scale: Scale, minutes: float, console: Console) -> None:
        self._scale, self._console = scale, console
        self._until = time.perf_counter() + 60 * minutes
        self.figures: dict[str, Figures] = {}

    def part(self, name: str, run: Callable[[], Figures]) -> Figures:
        """Measure one part."""
        start = time.perf_counter()
        if start > self._until:
            figures: Figures = {"not_measured": "no time was left"}
        else:
            try:
                figures = run()
            except (PipelineError, ImportError, subprocess.TimeoutExpired) as error:
                figures = {"not_measured": str(error)}
            except RuntimeError as error:
                # a part that fails on this machine must not cost the figures of the others; on a rehearsal it is a fault of ours
                if self._scale.device == "cpu":
                    raise
                figures = {"not_measured": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        figures["seconds"] = time.perf_counter() - start
        self.figures[name] = figures
        self._console.print(f"{name}: {figures.get('not_measured') or 'done'} ({figures['seconds']:.1f} s)")
        self._free()
        return figures

    def _free(self) -> None:
        if self._scale.device == "cuda":
            import gc

            import torch

            gc.collect()
            torch.cuda.empty_cache()


def check(scale: Scale, minutes: float, console: Console) -> dict[str, Figures]:
    """All parts, the most wanted first."""
    checks = Check(scale, minutes, console)
    rate = checks.part("matrix rate", lambda: matrix_rate(scale)).get("tflops")
    dense: float | None = None
    for name, precision in (("qwen3-8b", "nf4"), ("qwen3.5-9b", "nf4"), ("qwen3-8b", "bf16"), ("qwen3.5-9b", "bf16")):

        def run(name: str = name, precision: str = precision) -> Figures:
            return speed(scale, name, precision, rate)

        figures = checks.part(f"{name} {precision}", run)
        if (name, precision) == ("qwen3-8b", "bf16") and "parts" in figures:
            dense = figures["parts"][1]["windows_per_s"]
    checks.part("training", lambda: training(scale))
    checks.part("shared prefix", lambda: shared_prefix(scale))
    checks.part("shipped model", lambda: shipped_model(scale))
    checks.part("vLLM", lambda: in_vllm(scale, dense))
    return checks.figures


def table_of(figures: dict[str, Figures]) -> Table:
    """The figures for a person to read."""
    table = Table("part", "labels/s", "windows/s", "of matrix rate", "end to end", "x plain", "peak MiB", "seconds")
    for name, part in figures.items():
        cells = ["", "", "", "", "", ""]
        if "not_measured" in part:
            cells[0] = "not measured"
        elif "parts" in part:
            plain, labels, whole = part["parts"]
            share = part.get("share_of_matrix_rate") or {}
            shares = [f"{share[key]:.0%}" if key in share else "" for key in ("labels", "end_to_end")]
            cells = [f"{labels['windows_per_s']:.1f}", f"{whole['windows_per_s']:.1f}", *shares, f"{part['ratio']['end to end']:.1f}"]
            cells.append(f"{max(plain['peak_mib'], whole['peak_mib']):,}")
        elif "tflops" in part:
            cells[2] = f"{part['tflops']:.0f} TFLOP/s"
        elif "tokens_per_s" in part:
            cells[1], cells[5] = f"{part['tokens_per_s']:,.0f} tokens/s", f"{part['peak_mib']:,}"
        table.add_row(name, *cells, f"{part['seconds']:.1f}")
    return table


def main() -> None:
    """Measure, or rehearse, and print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, help="where the JSON goes; standard output otherwise")
    arguments.add_argument("--minutes", type=float, default=9.0, help="no part begins after so many minutes")
    given = arguments.parse_args()
    console = Console(stderr=True)
    try:
        import torch
        import transformers
    except ImportError:
        sys.stderr.write("gpu_check: not measured: PyTorch and transformers are not installed (pip install 'daywatch[llm]')\n")
        return
    measured = torch.cuda.is_available()
    figures = check(real() if measured else rehearsal(), given.minutes, console)
    machine = {"python": platform.python_version(), "torch": torch.__version__, "transformers": transformers.__version__}
    if measured:
        machine["gpu"] = torch.cuda.get_device_name()
        console.print(table_of(figures))
    else:
        console.print("not measured: there is no GPU here; every part was rehearsed with models of a few thousand numbers")
        rehearsed = {name: part.get("not_measured", "rehearsed") for name, part in figures.items()}
        figures = {name: {"not_measured": "no GPU", "rehearsal": how} for name, how in rehearsed.items()}
    text = json.dumps({"measured": measured, "machine": machine, "figures": figures}, indent=2)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    else:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
