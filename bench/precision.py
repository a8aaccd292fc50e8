"""What each precision costs and keeps, on this machine's CPU: `python -m bench.precision [BASE]`. Real weights; a few minutes.

For each precision: seconds to load, memory reckoned, prompt tokens read per CPU-second, and how far the next token's distribution
moves from fp32 (Kullback-Leibler divergence in nats, mean and largest over all places of all prompts).
"""

import sys
import time

PROMPTS = [
    (
        f"{hour:02d}:15 logon PC-{hour * 37 % 97}, 09:40 file copy report-{hour}.doc to removable drive, "
        f"{hour + 1:02d}:05 visit jobs.example.com/apply/{hour}, {hour + 2:02d}:30 mail to {hour} recipients outside. "
    )
    * 2
    for hour in range(4)
]


def main() -> None:
    """Load at each precision, ask, print one line each."""
    import torch

    from detector.models.loading import load_causal

    base = sys.argv[1] if len(sys.argv) > 1 else "package:smollm2-135m"
    exact: list[torch.Tensor] = []
    print(f"{base}: {torch.get_num_threads()} threads")
    for precision in ("fp32", "bf16", "int8", "nf4"):
        started = time.perf_counter()
        one = load_causal(base, precision=precision, device="cpu")
        took = time.perf_counter() - started
        cpu, tokens, found = time.process_time(), 0, []
        for prompt in PROMPTS:
            asked = one.tokenizer(prompt, return_tensors="pt")
            tokens += asked["input_ids"].numel()
            with torch.no_grad():
                found.append(torch.log_softmax(one.model(**asked).logits[0].float(), dim=-1))
        cpu = time.process_time() - cpu
        exact = exact or found
        apart = torch.cat([(ours.exp() * (ours - theirs)).sum(-1) for ours, theirs in zip(exact, found, strict=True)])
        need = one.told.split("), ")[-1].split(" of ")[0]
        print(
            f"{precision}: loaded in {took:.1f} s, {need}, {tokens / cpu:,.0f} tokens per CPU-second, "
            f"KL mean {apart.mean():.4f}, largest {apart.max():.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
