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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.narrative.prompt import Prompt
from stream.errors import ConfigurationError

FILE: Final = "evidence_head.safetensors"
_SCHEMA: Final = "daywatch.evidence-head/1"
_MOST_BYTES: Final = 1 << 24
States = npt.NDArray[np.float32]
Chances = npt.NDArray[np.float64]


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
        hidden = np.maximum(joined(states) @ self.first[:-1].astype(np.float64) + self.first[-1], 0.0)
        found: Chances = 1.0 / (1.0 + np.exp(-(hidden @ self.second[:-1].astype(np.float64) + self.second[-1])))
        return found

    def cited(self, prompt: Prompt, states: States) -> tuple[int, ...]:
        """Places of the events to cite, ascending: those of all lines above the threshold, of the likeliest line where none is."""
        return places_of(prompt, self.chances(states), self.threshold)


def joined(states: States) -> Chances:
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
