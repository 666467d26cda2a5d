"""A folder as a source, and as a place for backups."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.models import small_model, write
from fakes.stores import Memory, QuickStop, flip, pull
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Pull, Pulled, open_source
from penstock.operate.io.storage.folders import FolderRemote, FolderVault
from penstock.operate.storage import parse_source

FILES = small_model()
SHARD = "model-00001-of-00002.safetensors"


def pulled(folder: Path, store: Path, revision: str | None = None) -> Pulled:
    source = parse_source(str(folder)).at(revision)
    return Pull(source, lambda: open_source(source), store, stop=QuickStop()).run()


def test_a_folder_is_pulled_and_its_content_names_the_revision(tmp_path: Path) -> None:
    one = pulled(write(FILES, tmp_path / "m"), tmp_path / "s")
    same = pulled(write(FILES, tmp_path / "copy" / "m"), tmp_path / "s2")
    flip(tmp_path / "m" / SHARD)
    other = pulled(tmp_path / "m", tmp_path / "s")

    assert one.revision == same.revision
    assert other.revision != one.revision
    assert one.source == f"file://{tmp_path}/m"


def test_a_hub_caches_links_are_followed_and_hidden_folders_are_not(tmp_path: Path) -> None:
    write(FILES, tmp_path / "blobs")
    write({".cache/x.json": b"{}"}, tmp_path / "m")
    for path in FILES:
        (tmp_path / "m" / path).symlink_to(tmp_path / "blobs" / path)

    done = pulled(tmp_path / "m", tmp_path / "s")

    assert done.files == len(FILES)
    assert not any(p.is_symlink() for p in Path(done.path).rglob("*"))


def test_a_published_folder_keeps_its_revision(tmp_path: Path) -> None:
    first = pull(Memory(), tmp_path / "a")

    assert pulled(Path(first.path), tmp_path / "b").revision == "r1"
    with pytest.raises(UsageError, match="holds revision r1"):
        pulled(Path(first.path), tmp_path / "c", revision="r2")


def test_a_named_content_that_changed_is_not_mixed_with_the_old(tmp_path: Path) -> None:
    folder = write(FILES, tmp_path / "m")
    done = pulled(folder, tmp_path / "s", revision="v1")
    (Path(done.path) / SHARD).unlink()
    flip(folder / SHARD)

    with pytest.raises(UsageError, match="has changed since it was pulled as revision 'v1'"):
        pulled(folder, tmp_path / "s", revision="v1")


def test_a_named_content_that_changed_while_it_was_pulled_is_begun_again(tmp_path: Path) -> None:
    folder = write({**FILES, "config.json": b"?" * len(FILES["config.json"])}, tmp_path / "m")
    with pytest.raises(UsageError, match="cannot be served"):
        pulled(folder, tmp_path / "s", revision="v1")
    write(FILES, folder)

    done = pulled(folder, tmp_path / "s", revision="v1")

    assert (Path(done.path) / "config.json").read_bytes() == FILES["config.json"]
    assert not list(Path(done.path).glob(".penstock-content"))


@pytest.mark.parametrize(("make", "said"), [("none", "does not exist"), ("file", "is a file"), ("empty", "is empty")])
def test_what_is_no_models_folder_is_told(tmp_path: Path, make: str, said: str) -> None:
    place = tmp_path / "m"
    if make == "file":
        place.touch()
    elif make == "empty":
        place.mkdir()

    with pytest.raises(UsageError, match=said):
        FolderRemote(parse_source(str(place))).listing()


def test_a_vault_keeps_contents_whole(tmp_path: Path) -> None:
    vault = FolderVault(tmp_path / "v")
    assert vault.sizes() == {}
    (tmp_path / "x").write_bytes(b"12345")

    vault.put("a/b", tmp_path / "x")
    vault.put("a/b", b"new")

    assert vault.sizes() == {"a/b": 3}
    assert vault.read("a/b") == b"new"
    with vault.open("a/b", 1) as body:
        assert (body.start, b"".join(body.chunks)) == (1, b"ew")


def test_a_content_that_is_gone_from_a_vault_is_told(tmp_path: Path) -> None:
    with pytest.raises(PenstockError, match="cannot be read"), FolderVault(tmp_path).open("nope", 0):
        pass
