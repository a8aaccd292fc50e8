"""Made-up events of our five kinds, as lines with labels: what the classifier learns about windows' own events.

What the label of an event rests on:

    logon, device      Normal: whether the hour, the machine or the drive is unusual is for the window to say
    file               Suspicious: data leaves by a drive (in CERT every row is a copy onto one); Malicious: spying tools on it
    email              Suspicious: attachments to private accounts, anything to a competitor, threats and grievances; else Normal
    http               Malicious: handing over to a leak site, fetching a spying tool; Suspicious: reading those, job hunting,
                       uploads to cloud storage; else Normal

Each subject's hosts are dealt out to several templates, so that a split by template is one by host. Knows no file and no model.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.logline.labels import MALICIOUS, NORMAL, SUSPICIOUS
from detector.logline.lines import event_line
from detector.logline.slots import filled
from stream.synth.words import (
    COMPANY,
    COMPETITORS,
    EXTENSIONS,
    FILE_HEADERS,
    FIRST_NAMES,
    GENERAL_WORDS,
    LAST_NAMES,
    PARTNERS,
    PERSONAL_PROVIDERS,
    SENSITIVE,
    SITES,
    TAIL_ENDS,
    TAIL_STEMS,
    TOPICS,
)

_HANDS: Final = 4
"""Templates that a subject's hosts are dealt out to."""
_DRIVES: Final = ("", "R:\\", "E:\\")
_WORK: Final = ("manufacturing", "engineering", "science", "software", "sales", "finance", "contracts", "people", "office", "systems")
_ORDINARY: Final = tuple(topic for topic in SITES if topic not in SENSITIVE)


@dataclass(frozen=True, slots=True)
class Row:
    """A kind of event that is made anew for each line: the name of its template, its system, its label."""

    name: str
    system: str
    label: str
    event: Callable[[random.Random], dict[str, Any]]

    def line(self, chance: random.Random) -> str:
        """One such event as its line."""
        return event_line(self.event(chance))


def rows() -> list[Row]:
    """All kinds of events that there are."""
    found = [
        Row("logon", "cert-logon", NORMAL, lambda chance: {"kind": "logon", "activity": chance.choice(("Logon", "Logoff"))}),
        Row("device", "cert-device", NORMAL, lambda chance: {"kind": "device", "activity": chance.choice(("Connect", "Disconnect"))}),
    ]
    found += [Row(f"file-{topic}", "cert-file", SUSPICIOUS, _file(topic, EXTENSIONS)) for topic in _WORK]
    found += [Row(f"file-spyware-{hand}", "cert-file", MALICIOUS, _file("spyware", ("exe", "zip"), hand)) for hand in range(_HANDS)]
    found += _mails()
    for topic in _ORDINARY:
        found.append(Row(f"http-{topic}", "cert-http", NORMAL, _page(SITES[topic].split(), topic, "")))
    tail = [f"{stem}{end}.com" for stem in TAIL_STEMS for end in TAIL_ENDS]
    found += [Row(f"http-tail-{hand}", "cert-http", NORMAL, _page(tail[hand::_HANDS], "", "")) for hand in range(_HANDS)]
    for hand in range(_HANDS):
        leak, spyware = SITES["leak"].split()[hand::_HANDS], SITES["spyware"].split()[hand::_HANDS]
        jobs, cloud = SITES["jobs"].split()[hand::_HANDS], SITES["cloud"].split()[hand::_HANDS]
        found += [
            Row(f"http-leak-upload-{hand}", "cert-http", MALICIOUS, _page(leak, "leak", "upload")),
            Row(f"http-leak-{hand}", "cert-http", SUSPICIOUS, _page(leak, "leak", "")),
            Row(f"http-spyware-get-{hand}", "cert-http", MALICIOUS, _page(spyware, "spyware", "download", "exe")),
            Row(f"http-spyware-{hand}", "cert-http", SUSPICIOUS, _page(spyware, "spyware", "")),
            Row(f"http-jobs-{hand}", "cert-http", SUSPICIOUS, _page(jobs, "jobs", "")),
            Row(f"http-cloud-upload-{hand}", "cert-http", SUSPICIOUS, _page(cloud, "cloud", "upload")),
            Row(f"http-cloud-{hand}", "cert-http", NORMAL, _page(cloud, "cloud", "")),
        ]
    return found


