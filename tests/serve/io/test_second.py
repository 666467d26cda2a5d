"""A request at two endpoints, on real sockets: whoever answers first is heard, the other is cut."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fakes.upstream import Link, always, eventually, once, silent
from penstock.serve.commands import Decided, Dispatch
from penstock.serve.io.second import SecondLink
from penstock.serve.io.upstream import UpstreamConnection
from penstock.serve.routing.hedging import SAMPLES_MIN, kind_of
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, USAGE_EVENT, answer, chunk, event
from serve.hedges import HEDGING
from serve.io.rig import Rig, Run, post, rig

ROLE = event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}}])
STREAM = SSE_HEAD + chunk(ROLE) + chunk(TOKEN) + chunk(USAGE_EVENT) + chunk(DONE) + END


def learn(r: Rig) -> None:
    """Both endpoints are known to work, and what is later than the floor, 50 ms, is late."""
    for endpoint in r.gateway.endpoints.all():
        endpoint.health = "ready"
    hedge = r.gateway.core.hedging.hedge("chat")
    hedge.balance = 5.0
    for size in range(12):
        for is_stream in (True, False):
            usual = hedge.usual(kind_of("/v1/chat/completions", is_stream=is_stream, prompt_tokens=1 << size))
            assert usual is not None
            for _ in range(SAMPLES_MIN):
                usual.began(0.001)


class Slow:
    """Two engines of which the one that is asked first says `before` and no more until it is told to."""

    def __init__(self, before: bytes = b"", after: bytes = STREAM, other: bytes = STREAM) -> None:
        self.before, self.after, self.other = before, after, other
        self.goes_on = asyncio.Event()
        self.links: list[Link] = []

    async def script(self, link: Link) -> None:
        await link.request()
        self.links.append(link)
        if len(self.links) > 1:
            await link.send(self.other)
            await link.gone()
            return
        if self.before:
            await link.send(self.before)
        await self.goes_on.wait()
        await link.send(self.after)
        await link.gone()


@pytest.mark.parametrize("before", [b"", SSE_HEAD, SSE_HEAD + chunk(ROLE)])
def test_a_silent_engine_is_not_waited_for_and_cut(run: Run, before: bytes) -> None:
    async def main() -> None:
        slow = Slow(before)
        async with rig(slow.script, slow.script, gateway=HEDGING) as r:
            learn(r)
            got = await r.ask(post(stream=True))
            assert got.body == ROLE + TOKEN + DONE
            await slow.links[0].gone()
            record = await r.ended()
            assert (record.hedged, record.outcome, record.retries) == ("second", "ok", 0)
            assert (record.prompt_tokens, record.output_tokens) == (5, 7)

    run(main)


def test_a_plain_answer_of_the_second_is_taken_whole(run: Run) -> None:
    async def main() -> None:
        slow = Slow(other=answer())
        async with rig(slow.script, slow.script, gateway=HEDGING) as r:
            learn(r)
            assert (await r.ask(post())).body == ANSWER
            await slow.links[0].gone()
            assert (await r.ended()).hedged == "second"

    run(main)


def test_the_first_that_answers_after_all_is_heard_and_the_second_cut(run: Run) -> None:
    async def main() -> None:
        slow = Slow(other=SSE_HEAD + chunk(ROLE))
        async with rig(slow.script, slow.script, gateway=HEDGING) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: len(slow.links) == 2)
            slow.goes_on.set()
            assert (await client.answer()).body == ROLE + TOKEN + DONE
            await slow.links[1].gone()
            assert (await r.ended()).hedged == "first"

    run(main)


def test_the_first_breaks_and_the_second_goes_on(run: Run) -> None:
    async def main() -> None:
        slow = Slow(other=SSE_HEAD + chunk(ROLE))
        async with rig(slow.script, slow.script, gateway=HEDGING) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: len(slow.links) == 2)
            slow.links[0].reset()
            await slow.links[1].send(STREAM[len(SSE_HEAD + chunk(ROLE)) :])
            assert (await client.answer()).body == ROLE + TOKEN + DONE
            record = await r.ended()
            assert (record.hedged, record.retries, record.resumes) == ("second", 0, 0)

    run(main)


def test_the_second_breaks_and_the_first_is_waited_for(run: Run) -> None:
    async def main() -> None:
        slow = Slow(other=SSE_HEAD)
        async with rig(slow.script, slow.script, gateway=HEDGING) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: len(slow.links) == 2)
            slow.links[1].reset()
            endpoints = r.gateway.endpoints.all()
            await eventually(lambda: sum(e.in_flight for e in endpoints) == 1)
            slow.goes_on.set()
            assert (await client.answer()).body == ROLE + TOKEN + DONE
            assert (await r.ended()).hedged == "first"

    run(main)


def test_a_client_that_leaves_has_both_cut(run: Run) -> None:
    async def main() -> None:
        slow = Slow(other=SSE_HEAD)
        async with rig(slow.script, slow.script, gateway=HEDGING) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: len(slow.links) == 2)
            client.reset()
            for link in slow.links:
                await link.gone()
            assert (await r.ended()).outcome == "cancelled"

    run(main)


def test_a_gateway_that_stops_has_both_cut(run: Run) -> None:
    async def main() -> None:
        slow = Slow(other=SSE_HEAD)
        async with rig(slow.script, slow.script, gateway=HEDGING) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: len(slow.links) == 2)
            await r.gateway.stop(drain_s=0)
            assert (await client.answer()).status == 503
            for link in slow.links:
                await link.gone()

    run(main)


def test_a_second_endpoint_that_is_not_there_harms_nobody(run: Run) -> None:
    async def main() -> None:
        slow = Slow()
        async with rig(slow.script, once(), gateway=HEDGING) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: bool(slow.links))
            slow.goes_on.set()
            assert (await client.answer()).body == ROLE + TOKEN + DONE
            assert (await r.ended()).outcome == "ok"

    run(main)


def test_switched_off_it_waits_for_the_one(run: Run) -> None:
    async def main() -> None:
        slow = Slow()
        async with rig(slow.script, slow.script) as r, r.client() as client:
            learn(r)
            await client.send(post(stream=True))
            await eventually(lambda: bool(slow.links))
            assert r.gateway._late_timer is None
            slow.goes_on.set()
            assert (await client.answer()).body == ROLE + TOKEN + DONE
            assert len(slow.links) == 1

    run(main)


def test_while_all_is_quick_no_timer_is_left_and_nothing_is_sent_twice(run: Run) -> None:
    async def main() -> None:
        async with rig(always(STREAM), always(STREAM), gateway=HEDGING) as r, r.client() as client:
            learn(r)
            for _ in range(5):
                await client.send(post(stream=True))
                assert (await client.answer()).status == 200
            assert sum(len(u.requests) for u in r.upstreams) == 5
            await eventually(lambda: r.gateway.core.hedging.wakes_at == float("inf"))

    run(main)


def test_the_other_engine_is_silent_too_and_the_deadline_ends_both(run: Run) -> None:
    async def main() -> None:
        classes = "    classes: {interactive: {timeoutS: 0.6}}\n"
        async with rig(silent, silent, gateway=HEDGING + classes) as r:
            learn(r)
            assert (await r.ask(post(stream=True))).status == 504
            assert all(len(u.links) == 1 for u in r.upstreams)
            for upstream in r.upstreams:
                await upstream.links[0].gone()
            record = await r.ended()
            assert (record.hedged, record.reason) == ("none", "deadline_exceeded")

    run(main)


# ---------------------------------------------------------------------- handed over


class Host:
    """A client connection, as far as a link needs one."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        self.heard.append(("ready", connection))

    def upstream_data(self, data: bytes) -> None:
        self.heard.append(data)

    def upstream_lost(self, reason: str, **how: Any) -> None:
        self.heard.append((reason, how["signal"]))

    def decided(self, _exchange: Any, out: Decided) -> None:
        self.heard.append(out)

    def second_gone(self, link: SecondLink) -> None:
        self.heard.append("gone")


