"""What applications see of our errors: the official clients raise the class that fits, and never hang or go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from fakes.upstream import Link, Script, always
from penstock.serve.wire.messages import ChatEvents
from serve.exchanges import END, SSE_HEAD, TOKEN, answer, chunk, event
from serve.gateways import KEY, OTHER_KEY
from serve.io.rig import MESSAGES, Rig, Run, rig

RECORDED = Path(__file__).resolve().parents[3].parent / "shared" / "reference" / "vllm-api"
TEXT: Any = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hel"}}
STARTED: Any = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "chat",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 0},
    },
}


def named(fields: dict[str, Any]) -> bytes:
    return b"event: " + fields["type"].encode() + b"\n" + event(**fields)


def openai_client(r: Rig, key: str = KEY) -> openai.AsyncOpenAI:
    host = f"http://{r.gateway.listen_host}:{r.gateway.listen_port}"
    return openai.AsyncOpenAI(base_url=f"{host}/v1", api_key=key, max_retries=0, timeout=10)


def anthropic_client(r: Rig, key: str = KEY) -> anthropic.AsyncAnthropic:
    host = f"http://{r.gateway.listen_host}:{r.gateway.listen_port}"
    return anthropic.AsyncAnthropic(base_url=host, api_key=key, max_retries=0, timeout=10)


async def chat(client: openai.AsyncOpenAI, **fields: Any) -> Any:
    return await client.chat.completions.create(**{"model": "chat", "messages": MESSAGES, **fields})


async def message(client: anthropic.AsyncAnthropic, **fields: Any) -> Any:
    return await client.messages.create(**{"model": "chat", "messages": MESSAGES, "max_tokens": 4, **fields})


async def refusing(link: Link) -> None:
    """Answers each request with the status that its user is named for."""
    while True:
        asked = json.loads((await link.request()).body)
        status = int(asked.get("user") or asked["metadata"]["user_id"])
        said = {"error": {"message": "It broke.", "type": "SomeError", "param": "p", "code": status}}
        await link.send(answer(json.dumps(said).encode(), status=f"{status} Words"))


def breaking(*events: bytes) -> Script:
    """A stream that ends in its middle."""

    async def script(link: Link) -> None:
        await link.request()
        await link.send(SSE_HEAD + b"".join(chunk(e) for e in events))
        link.close()

    return script


OPENAI: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}
ANTHROPIC: dict[int, tuple[type[anthropic.APIStatusError], str]] = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    402: (anthropic.APIStatusError, "billing_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    409: (anthropic.ConflictError, "conflict_error"),
    413: (anthropic.APIStatusError, "request_too_large"),
    422: (anthropic.UnprocessableEntityError, "invalid_request_error"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    500: (anthropic.InternalServerError, "api_error"),
    503: (anthropic.InternalServerError, "overloaded_error"),
    529: (anthropic.InternalServerError, "overloaded_error"),
}


def test_openais_client_raises_the_class_of_each_status(run: Run) -> None:
    async def main() -> None:
        async with rig(refusing) as r, openai_client(r) as client:
            for status, raised in OPENAI.items():
                with pytest.raises(raised) as caught:
                    await chat(client, user=str(status))
                error = caught.value
                assert "It broke." in error.message
                assert (error.status_code, error.param) == (status, "p")
                assert isinstance(error.code, str)
                assert isinstance(error.type, str)
                assert error.request_id

    run(main)


def test_anthropics_client_raises_the_class_and_type_of_each_status(run: Run) -> None:
    async def main() -> None:
        async with rig(refusing) as r, anthropic_client(r) as client:
            for status, (raised, kind) in ANTHROPIC.items():
                with pytest.raises(raised) as caught:
                    await message(client, metadata={"user_id": str(status)})
                error = caught.value
                assert error.status_code == status
                assert error.body == {"type": "error", "error": {"type": kind, "message": "It broke."}}

    run(main)


def test_refusals_of_the_gateway_itself_raise_what_fits(run: Run) -> None:
    async def main() -> None:
        async with rig(always(answer()), gateway="    limits: {bodyBytesMax: 2048}\n") as r:
            async with openai_client(r, "nobody's key") as client:
                with pytest.raises(openai.AuthenticationError):
                    await chat(client)
            async with openai_client(r, OTHER_KEY) as client:
                with pytest.raises(openai.NotFoundError) as unknown:
                    await chat(client)
                assert unknown.value.code == "model_not_found"
            async with openai_client(r) as client:
                with pytest.raises(openai.APIStatusError) as large:
                    await chat(client, user="x" * 4096)
                assert large.value.status_code == 413
                with pytest.raises(openai.BadRequestError) as wrong:
                    await chat(client, temperature="hot")
                assert wrong.value.param == "temperature"
                with pytest.raises(openai.InternalServerError) as nothing:
                    await client.embeddings.create(model="embed", input="x")
                assert nothing.value.status_code == 502  # its one endpoint refuses connections
            async with anthropic_client(r, "nobody's key") as other:
                with pytest.raises(anthropic.AuthenticationError) as bad:
                    await message(other)
                assert bad.value.body["error"]["type"] == "authentication_error"  # type: ignore[index, call-overload]
            async with anthropic_client(r) as other:
                with pytest.raises(anthropic.NotFoundError) as lost:
                    await message(other, model="claude-sonnet-x")
                assert lost.value.body["error"]["type"] == "not_found_error"  # type: ignore[index, call-overload]
                assert (await message(other)) is not None

    run(main)


async def told(stream: Any, raised: type[Exception], match: str) -> list[Any]:
    """What a client got of a stream before it raised."""
    got: list[Any] = []

    async def read() -> None:
        async for piece in stream:
            got.append(piece)  # noqa: PERF401 — kept though it raises

    with pytest.raises(raised, match=match):
        await read()
    return got


class TestAStreamThatBreaks:
    def test_openais_client_raises_in_a_chat(self, run: Run) -> None:
        async def main() -> None:
            async with rig(breaking(TOKEN)) as r, openai_client(r) as client:
                got = await told(await chat(client, stream=True), openai.APIError, "ended early")
                assert [piece.choices[0].delta.content for piece in got] == ["hel"]

        run(main)

    def test_openais_client_raises_in_responses(self, run: Run) -> None:
        created = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "output": []}}

        async def main() -> None:
            async with rig(breaking(named(created))) as r, openai_client(r) as client:
                stream = await client.responses.create(model="chat", input="x", stream=True)
                got = await told(stream, openai.APIError, "ended early")
                assert [piece.type for piece in got] == ["response.created"]

        run(main)

    def test_anthropics_client_raises_in_messages(self, run: Run) -> None:
        begun = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        asked: Any = {"model": "chat", "messages": MESSAGES, "max_tokens": 4}

        async def main() -> None:
            async with rig(breaking(named(STARTED), named(begun), named(TEXT))) as r, anthropic_client(r) as client:
                async with client.messages.stream(**asked) as stream:
                    got = await told(stream.text_stream, anthropic.APIStatusError, "ended early")
                assert got == ["hel"]

        run(main)

    def test_an_error_event_of_the_engine_raises_too(self, run: Run) -> None:
        async def script(link: Link) -> None:
            await link.request()
            said = event(error={"message": "CUDA is gone", "type": "InternalServerError", "code": 500})
            await link.send(SSE_HEAD + chunk(TOKEN) + chunk(said) + chunk(b"data: [DONE]\n\n") + END)

        async def main() -> None:
            async with rig(script) as r, openai_client(r) as client:
                await told(await chat(client, stream=True), openai.APIError, "CUDA is gone")

        run(main)


def recorded_streams() -> list[Any]:
    """Streams of chats as vLLM was seen to send them."""
    names = ["chat_stream_usage", "chat_tools_named_stream", "chat_reasoning_stream"]
    return [pytest.param(name, id=name) for name in names]


@pytest.mark.parametrize("name", recorded_streams())
def test_anthropics_client_reads_the_translation_of_what_vllm_sent(run: Run, name: str) -> None:
    path = RECORDED / f"{name}.http"
    if not path.exists():
        pytest.skip("the recorded answers of vLLM are not beside this checkout")
    stream = path.read_bytes().split(b"\r\n\r\n", 1)[-1]
    stream = stream if stream.startswith(b"data:") else path.read_bytes().replace(b"\r\n", b"\n").split(b"\n\n", 1)[1]
    pieces = [json.loads(line[6:]) for line in stream.split(b"\n") if line.startswith(b"data: {")]
    deltas = [piece["choices"][0]["delta"] for piece in pieces if piece["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    thoughts = "".join(delta.get("reasoning") or "" for delta in deltas)
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    arguments = "".join(call["function"].get("arguments") or "" for call in calls)

    async def script(link: Link) -> None:
        await link.request()
        events = ChatEvents(model="claude-x")
        told = events.feed(stream[:100]) + events.feed(stream[100:]) + events.end()
        await link.send(SSE_HEAD + chunk(told) + END)

    async def main() -> None:
        asked: Any = {"model": "chat", "messages": MESSAGES, "max_tokens": 4}
        async with rig(script) as r, anthropic_client(r) as client, client.messages.stream(**asked) as stream_read:
            final = await stream_read.get_final_message()
        blocks = {block.type: block for block in final.content}
        assert final.model == "claude-x"
        assert final.stop_reason in ("end_turn", "max_tokens", "tool_use")
        assert getattr(blocks.get("text"), "text", "") == text
        assert getattr(blocks.get("thinking"), "thinking", "") == thoughts
        if calls:
            assert blocks["tool_use"].input == json.loads(arguments)
        assert text or thoughts or calls

    run(main)
