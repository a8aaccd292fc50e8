import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from detector.backend import FixedAnswer, FixedBackend, judged
from detector.narrative.answer import BadAnswer
from detector.narrative.backend import NarrativeBackend
from detector.narrative.calibrated import Combination
from detector.narrative.cascade import Cascade
from detector.narrative.prompt import Composer, Prompt, Shot
from detector.trees import Calibration
from detector.verdict import EventRef, Verdict
from stream.errors import ConfigurationError, PoisonError, TransientError
from stream.kinds import Kind
from tests.detector.narrative.openai_server import KEY
from tests.detector.windows import A_THEFT, window

httpx2 = pytest.importorskip("httpx2", reason="the backend remote needs httpx2 (extra llm)")
from detector.narrative.remote import LEAST, TOLD, RefusedPrompt, Remote, Server  # noqa: E402

SERVER = Path(__file__).parent / "openai_server.py"
GRAVE = Prompt("Judge.", "E1 page: leak site\nE2 file", (EventRef(Kind.HTTP, "{1}"), EventRef(Kind.FILE, "{2}")), 0)
CALM = Prompt("Judge.", "E1 page", (EventRef(Kind.HTTP, "{1}"),), 0)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(SERVER)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


class Waits(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def remote(address: str, model: str | None = "good", waits: Waits | None = None, path: str = "/v1", **more: Any) -> Remote:
    server = Server(f"{address}{path}", model, **{"timeout_s": 10.0, "attempts": 3, **more})
    return Remote(server, wait=waits if waits is not None else Waits())


def seen(address: str) -> Any:
    return httpx2.get(f"{address}/seen").json()


def test_labels_come_with_the_probabilities_that_the_server_tells(address: str) -> None:
    asked = remote(address)
    grave, calm = asked.label([GRAVE, CALM]).tolist()
    assert grave == pytest.approx([0.10 / 0.95, 0.05 / 0.95, 0.80 / 0.95])
    assert calm == pytest.approx([0.9 / 0.95, LEAST, 0.05 / 0.95], abs=1e-4)
    assert asked.provenance["scores"] == "probabilities"


def test_where_it_tells_none_the_answered_label_stands_for_them_and_verdicts_say_so(address: str) -> None:
    for model in ("plain", "unsure"):
        asked = remote(address, model)
        assert asked.label([GRAVE])[0].tolist() == pytest.approx([(1 - TOLD) / 2, (1 - TOLD) / 2, TOLD])
        assert asked.provenance["scores"] == "label"


def test_a_field_that_the_server_does_not_know_is_asked_for_once(address: str) -> None:
    asked = remote(address, "plain")
    before = seen(address)["asked"]["plain"]
    asked.label([GRAVE, CALM])
    assert seen(address)["asked"]["plain"] == before + 2


def test_an_answer_has_the_label_that_was_given_and_places_among_the_aliases(address: str) -> None:
    found = remote(address).explain([GRAVE, GRAVE], ["suspicious", "malicious"])
    assert [(one.risk, one.evidence, one.reason) for one in found] == [
        ("suspicious", (0, 1), "as the server says"),
        ("malicious", (0, 1), "as the server says"),
    ]


def test_the_server_is_asked_for_this_windows_form_and_nothing_random(address: str) -> None:
    shots = (Shot("a day", '{"risk": "normal"}'),)
    remote(address).explain([Prompt("Judge.", "leak site", GRAVE.aliases, 0, shots)], ["malicious"])
    body = seen(address)["last"]
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["risk"]["enum"] == ["malicious"]
    assert schema["properties"]["evidence"]["items"]["enum"] == ["E1", "E2"]
    assert (body["temperature"], body["chat_template_kwargs"]) == (0, {"enable_thinking": False})
    assert [(turn["role"], turn["content"]) for turn in body["messages"]] == [
        ("system", "Judge."), ("user", "a day"), ("assistant", '{"risk": "normal"}'), ("user", "leak site"),
    ]  # fmt: skip


def test_an_answer_out_of_order_is_asked_for_once_more(address: str) -> None:
    assert remote(address, "unordered").explain([GRAVE], ["malicious"])[0].evidence == (0, 1)
    assert [turn["role"] for turn in seen(address)["last"]["messages"]] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("model", ["confused", "foreign", "twice", "garbled", "cut", "other label"])
def test_an_answer_that_breaks_a_rule_twice_is_refused(model: str, address: str) -> None:
    with pytest.raises(BadAnswer):
        remote(address, model).explain([GRAVE], ["malicious"])


def test_a_server_that_does_not_keep_to_schemas_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ConfigurationError, match="does not keep to a JSON schema"):
        remote(address, "chatty")


