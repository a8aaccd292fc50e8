"""How fast a language model judges on this machine: `python -m bench.detect`, or `make bench-detect`.

The same prompts, the same model, the same process, two ways. *Plain* is the loop that people write: `generate` for one window at a time,
label, evidence and reason together. *Daywatch* asks for all labels first, one forward pass a batch, and has evidence and reason written
for a tenth of the windows, in a batch, under the grammar. Prints a table on standard error and JSON on standard output.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.shapes import answered, made_up_prompts
from detector.models.loading import Loaded
from detector.narrative.chat import rendered
from detector.narrative.engine import Engine
from detector.narrative.prompt import Prompt
from detector.verdict import Label


@dataclass(slots=True)
class Part:
    """One measurement. Rates are per second of wall time; `peak_mib` is the process' (or the GPU's) while it ran."""

    part: str
    windows: int
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    windows_per_s: float = 0.0
    tokens_per_s: float = 0.0


@dataclass(slots=True)
class Report:
    """All measurements of one run."""

    model: dict[str, str]
    prompt_tokens: int
    parts: list[Part] = field(default_factory=list)
    first_alert_s: dict[str, float] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)
    valid: dict[str, float] = field(default_factory=dict)


def measure(loaded: Loaded, windows: int, tokens: int, plain: int, share: float = 0.1, most: int = 80) -> Report:
    """Measure both ways on `windows` prompts of so many tokens; the plain loop on the first `plain` of them."""
    engine = Engine(loaded)

    def length(prompt: Prompt) -> int:
        return engine.count(rendered(loaded.tokenizer, prompt))

    prompts = made_up_prompts(windows, tokens, length)
    report = Report(dict(engine.provenance), max(map(length, prompts)))
    warm = made_up_prompts(1, min(tokens, 100), length)
    engine.label(warm)  # what is done once only is not counted
    engine.explain(warm, ["malicious"])
    read = sum(map(length, prompts))

    with _part(report, loaded, "plain loop", plain) as part:
        said = [_generated(loaded, prompt, most) for prompt in prompts[:plain]]
        part.tokens_in = sum(map(length, prompts[:plain]))
        part.tokens_out = sum(len(one) for one in said)
    with _part(report, loaded, "labels", windows) as part:
        probabilities = engine.label(prompts)
        part.tokens_in = read
    chosen = np.argsort(-probabilities[:, 2], kind="stable")[: answered(prompts, share)].tolist()
    with _part(report, loaded, "labels, and a share explained", windows) as part:
        before = engine.spent.answer_tokens
        engine.label(prompts)
        given: list[Label] = ["malicious"] * len(chosen)
        answers = engine.explain([prompts[place] for place in chosen], given)
        part.tokens_in = read + sum(length(prompts[place]) for place in chosen)
        part.tokens_out = engine.spent.answer_tokens - before

    report.first_alert_s["daywatch"] = _timed(lambda: (engine.label(prompts[:1]), engine.explain(prompts[:1], ["malicious"])))
    report.first_alert_s["plain loop"] = report.parts[0].wall_s / max(1, plain)
    report.valid = {"daywatch": len(answers) / len(chosen), "plain loop": _valid(loaded, prompts[:plain], said)}
    slow, labels, whole = report.parts
    # by the process' own time, too: on a machine that others use, wall time says little
    report.ratio = {
        "labels": labels.windows_per_s / slow.windows_per_s,
        "end to end": whole.windows_per_s / slow.windows_per_s,
        "end to end, by cpu time": (slow.cpu_s / slow.windows) / (whole.cpu_s / whole.windows),
    }
    return report


def _generated(loaded: Loaded, prompt: Prompt, most: int) -> list[int]:
    import torch

    asked = loaded.tokenizer(rendered(loaded.tokenizer, prompt), return_tensors="pt", add_special_tokens=False).to(loaded.device)
    with torch.no_grad():
        out = loaded.model.generate(
            input_ids=asked["input_ids"],
            attention_mask=asked["attention_mask"],
            do_sample=False,
            max_new_tokens=most,
            pad_token_id=loaded.tokenizer.eos_token_id,
        )
    return [int(token) for token in out[0, asked["input_ids"].shape[1] :]]


def _valid(loaded: Loaded, prompts: list[Prompt], said: list[list[int]]) -> float:
    from detector.narrative.answer import BadAnswer, parsed_card

    good = 0
    for prompt, tokens in zip(prompts, said, strict=True):
        try:
            parsed_card(loaded.tokenizer.decode(tokens, skip_special_tokens=True), len(prompt.aliases))
            good += 1
        except BadAnswer:
            continue
    return good / max(1, len(prompts))


@contextmanager
def _part(report: Report, loaded: Loaded, name: str, windows: int) -> Iterator[Part]:
    part = Part(name, windows)
    peak = _peak_from_now(loaded.device)
    wall, cpu = time.perf_counter(), time.process_time()
    yield part
    _settled(loaded.device)
    part.wall_s, part.cpu_s, part.peak_mib = time.perf_counter() - wall, time.process_time() - cpu, peak()
    part.windows_per_s = windows / part.wall_s
    part.tokens_per_s = (part.tokens_in + part.tokens_out) / part.wall_s
    report.parts.append(part)


def _settled(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _peak_from_now(device: str) -> Callable[[], int]:
    """Start to watch the peak of memory; the result tells it in MiB (0 where the system does not say)."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.reset_peak_memory_stats()
        return lambda: int(torch.cuda.max_memory_allocated() >> 20)
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")  # from now on, as proc(5) says

    def peak() -> int:
        status = Path("/proc/self/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)

    return peak


def table_of(report: Report) -> Table:
    """The measurements for a person to read."""
    named = " ".join(report.model[name] for name in ("base", "precision", "device"))
    table = Table(
        "way",
        "windows",
        "wall s",
        "windows/s",
        "tokens/s",
        "tokens out",
        "peak MiB",
        title=f"{named}, {report.prompt_tokens} prompt tokens",
    )
    for part in report.parts:
        table.add_row(
            part.part,
            f"{part.windows}",
            f"{part.wall_s:.1f}",
            f"{part.cpu_s:.1f}",
            f"{part.windows_per_s:.2f}",
            f"{part.tokens_per_s:,.0f}",
            f"{part.tokens_out}",
            f"{part.peak_mib:,}",
        )
    return table


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--base", default="package:smollm2-135m")
    arguments.add_argument("--adapter", help="a directory, or a name that was added")
    arguments.add_argument("--precision", default="auto")
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--windows", type=int, default=20)
    arguments.add_argument("--plain", type=int, default=3, help="windows for the plain loop")
    arguments.add_argument("--tokens", type=int, default=1_000, help="tokens of a prompt")
    given = arguments.parse_args()
    from detector.models.loading import load_causal

    loaded = load_causal(given.base, given.adapter, precision=given.precision, device=given.device)
    sys.stderr.write(f"{loaded.told}\n")
    report = measure(loaded, given.windows, given.tokens, given.plain)
    console = Console(stderr=True)
    console.print(table_of(report))
    for name, ratio in report.ratio.items():
        console.print(f"{name}: {ratio:.1f} times the plain loop")
    for name, seconds in report.first_alert_s.items():
        console.print(f"time to the first alert, {name}: {seconds:.1f} s")
    for name, share in report.valid.items():
        console.print(f"valid answers, {name}: {share:.2f}")
    json.dump(asdict(report), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
