# ruff: noqa: E501 — manifests in one text
"""Running rules: order, severities, comments, and rules that fail."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from operate.doctor.faults import FIXTURES, SCALING, codes, examined, read
from penstock.operate.doctor import (
    Evidence,
    Severity,
    Snippet,
    check,
    evidence_of_text,
    find_rule,
    joined,
    resource_of,
)

BAD = "args:\n  - --max-num-seqs=4\n  - --swap-space=4\n  - --disable-log-requests\n"


def test_findings_come_in_the_order_of_the_file() -> None:
    assert codes(examined(BAD, "a.yaml")) == ["PS101", "PS002"]


def test_files_come_in_the_order_of_their_names() -> None:
    report = check(joined([evidence_of_text(BAD, "b.yaml"), evidence_of_text(BAD, "a.yaml")]))

    assert [f.where.file for f in report.findings] == ["a.yaml"] * 2 + ["b.yaml"] * 2


def test_lesser_findings_can_be_left_out() -> None:
    evidence = evidence_of_text("args: [--max-num-seqs=4, --no-enable-prefix-caching, --swap-space=4]\n", "a.yaml")

    assert codes(check(evidence)) == ["PS004", "PS101"]
    assert codes(check(evidence, least=Severity.ERROR)) == ["PS101"]


def test_only_the_rules_given_are_run() -> None:
    assert codes(check(evidence_of_text(BAD, "a.yaml"), rules=[find_rule("PS002")])) == ["PS002"]


def test_a_comment_waves_one_finding_through_and_it_is_counted() -> None:
    text = BAD.replace("--swap-space=4", "--swap-space=4  # penstock: ignore PS101 for the old one")

    report = examined(text, "a.yaml")

    assert codes(report) == ["PS002"]
    assert report.ignored == 1
    assert codes(examined(f"# penstock: ignore-file PS002, PS101\n{BAD}", "a.yaml")) == []


def test_a_rule_that_fails_is_told_and_the_others_go_on() -> None:
    def broken(case: object) -> list[object]:
        raise KeyError("x")

    rules = [replace(find_rule("PS003"), check=broken), find_rule("PS002")]  # type: ignore[arg-type]
    report = check(evidence_of_text(BAD, "a.yaml"), rules=rules)

    assert codes(report) == ["PS002"]
    assert "PS003-num-scheduler-steps failed" in report.problems[0].message


def test_what_fails_depends_on_the_bar() -> None:
    report = examined(read("stack.yaml").replace("vllm-openai:v0.32.0", "vllm-openai:latest"), "a.yaml")

    assert [report.fails(bar) for bar in (Severity.ERROR, Severity.WARNING, Severity.INFO, None)] == [
        False,
        True,
        True,
        False,
    ]
    assert report.count(Severity.WARNING) == 1


def test_a_live_cluster_is_judged_by_the_same_rules() -> None:
    pod = resource_of(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"},
            "spec": {"containers": [{"name": "v", "image": "vllm/vllm-openai:v0.32.0", "args": ["m", "--swap-space=4"]}]},
        }
    )  # fmt: skip
    log = Snippet(kind="log", file="", object="n/Pod/a", text="RuntimeError: No CUDA GPUs are available\n")

    report = check(Evidence(resources=(pod,), snippets=(log,)))

    assert sorted((f.rule.code, f.where.object) for f in report.findings) == [
        ("PS101", "n/Pod/a spec.containers[0].args[1]"),
        ("PS234", "n/Pod/a"),
    ]


def test_the_same_input_gives_the_same_findings_whatever_the_hash_seed() -> None:
    program = (
        "from operate.doctor.faults import ALL, examined\n"
        "print([(f.rule.id, str(f.where), f.message) for x in ALL[::6] for f in examined(x.text,"
        " x.fixture).findings])\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True, check=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip

    assert len(outputs) == 1


def test_rules_look_across_files() -> None:
    fault = next(f for f in SCALING if f.rule == "PS011")
    parts = fault.text.split("---\napiVersion: autoscaling/v2\n")

    report = check(
        joined(
            [
                evidence_of_text(parts[0], "a.yaml"),
                evidence_of_text(f"apiVersion: autoscaling/v2\n{parts[1]}", "b.yaml"),
            ]
        )
    )

    assert [(f.rule.code, f.where.file) for f in report.findings] == [("PS011", "b.yaml")]


ODD: tuple[object, ...] = (None, [], {}, "", "x", -1, 1e300, True, [None], {"a": None}, "$(X)", "100%", float("nan"))


def paths(value: object, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, inner in items for path in paths(inner, (*at, key)))]


@pytest.mark.parametrize("seed", range(8))
def test_no_odd_value_makes_a_rule_fail(seed: int) -> None:
    rng = random.Random(seed)
    values = [
        copy.deepcopy(resource.value)
        for name in ("stack.yaml", "small.yaml", "values.yaml", "cluster.yaml", "fleet.yaml")
        for resource in evidence_of_text(read(name), name).resources
    ]
    for _ in range(20):
        changed = copy.deepcopy(values)
        for _ in range(rng.randint(1, 12)):
            holder = rng.choice(changed)
            *way, last = rng.choice([path for path in paths(holder) if path])
            for key in way:
                holder = holder[key]
            holder[last] = copy.deepcopy(rng.choice(ODD))

        report = check(Evidence(resources=tuple(resource_of(value) for value in changed)))

        assert report.problems == ()


@pytest.mark.parametrize("seed", range(8))
def test_no_torn_text_makes_a_rule_fail(seed: int) -> None:
    rng = random.Random(seed)
    for path in sorted(FIXTURES.iterdir()):
        text = read(path.name)
        start = rng.randrange(len(text))
        torn = text[:start] + text[start + rng.randint(1, 40) :]

        report = examined(torn, path.name)

        assert [p.message for p in report.problems if "failed on these files" in p.message] == []


def _killed(name: str, owner: str = "") -> dict[str, object]:
    metadata: dict[str, object] = {"name": name, "namespace": "llm"}
    if owner:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "controller": True}]
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    status = {"containerStatuses": [{"name": "c", "lastState": last, "restartCount": 1}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def test_replicas_that_say_the_same_are_one_finding_at_the_first() -> None:
    pods = [_killed("r-3", "r"), _killed("r-1", "r"), _killed("r-2", "r"), _killed("s-1", "s"), _killed("alone")]

    found = check(Evidence(resources=tuple(resource_of(pod) for pod in pods))).findings

    said = "was killed for host memory, not for GPU memory"
    assert [f.message for f in found] == [
        f"container c of pod alone {said}",
        f"container c of pod r-1 {said} (and 2 more pods of llm/ReplicaSet/r)",
        f"container c of pod s-1 {said}",
    ]
