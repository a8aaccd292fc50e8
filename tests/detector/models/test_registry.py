"""Promises of the registry: what was added is what is loaded, pinned; an adapter belongs to one base. No library of models is needed."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from detector.models.errors import Changed, MalformedModel, MissingWeights, OtherBase, UnknownModel
from detector.models.places import Places
from detector.models.registry import add, find, registered, verify
from stream.errors import ConfigurationError
from tests.detector.models.test_files import write_safetensors

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "cache", tmp_path / "records")


def a_base(directory: Path, content: bytes = b"1234") -> Path:
    directory.mkdir(parents=True)
    write_safetensors(directory / "model.safetensors", {"a.weight": content})
    (directory / "config.json").write_text('{"model_type": "llama"}')
    (directory / "tokenizer.json").write_text("{}")
    return directory


def an_adapter(directory: Path, base: str, notes: dict[str, str] | None = None) -> Path:
    directory.mkdir(parents=True)
    write_safetensors(directory / "adapter_model.safetensors", {"x.lora_A.weight": b"1", "x.lora_B.weight": b"2"})
    (directory / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    if notes is not None:
        (directory / "daywatch.json").write_text(json.dumps(notes))
    return directory


def hub(**repositories: Path) -> Callable[[str, str | None], Path]:
    """A hub that has these, by the second half of their id, laid out as its client does: a directory for each commit."""

    def fetch(source: str, revision: str | None) -> Path:
        snapshot = repositories[source.partition("/")[2].replace("-", "_").replace(".", "_")]
        assert revision in (None, "main", COMMIT)
        return snapshot

    return fetch


def test_a_model_is_found_by_its_name_its_source_and_its_directory(tmp_path: Path, places: Places) -> None:
    base = a_base(tmp_path / "base")
    entry = add(str(base), name="mine", places=places)
    assert list(registered(places)) == ["mine"]
    found = find("mine", places=places)
    assert (found.path, found.identity, found.recorded) == (base, entry.identity, True)
    assert find(str(base), places=places).identity == entry.identity


def test_what_main_is_today_is_pinned_by_its_commit(tmp_path: Path, places: Places) -> None:
    snapshot = a_base(tmp_path / "hub" / COMMIT)
    entry = add("Qwen/Qwen3.5-9B", places=places, revision="main", fetch=hub(Qwen3_5_9B=snapshot))
    assert (entry.name, entry.revision) == ("Qwen3.5-9B", COMMIT)

    def unreachable(source: str, revision: str | None) -> Path:
        raise AssertionError("what was added is not asked for again")

    for asked in ("Qwen3.5-9B", "Qwen/Qwen3.5-9B"):
        found = find(asked, places=places, fetch=unreachable)
        assert (found.path, found.revision, found.source) == (snapshot, COMMIT, "Qwen/Qwen3.5-9B")


def test_the_published_adapter_is_recorded_with_its_base_and_refused_on_another(tmp_path: Path, places: Places) -> None:
    base = a_base(tmp_path / "hub" / "a" / COMMIT)
    adapter = an_adapter(tmp_path / "hub" / "b" / COMMIT, "Qwen/Qwen3.5-9B")
    fetch = hub(Qwen3_5_9B=base, soc_narrative_sft_qwen3_5_9b=adapter)
    with pytest.raises(OtherBase, match=r"Qwen/Qwen3\.5-9B, which is not here"):
        add("Pankei/soc-narrative-sft-qwen3.5-9b", places=places, fetch=fetch)
    add("Qwen/Qwen3.5-9B", places=places, fetch=fetch)
    entry = add("Pankei/soc-narrative-sft-qwen3.5-9b", places=places, fetch=fetch)
    assert (entry.kind, entry.base, entry.revision) == ("adapter", "Qwen/Qwen3.5-9B", COMMIT)
    found = find("Pankei/soc-narrative-sft-qwen3.5-9b", adapter=True, places=places)
    assert found.base_identity == find("Qwen/Qwen3.5-9B", places=places).identity
    assert verify(entry.name, places) == []


def test_a_hub_id_alone_pins_no_weights(tmp_path: Path, places: Places) -> None:
    fetch = hub(model=a_base(tmp_path / "hub" / COMMIT))
    for revision in (None, "main", "v1"):
        with pytest.raises(UnknownModel, match="daywatch models add"):
            find("some/model", places=places, revision=revision, fetch=fetch)
    assert find("some/model", places=places, revision=COMMIT, fetch=fetch).revision == COMMIT


def test_another_revision_than_the_one_that_was_added_is_not_mixed_up_with_it(tmp_path: Path, places: Places) -> None:
    fetch = hub(model=a_base(tmp_path / "hub" / COMMIT))
    add("some/model", places=places, fetch=fetch)
    with pytest.raises(UnknownModel, match="added at revision"):
        find("model", places=places, revision="f" * 40)
    assert find("some/model", places=places, revision=COMMIT).recorded


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_that_is_not_what_was_added_is_not_loaded(tmp_path: Path, places: Places, name: str) -> None:
    base = a_base(tmp_path / "base")
    add(str(base), name="mine", places=places)
    raw = (base / name).read_bytes()
    (base / name).write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    with pytest.raises((Changed, MalformedModel), match=name.replace(".", r"\.") if name != "model.safetensors" else "mine"):
        find("mine", places=places)
    assert any(line.startswith(name) for line in verify("mine", places))


def test_weights_too_large_to_be_hashed_at_every_start_are_held_against_their_identity(
    tmp_path: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detector.models.registry._SMALL", 0)
    base = a_base(tmp_path / "base")
    add(str(base), name="mine", places=places)
    write_safetensors(base / "model.safetensors", {"a.weight": b"1235"})
    with pytest.raises(Changed, match="its weights are not those that were added"):
        find("mine", places=places)


def test_verify_names_what_came_and_what_went(tmp_path: Path, places: Places) -> None:
    base = a_base(tmp_path / "base")
    add(str(base), name="mine", places=places)
    assert verify("mine", places) == []
    (base / "extra.txt").write_text("x")
    (base / "tokenizer.json").unlink()
    assert verify("mine", places) == ["extra.txt was not there", "tokenizer.json is missing"]
    shutil.rmtree(base)
    assert verify("mine", places) == [f"{base} is gone"]
    with pytest.raises(MissingWeights, match="brings it back"):
        find("mine", places=places)


def test_an_adapter_that_names_another_base_by_hash_is_not_added(tmp_path: Path, places: Places) -> None:
    base = a_base(tmp_path / "base")
    adapter = an_adapter(tmp_path / "adapter", str(base), notes={"base_sha256": "f" * 64})
    with pytest.raises(OtherBase, match="identity ffffffffffff"):
        add(str(adapter), places=places)


def test_an_adapter_says_when_its_base_changed(tmp_path: Path, places: Places) -> None:
    base = a_base(tmp_path / "base")
    entry = add(str(an_adapter(tmp_path / "adapter", "nowhere")), base=str(base), places=places)
    assert entry.base == str(base)
    write_safetensors(base / "model.safetensors", {"a.weight": b"9999"})
    assert verify("adapter", places) == [f"its base {base} has other weights than when it was added"]


def test_an_adapters_name_is_no_base_and_a_bases_no_adapter(tmp_path: Path, places: Places) -> None:
    add(str(a_base(tmp_path / "base")), places=places)
    add(str(an_adapter(tmp_path / "adapter", "nowhere")), base="base", places=places)
    with pytest.raises(MalformedModel, match="adapter: added as an adapter, and a whole model is wanted"):
        find("adapter", places=places)
    with pytest.raises(MalformedModel, match="base: added as a whole model, and an adapter is wanted"):
        find("base", adapter=True, places=places)


def test_what_cannot_be_loaded_is_not_added(tmp_path: Path, places: Places) -> None:
    base = a_base(tmp_path / "base")
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(MalformedModel, match="pytorch_model"):
        add(str(base), places=places)
    with pytest.raises(UnknownModel, match="neither"):
        add("no such thing", places=places)
    with pytest.raises(ConfigurationError, match="revision"):
        add(str(base), revision="main", places=places)
    assert registered(places) == {}


def test_models_added_at_the_same_time_are_all_kept(tmp_path: Path, places: Places) -> None:
    bases = [str(a_base(tmp_path / f"base{number}")) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda base: add(base, places=places), bases))
    assert sorted(registered(places)) == [f"base{number}" for number in range(8)]


def test_a_registry_that_cannot_be_read_says_so(tmp_path: Path, places: Places) -> None:
    places.registry.parent.mkdir(parents=True)
    places.registry.write_text("{")
    with pytest.raises(Changed, match="registry"):
        registered(places)
