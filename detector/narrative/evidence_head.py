r"""Which events of a prompt an accusation rests on, read from a language model's own states. Knows no model and no tokens.

    prompt    …  E1 08:10 drive connected: drive\n   E2 E3 22:02 file copied "plans.zip": …, late\n  …  <answer begins>
    states                                     a                                               b                    z
    chance                               f([a, z])                                        f([b, z])

A line's last token has read the facts and all lines up to it, the prompt's last one has read everything. The head f is a network of one
hidden layer on both, fitted to the answer key after the model's adapter was trained; a small model that writes its citations one after
the other lists too much. All events of a line are cited, or none: the prompt says the same of them.

Source of the idea that states hold what answers do not say: G. Alain and Y. Bengio, Understanding intermediate layers using linear
classifier probes, 2016.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.narrative.prompt import Prompt
from stream.errors import ConfigurationError

FILE: Final = "evidence_head.safetensors"
_SCHEMA: Final = "daywatch.evidence-head/1"
_MOST_BYTES: Final = 1 << 24
_HIDDEN: Final = 64
_FOLDS: Final = 5
_EPOCHS: Final = 30
_BATCH: Final = 128
_THRESHOLDS: Final = tuple(round(0.2 + 0.02 * step, 2) for step in range(31))
States = npt.NDArray[np.float32]
Chances = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seen:
    """A window to learn from: prompt, states as `EvidenceHead.chances` takes them, the places that the key names, and whose it is."""

    prompt: Prompt
    states: States
    key: Sequence[int]
    user: str


@dataclass(frozen=True, slots=True)
class EvidenceHead:
    """A fitted head.

    Args:
        first: weights of the hidden layer, for states that are scaled already; shape (2 * width of a state + 1, hidden), the last row
            being added.
        second: weights of the hidden layer's numbers; shape (hidden + 1,), the last one being added.
        threshold: chance from which on a line is cited.
        prompt: identity of the prompts that it was fitted to.
        adapter: identity of the adapter whose states it reads.
    """

    first: States
    second: States
    threshold: float
    prompt: str
    adapter: str

    @property
    def sha256(self) -> str:
        """Digest of what decides a citation."""
        parts = [self.first.ravel(), self.second, np.array([self.threshold])]
        return hashlib.sha256(np.concatenate(parts).astype("<f4").tobytes()).hexdigest()

    def chances(self, states: States) -> Chances:
        """Chance of each line to be evidence; `states` has one row a line and the prompt's end as its last, shape (lines + 1, width)."""
        hidden = np.maximum(_joined(states) @ self.first[:-1].astype(np.float64) + self.first[-1], 0.0)
        found: Chances = 1.0 / (1.0 + np.exp(-(hidden @ self.second[:-1].astype(np.float64) + self.second[-1])))
        return found

    def cited(self, prompt: Prompt, states: States) -> tuple[int, ...]:
        """Places of the events to cite, ascending: those of all lines above the threshold, of the likeliest line where none is."""
        return places_of(prompt, self.chances(states), self.threshold)


def _joined(states: States) -> Chances:
    """Each line's state beside the prompt's last; shape (lines, 2 * width)."""
    return np.concatenate([states[:-1], np.broadcast_to(states[-1], states[:-1].shape)], axis=1).astype(np.float64)


def places_of(prompt: Prompt, chances: Chances, threshold: float) -> tuple[int, ...]:
    """The events of the lines whose chance reaches the threshold, or of the likeliest line; empty where there is no line."""
    if not len(chances):
        return ()
    chosen = chances >= threshold
    if not chosen.any():
        chosen[int(chances.argmax())] = True
    numbers = np.repeat(chosen, [number for _, number in prompt.lines])
    return tuple(np.flatnonzero(numbers).tolist())


def write_head(directory: Path, head: EvidenceHead) -> None:
    """Write a head beside its adapter."""
    from safetensors.numpy import save_file

    told = {"schema": _SCHEMA, "threshold": repr(head.threshold), "prompt": head.prompt, "adapter": head.adapter}
    save_file({"first": head.first, "second": head.second}, str(directory / FILE), told)
    (directory / FILE).chmod(0o644)  # safetensors makes files for their owner alone


