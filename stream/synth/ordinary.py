"""What honest people do on an ordinary day: one day of everyone's logons, pages, mails, drives and copies, column-wise.

Rates vary from person to person, from week to week and from day to day. Knows nothing of insiders and special occasions.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from stream.kinds import Kind
from stream.synth.attendance import Attendance
from stream.synth.chance import Chance, Flags, Floats, Ints, at_least_one, skewed, within_runs
from stream.synth.organisation import CONTACTS, FAVOURITES, Organisation
from stream.synth.rows import NOBODY, Events, Rows, columns, joined
from stream.synth.sites import PAGES, SITE_TOPIC, SITES_OF, TOPIC, UPLOAD_PAGES, UPLOADS, popularity
from stream.synth.text import DAY_S, PHRASES
from stream.synth.words import SENSITIVE

_DAY, _WEEK = 4, 5  # purpose numbers of this module's random streams
_DOC, _PDF, _JPG, _TXT, _ZIP, _EXE, _XLS = range(7)
_POPULARITY: Final = np.cumsum(popularity())
UPLOAD_SHARE: Final = 0.2  # of the pages honest people open on sites where one can upload


@dataclass(frozen=True, slots=True)
class Shift:
    """Everyone who is in on one day; all columns have one value for each of them. Times are seconds after midnight."""

    day: int
    who: Ints
    arrive: Ints
    depart: Ints
    busy: Floats  # today's factor on every rate


@dataclass(frozen=True, slots=True)
class Sessions:
    """Stretches of time on a machine that is not one's own, or on one's own at night."""

    who: Ints
    begin: Ints
    end: Ints
    pc: Ints


def ordinary_day(chance: Chance, org: Organisation, attendance: Attendance, day: int) -> Events:
    """All ordinary events of the people who are in on this day."""
    rng = chance.stream(_DAY, day)
    shift = _shift(chance, rng, org, attendance, day)
    nights = _nights(rng, org, shift)
    shared = _shared(rng, org, shift)
    return {
        Kind.LOGON: _logons(rng, org, shift, [nights, shared, *_visits(rng, org, shift)]),
        Kind.HTTP: _pages(rng, org, shift, nights, shared),
        Kind.EMAIL: _mails(rng, org, shift),
        **_drives(rng, org, shift, nights),
    }


def _shift(chance: Chance, rng: np.random.Generator, org: Organisation, attendance: Attendance, day: int) -> Shift:
    who = attendance.present(day)
    arrive = attendance.arrive_min[day, who].astype(np.int64) * 60 + rng.integers(0, 60, len(who))
    depart = attendance.depart_min[day, who].astype(np.int64) * 60 + rng.integers(0, 60, len(who))
    week = np.exp(chance.stream(_WEEK, day // 7).normal(0, 0.3, org.n))[who]
    everyone = chance.stream(_WEEK, day // 7, day).normal(0, 0.12)
    span = np.clip((depart - arrive) / (9 * 3600), 0.3, 1.3)
    return Shift(day, who, arrive, depart, rng.gamma(4.0, 0.25, len(who)) * week * np.exp(everyone) * span)


def _rows(kind: Kind, shift: Shift, **given: Ints | int) -> Rows:
    """Rows from columns and constants; times are moved to their day."""
    size = max(len(column) for column in given.values() if isinstance(column, np.ndarray))
    full = {"insider": NOBODY, **given}
    rows = {name: np.broadcast_to(np.asarray(full[name], np.int64), (size,)) for name in columns(kind)}
    return rows | {"t": rows["t"] + shift.day * DAY_S}


def _within(rng: np.random.Generator, begin: Ints, end: Ints) -> Ints:
    """A moment inside each interval, lunch being quieter."""
    place = rng.random(len(begin))
    again = rng.random(len(begin))
    at = begin + place * (end - begin)
    lunch = (at > 12 * 3600) & (at < 13 * 3600) & (rng.random(len(begin)) < 0.5)
    moment: Ints = np.where(lunch, begin + again * (end - begin), at).astype(np.int64)
    return moment


# --- machines -------------------------------------------------------------------------------------------------------


def _nights(rng: np.random.Generator, org: Organisation, shift: Shift) -> Sessions:
    """Those who come back in the evening."""
    back = (rng.random(len(shift.who)) < org.evening[shift.who]) & (shift.depart < 20 * 3600)
    begin = np.maximum(shift.depart + 1800, rng.integers(int(18.5 * 3600), int(22.8 * 3600), len(shift.who)))[back]
    return Sessions(shift.who[back], begin, begin + rng.integers(900, 7200, int(back.sum())), org.pc[shift.who[back]])


def _shared(rng: np.random.Generator, org: Organisation, shift: Shift) -> Sessions:
    """Those who work on a shared machine for a while."""
    goes = rng.random(len(shift.who)) < org.shared_rate[shift.who]
    length = rng.integers(600, 7200, int(goes.sum()))
    begin = _within(rng, shift.arrive[goes], np.maximum(shift.depart[goes] - length, shift.arrive[goes] + 1))
    # a team goes to the same few machines
    near = org.team[shift.who[goes]] + rng.integers(0, 2, int(goes.sum()))
    return Sessions(shift.who[goes], begin, begin + length, org.shared_pcs[near % len(org.shared_pcs)])


def _visits(rng: np.random.Generator, org: Organisation, shift: Shift) -> tuple[Sessions, Sessions]:
    """Administrators on other people's machines, by day and by night."""
    by_day = rng.poisson(org.visits[shift.who] * shift.busy)
    by_night = rng.poisson(3 * org.night_visits[shift.who]) * (rng.random(len(shift.who)) < 0.4)
    found = []
    late = np.maximum(shift.depart, 18 * 3600) + 3 * 3600
    for counts, low, high in ((by_day, shift.arrive, shift.depart), (by_night, shift.depart, late)):
        who = np.repeat(shift.who, counts)
        begin = _within(rng, np.repeat(low, counts), np.repeat(high, counts))
        found.append(Sessions(who, begin, begin + rng.integers(120, 1500, len(who)), rng.integers(0, org.n_pcs, len(who))))
    return found[0], found[1]


