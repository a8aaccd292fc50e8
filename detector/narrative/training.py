"""Fine-tuning a causal language model to judge windows: LoRA, loss on the answer alone, early stopping on other users. Uses torch and peft.

The answer's parts weigh differently: the label is a token or two among dozens, and would drown; the aliases need a signal of their own.
Only where an answer's tokens stand are logits worked out, which saves a fifth of the time with a small model and a large vocabulary.

Source of the adapter method: E. Hu and others, LoRA: Low-Rank Adaptation of Large Language Models, 2021; 4-bit bases: T. Dettmers and
others, QLoRA, 2023.
"""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from detector.models.quiet import quiet
from detector.narrative.answer import BEGINNING, written
from detector.narrative.chat import rendered
from detector.narrative.lessons import Lesson
from detector.narrative.prompt import LABELS
from detector.verdict import Label
from stream.errors import ConfigurationError

_STATE: Final = "progress.pt"
_IMPLIED: Final = 0.1
"""Weight of an alias that only goes on with its line of the prompt, beside one where the answer turns: in small models the many of the
first kind drowned the few of the second, and answers that had begun to list events did not stop."""
_CITED: Final = re.compile(r'"E(\d+)"')
_LINE: Final = re.compile(r"^E(\d+)\b", re.MULTILINE)
_ATTENTION: Final = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How an adapter is trained.

    Args:
        rank: of the LoRA matrices; `alpha` is twice the rank.
        everywhere: adapt all linear layers instead of q, k, v and o.
        upper: share of the layers that are adapted, from the top; the lower ones then cost no backward pass.
        epochs: passes over the lessons.
        learning_rate: at its height; warmed up, then falling as a cosine.
        batch_tokens: padded tokens of one forward pass.
        batch_lessons: lessons of one optimiser step.
        patience: stop after so many checks without improvement; a check is made `checks` times an epoch.
        checks: checks an epoch on the held-out users' lessons.
        label_weight: of the label's tokens in the loss; `evidence_weight` and `reason_weight` of the rest.
        seed: of order and initialisation.
    """

    rank: int = 32
    everywhere: bool = False
    upper: float = 1.0
    epochs: float = 1.0
    learning_rate: float = 5e-4
    batch_tokens: int = 4096
    batch_lessons: int = 8
    patience: int = 3
    checks: int = 4
    label_weight: float = 1.0
    evidence_weight: float = 1.0
    reason_weight: float = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training is: steps, the loss of the last ones, and tokens a second."""

    step: int
    steps: int
    loss: float
    tokens_per_s: float


@dataclass(slots=True)
class History:
    """The loss curve: (step, loss) of training, (step, label loss, accuracy) of the held-out users."""

    training: list[tuple[int, float]] = field(default_factory=list)
    checked: list[tuple[int, float, float]] = field(default_factory=list)
    stopped_early: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """A lesson as tokens: the prompt's, the answer's with its end, and each answer token's weight in the loss."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    weights: tuple[float, ...]
    label_at: int
    risk: Label

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.answer)


def encoded(tokenizer: Any, lesson: Lesson, plan: TrainingPlan) -> Encoded:
    """A lesson as the model reads it; label and reason share their weights evenly by tokens, evidence by where the answer turns."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    text = written(lesson.answer)
    spelt = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    answer = list(spelt["input_ids"])
    label_at = len(ids(BEGINNING))
    label_end = len(ids(BEGINNING + lesson.answer.risk))
    evidence_end = max(len(ids(text[: text.index('"reason"')].rstrip())), label_end + 1)
    if answer[:label_at] != ids(BEGINNING):
        raise ConfigurationError("the base's tokenizer merges the label with what stands before it; this base cannot be trained")
    answer.append(int(tokenizer.eos_token_id))
    weights = [0.0] * label_at
    weights += [plan.label_weight / (label_end - label_at)] * (label_end - label_at)
    evidence = plan.evidence_weight if lesson.answer.evidence else 0.1 * plan.evidence_weight
    shares = _turns(text, spelt["offset_mapping"][label_end:evidence_end], lesson)
    weights += [evidence * share / sum(shares) for share in shares]
    reason = plan.reason_weight if lesson.answer.evidence else 0.1 * plan.reason_weight
    rest = len(answer) - evidence_end
    weights += [reason / rest] * rest
    return Encoded(tuple(ids(rendered(tokenizer, lesson.prompt))), tuple(answer), tuple(weights), label_at, lesson.answer.risk)


def _turns(text: str, offsets: Sequence[tuple[int, int]], lesson: Lesson) -> list[float]:
    """What each token of the evidence counts for: fully where it is decided to skip, to begin another line of the prompt, or to end."""
    lines = {int(found[1]) for found in _LINE.finditer(lesson.prompt.user)}
    spans, end, before = [], text.index("["), 0
    for found in _CITED.finditer(text, end, text.index('"reason"')):
        alias = int(found[1])
        if alias in lines or alias != before + 1:
            spans.append((end, found.end(1)))
        end, before = found.end(1), alias
    spans.append((end, text.index("]", end) + 1))
    return [1.0 if any(start < last and begin < stop for start, stop in spans) else _IMPLIED for begin, last in offsets]


