"""Random schedules of faults against real processes, Apache Kafka and Redis, held against a batch computation. See docs/faults.md."""
