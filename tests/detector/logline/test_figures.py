from detector.logline.corpus import Example, Split
from detector.logline.figures import markdown, plain_text_model, table
from detector.logline.labels import LABELS


def test_the_table_is_what_scikit_learn_says() -> None:
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    truth = [LABELS[place % 5] for place in range(60)]
    found = [LABELS[(place * place) % 5] for place in range(60)]
    said = table(truth, found)
    precision, recall, f1, support = precision_recall_fscore_support(truth, found, labels=list(LABELS), zero_division=0)
    for place, label in enumerate(LABELS):
        row = said["classes"][label]
        assert [row["precision"], row["recall"], row["f1"], row["support"]] == [
            round(float(precision[place]), 4), round(float(recall[place]), 4), round(float(f1[place]), 4), int(support[place])
        ]  # fmt: skip
    assert said["accuracy"] == round(accuracy_score(truth, found), 4)
    assert said["macro_f1"] == round(f1_score(truth, found, average="macro", zero_division=0), 4)


def test_the_plain_text_model_is_tested_on_all_three_parts_and_shown_beside() -> None:
    lines = [Example(f"{label.lower()} word{n % 3}", label, f"t{n}", "s") for label in LABELS for n in range(6)]
    found = plain_text_model(Split(lines, lines, lines, lines[:15], lines[15:]))
    assert found["lines"]["accuracy"] == 1.0
    shown = markdown("Model", found, found)
    assert all(label in shown for label in LABELS)
    assert "unseen systems" in shown
