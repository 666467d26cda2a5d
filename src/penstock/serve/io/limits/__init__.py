"""Limits that several gateways share, in Redis."""

from penstock.serve.io.limits.address import RedisAddress
from penstock.serve.io.limits.making import make_limiter
from penstock.serve.io.limits.redis import RedisLimiter

__all__ = ["RedisAddress", "RedisLimiter", "make_limiter"]
