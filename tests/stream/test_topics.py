"""Topics of a namespace: names, equal partition counts, and what happens when a broker has them otherwise."""

from collections.abc import Iterator

import pytest

from stream.errors import ConfigurationError, RefusedError
from stream.kafka_topics import KafkaTopicAdmin
from stream.kinds import KINDS
from stream.topics import ROLES, FoundTopic, MemoryTopicAdmin, TopicAdmin, TopicLayout, check_topics, create_topics
from tests.servers import ApacheKafka, EmbeddedBroker


@pytest.fixture(params=["memory", "apache", "embedded"])
def admin(request: pytest.FixtureRequest) -> Iterator[TopicAdmin]:
    if request.param == "memory":
        yield MemoryTopicAdmin()
        return
    broker: ApacheKafka | EmbeddedBroker = request.getfixturevalue({"apache": "apache_kafka", "embedded": "embedded_broker"}[request.param])
    yield KafkaTopicAdmin({"bootstrap.servers": broker.bootstrap_servers})


def test_a_namespace_has_topics_of_equal_partition_count_with_the_prefix() -> None:
    specs = TopicLayout("acme", 6).specs()
    assert [spec.name for spec in specs] == [
        "acme.logon", "acme.device", "acme.file", "acme.email", "acme.http",
        "acme.windows", "acme.verdicts", "acme.alerts", "acme.alert-memory",
        "acme.incidents", "acme.incident-memory", "acme.dead-letters", "acme.operations",
    ]  # fmt: skip
    assert {spec.partitions for spec in specs} == {6}


def test_only_memories_are_compacted_and_results_outlive_events() -> None:
    layout = TopicLayout("acme", 1, retention_ms=5, results_retention_ms=7)
    configs = {spec.name.removeprefix("acme."): spec.config() for spec in layout.specs()}
    assert configs.pop("alert-memory") == configs.pop("incident-memory") == {"cleanup.policy": "compact"}
    kept = {role: config["retention.ms"] for role, config in configs.items()}
    results = ["windows", "verdicts", "alerts", "incidents", "operations"]
    assert kept == dict.fromkeys([*KINDS, "dead-letters"], "5") | dict.fromkeys(results, "7")


def test_topics_can_be_renamed_but_not_made_one() -> None:
    assert TopicLayout("acme", 1, names={"logon": "auth"}).name("logon") == "acme.auth"
    with pytest.raises(ConfigurationError, match="same name"):
        TopicLayout("acme", 1, names={"logon": "x", "http": "x"})


@pytest.mark.parametrize(("namespace", "partitions"), [("a b", 1), ("a/b", 1), ("x" * 250, 1), ("acme", 0)])
def test_what_kafka_does_not_allow_is_told_before_it_is_asked(namespace: str, partitions: int) -> None:
    with pytest.raises(ConfigurationError):
        TopicLayout(namespace, partitions)


def test_topics_are_created_once(admin: TopicAdmin, namespace: str) -> None:
    layout = TopicLayout(namespace, 3, retention_ms=86_400_000)
    assert [spec.name for spec in create_topics(layout, admin)] == [spec.name for spec in layout.specs()]
    assert create_topics(layout, admin) == []
    assert check_topics(layout, ROLES, admin) == 3


def test_what_is_missing_is_added(admin: TopicAdmin, namespace: str) -> None:
    layout = TopicLayout(namespace, 2)
    admin.create(layout.specs()[:4])
    assert len(create_topics(layout, admin)) == len(ROLES) - 4


def test_topics_that_differ_are_refused_and_nothing_is_created(admin: TopicAdmin, namespace: str) -> None:
    admin.create(TopicLayout(namespace, 2).specs()[:1])
    with pytest.raises(RefusedError, match=rf"{namespace}\.logon has 2 partitions, not 3"):
        create_topics(TopicLayout(namespace, 3), admin)
    assert list(admin.find([spec.name for spec in TopicLayout(namespace, 3).specs()])) == [f"{namespace}.logon"]


def test_another_retention_or_policy_is_a_difference() -> None:
    admin = MemoryTopicAdmin()
    create_topics(TopicLayout("acme", 2, retention_ms=5), admin)
    with pytest.raises(RefusedError, match=r"retention\.ms 5, not 6"):
        create_topics(TopicLayout("acme", 2, retention_ms=6), admin)
    admin.topics["acme.alert-memory"] = FoundTopic("acme.alert-memory", 2, "delete")
    with pytest.raises(RefusedError, match=r"cleanup\.policy delete, not compact"):
        create_topics(TopicLayout("acme", 2, retention_ms=5), admin)


def test_a_missing_topic_is_named_with_the_cure(admin: TopicAdmin, namespace: str) -> None:
    with pytest.raises(RefusedError, match="daywatch topics create"):
        check_topics(TopicLayout(namespace, 2), KINDS, admin)


def test_unequal_partition_counts_are_refused(admin: TopicAdmin, namespace: str) -> None:
    admin.create(TopicLayout(namespace, 2).specs()[:1])
    admin.create(TopicLayout(namespace, 3).specs()[1:5])
    with pytest.raises(RefusedError, match="partition counts differ"):
        check_topics(TopicLayout(namespace, 2), KINDS, admin)
