"""What the doctor finds of the detector's parts, whole and broken, without loading weights."""

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from daywatch.doctor.detector_facts import Parts
from daywatch.doctor.facts import Missing, Part
from daywatch.settings import load
from detector.models.registry import add
from tests.detector.model_fixtures import needs_models
from tests.detector.models.test_registry import a_base, an_adapter


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def parts(**flags: object) -> Mapping[str, Part]:
    settings = load(flags={name.replace("__", "."): value for name, value in flags.items()}, alone=True)
    found = {name: look() for name, look in Parts(settings, 5.0).needed().items()}
    return {name: part for name, part in found.items() if not isinstance(part, Missing)}


def test_the_baseline_that_comes_with_daywatch_needs_nothing_else() -> None:
    found = parts()
    assert list(found) == ["backend", "baseline"]
    assert all(part.fine for part in found.values())


def test_a_baseline_that_cannot_be_read_is_told_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"no model")
    found = parts(detect__model=tmp_path / "model")["baseline"]
    assert not found.fine
    assert "no model" in found.told
    assert "daywatch train baseline" in found.cure


def test_a_backend_that_does_not_exist_is_told() -> None:
    found = parts(detect__backend="oracle")["backend"]
    assert (found.fine, found.cure) == (False, "use baseline, narrative, remote")


def test_a_directory_of_users_is_looked_at_where_it_is_set(tmp_path: Path) -> None:
    found = parts(window__directory=tmp_path / "gone")["directory"]
    assert not found.fine
    assert found.cure


def test_a_model_that_changed_since_it_was_added_is_told(tmp_path: Path) -> None:
    base = a_base(tmp_path / "base")
    add(str(base), name="mine")
    assert parts(detect__backend="narrative", detect__base="mine", detect__adapter="none")["files"].fine
    (base / "tokenizer.json").write_text("{ }")
    found = parts(detect__backend="narrative", detect__base="mine", detect__adapter="none")["files"]
    assert not found.fine
    assert "tokenizer.json" in found.told
    assert "daywatch models verify mine" in found.cure


def test_an_adapter_of_another_base_is_told(tmp_path: Path) -> None:
    add(str(a_base(tmp_path / "base")), name="mine")
    add(str(an_adapter(tmp_path / "adapter", "?")), name="lora", base="mine")
    add(str(a_base(tmp_path / "other", b"4321")), name="other")
    own = parts(detect__backend="narrative", detect__base="mine", detect__adapter="lora")
    assert own["files"].fine
    assert own["adapter"].fine
    found = parts(detect__backend="narrative", detect__base="other", detect__adapter="lora")["adapter"]
    assert not found.fine
    assert "made for a base with the identity" in found.told


def test_a_model_that_is_not_here_is_told_once_and_what_hangs_on_it_is_unknown() -> None:
    found = parts(detect__backend="narrative", detect__base="/no/such/model", detect__adapter="none")
    assert not found["files"].fine
    assert "adapter" not in found
    assert "memory" not in found


def test_a_model_that_fits_and_one_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    needs_models()
    import torch

    add(str(a_base(tmp_path / "base")), name="mine")
    mine = {"detect__backend": "narrative", "detect__base": "mine", "detect__adapter": "none"}
    assert parts(**mine, detect__device="cpu")["memory"].fine
    if not torch.cuda.is_available():
        found = parts(**mine, detect__device="cuda")["memory"]
        assert not found.fine
        assert "no GPU" in found.told


class _Server(BaseHTTPRequestHandler):
    """A server of models that has one and lets in who has the key."""

    def do_GET(self) -> None:
        may = self.headers.get("authorization") == "Bearer open"
        body = b'{"data": [{"id": "judge"}]}' if may else b"{}"
        self.send_response(200 if may else 401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def test_a_model_server_is_asked_for_its_model_and_for_no_judgement() -> None:
    pytest.importorskip("httpx2", reason="needs the extra llm")
    server = HTTPServer(("127.0.0.1", 0), _Server)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        assert parts(detect__backend="remote", remote__url=url, remote__api_key="open")["server"].told == "it has judge"
        closed = parts(detect__backend="remote", remote__url=url, remote__api_key="wrong")["server"]
        assert not closed.fine
        assert "does not let us in" in closed.told
        assert "wrong" not in closed.told
        other = parts(detect__backend="remote", remote__url=url, remote__api_key="open", remote__model="oracle")["server"]
        assert "does not have 'oracle'" in other.told
    finally:
        server.shutdown()
        server.server_close()
    gone = parts(detect__backend="remote", remote__url=url)["server"]
    assert not gone.fine
    assert not parts(detect__backend="remote")["server"].fine
