"""A request for a response from first byte to last: what is kept of it, and what the client is told when it breaks."""

from __future__ import annotations

import json
from typing import Any

from serve.exchanges import END, SSE_HEAD, Call, chunk, core, request

CREATED = {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "output": []}}


def named(fields: dict[str, Any]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


def test_a_stream_that_the_engine_ends_in_order_before_its_last_event_ends_with_an_error() -> None:
    call = Call(core(1), request("/v1/responses"), stream=True).send()
    call.engine(SSE_HEAD, chunk(named(CREATED)), END).settled()
    last = call.client.events[-1]
    assert last.startswith(b"event: error\n")
    told = json.loads(last.partition(b"data: ")[2])
    assert (told["type"], told["code"]) == ("error", "stream_incomplete")
    assert call.outcome == ("upstream_error", "stream_incomplete")
