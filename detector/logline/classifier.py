"""Labels for log lines by a sequence classifier. The one module here that holds a model; torch is imported where it is used.

Any model with a sequence-classification head will do: the published one, one trained by `daywatch train logline`, or the small one that
comes with Daywatch. Outputs follow the conventions of transformers' text-classification pipeline: `{"label", "score"}`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detector.logline.labels import LABELS, LineLabel, label_order
from detector.logline.lines import masked
from detector.logline.notes import MASKED, LineNotes, read_notes
from stream.errors import ConfigurationError, PipelineError

Floats = npt.NDArray[np.float64]
SHIPPED: Final = "shipped"
SMALL: Final = "package:minilm"
_REMEMBERED: Final = 65_536
_DIGITS: Final = 4
"""Decimals of a score: what batching moves lies behind them."""


class BrokenScores(PipelineError):
    """The model answers with what are no numbers."""


class LineClassifier:
    """Labels lines in batches of about equal length, each different line once; what it says of a line depends on that line alone."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        order: Sequence[str],
        *,
        read: Callable[[str], str] = str,
        length: int = 256,
        batch_tokens: int = 4_096,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        """`order` names the model's outputs; `read` is what it is given of a line; `batch_tokens` counts padding."""
        self._model, self._tokenizer, self._read, self._length = model, tokenizer, read, length
        self._batch_tokens = batch_tokens
        self._columns = [list(order).index(label) for label in LABELS]
        self._known: OrderedDict[str, tuple[float, ...]] = OrderedDict()
        self.provenance = dict(provenance or {})
        _padded(model, tokenizer)

    @classmethod
    def load(
        cls,
        model: str | None = None,
        *,
        base: str | None = None,
        labels: Sequence[str] | None = None,
        precision: str = "auto",
        device: str = "auto",
        revision: str | None = None,
        batch_tokens: int = 4_096,
    ) -> "LineClassifier":
        """Load a model by hub id or directory, an adapter included; without one, the adapter that comes with Daywatch.

        Raises:
            ConfigurationError: it cannot be had, is damaged, or its outputs are not the five labels.
        """
        from detector.models.loading import load_classifier

        directory = shipped() if model in (None, SHIPPED) else Path(str(model))
        notes = read_notes(directory) if directory.is_dir() else None
        is_adapter = (directory / "adapter_config.json").is_file()
        given = tuple(labels) if labels else None
        if precision == "auto" and notes is not None and notes.base == SMALL:
            precision = "fp32"  # so small that speed costs nothing, and a line then scores the same in any batch
        if is_adapter:
            found = base or (notes.base if notes else None)
            if found is None:
                raise ConfigurationError(f"{directory} is an adapter that does not say what it was trained on; name it with --base")
            outputs = notes.labels if notes else label_order(dict(enumerate(given or LABELS)))
            loaded = load_classifier(found, str(directory), labels=outputs, precision=precision, device=device, revision=revision)
            order = label_order(dict(enumerate(outputs)), given)
        else:
            loaded = load_classifier(str(model), labels=None, precision=precision, device=device, revision=revision)
            order = label_order(dict(loaded.model.config.id2label), given or (notes.labels if notes else None))
        return cls(
            loaded.model,
            loaded.tokenizer,
            order,
            read=masked if notes and notes.text == MASKED else str,
            length=notes.length if notes else _length(loaded.tokenizer),
            batch_tokens=batch_tokens,
            provenance=_provenance(loaded, notes),
        )

    def scores(self, lines: Sequence[str]) -> Floats:
        """Probabilities over `LABELS`, shape (lines, 5), in the order of the lines.

        Raises:
            BrokenScores: the model answers with NaN or infinity.
            ConfigurationError: not even one line fits into memory.
        """
        texts = [self._read(line) for line in lines]
        known = {text: self._known[text] for text in dict.fromkeys(texts) if text in self._known}
        fresh = [text for text in dict.fromkeys(texts) if text not in known]
        for chunk, rows in self._judged(fresh):
            known.update(zip(chunk, rows, strict=True))
        self._remember(known)
        return np.array([known[text] for text in texts], np.float64).reshape(len(texts), len(LABELS))

    def labels(self, lines: Sequence[str]) -> list[LineLabel]:
        """The likeliest label of each line, and its probability."""
        found = self.scores(lines)
        return [LineLabel(LABELS[best], float(row[best])) for row, best in zip(found, found.argmax(1) if len(found) else [], strict=True)]

    def __call__(self, lines: str | Sequence[str], top_k: int | None = 1) -> list[Any]:
        """As a text-classification pipeline answers: one `{"label", "score"}` a line, or, unless `top_k` is 1, a list of the best ones."""
        several = [lines] if isinstance(lines, str) else list(lines)
        if top_k == 1:
            return [{"label": label, "score": score} for label, score in self.labels(several)]
        ranked = [sorted(zip(LABELS, row.tolist(), strict=True), key=lambda pair: -pair[1]) for row in self.scores(several)]
        return [[{"label": label, "score": score} for label, score in row[:top_k]] for row in ranked]

    def _remember(self, known: Mapping[str, tuple[float, ...]]) -> None:
        for text, row in known.items():
            self._known[text] = row
            self._known.move_to_end(text)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _judged(self, texts: Sequence[str]) -> Iterator[tuple[list[str], list[tuple[float, ...]]]]:
        """The texts in batches with the scores of each, shortest first."""
        if not texts:
            return
        encoded = self._tokenizer(list(texts), truncation=True, max_length=self._length)["input_ids"]
        places = sorted(range(len(texts)), key=lambda place: (len(encoded[place]), texts[place]))
        for batch in batches([len(encoded[place]) for place in places], self._batch_tokens):
            chosen = [places[number] for number in batch]
            yield [texts[place] for place in chosen], self._forward([encoded[place] for place in chosen])

    def _forward(self, rows: list[list[int]]) -> list[tuple[float, ...]]:
        """Scores of one batch; a batch that does not fit into memory is halved until it does."""
        import torch

        padded = self._tokenizer.pad({"input_ids": rows}, padding=True, return_tensors="pt").to(self._model.device)
        try:
            with torch.inference_mode():
                logits = self._model(**{name: padded[name] for name in ("input_ids", "attention_mask")}).logits
        except RuntimeError as error:  # torch.OutOfMemoryError is one, too
            if not _out_of_memory(error):
                raise
            if len(rows) == 1:
                raise ConfigurationError("the log-line classifier does not fit into memory even for one line; use a smaller one") from error
            half = len(rows) // 2
            return self._forward(rows[:half]) + self._forward(rows[half:])
        if not bool(torch.isfinite(logits).all()):
            raise BrokenScores("the log-line classifier answers with NaN or infinity; its weights are damaged, or its precision is too low")
        shares = torch.softmax(logits.double(), -1)[:, self._columns].cpu().numpy()
        return [tuple(row) for row in np.round(shares, _DIGITS).tolist()]


