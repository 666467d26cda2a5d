"""A client's connection: requests in, answers out, in order, whatever the pieces that they come in."""

from __future__ import annotations

import asyncio
import json

import pytest

from fakes.upstream import Link, always, eventually, silent
from serve.exchanges import ANSWER, DONE, END, SSE_HEAD, TOKEN, USAGE_EVENT, answer, chunk
from serve.gateways import KEY
from serve.io.rig import MESSAGES, Run, get, post, rig

STREAM = SSE_HEAD + chunk(TOKEN) + chunk(TOKEN) + chunk(USAGE_EVENT) + chunk(DONE) + END
BODY = json.dumps({"model": "chat", "messages": MESSAGES}).encode()


def chunked(*pieces: bytes, head: str = "", trailer: bytes = b"") -> bytes:
    start = post(raw=b"").replace(b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n" + head.encode())
    return start + b"".join(map(chunk, pieces)) + b"0\r\n" + trailer + b"\r\n"


def test_requests_follow_each_other_on_one_connection(run: Run) -> None:
    async def main() -> None:
        async with rig(always(answer())) as r, r.client() as client:
            for _ in range(3):
                await client.send(post())
                got = await client.answer()
                assert (got.status, got.body) == (200, ANSWER)
            await client.send(get())
            assert (await client.answer()).status == 200
            assert len(r.upstream.links) == 1
            assert len(r.records) == 4

    run(main)


def test_a_stream_reaches_the_client_without_the_usage_that_it_did_not_ask_for(run: Run) -> None:
    async def main() -> None:
        async with rig(always(STREAM)) as r, r.client() as client:
            for _ in range(2):
                await client.send(post(stream=True))
                assert (await client.answer()).body == TOKEN + TOKEN + DONE
            assert len(r.upstream.links) == 1
            assert r.records[0].output_tokens == 7

    run(main)


@pytest.mark.parametrize("size", [1, 17])
def test_a_request_may_come_in_any_pieces(run: Run, size: int) -> None:
    async def main() -> None:
        async with rig(always(answer())) as r, r.client() as client:
            for wire in (post(), chunked(BODY[:9], BODY[9:]), get("/v1/models")):
                for at in range(0, len(wire), size):
                    await client.send(wire[at : at + size])
                assert (await client.answer()).status == 200
            assert [request.body for request in r.upstream.requests] == [BODY, BODY]

    run(main)


def test_a_large_body_arrives_whole(run: Run) -> None:
    messages = [{"role": "user", "content": "x" * 3_000_000}]

    async def main() -> None:
        async with rig(always(answer())) as r:
            assert (await r.ask(post(messages=messages))).status == 200
            assert json.loads(r.upstream.requests[0].body)["messages"] == messages
            assert r.records[0].bytes_in > 3_000_000

    run(main)


def test_a_large_answer_arrives_whole(run: Run) -> None:
    body = bytes(range(256)) * 40_000

    async def main() -> None:
        async with rig(always(answer(body, kind="audio/wav"))) as r, r.client() as client:
            await client.send(post())
            assert (await client.answer()).body == body
            await client.send(post())
            assert (await client.answer()).body == body

    run(main)


class TestPipelining:
    def test_a_thousand_requests_in_one_write_are_answered_in_order(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(b"".join(get(extra=f"x-request-id: r{n}\r\n") for n in range(1000)))
                for n in range(1000):
                    assert (await client.answer()).headers["x-request-id"] == f"r{n}"

        run(main)

    def test_what_follows_a_request_that_goes_to_an_engine_waits_for_its_answer(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(post() + get("/version") + post(stream=True) + get())
                got = [await client.answer() for _ in range(4)]
                assert [a.body == ANSWER for a in got] == [True, False, True, False]
                assert [record.route for record in r.records] == [
                    *("/v1/chat/completions", "/version", "/v1/chat/completions", "/health"),
                ]

        run(main)

    @pytest.mark.parametrize("make", [lambda: post(n=2), lambda: chunked(BODY)], ids=["counted", "chunked"])
    def test_a_request_that_began_while_another_was_answered_is_answered_too(self, run: Run, make: object) -> None:
        second = make()  # type: ignore[operator]

        async def try_at(cut: int) -> None:
            may_answer = asyncio.Semaphore(0)

            async def script(link: Link) -> None:
                while True:
                    await link.request()
                    await may_answer.acquire()
                    await link.send(answer())

            async with rig(script) as r, r.client() as client:
                await client.send(post() + second[:cut])
                await eventually(lambda: bool(r.upstream.requests))
                may_answer.release()
                assert (await client.answer()).status == 200
                await client.send(second[cut:] + get())
                may_answer.release()
                assert (await client.answer()).body == ANSWER
                assert (await client.answer()).status == 200
                assert len(r.records) == 3

        async def main() -> None:
            for cut in (1, 30, second.index(b"\r\n\r\n") + 4, len(second) - 5, len(second) - 1):
                await try_at(cut)

        run(main)

    def test_more_than_is_held_is_read_when_its_turn_comes(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                wire = post(messages=[{"role": "user", "content": "x" * 50_000}])
                client.writer.write(wire * 20)
                for _ in range(20):
                    assert (await client.answer()).body == ANSWER
                assert len(r.records) == 20

        run(main)

    def test_what_comes_before_garbage_is_answered_and_then_the_connection_ends(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(post() + get("/version") + b"\x16\x03\x01 garbage\r\n\r\n")
                assert (await client.answer()).body == ANSWER
                assert (await client.answer()).status == 200
                assert (await client.answer()).code == "bad_http"
                assert await client.rest() == b""
                assert len(r.records) == 3

        run(main)

    def test_a_refused_request_does_not_hold_up_the_next(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(post("/nowhere") + post(key="wrong") + post(model="nope") + post(raw=b"{") + post())
                assert [(await client.answer()).status for _ in range(5)] == [404, 401, 404, 400, 200]

        run(main)

    def test_a_refusal_that_closes_is_the_last_answer(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(chunked(b"{}").replace(b"/v1/chat/completions", b"/nowhere") + get() + get())
                assert (await client.answer()).status == 404
                assert await client.rest() == b""
                assert len(r.records) == 1

        run(main)


class TestOldClients:
    def test_an_http_1_0_client_gets_its_answer_and_the_end(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r:
                for extra in ("", "connection: keep-alive\r\n"):
                    async with r.client() as client:
                        await client.send(post(extra=extra).replace(b"HTTP/1.1", b"HTTP/1.0"))
                        assert (await client.rest()).endswith(b"connection: close\r\n\r\n" + ANSWER)

        run(main)

    def test_an_http_1_0_client_gets_a_stream_without_chunks(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(STREAM)) as r, r.client() as client:
                await client.send(post(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
                assert (await client.rest()).partition(b"\r\n\r\n")[2] == TOKEN + TOKEN + DONE

        run(main)

    def test_a_client_that_asks_to_close_is_closed_after_its_answer(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(post(extra="connection: close\r\n"))
                assert (await client.answer()).headers["connection"] == "close"
                assert await client.rest() == b""

        run(main)

    def test_head_gets_no_body(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(get("/v1/models", method="HEAD") + get("/v1/embeddings", method="HEAD") + get())
                assert (await client.answer(is_head=True)).status == 200
                assert (await client.answer(is_head=True)).status == 405
                assert (await client.answer()).status == 200

        run(main)


class TestExpect:
    def test_a_client_that_waits_is_told_to_go_on(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                wire = post(extra="expect: 100-Continue\r\n")
                await client.send(wire[: -len(BODY)])
                assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                await client.send(wire[-len(BODY) :])
                assert (await client.answer()).status == 200

        run(main)

    def test_a_client_that_waits_behind_another_request_is_told_when_its_turn_comes(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                wire = post(extra="expect: 100-continue\r\n")
                await client.send(post() + wire[: -len(BODY)])
                assert (await client.answer()).status == 200
                assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                await client.send(wire[-len(BODY) :])
                assert (await client.answer()).status == 200

        run(main)

    @pytest.mark.parametrize(
        ("request_extra", "path", "status"), [("", "/nowhere", 404), ("x-api-key: no\r\n", "", 401)]
    )
    def test_a_refused_client_is_not_told_to_go_on(self, run: Run, request_extra: str, path: str, status: int) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                wire = post(
                    path or "/v1/embeddings",
                    key="" if not path else KEY,
                    extra="expect: 100-continue\r\n" + request_extra,
                )
                await client.send(wire[: -len(BODY)])
                got = await client.answer()
                assert (got.status, got.interim, got.headers["connection"]) == (status, 0, "close")
                assert await client.rest() == b""

        run(main)


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "status"),
        [
            ("/v1/models?x=1&y", 200),
            ("/v1/models/", 200),
            ("http://example.org:80/v1/models?x", 200),
            ("http://example.org", 200),
            ("*", 404),
            ("//v1/models", 404),
            ("/v1//models", 404),
            ("/v1/models/../chat", 404),
            ("/v1/models/gpt-4o", 200),
            ("/v1/models/gpt%2D4o", 200),
            ("/v1%2Fmodels", 404),
            ("/v1/models#x", 404),
        ],
    )
    def test_a_target_is_read_for_its_path_alone(self, run: Run, target: str, status: int) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r:
                assert (await r.ask(get(target))).status == status

        run(main)

    def test_a_tunnel_is_refused_and_nothing_after_it_is_read(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                await client.send(get("h:80", method="CONNECT") + get())
                assert (await client.answer()).status == 404
                assert await client.rest() == b""
                assert len(r.records) == 1

        run(main)


class TestUpgrade:
    HEAD = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAA\r\n"

    @pytest.mark.parametrize("size", [1, 100_000])
    def test_an_upgrade_is_passed_over_and_the_body_is_still_a_body(self, run: Run, size: int) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r, r.client() as client:
                smuggled = json.dumps(
                    {"model": "chat", "messages": MESSAGES, "user": "\r\n\r\nGET /health HTTP/1.1\r\n\r\n"}
                )
                wires = [
                    post(extra=self.HEAD, raw=smuggled.encode()),
                    chunked(BODY[:5], BODY[5:], head=self.HEAD),
                    get("/version", extra=self.HEAD),
                    post(),
                ]
                wire = b"".join(wires)
                for at in range(0, len(wire), size):
                    await client.send(wire[at : at + size])
                got = [await client.answer() for _ in wires]
                assert [a.status for a in got] == [200] * 4
                assert [a.body == ANSWER for a in got] == [True, True, False, True]
                assert len(r.upstream.requests) == 3
                assert r.upstream.requests[1].body == BODY

        run(main)

    def test_a_body_that_looks_like_a_request_is_not_one(self, run: Run) -> None:
        async def main() -> None:
            async with rig(silent) as r, r.client() as client:
                await client.send(post(extra=self.HEAD, raw=get("/v1/models")) + get())
                assert (await client.answer()).code == "invalid_json"
                assert (await client.answer()).status == 200
                assert len(r.records) == 2

        run(main)


def test_trailers_change_nothing(run: Run) -> None:
    trailer = b"authorization: Bearer wrong\r\nx-request-id: evil\r\ntraceparent: evil\r\nexpect: 100-continue\r\n"

    async def main() -> None:
        async with rig(always(answer())) as r, r.client() as client:
            await client.send(post() + chunked(BODY, trailer=trailer) + get())
            assert (await client.answer()).status == 200
            second = await client.answer()
            assert (second.status, second.headers["x-request-id"] == "evil") == (200, False)
            assert (await client.answer()).status == 200
            assert "traceparent" not in r.upstream.requests[1].headers

    run(main)


def test_only_listed_headers_go_on_and_never_a_key(run: Run) -> None:
    async def main() -> None:
        async with rig(always(answer())) as r:
            private = f"x-api-key: {KEY}\r\ncookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\n"
            await r.ask(post(extra=private + "Traceparent: 00-1\r\nuser-agent: me\r\n"))
            assert set(r.upstream.requests[0].headers) == {
                *("host", "content-type", "content-length", "x-request-id", "traceparent", "user-agent"),
            }

    run(main)


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        (f"authorization: Bearer {KEY}", 200),
        (f"Authorization: bearer  {KEY} ", 200),
        (f"x-api-key: {KEY}", 200),
        (f"authorization: Basic {KEY}", 401),
        (f"authorization: {KEY}", 401),
        ("authorization: Bearer wrong-key", 401),
        ("authorization: Bearer ", 401),
        ("x: y", 401),
    ],
)
def test_a_key_comes_as_bearer_or_as_x_api_key(run: Run, auth: str, status: int) -> None:
    async def main() -> None:
        async with rig(always(answer())) as r:
            assert (await r.ask(post(key="", extra=auth + "\r\n"))).status == status

    run(main)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/chat/completions"])
def test_a_refusal_for_want_of_a_key_is_in_the_shape_of_its_api(run: Run, path: str) -> None:
    async def main() -> None:
        async with rig(silent) as r:
            got = await r.ask(post(path, key=""))
            assert got.status == 401
            assert got.json["error"]["type"] == "authentication_error"
            assert ("type" in got.json) == (path == "/v1/messages")

    run(main)
