# ruff: noqa: E501 — manifests in one text
"""Mending files: what is safe is done, the rest of the file stays, and doing it twice changes nothing."""

from __future__ import annotations

import pytest

from operate.doctor.faults import ALL, Fault, codes, examined, read
from penstock.operate.doctor import Mended, mend, unified_diff

FIXABLE = [f for f in ALL if any(x.edits for x in examined(f.text, f.fixture).findings if x.rule.code == f.rule)]


def mended(text: str, file: str) -> Mended | None:
    return mend(file, text, lambda new: examined(new, file))


@pytest.mark.parametrize("fault", FIXABLE, ids=lambda f: f.name)
def test_a_mended_file_no_longer_has_the_fault_and_mending_again_changes_nothing(fault: Fault) -> None:
    found = mended(fault.text, fault.fixture)

    assert found is not None
    assert fault.rule not in codes(examined(found.after, fault.fixture))
    assert mended(found.after, fault.fixture) is None
    kept = [line for line in found.before.split("\n") if line.lstrip().startswith("#")]
    assert [line for line in found.after.split("\n") if line.lstrip().startswith("#")] == kept


def test_many_rules_mend() -> None:
    assert {f.rule for f in FIXABLE} >= {
        "PS002",
        "PS003",
        "PS004",
        "PS007",
        "PS027",
        "PS036",
        "PS037",
        "PS126",
    }


def test_what_is_right_is_not_touched() -> None:
    assert mended(read("stack.yaml"), "stack.yaml") is None


def test_comments_and_layout_stay() -> None:
    text = "# top\nargs:   # the engine's\n  - --max-num-seqs=4\n  - --num-scheduler-steps  # why not\n  - '8'\n\n  - --seed=1\n"

    found = mended(text, "a.yaml")

    assert found is not None
    assert found.after == "# top\nargs:   # the engine's\n  - --max-num-seqs=4\n\n  - --seed=1\n"
    assert [f.rule.code for f in found.findings] == ["PS003"]


def test_the_difference_is_shown_as_diff_shows_it() -> None:
    found = Mended(file="a.yaml", before="a\nb", after="a\nc", findings=())

    assert unified_diff(found).split("\n")[:2] == ["--- a/a.yaml", "+++ b/a.yaml"]
    assert "\\ No newline at end of file" in unified_diff(found)
