"""Copies for another model: they arrive, nobody waits for them, and nothing of them is counted for anybody."""

from __future__ import annotations

import json

import pytest

from fakes.upstream import always, eventually, once, silent
from penstock.serve.io.shadow import COPIES_MAX
from penstock.serve.routing import EndpointAddress
from serve.exchanges import answer
from serve.io.rig import Rig, Run, post, rig

SHADOWED = "    rules: [{name: try-embed, match: {models: [chat]}, shadow: {model: embed}}]\n"


def shadow_at(r: Rig) -> None:
    """The second engine serves the model that gets copies."""
    chat, embed = r.upstreams
    r.gateway.endpoints.set_pool("chat", [EndpointAddress(id="chat-0", host="127.0.0.1", port=chat.port)])
    r.gateway.endpoints.set_pool("embed", [EndpointAddress(id="embed-0", host="127.0.0.1", port=embed.port)])


def test_a_copy_goes_to_the_other_model_under_its_name_and_its_answer_to_nobody(run: Run) -> None:
    async def main() -> None:
        async with rig(always(answer()), always(answer(b'{"other":1}')), gateway=SHADOWED) as r:
            shadow_at(r)
            told = await r.ask(post())
            assert told.json == json.loads(answer().partition(b"\r\n\r\n")[2])
            await eventually(lambda: len(r.upstreams[1].requests) == 1 and not len(r.gateway.shadows))
            sent = json.loads(r.upstreams[1].requests[0].body)
            assert (sent["model"], sent["messages"]) == ("embed", [{"role": "user", "content": "hi"}])
            record = await r.ended()
            assert (record.model, record.rule) == ("chat", "try-embed")
            assert (r.gateway.shadows.sent_total, r.gateway.shadows.failed_total, len(r.records)) == (1, 0, 1)

    run(main)


@pytest.mark.parametrize("script", [silent, once(b"no HTTP"), once(answer(b"{}", status="500 Oh"))])
def test_a_copy_that_comes_to_nothing_changes_nothing_for_the_client(run: Run, script: object) -> None:
    async def main() -> None:
        async with rig(always(answer()), script, gateway=SHADOWED) as r:  # type: ignore[arg-type]
            shadow_at(r)
            for _ in range(3):
                assert (await r.ask(post())).status == 200

    run(main)


def test_copies_are_bounded_and_the_rest_is_dropped(run: Run) -> None:
    async def main() -> None:
        async with rig(always(answer()), silent, gateway=SHADOWED) as r:
            shadow_at(r)
            async with r.client() as client:
                for _ in range(COPIES_MAX + 5):
                    await client.send(post())
                    assert (await client.answer()).status == 200
            shadows = r.gateway.shadows
            assert len(shadows) <= COPIES_MAX
            assert shadows.sent_total + shadows.dropped_total == COPIES_MAX + 5
            assert shadows.dropped_total >= 5

    run(main)
