"""From the fleet file to the limiter that holds its limits."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from penstock.errors import UsageError
from penstock.serve.flow.limits import LocalLimiter
from penstock.serve.io.limits.address import RedisAddress
from penstock.serve.io.limits.redis import RedisLimiter
from penstock.serve.sources import SecretReader, read_source
from penstock.spec import LimitsSpec

__all__ = ["make_limiter"]


def make_limiter(
    spec: LimitsSpec,
    fleet: str,
    *,
    env: Mapping[str, str],
    secret: SecretReader | None,
    unix_offset_s: float,
    gateways_expected: int = 1,
) -> LocalLimiter | RedisLimiter:
    """The limiter; a `RedisLimiter` still wants `begin` and `run`.

    Raises:
        UsageError: the password of Redis can't be read.
    """
    if spec.url is None:
        return LocalLimiter(unix_offset_s=unix_offset_s)
    source = spec.password_from
    if source is None:
        address = RedisAddress(url=spec.url)
    else:
        last = [read_source("The password of Redis", source, env, secret, chars_min=1)]

        def password() -> str:
            with contextlib.suppress(UsageError):  # one that is being rotated is not there for a moment
                last[0] = read_source("The password of Redis", source, env, secret, chars_min=1)
            return last[0]

        address = RedisAddress(url=spec.url, password=password)
    return RedisLimiter(address, fleet, unix_offset_s=unix_offset_s, gateways_expected=gateways_expected)
