"""Routes that change the engine, or that vLLM refuses unless it was started for them."""

from __future__ import annotations

import asyncio

from pydantic import TypeAdapter

from penstock.simulate.engine.api.encoding import dump
from penstock.simulate.engine.api.errors import ApiError, not_scaled_out
from penstock.simulate.engine.api.faults import FAULT
from penstock.simulate.engine.api.fields import JsonObject, Request
from penstock.simulate.engine.api.responses import response_not_found
from penstock.simulate.engine.api.validation import parse_body
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.service import EngineService

__all__ = [
    "arm_fault",
    "generative_scoring",
    "is_scaling",
    "is_sleeping",
    "refuse_scale_out",
    "reset_prefix_cache",
    "scale",
    "show_fault",
    "show_response",
    "sleep",
    "structured_decision",
    "wake_up",
]


class GenerativeScoringRequest(Request):
    """Body of `/generative_scoring`."""

    query: str | list[int]
    items: list[str] | list[list[int]]
    label_token_ids: list[int]


class StructuredDecisionRequest(Request):
    """Body of `/v1/systemone`."""

    state: object
    questions: dict[str, JsonObject]


class ScaleRequest(Request):
    """Body of `/scale_elastic_ep`."""

    new_data_parallel_size: int | None = None


_SCORING = TypeAdapter(GenerativeScoringRequest)
_DECISION = TypeAdapter(StructuredDecisionRequest)


async def arm_fault(service: EngineService, exchange: HttpExchange, body: bytes) -> None:
    """Arms a fault, and answers with it."""
    fault = parse_body(FAULT, body)
    service.arm(fault)
    if fault.for_s is not None:
        asyncio.get_running_loop().call_later(fault.for_s, service.heal)
    await show_fault(service, exchange)
    if fault.mode == "crash" and fault.at_token is None:
        service.crash()


async def show_fault(service: EngineService, exchange: HttpExchange) -> None:
    """The armed fault and what it has done."""
    await exchange.answer(dump(service.faults.state(service.clock())))


async def sleep(service: EngineService, exchange: HttpExchange) -> None:
    """Pauses the engine: requests wait until it wakes."""
    level = exchange.query("level") or "1"
    service.driver.sleep_level = int(level) if level in ("1", "2") else 1
    await exchange.answer(dump({"status": "sleeping", "level": service.driver.sleep_level}))


async def wake_up(service: EngineService, exchange: HttpExchange) -> None:
    """Goes on."""
    service.driver.sleep_level = 0
    service.driver.rouse()
    await exchange.answer(dump({"status": "awake", "tags": None}))


async def is_sleeping(service: EngineService, exchange: HttpExchange) -> None:
    """Whether the engine is paused."""
    await exchange.answer(dump({"is_sleeping": service.driver.sleep_level > 0}))


async def reset_prefix_cache(service: EngineService, exchange: HttpExchange) -> None:
    """Forgets cached prefixes."""
    service.driver.engine.reset_prefix_cache()
    await exchange.answer(b"", content_type=None)


async def refuse_scale_out(_service: EngineService, _exchange: HttpExchange) -> None:
    """What the token-in, token-out routes answer without `--enable-scale-out`."""
    raise not_scaled_out()


async def scale(_service: EngineService, _exchange: HttpExchange, _body: bytes) -> None:
    """What elastic scaling answers on an engine that has none."""
    raise ApiError(500, "Scale failed", "Internal Server Error")


async def is_scaling(_service: EngineService, exchange: HttpExchange) -> None:
    """Whether elastic scaling is under way: never."""
    await exchange.answer(dump({"is_scaling_elastic_ep": False}))


async def show_response(_service: EngineService, exchange: HttpExchange) -> None:
    """A stored response: none is stored."""
    parts = exchange.path.split("/")
    raise response_not_found(parts[3])


async def generative_scoring(_service: EngineService, _exchange: HttpExchange, body: bytes) -> None:
    """Checked and then refused: not simulated."""
    parse_body(_SCORING, body)
    raise _not_simulated("/generative_scoring")


async def structured_decision(_service: EngineService, _exchange: HttpExchange, body: bytes) -> None:
    """Checked and then refused: not simulated."""
    parse_body(_DECISION, body)
    raise _not_simulated("/v1/systemone")


def _not_simulated(route: str) -> ApiError:
    return ApiError(501, f"{route} is not simulated by penstock engine.", "NotImplementedError")
