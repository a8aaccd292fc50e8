import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SYSTEM = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "libgomp.so.1"
FIT = """
import numpy
from detector.openmp import load_lightgbm
lightgbm = load_lightgbm()
rows = numpy.random.default_rng(1).random((200, 3))
grown = lightgbm.train({"verbose": -1, "objective": "binary"}, lightgbm.Dataset(rows, rows[:, 0] > 0.5), 5)
from sklearn.ensemble import IsolationForest
IsolationForest(n_estimators=5).fit(rows)
print(grown.predict(rows, pred_contrib=True).shape)
"""


def run(*before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*before, sys.executable, "-c", FIT], check=False, capture_output=True, text=True, timeout=120)


def test_trees_grow_beside_scikit_learn() -> None:
    done = run()
    assert done.stdout == "(200, 4)\n", done.stderr


def test_trees_grow_on_a_machine_without_the_systems_openmp(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not SYSTEM.exists() or shutil.which("unshare") is None:
        pytest.skip("hiding the system's library needs root and unshare")
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"")
    hide = f'mount --bind {nothing} {SYSTEM.resolve()} && exec "$@"'
    if subprocess.run(["unshare", "-m", "sh", "-c", hide, "sh", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mounts here")
    hidden = ["unshare", "-m", "sh", "-c", hide, "sh"]
    bare = subprocess.run([*hidden, sys.executable, "-c", "import lightgbm"], check=False, capture_output=True, text=True, timeout=120)
    assert "libgomp" in bare.stderr  # LightGBM by itself cannot
    done = run(*hidden)
    assert done.stdout == "(200, 4)\n", done.stderr
