"""Window records under pseudonyms: nobody is named in them, and what detectors compare is as it was."""

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.subjects import addresses, category_of_url, ending_of, host_of_url, is_employer, is_outside, is_own_address, is_program
from stream.kinds import KINDS
from stream.partitioner import partition_of
from windowing.pseudonyms import OtherKeyError, Pseudonyms
from windowing.record import BadWindow, content_digest, is_intact, parse_window, window_id

KEY, OTHER = b"0123456789abcdef0123456789abcdef", b"another key, as long as the first"
START, END = "2010-07-05T00:00:00+00:00", "2010-07-06T00:00:00+00:00"


def event(kind: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "id": f"{{{kind}-{number}}}", "ts": f"2010-07-05T10:00:{number:02d}+00:00", "pc": "PC-1", **fields}


def record(events: list[dict[str, Any]], user: str = "AWL0042", new: dict[str, list[str]] | None = None) -> bytes:
    counts = {kind.value: sum(one["kind"] == kind for one in events) for kind in KINDS}
    body = {
        "schema": "daywatch.window/1", "id": window_id(user, START, END), "user": user, "start": START, "end": END, "learning": False,
        "counts": counts, "features": {"emails": 1.0, "share": 0.333333}, "events": events, "omitted": dict.fromkeys(counts, 0),
        "omitted_domains": {"news.example.org": 3}, "new": new or {},
    }  # fmt: skip
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return b'%s,"digest":"%s"}' % (text, content_digest(text).encode())


MAIL = event(
    "email", 1, to="Bo.Crane@dtaa.com; ana_wells7@gmail.com", cc="info@boeing.com", bcc="bob@x.org",
    **{"from": "Ana.Q.Wells@dtaa.com", "size": 7, "attachments": 1, "content": "from ana.wells@dtaa.com, to Mr Wells"},
)  # fmt: skip
DAY = [
    event("logon", 1, activity="Logon"),
    event("file", 2, filename=r"C:\Users\awl0042\Wells Ana\plan.exe", content="AWL0042 kept it"),
    event("http", 3, url="http://ana:secret@files.example.org:8080/~wells/report?mail=ana.wells%40dtaa.com&x=wellspring", content="q"),
    MAIL,
]
NEW = {
    "pc": ["PC-1"], "recipient": ["bo.crane@dtaa.com", "somebody"], "sender": ["ana.q.wells@dtaa.com"],
    "mail_domain": ["gmail.com", "somebody"], "domain": ["files.example.org"], "file_type": ["exe"],
}  # fmt: skip


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(KEY, 4)


def masked(value: bytes, pseudonyms: Pseudonyms) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pseudonyms.window(value).value)
    return found


def test_the_record_is_whole_and_of_the_pseudonym(pseudonyms: Pseudonyms) -> None:
    done = pseudonyms.window(record(DAY, new=NEW))
    window = parse_window(done.value)
    assert is_intact(done.value)
    assert (done.user, window.user, done.pseudonym) == ("AWL0042", done.pseudonym, pseudonyms.user("AWL0042"))
    assert window.id == done.id == window_id(done.pseudonym, START, END)
    assert [(one["kind"], one["id"], one["ts"], one["pc"]) for one in window.events] == [
        (one["kind"], one["id"], one["ts"], one["pc"]) for one in DAY
    ]
    assert dict(window.features) == {"emails": 1.0, "share": 0.333333}


def test_no_name_of_the_user_is_left(pseudonyms: Pseudonyms) -> None:
    shown = pseudonyms.window(record(DAY, new=NEW)).value.decode().lower()
    shown = re.sub(r"wellspring", "", shown)  # a word of its own
    for name in ("awl0042", "wells", "crane", "ana.", "ana_", "ana:", "secret", "bob@", "info@", "somebody"):
        assert name not in shown
    assert "files.example.org:8080" in shown


