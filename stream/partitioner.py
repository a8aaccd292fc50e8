"""Which partition a user's records belong to: Kafka's own murmur2, as every Java producer and `murmur2_random` compute it.

Bytes in, numbers out. Knows no broker.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Kafka's murmur2 hash (org.apache.kafka.common.utils.Utils.murmur2) as an unsigned 32-bit number.

    >>> murmur2(b"21")  # a vector of Kafka's own tests, -973932308 when signed
    3321034988
    """
    h = _SEED ^ len(key)
    whole = len(key) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(key[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = h * _M & _MASK ^ k
    if whole < len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key.

    >>> [partition_of(user, 4) for user in (b"ana", b"bob", b"cyd")]
    [0, 2, 3]
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(keys: Sequence[bytes], partitions: int) -> npt.NDArray[np.int32]:
    """The partition of each key, same length; for many keys at once, best unique ones."""
    found = np.empty(len(keys), np.int32)
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    for length in np.unique(lengths).tolist():
        here = np.flatnonzero(lengths == length)
        raw = np.frombuffer(b"".join([keys[i] for i in here.tolist()]), np.uint8).reshape(len(here), length)
        found[here] = (_murmur2_of_length(raw) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
    return found


def _murmur2_of_length(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """murmur2 of each row of bytes; unsigned 32-bit arithmetic wraps round as the algorithm wants."""
    rows, length = raw.shape
    m = np.uint32(_M)
    h = np.full(rows, _SEED ^ length, np.uint32)
    whole = length & ~3
    words = np.ascontiguousarray(raw[:, :whole]).view("<u4").reshape(rows, whole // 4)
    for i in range(whole // 4):
        k = words[:, i] * m
        k = (k ^ (k >> np.uint32(24))) * m
        h = h * m ^ k
    if whole < length:
        tail = np.zeros((rows, 4), np.uint8)
        tail[:, : length - whole] = raw[:, whole:]
        h = (h ^ tail.view("<u4")[:, 0]) * m
    h = (h ^ (h >> np.uint32(13))) * m
    mixed: npt.NDArray[np.uint32] = h ^ (h >> np.uint32(15))
    return mixed
