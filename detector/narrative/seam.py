"""The seam behind which prompts are judged: a model in this process, a server, or fixed answers. Knows no model and no device.

Label first: one forward pass gives the probabilities of the three labels for every prompt. Evidence and reason are written afterwards,
for those prompts alone that are worth it, with the label given.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from detector.narrative.answer import Answer
from detector.narrative.prompt import LABELS, Prompt
from detector.trees import Floats
from detector.verdict import Label


class NarrativeModel(Protocol):
    """Whatever reads a prompt and says how risky the window is, on what evidence, and why."""

    @property
    def name(self) -> str:
        """What it is called in verdicts and messages."""
        ...

    @property
    def provenance(self) -> Mapping[str, str]:
        """What a verdict has to name so that it can be made again: base, adapter, their hashes, precision."""
        ...

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        ...

    def label(self, prompts: Sequence[Prompt]) -> Floats:
        """Probabilities over `LABELS`, shape (n, 3), each row adding up to one; a row depends on its prompt alone.

        Raises:
            PoisonError: one of the prompts can never be judged.
            TransientError: worth another try.
        """
        ...

    def explain(self, prompts: Sequence[Prompt], labels: Sequence[Label]) -> list[Answer]:
        """Evidence and reason for labels that are given, in order; cited places lie within the prompt's aliases.

        Raises:
            PoisonError: one of the answers is none, and never will be.
            TransientError: worth another try.
        """
        ...


class FixedModel:
    """Gives the answers it was made with: the in-memory twin, for tests, examples and evaluation without weights.

    A word counts as a token.
    """

    name = "fixed"

    def __init__(
        self,
        of: "Callable[[Prompt], tuple[float, float, float]] | tuple[float, float, float]" = (0.8, 0.15, 0.05),
        say: "Callable[[Prompt, Label], Answer] | None" = None,
    ) -> None:
        """Use a function of the prompt, or the same probabilities always; without `say` the first event is cited."""
        self._of = of if callable(of) else lambda _: of
        self._say = say or (lambda prompt, label: Answer(label, (0,) if prompt.aliases else (), "fixed answer"))
        self.provenance: Mapping[str, str] = {"base": "fixed", "base_sha256": "0" * 64, "precision": "fp32"}
        self.labelled: list[Prompt] = []
        self.explained: list[tuple[Prompt, Label]] = []

    def count(self, text: str) -> int:
        """How many words a text has."""
        return len(text.split())

    def label(self, prompts: Sequence[Prompt]) -> Floats:
        """The probabilities of each prompt."""
        self.labelled += prompts
        return np.array([self._of(prompt) for prompt in prompts], np.float64).reshape(len(prompts), len(LABELS))

    def explain(self, prompts: Sequence[Prompt], labels: Sequence[Label]) -> list[Answer]:
        """The answer to each prompt."""
        asked = list(zip(prompts, labels, strict=True))
        self.explained += asked
        return [self._say(prompt, label) for prompt, label in asked]
