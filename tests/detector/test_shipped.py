from pathlib import Path

import numpy as np

from detector.baseline import Baseline
from detector.evaluation.truth import read_answers
from detector.from_directory import USER_DAYS, KeyByTime
from detector.shipped import SEEDS, make_shipped
from stream.synth import write_organisation
from windowing.directory import Directory
from windowing.offline import windows_of
from windowing.record import parse_window


def test_the_recipe_makes_the_same_model_twice() -> None:
    once, again = (make_shipped(seeds=(31, 32), users=30, days=30) for _ in range(2))
    assert once.document() == again.document()


def test_the_shipped_model_catches_insiders_of_an_organisation_it_never_saw(tmp_path: Path) -> None:
    seed = 5150
    assert seed not in SEEDS
    write_organisation(tmp_path / "organisation", 100, 50, seed)
    key_of = KeyByTime.of(read_answers(tmp_path / "organisation"))
    made = windows_of(tmp_path / "organisation", USER_DAYS, people=Directory.read(tmp_path / "organisation"))
    windows = [parse_window(value.encode()) for batch in made for value in batch.windows["value"]]
    keys = [key_of(window) for window in windows]
    insiders = {window.user for window, key in zip(windows, keys, strict=True) if key}
    for track in ("all", "shortcut-free"):
        verdicts = Baseline.load(track=track).judge(windows)
        right = [(verdict, key) for verdict, key in zip(verdicts, keys, strict=True) if key and verdict.alert]
        assert len({verdict.user for verdict, _ in right}) >= 0.6 * len(insiders)
        cited = sum(len(verdict.cited) for verdict, _ in right)
        hits = sum(len({(ref.kind.value, ref.id) for ref in verdict.cited} & key) for verdict, key in right)
        assert hits >= 0.6 * cited
        score, bad = np.array([verdict.score for verdict in verdicts]), np.array([bool(key) for key in keys])
        assert score[bad].mean() > 5 * score[~bad].mean()
