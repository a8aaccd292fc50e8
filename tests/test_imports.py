"""What must work where no language model is installed: the command line and the way from events to alerts."""

import subprocess
import sys
from pathlib import Path

import pytest

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

# stands in front of a program: who asks for one of these gets what somebody gets who has not installed it
WITHOUT = f"""
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Without())
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


def test_windows_are_judged_by_the_baseline_without_models(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from detector.baseline import Baseline\n"
        "from stream.synth import write_organisation\n"
        "from windowing.calendar import DAY_MS, WindowSpec\n"
        "from windowing.offline import windows_of\n"
        "from windowing.record import parse_window\n"
        "place = Path(sys.argv[1])\n"
        "write_organisation(place, 12, 28, 3, 1, 'UTC')\n"
        "judge = Baseline.load(None)\n"
        "batches = windows_of(place, WindowSpec(size_ms=DAY_MS, hop_ms=DAY_MS), 'UTC')\n"
        "print(sum(len(judge.judge([parse_window(w.encode()) for w in batch.windows['value']])) for batch in batches))\n"
    )
    done = without_models(program, str(tmp_path / "org"))
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 100
