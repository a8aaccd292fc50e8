"""Fitting an evidence head (`detector.narrative.evidence_head`) to an answer key. Uses torch; knows no model whose states these are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detector.narrative.evidence_head import Chances, EvidenceHead, States, joined, places_of
from detector.narrative.prompt import Prompt
from stream.errors import ConfigurationError

_HIDDEN: Final = 64
_FOLDS: Final = 5
_EPOCHS: Final = 30
_BATCH: Final = 128
_THRESHOLDS: Final = tuple(round(0.2 + 0.02 * step, 2) for step in range(31))


@dataclass(frozen=True, slots=True)
class Seen:
    """A window to learn from: prompt, states as `EvidenceHead.chances` takes them, the places that the key names, and whose it is."""

    prompt: Prompt
    states: States
    key: Sequence[int]
    user: str


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

    rows = np.concatenate([joined(one.states) for one in learn])
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
