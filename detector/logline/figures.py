"""How good labels of log lines are: a table per class, and the plain text model to beat. Lists in, numbers out; knows no model of ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from detector.logline.corpus import Example, Split
from detector.logline.labels import LABELS
from detector.logline.lines import masked

TESTS: Mapping[str, str] = {
    "lines": "new lines of known templates",
    "templates": "unseen templates",
    "systems": "unseen systems",
}
"""Parts of a split that are tested on, in the order of their difficulty."""


def table(truth: Sequence[str], found: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro F1, and precision, recall, F1 and support of each class. A class without lines counts in no mean.

    >>> table(["Error", "Error", "Normal"], ["Error", "Normal", "Normal"])["accuracy"]
    0.6667
    """
    classes: dict[str, dict[str, float]] = {}
    for label in LABELS:
        right = sum(1 for true, said in zip(truth, found, strict=True) if true == said == label)
        said, support = found.count(label), truth.count(label)
        precision, recall = right / said if said else 0.0, right / support if support else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        classes[label] = {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4), "support": support}
    held = [row["f1"] for row in classes.values() if row["support"]]
    right = sum(1 for true, said in zip(truth, found, strict=True) if true == said)
    return {
        "n": len(truth),
        "accuracy": round(right / len(truth), 4) if truth else 0.0,
        "macro_f1": round(sum(held) / len(held), 4) if held else 0.0,
        "classes": classes,
    }


def plain_text_model(split: Split) -> dict[str, Any]:
    """TF-IDF over character runs with a linear SVM on the same masked lines: its table for each test."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2)
    known = words.fit_transform([masked(example.text) for example in split.training])
    linear = LinearSVC(C=1.0, random_state=0).fit(known, [example.label for example in split.training])

    def tested(test: Sequence[Example]) -> dict[str, Any]:
        said = linear.predict(words.transform([masked(example.text) for example in test]))
        return table([example.label for example in test], [str(label) for label in said])

    return {name: tested(getattr(split, name)) for name in TESTS}


def markdown(name: str, figures: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    """The tables of a model beside those of the plain text model, test by test."""
    lines = ["| test | n | accuracy | macro F1 | TF-IDF + linear SVM: accuracy | macro F1 |", "|---|---|---|---|---|---|"]
    for test, what in TESTS.items():
        own, other = figures[test], plain[test]
        lines.append(
            f"| {what} | {own['n']:,} | {own['accuracy']:.3f} | {own['macro_f1']:.3f} | {other['accuracy']:.3f} | {other['macro_f1']:.3f} |"
        )
    for test, what in TESTS.items():
        lines += ["", f"{name}, {what}:", "", "| label | precision | recall | F1 | lines | F1 of TF-IDF |", "|---|---|---|---|---|---|"]
        for label, row in figures[test]["classes"].items():
            other = plain[test]["classes"][label]["f1"]
            lines.append(f"| {label} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']:,} | {other:.3f} |")
    return "\n".join(lines) + "\n"
