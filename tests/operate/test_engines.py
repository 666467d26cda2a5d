"""Which engine runs, why, and with which command."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from typer.main import get_command

from penstock.cli.main import app
from penstock.errors import Problem, SpecError, StartError
from penstock.operate.engines import SIMULATED_FLAGS, EngineFacts, EnginePlan, looks_like_path, plan_engine
from penstock.spec import ModelSpec
from penstock.spec.base import FieldPath

BARE = EngineFacts(
    python="/venv/bin/python",
    vllm_command=None,
    vllm_absence="vllm is not installed in /venv: /venv/bin/pip install vllm",
    source_path=None,
)
FULL = EngineFacts(
    python="/venv/bin/python",
    vllm_command="/venv/bin/vllm",
    source_path="/models/tiny",
    is_model_folder=True,
)


def model(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"name": "chat", "source": "Qwen/Qwen3-8B", **fields})


def report(at: FieldPath, message: str, hint: str) -> Problem:
    return Problem(file="fleet.yaml", line=7, column=3, field=repr(at), message=message, hint=hint)


def planned(spec: ModelSpec, facts: EngineFacts = BARE) -> EnginePlan:
    return plan_engine(spec, facts, at=("spec", "models", 0), report=report)


def test_auto_takes_vllm_where_it_is_installed_and_the_source_is_a_model_folder() -> None:
    plan = planned(model(source="/models/tiny"), FULL)
    assert plan.kind == "vllm"
    assert plan.reason == "/venv/bin/vllm is installed and /models/tiny is a model folder"
    assert plan.command(port=4001, ready_file="unused") == [
        *("/venv/bin/vllm", "serve", "/models/tiny", "--host", "127.0.0.1", "--port", "4001"),
        *("--served-model-name", "chat"),
    ]
    assert dict(plan.env) == {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    assert not plan.writes_ready_file


def test_auto_without_vllm_simulates_and_says_what_installs_it() -> None:
    plan = planned(model())
    assert plan.kind == "simulated"
    assert plan.reason == "vllm is not installed in /venv: /venv/bin/pip install vllm"
    assert plan.writes_ready_file


def test_auto_with_vllm_but_a_hub_name_simulates_and_says_so() -> None:
    plan = planned(model(), replace(FULL, source_path=None, is_model_folder=False))
    assert (plan.kind, plan.reason) == ("simulated", "source Qwen/Qwen3-8B is not a folder on this machine")


def test_the_simulated_engine_is_told_model_source_gpu_and_where_to_say_its_port() -> None:
    plan = planned(model(hardware={"gpu": "L4"}, engine={"speed": 10, "args": {"max-model-len": 8192}}))
    assert plan.command(port=0, ready_file="/state/chat-0.json") == [
        *("/venv/bin/python", "-m", "penstock", "engine", "--model", "chat", "--source", "Qwen/Qwen3-8B"),
        *("--gpu", "L4", "--task", "auto", "--host", "127.0.0.1", "--port", "0", "--speed", "10.0"),
        *("--ready-file", "/state/chat-0.json", "--max-model-len", "8192"),
    ]


def test_the_simulated_engine_of_a_local_model_reads_its_folder() -> None:
    plan = planned(model(source="./tiny", engine={"type": "simulated"}), FULL)
    assert plan.reason == "the file asks for it (engine.type: simulated)"
    assert plan.argv[plan.argv.index("--source") + 1] == "/models/tiny"


def test_vllm_that_was_asked_for_and_cannot_run_is_an_error_and_no_simulation() -> None:
    with pytest.raises(StartError, match=r"fleet.yaml:7:3: .*'engine', 'type'.*pip install vllm"):
        planned(model(engine={"type": "vllm"}))
    with pytest.raises(StartError, match="is not a folder on this machine"):
        planned(model(engine={"type": "vllm"}), replace(FULL, source_path=None, is_model_folder=False))


@pytest.mark.parametrize("source", ["/models/gone", "./gone", "../gone", "~/gone"])
@pytest.mark.parametrize("kind", ["auto", "vllm", "simulated"])
def test_a_path_that_does_not_exist_is_a_mistake_whatever_the_engine(source: str, kind: str) -> None:
    with pytest.raises(SpecError) as caught:
        planned(model(source=source, engine={"type": kind}))
    (problem,) = caught.value.problems
    assert problem.field == repr(("spec", "models", 0, "source"))
    assert problem.message == f"the model path {source!r} does not exist"


def test_a_path_without_a_config_is_not_taken_for_a_model() -> None:
    with pytest.raises(SpecError, match=r"/models/empty is not a model folder: it has no config.json"):
        planned(model(source="/models/empty"), replace(BARE, source_path="/models/empty"))


def test_a_gpu_that_nobody_knows_is_a_mistake_at_its_place_with_the_nearest_names() -> None:
    with pytest.raises(SpecError) as caught:
        planned(model(hardware={"gpu": "H10O"}))
    (problem,) = caught.value.problems
    assert problem.field == repr(("spec", "models", 0, "hardware", "gpu"))
    assert "'H10O'" in problem.message
    assert "H100" in (problem.hint or "")


def test_a_model_that_is_not_known_is_simulated_by_its_size_with_a_note() -> None:
    assert planned(model()).notes == ()
    (note,) = planned(model(source="acme/Roadrunner-8B")).notes
    assert note == "the model acme/Roadrunner-8B is not known here: simulated as one of 8.0 B parameters"


def test_what_looks_like_a_path() -> None:
    assert all(map(looks_like_path, ["/m", "./m", "../m", "~/m", ".", ".."]))
    assert not any(map(looks_like_path, ["Qwen/Qwen3-8B", "models/tiny", ".hidden", "gpt2", "~user"]))


def test_flags_follow_the_meaning_of_their_values() -> None:
    args = {"enforce-eager": True, "enable-prefix-caching": False, "lora-modules": ["a=b", "c=d"], "seed": -1, "x_y": 2}
    plan = planned(model(source="/models/tiny", engine={"args": args}), FULL)
    assert plan.argv[plan.argv.index("chat") + 1 :] == (
        *("--enforce-eager", "--no-enable-prefix-caching", "--lora-modules", "a=b", "c=d", "--seed=-1", "--x-y", "2"),
    )


def test_gpus_become_tensor_parallelism_unless_the_file_says_otherwise() -> None:
    def size(**fields: Any) -> str | None:
        argv = planned(model(source="/models/tiny", **fields), FULL).argv
        place = argv.index("--tensor-parallel-size") if "--tensor-parallel-size" in argv else None
        return argv[place + 1] if place is not None else None

    assert size() is None
    assert size(hardware={"count": 4}) == "4"
    assert size(hardware={"count": 4, "tensorParallel": 2}) == "2"
    assert size(hardware={"count": 4}, engine={"args": {"tensor-parallel-size": 1}}) == "1"
    assert size(hardware={"count": 4}, engine={"args": {"tensor-parallel-size": None}}) is None


def test_flags_that_the_simulated_engine_does_not_know_are_dropped_with_a_note() -> None:
    plan = planned(
        model(engine={"args": {"enforce-eager": True, "max-num-seqs": 4, "attention-backend": "FLASHINFER"}})
    )
    assert "--max-num-seqs" in plan.argv
    assert "--enforce-eager" not in plan.argv
    assert plan.notes == ("the simulated engine has no use for attention-backend, enforce-eager: dropped",)


def test_every_flag_that_is_passed_on_is_one_that_the_simulated_engine_takes() -> None:
    (engine,) = [command for command in get_command(app).commands.values() if command.name == "engine"]
    taken = {option.removeprefix("--") for param in engine.params for option in (*param.opts, *param.secondary_opts)}
    assert taken >= SIMULATED_FLAGS
    assert taken >= {word.removeprefix("--") for word in planned(model()).argv if word.startswith("--")}


def test_flags_that_are_ours_are_not_taken_from_the_file() -> None:
    plan = planned(model(source="/models/tiny", engine={"args": {"port": 9000, "host": "0.0.0.0"}}), FULL)
    assert "9000" not in plan.argv
    assert "0.0.0.0" not in plan.argv
    assert len(plan.notes) == 2
    assert "each replica gets a free port" in plan.notes[0]


def test_the_files_environment_wins_over_ours() -> None:
    plan = planned(model(source="/models/tiny", engine={"env": {"HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}}), FULL)
    assert dict(plan.env) == {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1"}


def test_the_revision_names_what_the_process_is_started_with_and_nothing_else() -> None:
    base = planned(model()).revision
    assert planned(model()).revision == base
    for same in (
        {"replicas": 5},
        {"aliases": ["other"]},
        {"objectives": {"ttftMs": 1}},
        {"engine": {"startTimeoutS": 5, "stopTimeoutS": 6}},
    ):
        assert planned(model(**same)).revision == base, same
    for other in (
        {"source": "Qwen/Qwen3-4B"},
        {"hardware": {"gpu": "L4"}},
        {"engine": {"args": {"seed": 1}}},
        {"engine": {"env": {"A": "1"}}},
        {"engine": {"speed": 2}},
    ):
        assert planned(model(**other)).revision != base, other


def test_what_a_model_says_of_itself_becomes_flags_of_its_engine() -> None:
    said = model(
        source="/models/m",
        contextLength=8192,
        concurrency=64,
        quantization="fp8",
        kvCacheDtype="fp8",
        hardware={"count": 4, "pipelineParallel": 2},
    )
    argv = planned(said, FULL).argv

    for flag, value in (
        ("--max-model-len", "8192"),
        ("--max-num-seqs", "64"),
        ("--quantization", "fp8"),
        ("--kv-cache-dtype", "fp8"),
        ("--tensor-parallel-size", "2"),
        ("--pipeline-parallel-size", "2"),
    ):
        assert argv[argv.index(flag) + 1] == value
