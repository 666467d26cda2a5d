"""The process between `up` and an engine: nothing outlives either."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.operate.io import launch

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="orphans come to us on Linux only")

SCRIPT = Path(launch.__file__)
TELL = "import os, signal, sys, time; print(os.getpid(), flush=True); "
IGNORE = "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
LIVE = "signal.pause()"
SHORT_GRACE = (
    f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import launch; launch.ORPHAN_GRACE_S = 0.1; "
    "sys.exit(launch.main(sys.argv[1:]))"
)


@contextmanager
def launched(code: str, *, short_grace: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Runs Python code as the engine; gives the launcher and the pid that the engine prints first."""
    script = ["-c", SHORT_GRACE] if short_grace else [str(SCRIPT)]
    process = subprocess.Popen(
        [sys.executable, "-I", *script, sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def test_it_ends_as_the_engine_did() -> None:
    with launched(TELL + "sys.exit(7)") as (process, _):
        assert process.wait(30) == 7
    with launched(TELL + "os.kill(os.getpid(), signal.SIGSEGV)") as (process, _):
        assert process.wait(30) == 128 + signal.SIGSEGV


def test_a_command_that_does_not_exist_is_said() -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), "/no/such/engine"],
        stdin=subprocess.PIPE,
        capture_output=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 127
    assert ended.stderr == b"/no/such/engine: No such file or directory\n"


def test_sigterm_is_passed_on() -> None:
    handler = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('armed', flush=True); "
    with launched(TELL + handler + LIVE) as (process, _):
        assert process.stdout is not None
        assert process.stdout.readline() == b"armed\n"
        process.terminate()
        assert process.wait(30) == 5


def test_the_engine_reads_nothing_from_the_lifeline() -> None:
    with launched(TELL + "print(repr(sys.stdin.read()), flush=True)") as (process, _):
        assert process.stdout is not None
        assert process.stdout.readline() == b"''\n"


def test_the_engine_ends_when_the_lifeline_does(has_ended: Callable[[int], bool]) -> None:
    with launched(TELL + LIVE) as (process, engine):
        assert process.stdin is not None
        process.stdin.close()
        assert has_ended(engine)
        assert process.wait(30) == 128 + signal.SIGTERM


def test_an_engine_that_ignores_sigterm_is_killed_after_the_grace(has_ended: Callable[[int], bool]) -> None:
    with launched(IGNORE_FIRST, short_grace=True) as (process, engine):
        assert process.stdin is not None
        process.stdin.close()
        assert has_ended(engine)
        assert process.wait(30) == 128 + signal.SIGKILL


def test_k_on_the_lifeline_kills_at_once(has_ended: Callable[[int], bool]) -> None:
    with launched(IGNORE_FIRST) as (process, engine):
        assert process.stdin is not None
        process.stdin.write(b"K")
        process.stdin.flush()
        assert has_ended(engine)


@pytest.mark.parametrize("session", [True, False])
def test_what_the_engine_leaves_behind_is_killed(has_ended: Callable[[int], bool], session: bool) -> None:
    code = (
        "import subprocess, sys; "
        f"child = subprocess.Popen(['sleep', '600'], start_new_session={session}); print(child.pid, flush=True)"
    )
    with launched(code) as (process, child):
        assert process.wait(30) == 0
        assert has_ended(child)


def test_the_engine_dies_with_its_launcher(has_ended: Callable[[int], bool]) -> None:
    with launched(TELL + LIVE) as (process, engine):
        os.kill(process.pid, signal.SIGKILL)
        assert has_ended(engine)


IGNORE_FIRST = "import os, signal, sys; " + IGNORE + "print(os.getpid(), flush=True)\nwhile True: signal.pause()"
