"""What a language model has cost, told as it grows. Reads the backend's own account; knows no model."""

import dataclasses
from typing import TYPE_CHECKING

from daywatch.backends import spent_of
from stream.metrics import MODEL_EXPLAINED, MODEL_READ, MODEL_SECONDS, MODEL_SEEN, MODEL_TOKENS
from stream.telemetry import Telemetry

if TYPE_CHECKING:
    from detector.backend import Backend


class ModelMeter:
    """Tells what the account of a backend has grown by since the last reading; nothing for backends without a model."""

    def __init__(self, telemetry: Telemetry, backend: "Backend") -> None:
        self._telemetry, self._spent = telemetry, spent_of(backend)
        self._told = dataclasses.replace(self._spent) if self._spent is not None else None

    def read(self) -> None:
        """Tell what is new."""
        if self._spent is None or self._told is None:
            return
        before, self._told = self._told, dataclasses.replace(self._spent)
        tell = self._telemetry.count
        tell(MODEL_SEEN, self._told.windows - before.windows)
        tell(MODEL_READ, self._told.reached - before.reached)
        tell(MODEL_EXPLAINED, self._told.explained - before.explained)
        tell(MODEL_TOKENS, self._told.prompt_tokens - before.prompt_tokens, direction="prompt")
        tell(MODEL_TOKENS, self._told.answer_tokens - before.answer_tokens, direction="answer")
        tell(MODEL_SECONDS, self._told.seconds - before.seconds)
