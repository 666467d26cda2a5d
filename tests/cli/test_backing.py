"""What a gateway leans on never keeps it from serving; what was used before counts on; what ended is in the store."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from penstock.cli.backing import Backing
from penstock.cli.key_store import store_place
from penstock.errors import UsageError
from penstock.serve.config import compile_gateway
from penstock.serve.flow import Ask, Verdict
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.io.gateway import Gateway
from penstock.serve.record import RequestRecord
from penstock.spec import Fleet
from penstock.spec.loader import load_fleet
from serve.io.limits.servers import missing, redis_server

KEY = "acme-key-1"


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_STATE_DIR", raising=False)


def fleet_in(folder: Path, quota: dict[str, Any] | None = None, *, model: str = "chat", **gateway: Any) -> Fleet:
    tenant = {"name": "acme", "limits": quota or {}, "keys": [{"value": KEY}]}
    spec = {"models": [{"name": model}], "gateway": {"tenants": [tenant], **gateway}}
    head = {"apiVersion": "penstock.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": "demo"}}
    (folder / "fleet.yaml").write_text(json.dumps({**head, "spec": spec}))
    return load_fleet((folder / "fleet.yaml").read_text(), "fleet.yaml")


@asynccontextmanager
async def backed(folder: Path, fleet: Fleet) -> AsyncIterator[tuple[Gateway, Backing]]:
    """A gateway's backing that has begun and runs."""
    gateway = Gateway(compile_gateway(fleet, {}))
    backing = Backing(gateway, fleet, store_place(str(folder / "fleet.yaml"), fleet), folder)
    await backing.begin(fleet, has_store=False)
    running = asyncio.create_task(backing.run())
    try:
        yield gateway, backing
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await backing.close()


def ask(gateway: Gateway, tokens: int = 1) -> Verdict:
    """What the limits of the only tenant say at once."""
    (caller,) = gateway.core.config.callers.values()
    asked = Ask(request_id="r", scopes=caller.scopes, input_tokens=tokens, output_tokens=0)
    verdict = gateway.core.limiter.reserve(asked, monotonic(), lambda *_: None)
    assert verdict is not None
    return verdict


def serve(gateway: Gateway, tokens: int) -> None:
    """One request of that length, from begin to end."""
    record = RequestRecord(time.time(), f"r{tokens}", tenant="acme", model="chat", key="acme-1")
    assert gateway.ledger is not None
    gateway.ledger.begin(record, tokens)
    record.prompt_tokens, record.output_tokens = tokens, 0
    gateway.ledger.end(record, 0)


def test_without_redis_the_gateway_holds_its_limits_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with backed(tmp_path, fleet_in(tmp_path, {"requestsPerMinute": 1})) as (gateway, backing):
            assert isinstance(gateway.core.limiter, LocalLimiter)
            assert backing.state.limits is None
            assert [ask(gateway).reservation is not None for _ in range(2)] == [True, False]

    asyncio.run(main())


def test_a_month_that_has_begun_goes_on_after_a_restart(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path, {"tokensPerMonth": 1000})

    async def main() -> None:
        async with backed(tmp_path, fleet) as (gateway, _):
            serve(gateway, 990)
        async with backed(tmp_path, fleet) as (gateway, _):
            assert ask(gateway, 11).reservation is None
            assert ask(gateway, 10).reservation is not None

    asyncio.run(main())


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_a_month_goes_on_after_a_restart_of_all_gateways_and_of_a_redis_that_keeps_nothing(tmp_path: Path) -> None:
    async def judged(gateway: Gateway, tokens: int) -> Verdict:
        (caller,) = gateway.core.config.callers.values()
        came: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        asked = Ask(request_id="r", scopes=caller.scopes, input_tokens=tokens, output_tokens=0)
        verdict = gateway.core.limiter.reserve(asked, monotonic(), lambda verdict, _: came.set_result(verdict))
        return verdict or await came

    async def main() -> None:
        for used, next_one in ((990, 10), (0, 11)):
            with redis_server() as redis:  # another one each time
                fleet = fleet_in(tmp_path, {"tokensPerMonth": 1000}, limits={"url": redis.url})
                async with backed(tmp_path, fleet) as (gateway, backing):
                    state = backing.state.limits
                    assert state is not None
                    assert state.is_connected
                    assert ((await judged(gateway, next_one)).reservation is None) == (not used)
                    if used:
                        serve(gateway, used)

    asyncio.run(main())


def test_a_redis_that_is_not_there_keeps_nobody_from_starting_and_limits_hold(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    fleet = fleet_in(tmp_path, {"requestsPerMinute": 60}, limits={"url": f"redis://127.0.0.1:{port}/0"})

    async def main() -> None:
        async with backed(tmp_path, fleet) as (gateway, backing):
            state = backing.state.limits
            assert state is not None
            assert (state.is_connected, state.source) == (False, "share")
            assert str(port) in state.error
            verdicts = [ask(gateway) for _ in range(100)]
            assert all(verdict.is_degraded for verdict in verdicts)
            assert sum(verdict.reservation is not None for verdict in verdicts) < 60

    asyncio.run(main())


def test_a_password_that_cannot_be_read_is_said_at_the_start(tmp_path: Path) -> None:
    limits = {"url": "redis://127.0.0.1:1/0", "passwordFrom": {"env": "NO_SUCH_VARIABLE"}}
    fleet = fleet_in(tmp_path, limits=limits)

    async def main() -> None:
        with pytest.raises(UsageError, match="NO_SUCH_VARIABLE"):
            Backing(Gateway(compile_gateway(fleet, {})), fleet, store_place("-", fleet), tmp_path)

    asyncio.run(main())


def test_what_ended_before_the_end_is_in_the_store(tmp_path: Path) -> None:
    fleet = fleet_in(tmp_path)

    async def main() -> None:
        async with backed(tmp_path, fleet) as (gateway, backing):
            for tokens in range(1, 51):
                serve(gateway, tokens)
        state = backing.state.ledger
        assert (state.waiting, state.shipped_total, state.dropped_total) == (0, 50, 0)

    asyncio.run(main())


def test_a_changed_file_changes_whose_tokenizers_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    fleet, other = fleet_in(tmp_path), fleet_in(tmp_path, model="other")

    async def main() -> None:
        gateway = Gateway(compile_gateway(fleet, {}))
        backing = Backing(gateway, fleet, store_place(str(tmp_path / "fleet.yaml"), fleet), tmp_path)
        has_looked = asyncio.Event()

        async def load(source: Any) -> str:
            looked.append(source.model)
            has_looked.set()
            return ""

        assert gateway.core.counter is not None
        monkeypatch.setattr(type(gateway.core.counter), "load", lambda _, source: load(source))
        running = asyncio.create_task(backing.run())
        async with asyncio.timeout(60):
            await has_looked.wait()
            has_looked.clear()
            backing.follow(other, {})
            await has_looked.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert looked == ["chat", "other"]
