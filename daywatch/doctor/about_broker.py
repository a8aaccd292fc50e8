"""Rules about the broker and its topics. Pure: facts in, findings out; what a worker checks at its start is asked of the same code."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from daywatch.doctor.facts import Broker, Facts, Missing, NotKnownError, Release, Topic, known
from daywatch.doctor.findings import Told, fine, problem, unknown, warning
from stream.kinds import KINDS, Millis
from stream.topics import ALERTS, FOREVER, VERDICTS, WINDOWS, differences

OLDEST: Final = Release(4, 0)
"""Older brokers may work; the guarantees are tested on 4."""
_DAY_MS: Final[Millis] = 86_400_000
_TRANSACTION_MS: Final = 10_000
_OFFSETS_DAY_MIN: Final = 24 * 60
_RETENTION_DAYS: Final = 1


def reachable(facts: Facts) -> Iterable[Told]:
    """Does a server answer at each address?"""
    greetings = known(facts.greetings)
    answered = [each for each in greetings if not each.failure]
    for each in greetings:
        if each.failure:
            say = warning if answered else problem
            yield say(each.failure, each.cure, each.address)
    if answered:
        yield fine(f"{len(answered)} of {len(greetings)} addresses answer ({', '.join(each.address for each in answered)})")


def let_in(facts: Facts) -> Iterable[Told]:
    """Does the broker let us in and tell of its topics?"""
    greetings = known(facts.greetings)
    if isinstance(facts.broker, Missing) and any(not each.failure for each in greetings):
        yield problem(facts.broker.why, facts.broker.cure)
        return
    broker = known(facts.broker)
    nodes = "1 node" if broker.nodes == 1 else f"{broker.nodes} nodes"
    yield fine(f"the broker lets us in; its cluster has {nodes}")


def version(facts: Facts) -> Iterable[Told]:
    """Is the broker new enough?"""
    releases = [each.release for each in known(facts.greetings) if not each.failure]
    told = [release for release in releases if release is not None]
    if not releases:
        known(facts.broker)
        return
    if not told:
        cure = (
            "nothing, if this is the demo's broker"
            if facts.wanted.embedded
            else "if it is not Apache Kafka 4, hold docs/delivery.md against what it promises"
        )
        yield unknown("the broker does not tell its version as Apache Kafka does", cure)
    elif min(told) < OLDEST:
        yield warning(
            f"the broker is Apache Kafka {min(told)}; Daywatch's promises are tested on {OLDEST} and later",
            f"upgrade it to {OLDEST} or later",
        )
    else:
        yield fine(f"Apache Kafka {min(told)}")


def limits(facts: Facts) -> Iterable[Told]:
    """Does the broker allow what workers ask of it?"""
    config = _config(known(facts.broker))
    session_ms = facts.wanted.session_timeout_ms
    most = _number(config, "transaction.max.timeout.ms")
    if most is not None and most < _TRANSACTION_MS:
        yield problem(
            f"transaction.max.timeout.ms is {most}, and workers ask for {_TRANSACTION_MS}: they cannot open transactions",
            f"raise transaction.max.timeout.ms to {_TRANSACTION_MS} or more on the brokers",
        )
    low, high = _number(config, "group.min.session.timeout.ms"), _number(config, "group.max.session.timeout.ms")
    if (low is not None and session_ms < low) or (high is not None and session_ms > high):
        yield problem(
            f"kafka.session_timeout is {session_ms} ms, and the broker admits {low} to {high} ms: no worker can join its group",
            "set kafka.session_timeout within these bounds",
        )
    kept_min = _number(config, "offsets.retention.minutes")
    if kept_min is not None and kept_min < _OFFSETS_DAY_MIN:
        yield warning(
            f"offsets.retention.minutes is {kept_min}: a group that rests longer forgets where it was, and its workers refuse to start",
            "raise offsets.retention.minutes to 10080 (a week) on the brokers",
        )
    if config.get("auto.create.topics.enable") == "true":
        yield warning(
            "auto.create.topics.enable is on: a mistyped namespace makes topics with a partition count nobody chose",
            "set auto.create.topics.enable=false on the brokers",
        )


def exist(facts: Facts) -> Iterable[Told]:
    """Are all topics of the namespace there?"""
    topics, layout = known(facts.topics), facts.wanted.layout
    missing = [spec.name for spec in layout.specs() if spec.name not in topics.here]
    if not missing:
        yield fine(f"all {len(layout.specs())} topics of {layout.namespace} are there")
        return
    cure = f"create them: daywatch topics create --namespace {layout.namespace}"
    if len(missing) == len(layout.specs()):
        hint = f"; this broker has the topics of {listed(topics.others)}" if topics.others else ""
        yield problem(f"no topic of the namespace {layout.namespace} is there{hint}", ("check --namespace, or " if hint else "") + cure)
    else:
        yield problem(f"{_count(missing, 'topic')} missing: {listed(missing)}", cure)


def partitions(facts: Facts) -> Iterable[Told]:
    """Have all topics equally many partitions, and as many as the settings say?"""
    here, layout = _here(facts), facts.wanted.layout
    counts: dict[int, list[str]] = {}
    for spec in layout.specs():
        if spec.name in here:
            counts.setdefault(here[spec.name].partitions, []).append(spec.name)
    if len(counts) > 1:
        odd = sorted(counts.items(), key=lambda each: len(each[1]))[:-1]
        usual = max(counts.items(), key=lambda each: len(each[1]))[0]
        shown = "; ".join(f"{listed(names)} {'has' if len(names) == 1 else 'have'} {count}" for count, names in odd)
        yield problem(
            f"partition counts differ: {shown}, the others {usual}; partition p of each must hold the same users",
            f"delete what differs if it is empty and create it anew (daywatch topics create --partitions {usual}), or use a new namespace",
        )
    elif counts and layout.partitions not in counts:
        count = next(iter(counts))
        yield warning(
            f"the topics have {count} partitions, and topics.partitions says {layout.partitions}: topics made later would differ",
            f"set topics.partitions = {count}",
        )
    elif counts:
        yield fine(f"{layout.partitions} partitions each")


def cleanup(facts: Facts) -> Iterable[Told]:
    """Do topics forget by time, and the compacted ones by key?"""
    for setting, names in _differing(facts, "cleanup.policy").items():
        found, wanted = setting
        told = f"cleanup.policy is {found}, not {wanted}"
        why = "what alerts are merged by would be deleted" if wanted == "compact" else "records of one user would overwrite each other"
        yield problem(f"{told}: {why}", f"kafka-configs --alter --topic {names[0]} --add-config cleanup.policy={wanted}", listed(names))


def retention(facts: Facts) -> Iterable[Told]:
    """Are records kept long enough to be read, and windows as long as the alerts that cite them?"""
    here, layout = _here(facts), facts.wanted.layout
    shortest = [
        (name, kept) for kind in KINDS if (name := layout.name(kind)) in here and (kept := here[name].number("retention.ms")) is not None
        and kept != FOREVER and kept < _RETENTION_DAYS * _DAY_MS
    ]  # fmt: skip
    if shortest:
        yield problem(
            f"events are kept for {span(min(kept for _, kept in shortest))} only: workers that stop for longer lose them unread",
            "raise retention.ms of these topics (kafka-configs --alter) and topics.retention to some days",
            listed([name for name, _ in shortest]),
        )
    yield from _outlived(here, layout.name(ALERTS), [layout.name(WINDOWS)], problem, "alerts could no longer be verified or judged again")
    yield from _outlived(here, layout.name(ALERTS), [layout.name(VERDICTS)], warning, "alerts could no longer be scored")
    bounded = [spec.name for spec in layout.specs() if (one := here.get(spec.name)) and (one.number("retention.bytes") or FOREVER) > 0]
    if bounded:
        yield warning(
            "retention.bytes is set: a busy day deletes records before their time",
            "take retention.bytes away (kafka-configs --alter --delete-config retention.bytes), or watch that lag stays small",
            listed(bounded),
        )
    told = [name for names in _differing(facts, "retention.ms").values() for name in names]
    if told and not shortest:
        yield warning(
            "they are kept otherwise than topics.retention and topics.results_retention say",
            "set them to what is meant: daywatch topics list shows what is",
            listed(told),
        )


def _outlived(here: Mapping[str, Topic], longer: str, shorter: Sequence[str], say: Callable[..., Told], why: str) -> Iterator[Told]:
    kept = here[longer].number("retention.ms") if longer in here else None
    for name in shorter:
        own = here[name].number("retention.ms") if name in here else None
        if kept is None or own is None or own == FOREVER or (kept != FOREVER and own >= kept):
            continue
        yield say(
            f"{name} is kept for {span(own)}, {longer} {'for ever' if kept == FOREVER else 'for ' + span(kept)}: {why}",
            f"keep {name} at least as long: kafka-configs --alter --topic {name} --add-config retention.ms={kept}",
            name,
        )


def replication(facts: Facts) -> Iterable[Told]:
    """Are there copies enough, and may writes go on when one is away?"""
    here, layout, nodes = _here(facts), facts.wanted.layout, known(facts.broker).nodes
    ours = [here[spec.name] for spec in layout.specs() if spec.name in here]
    blocked = [topic for topic in ours if (topic.number("min.insync.replicas") or 1) > topic.replicas]
    if blocked:
        yield problem(
            "min.insync.replicas is more than there are copies: nothing can be written",
            "lower min.insync.replicas, or add copies (kafka-reassign-partitions)",
            listed([topic.name for topic in blocked]),
        )
    few = [topic for topic in ours if topic.replicas < min(layout.replication_factor, nodes)]
    if few:
        yield warning(
            f"fewer copies than topics.replication_factor = {layout.replication_factor} asks for",
            "add copies with kafka-reassign-partitions",
            listed([topic.name for topic in few]),
        )
    elif nodes > 1 and (single := [topic.name for topic in ours if topic.replicas == 1]):
        yield warning(
            f"one copy each on a cluster of {nodes} nodes: a lost disk loses them",
            "set topics.replication_factor for new topics; add copies to these with kafka-reassign-partitions",
            listed(single),
        )
    loose = [topic.name for topic in ours if topic.replicas > 2 and topic.number("min.insync.replicas") == 1]
    if loose:
        yield warning(
            "min.insync.replicas is 1: what one node has confirmed may be lost with it",
            "set min.insync.replicas=2 on the topics (kafka-configs --alter)",
            listed(loose),
        )
    if ours and not (blocked or few or loose):
        copies = min(topic.replicas for topic in ours)
        yield fine(f"{copies} {'copy' if copies == 1 else 'copies'} of each on {nodes} {'node' if nodes == 1 else 'nodes'}")


def health(facts: Facts) -> Iterable[Told]:
    """Has every partition a leader, and are its copies in sync?"""
    here = _here(facts)
    dead = [f"{topic.name} {p}" for topic in here.values() for p in topic.leaderless]
    behind = [f"{topic.name} {p}" for topic in here.values() for p in topic.behind]
    if dead:
        yield problem(f"{_count(dead, 'partition')} without a leader: {listed(dead)}", "bring back the broker nodes that hold them")
    if behind:
        yield warning(
            f"{_count(behind, 'partition')} with a copy that is not in sync: {listed(behind)}", "see which broker node is down or slow"
        )


def _here(facts: Facts) -> Mapping[str, Topic]:
    """The topics there are.

    Raises:
        NotKnownError: there are none.
    """
    here = known(facts.topics).here
    if not here:
        raise NotKnownError("there is no topic to look at", "create the topics first")
    return here


def _differing(facts: Facts, setting: str) -> dict[tuple[str, str], list[str]]:
    """Topics by what they have and should have of a setting."""
    here = _here(facts)
    found: dict[tuple[str, str], list[str]] = {}
    for spec in facts.wanted.layout.specs():
        for each in differences(spec, here[spec.name].found()) if spec.name in here else ():
            if each.setting == setting:
                found.setdefault((each.found, each.wanted), []).append(spec.name)
    return found


def _config(broker: Broker) -> Mapping[str, str]:
    return known(broker.config)


def _number(config: Mapping[str, str], name: str) -> int | None:
    text = config.get(name, "")
    return int(text) if text.lstrip("-").isdigit() else None


def _count(things: Sequence[object], noun: str) -> str:
    return f"1 {noun} is" if len(things) == 1 else f"{len(things)} {noun}s are"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a line; of many only the first.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e", "f"])
    ('a, b', 'a, b, c, d and 2 more')
    """
    shown = list(names) if len(names) <= most + 1 else names[:most]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def span(ms: Millis) -> str:
    """A length of time as people say it.

    >>> span(90_000), span(3_600_000), span(36 * 3_600_000), span(700)
    ('90 s', '60 min', '36 h', '700 ms')
    """
    for unit, size in (("days", _DAY_MS), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if ms >= 2 * size or (ms >= size and ms % size == 0 and unit != "days" and unit != "h"):
            return f"{ms / size:.3g} {unit}"
    return f"{ms} ms"
