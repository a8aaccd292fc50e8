"""The acts that both insiders and honest people perform: a session, a drive with copies, browsing, a mail, files on a machine.

What makes an act malicious is who does it and why, never how it is written down: insiders and look-alikes use the same functions.
One scene is one day. Knows nothing of scenarios.
"""

from collections.abc import Sequence

import numpy as np

from stream.kinds import KINDS, Kind
from stream.synth.attendance import Attendance
from stream.synth.chance import Ints
from stream.synth.ordinary import file_columns, mail_sizes
from stream.synth.organisation import Organisation
from stream.synth.rows import NOBODY, Events, columns
from stream.synth.sites import PAGES, SITE_TOPIC, SITES_OF, TOPIC, UPLOAD_PAGES, UPLOADS
from stream.synth.text import DAY_S, GROUPS, PHRASES, RECRUITERS, house_lists_at, recruiters_at, teams_at

EXE, DOC = 5, 0


class Scene:
    """Collects the scripted events of one day. Times are seconds after that day's midnight; they may run past the next one."""

    def __init__(self, org: Organisation, attendance: Attendance, day: int, rng: np.random.Generator) -> None:
        self.org = org
        self.attendance = attendance
        self.day = day
        self.rng = rng
        self._rows: dict[Kind, list[tuple[int, ...]]] = {kind: [] for kind in KINDS}

    def events(self) -> Events:
        """Everything that happened, as columns."""
        found: Events = {}
        for kind, rows in self._rows.items():
            names = columns(kind)
            table = np.array(rows, np.int64).reshape(len(rows), len(names))
            found[kind] = {name: table[:, at] for at, name in enumerate(names)}
            found[kind]["t"] = found[kind]["t"] + self.day * DAY_S
        return found

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high], or `low` where the range is empty."""
        return int(self.rng.integers(low, high + 1)) if high > low else low

    def chance(self, share: float) -> bool:
        """True this often."""
        return bool(self.rng.random() < share)

    def working_hours(self, user: int) -> tuple[int, int]:
        """When this person is in today; office hours for those who are not."""
        arrive, depart = self.attendance.hours_s(user, self.day)
        return (arrive, depart) if depart > arrive else (9 * 3600, 17 * 3600)

    def during_work(self, user: int, margin_s: int = 0) -> int:
        """A moment while this person is in, at least `margin_s` before they go."""
        arrive, depart = self.working_hours(user)
        return self.between(arrive + 300, max(depart - margin_s, arrive + 600))

    def after_work(self, user: int, earliest_s: int) -> int:
        """A moment in the evening, after this person's ordinary day."""
        _, depart = self.working_hours(user)
        low = max(depart + 900, earliest_s)
        return self.between(low, max(low + 1800, 23 * 3600))

    # --- acts ---

    def session(self, user: int, pc: int, begin: int, end: int, insider: int, logoff: bool = True) -> None:
        """Log on, and off again."""
        self._rows[Kind.LOGON].append((begin, user, pc, insider, 0))
        if logoff:
            self._rows[Kind.LOGON].append((end, user, pc, insider, 1))

    def drive(self, user: int, pc: int, begin: int, copies: int, insider: int, extension: int | None = None) -> int:
        """Connect a drive, copy files onto it, disconnect it. Return when."""
        length = int(60 + copies * self.rng.uniform(8, 40) + self.rng.exponential(240))
        self._rows[Kind.DEVICE].append((begin, user, pc, insider, 0))
        self.files(user, pc, begin + 10, length - 20, copies, insider, extension)
        if not self.chance(0.03):
            self._rows[Kind.DEVICE].append((begin + length, user, pc, insider, 1))
        return begin + length

    def files(self, user: int, pc: int, begin: int, span: int, copies: int, insider: int, extension: int | None = None) -> None:
        """File events on a machine, spread over a span."""
        if copies <= 0:
            return
        at = np.sort(self.rng.integers(begin, begin + max(span, copies + 1), copies)).tolist()
        made = file_columns(self.rng, self.org, np.full(copies, user, np.int64))
        if extension is not None:
            made["extension"] = np.full(copies, extension, np.int64)
        parts = zip(at, *(made[name].tolist() for name in ("name", "extension", "phrase", "phrase2")), strict=True)
        self._rows[Kind.FILE].extend((t, user, pc, insider, *rest) for t, *rest in parts)

    def browse(
        self,
        user: int,
        pc: int,
        begin: int,
        pages: int,
        sites: Ints,
        insider: int,
        upload: float = 0.0,
        about: str | None = None,
        gap_s: float = 40.0,
    ) -> int:
        """Open pages on some of these sites; `upload` is the share of pages for sending something there. Return the time after."""
        t = begin
        for _ in range(pages):
            site = int(sites[self.rng.integers(0, len(sites))])
            page = self.between(UPLOAD_PAGES, PAGES - 1)
            if UPLOADS[site] and self.chance(upload):
                page = self.between(0, UPLOAD_PAGES - 1)
            topic = int(SITE_TOPIC[site])
            second = TOPIC[about] if about else topic
            first_phrase, second_phrase = (int(self.rng.integers(0, PHRASES)) for _ in range(2))
            row = (t, user, pc, insider, site * PAGES + page, topic * PHRASES + first_phrase, second * PHRASES + second_phrase)
            self._rows[Kind.HTTP].append(row)
            t += 2 + int(self.rng.exponential(gap_s))
        return t

    def mail(
        self,
        user: int,
        pc: int,
        at: int,
        to: Sequence[int],
        attachments: int,
        about: str,
        insider: int,
        *,
        private: bool = False,
        cc: int = NOBODY,
        bcc: int = NOBODY,
    ) -> None:
        """Send one mail, from the private address if it is a private one."""
        first_to, to2, to3 = (*to, NOBODY, NOBODY)[:3]
        sender = self.org.n + user if private else user
        size = int(mail_sizes(self.rng, np.array([attachments]))[0])
        topic = TOPIC[about] * PHRASES
        first, second = (int(self.rng.integers(0, PHRASES)) for _ in range(2))
        row = (at, user, pc, insider, first_to, to2, to3, cc, bcc, sender, size, attachments, topic + first, topic + second)
        self._rows[Kind.EMAIL].append(row)

    # --- who and where ---

    def own_pc(self, user: int) -> int:
        """The machine on one's own desk."""
        return int(self.org.pc[user])

    def mates(self, user: int) -> list[int]:
        """The others of the team who still work here."""
        here = self.org.members(int(self.org.team[user]))
        return [int(m) for m in here if m != user and self.attendance.leaves[m] > self.day >= self.attendance.joins[m]]

    def usual_sites(self, user: int, topic: str, count: int) -> Ints:
        """A few sites of a topic, the same for this person every day."""
        sites = SITES_OF[topic]
        return sites[(user * 7 + np.arange(count) * 5) % len(sites)]

    def recruiter(self, user: int) -> int:
        """A competitor's recruiter, the same for this person every day but now and then another."""
        return recruiters_at(self.org) + (user * 11 + self.between(0, 2)) % RECRUITERS

    def home(self, user: int) -> int:
        """One's own private address."""
        return self.org.n + user

    def team_list(self, user: int) -> int:
        """The address list of one's team."""
        return teams_at(self.org) + int(self.org.team[user])

    def house_list(self, number: int) -> int:
        """One of the house-wide lists."""
        return house_lists_at(self.org) + number % GROUPS

    def everyone(self) -> int:
        """The list of everyone, or of the first hundred in a large house."""
        return house_lists_at(self.org) + GROUPS
