"""A port passes from one gateway to the next, and nobody is refused."""

from __future__ import annotations

import asyncio
import sys

import pytest

from fakes.upstream import always, eventually
from penstock.errors import StartError
from penstock.serve.io.gateway import Gateway
from penstock.serve.routing import EndpointAddress
from serve.exchanges import ANSWER, answer
from serve.gateways import TENANTS, config
from serve.io.rig import Run, client_of, post, rig

OFF = "    accessLog: 'off'\n" + TENANTS


class TestTakeover:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ports pass between processes on Linux")
    def test_a_restart_beside_each_other_loses_no_request(self, run: Run) -> None:
        async def main() -> None:
            async with rig(always(answer())) as r:
                old = Gateway(config(OFF), port_use="lends")
                engine = [EndpointAddress(id="chat-0", host="127.0.0.1", port=r.upstream.port)]
                old.endpoints.set_pool("chat", engine)
                await old.start()
                port, is_over, asked = old.listen_port, False, 0

                async def keeps_asking(*, keeps_connection: bool) -> None:
                    nonlocal asked
                    while not is_over:
                        async with client_of(port) as client:
                            is_open = True
                            while is_open and not is_over:
                                await client.send(post())
                                got = await client.answer()
                                assert got.body == ANSWER
                                asked += 1
                                is_open = keeps_connection and got.headers.get("connection") != "close"

                async with asyncio.TaskGroup() as clients:
                    for n in range(8):
                        clients.create_task(keeps_asking(keeps_connection=n % 2 == 0))
                    for _ in range(5):
                        seen = asked
                        new = Gateway(config(OFF, file_listen=f"127.0.0.1:{port}"), port_use="takes_over")
                        new.endpoints.set_pool("chat", engine)
                        await new.start()
                        await old.stop(drain_s=30)
                        old = new
                        await eventually(lambda seen=seen: asked > seen + 20)
                    is_over = True
                await old.stop(drain_s=0)

        run(main)

    def test_a_second_gateway_by_mistake_is_refused_and_told_of_takeover(self, run: Run) -> None:
        async def main() -> None:
            first = Gateway(config(OFF), port_use="lends")
            await first.start()
            second = Gateway(config(OFF, file_listen=f"127.0.0.1:{first.listen_port}"), port_use="lends")
            with pytest.raises(StartError, match="--takeover"):
                await second.start()
            await first.stop(drain_s=0)

        run(main)