def read_head(directory: Path) -> EvidenceHead | None:
    """The head beside an adapter; None where there is none, as with adapters of other makers.

    Raises:
        ConfigurationError: the file cannot be understood.
    """
    from safetensors import SafetensorError, safe_open

    path = directory / FILE
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError("too large")
        with safe_open(str(path), framework="numpy") as file:
            told, first, second = file.metadata(), file.get_tensor("first"), file.get_tensor("second")
        if (
            told["schema"] != _SCHEMA
            or second.shape != (first.shape[1] + 1,)
            or not np.isfinite(first).all()
            or not np.isfinite(second).all()
        ):
            raise ValueError("another schema")
        return EvidenceHead(first, second, float(told["threshold"]), told["prompt"], told["adapter"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ConfigurationError(
            f"{path} is not what this version of Daywatch writes beside an adapter ({type(error).__name__})"
        ) from error


def fitted_head(learn: Sequence[Seen], check: Sequence[Seen], prompt: str, adapter: str) -> tuple[EvidenceHead, dict[str, float]]:
    """Fit a head on accused windows, and say how well it does on those of other users. The threshold is the one that serves best
    where each fifth of the users is judged by a head fitted on the others.

    Args:
        learn: windows to fit on.
        check: windows of other users.
        prompt: identity of the prompts.
        adapter: identity of the adapter.

    Raises:
        ConfigurationError: nothing can be learned, since every line is evidence, or none.
    """
    shares = np.concatenate([_shares(one) for one in learn])
    if shares.max() == 0 or shares.min() == 1:
        raise ConfigurationError("no evidence head can be fitted: every event that prompts show is evidence, or none is")
    fold_of = {user: place % _FOLDS for place, user in enumerate(sorted({one.user for one in learn}))}
    judged: list[tuple[Seen, Chances]] = []
    for fold in sorted(set(fold_of.values())):
        others = [one for one in learn if fold_of[one.user] != fold]
        part = _network(others or learn, prompt, adapter)
        judged += [(one, part.chances(one.states)) for one in learn if fold_of[one.user] == fold]
    scores = {threshold: _f1(judged, threshold) for threshold in _THRESHOLDS}
    best = max(scores, key=lambda threshold: (scores[threshold], -abs(threshold - 0.5)))
    head = replace(_network(learn, prompt, adapter), threshold=best)
    figures = {"windows": len(learn), "threshold": best, "f1_crossed": scores[best], "checked": len(check)}
    return head, figures | {"f1": _f1([(one, head.chances(one.states)) for one in check], best)}


def _network(learn: Sequence[Seen], prompt: str, adapter: str) -> EvidenceHead:
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    rows = np.concatenate([_joined(one.states) for one in learn])
    middle, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    scaled = torch.tensor((rows - middle) / spread, dtype=torch.float32)
    # a line of which a part is evidence counts as that much of either
    target = torch.tensor(np.concatenate([_shares(one) for one in learn]), dtype=torch.float32)
    weight = torch.tensor(np.concatenate([[number for _, number in one.prompt.lines] for one in learn]), dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        inner, outer, drop = torch.nn.Linear(rows.shape[1], _HIDDEN), torch.nn.Linear(_HIDDEN, 1), torch.nn.Dropout(0.3)
        optimiser = torch.optim.AdamW([*inner.parameters(), *outer.parameters()], lr=1e-3, weight_decay=1e-2)
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(scaled)).split(_BATCH):
                logits = outer(drop(torch.relu(inner(drop(scaled[batch])))))[:, 0]
                losses = binary_cross_entropy_with_logits(logits, target[batch], reduction="none") * weight[batch]
                optimiser.zero_grad()
                (losses.sum() / weight[batch].sum()).backward()
                optimiser.step()
    # the scale of the states goes into the weights
    first = inner.weight.detach().numpy().T.astype(np.float64) / spread[:, None]
    shift = inner.bias.detach().numpy() - middle @ first
    second = np.append(outer.weight.detach().numpy()[0], outer.bias.detach().numpy())
    # safetensors writes an array's memory as it lies there
    return EvidenceHead(np.vstack([first, shift]).astype(np.float32, order="C"), second.astype(np.float32), 0.5, prompt, adapter)


def _shares(one: Seen) -> Chances:
    """Which share of each line's events the key names."""
    named = np.zeros(len(one.prompt.aliases))
    named[list(one.key)] = 1
    ends = np.cumsum([number for _, number in one.prompt.lines])
    return np.array([part.mean() for part in np.split(named, ends[:-1])])


def _f1(judged: Sequence[tuple[Seen, Chances]], threshold: float) -> float:
    """F1 over all citations of these windows."""
    cited = [set(places_of(one.prompt, chances, threshold)) for one, chances in judged]
    right = sum(len(places & set(one.key)) for places, (one, _) in zip(cited, judged, strict=True))
    return 2 * right / max(sum(map(len, cited)) + sum(len(one.key) for one, _ in judged), 1)