def test_the_same_bytes_come_of_the_same_record_and_others_of_another_key(pseudonyms: Pseudonyms) -> None:
    value = record(DAY, new=NEW)
    assert pseudonyms.window(value) == Pseudonyms(KEY, 4).window(value)
    other = Pseudonyms(OTHER, 4)
    assert other.key_id != pseudonyms.key_id
    assert other.window(value).pseudonym != pseudonyms.window(value).pseudonym
    assert masked(value, other)["events"][3]["to"] != masked(value, pseudonyms)["events"][3]["to"]


@given(user=st.text(min_size=1, max_size=20), partitions=st.integers(1, 64))
def test_a_pseudonym_lies_in_the_partition_of_its_user(user: str, partitions: int) -> None:
    named = Pseudonyms(KEY, partitions)
    try:
        key = user.encode()
    except UnicodeEncodeError:
        return  # no key of a record
    assert partition_of(named.user(user).encode(), partitions) == partition_of(key, partitions)
    assert named.user(user).startswith(named.stem(user))


def test_people_get_different_pseudonyms(pseudonyms: Pseudonyms) -> None:
    users = [f"U{number:05d}" for number in range(20_000)]
    assert len({pseudonyms.user(user) for user in users}) == len(users)
    names = [f"name{number}" for number in range(100_000)]
    assert len({pseudonyms.name(name) for name in names}) == len(names)
    assert not re.search(r"[aeiouy]", "".join(map(pseudonyms.name, names[:1000]))), "no word may come about"


def test_what_a_detector_asks_of_addresses_is_answered_as_before(pseudonyms: Pseudonyms) -> None:
    rnd = random.Random(7)
    names = ["ana", "bo", "wells", "crane", "natalia", "o'neill", "müller", "jean-luc", "x9", "info"]
    hosts = ["dtaa.com", "gmail.com", "yahoo.com", "boeing.com", "example.org", "linkedin.com"]

    def address() -> str:
        local = rnd.choice([".", "_", "", "7"]).join(rnd.sample(names, rnd.randint(1, 3)))
        return rnd.choice([f"{local}@{rnd.choice(hosts)}", f"{local}@{rnd.choice(hosts)}".upper(), rnd.choice([*hosts, "somebody"])])

    def answers(sender: str, receivers: list[str]) -> list[object]:
        return [(is_outside(sender, each), is_own_address(sender, each), is_employer(each), each == sender) for each in receivers]

    seen = set()
    for number in range(3_000):
        mail = event("email", number % 60, to=";".join(address() for _ in range(rnd.randint(1, 4))), **{"from": address()})
        hidden = masked(record([mail]), pseudonyms)["events"][0]
        sender, hidden_sender = mail["from"].lower(), hidden["from"].lower()
        before, after = list(addresses(mail["to"])), list(addresses(hidden["to"]))
        if "@" not in sender or not all("@" in each for each in before):
            # what is no address is outside of every house, and compared with nothing else
            assert [is_employer(each) for each in before] == [is_employer(each) for each in after]
            continue
        assert answers(sender, before) == answers(hidden_sender, after)
        assert [a == b for a in before for b in before] == [a == b for a in after for b in after]
        seen.update(answers(sender, before))
    assert len(seen) >= 6, "the tries say too little"


def test_what_is_new_to_a_profile_is_told_by_the_names_that_events_have(pseudonyms: Pseudonyms) -> None:
    found = masked(record(DAY, new=NEW), pseudonyms)
    mail = found["events"][3]
    assert found["new"]["recipient"][0] in addresses(mail["to"])
    assert found["new"]["sender"] == [mail["from"]]
    assert found["new"]["mail_domain"] == ["gmail.com", found["new"]["recipient"][1]]
    assert (found["new"]["pc"], found["new"]["domain"], found["new"]["file_type"]) == (["PC-1"], ["files.example.org"], ["exe"])


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/spector/keylog", "https://example.org/wells/upload/a.html", "http://monster.com/wells/jobs?u=ana.wells@dtaa.com",
        "http://h?mail=ana.wells@x.com", "plain text wells", "", "http://wells@wikileaks.org/wells", "//awl0042.example.org/awl0042",
        "http://example.org/a b/wells@", "http://example.org/career/wells?x=http://y.org/wells",
    ],
)  # fmt: skip
def test_a_page_stays_the_sort_of_page_that_it_is(url: str, pseudonyms: Pseudonyms) -> None:
    mail = MAIL | {"from": "Ana.Spector.Wells@dtaa.com"}
    hidden = masked(record([event("http", 1, url=url), mail]), pseudonyms)["events"][0]["url"]
    assert (host_of_url(hidden), category_of_url(hidden)) == (host_of_url(url), category_of_url(url))
    assert ("upload" in hidden, "submit" in hidden) == ("upload" in url, "submit" in url)
    if "keylog" not in url and "/" in url:  # a text without a slash is all host
        assert "wells" not in hidden.replace("awl0042.example.org", "")


