"""What a person wrote becomes one place, or a message that says what is wrong with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.operate.storage import ModelSource, Scheme, parse_source, safe_name

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "place", "pins", "name"),
    [
        ("Qwen/Qwen3-8B", (Scheme.HUB, "Qwen/Qwen3-8B"), (None, None), "Qwen--Qwen3-8B"),
        ("gpt2", (Scheme.HUB, "gpt2"), (None, None), "gpt2"),
        ("hf://Qwen/Qwen3-8B@v1", (Scheme.HUB, "Qwen/Qwen3-8B"), ("v1", None), "Qwen--Qwen3-8B"),
        ("Qwen/Qwen3-8B@refs/pr/1", (Scheme.HUB, "Qwen/Qwen3-8B"), ("refs/pr/1", None), "Qwen--Qwen3-8B"),
        ("s3://bucket/models//qwen/", (Scheme.S3, "bucket/models/qwen"), (None, None), "bucket--models--qwen"),
        ("gs://bucket/qwen", (Scheme.GCS, "bucket/qwen"), (None, None), "bucket--qwen"),
        ("az://container/qwen", (Scheme.AZURE, "container/qwen"), (None, None), "container--qwen"),
        ("oci://ghcr.io/org/model:v1", (Scheme.OCI, "ghcr.io/org/model"), ("v1", None), "org--model"),
        (f"oci://localhost:5000/m@{DIGEST}", (Scheme.OCI, "localhost:5000/m"), (None, DIGEST), "m"),
        (f"oci://r.io/a/b:v1@{DIGEST}", (Scheme.OCI, "r.io/a/b"), ("v1", DIGEST), "a--b"),
        ("file:///srv/my%20models/qwen", (Scheme.PATH, "/srv/my models/qwen"), (None, None), "qwen"),
        ("./qwen", (Scheme.PATH, "./qwen"), (None, None), "qwen"),
        ("/srv/qwen/", (Scheme.PATH, "/srv/qwen/"), (None, None), "qwen"),
    ],
)
def test_each_form_is_read(
    text: str, place: tuple[Scheme, str], pins: tuple[str | None, str | None], name: str
) -> None:
    source = parse_source(text)

    assert source == ModelSource(scheme=place[0], location=place[1], revision=pins[0], digest=pins[1])
    assert source.name == name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a\nb", "control characters"),
        ("https://example.com/model", "no model is read from https://"),
        ("a/b/c", "not a hub name"),
        ("org/..", "not a hub name"),
        ("org/name@", "nothing follows the @"),
        ("s3://", "must read s3://BUCKET/PREFIX"),
        ("s3://bucket/a/../b", "no `.` and `..`"),
        ("oci://registry", "must read oci://"),
        ("oci://r.io/a@sha256:12", "64 hexadecimal digits"),
        ("file://host/path", "names the machine 'host'"),
    ],
)
def test_what_is_no_source_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        parse_source(text)


def test_a_key_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="must not hold a key") as refusal:
        parse_source("s3://AKIA:s3cr3t@bucket/prefix")

    assert "s3cr3t" not in str(refusal.value)


def test_a_revision_can_be_put_over_the_one_of_the_text() -> None:
    assert parse_source("org/name@main").at("v2").revision == "v2"
    assert parse_source("org/name@main").at(None).revision == "main"
    assert parse_source("oci://r.io/a:v1").at(DIGEST) == parse_source(f"oci://r.io/a:v1@{DIGEST}")


def test_a_source_is_shown_as_it_is_written() -> None:
    for text in ("org/name@v1", "s3://bucket/qwen", f"oci://r.io/a/b:v1@{DIGEST}", "/srv/qwen"):
        assert str(parse_source(text)) == text


@given(st.text())
def test_a_safe_name_is_one_visible_component_of_a_path(text: str) -> None:
    name = safe_name(text)

    assert name
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 180


@given(st.text())
def test_any_text_is_a_source_or_refused_in_words(text: str) -> None:
    try:
        source = parse_source(text)
    except UsageError:
        return
    assert source.name == safe_name(source.name)
