"""The list of behaviours is complete: each has its test, and the page shows exactly the list."""

from __future__ import annotations

import ast
import os
from pathlib import Path

from penstock.operate.testing.behaviours import BEHAVIOURS, behaviour_table

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "fake-api-server.md"
BEGIN, END = "<!-- behaviours: begin -->\n", "<!-- behaviours: end -->\n"


def test_every_behaviour_has_a_test_of_its_own() -> None:
    tests = {
        node.name
        for path in HERE.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }

    named = [test for _, _, test in BEHAVIOURS]
    assert set(named) <= tests
    assert len(named) == len(set(named))


def test_the_page_shows_the_list() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    if os.environ.get("PENSTOCK_WRITE_GOLDEN"):
        PAGE.write_text(before + BEGIN + behaviour_table() + END + after, encoding="utf-8")
        return

    assert table == behaviour_table(), "write it anew: PENSTOCK_WRITE_GOLDEN=1 pytest this file"
