"""The partitioner is Kafka's own murmur2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.partitioner import murmur2, partition_of, partitions_of


@pytest.mark.parametrize(
    ("key", "signed"),
    [  # from Kafka's own test, org.apache.kafka.common.utils.UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_are_those_of_kafka(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@given(keys=st.lists(st.binary(max_size=20), max_size=20), partitions=st.integers(1, 300))
def test_many_keys_at_once_go_where_each_goes_alone(keys: list[bytes], partitions: int) -> None:
    assert partitions_of(keys, partitions).tolist() == [partition_of(key, partitions) for key in keys]


@given(key=st.binary(), partitions=st.integers(1, 5000))
def test_a_partition_exists(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
