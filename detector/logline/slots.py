"""What stands in a template's {slots}: names, addresses, numbers and words by chance. Says nothing of any label.

The words differ on purpose from those of templates, and bad hosts carry no mark of their own: what a line means stands around its
slots. Knows no template.
"""

import base64
import random
import re
from collections.abc import Callable, Mapping
from typing import Final

from stream.synth.words import FIRST_NAMES, GENERAL_WORDS, LAST_NAMES, SITES, TAIL_ENDS, TAIL_STEMS, TOPICS

_SERVICES: Final = (
    "billing", "orders", "gateway", "ledger", "inventory", "search", "catalog", "payroll", "mailer", "reports", "scheduler", "profile",
    "telemetry", "shipping", "auth", "wiki", "crm", "media", "notify", "archive",
)  # fmt: skip
_GUESSES: Final = ("admin", "root", "test", "oracle", "guest", "ftpuser", "ubuntu", "pi", "backup", "support", "sysadmin", "user1")
_PAGES: Final = ("index.html", "cart", "news/today", "products", "about", "help/start", "search", "account", "docs/manual", "team")
_HOSTS: Final = ("web", "db", "app", "mail", "dns", "file", "build", "vpn", "proxy", "node")
_WORDS: Final = tuple(sorted({word for text in TOPICS.values() for word in text.split() if word.isalpha()} | set(GENERAL_WORDS)))
_HOSTS_KNOWN: Final = tuple(host for topic, hosts in SITES.items() if topic not in ("leak", "spyware", "cloud") for host in hosts.split())
_SLOT: Final = re.compile(r"\{([a-z0-9]+)\}", re.IGNORECASE)


def filled(template: str, chance: random.Random) -> str:
    """The template with each slot filled anew; braces around anything else stay.

    >>> filled("session of {nobody} closed", random.Random(1))
    'session of {nobody} closed'
    """
    return _SLOT.sub(lambda slot: _FILLERS[slot[1]](chance) if slot[1] in _FILLERS else slot[0], template)


def _user(chance: random.Random) -> str:
    first, last = chance.choice(FIRST_NAMES).lower(), chance.choice(LAST_NAMES).lower()
    return chance.choice((first, f"{first[0]}{last}", f"{first}.{last}", f"{last[:3]}{chance.randint(1000, 9999)}".upper()))


def _private(chance: random.Random) -> str:
    return chance.choice(("10.{}.{}.{}", "192.168.{1}.{2}", "172.16.{1}.{2}")).format(*(chance.randint(1, 254) for _ in range(3)))


def _public(chance: random.Random) -> str:
    # the three blocks that are set aside for documentation
    return f"{chance.choice(('192.0.2', '198.51.100', '203.0.113'))}.{chance.randint(1, 254)}"


def _tail(chance: random.Random) -> str:
    return f"{chance.choice(TAIL_STEMS)}{chance.choice(TAIL_ENDS)}"


def _digits(least: int, most: int) -> Callable[[random.Random], str]:
    return lambda chance: str(chance.randint(least, most))


def _hex(length: int) -> Callable[[random.Random], str]:
    return lambda chance: f"{chance.getrandbits(4 * length):0{length}x}"


def _one(*choices: str) -> Callable[[random.Random], str]:
    return lambda chance: chance.choice(choices)


def _file(chance: random.Random) -> str:
    return f"{chance.choice(_WORDS)}_{chance.randint(1, 99)}.{chance.choice(('doc', 'pdf', 'xls', 'zip', 'csv', 'ppt', 'txt'))}"


def _mail(chance: random.Random) -> str:
    return f"{_user(chance)}@{chance.choice(('corp', 'office', 'staff'))}.example"


_FILLERS: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "user": _user,
    "guess": _one(*_GUESSES),
    "uid": _digits(1000, 1999),
    "host": lambda chance: f"{chance.choice(_HOSTS)}{chance.randint(1, 20):02}",
    "pc": lambda chance: f"PC-{chance.randint(1000, 9999)}",
    "ip": _private,
    "ext": _public,
    "port": _digits(1024, 65535),
    "pid": _digits(200, 65000),
    "d": _digits(1, 9),
    "n": _digits(10, 999),
    "mm": lambda chance: f"{chance.randint(0, 59):02}",
    "ss": lambda chance: f"{chance.randint(0, 59):02}",
    "day": lambda chance: f"{chance.randint(1, 28):02}",
    "big": _digits(1_000, 9_999_999),
    "size": _digits(200, 90_000),
    "gb": lambda chance: f"{chance.randint(1, 90)}.{chance.randint(0, 9)}GB",
    "svc": _one(*_SERVICES),
    "Svc": lambda chance: chance.choice(_SERVICES).capitalize(),
    "word": lambda chance: chance.choice(_WORDS),
    "file": _file,
    "page": _one(*_PAGES),
    "site": _one(*_HOSTS_KNOWN),
    "bad": lambda chance: f"{_tail(chance)}.{chance.choice(('com', 'net', 'info', 'biz', 'top'))}",
    "cloud": _one("filedrop.example", "mydisk.example", "sharebox.example"),
    "leak": _one("leakhub.example", "openfiles.example", "discloseit.example"),
    "mail": _mail,
    "extmail": lambda chance: f"{_user(chance)}@{chance.choice(('gmail.com', 'yahoo.com', 'hotmail.com', 'aol.com'))}",
    "hex": _hex(12),
    "uuid": lambda chance: f"{_hex(8)(chance)}-{_hex(4)(chance)}-{_hex(4)(chance)}-{_hex(12)(chance)}",
    "b64": lambda chance: base64.b64encode(chance.randbytes(18)).decode(),
    "b32": lambda chance: base64.b32encode(chance.randbytes(20)).decode().lower(),
    "mac": lambda chance: ":".join(f"{chance.getrandbits(8):02x}" for _ in range(6)),
    "nic": _one("eth0", "eth1", "ens192", "bond0"),
    "disk": _one("sda", "sdb", "vda", "nvme0n1"),
    "db": _one("sales", "hr", "webshop", "metrics", "ledger"),
    "table": _one("customers", "orders", "employees", "invoices", "sessions", "payments"),
    "pod": lambda chance: f"{chance.choice(_SERVICES)}-{_hex(6)(chance)}",
    "bucket": lambda chance: f"{chance.choice(_SERVICES)}-{chance.choice(('data', 'logs', 'exports'))}",
    "prn": lambda chance: f"PRN-{chance.randint(1, 40)}",
}