def _logons(rng: np.random.Generator, org: Organisation, shift: Shift, others: list[Sessions]) -> Rows:
    """The working day on one's own machine, lunch breaks and the other sessions; some logoffs and a few logons are missing."""
    own = Sessions(shift.who, shift.arrive, shift.depart, org.pc[shift.who])
    lunch = rng.random(len(shift.who)) < org.lunch_lock[shift.who]
    lunch &= (shift.arrive < 11 * 3600) & (shift.depart > 14 * 3600)
    out = rng.integers(int(11.7 * 3600), int(12.6 * 3600), int(lunch.sum()))
    back = out + rng.integers(900, 4200, len(out))
    away = shift.who[lunch]
    parts = [_rows(Kind.LOGON, shift, t=t, user=away, pc=org.pc[away], activity=activity) for t, activity in ((out, 1), (back, 0))]
    for part, missing in ((own, 0.05), *((session, 0.07) for session in others)):
        if len(part.who):
            logon = rng.random(len(part.who)) > 0.006
            logoff = rng.random(len(part.who)) > missing
            parts.append(_rows(Kind.LOGON, shift, t=part.begin[logon], user=part.who[logon], pc=part.pc[logon], activity=0))
            parts.append(_rows(Kind.LOGON, shift, t=part.end[logoff], user=part.who[logoff], pc=part.pc[logoff], activity=1))
    return joined(Kind.LOGON, parts)


# --- the web --------------------------------------------------------------------------------------------------------


