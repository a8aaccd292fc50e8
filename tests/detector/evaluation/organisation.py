"""A small CERT directory: everybody logs on and reads pages; insiders plug in a drive at night and visit a leak site."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST = datetime(2010, 3, 1, tzinfo=UTC)


def write_organisation(directory: Path, users: int = 12, days: int = 24, insiders: int = 4, seed: int = 1) -> Path:
    """Each insider acts on two nights: a logon, a drive, a page; the key lists the three events."""
    chance = random.Random(seed)
    rows: dict[str, list[tuple[datetime, str]]] = {"logon": [], "device": [], "http": []}
    key: dict[str, list[str]] = {}
    number = 0

    def add(kind: str, user: int, at: datetime, text: str, malicious: bool = False) -> None:
        nonlocal number
        number += 1
        name, date = f"{{E{number:06}}}", f"{at:%m/%d/%Y %H:%M:%S}"
        rows[kind].append((at, f"{name},{date},USR{user:04},PC-{user},{text}"))
        if malicious:
            key.setdefault(f"USR{user:04}", []).append(f"{kind},{name},{date},USR{user:04},PC-{user},{text}")

    for user in range(users):
        nights = chance.sample(range(8, days - 1), 2) if user < insiders else []
        for day in range(days):
            morning = FIRST + timedelta(days=day, hours=8, minutes=chance.randrange(60))
            if morning.weekday() < 5:
                add("logon", user, morning, "Logon")
                for n in range(chance.randint(3, 9)):
                    add(
                        "http",
                        user,
                        morning + timedelta(minutes=20 * n + chance.randrange(15)),
                        f"http://site{chance.randrange(9)}.com/{n},x",
                    )
                add("logon", user, morning + timedelta(hours=9), "Logoff")
            if day in nights:
                night = FIRST + timedelta(days=day, hours=22)
                add("logon", user, night, "Logon", malicious=True)
                add("device", user, night + timedelta(minutes=5), "Connect", malicious=True)
                add("http", user, night + timedelta(minutes=9), "http://wikileaks.org/up,x", malicious=True)
    for kind, title in (("logon", "activity"), ("device", "activity"), ("http", "url,content")):
        lines = [line for _, line in sorted(rows[kind])]
        (directory / f"{kind}.csv").write_text("\n".join([f"id,date,user,pc,{title}", *lines]) + "\n")
    (directory / "answers" / "r4.2-1").mkdir(parents=True)
    listing = ["dataset,scenario,details,user,start,end"]
    for user, lines in key.items():
        (directory / "answers" / "r4.2-1" / f"r4.2-1-{user}.csv").write_text("\n".join(lines) + "\n")
        listing.append(f"4.2,1,r4.2-1-{user}.csv,{user},,")
    (directory / "answers" / "insiders.csv").write_text("\n".join(listing) + "\n")
    return directory
