"""A real gRPC client that asks as KEDA does, with protobuf's own messages."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from operate.scaling.keda_messages import message, parsed

_ANSWERS = {
    "IsActive": "IsActiveResponse",
    "StreamIsActive": "IsActiveResponse",
    "GetMetricSpec": "GetMetricSpecResponse",
    "GetMetrics": "GetMetricsResponse",
}


class Keda:
    """KEDA at one trigger."""

    def __init__(self, channel: aio.Channel, *, namespace: str = "ai", fleet: str = "f", model: str = "chat") -> None:
        self.channel = channel
        self.ref = {
            "name": "f-chat",
            "namespace": namespace,
            "scalerMetadata": {"fleet": fleet, "model": model, "scalerAddress": "f-controller.ai.svc:6000"},
        }

    async def call(self, method: str, raw: bytes) -> Any:
        ask = self.channel.unary_unary(f"/externalscaler.ExternalScaler/{method}")
        return parsed(_ANSWERS[method], await ask(raw, timeout=10))

    async def is_active(self) -> bool:
        found = await self.call("IsActive", message("ScaledObjectRef", **self.ref).SerializeToString())
        return bool(found.result)

    async def target(self) -> float:
        found = await self.call("GetMetricSpec", message("ScaledObjectRef", **self.ref).SerializeToString())
        (spec,) = found.metricSpecs
        assert spec.metricName == "penstock-requests"
        return float(spec.targetSizeFloat)

    async def value(self, metric: str = "penstock-requests") -> float:
        raw = message("GetMetricsRequest", scaledObjectRef=self.ref, metricName=metric).SerializeToString()
        (told,) = (await self.call("GetMetrics", raw)).metricValues
        assert told.metricName == metric
        return float(told.metricValueFloat)

    async def activity(self) -> AsyncIterator[bool]:
        """What the stream says, for ever."""
        stream = self.channel.unary_stream("/externalscaler.ExternalScaler/StreamIsActive")
        async for raw in stream(message("ScaledObjectRef", **self.ref).SerializeToString()):
            yield bool(parsed("IsActiveResponse", raw).result)


@contextlib.asynccontextmanager
async def keda(port: int, **trigger: str) -> AsyncIterator[Keda]:
    """KEDA, connected."""
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Keda(channel, **trigger)
