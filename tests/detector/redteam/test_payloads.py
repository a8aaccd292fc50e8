"""What attackers write: every family asks for its label, and is recognised when it is repeated."""

import base64
import random
from urllib.parse import unquote

import pytest

from detector.narrative.clean import cleaned
from detector.redteam.payloads import FAMILIES, FLOODS, canary_of, heard, payload

ARGUING = [family for family in FAMILIES if family not in FLOODS]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_chance_gives_the_same_text(family: str) -> None:
    assert payload(family, "normal", random.Random(5)) == payload(family, "normal", random.Random(5))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_two_texts_have_one_canary(family: str) -> None:
    chance = random.Random(1)
    canaries = [payload(family, "normal", chance).canary for _ in range(50)]
    assert len(set(canaries)) == 50


@pytest.mark.parametrize("family", [*FAMILIES[:6], "flood_text", "homoglyph"])
def test_a_text_that_is_repeated_is_heard(family: str) -> None:
    chance = random.Random(2)
    for _ in range(30):
        made = payload(family, "normal", chance)
        assert heard(made.canary, f"the day shows {made.text}")


def test_a_canary_is_heard_in_disguise_and_nowhere_else() -> None:
    canary = canary_of(random.Random(3))
    assert heard(canary, canary.upper())
    assert heard(canary, " ".join(canary))
    assert heard(canary, canary[::-1])
    assert not heard(canary, "copies to a removable drive after hours, then job sites")
    assert not heard(canary, "")


def test_encodings_hold_what_they_hide() -> None:
    chance = random.Random(4)
    for _ in range(30):
        hidden = payload("percent", "malicious", chance)
        assert hidden.canary in unquote(unquote(hidden.text))
        packed = payload("base64", "malicious", chance)
        assert packed.canary in base64.b64decode(packed.text.rpartition(" ")[2].rpartition(",")[2].rpartition(":")[2]).decode()


@pytest.mark.parametrize("goal", ["normal", "malicious"])
def test_texts_ask_for_the_label_they_are_made_for(goal: str) -> None:
    chance = random.Random(6)
    other = {"normal": "malicious", "malicious": "normal"}[goal]
    for family in ("instruction", "fake_verdict", "role_marker"):
        texts = [payload(family, goal, chance).text for _ in range(40)]  # type: ignore[arg-type]
        assert all(goal in text or "risk" not in text for text in texts)
        assert not any(f'"risk": "{other}"' in text for text in texts)


@pytest.mark.parametrize("family", ARGUING)
def test_cleaned_texts_hold_no_marker_of_any_family(family: str) -> None:
    chance = random.Random(7)
    for _ in range(60):
        said = cleaned(payload(family, "normal", chance).text, 80)
        assert not set(said) & set('<>[]{}|"\n')
