"""The page on monitoring lists every metric of the gateway with its labels, and every alert of its tables exists."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from penstock.plan.manifests.monitoring.alerts import PAGES
from plan.manifests.monitoring.names import gateway_page

PAGE = Path(__file__).resolve().parents[4] / "docs" / "monitoring.md"


def listed() -> dict[str, set[str]]:
    """Labels by metric, as the page has them."""
    part = PAGE.read_text().split("## Every metric of the gateway")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_]+)` \| ([a-z, ]*) ?\| \S.*\|$", part, re.MULTILINE)
    assert len({name for name, _ in rows}) == len(rows), "a metric is there twice"
    return {f"penstock_{name}": set(re.findall("[a-z]+", labels)) for name, labels in rows}


def test_every_metric_is_on_the_page_with_its_labels_and_nothing_else_is() -> None:
    told = listed()
    families = [f for f in text_string_to_metric_families(gateway_page().decode()) if f.name.startswith("penstock_")]
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
    assert names == told.keys()
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == told[name], sample


def test_alerts_that_the_page_names_exist() -> None:
    names = {page.name for page in PAGES}
    assert set(re.findall(r"Penstock[A-Z]\w+", PAGE.read_text())) <= names
