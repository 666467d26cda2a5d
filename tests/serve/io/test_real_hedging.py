"""Two simulated engines of which one hangs, as official clients see it: they get the other's answer, and hear nothing.

That an engine is cut off as soon as the other has answered is asked of the engine itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fakes.upstream import eventually
from penstock.serve.routing import EndpointAddress
from serve.io.rig import Rig, Run, open_sockets, rig
from serve.io.test_real_clients import anthropic_client, openai_client
from serve.io.test_real_dialects import ASKED, GREEDY
from simulate.io.engine.running import RunningEngine, running_engine

HEDGING = "    hedging: {enabled: true, shareMax: 0.5}\n"
"""So that a busy machine, on which anything may be late, does not use the budget up."""
WARM_UP = 60
"""Requests from which it is known what is late: 50, and some more."""
LATER = 6
"""Requests while one engine hangs: about half of them go there first."""

Ask = Callable[[Any], Awaitable[str]]


@pytest.fixture(scope="module")
def engines() -> Iterator[list[RunningEngine]]:
    with (
        running_engine(served_names=("chat",), has_faults=True, speed=10.0) as one,
        running_engine(served_names=("chat",), has_faults=True, speed=10.0) as other,
    ):
        yield [one, other]


@asynccontextmanager
async def gateway(engines: list[RunningEngine]) -> AsyncIterator[Rig]:
    async with rig(gateway=HEDGING + "    routing: {policy: round-robin}\n") as r:
        addresses = [EndpointAddress(id=f"chat-{n}", host="127.0.0.1", port=e.port) for n, e in enumerate(engines)]
        r.gateway.endpoints.set_pool("chat", addresses)
        yield r


def fault(engine: RunningEngine, mode: str) -> None:
    assert engine.ask("POST", "/fault", {"mode": mode}).status == 200


def running(engine: RunningEngine) -> float:
    """Requests that the engine has, running and waiting."""
    lines = engine.ask("GET", "/metrics").body.decode().splitlines()
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting{")
    return sum(float(line.split()[-1]) for line in lines if line.startswith(names))


async def streamed_chat(client: Any) -> str:
    stream = await client.chat.completions.create(**ASKED, stream=True, extra_body=GREEDY)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def whole_chat(client: Any) -> str:
    answer = await client.chat.completions.create(**ASKED, extra_body=GREEDY)
    return str(answer.choices[0].message.content)


async def streamed_message(client: Any) -> str:
    async with client.messages.stream(**ASKED, extra_body=GREEDY) as stream:
        return "".join([piece async for piece in stream.text_stream])


async def streamed_response(client: Any) -> str:
    fields = {"model": "chat", "input": "hi", "max_output_tokens": 8, "temperature": 0}
    stream = await client.responses.create(**fields, stream=True)
    return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])


@pytest.mark.parametrize(
    ("ask", "client_of"),
    [
        (streamed_chat, openai_client),
        (whole_chat, openai_client),
        (streamed_message, anthropic_client),
        (streamed_response, openai_client),
    ],
)
def test_who_would_wait_for_an_engine_that_hangs_gets_the_others_answer(
    run: Run, engines: list[RunningEngine], ask: Ask, client_of: Callable[[Rig], Any]
) -> None:
    async def main() -> None:
        before = open_sockets()
        async with gateway(engines) as r, client_of(r) as client:
            right = {await ask(client) for _ in range(WARM_UP)}
            assert len(right) == 1
            fault(engines[0], "hang")
            try:
                later = {await ask(client) for _ in range(LATER)}
                await eventually(lambda: not running(engines[0]))
            finally:
                fault(engines[0], "none")
            assert later == right
            assert "second" in {record.hedged for record in r.records[WARM_UP:]}
            assert {record.endpoint for record in r.records[WARM_UP:]} == {"chat-1"}
            assert {record.outcome for record in r.records} == {"ok"}
            assert len({(record.prompt_tokens, record.output_tokens) for record in r.records}) == 1
        await eventually(lambda: open_sockets() <= before)  # the engines close theirs in threads of their own

    run(main)
