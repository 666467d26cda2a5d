"""`--calibration`: each file goes with its GPU, and what can't be read is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.cli.calibrations import calibrations_of
from penstock.cli.front_door import Listeners, load
from penstock.cli.main import main
from penstock.cli.simulate_asks import SimulateOptions, read_asks
from penstock.errors import UsageError
from penstock.facts import find_gpu
from penstock.perf import default_calibration
from penstock.spec.loader import load_fleet


def written(tmp_path: Path) -> str:
    path = tmp_path / "measured.json"
    path.write_text(default_calibration(find_gpu("H100")).to_json())
    return str(path)


def test_each_file_goes_with_its_gpu_whatever_its_case(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert list(calibrations_of([f"h100={path}", f"L4={path}"])) == ["H100", "L4"]
    assert calibrations_of([]) == {}


def test_the_gpu_may_be_left_out_where_one_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert list(calibrations_of([path], ["H200"])) == ["H200"]
    with pytest.raises(UsageError, match="for which GPU"):
        calibrations_of([path])


FLEET = """\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {name: shop}
spec:
  hardware: {calibrations: {H100: times/h100.json}}
  gateway: {auth: {anonymous: true}}
  models:
    - {name: chat, source: Qwen/Qwen3-8B, contextLength: 4096, hardware: {gpu: H100}}
"""


def fleet_in(folder: Path, name: str = "ours") -> Path:
    """A fleet file with its calibration beside it."""
    (folder / "times").mkdir(exist_ok=True)
    measured = replace(default_calibration(find_gpu("H100")), name=name)
    (folder / "times" / "h100.json").write_text(measured.to_json(), encoding="utf-8")
    path = folder / "fleet.yaml"
    path.write_text(FLEET, encoding="utf-8")
    return path


def test_the_files_that_the_fleet_file_names_hold_where_none_is_given(tmp_path: Path) -> None:
    path = fleet_in(tmp_path)
    fleet = load_fleet(FLEET, str(path))

    assert calibrations_of([], fleet=fleet, folder=tmp_path)["H100"].name == "ours"
    given = calibrations_of([f"H100={written(tmp_path)}"], fleet=fleet, folder=tmp_path)
    assert given["H100"].name == "h100-data-sheet"
    with pytest.raises(UsageError, match=r"spec\.hardware\.calibrations\.H100: .*h100\.json") as missing:
        calibrations_of([], fleet=fleet, folder=tmp_path / "elsewhere")
    assert missing.value.hint == "`penstock calibrate URL --gpu H100 --out times/h100.json` writes one"


def test_plan_simulate_and_gateway_use_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fleet_in(tmp_path)

    assert main(["plan", str(path), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"][0]["calibration"]["name"] == "ours"
    asked = read_asks(SimulateOptions(file=str(path), profile="chat", duration_s=1.0))
    assert asked.scenarios[0].engine.calibration is not None
    assert asked.scenarios[0].engine.calibration.name == "ours"
    assert load(str(path), Listeners(listen=None, admin=None)).calibrations["H100"].name == "ours"


def test_what_is_rendered_is_what_the_gateway_reads_in_its_pod(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(fleet_in(tmp_path)), "--output", "json"]) == 0
    objects = json.loads(capsys.readouterr().out)
    data = next(o["data"] for o in objects if o["kind"] == "ConfigMap" and "fleet.yaml" in o["data"])
    pod = next(o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"].endswith("gateway"))
    volumes = {volume["name"]: volume for volume in pod["spec"]["template"]["spec"]["volumes"]}
    for item in volumes["configuration"]["projected"]["sources"][0]["configMap"]["items"]:  # as the kubelet does
        mounted = tmp_path / "pod" / item["path"]
        mounted.parent.mkdir(parents=True, exist_ok=True)
        mounted.write_text(data[item["key"]], encoding="utf-8")

    assert (
        load(str(tmp_path / "pod" / "fleet.yaml"), Listeners(listen=None, admin=None)).calibrations["H100"].name
        == "ours"
    )


def test_a_file_that_is_not_there_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fleet_in(tmp_path)
    (tmp_path / "times" / "h100.json").unlink()

    assert main(["render", str(path)]) == 2
    error = capsys.readouterr().err
    assert "fleet.yaml:5" in error
    assert "there is no file 'times/h100.json' beside the fleet file" in error


def test_what_is_no_calibration_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(UsageError):
        calibrations_of([f"H100={wrong}"])
    with pytest.raises(UsageError):
        calibrations_of([f"no-such-gpu={written(tmp_path)}"])
