"""What must work where no language model is installed: the command line and the way from events to alerts."""

import subprocess
import sys
from pathlib import Path

import pytest

from stream.synth import write_organisation
from windowing.calendar import DAY_MS, WindowSpec
from windowing.offline import windows_of

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "llguidance",
    "safetensors",
    "huggingface_hub",
    "gguf",
    "tokenizers",
)

# runs before a program: nothing finds these any more, as where they are not installed
WITHOUT = f"""
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {HEAVY!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


def without_models(program: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", WITHOUT + program, *arguments], check=False, capture_output=True, input=given)


COMMAND = "from daywatch.__main__ import main\nsys.argv = ['daywatch', *sys.argv[1:]]\nmain()"


def test_the_stand_in_for_a_machine_without_models_works() -> None:
    done = without_models("import torch")
    assert done.returncode == 1
    assert b"No module named 'torch'" in done.stderr


@pytest.mark.parametrize(
    "module", ["daywatch.cli", "daywatch.commands.demo", "daywatch.commands.detect", "detector.baseline", "sinks.detect_worker"]
)
def test_the_way_from_events_to_alerts_asks_for_no_model_library(module: str) -> None:
    # not even in vain: an import that is tried and forgiven costs seconds where the library is there
    asked = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_every_command_explains_itself_without_models() -> None:
    from daywatch.cli import COMMANDS

    assert without_models(COMMAND, "--help").returncode == 0
    program = (
        "from typer.testing import CliRunner\nfrom daywatch.cli import app\n"
        "for name in sys.argv[1:]:\n"
        "    shown = CliRunner().invoke(app, [name, '--help'])\n"
        "    assert shown.exit_code == 0, (name, shown.output, shown.exception)\n"
    )
    done = without_models(program, *COMMANDS)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of windows of a small made-up organisation."""
    place = tmp_path_factory.mktemp("organisation")
    write_organisation(place / "org", 12, 28, 3, 1, "UTC")
    made = windows_of(place / "org", WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS), "UTC")
    file = place / "windows.jsonl"
    file.write_text("".join(f"{value}\n" for batch in made for value in batch.windows["value"]), encoding="utf-8")
    return file


def test_windows_are_judged_by_the_baseline_without_models(windows: Path) -> None:
    done = without_models(COMMAND, "judge", str(windows), "--backend", "baseline")
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.splitlines()) == len(windows.read_bytes().splitlines()) > 100


@pytest.mark.parametrize(
    "asked",
    [
        ["judge", "{windows}", "--backend", "narrative", "--adapter", "none"],
        ["demo", "--backend", "narrative"],
        ["classify", "{windows}"],
        ["train", "narrative", "{windows}", "--out", "{windows}.out"],
    ],
    ids=lambda asked: asked[0] if isinstance(asked, list) else None,
)
def test_what_needs_models_says_in_one_sentence_what_to_install(asked: list[str], windows: Path) -> None:
    done = without_models(COMMAND, *(part.format(windows=windows) for part in asked))
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert done.stdout == b""
    assert "pip install 'daywatch[llm]'" in said.splitlines()[-1]
    assert said.splitlines()[-1].startswith("daywatch: error: ")
    assert "Traceback" not in said
