"""The controller's own port."""

from __future__ import annotations

from starlette.testclient import TestClient

from penstock.operate.controller import Phase
from penstock.operate.io.controller.health import Counts, health_app


def test_it_is_ready_once_fleets_are_watched() -> None:
    is_watching = False
    client = TestClient(health_app(Counts(), lambda: is_watching))

    assert (client.get("/healthz").status_code, client.get("/readyz").status_code) == (200, 503)
    is_watching = True
    assert client.get("/readyz").status_code == 200


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
