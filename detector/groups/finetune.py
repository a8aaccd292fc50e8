"""Fine-tuning MPNet on what groups did: a head on its first token, its uppermost layers with it, perhaps a masked-word step before.

Layers that stay as they are answer once for each text, not once for each epoch: what they say is kept in memory. Knows PyTorch and
transformers, which are imported when something is trained.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from detector.groups.encoder import TOKENS, new_head, tokenizer_of
from detector.groups.lexical import Floats
from detector.groups.splits import Fold
from stream.errors import ConfigurationError

Ints: TypeAlias = npt.NDArray[np.int64]
Step: TypeAlias = Callable[[str, int, int], None]
_EVALUATED: Final = 64


@dataclass(frozen=True, slots=True)
class Tuning:
    """How MPNet is fine-tuned. `layers` are the uppermost ones that learn; 0 leaves the backbone as it is."""

    layers: int = 2
    epochs: int = 6
    rate: float = 1e-4
    head_rate: float = 1e-3
    batch: int = 32
    tokens: int = TOKENS
    mlm_epochs: int = 0
    mlm_share: float = 0.15
    smoothing: float = 0.1
    seed: int = 0


class Learner:
    """A backbone and a head that learn; `tune` may be called once."""

    def __init__(self, base: Path, groups: Sequence[str], tuning: Tuning, device: str = "auto") -> None:
        """Load the backbone from a directory of MPNet weights.

        Raises:
            ConfigurationError: there is none, or it has fewer layers than are to learn.
        """
        import torch
        from transformers import MPNetModel

        from detector.models.files import check_base
        from detector.models.quiet import quiet

        if check_base(base)["model_type"] != "mpnet":
            raise ConfigurationError(f"{base}: its model_type is not mpnet")
        torch.manual_seed(tuning.seed)
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        with quiet():
            self.model = MPNetModel.from_pretrained(str(base), local_files_only=True, use_safetensors=True, add_pooling_layer=False)
        self.model.to(self.device, torch.float32).eval()
        self.tokenizer = tokenizer_of(base)
        self.groups, self.tuning = tuple(groups), tuning
        self.head = new_head(self.model.config.hidden_size, len(groups)).to(self.device)
        if tuning.layers > len(self.model.encoder.layer):
            raise ConfigurationError(f"--layers {tuning.layers}: {base} has {len(self.model.encoder.layer)}")
        self._lower = len(self.model.encoder.layer) - tuning.layers
        for weight in self.model.parameters():
            weight.requires_grad_(False)
        for layer in self.model.encoder.layer[self._lower :]:
            for weight in layer.parameters():
                weight.requires_grad_(True)

    def tune(self, texts: Sequence[str], truth: Ints, step: Step) -> list[float]:
        """Learn from texts and the places of their groups; the mean loss of each epoch.

        Raises:
            ConfigurationError: the loss is no number any more, or hidden words are to be guessed and the tokenizer cannot hide any.
        """
        if self.tuning.mlm_epochs:
            self._fill_gaps(texts, step)
        return self.tune_kept(self.kept(texts), truth, step)

    def tune_kept(self, kept: Sequence[Any], truth: Ints, step: Step) -> list[float]:
        """Learn from what `kept` said of texts; the mean loss of each epoch."""
        return self._epochs(list(kept), truth, step)

    def log_probabilities(self, texts: Sequence[str]) -> Floats:
        """Natural logarithms of probabilities among the groups, shape (n, groups)."""
        return self.log_probabilities_kept(self.kept(texts))

    def log_probabilities_kept(self, kept: Sequence[Any]) -> Floats:
        """The same, from what `kept` said of texts."""
        import torch

        self._train(False)
        found = np.zeros((len(kept), len(self.groups)), np.float32)
        for places in _batches(np.argsort([len(one) for one in kept], kind="stable"), _EVALUATED):
            with torch.no_grad():
                found[places] = torch.log_softmax(self._logits([kept[place] for place in places]), dim=-1).cpu().numpy()
        return found

    def write(self, out: Path, notes: dict[str, Any]) -> None:
        """Write backbone, head, tokenizer, labels and notes to a directory, in the published model's layout."""
        from safetensors.torch import save_file

        out.mkdir(parents=True, exist_ok=True)
        state = {f"mpnet.{key}": value for key, value in self.model.state_dict().items() if not key.endswith("position_ids")}
        state |= {f"classifier.{key}": value for key, value in self.head.state_dict().items()}
        save_file({key: value.detach().cpu().contiguous() for key, value in state.items()}, out / "model.safetensors", {"format": "pt"})
        self.model.config.to_json_file(out / "config.json")
        self.tokenizer.save_pretrained(out)
        (out / "label_to_groupid.json").write_text(json.dumps({str(place): group for place, group in enumerate(self.groups)}, indent=1))
        (out / "daywatch.json").write_text(json.dumps({**notes, "tuning": asdict(self.tuning)}, indent=1, sort_keys=True))

    def _train(self, learning: bool) -> None:
        self.head.train(learning)
        for layer in self.model.encoder.layer[self._lower :]:
            layer.train(learning)

    def kept(self, texts: Sequence[str]) -> list[Any]:
        """What the layers that stay say of each text: tensors (tokens, width), bfloat16, in memory."""
        import torch

        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.tuning.tokens)["input_ids"]
        kept: list[Any] = [None] * len(encoded)
        for places in _batches(np.argsort([len(one) for one in encoded], kind="stable"), _EVALUATED):
            ids, mask = self._padded([torch.tensor(encoded[place]) for place in places], self.tokenizer.pad_token_id)
            with torch.no_grad(), self._autocast():
                hidden = self.model.embeddings(input_ids=ids)
                hidden = self._through(hidden, mask, 0, self._lower)
            for row, place in enumerate(places):
                kept[place] = hidden[row, : len(encoded[place])].to(torch.bfloat16).clone()
        return kept

    def _logits(self, kept: list[Any]) -> Any:
        hidden, mask = self._padded(kept, 0)
        with self._autocast():
            hidden = self._through(hidden.float(), mask, self._lower, len(self.model.encoder.layer))
        return self.head(hidden[:, 0].float())

    def _through(self, hidden: Any, mask: Any, first: int, last: int) -> Any:
        encoder = self.model.encoder
        bias = encoder.compute_position_bias(hidden)
        closed = (1.0 - mask[:, None, None, :].to(hidden.dtype)) * -1e4
        for layer in encoder.layer[first:last]:
            hidden = layer(hidden, closed, bias)[0]
        return hidden

    def _padded(self, rows: list[Any], value: int) -> tuple[Any, Any]:
        import torch

        hidden = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value).to(self.device)
        lengths = torch.tensor([len(row) for row in rows], device=self.device)
        return hidden, (torch.arange(hidden.shape[1], device=self.device)[None] < lengths[:, None]).long()

    def _autocast(self) -> Any:
        import torch

        return torch.autocast(self.device.split(":")[0], torch.bfloat16)

    def _epochs(self, kept: list[Any], truth: Ints, step: Step) -> list[float]:
        import torch

        how, random = self.tuning, np.random.default_rng(self.tuning.seed)
        learn = [weight for layer in self.model.encoder.layer[self._lower :] for weight in layer.parameters()]
        sets = [{"params": self.head.parameters(), "lr": how.head_rate}, *([{"params": learn, "lr": how.rate}] if learn else [])]
        optimizer = torch.optim.AdamW(sets, weight_decay=0.01)
        steps = how.epochs * -(-len(kept) // how.batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda at: min(1.0, (at + 1) / max(1, steps // 10)) * (1 - at / (steps + 1))
        )
        labels, losses = torch.as_tensor(truth, device=self.device), []
        for epoch in range(how.epochs):
            step("fine-tuning", epoch, how.epochs)
            self._train(True)
            total = 0.0
            for places in _mixed([len(one) for one in kept], how.batch, random):
                logits = self._logits([kept[place] for place in places])
                loss = torch.nn.functional.cross_entropy(logits, labels[places], label_smoothing=how.smoothing)
                if not torch.isfinite(loss):
                    raise ConfigurationError("the loss is no number any more; use a lower --rate")
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_([weight for group in optimizer.param_groups for weight in group["params"]], 1.0)
                optimizer.step()
                schedule.step()
                total += float(loss.detach()) * len(places)
            losses.append(total / len(kept))
        self._train(False)
        return losses

    def _fill_gaps(self, texts: Sequence[str], step: Step) -> None:
        """The step before: words are hidden and guessed, by the layers that learn and a head that is thrown away."""
        import torch
        from transformers.models.mpnet.modeling_mpnet import MPNetLMHead

        how, random = self.tuning, np.random.default_rng(self.tuning.seed + 1)
        if self.tokenizer.mask_token_id is None:
            raise ConfigurationError("the backbone's tokenizer has no token that hides a word; leave --mlm-epochs out")
        guess = MPNetLMHead(self.model.config).to(self.device)
        guess.decoder.weight = self.model.embeddings.word_embeddings.weight
        encoded = [torch.tensor(ids) for ids in self.tokenizer(list(texts), truncation=True, max_length=how.tokens)["input_ids"]]
        weights = [weight for layer in self.model.encoder.layer[self._lower :] for weight in layer.parameters()]
        optimizer = torch.optim.AdamW([*weights, *(w for w in guess.parameters() if w.requires_grad)], lr=how.rate, weight_decay=0.01)
        special = torch.tensor(self.tokenizer.all_special_ids)
        for epoch in range(how.mlm_epochs):
            step("masked words", epoch, how.mlm_epochs)
            self._train(True)
            for places in _mixed([len(one) for one in encoded], how.batch, random):
                ids, mask = self._padded([encoded[place] for place in places], self.tokenizer.pad_token_id)
                hidden_words = torch.as_tensor(random.random(ids.shape) < how.mlm_share, device=self.device)
                hidden_words &= ~torch.isin(ids, special.to(self.device)) & mask.bool()
                if not hidden_words.any():
                    continue
                seen = ids.masked_fill(hidden_words, self.tokenizer.mask_token_id)
                with self._autocast():
                    with torch.no_grad():
                        hidden = self._through(self.model.embeddings(input_ids=seen), mask, 0, self._lower)
                    hidden = self._through(hidden.float(), mask, self._lower, len(self.model.encoder.layer))
                loss = torch.nn.functional.cross_entropy(guess(hidden[hidden_words].float()), ids[hidden_words])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        self._train(False)