def adapted(model: Any, plan: TrainingPlan) -> Any:
    """The model with a fresh adapter; quantized bases are prepared for training first."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    torch.manual_seed(plan.seed)
    if getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False):
        model = prepare_model_for_kbit_training(model)
    config = LoraConfig(
        r=plan.rank, lora_alpha=2 * plan.rank, lora_dropout=0.0, target_modules=_targets(model, plan), task_type="CAUSAL_LM"
    )
    with quiet():
        return get_peft_model(model, config)


def _targets(model: Any, plan: TrainingPlan) -> list[str]:
    """Names of the modules that are adapted.

    Raises:
        ConfigurationError: the base has none of that kind.
    """
    import torch

    layers = int(model.config.get_text_config().num_hidden_layers)
    first = layers - max(1, round(layers * plan.upper))
    head = model.get_output_embeddings()
    found = []
    for name, module in model.named_modules():
        place = re.search(r"\.layers\.(\d+)\.", name)
        wanted = plan.everywhere or name.rpartition(".")[2] in _ATTENTION
        if isinstance(module, torch.nn.Linear) and module is not head and place is not None and int(place[1]) >= first and wanted:
            found.append(name)
    if not found:
        raise ConfigurationError("the base model has no linear layers by the names that are adapted; use --everywhere")
    return found


def train(
    model: Any,
    tokenizer: Any,
    learn: Sequence[Lesson],
    check: Sequence[Lesson],
    plan: TrainingPlan,
    out: Path,
    *,
    tell: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> History:
    """Train an adapter (see `adapted`) in place, and leave it with the weights that did best on held-out users.

    A run that was killed goes on from its last check when it is started again with the same lessons, plan and `out`.

    Args:
        model: with an adapter that can be trained.
        tokenizer: of the base.
        learn: what it learns from.
        check: of other users; without any, the last weights are kept.
        plan: how.
        out: directory that holds the state between checks; it is removed from there when training is done.
        tell: told after every step.
        stop: asked after every step; training ends when it says so, and can go on later.

    Raises:
        ConfigurationError: too few lessons, or the state in `out` is of another run.
    """
    return _Run(model, tokenizer, learn, check, plan, out).work(tell, stop)


class _Run:
    """One training run: batches, optimiser, checks, and the state that outlives a kill."""

    def __init__(self, model: Any, tokenizer: Any, learn: Sequence[Lesson], check: Sequence[Lesson], plan: TrainingPlan, out: Path) -> None:
        import torch

        self.model, self.tokenizer, self.plan, self.out = model, tokenizer, plan, out
        if len(learn) < plan.batch_lessons:
            raise ConfigurationError(f"{len(learn)} lessons are too few to learn from")
        self.learn = [encoded(tokenizer, one, plan) for one in learn]
        self.check = [encoded(tokenizer, one, plan) for one in check]
        self.device = next(model.parameters()).device
        self.steps = max(1, round(len(self.learn) * plan.epochs / plan.batch_lessons))
        self.every = max(1, round(len(self.learn) / plan.batch_lessons / plan.checks))
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=plan.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
        self.history = History()
        self.step, self.best, self.waited = 0, float("inf"), 0
        self.kept: dict[str, Any] = self._weights()
        whole = json.dumps(asdict(plan)) + str([one.prompt + one.answer for one in self.learn])
        self.identity = hashlib.sha256(whole.encode()).hexdigest()

    def work(self, tell: Callable[[Progress], None], stop: Callable[[], bool]) -> History:
        import time

        import torch

        self._resume()
        recent: list[float] = []
        began, tokens = time.perf_counter(), 0
        self.model.train()
        while self.step < self.steps and not self.history.stopped_early:
            batch = self._batch(self.step)
            for group in self.optimiser.param_groups:
                group["lr"] = self._rate(self.step)
            loss = self._step(batch)
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimiser.step()
            self.optimiser.zero_grad(set_to_none=True)
            self.step += 1
            recent, tokens = [*recent[-19:], loss], tokens + sum(one.length for one in batch)
            self.history.training.append((self.step, loss))
            tell(Progress(self.step, self.steps, float(np.mean(recent)), tokens / (time.perf_counter() - began)))
            if self.step % self.every == 0 or self.step == self.steps:
                self._check()
                self._save()
            if stop():
                self._save()
                return self.history
        self._restore(self.kept)
        (self.out / _STATE).unlink(missing_ok=True)
        return self.history

    def _batch(self, step: int) -> list[Encoded]:
        """The lessons of a step: a fresh order every epoch, the same in every run."""
        size, whole = self.plan.batch_lessons, len(self.learn)
        places = []
        for number in range(step * size, (step + 1) * size):
            epoch, place = divmod(number, whole)
            order = np.random.default_rng([self.plan.seed, epoch]).permutation(whole)
            places.append(int(order[place]))
        return [self.learn[place] for place in places]

    def _rate(self, step: int) -> float:
        warm = max(1, round(0.05 * self.steps))
        if step < warm:
            return self.plan.learning_rate * (step + 1) / warm
        return self.plan.learning_rate * (0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * (step - warm) / max(1, self.steps - warm)))))

    def _step(self, batch: Sequence[Encoded]) -> float:
        total = 0.0
        for part in batches(batch, self.plan.batch_tokens):
            losses, weights, _ = self._losses(part)
            loss = (losses * weights).sum() / len(batch)
            loss.backward()
            total += float(loss.detach())
        return total

    def _losses(self, part: Sequence[Encoded]) -> tuple[Any, Any, Any]:
        """Cross entropies of answer tokens and their weights, both shape (answer tokens of the part,), and the label rows' logits."""
        import torch

        longest = max(one.length for one in part)
        ids = torch.full((len(part), longest), int(self.tokenizer.pad_token_id or 0), dtype=torch.long)
        mask = torch.zeros((len(part), longest), dtype=torch.long)
        rows: list[int] = []
        columns: list[int] = []
        targets: list[int] = []
        weights: list[float] = []
        labels: list[int] = []
        for row, one in enumerate(part):
            ids[row, : one.length] = torch.tensor(one.prompt + one.answer)
            mask[row, : one.length] = 1
            labels.append(len(targets) + one.label_at)
            for place, (target, weight) in enumerate(zip(one.answer, one.weights, strict=True)):
                rows.append(row)
                columns.append(len(one.prompt) + place - 1)
                targets.append(target)
                weights.append(weight)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            hidden = self._body()(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), use_cache=False)[0]
        chosen = hidden[torch.tensor(rows, device=self.device), torch.tensor(columns, device=self.device)]
        logits = self.model.get_output_embeddings()(chosen.to(self.model.get_output_embeddings().weight.dtype)).float()
        losses = torch.nn.functional.cross_entropy(logits, torch.tensor(targets, device=self.device), reduction="none")
        return losses, torch.tensor(weights, device=self.device), logits[torch.tensor(labels, device=self.device)]

    def _body(self) -> Any:
        """The transformer below the head, with its adapter."""
        inner = self.model.get_base_model()
        return inner.get_decoder() if hasattr(inner, "get_decoder") else inner.model

    def _check(self) -> None:
        """Score the held-out users; keep the weights when they do better."""
        if not self.check:
            self.kept = self._weights()
            return
        loss, accuracy = self._score()
        self.history.checked.append((self.step, loss, accuracy))
        if loss < self.best:
            self.best, self.waited, self.kept = loss, 0, self._weights()
        else:
            self.waited += 1
            self.history.stopped_early = self.waited >= self.plan.patience

    def _score(self) -> tuple[float, float]:
        """Weighted loss and accuracy of the label on the held-out lessons."""
        import torch

        first = torch.tensor(
            [self.tokenizer(BEGINNING + label, add_special_tokens=False)["input_ids"][self.check[0].label_at] for label in LABELS]
        )
        self.model.eval()
        losses, right = [], 0
        with torch.no_grad():
            for part in batches(sorted(self.check, key=lambda one: one.length), self.plan.batch_tokens):
                each, weights, label_rows = self._losses(part)
                losses.append(float((each * weights).sum()))
                chosen = label_rows[:, first.to(label_rows.device)].argmax(dim=1).tolist()
                right += sum(LABELS[place] == one.risk for place, one in zip(chosen, part, strict=True))
        self.model.train()
        return sum(losses) / len(self.check), right / len(self.check)

    def _weights(self) -> dict[str, Any]:
        return {name: parameter.detach().clone().cpu() for name, parameter in self.model.named_parameters() if parameter.requires_grad}

    def _restore(self, weights: dict[str, Any]) -> None:
        import torch

        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in weights:
                    parameter.copy_(weights[name])

    def _save(self) -> None:
        import torch

        state = {
            "identity": self.identity, "step": self.step, "best": self.best, "waited": self.waited, "kept": self.kept,
            "weights": self._weights(), "optimiser": self.optimiser.state_dict(), "history": asdict(self.history),
        }  # fmt: skip
        scratch = self.out / f"{_STATE}.new"
        torch.save(state, scratch)
        scratch.replace(self.out / _STATE)

    def _resume(self) -> None:
        import torch

        path = self.out / _STATE
        if not path.is_file():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["identity"] != self.identity:
            raise ConfigurationError(f"{path} belongs to a run with other lessons or another plan; remove it, or write elsewhere")
        self.step, self.best, self.waited, self.kept = state["step"], state["best"], state["waited"], state["kept"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.history = History(**state["history"])
        self._restore(state["weights"])


def batches(lessons: Sequence[Encoded], most_tokens: int) -> list[list[Encoded]]:
    """Lessons in parts whose padded size stays within `most_tokens`; a longer one stands alone."""
    found: list[list[Encoded]] = []
    part: list[Encoded] = []
    for one in sorted(lessons, key=lambda each: each.length):
        if part and one.length * (len(part) + 1) > most_tokens:
            found.append(part)
            part = []
        part.append(one)
    return [*found, part] if part else found
