"""The request to forget somebody, as a record in the log: whoever reads it drops what it keeps of the key, and passes it on.

A record with a key and without a value, and the header `daywatch-forget: 1`. It goes from `windows` to `verdicts` among the windows
and verdicts themselves, so that everybody meets it in the same place of the log. Knows no broker.
"""

from typing import Final

from stream.log import Headers

FORGET_HEADER: Final = "daywatch-forget"


def forget_request() -> Headers:
    """Headers of a request; its key says whom, and its value is null.

    >>> forget_request()
    [('daywatch-forget', b'1')]
    """
    return [(FORGET_HEADER, b"1")]


def is_forget_request(key: bytes | None, value: bytes | None, headers: Headers | None) -> bool:
    """Whether a record is such a request.

    >>> is_forget_request(b"ana", None, [("daywatch-forget", b"1")]), is_forget_request(b"ana", None, None)
    (True, False)
    """
    return key is not None and value is None and (FORGET_HEADER, b"1") in (headers or ())
