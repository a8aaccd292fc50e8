"""Who is behind a pseudonym: the seam to the map, its in-memory twin, and the outlet that sends windows without names.

The map is kept apart from everything else: who reads windows and alerts need not be able to read it. Knows no server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stream.log import Commit, Out, Outlet, OutletAround, TopicPartition
from windowing.pseudonyms import Pseudonyms


@dataclass(frozen=True, slots=True)
class Revealed:
    """Somebody looked a pseudonym up: when (UTC ms), who by their own word, why, and whether a name was found."""

    at_ms: int
    by: str
    why: str
    pseudonym: str
    known: bool


class IdentityMap(Protocol):
    """Pseudonym to user, and a log of who asked."""

    def keep(self, people: Mapping[str, str]) -> None:
        """Write down who is behind these pseudonyms; what is there already stays true.

        Raises:
            TransientError: the map cannot be written.
        """
        ...

    def look_up(self, pseudonym: str) -> str | None:
        """The user behind a pseudonym, None when the map does not know it.

        Raises:
            TransientError: the map cannot be read.
        """
        ...

    def record(self, revealed: Revealed) -> None:
        """Write into the log that somebody asked.

        Raises:
            TransientError: the log cannot be written.
        """
        ...

    def log(self) -> list[Revealed]:
        """Everybody who asked, oldest first.

        Raises:
            TransientError: the log cannot be read.
        """
        ...

    def forget(self, pseudonyms: Sequence[str], user: str) -> int:
        """Take these pseudonyms, and any other of this user's, out of the map; says how many were there.

        Raises:
            TransientError: the map cannot be written.
        """
        ...


class MemoryIdentities:
    """The in-memory twin."""

    def __init__(self) -> None:
        self.people: dict[str, str] = {}
        self._log: list[Revealed] = []

    def keep(self, people: Mapping[str, str]) -> None:
        """Write down who is behind these pseudonyms."""
        self.people.update(people)

    def look_up(self, pseudonym: str) -> str | None:
        """The user behind a pseudonym."""
        return self.people.get(pseudonym)

    def record(self, revealed: Revealed) -> None:
        """Write into the log that somebody asked."""
        self._log.append(revealed)

    def log(self) -> list[Revealed]:
        """Everybody who asked, oldest first."""
        return list(self._log)

    def forget(self, pseudonyms: Sequence[str], user: str) -> int:
        """Take a user's pseudonyms out of the map."""
        gone = [pseudonym for pseudonym, behind in self.people.items() if pseudonym in pseudonyms or behind == user]
        for pseudonym in gone:
            del self.people[pseudonym]
        return len(gone)


class PseudonymousOutlet(OutletAround):
    """Sends what another outlet would, with windows under pseudonyms.

    The map is written first: nobody shall meet a pseudonym that cannot be looked up. It is written with every window, so that an
    entry which a server lost comes back by itself.
    """

    def __init__(self, outlet: Outlet, windows: str, pseudonyms: Pseudonyms, identities: IdentityMap) -> None:
        """`windows` is the topic whose records are window records."""
        super().__init__(outlet)
        self._windows, self._pseudonyms, self._identities = windows, pseudonyms, identities

    def transact(self, records: Sequence[Out], commits: Mapping[TopicPartition, Commit], group: object) -> None:
        """One transaction. Returns when it is committed.

        Raises:
            TransientError: it failed, or nobody knows, or the map cannot be written.
            FencedError: this group member no longer owns what it commits.
        """
        people: dict[str, str] = {}
        out = [self._masked(record, people) for record in records]
        if people:
            self._identities.keep(people)
        super().transact(out, commits, group)

    def _masked(self, record: Out, people: dict[str, str]) -> Out:
        if record.at.topic != self._windows or record.value is None:
            return record
        masked = self._pseudonyms.window(record.value)
        people[masked.pseudonym] = masked.user
        headers = [(name, masked.id.encode() if name == "ce_id" else value) for name, value in record.headers]
        return Out(record.at, masked.pseudonym.encode(), masked.value, headers)
