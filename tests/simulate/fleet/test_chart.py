from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.simulate.fleet.chart import Chart, Curve, draw_chart, span_words

VALUES = st.lists(st.none() | st.floats(0, 1e7), max_size=30)


def _svg(drawn: str) -> ET.Element:
    found = ET.fromstring(drawn).find("svg")
    assert found is not None
    return found


@given(
    values=VALUES,
    is_log=st.booleans(),
    is_share=st.booleans(),
    limit=st.none() | st.floats(0.01, 1e6),
    step=st.sampled_from([1.0, 300.0, 3600.0]),
)
@example(values=[5e-324], is_log=False, is_share=False, limit=None, step=1.0)  # no power of ten lies below it
def test_everything_is_drawn_inside_and_well_formed(
    values: list[float | None], is_log: bool, is_share: bool, limit: float | None, step: float
) -> None:
    chart = Chart(
        title="a <b> & c",
        unit="ms",
        times_s=[step * n for n in range(len(values))],
        curves=[Curve(name="x<y", values=values, is_area=True), Curve(name="z", values=values, tone=3)],
        limit=limit,
        limit_name="objective",
        is_log=is_log,
        is_share=is_share,
    )

    svg = _svg(draw_chart(chart))

    _, _, width, height = (float(n) for n in svg.attrib["viewBox"].split())
    for path in svg.iter("path"):
        for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.attrib["d"]):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
    assert "nan" not in draw_chart(chart)


def test_a_hole_is_a_gap() -> None:
    chart = Chart(title="t", unit="", times_s=[0, 1, 2, 3, 4], curves=[Curve(name="a", values=[1, 2, None, 4, 5])])

    lines = [path for path in _svg(draw_chart(chart)).iter("path") if "line" in path.attrib["class"]]

    assert len(lines) == 2


def test_pointing_at_a_moment_tells_its_figures() -> None:
    chart = Chart(
        title="t",
        unit="",
        times_s=[0, 60],
        curves=[Curve(name="p50", values=[1, 2]), Curve(name="p95", values=[None, 9])],
    )

    titles = [title.text for title in _svg(draw_chart(chart)).iter("title")]

    assert titles == ["at 0 min\np50 1", "at 1 min\np50 2\np95 9"]


def test_many_moments_share_titles() -> None:
    chart = Chart(title="t", unit="", times_s=range(600), curves=[Curve(name="a", values=[1.0] * 600)])

    assert len(list(_svg(draw_chart(chart)).iter("title"))) == 150


@pytest.mark.parametrize(
    ("seconds", "step", "words"),
    [
        (0, 1, "0 s"),
        (40, 20, "40 s"),
        (125, 5, "2:05 min"),
        (600, 300, "10 min"),
        (5400, 600, "1:30 h"),
        (5430, 30, "1:30 h"),
        (7200, 3600, "2 h"),
        (172_800, 86_400, "2 d"),
    ],
)
def test_moments_are_as_precise_as_the_steps_between(seconds: float, step: float, words: str) -> None:
    assert span_words(seconds, step) == words
