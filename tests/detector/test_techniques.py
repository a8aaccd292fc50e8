import json
from pathlib import Path

from detector.techniques import TRAITS, Shown, every_technique, techniques_of, traits_of
from tests.detector.windows import A_THEFT, event


def test_every_technique_is_one_of_attack(repository: Path) -> None:
    known = json.loads((repository / "sinks" / "data" / "attack.json").read_text())["techniques"]
    assert set(every_technique()) <= set(known)


def test_each_technique_and_trait_is_named_once() -> None:
    for names in (list(every_technique()), [name for name, _ in TRAITS]):
        assert len(names) == len(set(names))


def test_a_theft_at_night_is_named_by_what_is_cited() -> None:
    shown = Shown.of(A_THEFT, {"off_hours": 5.0, "connects_first": 1.0})
    assert set(techniques_of(shown)) == {"T1052.001", "T1005", "T1567", "T1078"}
    assert {"after_hours", "removable_drive", "first_drive_use", "leak_site"} <= set(traits_of(shown))


def test_what_is_not_cited_is_not_named() -> None:
    assert techniques_of(Shown.of((), {"off_hours": 5.0, "files": 9.0})) == ()
    jobs = Shown.of([event("http", 1, url="http://monster.com/jobs")], {})
    assert techniques_of(jobs) == ()
    assert traits_of(jobs) == ("job_hunting",)


def test_a_program_on_a_drive_spreads_and_does_not_leave() -> None:
    found = techniques_of(Shown.of([event("file", 1, filename="R:/log.exe"), event("device", 1, activity="Connect")], {}))
    assert "T1091" in found
    assert "T1052.001" not in found


def test_looking_at_cloud_storage_is_no_exfiltration_until_something_is_handed_over() -> None:
    assert techniques_of(Shown.of([event("http", 1, url="http://dropbox.com/about")], {})) == ()
    assert techniques_of(Shown.of([event("http", 1, url="http://dropbox.com/upload")], {})) == ("T1567.002",)
