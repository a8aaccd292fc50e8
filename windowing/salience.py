"""Which events of a window tell most. Whole points by what an event is and how unusual it is for its user; knows no key.

A window shows its `cap` most telling events; ties go to the earlier one, then by kind and id, so that the choice depends on the
events alone. A user who repeats one thing does not crowd out the rest: after the first few, each repetition tells less.
"""

from typing import Final

import numpy as np
import polars as pl

from stream.kinds import KINDS, Kind
from windowing.domains import Category
from windowing.facts import Facts
from windowing.observe import MASS, Observed
from windowing.profiles import Ints, Measure

MOST_POINTS: Final = 255
_TELLING: Final = 30
_UNPUNISHED: Final = 7
_PAGE_POINTS: Final = {
    Category.CLOUD: 40,
    Category.EMPLOYER: 55,
    Category.JOBS: 60,
    Category.LEAK: 110,
    Category.SPYWARE: 110,
    Category.WEBMAIL: 4,
}


def points(facts: Facts) -> Ints:
    """How telling each event is, 0..255; one element per event."""
    seen = facts.observed
    found = np.zeros(seen.n, np.int64)
    found += np.where(facts.after, 25, 0) + np.where(facts.pc_new, 30, np.where(facts.strange_pc, 12, 0))
    part, mails = seen.part, seen.mails
    logon, device, file, email, http = (part[kind] for kind in (Kind.LOGON, Kind.DEVICE, Kind.FILE, Kind.EMAIL, Kind.HTTP))
    found[logon] += np.where(seen.on[logon], 18, 14)
    seldom = (facts.habit(Measure.CONNECTS) < 0.1).astype(np.int64)
    found[device] += 70 + 30 * seldom[seen.of(Kind.DEVICE)] + np.where(facts.drive_pcs_new[seen.drive_pcs.of_row], 30, 0)
    found[file] += (
        50 + 20 * seldom[seen.of(Kind.FILE)] + np.where(seen.risky, 25, 0) + np.where(facts.endings_new[seen.endings.of_row], 15, 0)
    )
    n_mails = email.stop - email.start
    new = np.bincount(mails.mail[facts.recipient_new], minlength=n_mails) > 0
    attached = mails.attachments > 0
    found[email] += (
        np.where(mails.has_outside, 12, 0)
        + np.where(mails.has_outside & attached, 12, 0)
        + np.where(mails.has_own & attached, 40, 0)
        + np.where(mails.has_employer, 50, 0)
        + np.where(mails.n_recipients >= MASS, 60, 0)
        + np.where(new, 10, 0)
        + np.where(facts.senders_new[seen.senders.of_row], 15, 0)
    )
    by_category = np.zeros(len(Category), np.int64)
    for category, amount in _PAGE_POINTS.items():
        by_category[category] = amount
    found[http] += by_category[seen.category] + np.where(facts.hosts_new[seen.hosts.of_row], 15, 0)
    return _less_for_repetition(facts, np.clip(found, 0, MOST_POINTS))


def _less_for_repetition(facts: Facts, found: Ints) -> Ints:
    """Take points from the ninth and later telling events of one sort: the same host, or the same kind elsewhere.

    Two points for each one more, half of all at most; so a flood of one thing cannot hide the rest.
    """
    seen = facts.observed
    rows = np.flatnonzero(found >= _TELLING)
    if not len(rows):
        return found
    sort = np.zeros(seen.n, np.int64)
    sort[seen.part[Kind.HTTP]] = seen.host.codes
    group = (seen.user[rows] * len(KINDS) + seen.kind[rows]) * (len(seen.host.values) + 1) + sort[rows]
    order = np.lexsort((seen.ts[rows], group))
    group, ts = group[order], seen.ts[rows][order]
    begins = np.searchsorted(group, group)
    new_instant = np.ones(len(rows), np.bool_)
    new_instant[1:] = (group[1:] != group[:-1]) | (ts[1:] != ts[:-1])
    # events of one instant share the lowest rank, so that nothing depends on their order
    rank = np.maximum.accumulate(np.where(new_instant, np.arange(len(rows)), 0)) - begins
    found = found.copy()
    before = found[rows[order]]
    found[rows[order]] = before - np.minimum(2 * np.maximum(rank - _UNPUNISHED, 0), before // 2)
    return found


def most_telling(facts: Facts, told: Ints, cap: int, start_ms: int) -> Ints:
    """Rows of the `cap` most telling events of each user, users ascending.

    What tells more comes first; ties go to the earlier one, then by kind and id.
    """
    seen = facts.observed
    since = seen.ts - start_ms
    seconds = since // 1000
    place = (seen.user << 8) | (MOST_POINTS - told)
    order, coarse = sorted_places((place << max(int(seconds.max()).bit_length(), 1)) | seconds)
    users = seen.user[order]
    begins = np.searchsorted(users, np.arange(len(seen.users) + 1))
    ends = np.minimum(begins[:-1] + cap, begins[1:])
    if cap:
        order = _settle_the_last(seen, coarse, (since % 1000 << 3) | seen.kind, order, ends[ends < begins[1:]])
    chosen: Ints = order[np.arange(len(order)) - begins[users] < cap]
    return chosen


def _settle_the_last(seen: Observed, coarse: Ints, fine: Ints, order: Ints, ends: Ints) -> Ints:
    """Settle the ties across the places where choosing ends; no other tie decides what is chosen."""
    ends = ends[coarse[ends] == coarse[ends - 1]]
    if not len(ends):
        return order
    ties = coarse[ends]
    begin, end = np.searchsorted(coarse, ties), np.searchsorted(coarse, ties, side="right")
    places = np.repeat(begin - np.cumsum(end - begin) + (end - begin), end - begin) + np.arange(int((end - begin).sum()))
    order = order.copy()
    order[places] = settle_ties(seen, coarse[places], fine, order[places])
    return order


def sorted_places(numbers: Ints) -> tuple[Ints, Ints]:
    """Places of numbers (not negative) in ascending order, equal ones by place, and the numbers in that order."""
    bits = len(numbers).bit_length()
    if int(numbers.max()).bit_length() + bits <= 63:
        # sorting plain numbers that carry their place is several times faster than sorting places
        packed = np.sort((numbers << bits) | np.arange(len(numbers)))
        return packed & ((1 << bits) - 1), packed >> bits
    order = np.argsort(numbers, kind="stable")
    return order, numbers[order]


def settle_ties(seen: Observed, coarse: Ints, fine: Ints, order: Ints) -> Ints:
    """Put neighbours in `order` (rows) whose `coarse` is the same, element by element, into the order of `fine` (by row) and id."""
    same = np.zeros(len(order) + 1, np.bool_)
    same[1:-1] = coarse[1:] == coarse[:-1]
    places = np.flatnonzero(same[:-1] | same[1:])
    if not len(places):
        return order
    rows = order[places]
    ids = pl.concat([seen.frames[kind]["id"] for kind in KINDS], rechunk=False)[rows]
    tied = pl.DataFrame({"coarse": coarse[places], "fine": fine[rows], "id": ids, "row": rows})
    order = order.copy()
    order[places] = tied.sort("coarse", "fine", "id")["row"].to_numpy()
    return order
