"""A rule's form as a PrometheusRule has it."""

from __future__ import annotations

from penstock.plan.manifests.monitoring.rule import Alert, Cause, Page, Record

PAGE = Page(
    name="PenstockX",
    summary="s",
    description="d.",
    meaning="m.",
    first="kubectl",
    causes=(Cause("c.", "m."),),
    wake="No.",
)


def test_an_alert_names_its_page_and_how_long_it_must_last() -> None:
    alert = Alert(page=PAGE, expr="up == 0", severity="warning", for_s=90, labels={"model": "chat"})

    assert alert.body("https://example.com/runbooks/") == {
        "alert": "PenstockX",
        "expr": "up == 0",
        "for": "90s",
        "labels": {"model": "chat", "severity": "warning"},
        "annotations": {
            "summary": "s",
            "description": "d.",
            "runbook_url": "https://example.com/runbooks/PenstockX",
        },
    }


def test_an_alert_that_fires_at_once_has_no_for_and_a_series_without_labels_none() -> None:
    assert "for" not in Alert(page=PAGE, expr="up", severity="info").body("https://e")
    assert Record(name="a:b:c", expr="up").body == {"record": "a:b:c", "expr": "up"}


def test_quotes_are_kept_readable() -> None:
    assert Record(name="a:b:c", expr='up{a="b"}').body["expr"] == 'up{a="b"}\n'