def _pages(rng: np.random.Generator, org: Organisation, shift: Shift, nights: Sessions, shared: Sessions) -> Rows:
    """Sittings of a few pages on one site: favourites, wandering, and now and then a sensitive site."""
    usual = rng.poisson(org.pages[shift.who] * shift.busy / 2.6)
    special = rng.poisson(org.special[shift.who] * np.sqrt(shift.busy)[:, None])
    evening = rng.poisson(4.0, len(nights.who))
    at = np.concatenate([np.repeat(np.arange(len(shift.who)), usual), *(np.repeat(np.arange(len(shift.who)), c) for c in special.T)])
    who = np.concatenate([shift.who[at], np.repeat(nights.who, evening)])
    settled = np.repeat(nights.begin, evening) + rng.integers(60, 900, evening.sum())
    begin = np.concatenate([_within(rng, shift.arrive[at], shift.depart[at]), settled])
    by_day = _ordinary_sites(rng, org, who[: int(usual.sum())])
    sensitive = [_special_sites(rng, shift, counts, topic) for counts, topic in zip(special.T, SENSITIVE, strict=True)]
    site = np.concatenate([by_day, *sensitive, _ordinary_sites(rng, org, np.repeat(nights.who, evening))])
    length = np.minimum(rng.geometric(0.38, len(who)), 40)
    run = np.repeat(np.arange(len(who)), length)
    gaps = rng.exponential(45, len(run)).astype(np.int64) + 1
    t = begin[run] + _running(gaps, length)
    pc = _machine_at(org, shared, who[run], t)
    return _rows(Kind.HTTP, shift, t=t, user=who[run], pc=pc, **page_columns(rng, site[run]))


def page_columns(rng: np.random.Generator, site: Ints) -> dict[str, Ints]:
    """A page of each site, seldom one to upload to, and words about its topic."""
    page = skewed(rng, PAGES - UPLOAD_PAGES, len(site), 1.6) + UPLOAD_PAGES
    upload = UPLOADS[site] & (rng.random(len(site)) < UPLOAD_SHARE)
    page = np.where(upload, rng.integers(0, UPLOAD_PAGES, len(site)), page)
    topic = SITE_TOPIC[site] * PHRASES
    first, second = rng.integers(0, PHRASES, (2, len(site)))
    return {"page": site * PAGES + page, "phrase": topic + first, "phrase2": topic + second}


def _ordinary_sites(rng: np.random.Generator, org: Organisation, who: Ints) -> Ints:
    favourite = org.favourites[who, skewed(rng, FAVOURITES, len(who))]
    wander = np.searchsorted(_POPULARITY, rng.random(len(who)) * _POPULARITY[-1], side="right")
    site: Ints = np.where(rng.random(len(who)) < 0.1, wander, favourite)
    return site


def _special_sites(rng: np.random.Generator, shift: Shift, counts: Ints, topic: str) -> Ints:
    """Each person has one or two such sites and strays to the others."""
    sites = SITES_OF[topic]
    who = np.repeat(shift.who, counts)
    own = (who * 7 + skewed(rng, 3, len(who), 2.0)) % len(sites)
    stray = skewed(rng, len(sites), len(who), 1.3)
    return sites[np.where(rng.random(len(who)) < 0.25, stray, own)]


def _running(gaps: Ints, lengths: Ints) -> Ints:
    """Cumulative sums of gaps, starting anew in each run."""
    total = np.cumsum(gaps)
    before = np.cumsum(lengths) - lengths
    base = np.repeat((total - gaps)[before] if len(gaps) else total, lengths)
    running: Ints = total - base
    return running


def _machine_at(org: Organisation, shared: Sessions, who: Ints, t: Ints) -> Ints:
    """The shared machine while its session lasts, else one's own."""
    begin, end = np.full(org.n, -1, np.int64), np.full(org.n, -1, np.int64)
    pc = org.pc.copy()
    begin[shared.who], end[shared.who], pc[shared.who] = shared.begin, shared.end, shared.pc
    away: Flags = (begin[who] <= t) & (t < end[who])
    return np.where(away, pc[who], org.pc[who])


# --- mail -----------------------------------------------------------------------------------------------------------


