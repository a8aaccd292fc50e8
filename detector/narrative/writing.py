"""Greedy writing in a batch: each row under its own grammar, until it is complete. An adapter: uses PyTorch. Knows no prompts.

Rows are padded on the left, so that all of them write at the same place; the mask keeps padding out of attention, and architectures with
recurrent states blank it by the same mask. The next mask of allowed tokens is made while the device still computes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.narrative.grammar import Constraint, Matcher

DROP_SHARE: Final = 0.125
"""Rows that are done leave when they are this share of the batch: letting them go copies all that is kept of the others."""


class NotFinite(ArithmeticError):
    """The numbers of these rows of the batch are not finite."""

    def __init__(self, rows: Sequence[int]) -> None:
        super().__init__(f"{len(rows)} rows")
        self.rows = tuple(rows)


@dataclass(frozen=True, slots=True)
class Writer:
    """What writing needs of a model: its decoder, its head, and the tokens that end a free text."""

    decoder: Any
    head: Any
    device: Any
    constraint: Constraint
    ends: frozenset[int]

    def write(self, rows: Sequence[Sequence[int]], most: Sequence[int], matchers: Sequence[Matcher] | None) -> list[list[int]]:
        """What follows each row, at most so many tokens; without matchers it is free and ends with an ending token.

        Raises:
            NotFinite: the model's numbers for some rows are not.
        """
        import torch

        written: list[list[int]] = [[] for _ in rows]
        width = max(map(len, rows))
        padding = [width - len(row) for row in rows]
        ids = torch.tensor([[0] * pad + list(row) for pad, row in zip(padding, rows, strict=True)], device=self.device)
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding], device=self.device)
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        held = list(range(len(rows)))  # the row behind each place of the batch
        alive = set(held)
        states = None
        with torch.inference_mode():
            while alive:
                out = self.decoder(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=states, use_cache=True)
                states = out.past_key_values
                logits = self.head(out.last_hidden_state[:, -1]).float()
                best, tokens = self._allowed(torch, logits, held, alive, matchers).max(dim=-1)
                finite, chosen = torch.isfinite(best).tolist(), tokens.tolist()
                if broken := [row for row, fine in zip(held, finite, strict=True) if row in alive and not fine]:
                    raise NotFinite(broken)
                for row, token in zip(held, chosen, strict=True):
                    if row in alive and self._done(row, token, written[row], most[row], matchers):
                        alive.discard(row)
                keep = [at for at, row in enumerate(held) if row in alive]
                if keep and len(held) - len(keep) >= max(1, DROP_SHARE * len(held)):
                    at = torch.tensor(keep, device=self.device)
                    states.reorder_cache(at)
                    held, mask, places, tokens = [held[place] for place in keep], mask[at], places[at], tokens[at]
                ids = tokens[:, None]
                mask = torch.cat([mask, mask.new_ones((len(held), 1))], dim=-1)
                places = places[:, -1:] + 1
        return written

    def _done(self, row: int, token: int, written: list[int], most: int, matchers: Sequence[Matcher] | None) -> bool:
        if matchers is None and token in self.ends:
            return True
        written.append(token)
        if matchers is not None:
            matchers[row].take(token)
            return matchers[row].done
        return len(written) >= most

    def _allowed(self, torch: Any, logits: Any, held: Sequence[int], alive: set[int], matchers: Sequence[Matcher] | None) -> Any:
        """The logits, with minus infinity where the grammar allows no token; rows that are done are left free."""
        if matchers is None:
            return logits
        n_words = (self.constraint.n_words + 31) // 32
        bits = torch.full((len(held), n_words), -1, dtype=torch.int32, pin_memory=self.device.type == "cuda")
        at = [(place, matchers[row]) for place, row in enumerate(held) if row in alive]
        self.constraint.masks_into(at, bits.data_ptr(), len(held), n_words * 4)
        bits = bits.to(self.device, non_blocking=True)
        free = (bits[:, :, None] >> torch.arange(32, dtype=torch.int32, device=self.device)) & 1
        free = free.reshape(len(held), -1)[:, : logits.shape[1]]
        if logits.shape[1] > free.shape[1]:
            logits = logits[:, : free.shape[1]]
        return logits.masked_fill(free == 0, float("-inf"))
