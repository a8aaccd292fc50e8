"""A model on a server that speaks OpenAI's chat completions with structured output: vLLM, SGLang, llama.cpp. An adapter: uses HTTP.

    label     {"risk": "...} under a schema of one field; the probabilities of the label's first token, where the server tells them
    explain   the whole answer under a schema of that label and this window's aliases; order and distinctness are checked here

A schema cannot ask for ascending aliases, so an answer that is out of order is asked for once more, and is then refused. A server that
tells no probabilities gives `TOLD` to the label it answers: such scores can be ranked only roughly, and verdicts say so (`scores`).
The key is sent and nowhere else: not in errors, not in a repr. What a server says of an error is not repeated, it may hold the prompt.
"""

import math
import re
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np

from detector.narrative.answer import LABELS, Answer, BadAnswer, json_schema, parsed
from detector.narrative.prompt import Prompt
from detector.trees import Floats
from detector.verdict import Label
from stream.errors import ConfigurationError, PoisonError, TransientError

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

TOLD: Final = 0.9
"""Probability of the answered label where the server tells none; the others share the rest."""
LEAST: Final = 1e-5
"""Probability of a label that is not among the likeliest tokens that the server names."""
_TOP: Final = 20
_LABEL_TOKENS: Final = 16
_ANSWER_TOKENS: Final = 200
_ALIAS_TOKENS: Final = 6
_MOST_WAIT_S: Final = 30.0
_AGAIN: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_VALUE: Final = re.compile(r'"risk"\s*:\s*"')
_TRIAL: Final = Prompt("You judge days. Answer in JSON: risk (normal, suspicious or malicious).", "An ordinary day.", (), 0)
_ORDER: Final = "Answer again: evidence lists aliases of the events above, ascending, each at most once."


