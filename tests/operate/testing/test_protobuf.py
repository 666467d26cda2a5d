"""Protobuf bodies, written here by hand as the format says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operate.testing.api import MAPS, Api
from penstock.operate.testing.protobuf import CONTENT_TYPE, decode
from penstock.operate.testing.status import Refusal


def text(number: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def envelope(kind: str, raw: bytes, version: str = "v1") -> bytes:
    return b"k8s\x00" + text(1, text(1, version) + text(2, kind)) + text(2, raw)


def test_kubectl_creates_a_config_map_in_protobuf() -> None:
    raw = text(1, text(1, "a") + text(11, text(1, "app") + text(2, "x"))) + text(2, text(1, "key") + text(2, "value"))

    created = Api().ok("POST", MAPS, envelope("ConfigMap", raw), kind=CONTENT_TYPE)

    assert created["metadata"]["name"] == "a"
    assert created["metadata"]["labels"] == {"app": "x"}
    assert created["data"] == {"key": "value"}


def test_access_is_asked_in_protobuf() -> None:
    attributes = text(1, "default") + text(2, "create") + text(5, "pods")
    raw = text(1, b"") + text(2, text(1, attributes))

    assert decode(envelope("SelfSubjectAccessReview", raw, "authorization.k8s.io/v1")) == {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {"namespace": "default", "verb": "create", "resource": "pods"}},
    }


def test_bytes_become_base64_and_numbers_numbers() -> None:
    secret = decode(envelope("Secret", text(1, text(1, "s")) + text(2, text(1, "k") + text(2, b"\xff"))))
    options = decode(envelope("DeleteOptions", b"\x08\x05" + text(4, "Foreground")))

    assert secret["data"] == {"k": "/w=="}
    assert (options["gracePeriodSeconds"], options["propagationPolicy"]) == (5, "Foreground")


def test_a_kind_that_is_not_read_is_named() -> None:
    with pytest.raises(Refusal, match="reads no protobuf of kind Deployment; send application/json") as refused:
        decode(envelope("Deployment", b""))

    assert refused.value.code == 415


@given(st.binary(max_size=200))
def test_noise_is_refused_not_raised(noise: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        decode(b"k8s\x00" + noise)

    assert refused.value.code in (400, 415)
