"""Which clusters are meant."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import typer

from cli.cluster_command import FLEET, command
from penstock.cli.kube_target import Place, in_loop, places, reached
from penstock.errors import UsageError

CLUSTERS = "  clusters: [{name: eu, context: kind-eu}, {name: us}]\n"


def written(tmp_path: Path, extra: str = "", text: str = FLEET) -> str:
    path = tmp_path / "f.yaml"
    path.write_text(text.replace("REPLICAS", "1").replace("NETWORK", "true") + extra, encoding="utf-8")
    return str(path)


def found(file: str, **options: object) -> tuple[Place, ...]:
    wanted = {"context": None, "namespace": None, "cluster": None, "all_clusters": False, **options}
    return places(file, **wanted)  # type: ignore[arg-type]


def test_one_cluster_needs_no_choice(tmp_path: Path) -> None:
    (place,) = found(written(tmp_path))

    assert (place.name, place.context, place.namespace) == ("", None, "llm")


def test_several_clusters_are_chosen_by_name_or_taken_all(tmp_path: Path) -> None:
    file = written(tmp_path, CLUSTERS)

    with pytest.raises(UsageError, match="2 clusters: eu, us"):
        found(file)
    assert [(place.name, place.context) for place in found(file, cluster="us")] == [("us", "us")]
    assert [place.context for place in found(file, all_clusters=True)] == ["kind-eu", "us"]
    with pytest.raises(UsageError, match="--context names one"):
        found(file, all_clusters=True, context="x")


def test_an_option_stands_over_the_file(tmp_path: Path) -> None:
    (place,) = found(written(tmp_path), context="c", namespace="other")

    assert (place.context, place.namespace, place.site.namespace) == ("c", "other", "other")


def test_without_a_namespace_it_is_the_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with command(tmp_path, monkeypatch) as here:
        here.server.kubeconfig(tmp_path / "config", "team-a")
        (place,) = found(written(tmp_path, text=FLEET.replace(", namespace: llm", "")))

        async def look() -> str:
            async with reached(place) as target:
                return target.target.namespace

        assert asyncio.run(look()) == "team-a"


def test_a_command_that_is_stopped_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    async def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        in_loop(stopped, resumes="Do it again.")

    assert caught.value.exit_code == 130
    assert "stopped. Do it again." in capsys.readouterr().err
