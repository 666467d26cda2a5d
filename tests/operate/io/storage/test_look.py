"""A folder is read into what the verdict needs, and nothing is followed out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes.models import TEMPLATE, sha256, small_model, write
from fakes.stores import Memory, pull
from penstock.errors import UsageError
from penstock.operate.io.storage import read_marker, snapshot
from penstock.operate.storage import MARKER, verify_record

FILES = small_model()
SHARD = "model-00001-of-00002.safetensors"


def test_a_folder_is_seen_as_it_is(tmp_path: Path) -> None:
    seen = snapshot(write(FILES, tmp_path / "r"), with_hashes=True)

    assert seen.revision == "r"
    assert {p: (f.size, f.sha256) for p, f in seen.files.items()} == {p: (len(c), sha256(c)) for p, c in FILES.items()}
    assert FILES[SHARD].startswith(seen.files[SHARD].head or b"?")
    assert seen.template_file == "tokenizer_config.json"
    assert seen.template_trouble is None
    assert verify_record(None, seen)[0].rule == "record"


def test_a_quick_look_hashes_no_file(tmp_path: Path) -> None:
    seen = snapshot(write(FILES, tmp_path), with_hashes=False)

    assert {f.sha256 for f in seen.files.values()} == {None}
    assert seen.files[SHARD].head_sha256


def test_a_link_in_a_published_folder_is_a_finding(tmp_path: Path) -> None:
    pulled = Path(pull(Memory(), tmp_path).path)
    (pulled / "config.json").unlink()
    (pulled / "config.json").symlink_to("/etc/hostname")
    (pulled / "sub").symlink_to("/etc")

    found = verify_record(read_marker(pulled), snapshot(pulled, with_hashes=True))

    assert "config.json: cannot be read: it is a link, not the file that was published" in [str(f) for f in found]
    assert "sub" in [f.file for f in found]


def test_links_of_a_hub_cache_are_followed(tmp_path: Path) -> None:
    write(FILES, tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for path in FILES:
        (tmp_path / "snapshot" / path).symlink_to(tmp_path / "blobs" / path)

    seen = snapshot(tmp_path / "snapshot", with_hashes=False, may_link=True)

    assert [f.rule for f in verify_record(None, seen)] == ["record"]


def test_the_template_is_found_where_engines_look(tmp_path: Path) -> None:
    write({**FILES, "chat_template.jinja": b"{{ broken"}, tmp_path)
    seen = snapshot(tmp_path, with_hashes=False)
    assert seen.template_file == "chat_template.jinja"
    assert "mistake in line 1" in (seen.template_trouble or "")

    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    assert snapshot(tmp_path, with_hashes=False).template_trouble is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_is_not_ours_to_read_is_a_finding(tmp_path: Path) -> None:
    write(FILES, tmp_path)
    (tmp_path / SHARD).chmod(0)

    assert snapshot(tmp_path, with_hashes=True).files[SHARD].trouble == "Permission denied"


def test_a_text_that_is_none_is_none(tmp_path: Path) -> None:
    write({**FILES, "config.json": b"\xff\xfe"}, tmp_path)

    assert snapshot(tmp_path, with_hashes=False).texts["config.json"] is None


def test_a_marker_is_read_or_absent_or_refused(tmp_path: Path) -> None:
    assert read_marker(tmp_path) is None
    (tmp_path / MARKER).write_text("{")
    with pytest.raises(UsageError, match="cannot be read as a model's record"):
        read_marker(tmp_path)
