"""Rules about the store and the clocks. Pure: facts in, findings out."""

from collections.abc import Iterable, Mapping
from typing import Final

from daywatch.doctor.about_broker import span
from daywatch.doctor.facts import Facts, Missing, Server, known
from daywatch.doctor.findings import Told, fine, problem, unknown, warning
from stream.errors import RefusedError
from stream.kinds import Millis
from windowing.store import check_eviction

_OLDEST: Final[Mapping[str, tuple[int, int]]] = {"Redis": (7, 0), "Valkey": (7, 2)}
_SOON, _FULL = 0.8, 0.95
_GIB: Final = 1 << 30
_FAR_MS: Final[Millis] = 30_000
_OLD_ZONES_YEARS: Final = 2
_YEAR_MS: Final[Millis] = 365 * 86_400_000


def reachable(facts: Facts) -> Iterable[Told]:
    """Does the store answer, and let us in?"""
    if isinstance(facts.store, Missing):
        yield problem(facts.store.why, facts.store.cure, facts.wanted.store)
    else:
        yield fine(f"{facts.store.product} {facts.store.version} answers at {facts.wanted.store}")


def version(facts: Facts) -> Iterable[Told]:
    """Is it a product and a version that Daywatch is tested with?"""
    store = known(facts.store)
    oldest = _OLDEST.get(store.product)
    if not store.version:
        yield unknown("it does not tell its version", "let the user run INFO: ACL SETUSER … +info")
    elif oldest is None:
        yield warning(
            f"{store.product} {store.version}: Daywatch is tested with Redis 7 and Valkey", "use one of these where state must not be lost"
        )
    elif _version(store.version) < oldest:
        yield warning(
            f"{store.product} {store.version} is older than {oldest[0]}.{oldest[1]}",
            f"upgrade it to {store.product} {oldest[0]}.{oldest[1]} or later",
        )
    else:
        yield fine(f"{store.product} {store.version}")


def role(facts: Facts) -> Iterable[Told]:
    """Does every server take writes, and is it of the kind that the settings say?"""
    for about, server in _servers(facts):
        if server.info.get("loading") == "1":
            yield warning("it is still loading its data", "wait until it has; workers do", about)
        if server.info.get("role") == "slave":
            yield problem("it is a read-only replica: no worker can keep state in it", "let store.url name the primary", about)
        if server.info.get("cluster_enabled") == "1" and not facts.wanted.cluster:
            yield problem("it is one server of a Redis Cluster, and workers take it for the whole store", "set store.cluster = true", about)


def persistence(facts: Facts) -> Iterable[Told]:
    """Would state survive a restart of the store?"""
    for about, server in _servers(facts):
        yield from _persistence(server, about)


def _persistence(server: Server, about: str) -> Iterable[Told]:
    info, config = server.info, server.config
    if "aof_enabled" not in info:
        yield unknown("it does not tell whether it writes to disk", "see that appendonly is yes; let the user run INFO", about)
        return
    saves = None if isinstance(config, Missing) else config.get("save", "")
    fsync = None if isinstance(config, Missing) else config.get("appendfsync")
    writes = (("aof_last_write_status", "the last write to its append-only file"), ("aof_last_bgrewrite_status", "its last rewrite"))
    for name, what in writes:
        if info["aof_enabled"] == "1" and info.get(name, "ok") != "ok":
            yield problem(f"{what} failed", "see the store's log and the free space on its disk", about)
    if saves != "" and info.get("rdb_last_bgsave_status", "ok") != "ok":
        yield problem("its last snapshot failed", "see its log and the free space on its disk; until then it may refuse writes", about)
    if info["aof_enabled"] == "1":
        if fsync == "no":
            yield warning("appendfsync is no: a power cut loses what was not written yet", "CONFIG SET appendfsync everysec", about)
        else:
            yield fine(f"append-only file{f', synced {fsync}' if fsync else ''}", about)
        return
    cure = "CONFIG SET appendonly yes, and set appendonly yes and appendfsync everysec in its configuration file"
    if saves == "":
        yield problem("it keeps nothing on disk: after a restart every worker refuses to go on", cure, about)
    else:
        yield warning("snapshots only: a restart brings it back minutes older, and workers read all of that again", cure, about)


def eviction(facts: Facts) -> Iterable[Told]:
    """Might it drop keys when memory is short?"""
    for about, server in _servers(facts):
        policy = None if isinstance(server.config, Missing) else server.config.get("maxmemory-policy")
        policy = policy or server.info.get("maxmemory_policy")
        if policy is None:
            yield unknown("it does not tell its eviction policy", "see that maxmemory-policy is noeviction; let the user run INFO", about)
            continue
        try:
            check_eviction(policy)
        except RefusedError as error:
            yield problem(error.told.removeprefix("store: "), error.cure, about)
        else:
            yield fine(f"maxmemory-policy is {policy}", about)


