"""An engine's flags: the file's over ours, each with one meaning."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.plan.engine_command import (
    SIMULATED_FLAGS,
    field_flags,
    flag_words,
    joined_words,
    merged_flags,
    simulated_flags,
)
from penstock.spec import ModelSpec

OURS = {"port": "the Service names it"}


def model(**fields: Any) -> ModelSpec:
    return ModelSpec.model_validate({"name": "chat", "source": "Qwen/Qwen3-8B", **fields})


def merged(args: dict[str, Any], defaults: dict[str, str] | None = None, version: str | None = None) -> list[str]:
    found = merged_flags(model(engine={"args": args}), defaults or {}, owned=OURS, version=version)
    return flag_words(found.flags)


def test_values_mean_flags() -> None:
    args = {
        "enforce-eager": True,
        "enable-prefix-caching": False,
        "seed": -1,
        "max_num_seqs": 8,
        "middleware": ["a", "b"],
    }
    assert merged(args) == [
        *(
            "--enforce-eager",
            "--no-enable-prefix-caching",
            "--seed=-1",
            "--max-num-seqs",
            "8",
            "--middleware",
            "a",
            "b",
        ),
    ]


def test_the_file_stands_over_our_flags_and_null_removes_one() -> None:
    assert merged({"max-num-seqs": 8, "dtype": None}, {"max-num-seqs": "4", "dtype": "float16"}) == [
        "--max-num-seqs",
        "8",
    ]


def test_a_flag_of_ours_alone_is_not_taken_and_the_note_says_why() -> None:
    found = merged_flags(model(engine={"args": {"port": 9000}}), {}, owned=OURS)
    assert found.flags == {}
    assert found.notes == ("engine flag port is not taken from the file: the Service names it",)


def test_a_flag_that_the_stated_version_does_not_start_with_is_left_out_with_its_replacement() -> None:
    spec = model(engine={"args": {"disable-log-requests": True, "num-scheduler-steps": 8, "seed": 1}})
    found = merged_flags(spec, {}, owned=OURS, version="0.32.0")
    assert found.flags == {"seed": ["1"]}
    assert len(found.notes) == 2
    assert "disable-log-requests is left out: vLLM 0.32.0 has no --disable-log-requests" in found.notes[0]
    assert merged({"disable-log-requests": True}) == ["--disable-log-requests"], "without a version nothing is known"


def test_code_of_the_model_is_run_only_where_the_file_says_so() -> None:
    assert merged({}) == []
    trusting = model(trustRemoteCode=True, revision="a" * 40)
    assert flag_words(merged_flags(trusting, {}, owned=OURS).flags) == ["--trust-remote-code"]


def test_fields_say_flags_too() -> None:
    spec = model(contextLength=8192, hardware={"gpu": "H100", "count": 4, "pipelineParallel": 2})
    assert field_flags(spec) == {
        "max-model-len": "8192",
        "tensor-parallel-size": "2",
        "pipeline-parallel-size": "2",
    }


def test_the_simulated_engine_keeps_what_it_takes_and_says_what_it_drops() -> None:
    spec = model(engine={"args": {"max-num-seqs": 4, "enforce-eager": True, "attention-backend": "FLASHINFER"}})
    found = simulated_flags(merged_flags(spec, {}, owned=OURS))
    assert found.flags == {"max-num-seqs": ["4"]}
    assert found.notes == ("the simulated engine has no use for attention-backend, enforce-eager: dropped",)


def test_joined_words_put_a_single_value_to_its_flag() -> None:
    flags: dict[str, list[str]] = {"enable-lora": [], "seed": ["-1"], "lora-modules": ["a=b", "c=d"]}
    words = [word for _, word in joined_words(flags)]
    assert words == ["--enable-lora", "--seed=-1", "--lora-modules", "a=b", "c=d"]


@given(st.dictionaries(st.sampled_from(sorted(SIMULATED_FLAGS)), st.one_of(st.booleans(), st.none(), st.integers())))
def test_a_flag_never_stands_there_with_its_opposite(args: dict[str, Any]) -> None:
    found = merged_flags(model(engine={"args": args}), {}, owned={})
    forms = [name.removeprefix("no-") for name in found.flags]
    assert all(forms.count(name) == 1 or {name, f"no-{name}"} <= set(args) for name in forms)
