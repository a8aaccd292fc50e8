"""One person's doing on one day, in a strength. Knows nothing of why: the same episode may be an insider's or an honest one.

Each act below turns an episode into events of a scene.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from stream.synth.rows import NOBODY
from stream.synth.scene import EXE, Scene
from stream.synth.sites import SITES_OF


class Act(StrEnum):
    """What somebody does."""

    NIGHT_DRIVE = "night drive"
    HUNT = "hunt"
    COPY = "copy"
    TOOL = "tool"
    POSE = "pose"
    ANNOUNCE = "announce"
    PROWL = "prowl"
    MAIL_HOME = "mail home"
    HELP = "help"
    UPLOAD = "upload"
    READ_LEAKS = "read leaks"
    PATCH_ROUND = "patch round"
    GRUMBLE = "grumble"


@dataclass(frozen=True, slots=True)
class Episode:
    """`amount` is the day's main number (files, pages, mails, connects), `extra` the second one; what they count is the act's own."""

    day: int
    user: int
    act: Act
    amount: int
    extra: int = 0
    other: int = -1  # a second person: whose machine or account
    insider: int = NOBODY
    night: bool = False


# Ordinary events of the same sort that an act stands in for: on a day of stealing, the drive is the thief's.
REPLACES: Final[dict[Act, frozenset[str]]] = {
    Act.NIGHT_DRIVE: frozenset({"drive", "leak"}),
    Act.HUNT: frozenset({"jobs"}),
    Act.COPY: frozenset({"drive"}),
    Act.TOOL: frozenset({"drive", "spyware"}),
    Act.UPLOAD: frozenset({"cloud"}),
    Act.PATCH_ROUND: frozenset({"spyware"}),
    Act.READ_LEAKS: frozenset({"leak"}),
}


def perform(scene: Scene, episode: Episode) -> None:
    """Let one episode happen."""
    _ACTS[episode.act](scene, episode)


def _night_drive(scene: Scene, e: Episode) -> None:
    """Back at the machine in the evening (or staying on), a drive with `amount` copies, `extra` pages on a leak site."""
    pc = scene.own_pc(e.user)
    _, depart = scene.working_hours(e.user)
    stays = not e.night
    begin = depart - scene.between(1200, 3000) if stays else scene.after_work(e.user, 19 * 3600)
    t = begin + scene.between(60, 1200)
    if e.amount >= 0:
        t = scene.drive(e.user, pc, t, e.amount, e.insider)
    if e.extra:
        site, about = scene.usual_sites(e.user, "leak", 1), scene.org.topic[e.user]
        t = scene.browse(e.user, pc, t - scene.between(0, 60), e.extra, site, e.insider, 0.5, about)
    elif e.insider == NOBODY:
        t = scene.browse(e.user, pc, t, scene.between(0, 8), SITES_OF[scene.org.topic[e.user]], NOBODY)
    if not stays:
        scene.session(e.user, pc, begin, t + scene.between(60, 1500), e.insider, not scene.chance(0.05))


def _hunt(scene: Scene, e: Episode) -> None:
    """`amount` pages on job sites in a few sittings, `extra` mails to a competitor's recruiter."""
    sites = scene.usual_sites(e.user, "jobs", 6)
    left = e.amount
    while left > 0:
        pages = min(left, scene.between(1, 4))
        scene.browse(e.user, scene.own_pc(e.user), scene.during_work(e.user, 600), pages, sites, e.insider)
        left -= pages
    for _ in range(e.extra):
        at = scene.during_work(e.user, 300)
        private = scene.chance(0.6)
        scene.mail(e.user, scene.own_pc(e.user), at, [scene.recruiter(e.user)], scene.between(0, 1), "jobs", e.insider, private=private)


