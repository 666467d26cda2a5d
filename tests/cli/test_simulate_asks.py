"""From a fleet file and options to scenarios: what holds over what, and refusals at their line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.cli.simulate_asks import SimulateOptions, read_asks
from penstock.errors import SpecError, UsageError

HEAD = "apiVersion: penstock.dev/v1alpha1\nkind: Fleet\nmetadata: {name: shop}\nspec:\n"
CHAT = """\
  models:
    - name: chat
      source: Qwen/Qwen3-8B
      aliases: [gpt-4o-mini]
      replicas: 3
      hardware: {gpu: H100}
      contextLength: 8192
      objectives: {ttftMs: 500, itlMs: 50}
"""


def _options(folder: Path, text: str, **more: Any) -> SimulateOptions:
    path = folder / "fleet.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return SimulateOptions(**({"file": str(path), "profile": "chat", "duration_s": 5.0} | more))


def test_the_file_is_what_runs_where_no_option_is_given(tmp_path: Path) -> None:
    asked = read_asks(_options(tmp_path, CHAT))

    (one,) = asked.scenarios
    assert (one.replicas, one.engine.gpu.name, one.engine.max_model_len, one.policy) == (3, "H100", 8192, "cost")
    assert (one.objectives.ttft_ms, one.objectives.itl_ms, one.objectives.e2e_ms) == (500, 50, None)
    assert (one.in_flight_max, one.first_byte_s) == (16384, 600)
    assert one.usd_micro_per_gpu_hour == 6_880_000
    assert asked.notes == []
    assert asked.workload == "profile chat, 5.5 requests/s, for 5 s"


def test_options_hold_over_the_file_and_multiply(tmp_path: Path) -> None:
    asked = read_asks(
        _options(
            tmp_path,
            CHAT,
            gpus=("H200", "L40S"),
            replicas=("2", "4"),
            policies=("random",),
            ttft_ms=100.0,
            tensor=2,
            model="gpt-4o-mini",
        )
    )

    assert [(s.engine.gpu.name, s.replicas, s.gpus) for s in asked.scenarios] == [
        ("H200", 2, 4),
        ("H200", 4, 8),
        ("L40S", 2, 4),
        ("L40S", 4, 8),
    ]
    assert {s.objectives.ttft_ms for s in asked.scenarios} == {100.0}
    assert [s.engine.max_num_seqs for s in asked.scenarios] == [1024, 1024, 256, 256]


def test_the_gateways_bounds_and_prices_of_the_file_are_taken(tmp_path: Path) -> None:
    text = (
        CHAT
        + "  hardware: {usdPerGpuHour: {H100: 2.5}}\n  gateway: {limits: {inFlightMax: 7}, timeouts: {firstByteS: 9}}\n"
    )

    asked = read_asks(_options(tmp_path, text))

    (one,) = asked.scenarios
    assert (one.in_flight_max, one.first_byte_s, one.usd_micro_per_gpu_hour) == (7, 9, 2_500_000)
    assert asked.price_words == "the fleet file's"


GATEWAY = """\
  gateway:
    queue: {requestsMax: 40, tenantShareMax: 0.25, starvationS: 5}
    classes: {batch: {waitS: 7}}
    routing: {scrapeMs: 500}
    requests: {outputTokensDefault: 900}
    limits: {url: "redis://redis:6379/0"}
    tenants:
      - name: search
        weight: 3
        class: batch
        limits: {requestsPerMinute: 60}
        keys: [{name: ci, valueFrom: {env: KEY}}]
