import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detector.logline.classifier import BrokenScores, LineClassifier, shipped
from detector.logline.labels import LABELS, BadLabels
from detector.logline.lines import masked
from detector.logline.notes import LineNotes, read_notes, write_notes
from detector.models.errors import OtherBase
from stream.errors import ConfigurationError
from tests.detector.model_fixtures import LOG_LABELS, needs_models, write_adapter, write_classifier

LINES = [
    "ERROR: Failed to connect to database: Connection refused.",
    "sshd[2211]: Failed password for root from 203.0.113.9 port 51123 ssh2",
    "up",
    "a line that is a good deal longer than the others, so that it comes into a batch of its own " * 2,
    "up",
]


def test_the_published_layout_loads_by_directory_and_answers_like_a_pipeline(tiny_classifier: Path) -> None:
    classifier = LineClassifier.load(str(tiny_classifier), precision="fp32", device="cpu")
    said = classifier(LINES)
    assert [set(one) for one in said] == [{"label", "score"}] * len(LINES)
    assert said[2] == said[4]
    every = classifier(LINES[0], top_k=None)[0]
    assert {one["label"] for one in every} == set(LABELS)
    assert every[0] == said[0]
    assert math.isclose(sum(one["score"] for one in every), 1.0, abs_tol=1e-3)
    assert len(classifier(LINES[0], top_k=2)[0]) == 2


def test_it_says_what_transformers_own_pipeline_says(tiny_classifier: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    model = AutoModelForSequenceClassification.from_pretrained(tiny_classifier)
    tokenizer = AutoTokenizer.from_pretrained(tiny_classifier)
    theirs = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    ours = LineClassifier.load(str(tiny_classifier), precision="fp32", device="cpu")
    for line, said in zip(LINES, ours(LINES), strict=True):
        other = theirs(line)[0]
        assert said["label"] == other["label"]
        assert said["score"] == pytest.approx(other["score"], abs=2e-4)


def test_what_it_says_of_a_line_does_not_depend_on_its_batch(tiny_classifier: Path) -> None:
    whole = LineClassifier.load(str(tiny_classifier), precision="fp32", device="cpu", batch_tokens=100_000)
    alone = LineClassifier.load(str(tiny_classifier), precision="fp32", device="cpu", batch_tokens=1)
    assert whole.scores(LINES) == pytest.approx(alone.scores(LINES), abs=2e-4)
    assert [one.label for one in whole.labels(LINES)] == [one.label for one in alone.labels(LINES)]


@pytest.mark.parametrize("precision", ["bf16", "int8", "nf4"])
def test_a_quantized_classifier_keeps_its_head_whole_and_answers_in_batches(precision: str, tiny_classifier: Path) -> None:
    classifier = LineClassifier.load(str(tiny_classifier), precision=precision, device="cpu")
    assert "bitsandbytes" not in type(classifier._model.score).__module__
    assert classifier.provenance["precision"] == precision
    assert len(classifier.labels(LINES)) == len(LINES)


def test_a_label_map_in_another_order_is_honoured(tmp_path: Path, tiny_classifier: Path) -> None:
    turned = write_classifier(tmp_path / "turned", labels=LOG_LABELS[::-1])
    one = LineClassifier.load(str(tiny_classifier), precision="fp32", device="cpu").scores(LINES)
    other = LineClassifier.load(str(turned), precision="fp32", device="cpu").scores(LINES)
    # the same seed gives the same weights: only the names of the outputs differ
    assert other == pytest.approx(one[:, ::-1], abs=2e-4)


def test_outputs_without_names_are_read_in_the_published_order_or_as_the_user_says(tmp_path: Path) -> None:
    needs_models()
    unnamed = write_classifier(tmp_path / "unnamed", labels=[f"LABEL_{place}" for place in range(5)])
    one = LineClassifier.load(str(unnamed), precision="fp32", device="cpu").scores(LINES)
    other = LineClassifier.load(str(unnamed), labels=LABELS[::-1], precision="fp32", device="cpu").scores(LINES)
    assert other == pytest.approx(one[:, ::-1], abs=2e-4)


def test_a_model_with_other_labels_is_a_clear_error(tmp_path: Path) -> None:
    needs_models()
    other = write_classifier(tmp_path / "other", labels=["negative", "positive"])
    with pytest.raises(BadLabels, match="has 2"):
        LineClassifier.load(str(other), precision="fp32", device="cpu")


def test_an_adapter_brings_its_head_and_its_labels(tmp_path: Path, tiny_classifier: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_classifier, kind="classifier", strength=2.0)
    with pytest.raises(ConfigurationError, match="--base"):
        LineClassifier.load(str(adapter), precision="fp32", device="cpu")
    write_notes(adapter, LineNotes(str(tiny_classifier), "0" * 64, LABELS, length=64))
    with pytest.raises(OtherBase):
        LineClassifier.load(str(adapter), precision="fp32", device="cpu")
    plain = LineClassifier.load(str(tiny_classifier), precision="fp32", device="cpu")
    write_notes(adapter, LineNotes(str(tiny_classifier), plain.provenance["base_sha256"], LABELS, length=64))
    adapted = LineClassifier.load(str(adapter), precision="fp32", device="cpu")
    assert adapted._read is masked
    assert abs(adapted.scores(LINES) - plain.scores(LINES)).max() > 0.01


class Stub:
    """Stands for tokenizer and model: a token a word, and logits that say how long the line is."""

    pad_token_id, eos_token, padding_side, model_max_length = 0, "</s>", "right", 64
    device = "cpu"
    config = SimpleNamespace(pad_token_id=0)

    def __init__(self, most_rows: int = 1_000, broken: str = "") -> None:
        self.most_rows, self.broken, self.rows = most_rows, broken, []  # type: ignore[var-annotated]

    def tokenizer(self, texts: list[str], **_more: Any) -> dict[str, Any]:
        return {"input_ids": [[1] * len(text.split()) for text in texts]}

    def pad(self, found: dict[str, Any], **_more: Any) -> Any:
        import torch

        longest = max(map(len, found["input_ids"]))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in found["input_ids"]])
        return _Padded({"input_ids": ids, "attention_mask": (ids > 0).long()})

    def __call__(self, *given: Any, **padded: Any) -> Any:
        import torch

        if given:
            return self.tokenizer(*given)
        rows = len(padded["input_ids"])
        if rows > self.most_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.rows.append(rows)
        logits = torch.zeros(rows, 5)
        logits[:, 1] = padded["attention_mask"].sum(1).float()
        if self.broken:
            logits[-1, 0] = float(self.broken)
        return SimpleNamespace(logits=logits)


