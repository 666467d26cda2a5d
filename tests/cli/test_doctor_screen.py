"""How a report looks."""

from __future__ import annotations

import pytest

from penstock.cli.doctor_screen import print_report, record
from penstock.operate.doctor import Evidence, Snippet, check, evidence_of_text, joined


def test_what_could_not_be_read_is_a_warning_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(check(evidence_of_text("a: [\n", "a.yaml")))

    out, err = capsys.readouterr()
    assert out == ""
    assert "a.yaml:2:1" in err.replace("\n", " ")


def test_a_live_finding_is_named_by_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    snippet = Snippet(kind="log", file="", object="n/Pod/a", text="No CUDA GPUs are available")

    print_report(check(Evidence(snippets=(snippet,))))

    assert capsys.readouterr().out.startswith("n/Pod/a  error  PS234-no-gpu-in-container")


def test_markup_in_a_file_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(check(evidence_of_text("image: {repository: 'a[red]b', tag: latest}\n", "[bold].yaml")))

    assert "[bold].yaml:1:" in capsys.readouterr().out


def test_a_record_counts_what_comments_waved_through() -> None:
    text = "args: [--max-num-seqs=4, --swap-space=4]  # penstock: ignore PS101 old\n"
    told = record(check(joined([evidence_of_text(text, "a.yaml")])))

    assert (told["findings"], told["ignored"], told["files"]) == ([], 1, 1)
