"""Reading files and folders: everything readable is read, the rest is said in words."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.errors import UsageError
from penstock.operate.io import evidence as module
from penstock.operate.io.evidence import read_evidence, readable_files


def test_a_folder_is_read_deep_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a/b.json", "run.sh", "notes.py", ".git/x.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}\n", encoding="utf-8")

    names = [str(Path(f).relative_to(tmp_path)) for f in readable_files(str(tmp_path))]

    assert names == ["b.yaml", "run.sh", "a/b.json", "a/z.yml"]


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"a: \xff\n", "is not UTF-8 text: byte 0xFF on line 1"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"\x7fELF\0\0", "is no text"),
        (b"a" * 2000, "is larger than"),
    ],
)
def test_what_cannot_be_read_is_said_and_the_rest_goes_on(
    tmp_path: Path, raw: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FILE_BYTES_MAX", 1000)
    (tmp_path / "bad.yaml").write_bytes(raw)
    (tmp_path / "good.yaml").write_text("apiVersion: v1\nkind: Pod\n", encoding="utf-8")

    found = read_evidence([str(tmp_path)])

    assert [r.kind for r in found.resources] == ["Pod"]
    assert words in found.problems[0].message
    assert found.files == 2


def test_stdin_is_a_file_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SimpleNamespace(buffer=io.BytesIO(b"apiVersion: v1\nkind: Pod\n"))
    monkeypatch.setattr("sys.stdin", stream)

    (resource,) = read_evidence(["-"]).resources

    assert (resource.file, resource.kind) == ("<stdin>", "Pod")


def test_a_file_named_twice_is_read_once_and_progress_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: 1\n", encoding="utf-8")
    ticks: list[tuple[int, int]] = []

    found = read_evidence(
        [str(tmp_path), str(tmp_path / "a.yaml")], tick=lambda _, done, total: ticks.append((done, total))
    )

    assert found.files == 1
    assert ticks == [(0, 1)]


def test_nothing_there_is_a_usage_error(tmp_path: Path) -> None:
    for path in (str(tmp_path / "absent"), str(tmp_path)):
        with pytest.raises(UsageError):
            read_evidence([path])
