"""A made-up run over a made-up organisation: windows, verdicts and alerts as the chain would leave them, and the key."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CLASS = {"logon": 3002, "device": 1010, "file": 1001, "email": 4009, "http": 4002}
FIRST = datetime(2010, 7, 5, tzinfo=UTC)


class MadeUp:
    """Users × days of activity. Each insider does something on three days; scores and citations are mostly right, by `seed`."""

    def __init__(self, users: int = 12, days: int = 40, insiders: int = 3, seed: int = 0) -> None:
        self.windows: list[dict[str, Any]] = []
        self.verdicts: list[dict[str, Any]] = []
        self.alerts: list[dict[str, Any]] = []
        self.key: dict[int, list[str]] = {}
        chance = random.Random(seed)
        for user in range(users):
            self._live(f"USR{user:04}", user + 1 if user < insiders else 0, days, chance)

    def _live(self, user: str, scenario: int, days: int, chance: random.Random) -> None:
        attacks = set(chance.sample(range(5, days), 3)) if scenario else set()
        for day in range(days):
            start = FIRST + timedelta(days=day)
            if start.weekday() >= 5 and day not in attacks:
                continue
            events = [self._event(user, day, n, start, chance) for n in range(6)]
            malicious = events[3:6] if day in attacks else []
            if malicious:
                self.key.setdefault(scenario, []).extend(
                    f"{event['kind']},{event['id']},{start + timedelta(hours=9 + n):%m/%d/%Y %H:%M:%S},{user},PC-1,{event['url']},"
                    for n, event in enumerate(events)
                    if event in malicious
                )
            self._judge(user, day, start, events, malicious, chance)

    def _event(self, user: str, day: int, n: int, start: datetime, chance: random.Random) -> dict[str, Any]:
        url = f"http://{chance.choice(['news', 'wikileaks', 'jobs'])}.example/<b>{n}</b>"
        return {"kind": "http", "id": f"{{{user}-{day}-{n}}}", "ts": (start + timedelta(hours=9 + n)).isoformat(), "pc": "PC-1", "url": url}

    def _judge(
        self, user: str, day: int, start: datetime, events: list[dict[str, Any]], malicious: list[dict[str, Any]], chance: random.Random
    ) -> None:
        end = start + timedelta(days=1)
        score = min(1.0, max(0.0, chance.gauss(0.75, 0.2))) if malicious else chance.betavariate(1, 12)
        alert = score > 0.5
        cited = ([*malicious[: chance.randint(1, 3)], *events[: chance.randint(0, 1)]] if malicious else events[:1]) if alert else []
        window, uid = f"w-{user}-{day}", f"a-{user}-{day}"
        span = {"user": user, "start": start.isoformat(), "end": end.isoformat()}
        self.windows.append({"id": window, **span, "events": events, "counts": {"http": 6}})
        self.verdicts.append(
            {
                "window_id": window,
                **span,
                "score": score,
                "triage_score": min(1.0, score * chance.random() * 1.3),
                "label": "malicious" if alert else "normal",
                "cited": [{"kind": event["kind"], "id": event["id"]} for event in cited],
                "alert_uid": uid if alert else None,
                "learning": day < 14,
            }
        )
        if alert:
            related = [{"uid": event["id"], "type_uid": CLASS[event["kind"]] * 100} for event in cited]
            info = {"uid": uid, "related_events": related}
            message = f"Visits that are new for {user}: a <script> among them"
            self.alerts.append(
                {
                    "activity_id": 1,
                    "time": round(end.timestamp() * 1000),
                    "message": message,
                    "actor": {"user": {"name": user}},
                    "finding_info": info,
                }
            )

    def write_answers(self, directory: Path) -> Path:
        answers = directory / "answers"
        listing = ["dataset,scenario,details,user,start,end"]
        for scenario, rows in self.key.items():
            user = rows[0].split(",")[3]
            name = f"r4.2-{scenario}-{user}.csv"
            (answers / f"r4.2-{scenario}").mkdir(parents=True)
            (answers / f"r4.2-{scenario}" / name).write_text("\n".join(rows) + "\n")
            listing.append(f"4.2,{scenario},{name},{user},,")
        (answers / "insiders.csv").write_text("\n".join(listing) + "\n")
        return directory
