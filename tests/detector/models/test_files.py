"""Promises of a model's directory as files. No library of models is needed."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from detector.models.errors import Changed, MalformedModel, UnsafeWeights
from detector.models.files import check_adapter, check_base, differences, identity, manifest, remembered_identity, same, tensors_of


def write_safetensors(file: Path, tensors: dict[str, bytes], metadata: dict[str, str] | None = None) -> None:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    at = 0
    for name, content in tensors.items():
        header[name] = {"dtype": "U8", "shape": [len(content)], "data_offsets": [at, at + len(content)]}
        at += len(content)
    raw = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(raw)) + raw + b"".join(tensors.values()))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    write_safetensors(directory / "model.safetensors", {"a.weight": b"1234", "b.weight": b"56"})
    (directory / "config.json").write_text('{"model_type": "llama"}')
    (directory / "tokenizer.json").write_text("{}")
    return directory


def test_a_whole_directory_passes(model: Path) -> None:
    assert check_base(model) == {"model_type": "llama"}
    assert [(tensor.name, tensor.count) for tensor in tensors_of(model)] == [("a.weight", 4), ("b.weight", 2)]


@pytest.mark.parametrize("left", [0, 4, 7, 60, -1])
def test_weights_that_were_cut_off_are_named(model: Path, left: int) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(MalformedModel, match=r"model\.safetensors"):
        check_base(model)


def test_weights_longer_than_their_header_says_are_refused(model: Path) -> None:
    with (model / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(MalformedModel, match="longer"):
        tensors_of(model)


def test_a_header_whose_sizes_do_not_fit_its_shapes_is_refused(model: Path) -> None:
    raw = json.dumps({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + b"1234")
    with pytest.raises(MalformedModel, match="header"):
        tensors_of(model)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "model.gguf", "tf_model.h5"])
def test_weights_that_may_run_code_are_refused(model: Path, name: str) -> None:
    (model / "model.safetensors").rename(model / name)
    with pytest.raises(UnsafeWeights, match=name):
        check_base(model)


def test_a_pickle_beside_safe_weights_is_never_looked_at(model: Path) -> None:
    (model / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    assert len(tensors_of(model)) == 2


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(MalformedModel, match=name.replace(".", r"\.")):
        check_base(model)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"architectures": ["X"]}', '{"model_type": 3}'])
def test_a_configuration_that_says_nothing_is_refused(model: Path, text: str) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(MalformedModel, match=r"config\.json"):
        check_base(model)


def test_a_missing_shard_is_named(model: Path) -> None:
    index = {"weight_map": {"a.weight": "model-1-of-2.safetensors", "b.weight": "model-2-of-2.safetensors"}}
    (model / "model.safetensors").rename(model / "model-1-of-2.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(MalformedModel, match="model-2-of-2"):
        tensors_of(model)


def test_an_index_reaches_no_file_outside_its_directory(model: Path) -> None:
    (model / "model.safetensors").rename(model.parent / "elsewhere.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(MalformedModel, match="names no files"):
        tensors_of(model)


def test_an_adapter_is_not_taken_for_a_base_nor_a_base_for_an_adapter(model: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(MalformedModel, match="this is an adapter"):
        check_base(adapter)
    with pytest.raises(MalformedModel, match="whole model"):
        check_adapter(model)
    with pytest.raises(MalformedModel, match=r"adapter_model\.safetensors"):
        check_adapter(adapter)


def test_the_identity_is_that_of_the_weights_however_they_are_packed(model: Path, tmp_path: Path) -> None:
    whole = identity(model)
    write_safetensors(model / "model.safetensors", {"b.weight": b"56", "a.weight": b"1234"}, {"format": "pt"})
    (model / "README.md").write_text("new")
    assert identity(model) == whole
    (model / "model.safetensors").unlink()
    write_safetensors(model / "one.safetensors", {"b.weight": b"56"})
    write_safetensors(model / "two.safetensors", {"a.weight": b"1234"})
    (model / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a.weight": "two.safetensors", "b.weight": "one.safetensors"}})
    )
    assert identity(model) == whole
    write_safetensors(model / "two.safetensors", {"a.weight": b"1235"})
    assert identity(model) != whole


def test_a_remembered_identity_is_forgotten_when_the_file_changes_even_with_its_old_time(model: Path, tmp_path: Path) -> None:
    file, notes = model / "model.safetensors", tmp_path / "notes"
    before, times = remembered_identity(model, notes), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    assert remembered_identity(model, notes) == before == identity(model)
    raw = file.read_bytes()
    file.write_bytes(raw[:-1] + b"7")
    os.utime(file, ns=times)
    assert remembered_identity(model, notes) == identity(model) != before


def test_a_manifest_tells_what_changed_what_came_and_what_went(model: Path) -> None:
    recorded = manifest(model)
    assert sorted(recorded) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert differences(recorded, manifest(model)) == []
    (model / "config.json").write_text('{"model_type": "other"}')
    (model / "tokenizer.json").unlink()
    (model / "code.py").write_text("1")
    told = differences(recorded, manifest(model))
    assert [line.split()[0] for line in told] == ["code.py", "config.json", "tokenizer.json"]
    with pytest.raises(Changed, match=r"code\.py"):
        same(recorded, model)
