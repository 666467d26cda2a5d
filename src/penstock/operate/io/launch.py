"""The small process between `penstock up` and one engine, so that an engine never outlives either of them.

Run as a script with the standard library only (`python -I -S launch.py COMMAND …`): it starts in milliseconds.

- Its stdin is a lifeline held by `up`. When `up` is gone, killed with -9 included, the lifeline reads as ended: the
  engine gets SIGTERM, and SIGKILL after a grace. The byte `K` on the lifeline means SIGKILL at once.
- SIGTERM is passed on to the engine's main process only, as Kubernetes does; vLLM ends its own workers then.
- When the engine's main process ends, whatever way, all that it left behind is killed: its process group, and on Linux
  every descendant, as orphans come to this process (PR_SET_CHILD_SUBREAPER).
- Exits as the engine did; 128 + N where signal N killed it; 127 where the command could not be run.

Limits: on Linux, when this process itself is killed with -9, the engine's main process dies with it (PR_SET_PDEATHSIG),
but workers that this one started may stay. Elsewhere there is no such signal, and what leaves the group stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType

ORPHAN_GRACE_S = 5.0
"""From SIGTERM to SIGKILL once `up` is gone: its clients are gone with it, so nothing is worth a longer wait."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_IS_LINUX = sys.platform.startswith("linux")
_LIFELINE = 0


def _prctl(option: int, value: int) -> None:
    if _IS_LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with(parent: int) -> None:
    """Runs in the engine's process before it becomes the engine."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before the line above
        os._exit(1)


class _Launch:
    """One engine under watch."""

    def __init__(self, command: list[str]) -> None:
        self._kill_at: float | None = None
        self._wake, wake_end = os.pipe()
        os.set_blocking(wake_end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self._is_told_to_stop = False
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        me = os.getpid()
        self._engine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=lambda: _die_with(me),  # noqa: PLW1509
        )

    def _on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told_to_stop = True

    def run(self) -> int:
        """Waits for the engine's end; returns the exit code to end with."""
        watched = [self._wake, _LIFELINE]
        while not self._has_ended():
            pause = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
            readable, _, _ = select.select(watched, [], [], pause)
            if self._wake in readable:
                os.read(self._wake, 4096)
            if _LIFELINE in readable and self._lifeline_ended():
                watched.remove(_LIFELINE)
            if self._is_told_to_stop:
                self._is_told_to_stop = False
                self._signal(signal.SIGTERM)
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                self._signal_group(signal.SIGKILL)
        self._signal_group(signal.SIGKILL)
        code = self._engine.wait()
        _end_orphans()
        return code if code >= 0 else 128 - code

    def _has_ended(self) -> bool:
        """Whether the main process is over; it is not reaped, so that its group's number stays its own."""
        try:
            return os.waitid(os.P_PID, self._engine.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _lifeline_ended(self) -> bool:
        """Obeys what came on the lifeline; True when nothing more can come."""
        try:
            said = os.read(_LIFELINE, 64)
        except OSError:
            said = b""
        if b"K" in said:
            self._kill_at = time.monotonic()
        elif not said and self._kill_at is None:
            self._signal(signal.SIGTERM)
            self._kill_at = time.monotonic() + ORPHAN_GRACE_S
        return not said

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._engine.pid, number)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._engine.pid, number)


def _end_orphans() -> None:
    """Kills and reaps descendants that left the engine's process group and came to us."""
    children = f"/proc/self/task/{os.getpid()}/children"
    while True:
        try:
            with open(children, encoding="ascii") as listing:
                pids = [int(word) for word in listing.read().split()]
        except OSError:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main(command: list[str]) -> int:
    """Runs the command under watch; returns the exit code."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        launch = _Launch(command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    return launch.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
