"""`penstock models pull`: what is asked for, of one source or of a fleet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.models_place import FLEET, filled, fleet_file
from fakes import hub
from fakes.hub import COMMIT, FakeHub, Repo
from fakes.models import small_model, write
from penstock.cli.main import main
from penstock.cli.models_pull import fleet_sources, is_fleet_file
from penstock.errors import UsageError

DIGEST = "sha256:" + "a" * 64


def test_a_fleet_file_is_known_by_its_name() -> None:
    assert [is_fleet_file(text) for text in ("fleet.yaml", "f.yml", "-", "org/name", "./folder")] == [True] * 3 + [
        False
    ] * 2


def test_each_source_of_a_fleet_is_asked_for_once(tmp_path: Path) -> None:
    [asked] = fleet_sources(fleet_file(tmp_path))

    assert (str(asked.source), asked.models) == ("org/tiny@r1", ("chat", "chat-again"))


def test_adapters_are_asked_for_too(tmp_path: Path) -> None:
    adapters = "\n      adapters: [{name: law, source: org/law, revision: v2}]"
    file = fleet_file(tmp_path, FLEET.replace("revision: r1", f"revision: r1{adapters}", 1))

    assert [(str(a.source), a.models) for a in fleet_sources(file)] == [
        ("org/law@v2", ("chat",)),
        ("org/tiny@r1", ("chat", "chat-again")),
    ]


def test_one_model_of_a_fleet_is_chosen_and_another_name_is_told(tmp_path: Path) -> None:
    file = fleet_file(tmp_path)

    assert fleet_sources(file, ["elsewhere"]) == []
    with pytest.raises(UsageError, match="has no model 'chatt'") as refusal:
        fleet_sources(file, ["chatt"])
    assert "chat, chat-again, elsewhere" in (refusal.value.hint or "")


def test_a_fleet_is_pulled_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FLEET.replace("r1", COMMIT) + f"    - name: local\n      source: {tmp_path}/local\n"
    with hub.serving(FakeHub(repos={"org/tiny": Repo(files=small_model())})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        assert main(["models", "pull", fleet_file(tmp_path, text), f"--to={tmp_path / 's'}", "-o", "json"]) == 0

    out, err = capsys.readouterr()
    [done] = json.loads(out)["models"]
    assert (done["name"], done["revision"]) == ("org--tiny", COMMIT)
    assert done["path"] == str(tmp_path / "s" / "org--tiny" / COMMIT)
    assert f"local: served from the folder {tmp_path}/local: nothing to pull" in err


def test_a_failure_after_the_first_model_still_prints_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = FLEET.replace("r1", "main") + "    - {name: gone, source: org/gone, revision: main}\n"
    with hub.serving(FakeHub(repos={"org/tiny": Repo(files=small_model())})) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        assert main(["models", "pull", fleet_file(tmp_path, text), f"--to={tmp_path / 's'}", "-o", "json"]) == 2

    assert [m["name"] for m in json.loads(capsys.readouterr().out)["models"]] == ["org--tiny"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fleet.yaml", "--revision", "x"], "go with one source"),
        (["org/name", "--model", "x"], "--model goes with a fleet file"),
        (["org/name@a", "--revision", "b"], "names revision a, and --revision b"),
        (["org/name", "--name", "a/b"], "cannot name a folder"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "pull", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_pinned_artifact_that_is_there_needs_no_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["models", "pull", "oci://127.0.0.1:9/org/m:v1", "--revision", DIGEST, f"--to={tmp_path}"]
    [done] = filled(tmp_path, DIGEST)
    record = Path(done.path) / ".penstock-model.json"
    record.write_text(record.read_text().replace('"org/tiny"', '"oci://127.0.0.1:9/org/m"'))
    (tmp_path / "org--tiny").rename(tmp_path / "org--m")

    assert main(words) == 0
    assert "is there and valid" in capsys.readouterr().err


def test_a_name_of_ones_own_is_the_folder(tmp_path: Path) -> None:
    source = write(small_model(), tmp_path / "m")

    assert main(["models", "pull", str(source), "--name", "mine", "--revision", "v1", f"--to={tmp_path / 's'}"]) == 0
    assert (tmp_path / "s" / "mine" / "v1" / "config.json").exists()


def test_a_folder_that_reads_like_a_hub_name_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(small_model(), tmp_path / "org" / "tiny")
    monkeypatch.chdir(tmp_path)
    with hub.serving(FakeHub()) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        assert main(["models", "pull", "org/tiny"]) == 2

    assert "the folder org/tiny here is written ./org/tiny" in capsys.readouterr().err
