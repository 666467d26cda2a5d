"""A plan as SVG: well-formed, the same every time, with everything in it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from penstock.plan import Objectives, draw
from penstock.plan.drawing import COLOURS
from plan.asks import a_plan

SVG = "{http://www.w3.org/2000/svg}"


def test_the_same_plans_give_the_same_bytes() -> None:
    assert draw([a_plan(), a_plan("Qwen/Qwen3-Embedding-0.6B")]) == draw(
        [a_plan(), a_plan("Qwen/Qwen3-Embedding-0.6B")]
    )


def test_the_bar_is_as_wide_as_the_gpus_memory() -> None:
    root = ET.fromstring(draw([a_plan()]))
    spans = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]

    assert [span.get("fill") for span in spans] == list(COLOURS.values())
    assert abs(sum(float(span.get("width", 0)) for span in spans) - (960 - 2 * 48)) < 1


def test_each_model_has_its_title_and_charts() -> None:
    plans = [a_plan(objectives=Objectives(ttft_ms=500)), a_plan("Qwen/Qwen3-Embedding-0.6B", 20)]
    root = ET.fromstring(draw(plans))
    words = [text.text or "" for text in root.iter(f"{SVG}text")]

    assert sum("TTFT p95" in text for text in words) == 2
    assert sum("TPOT" in text for text in words) == 1  # the embedding has none
    assert "objective 500" in words
    assert "demand" in words
    assert len(list(root.iter(f"{SVG}polyline"))) == 4


def test_names_cannot_break_the_picture() -> None:
    plan = a_plan(name="<a> & 'b'")

    assert "<a> & 'b'" in " ".join(text.text or "" for text in ET.fromstring(draw([plan])).iter(f"{SVG}text"))
