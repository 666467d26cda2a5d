"""The controller's own port."""

from __future__ import annotations

from typing import Any

from starlette.testclient import TestClient

from penstock.operate.controller import Phase
from penstock.operate.io.controller.health import Counts, health_app


def test_it_is_ready_once_fleets_are_watched() -> None:
    is_watching = False
    client = TestClient(health_app(Counts(), lambda: is_watching))

    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
    is_watching = True
    assert client.get("/readyz").status_code == 200


def test_what_keda_is_told_is_shown_and_that_it_is_told_nothing() -> None:
    def shown(rows: list[dict[str, str]] | None) -> dict[str, Any]:
        app = health_app(Counts(), lambda: True, None if rows is None else lambda: rows)
        found: dict[str, Any] = TestClient(app).get("/api/v1/scaling").json()
        return found

    assert shown([{"model": "chat"}]) == {"is_on": True, "models": [{"model": "chat"}]}
    assert shown(None) == {"is_on": False, "models": []}


def test_a_fleet_is_in_one_phase() -> None:
    counts = Counts()
    counts.phase("f", Phase.APPLYING)
    counts.phase("f", Phase.APPLIED)

    lines = TestClient(health_app(counts, lambda: True)).get("/metrics").text.splitlines()

    assert 'penstock_controller_phase{fleet="f",phase="Applied"} 1.0' in lines
    assert 'penstock_controller_phase{fleet="f",phase="Applying"} 0.0' in lines


def test_a_fleet_that_is_gone_leaves_no_series() -> None:
    counts = Counts()
    counts.reconciled("f")
    counts.fault("f")
    counts.phase("f", Phase.APPLIED)
    counts.ready("f", is_ready=True)

    counts.forget("f")

    assert 'fleet="f"' not in TestClient(health_app(counts, lambda: True)).get("/metrics").text
