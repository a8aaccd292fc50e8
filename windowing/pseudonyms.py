r"""Keyed names in place of people's names: a window record that names nobody, and is judged as the plain one would be.

A pseudonym is an HMAC-SHA-256 of the name under a secret key, so that the same person has the same one everywhere and in every run,
and nobody can try out names without the key. What detectors compare is kept: hosts, endings and kinds of pages, which names two
addresses share, and the partition that a user's records belong to. Pure; knows no broker, no store and no settings.

    ana.wells@dtaa.com        ->  kqzrtwpd.204815@dtaa.com            names of four letters and more, each on its own, then the rest
    ana.wells@gmail.com       ->  kqzrtwpd.917402@gmail.com
    C:\Users\AWL0042\a.doc       ->  C:\Users\u-f3qa-…-0\a.doc              the user's own names only
"""

import base64
import hmac
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from stream.errors import PipelineError
from stream.partitioner import partition_of
from windowing.domains import Category, category_of_host, category_of_words, is_personal
from windowing.record import BadWindow, content_digest, window_id

PATTERN: Final = re.compile(rb"u-([a-z2-7]{4})-([a-z2-7]{16})-[0-9]+")
"""A user's pseudonym wherever it stands: groups are the key's id and what the name alone decides."""

_LETTERS: Final = "bcdfghjklmnpqrstvwxz"  # no vowel, so that no word comes about that a detector looks for
_TOKEN: Final = 8
_REMEMBERED: Final = 131_072
# a local part has at most 64 characters by the rules of mail; the bound also keeps hostile texts from costing much
_ADDRESS: Final = re.compile(r"([^\s@;,:/\\?#&=<>()\[\]\"']{1,64})(@|%40)([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_URL: Final = re.compile(r"((?:[^/?#]*://)?)([^/?#]*)(.*)", re.DOTALL)
_FEWEST_LETTERS: Final = 4  # as where addresses are compared by their names
_FEWEST_OF_A_USER: Final = 3


class Pseudonymous(NamedTuple):
    """A window record without names: whose it is, and what it became."""

    user: str
    pseudonym: str
    id: str
    value: bytes


class OtherKeyError(PipelineError):
    """A pseudonym was made with another key than the one in hand."""


class Pseudonyms:
    """Pseudonyms under one key, for one number of partitions."""

    def __init__(self, key: bytes, partitions: int, *, machines: bool = False) -> None:
        """Use a key.

        Args:
            key: secret; who has it can find out a user's pseudonym, and with a list of users everybody's.
            partitions: of the namespace's topics; a pseudonym belongs to the same one as the name.
            machines: whether machines' names are replaced, too.
        """
        self._key, self._partitions, self._machines = key, partitions, machines
        self.key_id: Final = self._base32("key", "id")[:4]
        """Tells keys apart, and says nothing of them."""
        # bounded per instance: addresses come without end
        self.user = lru_cache(_REMEMBERED)(self._user)
        self.name = lru_cache(_REMEMBERED)(self._name)
        self.address = lru_cache(_REMEMBERED)(self._address)
        self.machine = lru_cache(_REMEMBERED)(self._machine)
        self._own_names = lru_cache(8_192)(_words_pattern)

    # names -----------------------------------------------------------------------------------------------------------

    def stem(self, user: str) -> str:
        """What the name alone decides of a pseudonym; the rest depends on the number of partitions."""
        return f"u-{self.key_id}-{self._base32('user', user)[:16]}"

    def names_back(self, users: Iterable[str]) -> Callable[[bytes], bytes]:
        """Puts these users' names into records again, wherever their pseudonyms stand; others' stay.

        What it returns raises OtherKeyError for a record with a pseudonym that another key has made.
        """
        known = {self.stem(user).encode(): orjson.dumps(user)[1:-1] for user in users}

        def name(found: re.Match[bytes]) -> bytes:
            if found[1] != self.key_id.encode():
                raise OtherKeyError(
                    f"a record has a pseudonym that the key {found[1].decode()} has made, and privacy.key is {self.key_id}: give that key"
                )
            return known.get(found[0].rpartition(b"-")[0], found[0])

        return lambda record: PATTERN.sub(name, record)

    def _user(self, user: str) -> str:
        """The pseudonym of a user: it lies in the user's own partition, as workers check it of every key."""
        stem, wanted = self.stem(user), partition_of(user.encode(), self._partitions)
        number = 0
        while partition_of(f"{stem}-{number}".encode(), self._partitions) != wanted:
            number += 1
        return f"{stem}-{number}"

    def _name(self, name: str) -> str:
        """Letters for a name; distinct ones for distinct names, whatever their case."""
        number, letters = self._number("name", name.lower()), []
        for _ in range(_TOKEN):
            number, place = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[place])
        return "".join(letters)

    def _address(self, address: str) -> str:
        """An e-mail address with the same host: its names one by one, then digits for all of it.

        Whether two addresses share a name, which is how mail to oneself is noticed, is as before.
        """
        lowered = address.lower()
        local, at, host = lowered.rpartition("@")
        if not at:
            # no address; the name of a well-known site names nobody and means something to a detector
            listed = category_of_host(lowered) is not Category.ORDINARY or is_personal(lowered)
            return lowered if listed else self.name(lowered)
        # groups of three letters are too short to be taken for a name that two addresses share
        names = [self.name(name) for name in _names(local)] or ["-".join(re.findall("...", self.name(lowered) + "x"))]
        return f"{'.'.join(names)}.{self._number('address', lowered) % 1_000_000:06d}@{host}"

    def _machine(self, pc: str) -> str:
        return f"pc-{self.name(pc)}" if pc else ""

    def _mac(self, what: str, text: str) -> bytes:
        return hmac.digest(self._key, f"daywatch.{what}\0{text}".encode("utf-8", "surrogatepass"), "sha256")

    def _number(self, what: str, text: str) -> int:
        return int.from_bytes(self._mac(what, text)[:16], "big")

    def _base32(self, what: str, text: str) -> str:
        return base64.b32encode(self._mac(what, text)).decode().lower()

    # records ---------------------------------------------------------------------------------------------------------

    def window(self, value: bytes) -> Pseudonymous:
        """A window record with pseudonyms, and an id and digest that follow from them.

        Raises:
            BadWindow: it is no window record.
        """
        try:
            record = orjson.loads(value)
            user = record["user"]
            return self._window(record, user)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise BadWindow("a window record without a part that every one has") from error

    def _window(self, record: dict[str, Any], user: str) -> Pseudonymous:
        pseudonym = self.user(user)
        new: dict[str, list[str]] = record["new"]
        own = self._own(user, record["events"], new)
        record["user"] = pseudonym
        record["id"] = window_id(pseudonym, record["start"], record["end"])
        bare = {text for text in new.get("recipient", ()) if "@" not in text}
        for event in record["events"]:
            bare.update(text for text in _parts(event.get("to"), event.get("cc"), event.get("bcc")) if "@" not in text)
            self._event(event, user, own)
        for dimension, values in new.items():
            new[dimension] = [self._item(dimension, item, bare) for item in values]
        del record["digest"]
        body = orjson.dumps(record)[:-1]
        return Pseudonymous(user, pseudonym, record["id"], b'%s,"digest":"%s"}' % (body, content_digest(body).encode()))

    def _own(self, user: str, events: Iterable[dict[str, Any]], new: dict[str, list[str]]) -> re.Pattern[str] | None:
        """Finds the user's own names: what they log on as, and the names in the addresses that they write from."""
        senders = [event["from"] for event in events if event.get("from")] + new.get("sender", [])
        names = {name for sender in senders for name in _names(sender.lower().rpartition("@")[0])}
        return self._own_names(frozenset(names | ({user.lower()} if len(user) >= _FEWEST_OF_A_USER else set())))

    def _event(self, event: dict[str, Any], user: str, own: re.Pattern[str] | None) -> None:
        if self._machines:
            event["pc"] = self.machine(event["pc"])
        for name, value in event.items():
            match name:
                case "to" | "cc" | "bcc":
                    event[name] = ";".join(self.address(part) for part in _parts(value))
                case "from":
                    event[name] = self.address(value)
                case "filename":
                    event[name] = self._file(value, user, own)
                case "url":
                    event[name] = self._url(value, user, own)
                case "content":
                    event[name] = self._text(self._addresses_in(value), user, own)

    def _item(self, dimension: str, item: str, bare: set[str]) -> str:
        """An entry of what was new to the user's profile."""
        match dimension:
            case "sender" | "recipient":
                return self.address(item)
            case "mail_domain":
                return self.address(item) if item in bare else item
            case "pc" | "drive_pc" if self._machines:
                return self.machine(item)
            case _:
                return item

    def _addresses_in(self, text: str) -> str:
        if "@" not in text and "%40" not in text:
            return text
        return _ADDRESS.sub(lambda found: self._found(found[1], found[2], found[3]), text)

    def _found(self, local: str, at: str, host: str) -> str:
        """An address in a text; its host stays as it was written."""
        return self.address(f"{local}@{host}").rpartition("@")[0] + at + host

    def _text(self, text: str, user: str, own: re.Pattern[str] | None) -> str:
        """A text without the user's own names."""
        if own is None:
            return text
        return own.sub(lambda found: self.user(user) if found[0].lower() == user.lower() else self.name(found[0].lower()), text)

    def _file(self, path: str, user: str, own: re.Pattern[str] | None) -> str:
        """A path without names; the ending says what a file is, and stays."""
        shown = self._addresses_in(path)
        stem, dot, ending = shown.rpartition(".")
        if not dot or "/" in ending or "\\" in ending:
            return self._text(shown, user, own)
        return self._text(stem, user, own) + dot + ending

    def _url(self, url: str, user: str, own: re.Pattern[str] | None) -> str:
        """A page's address without names, behind its host; one that would become another sort of page stays as it is."""
        begin, host, path = _URL.fullmatch(url).groups()  # type: ignore[union-attr]  # matches every text
        # what stands before an @ in the authority is a name and perhaps a password
        name, at, server = host.rpartition("@")
        changed = f"{begin}{self.name(name) if at else ''}{at}{server}{self._text(self._addresses_in(path), user, own)}"
        return changed if _sort(changed) == _sort(url) else url


def _sort(url: str) -> tuple[Category, bool]:
    """What words in a page's address tell a detector."""
    lowered = url.lower()
    return category_of_words(lowered), "upload" in lowered or "submit" in lowered


def _parts(*lists: str | None) -> list[str]:
    """The addresses of semicolon-joined lists, lower case, as detectors part them."""
    return [part.strip().lower() for joined in lists if joined for part in joined.split(";") if part.strip()]


def _names(local: str) -> list[str]:
    """The names in the local part of an address, in their order, as detectors find them."""
    cleaned = "".join(letter if letter.isalpha() else " " for letter in local)
    return [name for name in cleaned.split() if len(name) >= _FEWEST_LETTERS]


def _words_pattern(words: frozenset[str]) -> re.Pattern[str] | None:
    """Finds these words where they stand alone, the longest first."""
    if not words:
        return None
    either = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return re.compile(rf"(?<![^\W_])(?:{either})(?![^\W_])", re.IGNORECASE)
