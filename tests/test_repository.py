"""Promises of the repository as a whole."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

SETS = ("run.txt", "dev.txt", "llm.txt", "models.txt", "weights.txt", "torch-cpu.txt", "bench.txt")


def tracked(repository: Path) -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=repository, check=False, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git working tree")
    return listed.stdout.splitlines()


def test_make_alone_lists_its_targets(repository: Path) -> None:
    out = subprocess.run(["make"], cwd=repository, check=True, capture_output=True, text=True).stdout
    assert {"demo", "test", "check", "bench", "bench-parts", "bench-detect", "models", "up", "clean"} <= set(
        re.findall(r"^\s+make ([\w-]+)", out, re.MULTILINE)
    )


@pytest.mark.parametrize("name", SETS)
def test_requirement_files_hold_hashes_for_everything_and_no_address(repository: Path, name: str) -> None:
    text = (repository / "requirements" / name).read_text()
    assert not re.search(r"https?://|file:|--(extra-)?index-url|--find-links", text)
    pinned = re.split(r"\n(?=[a-z0-9])", text)
    assert all("--hash=sha256:" in block for block in pinned if re.match(r"[a-z0-9]", block))


def test_what_the_demonstration_and_the_tests_install_is_free_of_torch(repository: Path) -> None:
    for name in ("run.txt", "dev.txt"):
        assert not re.search(r"^(torch|nvidia|transformers)\b", (repository / "requirements" / name).read_text(), re.MULTILINE)


def test_requirement_files_cover_the_projects_dependencies(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {
        "run.txt": project["dependencies"] + extras["embedded"] + extras["incidents"],
        "dev.txt": project["dependencies"] + extras["embedded"] + extras["incidents"] + extras["dev"],
        "llm.txt": project["dependencies"] + extras["incidents"] + extras["llm"],
        "models.txt": [d for d in project["dependencies"] + extras["llm"] if not d.startswith("torch>")],
        "weights.txt": extras["small-weights"],
        "bench.txt": project["dependencies"] + extras["bench"],
    }
    for name, dependencies in wanted.items():
        text = (repository / "requirements" / name).read_text()
        missing = [d for d in dependencies if not re.search(rf"^{re.split(r'[^a-z0-9-]', d)[0]}==", text, re.MULTILINE)]
        assert missing == [], f"run `make locks`: {name}"


def pins(repository: Path, name: str) -> dict[str, set[str]]:
    """What a requirement file pins: the versions by name, several where they depend on Python's."""
    found: dict[str, set[str]] = {}
    for package, pinned in re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (repository / "requirements" / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(pinned)
    return found


def test_requirement_files_agree_with_each_other(repository: Path) -> None:
    run, dev, llm, models = (pins(repository, f"{name}.txt") for name in ("run", "dev", "llm", "models"))
    for one, other in ((run, dev), (dev, llm), (llm, models)):
        assert {name: (one[name], other[name]) for name in one.keys() & other.keys() if one[name] != other[name]} == {}
    assert {pin.partition("+")[0] for pin in pins(repository, "torch-cpu.txt")["torch"]} == llm["torch"]


def test_the_cpu_build_of_torch_is_installed_with_all_it_needs_and_no_cuda(repository: Path) -> None:
    llm, models = pins(repository, "llm.txt"), pins(repository, "models.txt")
    assert all(re.match(r"(nvidia|cuda)-|torch$|triton$", name) for name in llm.keys() - models.keys())
    assert {"filelock", "fsspec", "networkx", "setuptools", "sympy", "typing-extensions"} <= models.keys()
    assert not [name for name in models if re.match(r"nvidia|cuda|torch$|triton$", name)]


def test_the_packaged_weights_are_those_of_the_extra(repository: Path) -> None:
    extra = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]["small-weights"]
    lines = (repository / "requirements" / "weights.in").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == extra


def test_the_wheel_holds_every_file_of_the_packages(repository: Path, tmp_path: Path) -> None:
    packages = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = {name for name in tracked(repository) if name.partition("/")[0] in packages and (repository / name).exists()}
    built = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(built, cwd=repository, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert wanted - set(archive.namelist()) == set()


def test_every_setting_that_compose_sets_exists(repository: Path) -> None:
    from daywatch.settings import setting_names

    variables = set(re.findall(r"^\s+(DAYWATCH_\w+):", (repository / "docker-compose.yml").read_text(), re.MULTILINE))
    assert variables
    assert {v.removeprefix("DAYWATCH_").lower().replace("__", ".") for v in variables} <= set(setting_names())


def test_links_between_the_papers_lead_somewhere(repository: Path) -> None:
    papers = [repository / name for name in tracked(repository) if name.endswith(".md")]
    broken = [
        f"{paper.relative_to(repository)}: {target}"
        for paper in papers
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", paper.read_text(encoding="utf-8"))
        if not (paper.parent / target).exists()
    ]
    assert broken == []
