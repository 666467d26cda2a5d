"""How the engine is started: flags in every place that people write them."""

from __future__ import annotations

import pytest

from operate.doctor.faults import FLAGS, Fault, assert_found_alone, codes, examined
from penstock.operate.doctor import Severity, check, evidence_of_text


@pytest.mark.parametrize("fault", FLAGS, ids=lambda fault: fault.name)
def test_each_fault_is_found_alone_and_at_its_line(fault: Fault) -> None:
    assert_found_alone(fault)


def container(image: str, args: str) -> str:
    head = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n    - name: b\n "
    return head + f"     image: {image}\n{args}"


def test_an_engine_that_still_has_a_flag_may_use_it() -> None:
    found = examined(
        container("vllm/vllm-openai:v0.10.1", "      args: [--model, a/b, --disable-log-requests]\n"), "a.yaml"
    )

    assert [(f.rule.code, f.severity.value) for f in found.findings] == [("PS144", "warning"), ("PS002", "info")]
    assert "0.12.0 does not start with it" in found.findings[1].message


def test_the_version_asked_for_stands_in_for_an_image_that_does_not_tell() -> None:
    text = container("registry.example.com/llm:7", "      command: [vllm, serve, a/b, --num-scheduler-steps, '8']\n")

    assert codes(check(evidence_of_text(text, "a.yaml"), engine_version="0.9.0")) == []
    assert codes(check(evidence_of_text(text, "a.yaml"))) == ["PS003"]


def test_an_image_that_does_not_tell_its_version_gives_a_warning_not_an_error() -> None:
    text = container("registry.example.com/llm:7", "      command: [vllm, serve, a/b, --num-scheduler-steps, '8']\n")

    (finding,) = examined(text, "a.yaml").findings

    assert finding.severity is Severity.WARNING
    assert "does not tell its version" in finding.message


@pytest.mark.parametrize(
    "args",
    [
        '      command: [sh, -c, "exec vllm serve a/b --disable-log-requests"]\n',
        "      command: [/bin/bash, -c]\n      args:\n        - |\n          set -e\n         "
        " vllm serve a/b \\\n            --disable-log-requests\n",
        "      args: [a/b, --disable_log_requests]\n",
        '      args: ["--model=a/b", "$(EXTRA)"]\n      env: [{name: EXTRA, value: --disable-log-requests}]\n',
        '      command: [sh, -c, "vllm serve a/b $EXTRA"]\n      env: [{name: EXTRA, value:'
        ' "--seed 1 --disable-log-requests"}]\n',
    ],
)
def test_a_flag_is_found_however_it_is_written(args: str) -> None:
    assert codes(examined(container("vllm/vllm-openai:v0.32.0", args), "a.yaml")) == ["PS002"]


@pytest.mark.parametrize(
    "text",
    [
        "engine:\n  extraArgs:\n    - --disable-log-requests\n",
        "vllmArgs: --max-model-len 8 --disable-log-requests\n",
        "max-model-len: 8192\ntensor-parallel-size: 2\ndisable-log-requests: true\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  run.sh: |\n    vllm serve"
        " a/b --disable-log-requests\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  ARGS: --max-model-len=8"
        " --disable-log-requests\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec:\n "
        " source:\n    helm:\n      values: |\n"
        "        servingEngineSpec:\n          modelSpec:\n            - name: a\n             "
        " vllmConfig: {enablePrefixCaching: true, extraArgs: [--disable-log-requests]}\n",
        "services:\n  a:\n    image: vllm/vllm-openai:v0.32.0\n    command: [--model, a/b, --disable-log-requests]\n",
    ],
)
def test_a_flag_is_found_wherever_it_lies(text: str) -> None:
    assert codes(examined(text, "a.yaml")) == ["PS002"]


def test_a_lone_flag_of_another_program_is_not_the_engine_s() -> None:
    assert codes(examined("args: [--device, cuda, --task, embed, --seed, '1']\n", "a.yaml")) == []


def test_no_message_holds_a_token() -> None:
    text = container("vllm/vllm-openai:v0.32.0", "      env: [{name: HF_TOKEN, value: hf_abcdefghijklmnopqrstuvwx}]\n")

    (finding,) = examined(text, "a.yaml").findings

    assert finding.rule.code == "PS143"
    assert "hf_abc" not in repr(finding)


def test_a_model_whose_code_is_pinned_to_a_commit_may_run_it() -> None:
    text = container("vllm/vllm-openai:v0.32.0", f"      args: [a/b, --trust-remote-code, --revision, {'a' * 40}]\n")

    assert codes(examined(text, "a.yaml")) == []
