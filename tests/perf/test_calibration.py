"""Calibrations as values and as files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import UsageError
from penstock.facts import GPUS, find_gpu
from penstock.perf.calibration import REGIMES, Calibration, default_calibration
from penstock.perf.overheads import HostTime, Overheads

H200 = default_calibration(find_gpu("H200"))


@given(layer=st.floats(0, 1e-3), graph=st.floats(0, 1e-2), low=st.floats(0.1, 1), name=st.text(max_size=20))
def test_what_is_written_is_read_back(layer: float, graph: float, low: float, name: str) -> None:
    made = replace(
        H200,
        name=name,
        overheads=Overheads(layer_s=layer),
        host=HostTime(graph_s=graph),
        errors={**H200.errors, "decode": (low, 1.5)},
    )
    assert Calibration.from_json(made.to_json()) == made
    assert Calibration.from_json(made.to_json()).to_json() == made.to_json()


def test_missing_parts_are_the_defaults() -> None:
    found = Calibration.from_json('{"name": "mine", "source": "a probe", "host": {"graph_s": 0.001}}')
    assert found.host == HostTime(graph_s=0.001)
    assert (found.overheads, found.errors) == (Overheads(), H200.errors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nmae": "x"}, "unknown fields: nmae"),
        ({"name": ...}, "lacks name"),
        ({"host": {"graph": 1}}, "HostTime are numbers"),
        ({"overheads": {"layer_s": "fast"}}, "Overheads are numbers"),
        ({"overheads": {"layer_s": -1}}, "numbers of 0 or more"),
        ({"front_end": 3}, "FrontEndTime are numbers"),
        ({"errors": {"decod": [1, 2]}}, "errors are of decode"),
        ({"carried": 0.9}, "factor of 1 or more"),
        ({"carried": True}, "factor of 1 or more"),
    ],
)
def test_wrong_files_are_refused_by_the_field(change: dict[str, Any], message: str) -> None:
    found = {k: v for k, v in ({"name": "mine", "source": "s"} | change).items() if v is not ...}
    with pytest.raises(UsageError, match=message):
        Calibration.from_json(json.dumps(found))


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a calibration"):
        Calibration.from_json(text)


def test_every_gpu_has_one_and_only_the_measured_one_is_narrow() -> None:
    for gpu in GPUS:
        found = default_calibration(gpu)
        for regime in REGIMES:
            low, high = found.interval(1.0, regime)
            assert low < 1 < high
        assert (found == H200) == (gpu.name == "H200")
    low, high = default_calibration(find_gpu("A100")).interval(1.0, "decode")
    assert high - low > H200.interval(1.0, "decode").high - H200.interval(1.0, "decode").low
    wide = default_calibration(find_gpu("A100")).interval(1.0, "decode", widening=2.0)
    assert wide.high / wide.low < (high / low) * (H200.errors["decode"][1] / H200.errors["decode"][0]) * 1.01
    assert "data sheet" in default_calibration(find_gpu("A100")).source
