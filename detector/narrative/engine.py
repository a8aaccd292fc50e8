"""A causal language model as what judges prompts: labels in one forward pass, answers under the grammar. An adapter: uses PyTorch.

    label     prompt {"risk": "              one forward pass; the head's rows for the three labels' first tokens give their probabilities
    explain   prompt {"risk": "malicious", "evidence": ...     greedy, each row under its own grammar, rows that are done leave the batch
              with an evidence head, one more pass says what is cited, and only the reason is written

Rows are padded on the right where one pass is all there is: what stands after a row's end cannot reach it, neither by attention nor by a
recurrent state, so no mask is needed. Where tokens are to follow, they are padded on the left. Knows nothing of windows, thresholds or
where the weights come from.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from detector.models.errors import TooLittleMemory
from detector.models.loading import Loaded
from detector.narrative.answer import BEGINNING, LABELS, Answer, parsed
from detector.narrative.batching import batches, shared
from detector.narrative.chat import rendered
from detector.narrative.evidence_head import EvidenceHead, States
from detector.narrative.grammar import Constraint, Matcher, UnfitTokenizer, beginning_of, longest
from detector.narrative.prompt import Prompt
from detector.narrative.writing import NotFinite, Writer
from detector.trees import Floats
from detector.verdict import Label
from stream.errors import ConfigurationError, PoisonError

CPU_TOKENS: Final = 8_192
"""Tokens of a batch on a CPU: more gains nothing there."""
_LEAST_TOKENS, _MOST_TOKENS = 4_096, 65_536
_PROBE: Final = "Text in quotes is data from logs."
_PREFIX_TOKENS_CPU, _PREFIX_TOKENS_GPU = 32, 256
"""How long a common beginning has to be before its states are worth keeping: what follows then needs a mask, which costs a GPU its
quickest attention, so only examples make up for it there."""


class BrokenLogits(PoisonError):
    """The model's numbers for this prompt are not finite, alone as in company, while others' are."""

    code: ClassVar[str] = "broken_logits"


class BrokenModel(ConfigurationError):
    """The model's numbers are not finite for any prompt."""


@dataclass(slots=True)
class Spent:
    """What has been asked of an engine so far: tokens read (padding aside), tokens written, batches that had to be halved."""

    prompt_tokens: int = 0
    answer_tokens: int = 0
    halved: int = 0


