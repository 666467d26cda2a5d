"""Objects before they are text."""

from __future__ import annotations

from penstock.plan.manifests import Because, Bundle, Manifest, Wave


def test_an_object_is_as_the_api_server_takes_it() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "n"},
        "spec": (Because(1, "why"),),
    }
    thing = Manifest(body=body, wave=Wave.SERVE, file="a")

    assert thing.object == {**body, "spec": [1]}
    assert (thing.kind, thing.name, thing.namespace) == ("Pod", "a", "n")
    assert Bundle(manifests=(thing,)).objects == [thing.object]


def test_what_belongs_to_the_cluster_has_no_namespace() -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}

    assert Manifest(body=body, wave=Wave.CLUSTER, file="a").namespace is None


def test_a_volume_is_filled_before_it_is_cloned_and_cloned_before_it_is_read() -> None:
    assert Wave.STORE < Wave.FETCH < Wave.CLONE < Wave.SERVE < Wave.SCALE