@pytest.mark.parametrize(
    "name",
    [r"R:\wells\AWL0042.wells", "wells", "/home/awl0042/.wells/a.tar.gz", "for ana.wells@dtaa.com", r"C:\awl0042.d\x", "a.WELLS.exe"],
)
def test_a_file_keeps_its_ending(name: str, pseudonyms: Pseudonyms) -> None:
    hidden = masked(record([event("file", 1, filename=name), MAIL]), pseudonyms)["events"][0]["filename"]
    assert (ending_of(hidden), is_program(hidden)) == (ending_of(name), is_program(name))
    assert "awl0042" not in hidden.lower()
    assert hidden != name


def test_machines_are_named_anew_only_when_that_is_wanted(pseudonyms: Pseudonyms) -> None:
    value = record(DAY, new=NEW | {"drive_pc": ["PC-1"]})
    found = masked(value, Pseudonyms(KEY, 4, machines=True))
    [pc] = {one["pc"] for one in found["events"]}
    assert re.fullmatch(r"pc-[a-z]{8}", pc)
    assert found["new"]["pc"] == found["new"]["drive_pc"] == [pc]
    assert masked(value, pseudonyms)["new"]["pc"] == ["PC-1"]


def test_a_short_or_common_user_name_hides_no_parts_of_words(pseudonyms: Pseudonyms) -> None:
    found = masked(record([event("http", 1, url="http://example.org/analysis/ana/an")], user="ana"), pseudonyms)
    assert found["events"][0]["url"] == f"http://example.org/analysis/{pseudonyms.user('ana')}/an"
    found = masked(record([event("http", 1, url="http://example.org/a/b")], user="a"), pseudonyms)
    assert found["events"][0]["url"] == "http://example.org/a/b"


def test_hostile_texts_cost_little(pseudonyms: Pseudonyms) -> None:
    nasty = "a" * 2000 + "@" + "b." * 900
    hidden = masked(record([event("file", 1, filename=nasty, content=nasty * 5), event("http", 2, url="http://h/" + nasty)]), pseudonyms)
    assert len(hidden["events"]) == 2


def test_names_come_back_for_whom_they_are_asked(pseudonyms: Pseudonyms) -> None:
    value = pseudonyms.window(record(DAY)).value
    assert json.loads(pseudonyms.names_back(["AWL0042", "Zoë"])(value))["user"] == "AWL0042"
    assert pseudonyms.names_back(["somebody else"])(value) == value
    # with another number of partitions the end of a pseudonym is another, and the name is the same
    assert json.loads(Pseudonyms(KEY, 7).names_back(["AWL0042"])(value))["user"] == "AWL0042"
    with pytest.raises(OtherKeyError, match=pseudonyms.key_id):
        Pseudonyms(OTHER, 4).names_back(["AWL0042"])(value)


@pytest.mark.parametrize("value", [b"{", b"[]", b'{"user":1}', b'{"user":"a","new":[]}'])
def test_what_is_no_window_record_is_refused_by_name(value: bytes, pseudonyms: Pseudonyms) -> None:
    with pytest.raises(BadWindow):
        pseudonyms.window(value)