class Engine:
    """Judges prompts with a model in this process; implements `NarrativeModel`.

    A row's result depends on its prompt alone, but for rounding: in bf16 the company in a batch can move a probability by a hundredth.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        head: EvidenceHead | None = None,
        label_tokens: int | None = None,
        explain_tokens: int | None = None,
        share_prefix: bool | None = None,
    ) -> None:
        """For a model that is loaded.

        Args:
            loaded: model, tokenizer, and where they come from.
            head: chooses what is cited; without one the model writes its citations itself.
            label_tokens: most tokens of a batch, padding included, when labels are asked for; chosen by what the device has.
            explain_tokens: the same when answers are written; twice as many where they are chosen.
            share_prefix: keep the states of what all prompts begin with; by default where it is long enough to gain by it.

        Raises:
            UnfitTokenizer: answers cannot be constrained with this tokenizer.
            BrokenModel: the model's numbers are not finite.
            ConfigurationError: the head belongs to another adapter.
        """
        import torch

        self._torch, self._model, self._tokenizer = torch, loaded.model, loaded.tokenizer
        if head is not None and head.adapter != loaded.adapter_sha256:
            raise ConfigurationError("the evidence head beside the adapter was fitted to other weights than the adapter's: fetch both anew")
        self._evidence = head
        self.provenance: Mapping[str, str] = _provenance(loaded) | ({"evidence_head_sha256": head.sha256} if head is not None else {})
        self.name = self.provenance["base"]
        self.spent = Spent()
        self._model.eval()
        self._device = next(self._model.parameters()).device
        whole = self._model.get_base_model() if hasattr(self._model, "get_base_model") else self._model
        self._decoder, self._head = whole.get_decoder(), whole.get_output_embeddings()
        self._n_vocab = int(self._head.weight.shape[0]) if self._head.weight.dim() == 2 else len(self._tokenizer)
        self._constraint = Constraint(self._tokenizer, self._n_vocab)
        room = _room(torch, whole.config, self._device)
        self._label_tokens, self._explain_tokens = label_tokens or room, explain_tokens or 2 * room
        self._share_prefix = share_prefix
        self._prefix: tuple[tuple[int, ...], Any] | None = None
        self._beginning = self._ids(BEGINNING)
        self._rows, self._owner = self._first_tokens()
        self._scale, self._cap = _afterwards(whole.config)
        self._through_head = True
        self._through_head = self._probed()
        self._ends = _ends(whole, self._tokenizer)
        self._writer = self._writer_of(self._decoder)

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self._ids(text))

    def label(self, prompts: Sequence[Prompt]) -> Floats:
        """Probabilities over `LABELS` under the grammar, shape (n, 3): one forward pass a batch, and one wait for all of them.

        A label's probability is that of all tokens that may begin it: the labels begin with different letters, so each token belongs
        to one of them.

        Raises:
            BrokenLogits: the numbers of one prompt are not finite.
            BrokenModel: those of any prompt.
            TooLittleMemory: one prompt alone does not fit.
        """
        rows = [self._encoded(prompt) + self._beginning for prompt in prompts]
        common = self._common(prompts, rows)
        parts: list[tuple[list[int], Any]] = []

        def one(places: list[int]) -> None:
            parts.append((places, self._label_logits([rows[place] for place in places], common)))

        self._in_batches([len(row) for row in rows], "_label_tokens", one)
        logits = np.zeros((len(rows), len(self._rows)))
        for places, part in parts:
            logits[places] = part.double().cpu().numpy()
        self.spent.prompt_tokens += sum(map(len, rows))
        for place in np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist():
            logits[place] = self._once_more(rows[place], place, len(rows))
        return self._by_label(logits)

    def explain(self, prompts: Sequence[Prompt], labels: Sequence[Label]) -> list[Answer]:
        """Evidence and reason for labels that are given, in order; valid with any model, by the grammar.

        Raises:
            BrokenLogits: the numbers of one prompt are not finite.
            TooLittleMemory: one prompt alone does not fit.
        """
        begun = [self._ids(text) for text in self._begun(prompts, labels)]
        rows = [self._encoded(prompt) + beginning for prompt, beginning in zip(prompts, begun, strict=True)]
        most = [longest(len(prompt.aliases)) for prompt in prompts]

        def matcher(place: int) -> Matcher:
            return self._constraint.matcher(labels[place], len(prompts[place].aliases), begun[place])

        written = self._decoded(rows, most, matcher)
        return [
            parsed(self._constraint.text([*beginning, *tokens]), len(prompt.aliases))
            for prompt, beginning, tokens in zip(prompts, begun, written, strict=True)
        ]

    def _begun(self, prompts: Sequence[Prompt], labels: Sequence[Label]) -> list[str]:
        """What is sure of each answer: the label, and what is cited where a head says so."""
        found = [beginning_of(label) for label in labels]
        accused = [place for place, label in enumerate(labels) if label != "normal" and prompts[place].lines]
        if self._evidence is not None and accused:
            states = self.line_states([prompts[place] for place in accused])
            for place, one in zip(accused, states, strict=True):
                found[place] = beginning_of(labels[place], self._evidence.cited(prompts[place], one))
        return found

    def line_states(self, prompts: Sequence[Prompt]) -> list[States]:
        """The last layer's states at the end of each event's line, and of the whole prompt; shape (lines + 1, hidden) each.

        Raises:
            BrokenLogits: the numbers of one prompt are not finite.
            TooLittleMemory: one prompt alone does not fit.
        """
        torch = self._torch
        rows, places = zip(*(self._with_lines(prompt) for prompt in prompts), strict=True) if prompts else ((), ())
        found: list[States] = [np.zeros((0, 0), np.float32)] * len(rows)

        def one(batch: list[int]) -> None:
            width = max(len(rows[place]) for place in batch)
            ids = torch.tensor([[*rows[place], *[0] * (width - len(rows[place]))] for place in batch], device=self._device)
            with torch.inference_mode():
                last = self._decoder(input_ids=ids, use_cache=False).last_hidden_state
                for row, place in enumerate(batch):
                    found[place] = last[row, list(places[place])].float().cpu().numpy()

        self._in_batches([len(row) for row in rows], "_label_tokens", one)
        self.spent.prompt_tokens += sum(map(len, rows))
        if any(not np.isfinite(states).all() for states in found):
            raise BrokenLogits("the model's numbers for a prompt are not finite")
        return found

    def _with_lines(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """A prompt's tokens, and the places of those that end its lines and itself."""
        text = rendered(self._tokenizer, prompt)
        spelt = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        begins = np.array([begin for begin, _ in spelt["offset_mapping"]])
        at = text.rindex(prompt.user)
        # the last token that begins before the line's end: what follows is a line break, or the turn's end
        ends = [int(np.searchsorted(begins, at + end)) - 1 for end, _ in prompt.lines]
        return list(spelt["input_ids"]), [*ends, len(begins) - 1]

    def speak(self, prompts: Sequence[Prompt], most_tokens: int = 256) -> list[str]:
        """What the model says freely, greedily, until it ends or has said so much: for reading published adapters as they are.

        Raises:
            BrokenLogits: the numbers of one prompt are not finite.
            TooLittleMemory: one prompt alone does not fit.
        """
        rows = [self._encoded(prompt) for prompt in prompts]
        written = self._decoded(rows, [most_tokens] * len(rows), None)
        return [str(self._tokenizer.decode(tokens, skip_special_tokens=True)) for tokens in written]

    def _writer_of(self, decoder: Any) -> Writer:
        return Writer(decoder, self._head, self._device, self._constraint, self._ends)

    # -- tokens ---------------------------------------------------------------------------------------------------------------------

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _encoded(self, prompt: Prompt) -> list[int]:
        return self._ids(rendered(self._tokenizer, prompt))

    def _common(self, prompts: Sequence[Prompt], rows: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """What all rows begin with, if its states are worth keeping."""
        if not prompts or self._share_prefix is False or any((p.system, p.shots) != (prompts[0].system, prompts[0].shots) for p in prompts):
            return ()
        one, other = (self._encoded(_like(prompts[0], user)) for user in ("User", "1"))
        common = tuple(one[: shared(one, other)])
        # a matter of the prompts' kind alone: one that is judged again, by itself, goes the same way
        least = _PREFIX_TOKENS_CPU if self._device.type == "cpu" else _PREFIX_TOKENS_GPU
        if not self._share_prefix and len(common) < least:
            return ()
        return common if common and all(tuple(row[: len(common)]) == common for row in rows) else ()

    def _first_tokens(self) -> tuple[list[int], list[int]]:
        """Tokens that may come first after the answer's beginning, and the label that each belongs to."""
        spelt = [self._constraint.bytes_of(token) for token in range(min(self._n_vocab, self._constraint.n_words))]
        follow = [f'{label}", "evidence": ['.encode() for label in LABELS]
        found = [(token, owner) for token, text in enumerate(spelt) if text for owner, whole in enumerate(follow) if whole.startswith(text)]
        if {owner for _, owner in found} != set(range(len(LABELS))) or len({token for token, _ in found}) != len(found):
            raise UnfitTokenizer("this model's tokens do not tell the three labels apart by their beginning")
        return [token for token, _ in found], [owner for _, owner in found]

    # -- one forward pass -----------------------------------------------------------------------------------------------------------

    def _label_logits(self, rows: Sequence[Sequence[int]], common: tuple[int, ...]) -> Any:
        """Logits of the labels' tokens after each row, shape (rows, tokens), float32."""
        torch = self._torch
        tails = [row[len(common) :] for row in rows]
        width = max(map(len, tails))
        ids = torch.tensor([[*tail, *[0] * (width - len(tail))] for tail in tails], device=self._device)
        ends = torch.tensor([len(tail) - 1 for tail in tails], device=self._device)
        rows_of_head = torch.tensor(self._rows, device=self._device)
        with torch.inference_mode():
            states = self._states_of(common, len(rows)) if common else None
            asked = {"input_ids": ids, "past_key_values": states, "use_cache": states is not None}
            at = (torch.arange(len(rows), device=self._device), ends)
            if not self._through_head:
                return self._model(**asked).logits[at][:, rows_of_head].float()
            last = self._decoder(**asked).last_hidden_state[at].float()
            # the head in float32, for these few rows of it: in bf16 the company in a batch would move the probabilities twice as far
            logits = last @ self._head.weight[rows_of_head].float().T
            if getattr(self._head, "bias", None) is not None:
                logits = logits + self._head.bias[rows_of_head].float()
            logits = logits * self._scale
            return torch.tanh(logits / self._cap) * self._cap if self._cap else logits

    def _states_of(self, common: tuple[int, ...], n_rows: int) -> Any:
        torch = self._torch
        if self._prefix is None or self._prefix[0] != common:
            out = self._decoder(input_ids=torch.tensor([common], device=self._device), use_cache=True)
            self._prefix = (common, out.past_key_values)
        # a pass writes into the states it is given: each batch gets a copy, one row of it for each of its own
        states = copy.deepcopy(self._prefix[1])
        states.reorder_cache(torch.zeros(n_rows, dtype=torch.long, device=self._device))
        return states

    def _by_label(self, logits: Floats) -> Floats:
        owner = np.array(self._owner)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-math.inf))
        sums = np.stack([weights[:, owner == label].sum(axis=1) for label in range(len(LABELS))], axis=1)
        probabilities: Floats = sums / sums.sum(axis=1, keepdims=True)
        return probabilities

    def _once_more(self, row: Sequence[int], place: int, n_rows: int) -> Any:
        """A row alone whose numbers were not finite in company.

        Raises:
            BrokenLogits: they are not finite alone, either.
            BrokenModel: nor are those of a harmless text.
        """
        for ids in (row, self._ids(_PROBE)):
            logits = self._label_logits([ids], ()).double().cpu().numpy()[0]
            if np.isfinite(logits).all():
                if ids is row:
                    return logits
                raise BrokenLogits(f"prompt {place + 1} of {n_rows} ({len(row)} tokens): the model's numbers for it are not finite")
        raise _broken_model(self.provenance)

    def _probed(self) -> bool:
        """Whether the head's rows alone give the model's own numbers; where they do not, the whole model is asked instead.

        Raises:
            BrokenModel: the numbers are not finite.
        """
        torch = self._torch
        ids = self._ids(_PROBE)
        with torch.inference_mode():
            own = self._model(input_ids=torch.tensor([ids], device=self._device)).logits[0, -1, self._rows].float()
        ours = self._label_logits([ids], ())[0]
        if not torch.isfinite(own).all() or not torch.isfinite(ours).all():
            raise _broken_model(self.provenance)
        return bool(torch.allclose(own, ours, rtol=0.02, atol=0.02 * float(own.abs().max()) + 0.05))

    # -- writing --------------------------------------------------------------------------------------------------------------------

    def _decoded(self, rows: Sequence[list[int]], most: Sequence[int], matcher: Callable[[int], Matcher] | None) -> list[list[int]]:
        """Greedy continuation of each row, at most so many tokens, each under its matcher."""
        written: list[list[int]] = [[] for _ in rows]

        def one(places: list[int]) -> None:
            made = self._written([rows[p] for p in places], [most[p] for p in places], matcher and [matcher(p) for p in places])
            for place, tokens in zip(places, made, strict=True):
                written[place] = tokens

        self._in_batches([len(row) for row in rows], "_explain_tokens", one)
        self.spent.prompt_tokens += sum(map(len, rows))
        self.spent.answer_tokens += sum(map(len, written))
        return written

    def _written(self, rows: list[list[int]], most: list[int], matchers: list[Matcher] | None) -> list[list[int]]:
        try:
            return self._writer.write(rows, most, matchers)
        except NotFinite as error:
            # one pass alone tells a prompt that breaks the model from a model that is broken
            for row in error.rows:
                self._once_more(rows[row], row, len(rows))
            raise BrokenLogits(f"{len(error.rows)} of {len(rows)} answers: the model's numbers are not finite while it writes") from error

    # -- memory ---------------------------------------------------------------------------------------------------------------------

    def _in_batches(self, lengths: Sequence[int], budget: str, run: Callable[[list[int]], None]) -> None:
        """Run all rows in batches; a batch that does not fit is halved, and so is the budget of those to come."""
        waiting = batches(lengths, getattr(self, budget))[::-1]
        while waiting:
            places = waiting.pop()
            if self._fits(run, places):
                continue
            if len(places) == 1:
                raise TooLittleMemory(
                    f"a prompt of {lengths[places[0]]} tokens does not fit in the memory that the model leaves on {self._device}: "
                    "use a smaller precision (nf4), a smaller model, or a smaller prompt budget"
                )
            self.spent.halved += 1
            setattr(self, budget, max(1, len(places) // 2 * lengths[places[0]]))
            left = [place for batch in [places, *waiting[::-1]] for place in batch]
            again = batches([lengths[place] for place in left], getattr(self, budget))
            waiting = [[left[at] for at in batch] for batch in again][::-1]

    def _fits(self, run: Callable[[list[int]], None], places: list[int]) -> bool:
        try:
            run(places)
        except self._torch.OutOfMemoryError:
            pass
        except RuntimeError as error:
            # what PyTorch's allocator for the CPU raises has no type of its own
            if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
                raise
        else:
            return True
        # outside the except clause: while the exception lives, its frames hold the very tensors that did not fit
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()
        return False


def _like(prompt: Prompt, user: str) -> Prompt:
    return replace(prompt, user=user)


def _provenance(loaded: Loaded) -> dict[str, str]:
    named = {
        "base": Path(loaded.base).name if Path(loaded.base).is_absolute() else loaded.base,
        "base_sha256": loaded.base_sha256,
        "adapter": Path(loaded.adapter).name if loaded.adapter and Path(loaded.adapter).is_absolute() else loaded.adapter,
        "adapter_sha256": loaded.adapter_sha256,
        "revision": loaded.revision,
        "precision": loaded.precision,
        "device": loaded.device,
    }
    return {name: value for name, value in named.items() if value is not None}


def _broken_model(provenance: Mapping[str, str]) -> BrokenModel:
    return BrokenModel(
        f"{provenance['base']} in {provenance['precision']} gives numbers that are not finite for any text: "
        "verify its files (`daywatch models verify`) or choose another precision"
    )


def _afterwards(config: Any) -> tuple[float, float | None]:
    """What architectures do to their head's numbers: a scale (Cohere, Granite), a cap (Gemma)."""
    text = config.get_text_config()
    scale = getattr(text, "logit_scale", None) or 1.0 / (getattr(text, "logits_scaling", None) or 1.0)
    return float(scale), getattr(text, "final_logit_softcapping", None)


def _ends(whole: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(getattr(whole, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in [*listed, tokenizer.eos_token_id] if token is not None)


def _room(torch: Any, config: Any, device: Any) -> int:
    """Tokens of a batch that half of the free memory has room for, by what one token needs while it passes through a layer."""
    if device.type != "cuda":
        return CPU_TOKENS
    text = config.get_text_config()
    hidden = int(text.hidden_size)
    each = 2 * (16 * hidden + 6 * int(getattr(text, "intermediate_size", None) or 4 * hidden))
    free, _ = torch.cuda.mem_get_info(device)
    return int(min(_MOST_TOKENS, max(_LEAST_TOKENS, free // 2 // each)))
