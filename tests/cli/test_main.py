"""The command line's frame: exit codes, text for mistakes, quick start-up."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer

from penstock import __version__
from penstock.cli.main import app, main
from penstock.errors import Problem, SpecError, StartError, UsageError


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | int | None]:
    """A command `fail` that raises, or returns, what the list holds."""
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))
    outcome: list[BaseException | int | None] = []

    @app.command("fail")
    def fail() -> int | None:
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    return outcome


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"penstock {__version__}\n"


def test_nothing_asked_gives_help_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: penstock" in "".join(capsys.readouterr())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    out = capsys.readouterr().out
    for command in ("up", "gateway", "engine", "smoke", "bench", "spec"):
        assert f"│ {command} " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["spek"], "No such command 'spek'"),
        (["--nope"], "No such option: --nope"),
        (["spec", "check"], "Missing argument 'FILE'"),
        (["spec", "check", "f", "--output", "xml"], "--output"),
    ],
)
def test_a_wrong_command_line_is_told_in_words_with_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert words in err
    assert "--help" in err


@pytest.mark.parametrize(
    ("outcome", "code", "err"),
    [
        (
            StartError("port 8080 is in use", hint="stop the other"),
            1,
            "error: port 8080 is in use\n  hint: stop the other\n",
        ),
        (UsageError("no [bold] file"), 2, "error: no [bold] file\n"),
        (KeyboardInterrupt(), 130, ""),
        (typer.Abort(), 130, "aborted\n"),
        (typer.Exit(7), 7, ""),
        (None, 0, ""),
        (3, 3, ""),
    ],
)
def test_an_outcome_becomes_an_exit_code_and_words(
    failing: list[BaseException | int | None],
    outcome: BaseException | int | None,
    code: int,
    err: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing.append(outcome)

    assert main(["fail"]) == code

    assert capsys.readouterr().err == err


def test_a_wrong_file_prints_every_problem_and_their_number(
    failing: list[BaseException | int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [Problem(file="f", line=n, column=1, field="x", message="is odd") for n in (1, 2)]
    failing.append(SpecError(problems))

    assert main(["fail"]) == 2
    assert capsys.readouterr().err == "f:1:1: x: is odd\nf:2:1: x: is odd\nerror: 2 problems in the fleet file\n"


def test_a_reader_that_goes_away_ends_the_command_quietly(
    failing: list[BaseException | int | None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    failing.append(BrokenPipeError())

    assert main(["fail"]) == 1
    assert capsys.readouterr().err == ""


def test_a_bug_is_not_hidden(failing: list[BaseException | int | None]) -> None:
    failing.append(ZeroDivisionError("a bug"))

    with pytest.raises(ZeroDivisionError):
        main(["fail"])


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "penstock", "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"penstock {__version__}\n"


def test_start_up_imports_nothing_heavy() -> None:
    """What costs tens of milliseconds is imported by the command that needs it."""
    code = "import sys, penstock.cli.main; print('\\n'.join(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    heavy = {"pydantic", "ruamel.yaml", "starlette", "uvicorn", "aiohttp", "uvloop", "jinja2", "matplotlib"}
    assert heavy & set(done.stdout.split()) == set()
