"""Where a pull puts what it pulls: the same place that `penstock models pull` chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.operate.storage import model_folder, parse_source
from penstock.plan.manifests.sources import folder_of, is_path, store_name

SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST = f"sha256:{SHA}{SHA[:24]}"
SOURCES = [
    *("Qwen/Qwen3-8B", "gpt2", "hf://Qwen/Qwen3-8B", "hf://Qwen/Qwen3-8B@main", "s3://bucket/models/qwen"),
    *(
        "s3://bucket",
        "gs://bucket/a b/c",
        "az://box/m/",
        "oci://ghcr.io/acme/qwen:v1",
        f"oci://ghcr.io/acme/qwen@{DIGEST}",
    ),
    *("oci://ghcr.io:443/acme/deep/qwen:v1", "/srv/models/tiny", "./tiny/", "file:///srv/models/tiny"),
]


@pytest.mark.parametrize("source", SOURCES)
def test_the_folder_of_a_source_is_the_one_that_a_pull_makes(source: str) -> None:
    assert store_name(source) == parse_source(source).name


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}(/[A-Za-z0-9][A-Za-z0-9._-]{0,40})?", fullmatch=True))
def test_any_hub_name_has_the_same_folder_in_both(name: str) -> None:
    try:
        parsed = parse_source(name)
    except UsageError:
        return
    assert store_name(name) == parsed.name


@pytest.mark.parametrize(("source", "revision"), [("Qwen/Qwen3-8B", SHA), ("s3://bucket/models/qwen", "v3")])
def test_a_pinned_revision_is_its_own_folder(source: str, revision: str) -> None:
    folder = folder_of(source, revision)
    assert folder.is_pinned
    assert folder.path == model_folder(parse_source(source).name, revision)


def test_a_digest_pins_an_artifact() -> None:
    folder = folder_of(f"oci://ghcr.io/acme/qwen@{DIGEST}", None)
    assert folder.path == model_folder("acme--qwen", DIGEST)
    assert folder.source == "oci://ghcr.io/acme/qwen"


@pytest.mark.parametrize(
    ("source", "revision"), [("Qwen/Qwen3-8B", None), ("s3://bucket/qwen", None), ("oci://r.io/q:v1", None)]
)
def test_what_only_the_source_knows_is_found_through_a_link(source: str, revision: str | None) -> None:
    folder = folder_of(source, revision)
    assert not folder.is_pinned
    assert folder.path == f"{store_name(source)}/current"


def test_two_branches_of_a_model_do_not_share_a_link() -> None:
    paths = {folder_of("Qwen/Qwen3-8B", branch).path for branch in (None, "main", "v2", "feature/x")}
    assert len(paths) == 4
    assert all(path.count("/") == 1 for path in paths)


def test_a_revision_inside_the_source_is_taken_out_of_it() -> None:
    folder = folder_of(f"hf://Qwen/Qwen3-8B@{SHA}", None)
    assert (folder.source, folder.revision, folder.is_pinned) == ("hf://Qwen/Qwen3-8B", SHA, True)


def test_what_is_a_path() -> None:
    assert all(map(is_path, ["/m", "./m", "../m", "~/m", "file:///m", "."]))
    assert not any(map(is_path, ["Qwen/Qwen3-8B", "s3://b/m", "hf://a/b"]))