def _mails() -> list[Row]:
    found = []
    for hand in range(_HANDS):
        topics = _WORK[hand::_HANDS]
        private, rivals, partners = PERSONAL_PROVIDERS[hand::_HANDS], COMPETITORS[hand::_HANDS] or COMPETITORS[:1], PARTNERS[hand::_HANDS]
        found += [
            Row(f"email-inside-{hand}", "cert-email", NORMAL, _mail((COMPANY,), topics, 0, 3)),
            Row(f"email-partner-{hand}", "cert-email", NORMAL, _mail(partners, topics, 0, 2)),
            Row(f"email-friend-{hand}", "cert-email", NORMAL, _mail(private, ("social", "travel", "food", "sport")[hand : hand + 1], 0, 0)),
            Row(f"email-home-{hand}", "cert-email", SUSPICIOUS, _mail(private, topics, 1, 6)),
            Row(f"email-rival-{hand}", "cert-email", SUSPICIOUS, _mail(rivals, ("jobs", *topics), 0, 3)),
        ]
    found += [Row(f"email-{topic}", "cert-email", SUSPICIOUS, _mail((COMPANY,), (topic,), 0, 0)) for topic in ("grievance", "panic")]
    return found


def _words(topics: Sequence[str], chance: random.Random, least: int = 6, most: int = 24) -> str:
    own = [word for topic in topics for word in TOPICS[topic].split()] or list(GENERAL_WORDS)
    return " ".join(
        chance.choice(own) if chance.random() < 0.5 else chance.choice(GENERAL_WORDS) for _ in range(chance.randint(least, most))
    )


def _file(topic: str, endings: Sequence[str], hand: int = 0) -> Callable[[random.Random], dict[str, Any]]:
    words = TOPICS[topic].split()
    own = words[hand::_HANDS] if topic == "spyware" else words

    def event(chance: random.Random) -> dict[str, Any]:
        ending = chance.choice(endings)
        header = FILE_HEADERS[EXTENSIONS.index(ending)]
        stem = chance.choice(("", f"{chance.choice(own)}_")) + filled("{hex}", chance)[:8].upper()
        name = f"{chance.choice(_DRIVES)}{stem}.{ending}"
        return {"kind": "file", "filename": name, "content": f"{header} {_words((topic,), chance)}"}

    return event


def _address(host: str, chance: random.Random) -> str:
    return f"{chance.choice(FIRST_NAMES)}.{chance.choice(LAST_NAMES)}@{host}"


def _mail(hosts: Sequence[str], topics: Sequence[str], least: int, most: int) -> Callable[[random.Random], dict[str, Any]]:
    def event(chance: random.Random) -> dict[str, Any]:
        to = [_address(chance.choice(hosts), chance) for _ in range(chance.randint(1, 3))]
        event: dict[str, Any] = {"kind": "email", "to": ";".join(to), "from": _address(COMPANY, chance)}
        if chance.random() < 0.2:
            event["cc"] = _address(COMPANY, chance)
        if chance.random() < 0.1:
            event["bcc"] = _address(chance.choice(hosts), chance)
        return event | {"attachments": chance.randint(least, most), "content": _words((chance.choice(topics),), chance)}

    return event


def _page(hosts: Sequence[str], topic: str, title: str, ending: str = "") -> Callable[[random.Random], dict[str, Any]]:
    words = TOPICS.get(topic, "").split() or list(GENERAL_WORDS)

    def event(chance: random.Random) -> dict[str, Any]:
        first = title or f"{chance.choice(words).title()}_{chance.choice(words).title()}"
        slug = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(6, 14)))
        last = ending or chance.choice(("html", "htm", "php", "asp", "aspx", "jsp"))
        url = f"http://{chance.choice(hosts)}/{first}/{chance.choice(GENERAL_WORDS)}/{slug}{chance.randint(10**7, 10**9)}.{last}"
        return {"kind": "http", "url": url, "content": _words((topic,) if topic else (), chance)}

    return event
