"""Promises of `windowing.domains`: hosts are read as browsers read them, and lists hold for what lies below."""

import polars as pl
import pytest

from windowing.domains import Category, authority_of, category_of_host, category_of_words, host_of, is_personal


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://example.org/a/b", "example.org"),
        ("https://WWW.Example.ORG:8080/a", "example.org"),
        ("http://example.org", "example.org"),
        ("http://example.org?x=//evil.example/", "example.org"),
        ("http://ana:secret@example.org/", "example.org"),
        ("http://example.org#/wikileaks.org/", "example.org"),
        ("http://example.org\\@wikileaks.org/", "example.org"),
        ("ftp://files.example.org./x", "files.example.org"),
        ("example.org/a//b", "example.org"),
        ("", ""),
    ],
)
def test_the_host_of_a_url_is_where_it_leads(url: str, host: str) -> None:
    authority = pl.DataFrame({"url": [url]}).select(authority_of(pl.col("url"))).item()
    assert host_of(authority) == host


def test_a_site_without_a_url_has_no_host() -> None:
    assert pl.DataFrame({"url": [None]}, schema={"url": pl.String}).select(authority_of(pl.col("url"))).item() is None


def test_what_lies_below_a_listed_host_is_listed_and_what_only_ends_alike_is_not() -> None:
    assert category_of_host("files.dropbox.com") is Category.CLOUD
    assert category_of_host("notdropbox.com") is Category.ORDINARY
    assert category_of_host("dropbox.com.example.org") is Category.ORDINARY


def test_words_in_names_and_pages_tell() -> None:
    assert category_of_host("best-keylogger.example") is Category.SPYWARE
    assert category_of_words("http://example.org/Careers/apply") is Category.JOBS
    assert category_of_words("http://example.org/history") is Category.ORDINARY


def test_private_mail_hosts_are_no_companies() -> None:
    assert is_personal("gmail.com")
    assert not is_personal("boeing.com")
