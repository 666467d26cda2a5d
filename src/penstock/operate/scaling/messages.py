"""KEDA's messages for external scalers (`externalscaler.proto`), as bytes of protocol buffers. Pure.

Six small messages do not need generated code and the library under it; the tests hold them against that library.
Source: https://github.com/kedacore/keda/blob/main/pkg/scalers/externalscaler/externalscaler.proto.

Guarantees: what is decoded is bounded by its bytes; fields that are not known are passed over, as the format wants;
what is malformed raises `Malformed` and nothing else.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from penstock.errors import PenstockError

__all__ = [
    "SERVICE",
    "Malformed",
    "MetricsRequest",
    "ScaledObjectRef",
    "activity",
    "metric_specs",
    "metric_values",
    "read_metrics_request",
    "read_ref",
]

SERVICE = "externalscaler.ExternalScaler"
_VARINT, _FIXED64, _BYTES = 0, 1, 2
_VARINT_BYTES_MAX = 10


class Malformed(PenstockError):
    """The bytes are no such message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledObjectRef:
    """Who asks: a trigger of a ScaledObject, with the trigger's metadata."""

    name: str
    namespace: str
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsRequest:
    """Which metric of a trigger is asked for."""

    ref: ScaledObjectRef
    metric: str


def read_ref(raw: bytes) -> ScaledObjectRef:
    """`ScaledObjectRef`.

    Raises:
        Malformed: it is none.
    """
    name = namespace = ""
    metadata: dict[str, str] = {}
    for number, value in _fields(raw):
        match number:
            case 1:
                name = _text(value)
            case 2:
                namespace = _text(value)
            case 3:
                key, entry = _entry(value)
                metadata[key] = entry
            case _:
                pass
    return ScaledObjectRef(name=name, namespace=namespace, metadata=metadata)


def read_metrics_request(raw: bytes) -> MetricsRequest:
    """`GetMetricsRequest`.

    Raises:
        Malformed: it is none.
    """
    metric, ref = "", b""
    for number, value in _fields(raw):
        match number:
            case 1:
                ref += value  # given twice, the two are merged, and so are their bytes
            case 2:
                metric = _text(value)
            case _:
                pass
    return MetricsRequest(ref=read_ref(ref), metric=metric)


def activity(*, is_active: bool) -> bytes:
    """`IsActiveResponse`."""
    return _key(1, _VARINT) + b"\x01" if is_active else b""


def metric_specs(name: str, target: float) -> bytes:
    """`GetMetricSpecResponse` with one metric."""
    return _message(1, _number_of(name, target))


def metric_values(name: str, value: float) -> bytes:
    """`GetMetricsResponse` with one metric."""
    return _message(1, _number_of(name, value))


def _number_of(name: str, value: float) -> bytes:
    """`MetricSpec` and `MetricValue` alike: a name, a whole number, rounded up, and the number itself, which newer
    KEDAs read. What is 0 is left out, as the format has it."""
    encoded = _message(1, name.encode())
    if value > 0:
        encoded += _key(2, _VARINT) + _varint(math.ceil(value)) + _key(3, _FIXED64) + struct.pack("<d", value)
    return encoded


def _message(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


def _key(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of a message's fields that hold text or messages; all that we read are of that kind, and
    others are passed over."""
    at = 0
    while at < len(raw):
        key, at = _read_varint(raw, at)
        number, kind = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise Malformed(f"a message has a field numbered {number}")
        match kind:
            case 0:
                size = _read_varint(raw, at)[1] - at
            case 1 | 5:
                size = 8 if kind == _FIXED64 else 4
            case 2:
                size, at = _read_varint(raw, at)
            case _:
                raise Malformed(f"a field has the wire type {kind}")
        if size > len(raw) - at:
            raise Malformed("a message ends inside a field")
        if kind == _BYTES:
            yield number, raw[at : at + size]
        at += size


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        if at + place >= len(raw):
            raise Malformed("a message ends inside a number")
        byte = raw[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & (1 << 64) - 1, at + place + 1
    raise Malformed("a number is longer than 64 bits")


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Malformed("a text is not UTF-8") from error


def _entry(value: bytes) -> tuple[str, str]:
    """An entry of a map: two texts."""
    found = {number: _text(part) for number, part in _fields(value) if number in (1, 2)}
    return found.get(1, ""), found.get(2, "")
