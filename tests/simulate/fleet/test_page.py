"""The page: whole, self-contained, escaped; one section for each run."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from penstock.serve.flow import Capacity, QueueSettings
from penstock.simulate.fleet.page import html_page
from penstock.simulate.workload import Objectives
from simulate.fleet.rig import ask, reported

VOID = {"meta"}
REQUESTS = [ask(at_s=n / 10, output=5 + n % 40) for n in range(60)]


class _Reader(HTMLParser):
    """Counts tags and keeps text; checks that what opens closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def _page(runs: int = 1, *, workload: str = "trace day.csv", **changes: object) -> str:
    reports = [reported(REQUESTS, replicas=n + 1, **changes) for n in range(runs)]
    return html_page(reports, fleet="shop", workload=workload, seed=7, version="0.1.0")


def test_a_run_has_its_verdict_figures_charts_and_replicas() -> None:
    page = _page(objectives=Objectives(ttft_ms=500, itl_ms=50), usd_micro_per_gpu_hour=6_880_000)

    read = _read(page)
    assert read.tags.count("svg") == 7
    assert read.tags.count("details") == 1
    words = " ".join(read.words)
    for expected in ("Comfortable", "GPU-hours", "$6.88 an hour", "TTFT ≤ 500 ms", "held", "chat-0", "seed 7", "shop"):
        assert expected in words


def test_tenants_classes_and_what_was_refused_have_their_tables() -> None:
    requests = [
        ask(at_s=n / 200, output=60, tenant=f"<t{n % 3}>", traffic_class=("batch", "interactive")[n % 2])
        for n in range(200)
    ]
    report = reported(
        requests,
        replicas=1,
        settings={"max_num_seqs": 4},
        capacity=Capacity(requests_max=4),
        queue=QueueSettings(requests_max=20),
    )
    read = _read(html_page([report], fleet="shop", workload="w", seed=0, version="0.1.0"))

    words = " ".join(read.words)
    for expected in (
        "Tenants",
        "<t2>",
        "Classes",
        "batch",
        "Refused by the gateway",
        "evicted",
        "In the gateway's queue",
    ):
        assert expected in words


def test_several_runs_are_compared_and_the_cheapest_that_holds_is_open() -> None:
    page = _page(3, objectives=Objectives(ttft_ms=500))

    read = _read(page)
    assert read.tags.count("details") == 3
    assert read.tags.count("svg") == 3 * 7 + 2
    assert "The cheapest that holds its objectives: 1 × H200, cost." in " ".join(read.words)
    assert page.count("<details open>") == 1
    assert page.count("<tr class='best'>") == 1


def test_no_run_that_holds_is_said() -> None:
    assert "No run holds every objective." in _page(2, objectives=Objectives(ttft_ms=0.01))


def test_the_page_needs_no_network_and_no_script() -> None:
    page = _page(2)

    read = _read(page)
    assert not {"script", "link", "img", "iframe"} & set(read.tags)
    assert not [name for name, _ in read.attributes if name in ("src", "href") or name.startswith("on")]
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


def test_what_comes_from_outside_is_escaped() -> None:
    page = _page(workload="<script>alert(1)</script>", model='x"<b>')

    assert "<script>" not in page
    assert "<b>x" not in page
    _read(page)


@pytest.mark.parametrize("runs", [1, 2])
def test_the_same_reports_give_the_same_bytes(runs: int) -> None:
    assert _page(runs) == _page(runs)


def test_light_and_dark_know_the_same_colours() -> None:
    from penstock.simulate.fleet.style import STYLE

    used, *defined = (
        set(re.findall(r"var\((--\w+)\)", STYLE)) - {"--tone"},
        *(set(re.findall(r"(--\w+):#", block)) for block in STYLE.split("prefers-color-scheme:dark")),
    )
    assert all(used <= names for names in defined)
