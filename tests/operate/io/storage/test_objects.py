"""S3 through its real client: listed over pages, pinned by mark, continued, uploaded whole, refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.models import small_model
from fakes.s3 import FakeS3
from fakes.stores import Memory, QuickStop, pull
from penstock.errors import PenstockError, UsageError
from penstock.operate.io.storage import Pull, Pulled, PullOptions, open_source
from penstock.operate.io.storage.objects import ObjectRemote, ObjectVault
from penstock.operate.storage import MARKER, Interrupted, parse_source

SHARD = "model-00001-of-00002.safetensors"
FILES = small_model()


def pulled(store: Path, text: str = "s3://models/tiny", revision: str | None = None) -> Pulled:
    source = parse_source(text).at(revision)
    return Pull(source, lambda: open_source(source), store, options=PullOptions(), stop=QuickStop()).run()


def test_a_prefix_is_pulled_whole_over_several_pages(the_bucket: FakeS3, tmp_path: Path) -> None:
    done = pulled(tmp_path)

    assert {p: (Path(done.path) / p).read_bytes() for p in FILES} == FILES
    assert done.source == "s3://models/tiny"
    assert done.name == "models--tiny"


def test_the_same_content_has_the_same_revision_and_another_another(the_bucket: FakeS3, tmp_path: Path) -> None:
    first = pulled(tmp_path)
    assert pulled(tmp_path).was_present

    the_bucket.objects["tiny/generation_config.json"] = b'{"temperature": 1}'

    assert pulled(tmp_path).revision != first.revision


def test_a_name_for_the_content_holds_that_content_only(the_bucket: FakeS3, tmp_path: Path) -> None:
    assert pulled(tmp_path, revision="v1").revision == "v1"
    the_bucket.objects.clear()

    assert pulled(tmp_path, revision="v1").was_present  # and the bucket is not asked


def test_a_model_that_was_published_there_keeps_its_revision_and_hashes(the_bucket: FakeS3, tmp_path: Path) -> None:
    folder = Path(pull(Memory(), tmp_path / "a").path)
    the_bucket.objects = {f"pub/{p.relative_to(folder)}": p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    done = pulled(tmp_path / "b", "s3://models/pub")
    assert done.revision == "r1"

    with pytest.raises(UsageError, match="holds revision r1 of org--tiny, not r2"):
        pulled(tmp_path / "c", "s3://models/pub", revision="r2")
    key = f"pub/{SHARD}"
    the_bucket.objects[key] = the_bucket.objects[key][:-1] + b"?"
    with pytest.raises(PenstockError, match="arrived wrong twice"):
        pulled(tmp_path / "d", "s3://models/pub")
    assert f"pub/{MARKER}" in the_bucket.objects


def test_an_object_that_changes_meanwhile_is_noticed(the_bucket: FakeS3) -> None:
    remote = ObjectRemote(parse_source("s3://models/tiny"))
    file = next(f for f in remote.listing().files if f.path == SHARD)
    the_bucket.objects[f"tiny/{SHARD}"] = b"other"

    with pytest.raises(PenstockError, match="changed while it was read"), remote.open(file, 0):
        pass


def test_a_content_is_read_from_the_middle(the_bucket: FakeS3) -> None:
    vault = ObjectVault(parse_source("s3://models/tiny"))

    with vault.open(SHARD, 100) as body:
        assert body.start == 100
        assert b"".join(body.chunks) == FILES[SHARD][100:]


def test_contents_are_put_and_listed_small_and_in_parts(the_bucket: FakeS3, tmp_path: Path) -> None:
    vault = ObjectVault(parse_source("s3://models/bak"))
    large = tmp_path / "large"
    large.write_bytes(bytes(20 * 1024 * 1024))

    vault.put("a/b", b"small")
    vault.put("c", large)

    assert vault.sizes() == {"a/b": 5, "c": 20 * 1024 * 1024}
    assert vault.read("a/b") == b"small"
    assert the_bucket.objects["bak/c"] == large.read_bytes()


def test_no_access_is_told_and_not_tried_again(the_bucket: FakeS3) -> None:
    the_bucket.refuses = True

    with pytest.raises(UsageError, match="the object store refuses us") as refusal:
        ObjectRemote(parse_source("s3://models/tiny")).listing()

    assert "secret" not in str(refusal.value)


def test_an_empty_prefix_is_told(the_bucket: FakeS3) -> None:
    with pytest.raises(UsageError, match="s3://models/nope is empty"):
        ObjectRemote(parse_source("s3://models/nope")).listing()


def test_an_object_that_is_not_there_is_told(the_bucket: FakeS3) -> None:
    with pytest.raises(UsageError, match="no such bucket or object"):
        ObjectVault(parse_source("s3://models/tiny")).read("nope")


def test_a_connection_cut_in_mid_object_is_continued(the_bucket: FakeS3, tmp_path: Path) -> None:
    the_bucket.cuts[f"tiny/{SHARD}"] = [100]

    done = pulled(tmp_path)

    assert (Path(done.path) / SHARD).read_bytes() == FILES[SHARD]


def test_a_store_that_is_not_there_is_tried_again(monkeypatch: pytest.MonkeyPatch, the_bucket: FakeS3) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("penstock.operate.io.storage.objects._RETRY", {"max_retries": 0})

    with pytest.raises(Interrupted, match="s3://models/tiny: listing"):
        ObjectRemote(parse_source("s3://models/tiny")).listing()
