"""The store of a gateway: a URL without a password, refused in words that never repeat one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.spec import StoreSpec, parse_store_url, sqlite_path
from spec.fleets import fleet_text, the_problem

DATABASE = "postgresql://penstock@db.example:5432/penstock?sslmode=verify-full"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:keys.db", "keys.db"),
        ("sqlite:/var/lib/keys.db", "/var/lib/keys.db"),
        ("sqlite:///var/lib/keys.db", "/var/lib/keys.db"),
        (DATABASE, ""),
        ("postgresql://a@[::1]:5432/a", ""),
        ("postgresql://a@db/a", ""),
    ],
)
def test_a_store_is_a_file_or_a_database(url: str, path: str) -> None:
    assert StoreSpec(url=url).url == url
    assert sqlite_path(url) == path


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with"),
        ("keys.db", "must begin with"),
        ("mysql://a@db/a", "must begin with"),
        ("postgres:a", "must begin with"),
        ("sqlite:", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite:a?mode=ro", "`\\?`, `#`"),
        ("postgresql://db/a", "a user and a host"),
        ("postgresql://@db/a", "a user and a host"),
        ("postgresql://a@/a", "a user and a host"),
        ("postgresql://a@db:0/a", "a user and a host"),
        ("postgresql://a@db:x/a", "a user and a host"),
        ("postgresql://a@one,two/a", "a user and a host"),
        ("postgresql://a@db", "a database"),
        ("postgresql://a@db/", "a database"),
        ("postgresql://a@db/a#b", "a database"),
        ("postgresql://a@db/a?options=-c", "the option 'options'"),
    ],
)
def test_any_other_store_is_refused(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_store_url(url)


@given(st.text("abcXYZ019!$&@", min_size=6))
def test_a_password_is_refused_wherever_it_stands_and_not_repeated(password: str) -> None:
    for url in (
        f"postgresql://penstock:{password}@db/penstock",
        f"postgresql://penstock@db/penstock?sslmode=require&password={password.replace('&', '')}",
    ):
        with pytest.raises(ValueError, match="passwordFrom") as refusal:
            parse_store_url(url)
        assert password not in str(refusal.value)


def test_a_file_with_a_password_in_it_is_refused_with_its_line_and_without_the_password() -> None:
    text = fleet_text(gateway="store: {url: 'postgresql://u:hunter2@db/p'}")

    problem = the_problem(text)

    assert problem.field == "spec.gateway.store.url"
    assert "holds a password" in problem.message
    assert problem.line > 0
    assert "hunter2" not in str(problem)


def test_a_password_for_a_file_is_refused() -> None:
    problem = the_problem(fleet_text(gateway="store: {url: 'sqlite:a.db', passwordFrom: {env: A}}"))

    assert problem.field == "spec.gateway.store.passwordFrom"
    assert "no password" in problem.message
