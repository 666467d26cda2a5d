"""Every example is a fleet file that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.rendering import load_sites
from penstock.plan.manifests.render import render
from penstock.spec.loader import load_fleet
from plan.manifests.validation import problems_of

FOLDER = Path(__file__).resolve().parents[1] / "examples"
EXAMPLES = sorted([*FOLDER.glob("*.yaml"), *(FOLDER / "kubernetes").glob("*.yaml")])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_is_named_for_its_file(path: Path) -> None:
    fleet = load_fleet(path.read_text(encoding="utf-8"), path.name)

    assert fleet.metadata.name == path.stem


@pytest.mark.parametrize("path", sorted((FOLDER / "kubernetes").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_for_a_cluster_renders_without_a_problem(path: Path) -> None:
    for site in load_sites(str(path)):
        assert problems_of(render(site).objects) == []


def test_the_smallest_example_is_six_lines() -> None:
    assert len((FOLDER / "one-model.yaml").read_text(encoding="utf-8").splitlines()) == 6


def test_the_quickstart_keeps_the_key_that_the_documentation_names() -> None:
    fleet = load_fleet((FOLDER / "quickstart.yaml").read_text(encoding="utf-8"), "quickstart.yaml")

    keys = [key.value.get_secret_value() for t in fleet.spec.gateway.tenants for key in t.keys if key.value is not None]
    assert keys == ["penstock-demo"]
    assert (fleet.spec.gateway.listen, fleet.spec.gateway.admin) == ("127.0.0.1:8080", "127.0.0.1:8081")