def _copy(scene: Scene, e: Episode) -> None:
    """`amount` connects, each with about `extra` copies; at night in one session."""
    pc = scene.own_pc(e.user)
    if e.night:
        begin = scene.after_work(e.user, 18 * 3600)
        t = begin + 120
        for _ in range(e.amount):
            t = scene.drive(e.user, pc, t, scene.between(max(1, e.extra // 2), e.extra + e.extra // 2), e.insider) + scene.between(30, 400)
        scene.session(e.user, pc, begin, t + 200, e.insider)
        return
    for _ in range(e.amount):
        scene.drive(e.user, pc, scene.during_work(e.user, 1500), scene.between(e.extra // 2, e.extra + e.extra // 2), e.insider)


def _tool(scene: Scene, e: Episode) -> None:
    """An administrator reads up on monitoring software (`amount` pages), puts a tool on a drive and takes it to another's machine.

    Without an `other` it ends with the reading.
    """
    pc = scene.own_pc(e.user)
    t = scene.during_work(e.user, 3 * 3600)
    t = scene.browse(e.user, pc, t, e.amount, SITES_OF["spyware"], e.insider, gap_s=90)
    if e.other < 0:
        return
    target = scene.own_pc(e.other)
    scene.drive(e.user, pc, t + scene.between(300, 2400), scene.between(1, 2), e.insider, EXE)
    begin = scene.after_work(e.user, 17 * 3600 + 1800) if e.night else t + scene.between(2700, 6000)
    end = scene.drive(e.user, target, begin + scene.between(60, 500), scene.between(0, 1), e.insider, EXE)
    scene.session(e.user, target, begin, end + scene.between(30, 400), e.insider)


def _pose(scene: Scene, e: Episode) -> None:
    """Log on as the supervisor (`other`), there or at one's own desk, and send `amount` alarming mails, to everyone if `extra`."""
    pc = scene.own_pc(e.user if scene.chance(0.5) else e.other)
    begin = scene.during_work(e.other, 1800)
    t = begin + scene.between(60, 600)
    for number in range(e.amount):
        to = scene.everyone() if e.extra else scene.house_list(number)
        scene.mail(e.other, pc, t, [to], 0, "panic", e.insider)
        t += scene.between(20, 240)
    scene.session(e.other, pc, begin, t + scene.between(20, 300), e.insider)


def _announce(scene: Scene, e: Episode) -> None:
    """A manager writes to everyone (`amount` mails), now and then from another machine (`other`)."""
    pc = scene.own_pc(e.other if e.other >= 0 else e.user)
    begin = scene.during_work(e.user, 1800)
    t = begin + scene.between(60, 600)
    for number in range(e.amount):
        to = scene.house_list(number + e.user) if e.extra else scene.team_list(e.user)
        if e.extra and scene.chance(0.04):
            to = scene.everyone()
        scene.mail(e.user, pc, t, [to], scene.between(0, 1), "office", NOBODY)
        t += scene.between(20, 400)
    if e.other >= 0 or scene.chance(0.3):
        scene.session(e.user, pc, begin, t + scene.between(20, 900), NOBODY)


def _prowl(scene: Scene, e: Episode) -> None:
    """Sit down at `extra` colleagues' machines, open `amount` files in all, and mail the finds home."""
    mates = scene.mates(e.user)
    if not mates:
        return
    found = 0
    for _ in range(max(1, e.extra)):
        pc = scene.own_pc(mates[scene.between(0, len(mates) - 1)])
        files = max(1, e.amount // max(1, e.extra) + scene.between(-1, 1))
        begin = scene.after_work(e.user, 18 * 3600) if e.night else scene.during_work(e.user, 2400)
        span = 120 + 60 * files
        scene.files(e.user, pc, begin + 60, span, files, e.insider)
        scene.session(e.user, pc, begin, begin + span + scene.between(60, 600), e.insider)
        found += files
        for _ in range(max(1, files // 4)):
            # from the machine where the files are, while the session lasts
            at, attachments = begin + span + scene.between(5, 55), min(files, scene.between(1, 4))
            scene.mail(e.user, pc, at, [scene.home(e.user)], attachments, scene.org.topic[e.user], e.insider)


def _mail_home(scene: Scene, e: Episode) -> None:
    """Mail `amount` pieces of work to one's private address, each with about `extra` attachments."""
    for _ in range(e.amount):
        attachments = scene.between(max(1, e.extra - 1), e.extra + 1)
        at = scene.during_work(e.user, 120)
        scene.mail(e.user, scene.own_pc(e.user), at, [scene.home(e.user)], attachments, scene.org.topic[e.user], e.insider)


def _help(scene: Scene, e: Episode) -> None:
    """Work at a colleague's machine, opening `amount` files; `extra` mails with the result."""
    mates = scene.mates(e.user)
    if not mates:
        return
    pc = scene.own_pc(mates[scene.between(0, len(mates) - 1)])
    begin = scene.after_work(e.user, 18 * 3600) if e.night else scene.during_work(e.user, 3600)
    span = scene.between(300, 3600)
    if e.amount > 4 and scene.chance(0.4):  # something is on yet another machine
        second = scene.own_pc(mates[scene.between(0, len(mates) - 1)])
        scene.files(e.user, second, begin + span + 900, 600, e.amount // 2, NOBODY)
        scene.session(e.user, second, begin + span + 800, begin + span + 1700, NOBODY)
    scene.files(e.user, pc, begin + 60, span, e.amount, NOBODY)
    scene.session(e.user, pc, begin, begin + span + scene.between(60, 900), NOBODY, not scene.chance(0.08))
    for _ in range(e.extra):
        to = scene.home(e.user) if scene.chance(0.5) else mates[scene.between(0, len(mates) - 1)]
        scene.mail(e.user, pc, begin + scene.between(60, span), [to], scene.between(1, 2), scene.org.topic[e.user], NOBODY)


def _upload(scene: Scene, e: Episode) -> None:
    """`amount` pages on a cloud storage site, `extra` in ten of them uploads; often the documents are opened just before."""
    pc = scene.own_pc(e.user)
    sites = scene.usual_sites(e.user, "cloud", 1)
    work = e.insider != NOBODY or scene.chance(0.4)
    left = e.amount
    while left > 0:
        pages = min(left, scene.between(2, 9))
        begin = scene.after_work(e.user, 18 * 3600) if e.night else scene.during_work(e.user, 900)
        if work and scene.chance(0.9 if e.insider != NOBODY else 0.6):
            scene.files(e.user, pc, begin - 90, 80, scene.between(1, 1 + pages // 3), e.insider)
        scene.browse(e.user, pc, begin, pages, sites, e.insider, e.extra / 10, scene.org.topic[e.user] if work else "social", 25.0)
        left -= pages


def _read_leaks(scene: Scene, e: Episode) -> None:
    """`amount` pages on a leak site, as the news has it."""
    begin = scene.after_work(e.user, 18 * 3600) if e.night else scene.during_work(e.user, 900)
    end = scene.browse(e.user, scene.own_pc(e.user), begin, e.amount, scene.usual_sites(e.user, "leak", 2), NOBODY, 0.1)
    if e.night:
        scene.session(e.user, scene.own_pc(e.user), begin - scene.between(60, 900), end + scene.between(60, 1800), NOBODY)


def _patch_round(scene: Scene, e: Episode) -> None:
    """An administrator visits `amount` machines with a drive of tools, the supervisors' among them."""
    t = scene.after_work(e.user, 18 * 3600) if e.night else scene.during_work(e.user, 2 * 3600)
    if scene.chance(0.6):
        scene.drive(e.user, scene.own_pc(e.user), t - scene.between(600, 2400), scene.between(1, 3), NOBODY, EXE)
    for _ in range(e.amount):
        pc = scene.own_pc(int(scene.rng.choice(scene.org.managers))) if scene.chance(0.3) else scene.between(0, scene.org.n_pcs - 1)
        end = scene.drive(e.user, pc, t + 60, scene.between(0, 2), NOBODY, EXE) if scene.chance(0.6) else t + 300
        scene.session(e.user, pc, t, end + scene.between(30, 600), NOBODY, not scene.chance(0.08))
        t = end + scene.between(300, 1800)


def _grumble(scene: Scene, e: Episode) -> None:
    """`amount` bitter mails to the boss."""
    boss = int(scene.org.boss[e.user])
    for _ in range(e.amount if boss >= 0 else 0):
        scene.mail(e.user, scene.own_pc(e.user), scene.during_work(e.user, 300), [boss], 0, "grievance", e.insider)


_ACTS: Final[dict[Act, Callable[[Scene, Episode], None]]] = {
    Act.NIGHT_DRIVE: _night_drive,
    Act.HUNT: _hunt,
    Act.COPY: _copy,
    Act.TOOL: _tool,
    Act.POSE: _pose,
    Act.ANNOUNCE: _announce,
    Act.PROWL: _prowl,
    Act.MAIL_HOME: _mail_home,
    Act.HELP: _help,
    Act.UPLOAD: _upload,
    Act.READ_LEAKS: _read_leaks,
    Act.PATCH_ROUND: _patch_round,
    Act.GRUMBLE: _grumble,
}
