"""Training a log-line classifier: a LoRA adapter with its head, or a whole model, on lines that are made here. Uses torch.

Resumable: a checkpoint holds what is trained, the optimizer and the place in the run; batches and dropout follow from seed and step
alone, so a run that was killed ends like one that was not. Stopped early by templates that are neither trained nor tested on.
"""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from detector.logline.classifier import LineClassifier, batches
from detector.logline.corpus import Example, Split, digest, split
from detector.logline.figures import TESTS, markdown, plain_text_model, table
from detector.logline.labels import DEFINITIONS, LABELS
from detector.logline.lines import masked
from detector.logline.notes import LineNotes, write_notes
from stream.errors import ConfigurationError

_WORK: Final = ".training"
_EVERY: Final = 50
"""Steps from one checkpoint to the next."""
_RATES: Final = {"lora": 1e-3, "full": 5e-5}


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that a training run depends on."""

    base: str = "package:minilm"
    method: Literal["lora", "full"] = "lora"
    seed: int = 1
    each: int = 8
    """Lines made of every template."""
    apart: float = 0.2
    epochs: int = 6
    patience: int = 3
    """Epochs without a lower loss on the stopping templates before it ends."""
    rate: float | None = None
    rank: int = 8
    layers: int | None = None
    """Uppermost layers that LoRA reaches; None: all of them."""
    length: int = 96
    batch_tokens: int = 1_024
    precision: Literal["fp32", "bf16", "nf4"] = "fp32"
    """bf16: weights stay fp32, and what is computed with them is bf16; nf4: so is the base, frozen in four bits."""
    device: str = "cpu"

    @property
    def digest(self) -> str:
        """What a checkpoint is recognised by."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of it."""

    directory: Path
    figures: dict[str, Any]
    plain: dict[str, Any]