class _Padded(dict[str, Any]):
    def to(self, _device: object) -> "_Padded":
        return self


def test_a_batch_that_does_not_fit_is_halved_until_it_does() -> None:
    needs_models()
    lines = [f"line {'x ' * (place % 3)}{place}" for place in range(20)]
    whole, tight = Stub(), Stub(most_rows=3)
    assert LineClassifier(tight, tight, LABELS).labels(lines) == LineClassifier(whole, whole, LABELS).labels(lines)
    assert max(tight.rows) <= 3


def test_a_line_that_does_not_fit_alone_is_a_clear_error() -> None:
    needs_models()
    stub = Stub(most_rows=0)
    with pytest.raises(ConfigurationError, match="does not fit into memory"):
        LineClassifier(stub, stub, LABELS).labels(["a"])


@pytest.mark.parametrize("broken", ["nan", "inf"])
def test_scores_that_are_no_numbers_are_an_error_and_no_label(broken: str) -> None:
    needs_models()
    stub = Stub(broken=broken)
    with pytest.raises(BrokenScores, match="NaN or infinity"):
        LineClassifier(stub, stub, LABELS).labels(["a", "b"])


def test_a_line_is_judged_once_however_often_it_occurs() -> None:
    needs_models()
    stub = Stub()
    classifier = LineClassifier(stub, stub, LABELS, read=masked)
    classifier.labels([f"2025-01-04 08:12:{second:02} sshd[{second}]: up" for second in range(50)])
    assert sum(stub.rows) == 1
    classifier.labels(["2026-01-04 08:12:59 sshd[777]: up"])
    assert sum(stub.rows) == 1


def test_no_lines_have_no_labels() -> None:
    needs_models()
    stub = Stub()
    assert LineClassifier(stub, stub, LABELS).labels([]) == []
    assert LineClassifier(stub, stub, LABELS).scores([]).shape == (0, 5)


def test_the_shipped_adapter_is_small_and_says_what_it_is() -> None:
    directory = shipped()
    notes = read_notes(directory)
    assert notes is not None
    assert notes.labels == LABELS
    assert sum(path.stat().st_size for path in directory.iterdir()) < 3_000_000
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert notes.base_sha256 in card
    assert str(notes.made["figures"]["systems"]["accuracy"])[:5] in card
    assert json.loads((directory / "adapter_config.json").read_text())["base_model_name_or_path"] == "package:minilm"


def test_the_shipped_adapter_beats_plain_text_where_it_counts() -> None:
    notes = read_notes(shipped())
    assert notes is not None
    for test in ("templates", "systems"):
        assert notes.made["figures"][test]["macro_f1"] > notes.made["plain"][test]["macro_f1"]


def test_the_shipped_adapter_labels_lines_that_it_has_never_seen(minilm: Path) -> None:
    del minilm
    classifier = LineClassifier.load(device="cpu")
    lines = {
        "ERROR: Failed to connect to database: Connection refused.": "Error",
        "Jan  4 08:12:33 web01 sshd[2211]: Failed password for root from 203.0.113.9 port 51123 ssh2": "Suspicious",
        "Service nginx started": "Informational",
        "Trojan Win32/Agent found in C:\\Users\\ana\\invoice.exe": "Malicious",
        "user ana signed in from 10.0.0.5": "Normal",
    }
    said = dict(zip(lines, (found.label for found in classifier.labels(list(lines))), strict=True))
    assert sum(said[line] == label for line, label in lines.items()) >= 4
