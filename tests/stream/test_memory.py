"""Keeping freed memory is a request that never does harm."""

import ctypes
import gc
import platform
import subprocess
import sys

import pytest

from stream.memory import collect_seldom, keep_freed_memory


def test_glibc_takes_the_request() -> None:
    script = "from stream.memory import keep_freed_memory; raise SystemExit(0 if keep_freed_memory() else 3)"
    left = subprocess.run([sys.executable, "-c", script], check=False).returncode  # in a process of its own: it cannot be undone
    assert left == (0 if platform.libc_ver()[0] == "glibc" else 3)


def test_without_such_a_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert keep_freed_memory() is False


def test_cycles_are_looked_for_less_often_and_still_found() -> None:
    before = gc.get_threshold()
    try:
        collect_seldom()
        assert gc.get_threshold() == (50_000, *before[1:])
        assert gc.isenabled()
    finally:
        gc.set_threshold(*before)
