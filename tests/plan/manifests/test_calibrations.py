"""Calibrations in a cluster: beside the fleet file as on any machine, and what cannot be there is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import UsageError
from penstock.facts import find_gpu, find_model
from penstock.perf import Calibration, default_calibration
from penstock.plan.manifests.calibrations import calibrations_from, config_items, config_texts
from penstock.plan.manifests.gateway import render_gateway
from penstock.plan.manifests.render import Settled, settle
from penstock.spec.loader import load_fleet
from plan.manifests.sites import CHAT, OPEN, found, site_from

H100 = default_calibration(find_gpu("H100")).to_json()
NAMED = "  hardware: {calibrations: {H100: measured/h100.json}}\n"
HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: demo}\nspec:\n"


def _settled(spec: str, files: dict[str, str]) -> Settled:
    text = HEAD + spec
    return settle(load_fleet(text, "fleet.yaml"), text, architecture_of=find_model, calibrations=files)


def _rendered(text: str = H100) -> list[Any]:
    site = _settled(CHAT + OPEN + NAMED, {"measured/h100.json": text}).site
    assert site is not None
    return list(render_gateway(site))


def test_the_gateway_finds_them_where_the_fleet_file_says() -> None:
    objects = _rendered()
    data = found(objects, "ConfigMap")["data"]
    pod = found(objects, "Deployment")["spec"]["template"]["spec"]
    (source,) = next(v for v in pod["volumes"] if v["name"] == "configuration")["projected"]["sources"]

    mounted = {item["path"]: data[item["key"]] for item in source["configMap"]["items"]}
    assert mounted.keys() == {"fleet.yaml", "measured/h100.json"}
    assert len(data) == 2
    assert "measured/h100.json" in mounted["fleet.yaml"]
    assert Calibration.from_json(mounted["measured/h100.json"]) == Calibration.from_json(H100)
    assert pod["containers"][0]["args"][:2] == ["gateway", "/etc/penstock/fleet.yaml"]


def test_other_times_restart_the_gateways_and_none_leave_everything_as_it_was() -> None:
    def note(objects: list[Any]) -> str:
        template = found(objects, "Deployment")["spec"]["template"]["metadata"]
        return str(template["annotations"]["penstock.dev/read-at-start"])

    other = H100.replace('"carried": 1.15', '"carried": 1.0')
    assert other != H100
    assert len({note(_rendered()), note(_rendered(other)), note(list(render_gateway(site_from())))}) == 3
    assert note(_rendered()) == note(_rendered())


def test_models_are_sized_with_them() -> None:
    promised = CHAT.replace("hardware:", "objectives: {itlMs: 20}, hardware:") + OPEN + NAMED
    slow = replace(Calibration.from_json(H100), carried=1.5).to_json()
    sites = [_settled(promised, {"measured/h100.json": text}).site for text in (H100, slow)]

    seats = [site.needs["chat"].concurrency for site in sites if site is not None]
    assert seats[0] > seats[1]  # what is less sure is given less at once


@pytest.mark.parametrize(
    ("spec", "files", "words"),
    [
        (NAMED, {}, "there is no file 'measured/h100.json' beside the fleet file"),
        (NAMED, {"measured/h100.json": "{}"}, "a calibration lacks name, source"),
        (NAMED, {"measured/h100.json": "nonsense"}, "a calibration cannot be read"),
        (NAMED.replace("{H100", "{H900"), {"measured/h100.json": H100}, "no GPU is known by the name 'H900'"),
        (
            NAMED + "  kubernetes: {controller: true}\n",
            {"measured/h100.json": H100},
            "the controller has the Fleet object alone",
        ),
    ],
)
def test_what_cannot_be_there_is_told_at_its_place(spec: str, files: dict[str, str], words: str) -> None:
    settled = _settled(CHAT + OPEN + spec, files)

    assert settled.site is None
    (finding,) = [one for one in settled.findings if one.at[:3] == ("spec", "hardware", "calibrations")]
    assert words in finding.message


def test_two_paths_never_share_an_entry() -> None:
    files = {"a/b.json": H100, "a.b.json": H100.replace("h100-data-sheet", "other")}
    texts = config_texts(files)

    assert len(texts) == 2
    for item in config_items(files):
        assert Calibration.from_json(texts[item["key"]]) == Calibration.from_json(files[item["path"]])


@pytest.mark.parametrize(
    "path", ["/etc/h100.json", "../h100.json", "a/../b.json", ".h100.json", "h100.yaml", "a//b.json"]
)
def test_only_files_beside_the_fleet_file_can_be_named(path: str) -> None:
    with pytest.raises(UsageError, match="calibrations"):
        load_fleet(HEAD + CHAT + f"  hardware: {{calibrations: {{H100: '{path}'}}}}\n", "fleet.yaml")


def test_those_that_cannot_be_read_are_left_out_of_the_sizing() -> None:
    fleet = load_fleet(HEAD + CHAT + NAMED, "fleet.yaml")

    assert calibrations_from(fleet, {}) == {}
    assert list(calibrations_from(fleet, {"measured/h100.json": H100})) == ["H100"]
