"""Whatever is done to a published model is found, and the finding names the file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.models import safetensors, sha256, small_model
from penstock.facts import header_length
from penstock.operate.storage import FileRecord, ModelRecord, Seen, Severity, Snapshot, has_errors, verify_record

FILES = small_model()
SHARDS = [path for path in FILES if path.endswith(".safetensors")]
REVISION = "0" * 40


def head_of(content: bytes) -> bytes:
    try:
        return content[: 8 + header_length(content)]
    except Exception:  # as the edge does: what is no header is read no further
        return content[:8]


def record_of(files: Mapping[str, bytes], source: str = "org/name") -> ModelRecord:
    return ModelRecord(
        name="org--name",
        source=source,
        revision=REVISION,
        files=tuple(
            FileRecord(
                path=path,
                size=len(content),
                sha256=sha256(content),
                header_sha256=sha256(head_of(content)) if path in SHARDS else None,
            )
            for path, content in files.items()
        ),
        published_at="2026-01-01T00:00:00Z",
        verified_at="2026-01-01T00:00:00Z",
    )


def seen(files: Mapping[str, bytes], *, is_quick: bool = False, **more: object) -> Snapshot:
    def one(path: str, content: bytes) -> Seen:
        head = head_of(content) if path.endswith(".safetensors") else None
        mark = hashlib.sha256(head).hexdigest() if head is not None else None
        return Seen(size=len(content), sha256=None if is_quick else sha256(content), head=head, head_sha256=mark)

    texts = {p: c.decode(errors="replace") for p, c in files.items() if p.endswith(".json")}
    fields: dict[str, object] = {
        "revision": REVISION,
        "files": {p: one(p, c) for p, c in files.items()},
        "texts": texts,
        "template_file": "tokenizer_config.json",
    }
    return Snapshot(**{**fields, **more})  # type: ignore[arg-type]


RECORD = record_of(FILES)


def errors(files: Mapping[str, bytes], *, is_quick: bool = False, **more: object) -> list[str]:
    found = verify_record(RECORD, seen(files, is_quick=is_quick, **more))
    return [finding.file for finding in found if finding.severity is Severity.ERROR]


def test_a_model_as_published_has_no_findings() -> None:
    assert verify_record(RECORD, seen(FILES)) == []
    assert verify_record(RECORD, seen(FILES, is_quick=True)) == []


@given(st.sampled_from(SHARDS), st.data())
def test_a_flipped_bit_of_a_header_is_found_even_by_a_quick_look(path: str, data: st.DataObject) -> None:
    content = bytearray(FILES[path])
    place = data.draw(st.integers(0, len(head_of(FILES[path])) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))

    assert path in errors({**FILES, path: bytes(content)}, is_quick=True)


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_flipped_bit_anywhere_is_found_by_the_hashes(path: str, data: st.DataObject) -> None:
    content = bytearray(FILES[path])
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    assert path in errors({**FILES, path: bytes(content)})


@given(st.sampled_from(sorted(FILES)), st.data())
def test_a_truncated_file_is_found_even_by_a_quick_look(path: str, data: st.DataObject) -> None:
    size = data.draw(st.integers(0, len(FILES[path]) - 1))

    assert path in errors({**FILES, path: FILES[path][:size]}, is_quick=True)


def test_swapped_shards_are_found_even_without_a_record() -> None:
    swapped = {**FILES, SHARDS[0]: FILES[SHARDS[1]], SHARDS[1]: FILES[SHARDS[0]]}

    assert set(errors(swapped, is_quick=True)) == set(SHARDS)
    assert has_errors(verify_record(None, seen(swapped)))


@given(st.sampled_from(sorted(FILES)))
def test_a_missing_file_is_found(path: str) -> None:
    assert path in errors({p: c for p, c in FILES.items() if p != path}, is_quick=True)


def test_weights_that_nobody_published_are_an_error_and_notes_a_warning() -> None:
    files = {**FILES, "extra.safetensors": safetensors({"z": 1}), "notes.json": b"{}"}

    found = {f.file: f.severity for f in verify_record(RECORD, seen(files)) if f.rule == "stranger"}

    assert found == {"extra.safetensors": Severity.ERROR, "notes.json": Severity.WARNING}


def test_a_folder_with_another_revisions_name_is_found() -> None:
    assert ".penstock-model.json" in errors(FILES, revision="f" * 40)


def test_a_file_that_cannot_be_read_is_a_finding() -> None:
    snapshot = seen(FILES)
    files = {**snapshot.files, "config.json": Seen(size=0, trouble="Input/output error")}
    found = verify_record(RECORD, replace(snapshot, files=files))

    assert [str(f) for f in found] == ["config.json: cannot be read: Input/output error"]


def test_a_chat_template_that_fails_is_an_error() -> None:
    found = verify_record(RECORD, seen(FILES, template_trouble="has a mistake in line 3: x"))

    assert [(f.severity, f.file) for f in found] == [(Severity.ERROR, "tokenizer_config.json")]
    assert "/v1/chat/completions would fail" in found[0].message


@pytest.mark.parametrize("source", ["Qwen/Qwen3-8B-Instruct", "google/gemma-3-4b-it", "meta-llama/Llama-2-7b-chat-hf"])
def test_no_chat_template_is_a_warning_where_the_name_says_that_it_chats(source: str) -> None:
    found = verify_record(record_of(FILES, source), seen(FILES, template_file=None))

    assert [(f.severity, f.rule) for f in found] == [(Severity.WARNING, "chat-template")]


def test_no_chat_template_is_right_for_a_base_model() -> None:
    assert verify_record(record_of(FILES, "org/base"), seen(FILES, template_file=None)) == []


def test_a_folder_that_nobody_published_is_a_warning() -> None:
    assert [(f.severity, f.rule) for f in verify_record(None, seen(FILES))] == [(Severity.WARNING, "record")]


def test_a_folder_without_weights_is_an_error() -> None:
    files = {p: c for p, c in FILES.items() if "safetensors" not in p}

    assert any(f.rule == "weights" for f in verify_record(None, seen(files)))


def test_errors_come_first() -> None:
    files = {**FILES, "a-note.json": b"{}", SHARDS[0]: b""}
    severities = [f.severity for f in verify_record(RECORD, seen(files))]

    assert severities == sorted(severities)
    assert severities[0] is Severity.ERROR
