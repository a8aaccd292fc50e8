"""The list of checks: ids that stay as they are, what each asks, and when it warns or fails. The table in docs/doctor.md is made of it."""

from typing import Final

from daywatch.doctor import about_broker, about_groups, about_machine, about_store
from daywatch.doctor.findings import Check

GROUPS: Final = {
    "broker": "Broker",
    "topics": "Topics",
    "groups": "Consumer groups",
    "store": "Store",
    "state": "State",
    "clock": "Clock",
    "disk": "Disk",
    "detector": "Detector",
    "packages": "Packages",
}
"""What checks belong to, in the order of showing."""

CHECKS: Final = (
    Check("broker.reachable", "a server answers at every address", "some addresses are silent", "none answers", about_broker.reachable),
    Check("broker.access", "the broker lets us in", "", "it refuses, or is no broker", about_broker.let_in),
    Check("broker.version", "the broker is new enough", "older than Apache Kafka 4.0", "", about_broker.version),
    Check(
        "broker.limits",
        "the broker allows what workers ask for",
        "offsets are forgotten within a day, or mistyped topics are created",
        "transactions or sessions of the length that workers ask for are refused",
        about_broker.limits,
    ),
    Check("topics.exist", "all topics of the namespace are there", "", "one is missing", about_broker.exist),
    Check(
        "topics.partitions",
        "all topics have equally many partitions",
        "equal, but not `topics.partitions`",
        "counts differ",
        about_broker.partitions,
    ),
    Check("topics.cleanup", "topics forget by time, `alert-memory` by key", "", "a cleanup policy is the wrong one", about_broker.cleanup),
    Check(
        "topics.retention",
        "records are kept long enough, `windows` as long as `alerts`",
        "`verdicts` go before `alerts`, a size limit is set, or it is not as in the settings",
        "`windows` go before `alerts`, or events within a day",
        about_broker.retention,
    ),
    Check(
        "topics.replication",
        "there are copies enough",
        "one copy in a cluster, fewer than in the settings, or `min.insync.replicas` 1",
        "`min.insync.replicas` is more than there are copies",
        about_broker.replication,
    ),
    Check(
        "topics.health", "every partition has a leader, and its copies are in sync", "a copy is behind", "no leader", about_broker.health
    ),
    Check("groups.members", "somebody is at work in each group", "nobody reads what waits", "", about_groups.members),
    Check("groups.lag", "groups keep up", "a record waits for more than ten minutes", "", about_groups.lag),
    Check(
        "groups.positions",
        "every position lies in its log",
        "",
        "records were deleted unread, or a topic was made anew",
        about_groups.positions,
    ),
    Check(
        "groups.verdicts",
        "detection knows where it was",
        "",
        "`verdicts` holds records and the group has no position",
        about_groups.doubled,
    ),
    Check("store.reachable", "the store answers and lets us in", "", "it does not", about_store.reachable),
    Check("store.version", "it is Redis 7 or later, or Valkey", "another product, or older", "", about_store.version),
    Check("store.role", "it takes writes", "it is still loading", "a replica, or of a cluster without `store.cluster`", about_store.role),
    Check(
        "store.persistence",
        "state survives a restart of the store",
        "snapshots only, or `appendfsync no`",
        "nothing on disk, or the last write failed",
        about_store.persistence,
    ),
    Check("store.eviction", "it never drops keys", "", "`maxmemory-policy` is not `noeviction`", about_store.eviction),
    Check("store.memory", "it has memory left", "80 % in use", "95 % in use", about_store.memory),
    Check("store.permissions", "the user may run what workers need", "", "a command or the keys are refused", about_store.permissions),
    Check("state.layout", "the state was made with these settings", "", "partitions, size, hop or zone differ", about_groups.layout),
    Check("state.begun", "store and group know the same partitions", "", "one of them was lost", about_groups.begun),
    Check(
        "clock.store",
        "this machine and the store agree on the time",
        "30 s apart",
        "`window.future_tolerance` apart",
        about_store.store_clock,
    ),
    Check(
        "clock.records",
        "no record is stamped later than now",
        "30 s ahead",
        "`window.future_tolerance` ahead",
        about_store.record_clock,
    ),
    Check("clock.zones", "the time-zone database is there", "its edition is over two years old", "", about_store.zones),
    Check("disk.space", "there is room where Daywatch writes", "less than 1 GiB", "less than 100 MiB", about_machine.space),
    Check("disk.writable", "Daywatch may write there", "it may not", "", about_machine.writable),
    Check(
        "disk.directory",
        "`window.directory` can be read",
        "",
        "it cannot",
        about_machine.part("directory", "window.directory is not set"),
    ),
    Check("detector.backend", "the backend's libraries are installed", "", "they are not", about_machine.part("backend")),
    Check(
        "detector.baseline", "the baseline's model fits these windows", "", "damaged, or for other features", about_machine.part("baseline")
    ),
    Check("detector.files", "model files are those that were added", "", "gone or changed", about_machine.part("files")),
    Check("detector.adapter", "the adapter belongs to this base", "", "it was made for another", about_machine.part("adapter")),
    Check(
        "detector.memory", "the model fits into memory", "it runs on the CPU, and is large", "it does not fit", about_machine.part("memory")
    ),
    Check("detector.gpu", "PyTorch sees the GPU", "there is one, and PyTorch does not see it", "", about_machine.part("gpu")),
    Check("detector.server", "the model's server answers and has the model", "", "it does not", about_machine.part("server")),
    Check("packages.versions", "Python and libraries are in range", "", "missing or outside of it", about_machine.packages),
)
