"""Printing: data to stdout, words to stderr, one shape for tables and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from penstock.cli import output
from penstock.errors import PenstockError


def test_json_is_indented_and_takes_dataclasses(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class Point:
        x: int

    output.print_json({"points": [Point(1)], "name": "ключ"})

    out, err = capsys.readouterr()
    assert json.loads(out) == {"points": [{"x": 1}], "name": "ключ"}
    assert "\n  " in out
    assert err == ""


def test_a_table_aligns_numbers_right_and_shows_what_is_not_known_as_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name", "count"], [["chat", 1], ["[red]embed", 1000], ["none", None]], title="Models")

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "Models"
    width = max(len(line) for line in lines)
    rows = [line for line in lines if line.startswith(("chat", "[red]embed", "none"))]
    assert [row.split() for row in rows] == [["chat", "1"], ["[red]embed", "1000"], ["none", "-"]]
    assert {len(row) for row in rows} == {width}, "the last column is right-aligned"


def test_an_empty_table_has_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name", "count"], [])

    assert "name" in capsys.readouterr().out


def test_words_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.say("starting [chat]")
    output.warn("slow [disk]")

    out, err = capsys.readouterr()
    assert out == ""
    assert err == "starting [chat]\nwarning: slow [disk]\n"


def test_an_error_is_text_with_its_hint_and_long_lines_stay_whole(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_error(PenstockError("x" * 500, hint="mend it"))

    assert capsys.readouterr().err == f"error: {'x' * 500}\n  hint: mend it\n"


def test_no_color_is_obeyed_even_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    assert output.stderr_console().color_system is None or output.stderr_console().no_color


def test_a_table_that_is_wider_than_a_screen_is_whole_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    rows = [[f"{name}-{'x' * 20}" for name in "abcd"]]
    output.print_table(["one", "two", "three", "four"], rows)

    assert capsys.readouterr().out.splitlines()[-1].split() == rows[0]