def test_a_busy_server_is_asked_again_after_the_time_it_names_or_longer(address: str) -> None:
    waits = Waits()
    asked = remote(address, "busy", waits)
    assert asked.label([GRAVE]).shape == (1, 3)
    assert waits == [0.5, 1.0, 0.5, 1.0]


def test_errors_and_pages_of_proxies_are_tried_again(address: str) -> None:
    assert remote(address, "flaky").label([GRAVE]).shape == (1, 3)


@pytest.mark.parametrize(("model", "said"), [("failing", "HTTP 503"), ("hanging up", "Error"), ("slow", "ReadTimeout")])
def test_a_server_that_never_answers_is_worth_another_try_later(model: str, said: str, address: str) -> None:
    with pytest.raises(TransientError, match=f"did not answer 2 times; the last was .*{said}") as error:
        remote(address, model, attempts=2, timeout_s=0.3)
    assert "secret words" not in str(error.value)


def test_a_refused_connection_is_worth_another_try_later() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(TransientError, match="ConnectError"):
            remote(f"http://127.0.0.1:{taken.getsockname()[1]}", attempts=1)


def test_a_refused_prompt_is_poison_and_its_text_is_not_repeated(address: str) -> None:
    asked = remote(address, "filtering")
    with pytest.raises(RefusedPrompt, match="HTTP 400") as error:
        asked.label([Prompt("Judge.", "E1 file roadmap", CALM.aliases, 0)])
    assert "roadmap" not in str(error.value)
    assert asked.label([CALM]).shape == (1, 3)


def test_the_key_is_sent_and_shown_nowhere(address: str) -> None:
    with pytest.raises(ConfigurationError, match=r"remote\.api_key: .*HTTP 401") as error:
        remote(address, "keyed", api_key=lambda: "wrong key")
    assert "wrong key" not in str(error.value)
    asked = remote(address, "keyed", api_key=lambda: KEY)
    assert asked.label([CALM]).shape == (1, 3)
    assert KEY not in f"{asked!r} {vars(asked)!r} {dict(asked.provenance)}"


def test_no_more_questions_are_open_than_allowed_and_answers_keep_their_order(address: str) -> None:
    found = remote(address, concurrency=3).label([GRAVE if place % 3 == 0 else CALM for place in range(30)])
    assert [place for place, row in enumerate(found) if row.argmax() == 2] == list(range(0, 30, 3))
    assert seen(address)["most_open"]["good"] <= 3


def test_model_and_adapter_are_recorded_as_the_server_names_them(address: str) -> None:
    assert {name: remote(address, "adapted").provenance[name] for name in ("model", "base", "adapter")} == {
        "model": "adapted",
        "base": "good",
        "adapter": "adapted",
    }


def test_the_only_model_is_taken_and_an_unknown_one_refused_with_those_there_are(address: str) -> None:
    only = remote(address, None, path="/only")
    assert (only.provenance["model"], only.provenance["base"]) == ("good", "org/good-base")
    with pytest.raises(ConfigurationError, match="has several models; it has .*busy"):
        remote(address, None)
    with pytest.raises(ConfigurationError, match="does not have 'missing'; it has"):
        remote(address, "missing")


def test_a_token_is_taken_for_three_bytes_unless_somebody_counts(address: str) -> None:
    asked = remote(address)
    assert [asked.count(text) for text in ("", "abc", "abcd", "é")] == [0, 1, 2, 1]
    assert Remote(Server(f"{address}/v1", "good"), len).count("abcd") == 4


def test_windows_are_judged_by_a_server_as_by_any_model(address: str) -> None:
    asked = remote(address)
    how = Cascade(1.0, 0.0, 0.8, 0.3, 0.5, Calibration(), Combination())
    backend = NarrativeBackend(asked, Composer("all", 640, asked.count), how, FixedBackend(lambda _: FixedAnswer(score=0.7)), name="remote")
    grave, calm = backend.judge([window(A_THEFT), window(user="BOB")])
    assert (grave.label, grave.by, len(grave.cited), grave.reason) == ("malicious", "remote", 2, "as the server says")
    assert grave.provenance["model"] == "good"
    assert calm.score < grave.score


def test_one_window_that_the_server_refuses_does_not_take_the_others_down(address: str) -> None:
    asked = remote(address, "filtering")
    bad = window([event | {"filename": "R:/roadmap.pdf"} if event["kind"] == "file" else event for event in A_THEFT], user="BOB")
    how = Cascade(1.0, 0.0, 0.8, 0.3, 0.5, Calibration(), Combination())
    backend = NarrativeBackend(asked, Composer("all", 640, asked.count), how, FixedBackend(lambda _: FixedAnswer(score=0.7)))
    found = judged(backend, [window(A_THEFT), bad, window(A_THEFT, user="CYD")])
    assert [isinstance(one, Verdict) for one in found] == [True, False, True]
    assert isinstance(found[1], PoisonError)
