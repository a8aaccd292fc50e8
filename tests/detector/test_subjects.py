import pytest

from detector.matrix import columns_of
from detector.subjects import Subject, subject_of_event, subject_of_feature
from tests.detector.windows import event

ABOUT_THE_PERSON = {"profile_days", "departed", "admin", "manager", "oddities", "peers_oddities"}


def test_every_column_but_those_about_the_person_has_a_subject() -> None:
    assert {name for name in columns_of("all") if subject_of_feature(name) is Subject.PERSON} == ABOUT_THE_PERSON


@pytest.mark.parametrize(
    ("one", "subject"),
    [
        (event("device", 1, activity="Connect"), Subject.DRIVE),
        (event("file", 1, filename="R:/a/report.docx"), Subject.FILES),
        (event("file", 1, filename="R:/a/tool.EXE"), Subject.PROGRAMS),
        (event("http", 1, url="http://www.wikileaks.org/a"), Subject.LEAK),
        (event("http", 1, url="http://monster.com/jobs/1"), Subject.JOBS),
        (event("http", 1, url="https://dropbox.com/upload"), Subject.CLOUD),
        (event("http", 1, url="http://refog.com/keylogger.html"), Subject.SPYWARE),
        (event("http", 1, url="http://news.example.org/"), Subject.PAGES),
        (event("email", 1, **{"from": "Ana.Lopez@dtaa.com", "to": "lopez1980@gmail.com", "attachments": 2}), Subject.OWN_MAIL),
        (event("email", 1, **{"from": "Ana.Lopez@dtaa.com", "to": "lopez1980@gmail.com", "attachments": 0}), Subject.MAIL),
        (event("email", 1, **{"from": "ana@dtaa.com", "to": ";".join(f"p{n}@dtaa.com" for n in range(12))}), Subject.MASS_MAIL),
        (event("email", 1, **{"from": "ana@dtaa.com", "to": "hr@boeing.com"}), Subject.EMPLOYER_MAIL),
        (event("email", 1), Subject.MAIL),
        (event("http", 1), Subject.PAGES),
        (event("logon", 1, activity="Logon"), Subject.LOGONS),
    ],
)
def test_an_event_is_about_what_it_shows(one: dict[str, object], subject: Subject) -> None:
    assert subject_of_event(one) is subject
