"""The hub through its real client: pinned, whole, continued, refused in words, and the token goes nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes.hub import COMMIT, FakeHub, Repo
from fakes.models import git_oid, sha256, small_model
from fakes.stores import QuickStop
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Pull, Pulled, PullOptions, open_source
from penstock.operate.io.storage.hub import HubRemote
from penstock.operate.storage import Interrupted, parse_source

SHARD = "model-00001-of-00002.safetensors"


def pulled(text: str, store: Path, stop: QuickStop | None = None) -> Pulled:
    source = parse_source(text)
    return Pull(source, lambda: open_source(source), store, options=PullOptions(), stop=stop or QuickStop()).run()


def test_a_branch_is_resolved_to_its_commit_and_hashes_are_known(the_hub: FakeHub) -> None:
    listing = HubRemote(parse_source("org/tiny@main")).listing()

    assert (listing.revision, listing.requested) == (COMMIT, "main")
    files = {file.path: file for file in listing.files}
    content = the_hub.repos["org/tiny"].files
    assert files[SHARD].sha256 == sha256(content[SHARD])
    assert files["config.json"].git_oid == git_oid(content["config.json"])
    assert files["config.json"].sha256 is None


def test_a_model_is_pulled_whole(the_hub: FakeHub, tmp_path: Path) -> None:
    done = pulled("org/tiny", tmp_path)

    assert done.path == str(tmp_path / "org--tiny" / COMMIT)
    content = the_hub.repos["org/tiny"].files
    assert {path: (Path(done.path) / path).read_bytes() for path in content} == content
    assert done.fetched_bytes == done.bytes == sum(map(len, content.values()))


def test_a_pinned_model_that_is_there_needs_no_hub(the_hub: FakeHub, tmp_path: Path) -> None:
    pulled(f"org/tiny@{COMMIT}", tmp_path)
    the_hub.asked.clear()

    again = pulled(f"org/tiny@{COMMIT}", tmp_path)

    assert again.was_present
    assert the_hub.asked == []


def test_a_connection_cut_in_mid_file_is_continued(the_hub: FakeHub, tmp_path: Path) -> None:
    the_hub.cuts[SHARD] = [100, 50]

    pulled("org/tiny", tmp_path)

    assert the_hub.sent[SHARD] == len(the_hub.repos["org/tiny"].files[SHARD])  # no byte twice
    assert [r for place, path, r, _ in the_hub.asked if path.endswith(SHARD) and place == "cdn"][1:] == [
        f"bytes=100-{len(the_hub.repos['org/tiny'].files[SHARD]) - 1}",
        f"bytes=150-{len(the_hub.repos['org/tiny'].files[SHARD]) - 1}",
    ]


def test_a_server_that_ignores_ranges_still_gives_the_right_file(the_hub: FakeHub, tmp_path: Path) -> None:
    the_hub.cuts[SHARD], the_hub.ignores_ranges = [100], True

    done = pulled("org/tiny", tmp_path)

    assert (Path(done.path) / SHARD).read_bytes() == the_hub.repos["org/tiny"].files[SHARD]


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(
    the_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    the_hub.repos["org/tiny"].needs = "hf_secret"

    pulled("org/tiny", tmp_path)

    assert {token for place, _, _, token in the_hub.asked if place == "hub"} == {"Bearer hf_secret"}
    assert {token for place, _, _, token in the_hub.asked if place == "cdn"} == {None}


@pytest.mark.parametrize(
    ("token", "repo", "said"),
    [
        (None, Repo(files=small_model(), is_gated=True, needs="good"), "is gated: HF_TOKEN is not set"),
        ("hf_other", Repo(files=small_model(), is_gated=True, needs="good"), "has not been granted access"),
        ("expired", Repo(files=small_model(), needs="good"), "has expired, was revoked"),
        (None, Repo(files=small_model(), needs="good"), "or it is private and HF_TOKEN is not set"),
        ("hf_other", Repo(files=small_model(), needs="good"), "HF_TOKEN's account may not see it"),
    ],
)
def test_each_refusal_has_its_words_and_holds_no_token(
    the_hub: FakeHub, monkeypatch: pytest.MonkeyPatch, token: str | None, repo: Repo, said: str
) -> None:
    the_hub.repos["org/closed"] = repo
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)

    with pytest.raises(UsageError) as refusal:
        pulled("org/closed", Path(os.environ["HOME"]))

    assert said in str(refusal.value)
    assert refusal.value.exit_code == 2
    assert token is None or token not in str(refusal.value).replace("has expired", "")


def test_a_revision_that_is_not_there_is_told(the_hub: FakeHub) -> None:
    with pytest.raises(UsageError, match="no revision 'v9'"):
        HubRemote(parse_source("org/tiny@v9")).listing()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_tried_again(the_hub: FakeHub, tmp_path: Path, status: int) -> None:
    the_hub.failures = [(status, {"Retry-After": "17"}), (status, {})]
    stop = QuickStop()

    pulled("org/tiny", tmp_path, stop)

    assert stop.waits == [17.0, 2.0]


def test_the_hubs_own_window_says_how_long_to_wait(the_hub: FakeHub) -> None:
    the_hub.failures = [(429, {"RateLimit": '"api";r=0;t=33', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'})]

    with pytest.raises(Interrupted) as cut:
        HubRemote(parse_source("org/tiny")).listing()

    assert cut.value.after_s == 33.0


def test_a_hub_that_stays_busy_fails_in_words_and_may_be_tried_again(the_hub: FakeHub, tmp_path: Path) -> None:
    the_hub.failures = [(503, {})] * 9

    with pytest.raises(PenstockError, match="org/tiny: the hub answers 503") as failure:
        pulled("org/tiny", tmp_path)

    assert failure.value.exit_code == 1


def test_a_hub_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(Interrupted, match="cannot be reached"):
        HubRemote(parse_source("org/tiny")).listing()


def test_a_page_that_is_no_hub_is_told(the_hub: FakeHub) -> None:
    the_hub.failures = [(200, {"Content-Type": "text/html"})]

    with pytest.raises(Interrupted, match="not the hub's"):
        HubRemote(parse_source("org/tiny")).listing()


def test_a_content_that_is_not_what_the_hub_states_is_not_published(the_hub: FakeHub, tmp_path: Path) -> None:
    the_hub.repos["org/tiny"].wrong_hash = SHARD

    with pytest.raises(PenstockError, match="arrived wrong twice"):
        pulled("org/tiny", tmp_path)

    assert not (tmp_path / "org--tiny" / COMMIT).exists()


def test_a_token_with_letters_that_none_has_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_sécret")

    with pytest.raises(UsageError, match="HF_TOKEN holds characters") as refusal:
        HubRemote(parse_source("org/tiny"))

    assert "cret" not in str(refusal.value)


def test_a_file_too_large_for_one_answer_is_asked_for_in_pieces(
    the_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.operate.io.storage.hub._PIECE", 200)
    content = the_hub.repos["org/tiny"].files[SHARD]

    done = pulled("org/tiny", tmp_path)

    assert (Path(done.path) / SHARD).read_bytes() == content
    asked = [r for place, path, r, _ in the_hub.asked if place == "cdn" and path.endswith(SHARD)]
    assert asked == ["bytes=0-199", "bytes=200-399", f"bytes=400-{len(content) - 1}"]


def test_only_what_serving_needs_is_asked_for(the_hub: FakeHub, tmp_path: Path) -> None:
    copies = {"pytorch_model.bin": b"x", "original/consolidated.00.pth": b"x", "README.md": b"x"}
    the_hub.repos["org/tiny"] = Repo(files={**small_model(), **copies})

    pulled("org/tiny", tmp_path)

    assert not set(copies) & set(the_hub.sent)
