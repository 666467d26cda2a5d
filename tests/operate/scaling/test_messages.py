"""Our bytes are protobuf's: what KEDA sends is read as it was meant, and what we send is read as we meant it."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operate.scaling.keda_messages import message, parsed
from penstock.operate.scaling.messages import (
    Malformed,
    activity,
    metric_specs,
    metric_values,
    read_metrics_request,
    read_ref,
)

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=300)
REFS = st.fixed_dictionaries(
    {"name": TEXTS, "namespace": TEXTS, "scalerMetadata": st.dictionaries(TEXTS, TEXTS, max_size=5)}
)


@given(fields=REFS)
def test_who_asks_is_read_as_protobuf_wrote_it(fields: dict[str, object]) -> None:
    ref = read_ref(message("ScaledObjectRef", **fields).SerializeToString())

    assert {"name": ref.name, "namespace": ref.namespace, "scalerMetadata": ref.metadata} == fields


@given(fields=REFS, metric=TEXTS)
def test_a_request_for_a_metric_is_read_as_protobuf_wrote_it(fields: dict[str, object], metric: str) -> None:
    raw = message("GetMetricsRequest", scaledObjectRef=fields, metricName=metric).SerializeToString()
    asked = read_metrics_request(raw)

    assert asked.metric == metric
    assert (asked.ref.name, asked.ref.metadata) == (fields["name"], fields["scalerMetadata"])


@given(name=TEXTS, value=st.floats(min_value=0, max_value=1e15, allow_nan=False))
@example(name="requests", value=0.0)
@example(name="requests", value=5e-324)
def test_numbers_are_read_by_protobuf_as_we_meant_them(name: str, value: float) -> None:
    (spec,) = parsed("GetMetricSpecResponse", metric_specs(name, value)).metricSpecs
    (told,) = parsed("GetMetricsResponse", metric_values(name, value)).metricValues

    assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == (name, math.ceil(value), value)
    assert (told.metricName, told.metricValue, told.metricValueFloat) == (name, math.ceil(value), value)


@pytest.mark.parametrize("is_active", [True, False])
def test_activity_is_read_by_protobuf_as_we_meant_it(is_active: bool) -> None:
    assert parsed("IsActiveResponse", activity(is_active=is_active)).result is is_active


def test_fields_of_a_later_version_are_passed_over() -> None:
    known = message("ScaledObjectRef", name="chat").SerializeToString()
    later = b"\x20\x96\x01" + b"\x2a\x02hi" + b"\x31" + bytes(8) + b"\x3d" + bytes(4)

    assert read_ref(later + known).name == "chat"


def test_a_request_in_two_parts_is_one() -> None:
    parts = [{"name": "chat"}, {"namespace": "ai"}]
    raw = b"".join(message("GetMetricsRequest", scaledObjectRef=part).SerializeToString() for part in parts)

    ref = read_metrics_request(raw).ref

    assert (ref.name, ref.namespace) == ("chat", "ai")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x0a\x05ab", id="ends inside a text"),
        pytest.param(b"\x0a", id="ends before a length"),
        pytest.param(b"\x08" + b"\xff" * 10, id="number without an end"),
        pytest.param(b"\x0b", id="a group"),
        pytest.param(b"\x02\x00", id="field number 0"),
        pytest.param(b"\x0a\x01\xff", id="no UTF-8"),
    ],
)
def test_what_is_no_message_is_refused_as_that(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_ref(raw)


@given(raw=st.binary(max_size=200))
def test_no_bytes_raise_anything_else(raw: bytes) -> None:
    try:
        read_metrics_request(raw)
    except Malformed:
        return