class RefusedPrompt(PoisonError):
    """The server refuses this prompt, whatever the reason: too long, filtered, of a form it cannot take."""

    code: ClassVar[str] = "refused_prompt"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is and how patient to be with it; the key is not shown."""

    url: str
    model: str | None = None
    api_key: Callable[[], str | None] = lambda: None
    timeout_s: float = 60.0
    attempts: int = 5
    concurrency: int = 8


class Remote:
    """Judges prompts with a model on a server; implements `NarrativeModel`."""

    name = "remote"

    def __init__(
        self,
        server: Server,
        count: Callable[[str], int] | None = None,
        *,
        wait: Callable[[float], None] = time.sleep,
        adapter: str | None = None,
        trial: bool = True,
    ) -> None:
        """Ask the server what it has.

        Args:
            server: where it is.
            count: tokens of a text; without it a token is taken to be three bytes, which is on the safe side of English.
            wait: how to pass seconds.
            adapter: what to call the adapter, where the server does not say.
            trial: whether to ask a first question, which shows what scores will rest on; False for a mere look.

        Raises:
            ConfigurationError: it does not have the model, does not let us in, or does not keep to schemas.
            TransientError: it does not answer.
        """
        self._server, self._wait = server, wait
        self._http = _client(server)
        self._pool = ThreadPoolExecutor(server.concurrency, "remote")
        self.close = weakref.finalize(self, _let_go, self._http, self._pool)
        """Let go of connections and threads; comes by itself when nobody asks any more."""
        self._count = count or _guessed
        self._optional: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}, "logprobs": True, "top_logprobs": _TOP}
        self._model, said = self._chosen(adapter)
        self.provenance: Mapping[str, str] = {**said, "precision": "as served", "scores": self._tried() if trial else "untried"}
        """What the server says of its model, and whether it tells probabilities. It tells no hashes."""

    def count(self, text: str) -> int:
        """How many tokens a text has, or about how many."""
        return self._count(text)

    # what is asked ---------------------------------------------------------------------------------------------------

    def label(self, prompts: Sequence[Prompt]) -> Floats:
        """Probabilities over `LABELS`, shape (n, 3).

        Raises:
            RefusedPrompt: the server refuses one of the prompts.
            BadAnswer: an answer names no label.
            TransientError: the server does not answer, or is too busy.
        """
        return np.array(self._all(self._label, prompts), np.float64).reshape(len(prompts), len(LABELS))

    def explain(self, prompts: Sequence[Prompt], labels: Sequence[Label]) -> list[Answer]:
        """Evidence and reason for labels that are given, in order.

        Raises:
            RefusedPrompt: the server refuses one of the prompts.
            BadAnswer: an answer breaks a rule, and does so again when asked once more.
            TransientError: the server does not answer, or is too busy.
        """
        return self._all(lambda asked: self._explain(*asked), list(zip(prompts, labels, strict=True)))

    def _all(self, ask: Callable[[Any], T], questions: Sequence[Any]) -> list[T]:
        """Ask side by side, answer in order; after the first failure nothing new is asked."""
        futures = [self._pool.submit(ask, question) for question in questions]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _tried(self) -> str:
        """Ask for a label before there is a window: what scores will rest on, `probabilities` or the `label` alone."""
        try:
            choice, start, _ = self._risk(_messages(_TRIAL))
        except PoisonError as error:
            raise ConfigurationError("remote.url: the server does not keep to a JSON schema (response_format: json_schema)") from error
        return "probabilities" if _told(choice, start) is not None else "label"

    def _label(self, prompt: Prompt) -> list[float]:
        choice, start, label = self._risk(_messages(prompt))
        return _told(choice, start) or [TOLD if one == label else (1 - TOLD) / 2 for one in LABELS]

    def _risk(self, messages: list[dict[str, str]]) -> tuple[Mapping[str, Any], int, Label]:
        """The answer to a question for the label alone, where in its text the label begins, and the label."""
        schema = {
            "type": "object",
            "properties": {"risk": {"type": "string", "enum": list(LABELS)}},
            "required": ["risk"],
            "additionalProperties": False,
        }
        choice = self._asked(messages, schema, "risk", _LABEL_TOKENS, ("chat_template_kwargs", "logprobs", "top_logprobs"))
        text = _text(choice)
        found = _VALUE.search(text)
        label = next((label for label in LABELS if found is not None and text.startswith(label, found.end())), None)
        if found is None or label is None:
            raise BadAnswer("the answer names no risk")
        return choice, found.end(), label

    def _explain(self, prompt: Prompt, label: Label) -> Answer:
        n_aliases = len(prompt.aliases)
        most = _ANSWER_TOKENS + _ALIAS_TOKENS * n_aliases
        messages = _messages(prompt)
        for last in (False, True):
            choice = self._asked(messages, json_schema(n_aliases, label), "answer", most, ("chat_template_kwargs",))
            text = _text(choice)
            try:
                if choice.get("finish_reason") == "length":
                    raise BadAnswer("the answer was cut off")
                answer = parsed(text, n_aliases)
                if answer.risk != label:
                    raise BadAnswer(f"asked why the window is {label}, the server answered {answer.risk}")
            except BadAnswer:
                if last:
                    raise
                messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": _ORDER}]
            else:
                return answer
        raise AssertionError  # the last round returns or raises

    # how it is asked -------------------------------------------------------------------------------------------------

    def _asked(
        self, messages: list[dict[str, str]], schema: Mapping[str, Any], name: str, most: int, optional: Sequence[str]
    ) -> Mapping[str, Any]:
        """The first choice of a completion. What a server does not know is left out from then on, if it can be done without."""
        while True:
            extras = {field: self._optional[field] for field in optional if field in self._optional}
            body = {
                "model": self._model,
                "messages": messages,
                "temperature": 0,
                "seed": 0,
                "max_tokens": most,
                "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}},
                **extras,
            }
            response = self._sent("POST", "/chat/completions", body)
            if response.status_code == 200:
                return _choice(response)
            if response.status_code not in (400, 422):
                raise self._refusal(response.status_code)
            known = [field for field in extras if field in response.text and field in self._optional]
            if not known:
                raise RefusedPrompt(f"the server refuses the prompt (HTTP {response.status_code})")
            for field in known:
                self._optional.pop(field, None)

    def _sent(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> "httpx2.Response":
        """An answer that is worth reading, after as many attempts as it takes and is allowed.

        Raises:
            TransientError: there was none.
        """
        import httpx2

        said = ""
        for attempt in range(self._server.attempts):
            asked_s = 0.0
            try:
                response = self._http.request(method, path, json=body)
                if response.status_code not in _AGAIN and (response.status_code != 200 or _is_object(response)):
                    return response
                said = f"HTTP {response.status_code}" if response.status_code != 200 else "an answer that is not JSON"
                asked_s = _retry_after(response)
            except httpx2.TransportError as error:
                # its text may name the address, never what was sent
                said = type(error).__name__
            if attempt + 1 < self._server.attempts:
                self._wait(min(max(0.5 * 2**attempt, asked_s), _MOST_WAIT_S))
        raise TransientError(f"remote.url: the server did not answer {self._server.attempts} times; the last was {said}")

    def _chosen(self, adapter: str | None) -> tuple[str, dict[str, str]]:
        """The model to ask, and what the server says it is."""
        response = self._sent("GET", "/models")
        wanted = self._server.model
        if response.status_code in (404, 405, 501) and wanted is not None:
            return wanted, _named({}, wanted, adapter)
        if response.status_code != 200:
            raise self._refusal(response.status_code)
        listed = response.json().get("data")
        known = {str(entry["id"]): entry for entry in listed or () if isinstance(entry, dict) and "id" in entry}
        if wanted is None and len(known) == 1:
            wanted = next(iter(known))
        if wanted is None or wanted not in known:
            names = ", ".join(sorted(known)[:5]) or "none"
            what = f"does not have {wanted!r}" if wanted is not None else "has several models"
            raise ConfigurationError(f"remote.model: the server {what}; it has {names}")
        return wanted, _named(known[wanted], wanted, adapter)

    def _refusal(self, status: int) -> ConfigurationError:
        if status in (401, 403):
            return ConfigurationError(f"remote.api_key: the server does not let us in (HTTP {status})")
        if status == 404:
            return ConfigurationError("remote.url, remote.model: the server does not know the model or the address (HTTP 404)")
        return ConfigurationError(f"remote.url: the server does not serve chat completions (HTTP {status})")


def _client(server: Server) -> "httpx2.Client":
    try:
        import httpx2
    except ImportError as error:
        raise ConfigurationError("the backend remote needs httpx2: pip install 'daywatch[llm]'") from error
    key = server.api_key()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    limits = httpx2.Limits(max_connections=server.concurrency, max_keepalive_connections=server.concurrency)
    return httpx2.Client(base_url=server.url.rstrip("/"), headers=headers, timeout=server.timeout_s, limits=limits)


def _let_go(http: "httpx2.Client", pool: ThreadPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    http.close()


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    """The turns of a prompt, as `chat.rendered` gives them to a model here."""
    turns = [turn for shot in prompt.shots for turn in (("user", shot.user), ("assistant", shot.answer))]
    return [{"role": role, "content": text} for role, text in (("system", prompt.system), *turns, ("user", prompt.user))]


def _named(entry: Mapping[str, Any], wanted: str, adapter: str | None) -> dict[str, str]:
    """What to call base and adapter: vLLM and SGLang list an adapter as a model of its own, with the base as its parent."""
    parent = entry.get("parent")
    base = str(parent or entry.get("root") or wanted)
    own = adapter or (wanted if parent else None)
    return {"model": wanted, "base": base} | ({"adapter": own} if own else {})


def _is_object(response: "httpx2.Response") -> bool:
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return False


def _retry_after(response: "httpx2.Response") -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if re.fullmatch(r"\d{1,6}(\.\d+)?", text) else 0.0


def _choice(response: "httpx2.Response") -> Mapping[str, Any]:
    try:
        choice = response.json()["choices"][0]
        if not isinstance(choice["message"]["content"], str):
            raise TypeError
    except (KeyError, IndexError, TypeError) as error:
        raise BadAnswer("the server's answer holds no message") from error
    found: Mapping[str, Any] = choice
    return found


def _text(choice: Mapping[str, Any]) -> str:
    return str(choice["message"]["content"])


def _told(choice: Mapping[str, Any], start: int) -> list[float] | None:
    """Probabilities of the labels by the likeliest tokens at the label's first character; None where the server tells none.

    Labels begin with different letters, so a token that begins one begins no other. Servers report what the model would have said
    without the schema: what is no label's beginning is left out, and the rest adds up to one.
    """
    at, tokens = 0, (choice.get("logprobs") or {}).get("content") or ()
    for token in tokens:
        text = str(token.get("token", ""))
        if at <= start < at + len(text):
            return _shares(token.get("top_logprobs") or (), text[: start - at])
        at += len(text)
    return None


def _shares(likely: Sequence[Mapping[str, Any]], before: str) -> list[float] | None:
    mass = dict.fromkeys(LABELS, 0.0)
    for one in likely:
        text, logprob = str(one.get("token", "")), one.get("logprob")
        begins = text[len(before) :] if text.startswith(before) else ""
        label = next((label for label in LABELS if begins and (label.startswith(begins) or begins.startswith(label))), None)
        if label is not None and isinstance(logprob, int | float) and math.isfinite(logprob):
            mass[label] += math.exp(logprob)
    whole = sum(mass.values())
    if whole <= 0:
        return None
    kept = [max(mass[label] / whole, LEAST) for label in LABELS]
    return [one / sum(kept) for one in kept]


def _guessed(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // 3)