def memory(facts: Facts) -> Iterable[Told]:
    """Is there memory left?"""
    for about, server in _servers(facts):
        yield _memory(server.info, about)


def _memory(info: Mapping[str, str], about: str) -> Told:
    used, most, system = (_number(info, name) for name in ("used_memory", "maxmemory", "total_system_memory"))
    limit, what = (most, "maxmemory") if most else (system, "the machine's memory")
    if used is None or not limit:
        return unknown("it does not tell how much memory it has and uses", "see that it has room; let the user run INFO", about)
    told = f"{used / _GIB:.2f} of {limit / _GIB:.2f} GiB ({what}) in use"
    if used / limit >= _FULL:
        cure = "raise maxmemory, or give it a larger machine"
        return problem(f"almost full: {told}; it will refuse writes, and workers stand still", cure, about)
    if used / limit >= _SOON:
        return warning(told, "raise maxmemory, or give it a larger machine, before it refuses writes", about)
    return fine(told, about)


def permissions(facts: Facts) -> Iterable[Told]:
    """May this user run what workers need?"""
    denied = known(known(facts.store).denied)
    if denied:
        yield problem(
            f"the store's user lacks rights that workers need: {' '.join(denied)}",
            f"ACL SETUSER … {' '.join(denied)}",
        )
    else:
        yield fine("the user may run all that workers need")


def store_clock(facts: Facts) -> Iterable[Told]:
    """Do this machine and the store agree on the time?"""
    for about, server in _servers(facts):
        yield _apart(facts, known(server.ahead_ms), "the store's clock", about)


def record_clock(facts: Facts) -> Iterable[Told]:
    """Are records stamped by clocks that agree with this machine's?"""
    logs = known(facts.logs)
    stamped = [log.newest_ms for log in logs.values() if log.newest_ms is not None]
    if not stamped:
        yield fine("no record yet; Kafka tells the time of nothing else")
        return
    newest_ms = max(stamped)
    if newest_ms > facts.now_ms:
        yield _apart(facts, newest_ms - facts.now_ms, "the newest record's time stamp")
    else:
        yield fine(f"the newest record came {span(facts.now_ms - newest_ms)} ago; none is ahead of this machine's clock")


def zones(facts: Facts) -> Iterable[Told]:
    """Is the time-zone database there, and of this age?"""
    base = known(facts.zones)
    year = int(base.edition[:4]) if base.edition[:4].isdigit() else None
    if year is None:
        yield unknown(
            f"{facts.wanted.zone} is read from {base.source}, which does not tell its edition", "see that all workers have the same"
        )
    elif 1970 + facts.now_ms // _YEAR_MS - year > _OLD_ZONES_YEARS:
        yield warning(
            f"{facts.wanted.zone} is read from {base.source}, edition {base.edition}: rules of zones have changed since",
            "update the system's tzdata, on all workers alike",
        )
    else:
        yield fine(f"{facts.wanted.zone} is read from {base.source}, edition {base.edition}")


def _apart(facts: Facts, ahead_ms: Millis, what: str, about: str = "") -> Told:
    told = f"{what} is {span(abs(ahead_ms))} {'ahead of' if ahead_ms > 0 else 'behind'} this machine's"
    cure = "set the clocks by NTP (chronyd or systemd-timesyncd) on all machines"
    if abs(ahead_ms) >= facts.wanted.future_tolerance_ms:
        return problem(f"{told}: events are dead-lettered as future, and silence is misjudged", cure, about)
    if abs(ahead_ms) >= _FAR_MS:
        return warning(told, cure, about)
    return fine(f"{what} and this machine's agree" + (f" ({abs(ahead_ms) / 1000:.1f} s)" if abs(ahead_ms) >= 100 else ""), about)


def _servers(facts: Facts) -> list[tuple[str, Server]]:
    """The store's servers, with what to call each where there are several."""
    servers = known(facts.store).servers
    return [(server.name if len(servers) > 1 else "", server) for server in servers]


def _number(info: Mapping[str, str], name: str) -> int | None:
    text = info.get(name, "")
    return int(text) if text.isdigit() else None


def _version(text: str) -> tuple[int, int]:
    parts = [int(part) if part.isdigit() else 0 for part in (text + ".0").split(".")]
    return parts[0], parts[1]