def tuned_out_of_fold(
    base: Path,
    texts: Sequence[str],
    truth: Ints,
    groups: Sequence[str],
    folds: Sequence[Fold],
    tuning: Tuning,
    step: Step,
    device: str = "auto",
) -> Floats:
    """Log-probabilities (n, groups) of texts by models that were not trained on them; rows of texts that no fold tests stay 0."""
    scores = np.zeros((len(texts), len(groups)), np.float32)
    kept: list[Any] = []
    for number, fold in enumerate(folds):

        def told(what: str, done: int, of: int, at: int = number) -> None:
            step(f"fold {at + 1}: {what}", done, of)

        learner = Learner(base, groups, tuning, device)
        if tuning.mlm_epochs:
            # the step before sees the training texts alone, and moves what the layers above are given
            learner.tune([texts[place] for place in fold.train], truth[fold.train], told)
            scores[fold.test] = learner.log_probabilities([texts[place] for place in fold.test])
            continue
        kept = kept or learner.kept(texts)
        learner.tune_kept([kept[place] for place in fold.train], truth[fold.train], told)
        scores[fold.test] = learner.log_probabilities_kept([kept[place] for place in fold.test])
    return scores


def _batches(order: Ints, size: int) -> list[Ints]:
    return [order[start : start + size] for start in range(0, len(order), size)]


def _mixed(lengths: Sequence[int], size: int, random: np.random.Generator) -> list[Ints]:
    """Batches of like lengths in random order: of a random shuffle, every sixteen batches sorted by length."""
    order, far = random.permutation(len(lengths)), np.asarray(lengths)
    near = [part[np.argsort(far[part], kind="stable")] for part in _batches(order, size * 16)]
    made = [batch for part in near for batch in _batches(part, size)]
    return [made[place] for place in random.permutation(len(made))]