"""


def test_the_gateways_queue_and_tenants_of_the_file_are_taken(tmp_path: Path) -> None:
    text = CHAT + "      concurrency: 24\n      requests: {outputTokensDefault: 300}\n" + GATEWAY

    (one,) = read_asks(_options(tmp_path, text, tenant="search")).scenarios

    assert (one.queue.is_on, one.queue.requests_max, one.queue.tenant_share_max, one.queue.starvation_s) == (
        True,
        40,
        0.25,
        5,
    )
    assert dict(one.wait_s) == {"interactive": 60.0, "batch": 7, "experimental": 300.0}
    assert (one.capacity.requests_max, one.scrape_s, one.output_tokens_default) == (24, 0.5, 300)
    assert (one.has_shared_limits, one.tenant) == (True, "search")
    rules = one.rules_of("search")
    assert (rules.weight, rules.traffic_class) == (3, "batch")
    assert [scope.quota.requests_per_minute for scope in rules.scopes] == [60]
    assert one.rules_of("somebody").scopes == ()


def test_the_queue_can_be_left_out(tmp_path: Path) -> None:
    (one,) = read_asks(_options(tmp_path, CHAT, has_queue=False)).scenarios

    assert not one.queue.is_on
    assert one.words == "3 × H100, cost, no queue"
    off = CHAT + "  gateway: {queue: {enabled: false}}\n"
    assert not read_asks(_options(tmp_path, off)).scenarios[0].queue.is_on
    assert read_asks(_options(tmp_path, off, has_queue=True)).scenarios[0].queue.is_on


def test_a_tenant_that_the_file_does_not_have_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tenant reports: the file has no such tenant") as caught:
        read_asks(_options(tmp_path, CHAT + GATEWAY, tenant="reports"))
    assert "it has search" in str(caught.value)


def test_each_opening_of_the_workload_gives_the_same_requests(tmp_path: Path) -> None:
    asked = read_asks(_options(tmp_path, CHAT))

    first, second = (next(iter(asked.open_workload().sessions)) for _ in range(2))

    assert first == second


def test_a_models_own_trace_is_taken_where_none_is_given(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("t_ms,input_tokens,output_tokens\n0,10,5\n100,20,5\n", encoding="utf-8")
    text = CHAT + "      demand: {trace: day.csv}\n"

    asked = read_asks(_options(tmp_path, text, profile="", duration_s=None))

    assert (asked.workload, asked.requests_known) == ("trace day.csv, 2 requests", 2)


def test_no_traffic_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no traffic to simulate for 'chat'"):
        read_asks(_options(tmp_path, CHAT, profile=""))


def test_a_model_that_runs_elsewhere_needs_hardware_to_assume(tmp_path: Path) -> None:
    text = '  models:\n    - name: chat\n      source: Qwen/Qwen3-8B\n      endpoints: ["http://a:1", "http://b:1"]\n'

    with pytest.raises(SpecError) as caught:
        read_asks(_options(tmp_path, text))
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (8, "spec.models[0].endpoints")
    assert "--gpu H100" in str(problem)

    asked = read_asks(_options(tmp_path, text, gpus=("H100",)))
    assert asked.scenarios[0].replicas == 2
    assert "runs elsewhere" in asked.notes[0]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("  models:\n    - {name: chat, source: acme/secret}\n", 6, "nothing is known of the model 'acme/secret'"),
        ("  models:\n    - {name: chat}\n", 6, "say under `source` which model it is"),
        (CHAT.replace("replicas: 3", "replicas: 0"), 9, "no replica answers anything"),
        (CHAT.replace("8192", "819200"), 11, "beyond what Qwen/Qwen3-8B was made for"),
        (
            CHAT.replace("gpu: H100", "gpu: H100, count: 2, pipelineParallel: 2"),
            10,
            "the simulated engine has tensor parallelism only",
        ),
        (CHAT.replace("gpu: H100", "gpu: H1000"), 10, "no GPU is known by the name 'H1000'"),
    ],
)
def test_what_cannot_be_simulated_is_told_at_its_line(text: str, line: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        read_asks(_options(tmp_path, text))

    (problem,) = caught.value.problems
    assert problem.line == line
    assert words in str(problem)


def test_several_models_need_a_name(tmp_path: Path) -> None:
    text = CHAT + "    - {name: other, source: Qwen/Qwen3-8B}\n"

    with pytest.raises(UsageError, match="has 2 models") as caught:
        read_asks(_options(tmp_path, text))
    assert "--model: chat, other" in str(caught.value)
    assert read_asks(_options(tmp_path, text, model="other")).scenarios[0].model == "other"


def test_data_parallel_engines_are_told(tmp_path: Path) -> None:
    text = CHAT.replace("gpu: H100", "gpu: H100, count: 2, dataParallel: 2")

    asked = read_asks(_options(tmp_path, text))

    assert (asked.scenarios[0].endpoints, asked.scenarios[0].gpus) == (6, 6)
    assert "data-parallel" in asked.notes[0]
