"""KEDA's `ExternalScaler` over gRPC: what the desk decides, as KEDA wants to hear it. The one place that imports grpc.

Guarantees: what is not known is an error, never 0: KEDA then takes its fallback and goes by the other triggers; a
message that is none is refused; messages and calls at a time are bounded. There is no log-in: a NetworkPolicy lets only
KEDA near, and the answers are counts of requests.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NoReturn

import grpc
from grpc import aio

from penstock.errors import StartError
from penstock.operate.scaling.desk import Answer, Desk, Refused
from penstock.operate.scaling.messages import (
    SERVICE,
    Malformed,
    ScaledObjectRef,
    activity,
    metric_specs,
    metric_values,
    read_metrics_request,
    read_ref,
)

__all__ = ["METRIC", "Bell", "ScalerServer"]

METRIC = "penstock-requests"
"""What the metric is called in the HPA, after KEDA's own prefix."""
_MESSAGE_BYTES_MAX = 64 * 1024
"""A trigger's metadata are a few short texts."""
_CALLS_MAX = 200
"""At a time; a call takes microseconds, a stream stays: one for each ScaledObject of a kind that we do not render."""
_PREFIXED = re.compile(rf"(s\d+-)?{METRIC}")
_STOP_S = 1.0
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken is told, not shared
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", _CALLS_MAX),
)
_Context = aio.ServicerContext[bytes, bytes]


class Bell:
    """Wakes all that wait. Whoever looks takes `next` first: then no ring between the look and the wait is lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        rung, self._event = self._event, asyncio.Event()
        rung.set()

    @property
    def next(self) -> asyncio.Event:
        """Set when it rings the next time."""
        return self._event


class ScalerServer:
    """Answers KEDA. `bell` rings when decisions may have changed; `count` is told of each call and how it went."""

    def __init__(
        self,
        desk: Desk,
        bell: Bell,
        *,
        clock: Callable[[], float],
        count: Callable[[str, str], None],
    ) -> None:
        self._desk = desk
        self._bell = bell
        self._clock = clock
        self._count = count
        self._server: aio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens; the port that is bound.

        Raises:
            StartError: the address is in use or not of this machine.
        """
        server = aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CALLS_MAX)
        server.add_generic_rpc_handlers((self._handlers(),))
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = server.add_insecure_port(where)
        except RuntimeError as error:
            raise StartError(
                f"The scaler cannot listen on {where}: it is in use, or no address of this machine.",
                hint="choose another address: --scaler HOST:PORT (port 0 turns the scaler off)",
            ) from error
        await server.start()
        self._server = server
        return bound

    async def stop(self) -> None:
        """Ends calls and streams."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(_STOP_S)

    def _handlers(self) -> grpc.GenericRpcHandler:
        plain = {"IsActive": self._is_active, "GetMetricSpec": self._metric_spec, "GetMetrics": self._metrics}
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(self._counted(name, answer)) for name, answer in plain.items()
        }
        methods["StreamIsActive"] = grpc.unary_stream_rpc_method_handler(self._stream_is_active)
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _counted(
        self, name: str, answer: Callable[[bytes], bytes | Refused]
    ) -> Callable[[bytes, _Context], Awaitable[bytes]]:
        async def answered(raw: bytes, context: _Context) -> bytes:
            try:
                found = answer(raw)
            except Malformed as error:
                self._count(name, "malformed")
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
            if isinstance(found, Refused):
                self._count(name, found.kind)
                await _refuse(context, found)
            self._count(name, "answered")
            return found

        return answered

    def _answer(self, ref: ScaledObjectRef) -> Answer | Refused:
        return self._desk.answer(ref.namespace, ref.metadata, self._clock())

    def _is_active(self, raw: bytes) -> bytes | Refused:
        found = self._answer(read_ref(raw))
        return found if isinstance(found, Refused) else activity(is_active=found.is_active)

    def _metric_spec(self, raw: bytes) -> bytes | Refused:
        ref = read_ref(raw)
        found = self._desk.target(ref.namespace, ref.metadata)
        return found if isinstance(found, Refused) else metric_specs(METRIC, found)

    def _metrics(self, raw: bytes) -> bytes | Refused:
        request = read_metrics_request(raw)
        if not _PREFIXED.fullmatch(request.metric):
            return Refused(kind="unknown", reason=f"there is no metric {request.metric[:100]!r}, only {METRIC!r}")
        found = self._answer(request.ref)
        return found if isinstance(found, Refused) else metric_values(request.metric, found.value)

    async def _stream_is_active(self, raw: bytes, context: _Context) -> AsyncIterator[bytes]:
        """The activity now, and whenever it changes; while it is not known, nothing."""
        told: bool | None = None
        try:
            ref = read_ref(raw)
        except Malformed as error:
            self._count("StreamIsActive", "malformed")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        while True:
            rung = self._bell.next
            found = self._answer(ref)
            if isinstance(found, Refused):
                if found.kind == "unknown":
                    self._count("StreamIsActive", found.kind)
                    await _refuse(context, found)
            elif found.is_active is not told:
                told = found.is_active
                self._count("StreamIsActive", "answered")
                yield activity(is_active=told)
            await rung.wait()


async def _refuse(context: _Context, refused: Refused) -> NoReturn:
    code = grpc.StatusCode.NOT_FOUND if refused.kind == "unknown" else grpc.StatusCode.UNAVAILABLE
    await context.abort(code, refused.reason)
    raise AssertionError("abort always raises")
