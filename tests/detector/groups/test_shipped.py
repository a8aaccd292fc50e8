import subprocess
import sys

from detector.groups.likeness import WordScorer, likenesses
from detector.groups.shipped import shipped_groups, shipped_path


def test_a_model_ships_that_is_small_and_says_where_it_comes_from() -> None:
    model = shipped_groups()
    assert shipped_path().stat().st_size < 6 * 1024 * 1024
    assert model.attack_version == "18.1"
    assert len(model.lexical.groups) == model.made["groups"] == 149
    assert model.lexical.groups == tuple(sorted(model.lexical.groups))
    assert "The MITRE Corporation" in model.made["notice"]
    assert (shipped_path().parent / "ATTACK-LICENSE.txt").read_text("utf-8").startswith("ATT&CK")


def test_its_table_holds_the_baselines_beside_it_on_the_same_folds() -> None:
    rows = shipped_groups().made["table"]
    for split in ("paraphrases together", "equal texts together"):
        masked = {row["model"].split(":")[0]: row for row in rows if (row["split"], row["text"]) == (split, "masked")}
        assert {"nearest centroid", "TF-IDF + linear SVM", "words"} <= masked.keys()
        assert masked["words"]["accuracy"] > masked["TF-IDF + linear SVM"]["accuracy"] > masked["nearest centroid"]["accuracy"]
    unmasked = [row for row in rows if row["text"] == "unmasked" and row["model"] == "TF-IDF + linear SVM"]
    assert all(row["accuracy"] >= 0.98 for row in unmasked)
    assert unmasked


def test_a_named_group_is_found_and_an_unnamed_one_has_a_score() -> None:
    model = shipped_groups()
    named, unnamed = likenesses([["APT28 has used a drive"], ["sends invoices"]], WordScorer(model), model, 3)
    assert (named[0].name, named[0].named) == ("APT28", True)
    assert len(unnamed) == 3
    assert 0 < unnamed[0].score <= 1


def test_it_needs_neither_pytorch_nor_scikit_learn() -> None:
    code = "import sys; from detector.groups.shipped import shipped_groups as s; s().lexical.scores(['a text']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "detector.groups.lexical" in loaded
    assert not {"torch", "sklearn", "scipy", "transformers"} & set(loaded)
