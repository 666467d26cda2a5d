# ruff: noqa: E501 — manifests in one text
"""What a file is, and what lies inside it."""

from __future__ import annotations

import pytest

from penstock.operate.doctor.reading import evidence_of_text, is_readable_name


@pytest.mark.parametrize(
    "name", ["a.yaml", "b/c.YML", "x.json", "run.sh", "README.md", "Dockerfile", "Dockerfile.gpu", "a.log"]
)
def test_names_that_are_read_in_a_folder(name: str) -> None:
    assert is_readable_name(name)


@pytest.mark.parametrize("name", ["a.py", "b.png", "yaml", ".gitignore"])
def test_names_that_are_not(name: str) -> None:
    assert not is_readable_name(name)


def kinds(text: str, name: str) -> list[str]:
    return [r.kind for r in evidence_of_text(text, name).resources]


def test_items_of_a_list_are_objects_of_their_own() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n  - {apiVersion: v1, kind: Pod}\n  - {apiVersion: v1, kind: Node}\n"
    evidence = evidence_of_text(text, "a.yaml")

    assert [(r.kind, r.root["kind"].where.line) for r in evidence.resources] == [("Pod", 4), ("Node", 5)]


def test_documents_inside_a_config_map_stand_at_their_own_lines() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\ndata:\n  a.yaml: |\n    x: 1\n    y:\n      z: 2\n"

    _, inner = evidence_of_text(text, "a.yaml").resources

    assert inner.value == {"x": 1, "y": {"z": 2}}
    assert (inner.root.at("y", "z").where.line, inner.root.at("y", "z").where.column) == (7, 10)


def test_manifests_in_pages_and_here_documents_are_objects() -> None:
    page = "text\n\n```yaml\napiVersion: v1\nkind: Pod\n```\n"
    script = "#!/bin/sh\nkubectl apply -f - <<EOF\napiVersion: v1\nkind: Node\nEOF\n"

    assert kinds(page, "a.md") == ["Pod"]
    assert evidence_of_text(page, "a.md").resources[0].root["kind"].where.line == 5
    assert kinds(script, "a.sh") == ["Node"]
    assert evidence_of_text(script, "a.sh").resources[0].root["kind"].where.line == 4


def test_stdin_is_known_by_what_it_says() -> None:
    assert kinds("apiVersion: v1\nkind: Pod\n", "<stdin>") == ["Pod"]
    assert kinds('{"kind": "Pod"}', "<stdin>") == ["Pod"]
    assert [s.kind for s in evidence_of_text("#!/bin/sh\nls\n", "<stdin>").snippets] == ["shell"]
    assert [s.kind for s in evidence_of_text("INFO started\n", "<stdin>").snippets] == ["log"]


def test_a_program_in_a_container_is_a_script_at_its_own_line() -> None:
    text = "kind: Pod\nspec:\n  command:\n    - sh\n    - -c\n    - |\n      one\n      vllm serve x\n"

    (snippet,) = [s for s in evidence_of_text(text, "a.yaml").snippets if s.kind == "shell"]

    assert snippet.where(2, 1).line == 8
    assert snippet.where(2, 1).column == 7


def test_comments_that_wave_findings_through_are_kept_by_line() -> None:
    text = "# penstock: ignore-file PS001\na: 1  # penstock: ignore PS002, PS003 because\n# penstock: ignore PS004-x why\n\nb: 2\n"

    ignored = evidence_of_text(text, "a.yaml").ignored["a.yaml"]

    assert ignored[0] == {"PS001"}
    assert ignored[2] == {"PS002", "PS003"}
    assert ignored[3] == {"PS004"}
    assert ignored[4] == {"PS004"}


def test_windows_line_ends_and_a_byte_order_mark_are_nothing_special() -> None:
    assert kinds("\ufeffapiVersion: v1\r\nkind: Pod\r\n", "a.yaml") == ["Pod"]
