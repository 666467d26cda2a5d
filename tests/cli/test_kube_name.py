"""FILE or NAME: which of the two, and which cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.cluster_command import FLEET
from penstock.cli.kube_name import wanted_fleet
from penstock.errors import UsageError

CLUSTERS = "  clusters: [{name: eu, context: kind-eu}, {name: us}]\n"


def written(tmp_path: Path, extra: str = "") -> str:
    path = tmp_path / "f.yaml"
    path.write_text(FLEET.replace("REPLICAS", "1").replace("NETWORK", "true") + extra, encoding="utf-8")
    return str(path)


def test_a_file_gives_name_and_namespace(tmp_path: Path) -> None:
    found = wanted_fleet(written(tmp_path), context=None, namespace=None, cluster=None)

    assert (found.name, found.namespace, found.context) == ("demo", "llm", None)
    assert found.fleet is not None


def test_a_word_that_is_no_file_is_a_name() -> None:
    found = wanted_fleet("demo", context="c", namespace="n", cluster=None)

    assert (found.name, found.namespace, found.context, found.fleet) == ("demo", "n", "c", None)


@pytest.mark.parametrize(("cluster", "context"), [("eu", "kind-eu"), ("us", "us")])
def test_a_cluster_gives_its_context(tmp_path: Path, cluster: str, context: str) -> None:
    assert wanted_fleet(written(tmp_path, CLUSTERS), context=None, namespace=None, cluster=cluster).context == context


@pytest.mark.parametrize("cluster", [None, "asia"])
def test_one_of_several_clusters_must_be_chosen(tmp_path: Path, cluster: str | None) -> None:
    with pytest.raises(UsageError, match="cluster"):
        wanted_fleet(written(tmp_path, CLUSTERS), context=None, namespace=None, cluster=cluster)


def test_a_file_that_is_missing_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        wanted_fleet(str(tmp_path / "g.yaml"), context=None, namespace=None, cluster=None)