def _mails(rng: np.random.Generator, org: Organisation, shift: Shift) -> Rows:
    counts = rng.poisson(org.mails[shift.who] * shift.busy)
    who = np.repeat(shift.who, counts)
    n = len(who)
    t = _within(rng, np.repeat(shift.arrive, counts), np.repeat(shift.depart, counts))
    private = rng.random(n) < org.private_mails[who]
    to = np.stack([org.contacts[who, skewed(rng, CONTACTS, n, 1.8)] for _ in range(4)])
    # a private letter goes to friends; the outsiders are the last of the addresses
    friends = 2 * org.n + (who * 5 + rng.integers(0, 6, n)) % len(org.partners)
    to[0] = np.where(private, friends, to[0])
    more = rng.random((3, n)) < np.array([[0.35], [0.15], [0.2]])
    attachments = np.where(rng.random(n) < org.attachments[who], at_least_one(rng, 1.6, n), 0)
    topic = np.array([TOPIC[t] for t in org.topic])[who]
    about = np.where(private, TOPIC["social"], topic) * PHRASES
    first, second = rng.integers(0, PHRASES, (2, n))
    return _rows(
        Kind.EMAIL,
        shift,
        t=t,
        user=who,
        pc=org.pc[who],
        to=to[0],
        to2=np.where(more[0] & ~private, to[1], NOBODY),
        to3=np.where(more[0] & more[1] & ~private, to[2], NOBODY),
        cc=np.where(more[2] & ~private, to[3], NOBODY),
        bcc=NOBODY,
        sender=np.where(private, org.n + who, who),
        size=mail_sizes(rng, attachments),
        attachments=attachments,
        phrase=about + first,
        phrase2=about + second,
    )


def mail_sizes(rng: np.random.Generator, attachments: Ints) -> Ints:
    """Bytes of each mail: a body and something for every attachment."""
    body = rng.lognormal(np.log(24_000), 0.35, len(attachments))
    sizes: Ints = (body + attachments * rng.lognormal(np.log(30_000), 0.9, len(attachments))).astype(np.int64)
    return sizes


# --- drives ---------------------------------------------------------------------------------------------------------


def _drives(rng: np.random.Generator, org: Organisation, shift: Shift, nights: Sessions) -> dict[Kind, Rows]:
    """Thumb drives: a connect, some copies, a disconnect; at night too for those who come back."""
    using = rng.random(len(shift.who)) < np.where(org.drive_user[shift.who], 0.7, 1.0)
    counts = rng.poisson(org.connects[shift.who] * shift.busy * rng.gamma(1.5, 0.67, len(shift.who))) * using
    late = rng.poisson(np.minimum(org.connects[nights.who], 2.0) * 0.5)
    who = np.concatenate([np.repeat(shift.who, counts), np.repeat(nights.who, late)])
    low = np.concatenate([np.repeat(shift.arrive, counts), np.repeat(nights.begin, late)])
    high = np.concatenate([np.repeat(shift.depart, counts), np.repeat(nights.end, late)])
    length = (rng.exponential(600, len(who)) + 40).astype(np.int64)
    begin = _within(rng, low, np.maximum(high - length, low + 1))
    seen = rng.random(len(who)) > 0.03
    copies = rng.poisson(org.files[who] * rng.gamma(1.2, 0.8, len(who)))
    owner = np.repeat(who, copies)
    t = np.repeat(begin, copies) + 5 + (rng.random(len(owner)) * np.repeat(np.maximum(length - 10, 1), copies)).astype(np.int64)
    device = joined(
        Kind.DEVICE,
        [
            _rows(Kind.DEVICE, shift, t=begin, user=who, pc=org.pc[who], activity=0),
            _rows(Kind.DEVICE, shift, t=(begin + length)[seen], user=who[seen], pc=org.pc[who][seen], activity=1),
        ],
    )
    file = _rows(Kind.FILE, shift, t=t, user=owner, pc=org.pc[owner], **file_columns(rng, org, owner))
    return {Kind.DEVICE: device, Kind.FILE: file}


def file_columns(rng: np.random.Generator, org: Organisation, owner: Ints) -> dict[str, Ints]:
    """A document of each owner, one they have worked on before or another, and words about their work."""
    n = len(owner)
    kind = np.searchsorted(np.cumsum([0.55, 0.18, 0.08, 0.06, 0.05, 0.012]), rng.random(n), side="right")
    document = np.where(rng.random(n) < 0.5, skewed(rng, 120, n, 2.0), rng.integers(120, 1 << 20, n))
    topic = np.array([TOPIC[t] for t in org.topic])[owner]
    about = np.where(kind == _JPG, TOPIC["social"], topic) * PHRASES
    first, second = rng.integers(0, PHRASES, (2, n))
    return {"name": owner * (1 << 21) + document, "extension": kind, "phrase": about + first, "phrase2": about + second}


__all__ = ["UPLOAD_SHARE", "Shift", "file_columns", "mail_sizes", "ordinary_day", "page_columns", "within_runs"]
