import json
from pathlib import Path

import pytest

from detector.groups.corpus import Mask, Origin, clean, read_corpus
from stream.errors import ConfigurationError
from tests.detector.groups.bundle import WORDS, objects, write_bundle


def test_a_text_loses_links_citations_and_code_marks() -> None:
    text = "[APT0](https://attack.mitre.org/groups/G0000) ran <code>whoami</code> and `dir` .(Citation: A (B) 2020)(Citation: C)"
    assert clean(text) == "APT0 ran whoami and dir."


def test_a_bundle_is_read_alike_plain_and_gzipped(tmp_path: Path) -> None:
    plain = read_corpus(write_bundle(tmp_path / "a.json"))
    zipped = read_corpus(write_bundle(tmp_path / "a.json.gz", zipped=True))
    assert plain == zipped
    assert plain.version == "99.1"
    assert len(plain.sha256) == 64


def test_what_is_revoked_or_deprecated_is_left_out(tmp_path: Path) -> None:
    corpus = read_corpus(write_bundle(tmp_path / "a.json"))
    assert "G0900" not in corpus.names
    assert not {"revoked", "deprecated"} & {one.text for one in corpus.procedures}


def test_masked_texts_hold_no_name_of_a_group_an_alias_or_software(tmp_path: Path) -> None:
    corpus = read_corpus(write_bundle(tmp_path / "a.json"))
    names = [name.lower() for name in WORDS] + ["zubat", "zbt-9", "night bus", "ambercrew", "ta-055"]
    for one in corpus.procedures:
        assert not [name for name in names if name in one.masked.lower()], one.masked
    assert any(one.masked.startswith("the group has used") for one in corpus.procedures)


def test_a_name_within_a_path_or_as_an_ordinary_word_stays(tmp_path: Path) -> None:
    corpus = read_corpus(write_bundle(tmp_path / "a.json"))
    odd = next(one for one in corpus.procedures if "net use" in one.text)
    assert odd.masked == "the group, the group, the group and the group: the software in C:\\Net\\net.exe, net use."


def test_the_longer_name_wins() -> None:
    mask = Mask.of_spellings({"Cobalt": "the group", "Cobalt Strike": "the software"})
    assert mask("Cobalt uses Cobalt Strike") == "the group uses the software"
    assert mask.names_in("Cobalt uses Cobalt Strike") == ["Cobalt", "Cobalt Strike"]


def test_texts_about_campaigns_and_about_software_of_one_group_are_extras_of_it(tmp_path: Path) -> None:
    corpus = read_corpus(write_bundle(tmp_path / "a.json"))
    extras = corpus.extras(corpus.names)
    assert [(one.groups, one.origin) for one in extras] == [(("G0001",), Origin.CAMPAIGN), (("G0001",), Origin.SOFTWARE)]
    assert len(corpus.extras(corpus.names, most=2)) == 3
    assert corpus.extras(["G0002"]) == ()


def test_groups_with_too_few_texts_are_no_lessons(tmp_path: Path) -> None:
    content = [one for one in objects() if not (one["id"].startswith("relationship--G0003-") and not one["id"].endswith("T1078"))]
    corpus = read_corpus(write_bundle(tmp_path / "a.json", content))
    assert {one.groups[0] for one in corpus.lessons()} == {f"G000{number}" for number in (1, 2, 4, 5, 6, 7, 8)}
    assert "G0003" in {one.groups[0] for one in corpus.lessons(least=1)}


def test_a_sub_technique_is_called_with_its_parent(tmp_path: Path) -> None:
    corpus = read_corpus(write_bundle(tmp_path / "a.json"))
    assert corpus.techniques["T1059.001"] == "Technique T1059: Technique T1059.001"


def test_a_bundle_without_version_needs_one_and_another_than_its_own_is_refused(tmp_path: Path) -> None:
    bare = write_bundle(tmp_path / "a.json", objects()[1:])
    with pytest.raises(ConfigurationError, match="--attack-version"):
        read_corpus(bare)
    assert read_corpus(bare, "18.1").version == "18.1"
    with pytest.raises(ConfigurationError, match=r"is ATT&CK 99\.1, not 18\.1"):
        read_corpus(write_bundle(tmp_path / "b.json"), "18.1")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"type": "bundle"}', b'{"type": "bundle", "objects": 3}', b"\x1f\x8bcut", json.dumps({"objects": []}).encode()],
)
def test_what_is_no_bundle_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "a.json"
    place.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"a\.json is not a STIX bundle"):
        read_corpus(place, "18.1")


def test_a_bundle_that_tells_of_no_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no texts about what groups do"):
        read_corpus(write_bundle(tmp_path / "a.json", objects()[:3]))
