"""The plain Python proxy that the gateway is compared with: aiohttp server, aiohttp client, uvloop, round robin.

It reads the body, looks up the model in it, and relays; no keys, no metrics, no log.
    python aiohttp_proxy.py PORT UPSTREAM_URL...
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import AsyncIterator

import aiohttp
import uvloop
from aiohttp import web

CLIENT = web.AppKey("client", aiohttp.ClientSession)
BODY_BYTES_MAX = 32 * 2**20
upstreams = itertools.cycle(sys.argv[2:])


async def relay(request: web.Request) -> web.StreamResponse:
    """Sends one request on and its answer back."""
    body = await request.read()
    if "model" not in json.loads(body):
        return web.json_response({"error": {"message": "`model` is missing"}}, status=400)
    headers = {"content-type": "application/json"}
    async with request.app[CLIENT].post(next(upstreams) + request.path, data=body, headers=headers) as answer:
        kind = {"content-type": answer.headers.get("content-type", "application/json")}
        if not kind["content-type"].startswith("text/event-stream"):
            return web.Response(body=await answer.read(), status=answer.status, headers=kind)
        stream = web.StreamResponse(status=answer.status, headers=kind)
        await stream.prepare(request)
        async for piece in answer.content.iter_any():
            await stream.write(piece)
        await stream.write_eof()
        return stream


async def client_session(app: web.Application) -> AsyncIterator[None]:
    """One client session for the life of the application."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        app[CLIENT] = session
        yield


def main() -> None:
    """Serves until killed."""
    uvloop.install()
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.cleanup_ctx.append(client_session)
    app.router.add_post("/v1/chat/completions", relay)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
