"""Dead letters: the record as it was, and why and where it was refused."""

from stream.dead_letters import dead_letter


def test_value_key_and_headers_stay_as_they_were() -> None:
    value, key, own = b"\x00\xff junk", b"\xfe", [("ce_id", b"e1"), ("x", b""), ("ce_id", b"e2")]
    sent = dead_letter(key, value, own, "not_json", "no JSON at character 0", "acme.logon", 3, 17)
    assert sent[:2] == (key, value)
    assert sent[2] == [
        *own,
        ("daywatch-reason", b"not_json"),
        ("daywatch-message", b"no JSON at character 0"),
        ("daywatch-topic", b"acme.logon"),
        ("daywatch-partition", b"3"),
        ("daywatch-offset", b"17"),
    ]


def test_nulls_stay_null() -> None:
    key, value, headers = dead_letter(None, None, None, "bad_mark", "a null value", "acme.http", 0, 0)
    assert (key, value) == (None, None)
    assert len(headers) == 5


def test_what_died_before_keeps_its_history() -> None:
    _, _, first = dead_letter(b"k", b"v", [], "late", "m", "t", 0, 1)
    _, _, second = dead_letter(b"k", b"v", first, "not_json", "m", "t", 0, 9)
    assert [value for name, value in second if name == "daywatch-reason"] == [b"late", b"not_json"]


def test_only_what_no_broker_takes_by_default_is_cut_and_the_letter_says_so() -> None:
    place = ("too_large", "too much", "a.logon", 3, 17)
    _, whole, headers = dead_letter(b"ana", b"x" * 1_000_000, None, *place)
    assert whole == b"x" * 1_000_000
    assert "daywatch-cut" not in dict(headers)
    for key, own in ((b"ana", []), (b"k" * 1_500_000, []), (b"ana", [("ce_id", b"h" * 1_500_000)]), (None, [("n", None)])):
        key_left, cut, headers = dead_letter(key, b"x" * 3_000_000, own, *place)  # type: ignore[arg-type]
        size = len(key_left or b"") + len(cut or b"") + sum(len(name) + len(text or b"") for name, text in headers)
        assert 500_000 < size < 1_048_588 - 1_000
        assert dict(headers)["daywatch-cut"] == b"3000000"
        assert dict(headers)["daywatch-offset"] == b"17"
    assert dead_letter(b"k" * 2_000_000, None, None, *place)[1] is None
