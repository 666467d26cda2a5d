"""Which parts of objects become values."""

from __future__ import annotations

from penstock.plan.manifests import emit, plain
from penstock.plan.manifests.formats.chart_values import ChartValues
from penstock.plan.manifests.render import render
from plan.manifests.sites import CHAT, OPEN, site_from


def _gathered() -> tuple[ChartValues, str]:
    site = site_from(CHAT + OPEN)
    values = ChartValues(site)
    text = "".join(values.filled(emit(values.templated(manifest))) for manifest in render(site).manifests)
    return values, text


def test_no_mark_is_left_and_the_objects_stay_as_they_were() -> None:
    site = site_from(CHAT + OPEN)
    before = render(site).objects
    values, text = _gathered()

    assert "PENSTOCKCHART" not in text
    assert render(site).objects == before
    assert ".Values.gateway.minReplicas" in text
    assert '(index .Values "models" "demo-chat" "image") | quote' in text
    assert values.entries


def test_defaults_are_a_tree_of_what_stood_there() -> None:
    values, _ = _gathered()
    tree = plain(values.defaults())

    assert tree["gateway"]["resources"] == {"cpu": "1", "memory": "1Gi"}
    assert tree["models"]["demo-chat"]["replicas"] == 2
    assert tree["labels"] == {}


def test_the_schema_knows_each_default_and_nothing_else() -> None:
    values, _ = _gathered()
    root = values.schema()

    for entry in values.entries:
        place = root
        for part in entry.path:
            assert place["additionalProperties"] is False
            place = place["properties"][part]
        assert place["description"] == entry.words


def test_jobs_keep_their_image_because_they_can_not_be_changed() -> None:
    site = site_from(CHAT + OPEN)
    values = ChartValues(site)
    job = next(manifest for manifest in render(site).manifests if manifest.kind == "Job")

    assert ".Values.image" not in values.filled(emit(values.templated(job)))


def test_a_switch_is_a_value() -> None:
    values = ChartValues(site_from())
    values.switch("monitoring", "Whether.")
    assert plain(values.defaults())["monitoring"] == {"enabled": True}
