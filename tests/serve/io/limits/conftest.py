"""One Redis for all tests that only use it, and one for each that harms it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serve.io.limits.servers import Redis, missing, redis_server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[Redis]:
    if reason := missing():
        pytest.skip(reason)
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(shared_redis: Redis) -> Redis:
    """An empty Redis."""
    shared_redis.call("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A Redis that may be harmed."""
    if reason := missing():
        pytest.skip(reason)
    with redis_server() as server:
        yield server
