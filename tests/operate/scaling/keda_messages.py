"""KEDA's messages as real protobuf classes, made from their description at run time: what ours are held against."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_STRING, _BOOL, _INT64, _DOUBLE, _MESSAGE = 9, 8, 3, 1, 11
_ONE, _MANY = 1, 3
_PACKAGE = "externalscaler"
_SHAPES: dict[str, list[tuple[str, int, int, int, str]]] = {
    "ScaledObjectRef": [
        ("name", 1, _STRING, _ONE, ""),
        ("namespace", 2, _STRING, _ONE, ""),
        ("scalerMetadata", 3, _MESSAGE, _MANY, "ScaledObjectRef.ScalerMetadataEntry"),
    ],
    "IsActiveResponse": [("result", 1, _BOOL, _ONE, "")],
    "GetMetricSpecResponse": [("metricSpecs", 1, _MESSAGE, _MANY, "MetricSpec")],
    "MetricSpec": [
        ("metricName", 1, _STRING, _ONE, ""),
        ("targetSize", 2, _INT64, _ONE, ""),
        ("targetSizeFloat", 3, _DOUBLE, _ONE, ""),
    ],
    "GetMetricsRequest": [
        ("scaledObjectRef", 1, _MESSAGE, _ONE, "ScaledObjectRef"),
        ("metricName", 2, _STRING, _ONE, ""),
    ],
    "GetMetricsResponse": [("metricValues", 1, _MESSAGE, _MANY, "MetricValue")],
    "MetricValue": [
        ("metricName", 1, _STRING, _ONE, ""),
        ("metricValue", 2, _INT64, _ONE, ""),
        ("metricValueFloat", 3, _DOUBLE, _ONE, ""),
    ],
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    made = descriptor_pb2.FileDescriptorProto(name="externalscaler.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _SHAPES.items():
        message = made.message_type.add(name=name)
        for field, number, type_, label, of in fields:
            full = f".{_PACKAGE}.{of}" if of else None
            message.field.add(name=field, number=number, type=type_, label=label, type_name=full)
        if name == "ScaledObjectRef":
            entry = message.nested_type.add(name="ScalerMetadataEntry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_STRING, label=_ONE)
            entry.field.add(name="value", number=2, type=_STRING, label=_ONE)
    return made


_CLASSES: dict[str, Any] = message_factory.GetMessages([_file()], pool=descriptor_pool.DescriptorPool())


def message(name: str, /, **fields: Any) -> Any:
    """A message of KEDA's with these fields."""
    return _CLASSES[f"{_PACKAGE}.{name}"](**fields)


def parsed(name: str, raw: bytes) -> Any:
    """A message of KEDA's from its bytes."""
    return _CLASSES[f"{_PACKAGE}.{name}"].FromString(raw)
