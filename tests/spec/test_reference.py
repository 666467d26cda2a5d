"""The reference page holds every field, and the committed page is the one that the types give."""

from __future__ import annotations

import re
from pathlib import Path

from penstock.spec import Fleet
from penstock.spec.loader import load_fleet
from penstock.spec.reference import reference_page
from penstock.spec.shape import walk

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fleet-file.md"


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference_page(), "run `make docs`"


def test_every_field_has_a_row() -> None:
    page = reference_page()

    missing = [
        path for path, field in walk(Fleet) if f"| `{field.name}` |" not in page or field.description not in page
    ]
    assert missing == []


def test_every_row_has_five_cells() -> None:
    rows = [line for line in reference_page().splitlines() if line.startswith("|")]

    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


def test_links_lead_to_sections() -> None:
    page = reference_page()
    anchors = {re.sub(r"[^\w-]", "", title.lower()) for title in re.findall(r"^## (.*)$", page, re.MULTILINE)}

    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_its_example_is_a_fleet_file() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", reference_page(), re.DOTALL)

    assert len(load_fleet(example, "page").spec.models) == 1
    assert len(example.splitlines()) == 6


def test_defaults_are_written_as_the_file_would_write_them() -> None:
    page = reference_page()

    assert "| `replicas` | a whole number from 0 to 1000 | `1` |" in page
    assert "| `listen` | HOST:PORT, as in `127.0.0.1:8080` | `127.0.0.1:8080` |" in page
    assert "| `headerS` | a number above 0 | `10` | seconds |" in page
