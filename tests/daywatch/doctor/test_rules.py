"""Every rule against the one thing it is for, broken alone in a chain that is otherwise in good order."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from daywatch.doctor.checks import CHECKS, GROUPS
from daywatch.doctor.facts import Broker, Disk, Facts, Greeting, Group, Held, Log, Missing, Package, Part, Release, Topics, Wanted, ZoneBase
from daywatch.doctor.findings import Check, Finding, State, Told, examine, worst
from daywatch.doctor.gather import Errand
from stream.kinds import KINDS
from stream.log import TopicPartition
from stream.topics import TopicLayout
from tests.daywatch.doctor.healthy import (
    LAYOUT,
    NOW_MS,
    READ,
    STATE,
    group,
    healthy,
    other_layout,
    server,
    store,
    topic,
    with_config,
    with_topic,
)
from windowing.ledger import Place
from windowing.partition import Closed

MINUTE_MS = 60_000
GIB = 1 << 30


def broken(facts: Facts) -> list[Finding]:
    return [finding for finding in examine(facts, CHECKS) if finding.state is not State.OK]


def log(name: str, **bounds: int) -> Mapping[TopicPartition, Log]:
    logs = healthy().logs
    assert not isinstance(logs, Missing)
    return {**logs, TopicPartition(f"acme.{name}", 0): replace(Log(0, 5, NOW_MS - 1_000), **bounds)}


def groups(**changes: Group) -> Mapping[str, Group]:
    found = healthy().groups
    assert not isinstance(found, Missing)
    return {**found, **changes}


def wanted(**changes: object) -> Wanted:
    return replace(healthy().wanted, **changes)  # type: ignore[arg-type]


def broker(nodes: int = 1, **config: str) -> Broker:
    return Broker(nodes, {name.replace("_", "."): value for name, value in config.items()})


def all_topics(**changes: object) -> Topics:
    return Topics({spec.name: topic(spec.name, **changes) for spec in LAYOUT.specs()})


WAITS = {TopicPartition("acme.windows", 0): NOW_MS - 11 * MINUTE_MS}
ONE_GREETS = (Greeting("a:9092", "nothing listens there", "start it"), Greeting("b:9092", release=Release(4, 2)))

CASES: list[tuple[str, dict[str, object], str, State, str]] = [
    ("one address is silent", {"greetings": ONE_GREETS}, "broker.reachable", State.WARNING, "nothing listens"),
    ("an old broker", {"greetings": (Greeting("a:9092", release=Release(3, 9)),)}, "broker.version", State.WARNING, "3.9"),
    ("a broker of another make", {"greetings": (Greeting("a:9092"),)}, "broker.version", State.UNKNOWN, "does not tell"),
    ("the broker keeps us out", {"broker": Missing("wrong password", "mend it")}, "broker.access", State.PROBLEM, "wrong password"),
    ("short transactions", {"broker": broker(transaction_max_timeout_ms="5000")}, "broker.limits", State.PROBLEM, "5000"),
    ("long sessions only", {"broker": broker(group_min_session_timeout_ms="30000")}, "broker.limits", State.PROBLEM, "no worker can join"),
    ("short sessions only", {"broker": broker(group_max_session_timeout_ms="6000")}, "broker.limits", State.PROBLEM, "no worker can join"),
    ("offsets forgotten soon", {"broker": broker(offsets_retention_minutes="60")}, "broker.limits", State.WARNING, "forgets"),
    ("topics made by mistake", {"broker": broker(auto_create_topics_enable="true")}, "broker.limits", State.WARNING, "mistyped"),
    (
        "a topic without its own number of partitions",
        {"topics": with_topic("email", partitions=3)},
        "topics.partitions",
        State.PROBLEM,
        "acme.email",
    ),
    (
        "another number of partitions in the settings",
        {"wanted": wanted(layout=TopicLayout("acme", partitions=4))},
        "topics.partitions",
        State.WARNING,
        "topics.partitions says 4",
    ),
    ("events compacted", {"topics": with_config("logon", cleanup_policy="compact")}, "topics.cleanup", State.PROBLEM, "overwrite"),
    ("memory deleted by time", {"topics": with_config("alert-memory", cleanup_policy="delete")}, "topics.cleanup", State.PROBLEM, "merged"),
    ("a size limit", {"topics": with_config("http", retention_bytes="1000000")}, "topics.retention", State.WARNING, "retention.bytes"),
    ("events for an hour", {"topics": with_config("file", retention_ms="3600000")}, "topics.retention", State.PROBLEM, "60 min"),
    ("no copy to spare", {"topics": all_topics(), "broker": broker(3)}, "topics.replication", State.WARNING, "one copy each"),
    (
        "fewer copies than asked for",
        {"wanted": wanted(layout=replace(LAYOUT, replication_factor=3)), "broker": broker(3)},
        "topics.replication",
        State.WARNING,
        "fewer copies",
    ),
    (
        "writes blocked",
        {"topics": with_config("windows", min_insync_replicas="2")},
        "topics.replication",
        State.PROBLEM,
        "nothing can be written",
    ),
    ("loose writes", {"topics": all_topics(replicas=3), "broker": broker(3)}, "topics.replication", State.WARNING, "confirmed"),
    ("no leader", {"topics": with_topic("email", leaderless=(1,))}, "topics.health", State.PROBLEM, "acme.email 1"),
    ("a copy behind", {"topics": with_topic("email", behind=(0, 1))}, "topics.health", State.WARNING, "2 partitions are"),
    (
        "nobody reads what waits",
        {
            "groups": groups(detect=group("windows", members=0)),
            "logs": log("windows", end=9),
            "waiting": {TopicPartition("acme.windows", 0): NOW_MS},
        },
        "groups.members",
        State.WARNING,
        "4 records wait",
    ),
    (
        "a group that lags",
        {"logs": log("windows", end=9), "waiting": WAITS},
        "groups.lag",
        State.WARNING,
        "11 min ago (lag: acme.windows 4)",
    ),
    ("records deleted unread", {"logs": log("windows", start=7, end=9)}, "groups.positions", State.PROBLEM, "begins at 7"),
    ("a topic made anew", {"logs": log("windows", end=3)}, "groups.positions", State.PROBLEM, "ends at 3"),
    ("detection lost its place", {"groups": groups(detect=Group())}, "groups.verdicts", State.PROBLEM, "partition 0, 1"),
    ("no store", {"store": Missing("no store answers", "start it")}, "store.reachable", State.PROBLEM, "no store"),
    ("an old store", {"store": store(version="6.2.1")}, "store.version", State.WARNING, "older"),
    ("another store", {"store": store(product="Dragonfly", version="1.2")}, "store.version", State.WARNING, "tested with"),
    ("a replica", {"store": store(server(role="slave"))}, "store.role", State.PROBLEM, "replica"),
    ("a cluster", {"store": store(server(cluster_enabled="1"))}, "store.role", State.PROBLEM, "Cluster"),
    ("a store that is loading", {"store": store(server(loading="1"))}, "store.role", State.WARNING, "loading"),
    ("nothing on disk", {"store": store(server(aof_enabled="0"))}, "store.persistence", State.PROBLEM, "nothing on disk"),
    (
        "snapshots only",
        {"store": store(server({"save": "3600 1", "maxmemory-policy": "noeviction"}, aof_enabled="0"))},
        "store.persistence",
        State.WARNING,
        "minutes older",
    ),
    ("never synced", {"store": store(server({"appendfsync": "no", "save": ""}))}, "store.persistence", State.WARNING, "power cut"),
    ("a write that failed", {"store": store(server(aof_last_write_status="err"))}, "store.persistence", State.PROBLEM, "last write"),
    (
        "a rewrite that failed",
        {"store": store(server(aof_last_bgrewrite_status="err"))},
        "store.persistence",
        State.PROBLEM,
        "last rewrite",
    ),
    (
        "a snapshot that failed",
        {"store": store(server({"save": "60 1", "appendfsync": "always"}, rdb_last_bgsave_status="err"))},
        "store.persistence",
        State.PROBLEM,
        "snapshot failed",
    ),
    ("a store that evicts", {"store": store(server({"maxmemory-policy": "allkeys-lru"}))}, "store.eviction", State.PROBLEM, "allkeys-lru"),
    (
        "a store that evicts and hides its settings",
        {"store": store(server(Missing("no"), maxmemory_policy="volatile-ttl"))},
        "store.eviction",
        State.PROBLEM,
        "volatile-ttl",
    ),
    ("memory runs short", {"store": store(server(used_memory=str(13 * GIB)))}, "store.memory", State.WARNING, "13.00 of 16.00 GiB"),
    ("memory is full", {"store": store(server(used_memory=str(GIB), maxmemory=str(GIB)))}, "store.memory", State.PROBLEM, "maxmemory"),
    ("missing rights", {"store": store(denied=("+hset", "~acme:*"))}, "store.permissions", State.PROBLEM, "+hset ~acme:*"),
    (
        "other settings than the state's",
        {"store": store(held={0: replace(READ, layout=other_layout(zone="Asia/Tokyo")), 1: READ})},
        "state.layout",
        State.PROBLEM,
        "zone = Asia/Tokyo",
    ),
    (
        "state of more partitions",
        {"store": store(held=dict.fromkeys(range(2), replace(READ, layout=other_layout(partitions=8))))},
        "state.layout",
        State.PROBLEM,
        "partitions = 8",
    ),
    ("a store that was emptied", {"store": store(held={})}, "state.begun", State.PROBLEM, "the store was lost"),
    (
        "a group that was forgotten",
        {"groups": groups(window=Group("STABLE", 1, {}))},
        "state.begun",
        State.PROBLEM,
        "no committed offsets",
    ),
    ("a store in another time", {"store": store(server(ahead_ms=-90_000))}, "clock.store", State.WARNING, "90 s behind"),
    ("a store in another hour", {"store": store(server(ahead_ms=3_600_000))}, "clock.store", State.PROBLEM, "60 min ahead"),
    ("records from tomorrow", {"logs": log("logon", newest_ms=NOW_MS + 86_400_000)}, "clock.records", State.PROBLEM, "ahead of"),
    ("records a minute ahead", {"logs": log("logon", newest_ms=NOW_MS + MINUTE_MS)}, "clock.records", State.WARNING, "1 min ahead"),
    ("old zones", {"zones": ZoneBase("/usr/share/zoneinfo", "2019c")}, "clock.zones", State.WARNING, "2019c"),
    ("zones without an edition", {"zones": ZoneBase("/usr/share/zoneinfo")}, "clock.zones", State.UNKNOWN, "does not tell"),
    ("little room", {"disks": (Disk("/a", "results", 500 << 20, GIB),)}, "disk.space", State.WARNING, "500 MiB free"),
    ("no room", {"disks": (Disk("/a", "results", 1 << 20, GIB),)}, "disk.space", State.PROBLEM, "1 MiB free"),
    ("no right to write", {"disks": (Disk("/a", "results", failure="no"),)}, "disk.writable", State.WARNING, "results"),
    (
        "no directory of users",
        {"parts": {"directory": Part("cannot be read", "name one", fine=False)}},
        "disk.directory",
        State.PROBLEM,
        "read",
    ),
    ("no libraries", {"parts": {"backend": Part("torch is missing", "pip", fine=False)}}, "detector.backend", State.PROBLEM, "torch"),
    ("a broken baseline", {"parts": {"baseline": Part("damaged", "fit", fine=False)}}, "detector.baseline", State.PROBLEM, "damaged"),
    ("changed files", {"parts": {"files": Part("changed", "add", fine=False)}}, "detector.files", State.PROBLEM, "changed"),
    ("another base", {"parts": {"adapter": Part("other base", "name it", fine=False)}}, "detector.adapter", State.PROBLEM, "other base"),
    ("too large", {"parts": {"memory": Part("too large", "smaller", fine=False)}}, "detector.memory", State.PROBLEM, "too large"),
    ("slow", {"parts": {"memory": Part("slow", "GPU", slow=True)}}, "detector.memory", State.WARNING, "slow"),
    ("an idle GPU", {"parts": {"gpu": Part("not seen", "CUDA", slow=True)}}, "detector.gpu", State.WARNING, "not seen"),
    ("no model server", {"parts": {"server": Part("no answer", "start", fine=False)}}, "detector.server", State.PROBLEM, "no answer"),
    ("an old library", {"packages": (Package("redis", "5.0", ">=6.0", fits=False),)}, "packages.versions", State.PROBLEM, "redis 5.0"),
    ("a missing library", {"packages": (Package("xxhash", "", ">=3.5", fits=False),)}, "packages.versions", State.PROBLEM, "not installed"),
]


def test_a_chain_in_good_order_has_nothing_to_mend() -> None:
    findings = examine(healthy(), CHECKS)
    assert [finding for finding in findings if finding.state is not State.OK] == []
    assert {finding.id for finding in findings} == {check.id for check in CHECKS}
    assert worst(findings) is State.OK


@pytest.mark.parametrize(("change", "check", "state", "told"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_broken_thing_shows_as_itself(change: dict[str, object], check: str, state: State, told: str) -> None:
    findings = broken(healthy(**change))
    found = [finding for finding in findings if finding.id == check]
    assert [finding.state for finding in found] == [state]
    assert told in found[0].told
    assert found[0].cure
    # what hangs on a missing fact may be unknown; nothing else is accused
    others = [finding for finding in findings if finding.id != check and finding.state is not State.UNKNOWN]
    assert others == []


def test_every_check_is_broken_by_some_case_in_every_way_it_can_be() -> None:
    shown = {(check, state) for _, _, check, state, _ in CASES} | SHOWN_ELSEWHERE
    wanted = {(check.id, State.WARNING) for check in CHECKS if check.warns} | {(check.id, State.PROBLEM) for check in CHECKS if check.fails}
    assert wanted - shown == set()
    assert {one for one in shown if one[1] is not State.UNKNOWN} - wanted == set()


SHOWN_ELSEWHERE = {("broker.reachable", State.PROBLEM), ("topics.exist", State.PROBLEM)}


def test_ids_are_unique_and_every_group_has_a_name() -> None:
    ids = [check.id for check in CHECKS]
    assert len(set(ids)) == len(ids)
    assert list(dict.fromkeys(check.group for check in CHECKS)) == list(GROUPS)


def test_one_server_of_a_cluster_is_told_by_its_name() -> None:
    two = store(
        server(name="a:6379", cluster_enabled="1"), server({"maxmemory-policy": "volatile-lru"}, name="b:6379", cluster_enabled="1")
    )
    (found,) = broken(healthy(store=two, wanted=wanted(cluster=True)))
    assert (found.id, found.about, found.state) == ("store.eviction", "b:6379", State.PROBLEM)


def test_without_a_broker_only_the_broker_is_accused_and_the_rest_is_still_looked_at() -> None:
    gone = Missing("no broker answers", "start it")
    greetings = (Greeting("a:9092", "nothing listens there", "start it"),)
    findings = examine(healthy(greetings=greetings, broker=gone, topics=gone, logs=gone, groups=gone, waiting=gone), CHECKS)
    assert [finding.id for finding in findings if finding.state is State.PROBLEM] == ["broker.reachable"]
    unknown = {finding.id for finding in findings if finding.state is State.UNKNOWN}
    assert {"broker.access", "topics.exist", "groups.lag", "state.begun", "clock.records"} <= unknown
    assert {finding.id for finding in findings if finding.state is State.OK} >= {"store.persistence", "state.layout", "disk.space"}


def test_without_a_store_only_the_store_is_accused_and_topics_are_still_looked_at() -> None:
    findings = examine(healthy(store=Missing("no store answers", "start it")), CHECKS)
    assert [finding.id for finding in findings if finding.state is State.PROBLEM] == ["store.reachable"]
    assert {finding.id for finding in findings if finding.state is State.OK} >= {"topics.partitions", "groups.lag", "detector.baseline"}


def test_missing_topics_are_named_and_so_are_other_namespaces_when_all_are_missing() -> None:
    topics = with_topic("logon").here
    one = broken(healthy(topics=Topics({name: found for name, found in topics.items() if name != "acme.verdicts"})))
    assert [(finding.id, finding.told) for finding in one] == [("topics.exist", "1 topic is missing: acme.verdicts")]
    none = broken(
        healthy(
            topics=Topics({}, ("apex",)), logs={}, groups=groups(window=Group(), detect=Group(), correlate=Group()), store=store(held={})
        )
    )
    assert "apex" in none[0].told
    assert none[0].cure.startswith("check --namespace")
    assert [finding.id for finding in none if finding.state is State.PROBLEM] == ["topics.exist"]


@pytest.mark.parametrize(
    ("windows", "alerts", "broken_by"),
    [
        ("-1", "-1", False),
        ("86400000", "86400000", False),
        ("86399999", "86400000", True),
        ("86400000", "-1", True),
        ("-1", "86400000", False),
    ],
)
def test_windows_are_kept_at_least_as_long_as_alerts(windows: str, alerts: str, broken_by: bool) -> None:
    here = {
        **with_config("windows", retention_ms=windows).here,
        "acme.alerts": with_config("alerts", retention_ms=alerts).here["acme.alerts"],
    }
    found = [finding for finding in broken(healthy(topics=Topics(here))) if finding.state is State.PROBLEM]
    assert [(finding.id, finding.about) for finding in found] == ([("topics.retention", "acme.windows")] if broken_by else [])


def test_windowing_stands_where_its_store_says_not_where_it_has_committed() -> None:
    # it commits to Kafka only what it sends: 1 is what an earlier window was made of
    committed = dict.fromkeys(group(*KINDS).committed, 1)
    behind = {"groups": groups(window=Group("STABLE", 1, committed)), "logs": log("email", end=6)}
    waits = {TopicPartition("acme.email", 0): NOW_MS - 60 * MINUTE_MS}
    (found,) = broken(healthy(**behind, waiting=waits))
    assert (found.id, found.about) == ("groups.lag", "acme.window")
    assert "acme.email 1)" in found.told


def test_what_ends_a_transaction_is_not_taken_for_a_record_that_waits() -> None:
    assert broken(healthy(logs=log("windows", end=6), waiting={})) == []


def test_a_group_that_never_began_is_not_accused_of_losing_its_state() -> None:
    fresh = Held(STATE, Place((0,) * 5, Closed()).encode(), '{"clocks": {}, "fresh": true}')
    nobody = groups(window=Group(), detect=Group(), correlate=Group())
    empty = dict.fromkeys(log("logon"), Log(0, 0))
    assert broken(healthy(groups=nobody, store=store(held={0: fresh, 1: fresh}), logs=empty)) == []


def test_damaged_state_is_a_problem_and_its_contents_are_not_shown() -> None:
    (found,) = broken(healthy(store=store(held={0: replace(READ, layout="no JSON"), 1: READ})))
    assert (found.id, found.state) == ("state.layout", State.PROBLEM)
    assert "no JSON" not in found.told


def test_a_rule_that_falls_over_is_told_and_hides_no_other() -> None:
    def falls(facts: Facts) -> list[Told]:
        raise KeyError(facts.wanted.zone)

    first, *others = examine(healthy(), [Check("disk.odd", "odd", "", "", falls), *CHECKS])
    assert (first.state, first.told) == (State.UNKNOWN, "this check itself failed (KeyError)")
    assert all(finding.state is State.OK for finding in others)


def test_what_breaks_into_a_question_by_accident_costs_no_fact_and_what_keeps_failing_costs_only_its_own() -> None:
    answers: list[str | Exception] = [SystemError(), "there"]

    def ask() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    errand = Errand()
    assert errand.step("one", ask) == "there"
    answers = [KeyError("secret")]
    found = errand.step("two", ask)
    assert isinstance(found, Missing)
    assert found.why == "looking failed (KeyError)"
    assert errand.take("one", "") == "there"