class _Run:
    """The state of a run: model, optimizer, place, losses, and the best weights so far."""

    def __init__(self, recipe: Recipe, model: Any, work: Path) -> None:
        import torch

        self.recipe, self.model, self.work = recipe, model, work
        self.trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        rate = recipe.rate or _RATES[recipe.method]
        self.rate = rate
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=rate, weight_decay=0.01)
        self.epoch, self.step = 0, 0
        self.losses: list[float] = []
        self.stopping: list[float] = []
        self.best: dict[str, Any] = self._weights()

    def _weights(self) -> dict[str, Any]:
        return {name: weight.detach().cpu().clone() for name, weight in self.trained.items()}

    def keep_if_best(self, loss: float) -> None:
        """Remember an epoch's loss on the stopping templates, and the weights when it is the lowest so far."""
        if not self.stopping or loss < min(self.stopping):
            self.best = self._weights()
        self.stopping.append(loss)

    @property
    def over(self) -> bool:
        """Whether it has run for all its epochs, or got no better for as long as it may."""
        since = len(self.stopping) - 1 - self.stopping.index(min(self.stopping)) if self.stopping else 0
        return self.epoch >= self.recipe.epochs or since >= self.recipe.patience

    def save(self) -> None:
        """Write a checkpoint: whole, or not at all."""
        import torch

        state = {
            "recipe": self.recipe.digest,
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "stopping": self.stopping,
            "weights": self._weights(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
        }
        whole = self.work / "checkpoint.pt"
        torch.save(state, whole.with_suffix(".new"))
        whole.with_suffix(".new").replace(whole)

    def resume(self) -> None:
        """Go on from the checkpoint if there is one of this recipe.

        Raises:
            ConfigurationError: it is one of another recipe, or damaged.
        """
        import torch

        path = self.work / "checkpoint.pt"
        if not path.is_file():
            return
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:
            raise ConfigurationError(f"the checkpoint {path} is damaged; remove {self.work} to begin anew") from error
        if state.get("recipe") != self.recipe.digest:
            raise ConfigurationError(f"{self.work} holds the checkpoint of another run; give the same options, or remove it")
        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step = state["epoch"], state["step"]
        self.losses, self.stopping, self.best = state["losses"], state["stopping"], state["best"]

    def restore_best(self) -> None:
        """Put the best weights back."""
        import torch

        with torch.no_grad():
            for name, weight in self.trained.items():
                weight.copy_(self.best[name])


def train(recipe: Recipe, out: Path, step: Callable[[str, int, int], None] = lambda _what, _done, _total: None) -> Trained:
    """Make the lines, train, test, and write the classifier with its card into `out`; goes on where an earlier run was killed.

    Raises:
        ConfigurationError: the base cannot be loaded, the directory holds another run's checkpoint, or memory does not suffice.
    """
    import torch

    work = out / _WORK
    work.mkdir(parents=True, exist_ok=True)
    lines = split(recipe.each, recipe.seed, recipe.apart)
    torch.manual_seed(recipe.seed)
    model, tokenizer, base_sha256 = _loaded(recipe)
    run = _Run(recipe, model, work)
    run.resume()
    encoded = _encoded(tokenizer, lines.training, recipe.length)
    stopping = _encoded(tokenizer, lines.stopping, recipe.length)
    total = max(1, len(_batches_of(encoded, recipe, 0))) * recipe.epochs
    while not run.over:
        _epoch(run, encoded, tokenizer, total, step)
        run.keep_if_best(_loss_on(run, stopping, tokenizer))
        run.epoch, run.step = run.epoch + 1, 0
        run.save()
    run.restore_best()
    model.eval()
    step("testing", total, total)
    found = _figures(LineClassifier(model, tokenizer, LABELS, read=masked, length=recipe.length), lines)
    plain = plain_text_model(lines)
    _write(run, tokenizer, base_sha256, lines, found, plain, out)
    shutil.rmtree(work)
    return Trained(out, found, plain)


def _loaded(recipe: Recipe) -> tuple[Any, Any, str]:
    """The base with a new head, made ready for training, its tokenizer, and its hash."""
    from detector.models.loading import load_classifier

    held = "nf4" if recipe.precision == "nf4" else "fp32"
    loaded = load_classifier(recipe.base, labels=LABELS, fresh=True, precision=held, device=recipe.device)
    model, tokenizer = loaded.model, loaded.tokenizer
    # pads where the config does not say with what
    LineClassifier(model, tokenizer, LABELS)
    if recipe.method == "lora":
        model = _with_lora(model, recipe)
    else:
        model.requires_grad_(requires_grad=True)
    return model, tokenizer, loaded.base_sha256


def _with_lora(model: Any, recipe: Recipe) -> Any:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    from detector.models.quiet import quiet

    if recipe.precision == "nf4":
        with quiet():
            model = prepare_model_for_kbit_training(model)
    config = LoraConfig(
        task_type="SEQ_CLS",
        r=recipe.rank,
        lora_alpha=2 * recipe.rank,
        lora_dropout=0.05,
        target_modules=_targets(model, recipe.layers),
        modules_to_save=[_head_of(model)],
    )
    with quiet():
        return get_peft_model(model, config)


def _head_of(model: Any) -> str:
    """The classification head's name: `score` of decoders, `classifier` of encoders."""
    names = {name.split(".")[0] for name, _ in model.named_modules()}
    head = next((name for name in ("score", "classifier") if name in names), None)
    if head is None:
        raise ConfigurationError("this architecture has no classification head that is called score or classifier")
    return head


def _targets(model: Any, layers: int | None) -> str:
    """A pattern for the linear layers that LoRA is put on: those of the uppermost `layers` blocks, and of what is no block."""
    depth = int(model.config.num_hidden_layers)
    first = 0 if layers is None else max(0, depth - layers)
    head = _head_of(model)
    names = []
    for name, module in model.named_modules():
        # bitsandbytes' layers are named Linear4bit and Linear8bitLt
        if not type(module).__name__.startswith("Linear") or name.split(".")[0] == head:
            continue
        block = re.search(r"\.(?:layer|layers|h)\.(\d+)\.", name)
        if block is None or int(block[1]) >= first:
            names.append(re.escape(name))
    return f"(?:{'|'.join(names)})"


def _encoded(tokenizer: Any, lines: Sequence[Example], length: int) -> list[tuple[list[int], int]]:
    """Token ids and the label's number, each different masked line once."""
    texts = {masked(line.text): LABELS.index(line.label) for line in lines}
    ids = tokenizer(list(texts), truncation=True, max_length=length)["input_ids"] if texts else []
    return list(zip(ids, texts.values(), strict=True))


def _batches_of(encoded: Sequence[tuple[list[int], int]], recipe: Recipe, epoch: int) -> list[list[int]]:
    """Rows of each batch of an epoch: of about equal length, in an order that seed and epoch decide."""
    chance = random.Random(f"{recipe.seed}/{epoch}")
    order = sorted(range(len(encoded)), key=lambda row: (len(encoded[row][0]) // 4, chance.random()))
    found = [[order[place] for place in part] for part in batches(_ascending(encoded, order), recipe.batch_tokens)]
    chance.shuffle(found)
    return found


def _ascending(encoded: Sequence[tuple[list[int], int]], order: Sequence[int]) -> list[int]:
    longest, lengths = 0, []
    for row in order:
        longest = max(longest, len(encoded[row][0]))
        lengths.append(longest)
    return lengths


def _epoch(run: _Run, encoded: Sequence[tuple[list[int], int]], tokenizer: Any, total: int, step: Callable[[str, int, int], None]) -> None:
    import torch

    recipe = run.recipe
    plan = _batches_of(encoded, recipe, run.epoch)
    before = run.epoch * len(plan)
    run.model.train()
    for place in range(run.step, len(plan)):
        # from seed and place alone, so that a resumed run drops out what an undisturbed one does
        torch.manual_seed(recipe.seed * 1_000_003 + before + place)
        run.optimizer.param_groups[0]["lr"] = run.rate * _warm(before + place, total)
        with torch.autocast(run.model.device.type, torch.bfloat16, enabled=recipe.precision != "fp32"):
            loss = _backward(run.model, [encoded[row] for row in plan[place]], tokenizer)
        torch.nn.utils.clip_grad_norm_(run.trained.values(), 1.0)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.losses.append(loss)
        run.step = place + 1
        if run.step % _EVERY == 0:
            run.save()
        step(f"epoch {run.epoch + 1}, loss {loss:.3f}", before + place + 1, total)


def _warm(done: int, total: int) -> float:
    """A twentieth of the way up, then down in a straight line."""
    warm = max(1, total // 20)
    return (done + 1) / warm if done < warm else max(0.02, (total - done) / (total - warm + 1))


def _backward(model: Any, rows: Sequence[tuple[list[int], int]], tokenizer: Any, share: float = 1.0) -> float:
    """Gradients of a batch; one that does not fit into memory is halved."""
    import torch

    try:
        loss = _loss(model, rows, tokenizer)
        (loss * share).backward()
    except torch.OutOfMemoryError as error:
        if len(rows) == 1:
            raise ConfigurationError(
                "not even one line fits into memory for training; use a smaller base, nf4, or a shorter length"
            ) from error
        half = len(rows) // 2
        parts = (rows[:half], rows[half:])
        return sum(_backward(model, part, tokenizer, share * len(part) / len(rows)) * len(part) for part in parts) / len(rows)
    value = float(loss.detach())
    if value != value:
        raise ConfigurationError("the loss is no number (NaN); a lower --rate or fp32 would help")
    return value


def _loss(model: Any, rows: Sequence[tuple[list[int], int]], tokenizer: Any) -> Any:
    import torch

    padded = tokenizer.pad({"input_ids": [ids for ids, _ in rows]}, padding=True, return_tensors="pt").to(model.device)
    labels = torch.tensor([label for _, label in rows], device=model.device)
    logits = model(input_ids=padded["input_ids"], attention_mask=padded["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(logits.float(), labels)


def _loss_on(run: _Run, encoded: Sequence[tuple[list[int], int]], tokenizer: Any) -> float:
    import torch

    run.model.eval()
    total = 0.0
    with torch.no_grad():
        for rows in _batches_of(encoded, run.recipe, 0):
            total += float(_loss(run.model, [encoded[row] for row in rows], tokenizer)) * len(rows)
    return total / max(1, len(encoded))


def _figures(classifier: LineClassifier, lines: Split) -> dict[str, Any]:
    def tested(test: Sequence[Example]) -> dict[str, Any]:
        said = classifier.labels([example.text for example in test])
        return table([example.label for example in test], [found.label for found in said])

    return {name: tested(getattr(lines, name)) for name in TESTS}


def _write(run: _Run, tokenizer: Any, base_sha256: str, lines: Split, figures: Any, plain: Any, out: Path) -> None:
    from detector.models.quiet import quiet

    recipe = run.recipe
    made = {
        "by": f"daywatch {version('daywatch')}",
        "libraries": {name: version(name) for name in ("torch", "transformers", "peft")},
        "recipe": asdict(recipe),
        "data": {"sha256": digest(lines.training), "lines": len(lines.training), "systems_apart": _systems(lines.systems)},
        "epochs": len(run.stopping),
        "loss": _curve(run.losses),
        "stopping_loss": [round(loss, 4) for loss in run.stopping],
        "figures": figures,
        "plain": plain,
    }
    if recipe.method == "lora":
        # peft would store where the base lies on this machine
        run.model.peft_config["default"].base_model_name_or_path = recipe.base
    else:
        tokenizer.save_pretrained(out)
    with quiet():
        run.model.save_pretrained(out)
    write_notes(out, LineNotes(recipe.base, base_sha256, LABELS, length=recipe.length, made=made))
    (out / "README.md").write_text(card(recipe, base_sha256, made), encoding="utf-8")


def _systems(lines: Sequence[Example]) -> list[str]:
    return sorted({line.system for line in lines})


def _curve(losses: Sequence[float], points: int = 20) -> list[float]:
    """The loss over the run in a few numbers: means of equal stretches."""
    size = max(1, len(losses) // points)
    return [round(sum(part) / len(part), 4) for part in _stretches(losses, size)]


def _stretches(losses: Sequence[float], size: int) -> Iterator[Sequence[float]]:
    for place in range(0, len(losses), size):
        yield losses[place : place + size]


def card(recipe: Recipe, base_sha256: str, made: dict[str, Any]) -> str:
    """The model card."""
    data = made["data"]
    libraries = ", ".join(f"{name} {number}" for name, number in made["libraries"].items())
    meaning = "\n".join(f"- **{label}**: {text}" for label, text in DEFINITIONS.items())
    return f"""# Log-line classifier

{"LoRA adapter and head" if recipe.method == "lora" else "Whole model"} on `{recipe.base}` (SHA-256 of its weights `{base_sha256}`), made by
{made["by"]} with `daywatch train logline`. Labels a log line as one of five:

{meaning}

It reads a line without its time, process numbers and long numbers (`detector/logline/lines.py`, `masked`), {recipe.length} tokens at most.
Use: `daywatch classify FILE --model DIRECTORY`.

## Data

{data["lines"]:,} lines made from templates that were written for Daywatch, and from made-up events; no line of anybody's log. SHA-256 of
lines and labels `{data["sha256"]}`. Systems of which nothing was trained on: {", ".join(data["systems_apart"])}. Templates and systems
that are tested on were never trained on; early stopping used templates of its own.

## Training

Seed {recipe.seed}, {made["epochs"]} of at most {recipe.epochs} epochs, {recipe.method}, rank {recipe.rank},
learning rate {recipe.rate or _RATES[recipe.method]}, {recipe.precision}; {libraries}.
Loss: {", ".join(map(str, made["loss"]))}. On the stopping templates: {", ".join(map(str, made["stopping_loss"]))}.

## Figures

New lines of known templates ask for memory, and show nothing else: TF-IDF passes that test. What counts are the other two.

{markdown("Classifier", made["figures"], made["plain"])}"""