class Connecting:
    """`Upstreams` that have not made their connection yet."""

    def __init__(self) -> None:
        self.is_cancelled = False
        self.released: list[Any] = []

    def send(self, *_: Any) -> Connecting:
        return self

    def cancel(self) -> None:
        self.is_cancelled = True

    def release(self, connection: Any, *, is_kept: bool, now: float) -> None:
        assert not is_kept
        self.released.append(connection)


class Patient:
    """An exchange that says nothing."""

    class config:  # noqa: N801
        class timeouts:  # noqa: N801
            connect_s = 1.0


def link_of() -> tuple[SecondLink, Host, Connecting]:
    host, upstreams = Host(), Connecting()
    link = SecondLink(cast("Any", host), cast("Any", Patient), cast("Any", upstreams))
    link.begin(cast("Dispatch", None), 1.0)
    return link, host, upstreams


def test_a_connection_that_is_still_being_made_is_handed_over_and_reports_to_its_new_user() -> None:
    link, host, upstreams = link_of()
    assert link.hand_over() == (None, upstreams)
    connection = UpstreamConnection(cast("Any", upstreams), ("h", 1, ""))
    connection.user = link
    link.upstream_ready(connection)
    assert connection.user is cast("Any", host)
    assert host.heard == [("ready", connection)]


def test_one_that_can_not_be_made_after_it_was_handed_over_is_its_new_users_loss() -> None:
    link, host, _ = link_of()
    link.hand_over()
    link.upstream_lost("refused the connection", signal="connect_failed")
    assert host.heard == [("refused the connection", "connect_failed")]


def test_a_cut_ends_what_is_still_being_made_and_what_is_there() -> None:
    link, _, upstreams = link_of()
    link.cut(2.0)
    assert upstreams.is_cancelled
    other, _, there = link_of()
    connection = UpstreamConnection(cast("Any", there), ("h", 1, ""))
    other.upstream_ready(connection)
    other.cut(2.0)
    assert there.released == [connection]
    other.cut(2.0)
    assert there.released == [connection]
