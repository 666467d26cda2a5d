"""Every example is a fleet file that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.spec.loader import load_fleet

FOLDER = Path(__file__).resolve().parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_is_named_for_its_file(path: Path) -> None:
    fleet = load_fleet(path.read_text(encoding="utf-8"), path.name)

    assert fleet.metadata.name == path.stem


def test_the_smallest_example_is_six_lines() -> None:
    assert len((FOLDER / "one-model.yaml").read_text(encoding="utf-8").splitlines()) == 6


def test_the_quickstart_keeps_the_key_that_the_documentation_names() -> None:
    fleet = load_fleet((FOLDER / "quickstart.yaml").read_text(encoding="utf-8"), "quickstart.yaml")

    keys = [key.value.get_secret_value() for t in fleet.spec.gateway.tenants for key in t.keys if key.value is not None]
    assert keys == ["penstock-demo"]
    assert (fleet.spec.gateway.listen, fleet.spec.gateway.admin) == ("127.0.0.1:8080", "127.0.0.1:8081")
