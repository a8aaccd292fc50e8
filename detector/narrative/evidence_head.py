r"""Which events of a prompt an accusation rests on, read from a language model's own states. Knows no model and no tokens.

    prompt    …  E1 08:10 drive connected: drive\n   E2 E3 22:02 file copied "plans.zip": …, late\n  …  <answer begins>
    states                                     a                                               b                    z
    chance                              σ(u·a + v·z + c)                                 σ(u·b + v·z + c)

A line's last token has read the facts and all lines up to it, the prompt's last one has read everything. The head is a logistic
regression on both, fitted to the answer key after the model's adapter was trained; a small model that writes its citations one after
the other lists too much. All events of a line are cited, or none: the prompt says the same of them.

Source of the method: G. Alain and Y. Bengio, Understanding intermediate layers using linear classifier probes, 2016.
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
_MOST_BYTES: Final = 1 << 22
_PENALTIES: Final = (0.0003, 0.001, 0.003, 0.01, 0.03)
_THRESHOLDS: Final = tuple(round(0.2 + 0.02 * step, 2) for step in range(31))
States = npt.NDArray[np.float32]
Shown = Sequence[tuple[Prompt, States, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class EvidenceHead:
    """A fitted head.

    Args:
        weights: `u` and `v` one after the other; shape (2 * hidden,), float32.
        shift: `c`.
        threshold: chance from which on a line is cited.
        prompt: identity of the prompts that it was fitted to.
        adapter: identity of the adapter whose states it reads.
    """

    weights: States
    shift: float
    threshold: float
    prompt: str
    adapter: str

    @property
    def sha256(self) -> str:
        """Digest of what decides a citation."""
        numbers = np.append(self.weights.astype("<f4"), [np.float32(self.shift), np.float32(self.threshold)]).astype("<f4")
        return hashlib.sha256(numbers.tobytes()).hexdigest()

    def chances(self, states: States) -> npt.NDArray[np.float64]:
        """Chance of each line to be evidence; `states` has one row a line and the prompt's end as its last, shape (lines + 1, hidden)."""
        whole = joined(states).astype(np.float64) @ self.weights.astype(np.float64) + self.shift
        found: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-whole))
        return found

    def cited(self, prompt: Prompt, states: States) -> tuple[int, ...]:
        """Places of the events to cite, ascending: those of all lines above the threshold, of the likeliest line where none is."""
        return places_of(prompt, self.chances(states), self.threshold)


def joined(states: States) -> States:
    """Each line's state beside the prompt's last; shape (lines, 2 * hidden)."""
    return np.concatenate([states[:-1], np.broadcast_to(states[-1], states[:-1].shape)], axis=1)


def places_of(prompt: Prompt, chances: npt.NDArray[np.float64], threshold: float) -> tuple[int, ...]:
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

    told = {"shift": repr(head.shift), "threshold": repr(head.threshold), "prompt": head.prompt, "adapter": head.adapter}
    save_file({"weights": head.weights.astype(np.float32)}, str(directory / FILE), {"schema": "daywatch.evidence-head/1", **told})


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
            told, weights = file.metadata(), file.get_tensor("weights")
        if told["schema"] != "daywatch.evidence-head/1" or weights.ndim != 1 or not np.isfinite(weights).all():
            raise ValueError("another schema")
        return EvidenceHead(weights, float(told["shift"]), float(told["threshold"]), told["prompt"], told["adapter"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is not what this version of Daywatch writes beside an adapter ({type(error).__name__})"
        ) from error


def fitted_head(learn: Shown, check: Shown, prompt: str, adapter: str) -> tuple[EvidenceHead, dict[str, float]]:
    """Fit a head on accused windows, choose penalty and threshold on those of other users, and say how well it does on these.

    Args:
        learn: prompts with the states of their lines and the places that the key names.
        check: the same of other users.
        prompt: identity of the prompts.
        adapter: identity of the adapter.

    Raises:
        ConfigurationError: nothing can be learned, since every line is evidence, or none.
    """
    from sklearn.linear_model import LogisticRegression

    rows = np.concatenate([joined(states) for _, states, _ in learn]).astype(np.float64)
    shares = np.concatenate([_shares(one, key) for one, _, key in learn])
    sizes = np.concatenate([[number for _, number in one.lines] for one, _, _ in learn])
    middle, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    if shares.max() == 0 or shares.min() == 1:
        raise ConfigurationError("no evidence head can be fitted: every event that prompts show is evidence, or none is")
    # a line of which a part is evidence counts as that much of either
    twice, truth = np.concatenate([rows, rows]), np.repeat([True, False], len(rows))
    weight = np.concatenate([shares, 1 - shares]) * np.concatenate([sizes, sizes])
    heard = weight > 0
    found: list[tuple[float, float, EvidenceHead]] = []
    for penalty in _PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=500).fit(
            ((twice - middle) / spread)[heard], truth[heard], sample_weight=weight[heard]
        )
        weights = (model.coef_[0] / spread).astype(np.float32)
        shift = float(model.intercept_[0] - middle @ (model.coef_[0] / spread))
        head = EvidenceHead(weights, shift, 0.5, prompt, adapter)
        threshold, f1 = _best_threshold(head, check)
        found.append((f1, -penalty, replace(head, threshold=threshold)))
    f1, penalty, head = max(found, key=lambda each: each[:2])
    return head, {"evidence_head_f1": f1, "evidence_head_c": -penalty, "evidence_head_threshold": head.threshold}


def _shares(prompt: Prompt, key: Sequence[int]) -> npt.NDArray[np.float64]:
    """Which share of each line's events the key names."""
    named = np.zeros(len(prompt.aliases))
    named[list(key)] = 1
    ends = np.cumsum([number for _, number in prompt.lines])
    return np.array([part.mean() for part in np.split(named, ends[:-1])])


def _best_threshold(head: EvidenceHead, check: Shown) -> tuple[float, float]:
    """The threshold with the best F1 over all citations of these prompts, the least of those that are equally good; and that F1."""
    chances = [head.chances(states) for _, states, _ in check]
    named = sum(len(key) for _, _, key in check)
    scores = {}
    for threshold in _THRESHOLDS:
        cited = [set(places_of(prompt, one, threshold)) for one, (prompt, _, _) in zip(chances, check, strict=True)]
        right = sum(len(places & set(key)) for places, (_, _, key) in zip(cited, check, strict=True))
        scores[threshold] = 2 * right / max(sum(map(len, cited)) + named, 1)
    best = max(scores, key=lambda threshold: (scores[threshold], -threshold))
    return best, scores[best]
