"""Anthropic's client and OpenAI's Responses on a running gateway before a simulated engine: as their applications use
them. The engine serves the Messages API in half of the tests; in the others it has never heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import anthropic
import openai
import pytest

from fakes.upstream import Link, ScriptedUpstream
from penstock.serve.routing import EndpointAddress
from serve.gateways import KEY, OTHER_KEY
from serve.io.rig import MESSAGES, Rig, rig
from serve.io.test_real_clients import anthropic_client, openai_client
from simulate.io.engine.running import RunningEngine, running_engine

NOT_FOUND = (
    b'HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n{"detail":"Not Found"}'
)
TOOL: Any = {
    "name": "weather",
    "description": "Weather of a town.",
    "input_schema": {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]},
}
GREEDY = {"temperature": 0}
ASKED: Any = {"model": "chat", "messages": MESSAGES, "max_tokens": 8}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine(served_names=("chat",)) as running:
        yield running


def without_messages(port: int) -> Callable[[Link], Coroutine[Any, Any, None]]:
    """An engine of an older version: what stands before the real one, and knows no Messages API."""

    async def script(link: Link) -> None:
        while True:
            received = await link.request()
            if " /v1/messages" in received.line:
                await link.send(NOT_FOUND)
                continue
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = [
                received.line,
                *(f"{name}: {value}" for name, value in received.headers.items()),
                "connection: close",
            ]
            try:
                writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + received.body)
                while data := await reader.read(65_536):
                    await link.send(data)
            finally:
                writer.transport.abort()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            link.close()
            return

    return script


@asynccontextmanager
async def gateway(engine: RunningEngine, *, has_messages: bool = True) -> AsyncIterator[Rig]:
    async with AsyncExitStack() as stack:
        port = engine.port
        if not has_messages:
            port = (await stack.enter_async_context(ScriptedUpstream(without_messages(port)))).port
        r = await stack.enter_async_context(rig())
        r.gateway.endpoints.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=port)])
        yield r


@pytest.mark.parametrize("has_messages", [True, False], ids=["served", "translated"])
class TestAnthropicsClient:
    def test_a_message_whole_and_as_a_stream(self, engine: RunningEngine, has_messages: bool) -> None:
        async def main() -> None:
            async with gateway(engine, has_messages=has_messages) as r, anthropic_client(r) as client:
                whole = await client.messages.create(**ASKED, system="Be short.", extra_body=GREEDY)
                async with client.messages.stream(**ASKED, system="Be short.", extra_body=GREEDY) as stream:
                    pieces = [piece async for piece in stream.text_stream]
                    streamed = await stream.get_final_message()
                assert whole.type == "message"
                assert whole.content[0].type == "text"
                assert whole.content[0].text
                assert whole.stop_reason == streamed.stop_reason == "max_tokens"
                assert "".join(pieces) == streamed.content[0].text  # type: ignore[union-attr]
                assert streamed.usage.output_tokens == whole.usage.output_tokens == 8
                record = await r.ended(2)
                assert (record.outcome, record.output_tokens) == ("ok", 8)
                assert record.prompt_tokens > 0

        asyncio.run(main())

    def test_tokens_are_counted(self, engine: RunningEngine, has_messages: bool) -> None:
        async def main() -> None:
            async with gateway(engine, has_messages=has_messages) as r, anthropic_client(r) as client:
                short = await client.messages.count_tokens(model="chat", messages=ASKED["messages"])
                longer = await client.messages.count_tokens(
                    model="chat", messages=[{"role": "user", "content": "one two three " * 20}], system="Be short."
                )
                assert 0 < short.input_tokens < longer.input_tokens

        asyncio.run(main())

    def test_tools_and_what_they_returned(self, engine: RunningEngine, has_messages: bool) -> None:
        turns: Any = [
            {"role": "user", "content": "Weather in Oslo?"},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "Oslo"}}],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain."}]},
        ]

        async def main() -> None:
            async with gateway(engine, has_messages=has_messages) as r, anthropic_client(r) as client:
                told = await client.messages.create(**ASKED | {"messages": turns}, tools=[TOOL])
                assert told.role == "assistant"
                assert told.content

        asyncio.run(main())

    def test_the_id_of_a_request_is_where_it_is_looked_for(self, engine: RunningEngine, has_messages: bool) -> None:
        async def main() -> None:
            async with gateway(engine, has_messages=has_messages) as r, anthropic_client(r) as client:
                raw = await client.messages.with_raw_response.create(**ASKED)
                assert raw.headers["request-id"] == raw.headers["x-request-id"]
                assert (await raw.parse())._request_id == raw.headers["x-request-id"]
                async with client.messages.stream(**ASKED) as stream:
                    assert stream.request_id == stream.response.headers["x-request-id"]
                with pytest.raises(anthropic.NotFoundError) as unknown:
                    await client.messages.create(**ASKED | {"model": "claude-x"})
                assert unknown.value.request_id == unknown.value.response.headers["x-request-id"]
                with pytest.raises(anthropic.NotFoundError) as unserved:
                    await client.messages.batches.list()
                assert unserved.value.request_id

        asyncio.run(main())

    def test_errors_are_of_the_class_that_fits(self, engine: RunningEngine, has_messages: bool) -> None:
        async def main() -> None:
            async with gateway(engine, has_messages=has_messages) as r, anthropic_client(r) as client:
                with pytest.raises(anthropic.BadRequestError) as long:
                    await client.messages.create(**ASKED | {"messages": [{"role": "user", "content": "long " * 4000}]})
                assert "context length" in str(long.value) or "tokens" in str(long.value)
                with pytest.raises(anthropic.NotFoundError):
                    await client.messages.create(**ASKED | {"model": "claude-x"})

        asyncio.run(main())


def test_both_clients_list_the_models(engine: RunningEngine) -> None:
    async def main() -> None:
        async with gateway(engine) as r, anthropic_client(r) as theirs, openai_client(r) as ours:
            listed = [model async for model in theirs.models.list()]
            assert [model.id for model in listed] == [model.id async for model in ours.models.list()]
            assert (listed[0].id, listed[0].display_name, listed[0].type) == ("chat", "chat", "model")
            assert (await theirs.models.retrieve("gpt-4o")).created_at.year >= 2025

    asyncio.run(main())


@pytest.mark.parametrize("address", [{"azure_endpoint": "{}"}, {"base_url": "{}/v1"}], ids=["endpoint", "base URL"])
def test_azures_client_asks_for_deployments(engine: RunningEngine, address: dict[str, str]) -> None:
    async def main() -> None:
        async with gateway(engine) as r:
            host = f"http://{r.gateway.listen_host}:{r.gateway.listen_port}"
            where: Any = {name: form.format(host) for name, form in address.items()}
            async with openai.AsyncAzureOpenAI(**where, api_key=KEY, api_version="2024-10-21", max_retries=0) as client:
                asked: Any = {"model": "chat", "messages": MESSAGES, "max_tokens": 4}
                whole = await client.chat.completions.create(**asked)
                pieces = [
                    chunk.choices[0].delta.content or ""
                    async for chunk in await client.chat.completions.create(**asked, stream=True)
                ]
                assert whole.choices[0].message.content == "".join(pieces)
                assert (await client.completions.create(model="chat", prompt="x", max_tokens=2)).choices
                assert "chat" in [m.id async for m in client.models.list()]
                with pytest.raises(openai.NotFoundError) as unknown:
                    await client.chat.completions.create(**asked | {"model": "nobody/has this"})
                assert unknown.value.code == "model_not_found"
                assert "'nobody/has this'" in unknown.value.message
                assert (await r.ended(5)).route == "/v1/chat/completions"

    asyncio.run(main())


def test_a_body_for_a_deployment_need_not_name_the_model(engine: RunningEngine) -> None:
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"

    async def main() -> None:
        async with gateway(engine) as r:
            host = f"http://{r.gateway.listen_host}:{r.gateway.listen_port}"
            async with aiohttp.ClientSession(headers={"api-key": KEY}) as client:
                for body in ({"messages": MESSAGES, "max_tokens": 2}, {"model": "", "messages": MESSAGES}):
                    async with client.post(host + path, json=body) as answer:
                        assert (answer.status, (await answer.json())["model"]) == (200, "chat")
                async with client.post(host + path, data=b"{") as answer:
                    assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid_json")

    asyncio.run(main())


class TestOpenaisResponses:
    def test_a_conversation_goes_on_is_read_and_deleted(self, engine: RunningEngine) -> None:
        async def main() -> None:
            async with gateway(engine) as r, openai_client(r) as client, openai_client(r, OTHER_KEY) as other:
                first = await client.responses.create(model="chat", input="Which town?", max_output_tokens=8)
                second = await client.responses.create(
                    model="chat", input="And how old?", previous_response_id=first.id, max_output_tokens=8
                )
                read = await client.responses.retrieve(second.id)
                assert read.previous_response_id == first.id
                assert read.output_text == second.output_text
                assert second.usage is not None
                assert first.usage is not None
                assert second.usage.input_tokens > first.usage.input_tokens
                items = [item async for item in client.responses.input_items.list(second.id)]
                texts = [item.content[0].text for item in items]  # type: ignore[union-attr]
                assert texts == ["Which town?", first.output_text, "And how old?"]
                with pytest.raises(openai.NotFoundError):
                    await other.responses.retrieve(second.id)
                await client.responses.delete(second.id)
                with pytest.raises(openai.NotFoundError):
                    await client.responses.retrieve(second.id)
                with pytest.raises(openai.BadRequestError):
                    await client.responses.cancel(first.id)

        asyncio.run(main())

    def test_a_stream_is_kept_too_and_can_be_gone_on_from(self, engine: RunningEngine) -> None:
        async def main() -> None:
            async with gateway(engine) as r, openai_client(r) as client:
                stream = await client.responses.create(model="chat", input="Hi", max_output_tokens=8, stream=True)
                events = [event async for event in stream]
                ended = events[-1].response  # type: ignore[union-attr]
                again = await client.responses.create(
                    model="chat", input="More", previous_response_id=ended.id, max_output_tokens=8, store=False
                )
                assert (await client.responses.retrieve(ended.id)).output_text == ended.output_text
                with pytest.raises(openai.NotFoundError):
                    await client.responses.retrieve(again.id)

        asyncio.run(main())

    def test_what_cannot_be_kept_is_refused_by_name(self, engine: RunningEngine) -> None:
        async def main() -> None:
            async with gateway(engine) as r, openai_client(r) as client:
                with pytest.raises(openai.BadRequestError) as refused:
                    await client.responses.create(model="chat", input="Hi", background=True)
                assert refused.value.param == "background"
                with pytest.raises(openai.NotFoundError) as lost:
                    await client.responses.create(model="chat", input="Hi", previous_response_id="resp_none")
                assert lost.value.code == "previous_response_not_found"

        asyncio.run(main())
