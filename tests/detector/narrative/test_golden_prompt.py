"""The words of a prompt belong to its version: adapters are trained on them. Change one, and the version has to be raised."""

from detector.narrative.prompt import VERSION, Composer
from stream.kinds import KINDS, Kind
from windowing.record import Window

DAY = "2010-02-05T"
EVENTS = (
    {"kind": "logon", "id": "l1", "ts": f"{DAY}08:00:00+00:00", "pc": "PC-1", "activity": "Logon"},
    {"kind": "http", "id": "h1", "ts": f"{DAY}08:10:00+00:00", "pc": "PC-1", "url": "http://lonelyplanet.com/a"},
    {"kind": "http", "id": "h3", "ts": f"{DAY}08:11:00+00:00", "pc": "PC-1", "url": "http://lonelyplanet.com/b"},
    {"kind": "http", "id": "h4", "ts": f"{DAY}08:12:00+00:00", "pc": "PC-1", "url": "http://lonelyplanet.com/c"},
    {"kind": "logon", "id": "l2", "ts": f"{DAY}22:00:00+00:00", "pc": "PC-2", "activity": "Logon"},
    {"kind": "device", "id": "d1", "ts": f"{DAY}22:01:00+00:00", "pc": "PC-2", "activity": "Connect"},
    {"kind": "file", "id": "f1", "ts": f"{DAY}22:02:00+00:00", "pc": "PC-2", "filename": "R:\\A\\plans.zip"},
    {"kind": "file", "id": "f2", "ts": f"{DAY}22:03:00+00:00", "pc": "PC-2", "filename": "more.zip"},
    {"kind": "http", "id": "h2", "ts": f"{DAY}22:05:00+00:00", "pc": "PC-1", "url": "http://wikileaks.org/upload/x"},
    {
        "kind": "email", "id": "m1", "ts": f"{DAY}22:06:00+00:00", "pc": "PC-1", "from": "ana.berg@dtaa.com", "to": "berg-ana@gmail.com",
        "attachments": 2,
    },
    {"kind": "device", "id": "d2", "ts": f"{DAY}22:09:00+00:00", "pc": "PC-2", "activity": "Disconnect"},
)  # fmt: skip
FEATURES = {
    "profile_days": 40.0, "off_hours": 4.0, "off_hours_logon": 4.0, "after_hours_habit": 0.05, "odd_hours": 1.0, "new_machines": 1.0,
    "strange_machine_habit": 0.3, "connects": 1.0, "connects_first": 1.0, "odd_drive": 1.0, "files": 2.0, "files_habit": 0.4,
    "files_age": 5.0,
    "files_above_top": 2.0, "leak_any": 1.0, "leak_first": 1.0, "mail_to_own_address": 1.0, "own_mail_habit": 0.01, "oddities": 2.0,
    "pages_z": 4.0,
}  # fmt: skip
GOLDEN = """User: well known, "Engineer"
Facts:
- two odd things
- drive connected once, never before (odd)
- logon far off hours, seldom before (odd)
- leak sites visited, never before
- attachments mailed to an own private address, hardly ever before
- a few files copied to a drive, often before, began this week, far above the most so far
- logon on a new machine, often before
Events:
E1 22:00 logon: late, new machine
E2 22:01 drive connected: drive, late, new machine
E3 E4 22:02 file copied "plans.zip": program or archive, late, new machine, drive in
E5 22:05 page "wikileaks.org": leak site, upload, late
E6 22:06 mail "berg-ana@gmail.com": to own private address, attachments outside, late
E7 22:09 drive removed: drive, late, new machine
Not shown: logon, http"""


def window() -> Window:
    counts = {kind: sum(event["kind"] == kind.value for event in EVENTS) for kind in KINDS}
    return Window(
        id="w",
        user="ANA",
        start=f"{DAY}00:00:00+00:00",
        end="2010-02-06T00:00:00+00:00",
        learning=False,
        counts=counts,
        features=FEATURES,
        events=EVENTS,
        omitted=dict.fromkeys(KINDS, 0),
        omitted_domains={},
        new={"pc": ("PC-2",)},
        context={"role": "Engineer"},
        digest="d",
    )


def test_the_words_belong_to_the_version() -> None:
    assert VERSION == "1"
    assert Composer("shortcut-free", 10_000, lambda text: len(text.split()))(window()).user == GOLDEN


def test_the_track_all_tells_volumes() -> None:
    text = Composer("all", 10_000, lambda text: len(text.split()))(window()).user
    assert "- pages far above the own rate" in text
    assert "Not shown: 1 logon, 3 http" in text


def test_the_prompt_holds_no_name_of_the_user() -> None:
    assert "ANA" not in Composer("all", 10_000, len)(window()).user


def test_every_kind_is_told() -> None:
    aliases = Composer("all", 10_000, lambda text: len(text.split()))(window()).aliases
    assert {ref.kind for ref in aliases} == set(Kind)
