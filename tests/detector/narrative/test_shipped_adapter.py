"""The adapter that comes with Daywatch: it belongs to this version's prompts, names no machine, and knows an insider's day."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from detector.narrative.evidence_head import read_head
from detector.narrative.notes import Notes, read_notes
from detector.narrative.prompt import LABELS, Composer
from tests.detector.conftest import Taught

PLACE = Path(str(files("detector") / "data" / "narrative"))
MOST_BYTES = 25 * 1024 * 1024


@pytest.fixture(scope="module")
def notes() -> Notes:
    found = read_notes(PLACE)
    assert found is not None
    return found


def test_it_was_trained_on_the_prompts_that_this_version_makes(notes: Notes) -> None:
    assert notes.prompt == Composer(notes.track, notes.budget, len).identity
    assert notes.base == "package:smollm2-135m"
    assert notes.track == "shortcut-free"


def test_it_is_small_and_names_no_directory(notes: Notes) -> None:
    assert sum(path.stat().st_size for path in PLACE.iterdir()) <= MOST_BYTES
    for name in ("adapter_config.json", "daywatch.json", "README.md"):
        text = (PLACE / name).read_text()
        assert "/home/" not in text
        assert "/tmp/" not in text
        assert "/root/" not in text
    assert notes.base_sha256 in (PLACE / "README.md").read_text()


def test_it_was_trained_on_no_seed_that_anything_is_examined_on(notes: Notes) -> None:
    assert "7001 to 7030" in notes.made["data"]


def test_it_tells_an_insiders_day_from_another_of_people_it_has_never_seen(notes: Notes, smollm2: Path, taught: Taught) -> None:
    from detector.models.loading import load_causal
    from detector.narrative.engine import Engine

    head = read_head(PLACE)
    assert head is not None
    assert head.prompt == notes.prompt
    engine = Engine(load_causal(notes.base, str(PLACE), precision="fp32", device="cpu"), head=head)
    composer = Composer(notes.track, notes.budget, engine.count)
    pairs = list(zip(taught.windows, taught.keys, strict=True))
    bad = [window for window, key in pairs if len(key) > 2][::3][:8]
    quiet = [window for window, key in pairs if not key][::150][:8]
    chance = engine.label([composer(window) for window in bad + quiet])[:, LABELS.index("malicious")]
    ranks = (chance[: len(bad), None] > chance[None, len(bad) :]).mean()
    assert np.isfinite(chance).all()
    assert ranks >= 0.8
    prompts = [composer(window) for window in bad]
    answers = engine.explain(prompts[:2], ["malicious", "malicious"])
    assert all(answer.evidence and answer.reason for answer in answers)
    # what is cited is what the key names, and better than citing all that is shown
    key_of = {window.id: {(str(kind), str(event)) for kind, event in key} for window, key in pairs}
    right = cited = shown = named = 0
    for window, prompt, states in zip(bad, prompts, engine.line_states(prompts), strict=True):
        guilty = [(ref.kind.value, ref.id) in key_of[window.id] for ref in prompt.aliases]
        places = head.cited(prompt, states)
        right, cited = right + sum(guilty[place] for place in places), cited + len(places)
        shown, named = shown + len(guilty), named + sum(guilty)
    assert 2 * right / (cited + named) > 2 * named / (shown + named)
    assert 2 * right / (cited + named) > 0.75
