"""What all exchanges of one gateway share: configuration, endpoints, routing policy, counters, request ids.

One `Core` belongs to one gateway and is used only from its event loop.
"""

from __future__ import annotations

from random import Random

from penstock.serve.config import GatewayConfig
from penstock.serve.routing import EndpointTable, LeastLoad, Policy

__all__ = ["Core"]


class Core:
    """Shared state of a gateway's exchanges.

    `unix_offset_s` is Unix time less monotonic time; `date` is the HTTP date, kept current by the edge once a second.
    """

    __slots__ = (
        "_random",
        "config",
        "created",
        "date",
        "endpoints",
        "in_flight",
        "is_draining",
        "policy",
        "unix_offset_s",
    )

    def __init__(
        self,
        config: GatewayConfig,
        *,
        random: Random,
        unix_offset_s: float = 0.0,
        endpoints: EndpointTable | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.config = config
        self.endpoints = endpoints if endpoints is not None else EndpointTable()
        self.policy: Policy = policy if policy is not None else LeastLoad()
        self.unix_offset_s = unix_offset_s
        self.created = int(unix_offset_s)  # of every model in the list: fixed, while clocks drift
        self.date = b"Thu, 01 Jan 1970 00:00:00 GMT"
        self.in_flight = 0
        self.is_draining = False
        self._random = random

    def new_request_id(self) -> bytes:
        """A fresh request id: 16 hexadecimal digits, as vLLM's own are."""
        return b"%016x" % self._random.getrandbits(64)

    def new_seed(self) -> int:
        """A seed for sampling: 31 bits, which every engine takes, also with a choice's index added."""
        return self._random.getrandbits(31)
