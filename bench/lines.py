"""What the log-line classifier says of the answer key's events, and of as many others, in a CERT directory.

    python bench/lines.py DIR [--each 300] [--model DIR] [--zone UTC]

Prints, for each kind, the share of every label, and the ROC AUC of P(Suspicious) + P(Malicious).
"""

import argparse
import collections
import random
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from detector.evaluation.truth import read_answers
from detector.logline.classifier import LineClassifier
from detector.logline.labels import LABELS, MALICIOUS, SUSPICIOUS
from detector.logline.lines import event_line
from stream.cert import read_merged


def drawn(directory: Path, zone: str, each: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """As many of the key's events as of the others, by a fixed seed."""
    key = set(read_answers(directory, zone).events.select("kind", "id").iter_rows())
    chance, of_key, others = random.Random(1), [], []
    for chunk in read_merged(directory, zone):
        for kind, frame in chunk.items():
            for row in frame.iter_rows(named=True):
                if (kind.value, row["id"]) in key:
                    of_key.append(row | {"kind": kind.value})
                elif chance.random() < 0.004:
                    others.append(row | {"kind": kind.value})
    return chance.sample(of_key, min(each, len(of_key))), chance.sample(others, min(each, len(others)))


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    asked.add_argument("directory", type=Path)
    asked.add_argument("--each", type=int, default=300)
    asked.add_argument("--model")
    asked.add_argument("--zone", default="UTC")
    given = asked.parse_args()
    classifier = LineClassifier.load(given.model, device="cpu")
    parts = dict(zip(("key", "others"), drawn(given.directory, given.zone, given.each), strict=True))
    scores = {name: classifier.scores([event_line(event) for event in events]) for name, events in parts.items()}
    for name, events in parts.items():
        best = [LABELS[place] for place in scores[name].argmax(1)]
        for kind in (*sorted({event["kind"] for event in events}), "all"):
            said = collections.Counter(label for label, event in zip(best, events, strict=True) if kind in ("all", event["kind"]))
            print(name, kind, said.total(), {label: round(count / said.total(), 3) for label, count in said.most_common()})
    columns = [LABELS.index(SUSPICIOUS), LABELS.index(MALICIOUS)]
    risk = np.concatenate([scores["key"][:, columns].sum(1), scores["others"][:, columns].sum(1)])
    truth = [1] * len(parts["key"]) + [0] * len(parts["others"])
    print(f"ROC AUC of P({SUSPICIOUS}) + P({MALICIOUS}): {roc_auc_score(truth, risk):.3f}")


if __name__ == "__main__":
    main()
