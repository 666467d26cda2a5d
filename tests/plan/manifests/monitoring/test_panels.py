"""What the dashboard shows: words and units."""

from __future__ import annotations

from penstock.plan.manifests.monitoring.panels import GROUPS


def test_every_group_has_panels_of_names_of_their_own() -> None:
    titles = [panel.title for group in GROUPS for panel in group.panels]

    assert len(set(titles)) == len(titles)
    assert all(group.panels for group in GROUPS)


def test_only_the_gpus_need_the_gpu_exporter() -> None:
    for group in GROUPS:
        asks = any("DCGM" in query.expr for panel in group.panels for query in panel.queries)
        assert asks == group.needs_gpu_metrics


def test_shares_are_never_nothing_over_nothing() -> None:
    for panel in (panel for group in GROUPS for panel in group.panels):
        for query in panel.queries:
            assert " / " not in query.expr or "> 0)" in query.expr, panel.title
