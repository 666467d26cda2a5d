"""Tests of the edge run on the loop that production uses, and on asyncio's own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial

import pytest
import uvloop

from serve.io.rig import Run, run_in


@pytest.fixture(params=[uvloop.new_event_loop, None], ids=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Run]:
    """Runs an async test on each kind of loop; whatever a callback raised, leaked or logged as an error fails it."""
    yield partial(run_in, request.param)
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
