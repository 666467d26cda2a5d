"""The runbook pages are the alerts' own words; `PENSTOCK_WRITE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from penstock.plan.manifests.monitoring.alerts import PAGES
from penstock.plan.manifests.monitoring.runbooks import runbooks
from penstock.spec.monitoring import MonitoringSpec

FOLDER = Path(__file__).resolve().parents[4] / "docs" / "runbooks"


def test_the_pages_in_the_docs_are_these() -> None:
    texts = runbooks()
    if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
        FOLDER.mkdir(parents=True, exist_ok=True)
        for old in FOLDER.glob("*.md"):
            old.unlink()
        for name, text in texts.items():
            (FOLDER / name).write_text(text)

    assert {path.name: path.read_text() for path in FOLDER.glob("*.md")} == texts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_what_to_run_what_it_may_be_and_whom_to_wake(page: object) -> None:
    name = page.name  # type: ignore[attr-defined]
    text = runbooks()[f"{name}.md"]

    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert headings == [
        name,
        "What is measured",
        "Run this first",
        "What it may be, the likely first",
        "When to wake somebody",
    ]
    assert "```\nkubectl " in text
    assert "**Mend:**" in text
    assert "{{" not in text


def test_pages_that_are_named_exist() -> None:
    names = {page.name for page in PAGES}

    assert set(re.findall(r"Penstock[A-Z]\w+", "".join(runbooks().values()))) <= names


def test_the_default_address_has_the_pages_under_their_names() -> None:
    assert MonitoringSpec().runbook_url.endswith("/runbooks")


def test_lines_are_short_enough_to_read() -> None:
    for name, text in runbooks().items():
        for line in text.split("\n"):
            assert len(line) <= 120 or line.startswith(("|", "kubectl")), (name, line)
