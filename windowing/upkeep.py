"""What a window store holds of a partition, as operators see it. Values only; knows no store."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds of a partition. `epoch` is 0 and the texts are empty where nobody has ever claimed it."""

    number: int
    epoch: int = 0
    layout: str = ""
    at: str = ""
    state: str = ""
    panes: tuple[int, ...] = ()
    profiles: int = 0
    bytes: int | None = None
    """Of memory, estimated by the server; None where it does not tell."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The whole server's memory in bytes; `most` is 0 without a limit."""

    used: int
    most: int
