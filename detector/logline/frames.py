"""How lines begin: the time, machine, program and level that a system puts before what it has to say.

A frame says nothing of the label, with one exception: programs that name a level do so, and mostly rightly. Knows no template.
"""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from detector.logline.labels import ERROR, INFORMATIONAL, MALICIOUS, NORMAL, SUSPICIOUS
from detector.logline.slots import filled

_FIRST: Final = datetime(2024, 1, 1, tzinfo=UTC)
_LEVELS: Final[Mapping[str, tuple[str, ...]]] = {
    NORMAL: ("INFO", "INFO", "DEBUG", "NOTICE"),
    INFORMATIONAL: ("INFO", "INFO", "INFO", "DEBUG"),
    ERROR: ("ERROR", "ERROR", "FATAL", "WARN", "CRITICAL"),
    SUSPICIOUS: ("WARN", "WARN", "INFO", "ERROR", "NOTICE"),
    MALICIOUS: ("WARN", "CRITICAL", "INFO", "ERROR", "ALERT"),
}
_BARE: Final = 0.3
"""Share of lines that come without a frame: collectors often cut it off."""


def framed(text: str, system: str, frame: str, label: str, chance: random.Random) -> str:
    """The line as the system would write it."""
    if chance.random() < _BARE:
        return text
    moment = _FIRST + timedelta(seconds=chance.randrange(2 * 365 * 86_400))
    return _FRAMES[frame](text, system, label, moment, chance)


def _syslog(text: str, system: str, _label: str, moment: datetime, chance: random.Random) -> str:
    tag = filled("{host}", chance)
    program = text if system == "macos" else f"{system}[{chance.randint(200, 65000)}]: {text}"
    return f"{_syslog_time(moment, chance)} {tag} {program}"


def _syslog_time(moment: datetime, chance: random.Random) -> str:
    return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}" if chance.random() < 0.7 else moment.isoformat()


def _kmsg(text: str, _system: str, _label: str, moment: datetime, chance: random.Random) -> str:
    uptime = f"[{chance.randint(1, 999_999):>6}.{chance.randint(0, 999_999):06}]"
    return (
        filled(f"{_syslog_time(moment, chance)} {{host}} kernel: {uptime} {text}", chance) if chance.random() < 0.6 else f"{uptime} {text}"
    )


def _access(text: str, _system: str, label: str, moment: datetime, chance: random.Random) -> str:
    address = "{ext}" if label in (SUSPICIOUS, MALICIOUS) or chance.random() < 0.4 else "{ip}"
    method, path, status, size = text.split(" ", 1)[0], text.split(" ", 1)[1].rsplit(" ", 2)[0], *text.rsplit(" ", 2)[1:]
    return f'{filled(address, chance)} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "{method} {path} HTTP/1.1" {status} {size}'


def _apache(text: str, _system: str, _label: str, moment: datetime, chance: random.Random) -> str:
    if text.startswith('"'):
        return f"{filled(chance.choice(('{ip}', '{ext}')), chance)} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] {text}"
    return f"[{moment:%a %b %d %H:%M:%S %Y}] [pid {chance.randint(200, 65000)}] {text}"


def _nginx_error(text: str, _system: str, label: str, moment: datetime, chance: random.Random) -> str:
    level = "notice" if label == INFORMATIONAL else chance.choice(("error", "error", "warn"))
    return f"{moment:%Y/%m/%d %H:%M:%S} [{level}] {chance.randint(200, 9000)}#0: *{chance.randint(1, 99_999)} {text}"


def _json(text: str, system: str, _label: str, moment: datetime, _chance: random.Random) -> str:
    return f"{moment.isoformat()} {system} {text}"


def _windows(text: str, system: str, _label: str, moment: datetime, chance: random.Random) -> str:
    return f"{moment:%m/%d/%Y %I:%M:%S %p} Provider={system} Computer={filled('{pc}', chance)} {text}"


def _leveled(text: str, system: str, label: str, moment: datetime, chance: random.Random) -> str:
    level = chance.choice(_LEVELS[label])
    layout = chance.choice(("{t} {l} [main] {s}: {m}", "{l}: {m}", "[{t}] {l} {s} - {m}", "{t} [{l}] {m}"))
    return layout.format(t=f"{moment:%Y-%m-%d %H:%M:%S}", l=level, s=system, m=text)


def _dated(text: str, system: str, _label: str, moment: datetime, _chance: random.Random) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} {system}: {text}"


def _comma(text: str, _system: str, _label: str, moment: datetime, _chance: random.Random) -> str:
    return f"{moment:%Y/%m/%d %H:%M:%S},{text}"


def _network(text: str, _system: str, _label: str, moment: datetime, chance: random.Random) -> str:
    return filled(f"<{chance.randint(100, 190)}>{moment:%b %d %H:%M:%S} {{ip}} {text}", chance)


_FRAMES: Final[Mapping[str, Callable[[str, str, str, datetime, random.Random], str]]] = {
    "syslog": _syslog,
    "kmsg": _kmsg,
    "access": _access,
    "apache": _apache,
    "nginx_error": _nginx_error,
    "squid": lambda text, _s, _l, moment, chance: f"{moment.timestamp():.3f} {chance.randint(1, 900)} {filled('{ip}', chance)} {text}",
    "csv": _comma,
    "asa": _network,
    "cisco": _network,
    "ids": lambda text, _s, _l, moment, _c: f"{moment:%m/%d/%Y-%H:%M:%S.%f}  [**] {text}",
    "postgres": lambda text, _s, label, moment, chance: (
        f"{moment:%Y-%m-%d %H:%M:%S} UTC [{chance.randint(200, 65000)}] "
        f"{'ERROR' if label == ERROR else 'FATAL' if label == SUSPICIOUS and 'statement' not in text else 'LOG'}:  {text}"
    ),
    "mysql": lambda text, _s, _l, moment, chance: f"{moment.isoformat()} {chance.randint(1, 999)} {text}",
    "redis": lambda text, _s, _l, moment, chance: f"{chance.randint(1, 9999)}:M {moment:%d %b %Y %H:%M:%S.%f} * {text}",
    "app": _dated,
    "leveled": _leveled,
    "json": _json,
    "winsec": _windows,
    "winsys": _windows,
    "winps": _windows,
    "windef": _windows,
    "audit": lambda text, _s, _l, _m, chance: filled(f"node={{host}} {text}", chance),
    "klog": lambda text, _s, label, moment, chance: (
        f"{'E' if label == ERROR else 'I'}{moment:%m%d %H:%M:%S.%f} {chance.randint(1, 9999)} event.go:{chance.randint(10, 400)}] {text}"
    ),
}
FRAMES: Final = frozenset(_FRAMES)
