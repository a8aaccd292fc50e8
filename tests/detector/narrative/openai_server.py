"""A server of chat completions as a process of its own; what its models are like is in their names. Prints its port, then serves.

python openai_server.py
"""

import json
import math
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MODELS = (
    "good", "plain", "unsure", "busy", "failing", "flaky", "slow", "hanging up", "unordered", "confused", "foreign", "twice", "garbled",
    "chatty", "filtering", "keyed", "cut", "other label",
)  # fmt: skip
KEY = "open sesame"


class Handler(BaseHTTPRequestHandler):
    """Answers as the model that is asked would."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()
    open_now: ClassVar[Counter[str]] = Counter()
    most_open: ClassVar[Counter[str]] = Counter()
    last: ClassVar[dict[str, Any]] = {}

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            entries: list[dict[str, Any]] = [{"id": name, "object": "model"} for name in MODELS]
            entries.append({"id": "adapted", "object": "model", "root": "/adapters/soc", "parent": "good"})
            self.say(200, {"object": "list", "data": entries})
        elif self.path == "/only/models":
            self.say(200, {"data": [{"id": "good", "root": "org/good-base"}]})
        elif self.path == "/seen":
            self.say(200, {"asked": dict(self.asked), "most_open": dict(self.most_open), "last": Handler.last})
        else:
            self.say(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.lock:
            self.open_now[body["model"]] += 1
            self.most_open[body["model"]] = max(self.most_open[body["model"]], self.open_now[body["model"]])
            self.asked[body["model"]] += 1
            Handler.last = body
            number = self.asked[body["model"]]
        try:
            self.complete(body, number)
        finally:
            with self.lock:
                self.open_now[body["model"]] -= 1

    def complete(self, body: Mapping[str, Any], number: int) -> None:
        model, user = body["model"], body["messages"][-1]["content"]
        match model:
            case "busy" if number % 3:
                return self.say(429, {"error": {"message": "busy"}}, {"retry-after": "0.01"})
            case "flaky" if number % 3 == 1:
                return self.say(500, {"error": {"message": user}})
            case "flaky" if number % 3 == 2:
                return self.raw(200, b"<html>a proxy's page</html>")
            case "failing":
                return self.say(503, {"error": {"message": f"secret words: {user}"}})
            case "slow":
                time.sleep(3.0)
            case "hanging up":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return None
            case "filtering" if "roadmap" in user:
                return self.say(400, {"error": {"message": f"content filter: {user}"}})
            case "keyed" if self.headers.get("authorization") != f"Bearer {KEY}":
                return self.say(401, {"error": {"message": "who are you?"}})
            case "plain":
                for field in ("chat_template_kwargs", "logprobs"):
                    if field in body:
                        return self.say(400, {"error": {"message": f"unknown field {field}"}})
            case "good" | "adapted":
                time.sleep(0.02)
        return self.say(200, {"id": "x", "choices": [self.choice(body)]})

    def choice(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer, told in tokens of a few characters with their probabilities."""
        model, text = body["model"], self.answer(body)
        found: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if model == "cut" and "evidence" in text:
            found |= {"message": {"role": "assistant", "content": text[:-4]}, "finish_reason": "length"}
        if body.get("logprobs") and model != "plain":
            label = json.loads(text)["risk"] if text.startswith("{") else ""
            found["logprobs"] = {"content": list(tokens(text, label, sure=model != "unsure"))}
        return found

    @staticmethod
    def answer(body: Mapping[str, Any]) -> str:
        model, schema = body["model"], body["response_format"]["json_schema"]["schema"]
        fields = schema["properties"]
        user = next(message["content"] for message in body["messages"][::-1] if "Again" not in message["content"][:6])
        again = len([message for message in body["messages"] if message["role"] == "assistant"])
        if model == "chatty":
            return "Sure! I think that day is fine."
        if "evidence" not in fields:
            return json.dumps({"risk": "malicious" if "leak site" in user else "normal"}, separators=(",", ":"))
        label = fields["risk"]["enum"][0] if model != "other label" else "normal"
        evidence = {
            "unordered": ["E1", "E2"] if again else ["E2", "E1"], "confused": ["E2", "E1"], "foreign": ["E99"], "twice": ["E1", "E1"],
        }.get(model, fields["evidence"]["items"].get("enum", [])[:2])  # fmt: skip
        if model == "garbled":
            return '{"risk": "malicious", "evidence": ['
        return json.dumps({"risk": label, "evidence": evidence, "reason": "as the server says"})

    def say(self, status: int, document: object, headers: Mapping[str, str] | None = None) -> None:
        self.raw(status, json.dumps(document).encode(), headers)

    def raw(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # whoever asked did not wait


def tokens(text: str, label: str, sure: bool) -> Any:
    """The text in tokens, cut right where the label begins within a token as tokenizers do: quote and first letters together."""
    start = text.find(label) if label else -1
    parts = [text] if start < 1 else [text[: start - 1], text[start - 1 : start + 2], text[start + 2 :]]
    for part in parts:
        likely = [{"token": part, "logprob": -0.01}]
        if part.startswith('"') and start > 0 and part == parts[1]:
            others = (
                {'"mal': 0.70, '"m': 0.10, '"nor': 0.10, '"sus': 0.05, "{": 0.02} if label == "malicious" else {'"n': 0.9, '"mal': 0.05}
            )
            if not sure:
                others = {"no idea": 0.9}
            likely = [{"token": token, "logprob": math.log(share)} for token, share in others.items()]
        yield {"token": part, "logprob": likely[0]["logprob"], "top_logprobs": likely}


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
