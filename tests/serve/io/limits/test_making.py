"""The fleet file names a Redis or does not, and the password is read where the file says."""

from __future__ import annotations

import pytest

from penstock.errors import UsageError
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.io.limits import RedisLimiter, make_limiter
from penstock.spec import LimitsSpec, ValueSource


def test_without_a_url_the_gateway_holds_its_limits_itself() -> None:
    limiter = make_limiter(LimitsSpec(), "demo", env={}, secret=None, unix_offset_s=0.0)

    assert isinstance(limiter, LocalLimiter)


def test_with_a_url_gateways_share_them_and_a_rotated_password_is_taken() -> None:
    spec = LimitsSpec(url="redis://redis.example:6379/0", password_from=ValueSource(env="REDIS_PASSWORD"))
    env = {"REDIS_PASSWORD": "first"}

    limiter = make_limiter(spec, "demo", env=env, secret=None, unix_offset_s=0.0, gateways_expected=3)

    assert isinstance(limiter, RedisLimiter)
    assert (limiter.gateways, limiter.state.source) == (3, "share")
    password = limiter._address.password
    assert password() == "first"
    env["REDIS_PASSWORD"] = "second"
    assert password() == "second"
    env.clear()
    assert password() == "second"


def test_a_password_that_is_not_there_is_told_at_once() -> None:
    spec = LimitsSpec(url="redis://redis.example:6379/0", password_from=ValueSource(env="REDIS_PASSWORD"))

    with pytest.raises(UsageError, match=r"password of Redis comes from .* REDIS_PASSWORD, which is not set"):
        make_limiter(spec, "demo", env={}, secret=None, unix_offset_s=0.0)