def shipped() -> Path:
    """The directory of the small adapter that comes with Daywatch."""
    return Path(str(files("detector") / "data" / "logline"))


def batches(lengths: Sequence[int], tokens: int) -> list[range]:
    """Ranges of rows, whose ascending lengths are given, such that none takes more than `tokens` when padded, unless alone.

    >>> batches([2, 2, 3, 9], 8)
    [range(0, 2), range(2, 3), range(3, 4)]
    """
    found: list[range] = []
    start = 0
    for place, length in enumerate(lengths):
        if place > start and (place - start + 1) * length > tokens:
            found.append(range(start, place))
            start = place
    return [*found, range(start, len(lengths))] if lengths else []


def _out_of_memory(error: RuntimeError) -> bool:
    text = str(error).lower()
    return type(error).__name__ == "OutOfMemoryError" or "out of memory" in text or "can't allocate memory" in text


def _padded(model: Any, tokenizer: Any) -> None:
    """Batches need a padding token; decoders with a classification head find each row's last token by it."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ConfigurationError("the classifier's tokenizer has neither a padding nor an end token, so lines cannot be batched")
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    # a decoder pools the last token that is no padding, which it looks for from the right
    tokenizer.padding_side = "right"


def _length(tokenizer: Any) -> int:
    return min(int(getattr(tokenizer, "model_max_length", 256) or 256), 256)


def _provenance(loaded: Any, notes: LineNotes | None) -> dict[str, str]:
    found = {
        "model": loaded.adapter or loaded.base,
        "model_sha256": loaded.adapter_sha256 or loaded.base_sha256,
        "base": loaded.base,
        "base_sha256": loaded.base_sha256,
        "precision": loaded.precision,
        "text": notes.text if notes else "raw",
    }
    return {name: str(value) for name, value in found.items() if value}
