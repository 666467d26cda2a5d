"""The Job that fills a volume: it ends well once, or says why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fakes import hub
from fakes.hub import COMMIT, FakeHub, Repo
from fakes.models import small_model
from penstock.cli.main import app, main
from penstock.operate.storage.layout import MARKER
from penstock.plan.manifests.fetch import job_name
from penstock.plan.manifests.volumes import files_of
from plan.manifests.engines import objects_of, one, site_from

TOKEN = "kubernetes: {huggingFaceToken: {name: hub, key: token}}"


def model(fields: str = "") -> str:
    return f"{{name: m, source: Qwen/Qwen3-8B, hardware: {{gpu: H100}}{fields}}}"


def job(fields: str = "", more: str = "") -> dict[str, Any]:
    return one(objects_of(model(fields), more=more), "Job")


def pulls(body: dict[str, Any]) -> list[list[str]]:
    spec = body["spec"]["template"]["spec"]
    return [container["args"] for container in (*spec.get("initContainers", []), *spec["containers"])]


def test_it_pulls_the_source_at_its_revision_into_the_volume() -> None:
    sha = "a" * 40
    assert pulls(job(f", revision: '{sha}'")) == [
        [
            "models",
            "pull",
            "Qwen/Qwen3-8B",
            "--revision",
            sha,
            "--name",
            "Qwen--Qwen3-8B",
            "--to",
            "/models",
            "--output",
            "json",
        ],
    ]


@pytest.mark.parametrize("fields", ["", f", revision: '{'a' * 40}'", ", adapters: [{name: a, source: s3://x/a}]"])
def test_the_command_line_takes_what_the_job_says(fields: str) -> None:
    for args in pulls(job(fields)):
        models = get_command(app).commands["models"]  # type: ignore[attr-defined]
        context = models.commands["pull"].make_context("pull", list(args[2:]))
        assert context.params["source"] == args[2]
        assert context.params["current"] == ("--current" in args)


@pytest.mark.parametrize("revision", ["", f", revision: '{COMMIT}'", ", revision: v1"])
def test_what_the_job_pulls_is_where_the_engine_looks(
    revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = f"{revision}, adapters: [{{name: a, source: Qwen/Qwen3-0.6B}}]"
    site = site_from(model(fields))
    files = files_of(site, site.needs["m"])
    repos = {name: Repo(files=small_model()) for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B")}
    with hub.serving(FakeHub(repos=repos)) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        for args in pulls(job(fields)):
            assert main([word.replace("/models", str(tmp_path)) for word in args]) == 0
    capsys.readouterr()
    for place in (*files.markers, f"{files.model}/config.json", *(f"{path}/config.json" for _, path in files.adapters)):
        assert (tmp_path / place.removeprefix("/models/")).is_file(), place


def test_what_is_not_pinned_is_found_through_a_link_that_the_pull_sets() -> None:
    assert pulls(job())[0][-1] == "--current"
    assert "--current" not in pulls(job(f", revision: '{'a' * 40}'"))[0]


def test_adapters_are_pulled_first_one_after_the_other() -> None:
    found = pulls(job(", adapters: [{name: a, source: x/a}, {name: b, source: s3://x/b}]"))
    assert [args[2] for args in found] == ["x/a", "s3://x/b", "Qwen/Qwen3-8B"]


def test_a_mistake_ends_it_and_a_lost_node_does_not_count() -> None:
    spec = job()["spec"]
    fail, ignore = spec["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [2])
    assert (ignore["action"], ignore["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["backoffLimit"] > 0


def test_it_stays_when_it_is_done_so_that_applying_again_finds_it() -> None:
    assert "ttlSecondsAfterFinished" not in job()["spec"]


def test_its_name_changes_with_what_it_pulls_and_with_nothing_else() -> None:
    def name(fields: str = "", more: str = "") -> str | None:
        site = site_from(model(fields), more=more)
        return job_name(site, site.needs["m"])

    same = {name(), name(", replicas: 5"), name(", contextLength: 8192"), name(", engine: {args: {seed: 1}}")}
    assert len(same) == 1
    others = [
        name(f", revision: '{'a' * 40}'"),
        name(", adapters: [{name: a, source: x/a}]"),
        name(more="kubernetes: {image: 'mine:2'}"),
    ]
    assert len({*same, *others}) == 4


def test_only_what_pulls_has_the_token() -> None:
    objects = objects_of(model(), more=TOKEN)
    (pull,) = one(objects, "Job")["spec"]["template"]["spec"]["containers"]
    (token,) = [entry for entry in pull["env"] if entry["name"] == "HF_TOKEN"]
    assert token["valueFrom"]["secretKeyRef"] == {"name": "hub", "key": "token"}
    assert "hub" not in str(one(objects, "Deployment"))


def test_mirrors_and_proxies_of_the_engine_hold_for_the_pull_and_the_rest_does_not() -> None:
    variables = "HF_ENDPOINT: 'http://mirror', https_proxy: 'http://p', VLLM_LOGGING_LEVEL: DEBUG, HF_TOKEN: hf_x"
    fields = f", engine: {{env: {{{variables}}}}}"
    (pull,) = job(fields)["spec"]["template"]["spec"]["containers"]
    names = {entry["name"] for entry in pull["env"]}
    assert {"HF_ENDPOINT", "https_proxy"} <= names
    assert not {"VLLM_LOGGING_LEVEL", "HF_TOKEN"} & names


def test_the_deadline_is_long_enough_for_a_slow_line() -> None:
    site = site_from(model())
    assert job()["spec"]["activeDeadlineSeconds"] >= site.needs["m"].source_bytes / 20e6


def test_the_engine_waits_for_the_marker_of_the_store() -> None:
    site = site_from(model())
    assert all(path.endswith(f"/{MARKER}") for path in files_of(site, site.needs["m"]).markers)
