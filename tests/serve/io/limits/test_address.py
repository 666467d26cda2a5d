"""A connection to Redis is logged in, or not there; the password is asked each time and shown nowhere."""

from __future__ import annotations

import asyncio

import pytest

from penstock.serve.io.limits.address import RedisAddress
from penstock.serve.io.limits.link import LinkError
from serve.io.limits.servers import missing, redis_server

PASSWORD = "not-the-default-2"


async def name_of(address: RedisAddress) -> bytes:
    link = await address.connect(lambda _: None)
    try:
        return bytes(await link.ask("CLIENT", "INFO"))
    finally:
        link.end()


def test_passwords_users_databases_and_sockets() -> None:
    if reason := missing():
        pytest.skip(reason)
    with redis_server() as server:
        server.call("ACL", "SETUSER", "pen", "on", f">{PASSWORD}", "~*", "+@all")
        server.call("CONFIG", "SET", "requirepass", PASSWORD)
        passwords = ["wrong-at-first", PASSWORD, PASSWORD]

        async def main() -> None:
            address = RedisAddress(url=server.url.replace("/0", "/3"), password=lambda: passwords.pop(0))
            with pytest.raises(LinkError, match="WRONGPASS"):
                await name_of(address)
            assert b" db=3 " in await name_of(address)
            named = RedisAddress(url=server.url.replace("//", "//pen@"), password=lambda: passwords.pop(0))
            assert b" user=pen " in await name_of(named)
            with pytest.raises(LinkError, match="NOAUTH"):
                await name_of(RedisAddress(url=server.url))

        asyncio.run(main())


def test_a_unix_socket() -> None:
    if reason := missing():
        pytest.skip(reason)
    with redis_server("--unixsocket", "redis.sock") as server:
        address = RedisAddress(url=f"unix://{server.folder}/redis.sock")

        assert b" db=0 " in asyncio.run(name_of(address))


def test_a_redis_that_is_not_there_is_an_os_error() -> None:
    with pytest.raises(OSError):
        asyncio.run(name_of(RedisAddress(url="redis://127.0.0.1:1/0")))


def test_the_password_is_not_shown() -> None:
    address = RedisAddress(url="redis://redis.example/0", password=lambda: PASSWORD)

    assert PASSWORD not in repr(address) + address.shown
