"""Two replicas of real vLLM and one that embeds, behind the gateway, used through the official clients.

Needs the CPU build of vLLM (`make e2e` installs it). The tests share one fleet, which takes about a minute to start;
the two at the end harm it, and stay at the end.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from e2e.fleet_process import FleetProcess, is_alive, metric, pid_listening_on, post, run_fleet, wait_until

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("PENSTOCK_VLLM_VENV") or HERE.parents[1] / ".venv-vllm")
KEY = "e2e-key-of-the-real-engine"
CONTEXT = 1024
START_S_MAX = 400.0  # three engines that import torch on two shared cores
EMBEDDING_WIDTH = 128
HELLO = [{"role": "user", "content": "How does the water reach the wheel?"}]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not (VENV / "bin" / "vllm").exists(), reason=f"real vLLM is not in {VENV}; `make e2e` installs it and runs this"
    ),
]

GAUGE_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "read_gauge",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"unit": {"type": "string", "enum": ["m3", "l"]}, "is_total": {"type": "boolean"}},
            "required": ["unit", "is_total"],
            "additionalProperties": False,
        },
    },
}
GATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"gate": {"type": "string", "enum": ["open", "shut"]}, "step": {"type": "integer", "enum": [1, 2]}},
    "required": ["gate", "step"],
    "additionalProperties": False,
}

UNTIL_IT_ENDS: dict[str, Any] = {"max_tokens": 850, "extra_body": {}}
"""For structured answers: a random model puts hundreds of blanks where JSON lets it."""


def fleet_file(model: Path) -> dict[str, Any]:
    """The fleet: what a laptop can hold of vLLM. Block size 32 is the least on a CPU; 64 MB of KV cache are plenty."""
    common = {
        "dtype": "float32",
        "enforce-eager": True,
        "kv-cache-memory-bytes": "64M",
        "block-size": 32,
        "max-model-len": CONTEXT,
        "max-num-seqs": 16,
        "shutdown-timeout": 20,
    }
    chat = {
        "enable-auto-tool-choice": True,
        "tool-call-parser": "hermes",
        "structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
    engine = {
        "type": "vllm",
        "venv": str(VENV),
        "env": {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1"},
        "startTimeoutS": START_S_MAX,
        "stopTimeoutS": 30,
    }
    return {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "real"},
        "spec": {
            "models": [
                {
                    "name": "tiny",
                    "aliases": ["tiny-latest"],
                    "source": str(model),
                    "replicas": 2,
                    "engine": {**engine, "args": {**common, **chat}},
                },
                {
                    "name": "tiny-embed",
                    "source": str(model),
                    "task": "embed",
                    "engine": {**engine, "args": {**common, "runner": "pooling", "convert": "embed"}},
                },
            ],
            "gateway": {"tenants": [{"name": "tests", "keys": [{"name": "e2e", "value": KEY}]}]},
        },
    }


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    folder = tmp_path_factory.mktemp("fleet")
    model = folder / "tiny-model"
    subprocess.run([VENV / "bin" / "python", HERE / "engine" / "tiny_model.py", model], check=True)
    file = folder / "fleet.yaml"
    file.write_text(json.dumps(fleet_file(model)))
    with run_fleet(file, folder) as running:
        running.wait_ready(START_S_MAX)
        yield running


@pytest.fixture
def client(fleet: FleetProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key=KEY, max_retries=0, timeout=60) as client:
        yield client


def ask(client: openai.OpenAI, **fields: Any) -> Any:
    """A chat of exactly 8 tokens, unless `fields` say otherwise."""
    fields = {"model": "tiny", "messages": HELLO, "max_tokens": 8, "extra_body": {"ignore_eos": True}, **fields}
    return client.chat.completions.create(**fields)


def generated(fleet: FleetProcess) -> float:
    return sum(metric(url, "vllm:generation_tokens_total") for url in fleet.engine_urls("tiny"))


def test_the_models_are_listed_with_their_aliases(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"tiny", "tiny-latest", "tiny-embed"}


def test_the_state_says_that_real_engines_run(fleet: FleetProcess) -> None:
    assert [model["engine"] for model in fleet.state()["models"]] == ["vllm", "vllm"]


@pytest.mark.parametrize("name", ["tiny", "tiny-latest"])
def test_a_chat_is_answered_with_its_usage(client: openai.OpenAI, name: str) -> None:
    answer = ask(client, model=name)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.prompt_tokens > 0


def test_a_completion_is_answered(client: openai.OpenAI) -> None:
    asked = {"prompt": "The gate opens and", "max_tokens": 5, "extra_body": {"ignore_eos": True}}
    answer = client.completions.create(model="tiny", **asked)  # type: ignore[call-overload]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_an_anthropic_message_is_answered(fleet: FleetProcess) -> None:
    with anthropic.Anthropic(base_url=fleet.url, api_key=KEY, max_retries=0) as client:
        answer = client.messages.create(model="tiny", max_tokens=6, messages=[{"role": "user", "content": "hello"}])
    assert 1 <= answer.usage.output_tokens <= 6


def test_a_stream_gives_the_text_of_the_plain_answer(client: openai.OpenAI) -> None:
    plain = ask(client, temperature=0, max_tokens=40)
    with ask(client, temperature=0, max_tokens=40, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == plain.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_stream_carries_usage_where_it_is_asked_for(client: openai.OpenAI) -> None:
    with ask(client, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 8
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_carries_no_usage_unasked_and_is_counted_all_the_same(
    fleet: FleetProcess, client: openai.OpenAI
) -> None:
    before = fleet.model("tiny")["output_tokens_total"]
    with ask(client, stream=True, max_tokens=13) as stream:
        chunks = list(stream)
    assert all(chunk.usage is None and len(chunk.choices) == 1 for chunk in chunks)

    def counted() -> int:
        return int(fleet.model("tiny")["output_tokens_total"]) - before

    wait_until(lambda: counted() > 0, "the stream is counted", 10)  # it ends a moment after its last event
    assert counted() == 13


def test_a_named_tool_is_called_with_arguments_that_fit_it(client: openai.OpenAI) -> None:
    choice = {"type": "function", "function": {"name": "read_gauge"}}
    answer = ask(client, tools=[GAUGE_TOOL], tool_choice=choice, **UNTIL_IT_ENDS)
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "read_gauge"
    assert json.loads(call.function.arguments).keys() == {"unit", "is_total"}


def test_a_tool_call_streams(client: openai.OpenAI) -> None:
    choice = {"type": "function", "function": {"name": "read_gauge"}}
    with ask(client, tools=[GAUGE_TOOL], tool_choice=choice, **UNTIL_IT_ENDS, stream=True) as stream:
        deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    assert deltas[0].function.name == "read_gauge"
    assert json.loads("".join(delta.function.arguments or "" for delta in deltas)).keys() == {"unit", "is_total"}


def test_a_json_schema_is_kept_to(client: openai.OpenAI) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "gate", "schema": GATE_SCHEMA}}
    answer = ask(client, response_format=wanted, **UNTIL_IT_ENDS)
    said = json.loads(answer.choices[0].message.content)
    assert said["gate"] in {"open", "shut"}
    assert said["step"] in {1, 2}


def test_embeddings_are_unit_vectors_that_depend_on_the_text(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="tiny-embed", input=["a gate", "a wheel", "a gate"])
    gate, wheel, again = (item.embedding for item in answer.data)
    assert len(gate) == EMBEDDING_WIDTH
    assert math.isclose(math.fsum(x * x for x in gate), 1, abs_tol=1e-3)
    assert math.isclose(math.fsum(a * b for a, b in zip(gate, again, strict=True)), 1, abs_tol=1e-3)
    assert gate != wheel


def test_tokens_go_there_and_back(fleet: FleetProcess) -> None:
    asked = {"model": "tiny", "prompt": "the gate", "add_special_tokens": False}
    _, tokens = post(f"{fleet.url}/tokenize", json.dumps(asked).encode(), KEY)
    back = {"model": "tiny", "tokens": tokens["tokens"]}
    assert post(f"{fleet.url}/detokenize", json.dumps(back).encode(), KEY) == (200, {"prompt": "the gate"})


def test_a_wrong_key_is_401(fleet: FleetProcess) -> None:
    with (
        openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="not-the-key", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        ask(stranger)
    assert caught.value.status_code == 401
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_404_and_the_nearest_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="tiny-embed") as caught:
        ask(client, model="tiny-embd")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": "hello"}, "messages"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"temperature": []}, "temperature"),
        ({"stream": "yes please"}, "stream"),
        ({"model": 7}, "model"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_type_is_400_and_the_field_is_named(fleet: FleetProcess, fields: dict[str, Any], named: str) -> None:
    asked = {"model": "tiny", "messages": HELLO, **fields}
    status, answer = post(f"{fleet.url}/v1/chat/completions", json.dumps(asked).encode(), KEY)
    assert status == 400
    assert named in answer["error"]["message"]
    assert answer["error"].keys() >= {"message", "type", "param", "code"}


def test_malformed_json_is_400_and_the_place_is_named(fleet: FleetProcess) -> None:
    status, answer = post(f"{fleet.url}/v1/chat/completions", b'{"model": "tiny", ]', KEY)
    assert status == 400
    assert "column" in answer["error"]["message"]


def test_a_prompt_longer_than_the_context_is_400(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=str(CONTEXT)):
        ask(client, messages=[{"role": "user", "content": "water " * 3 * CONTEXT}])


def test_chat_with_an_embedding_model_is_an_error_in_openais_shape(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, model="tiny-embed")
    assert 400 <= caught.value.status_code < 500
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]


def test_both_replicas_take_part(fleet: FleetProcess, client: openai.OpenAI) -> None:
    urls = fleet.engine_urls("tiny")
    before = [metric(url, "vllm:request_success_total") for url in urls]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(client, max_tokens=60, temperature=0), range(24)))
    took = [metric(url, "vllm:request_success_total") - count for url, count in zip(urls, before, strict=True)]
    assert sum(took) == 24
    assert min(took) >= 3  # a slow replica has fewer, but at first each has half of what is in flight
    assert len({answer.choices[0].message.content for answer in answers}) == 1


def test_a_client_that_hangs_up_stops_the_engine(fleet: FleetProcess, client: openai.OpenAI) -> None:
    before = generated(fleet)
    wanted = 900
    streams = [ask(client, stream=True, max_tokens=wanted) for _ in range(6)]
    for stream in streams:
        next(iter(stream))
        stream.close()
    urls = fleet.engine_urls("tiny")
    wait_until(lambda: not any(metric(url, "vllm:num_requests_running") for url in urls), "engines at rest", 30)
    assert generated(fleet) - before < wanted * len(streams)
    wait_until(lambda: fleet.model("tiny")["in_flight"] == 0, "nothing in flight", 10)


def test_a_killed_replica_is_replaced_and_traffic_goes_on(fleet: FleetProcess, client: openai.OpenAI) -> None:
    killed = fleet.model("tiny")["endpoints"][0]
    pids = fleet.pids()
    os.kill(pid_listening_on(urlsplit(killed["url"]).port or 0, pids), signal.SIGKILL)

    def seen() -> dict[str, Any]:
        return next(one for one in fleet.model("tiny")["endpoints"] if one["id"] == killed["id"])

    wait_until(lambda: fleet.model("tiny")["replicas_ready"] == 1, "the loss is noticed", 30)

    def is_back_and_traffic_goes_on() -> bool:
        assert ask(client).usage.completion_tokens == 8
        return fleet.model("tiny")["replicas_ready"] == 2

    wait_until(is_back_and_traffic_goes_on, "the replica is back", START_S_MAX)
    assert seen()["restarts"] == killed["restarts"] + 1
    assert seen()["health"] == "ready"
    assert ask(client).choices[0].message.content


def test_ctrl_c_lets_a_stream_end_and_leaves_no_process(fleet: FleetProcess, client: openai.OpenAI) -> None:
    pids = fleet.pids()
    assert len(pids) > 3
    with ask(client, stream=True, max_tokens=900) as stream:
        chunks = iter(stream)
        next(chunks)
        fleet.interrupt()
        rest = list(chunks)
    assert rest[-1].choices[0].finish_reason == "length"
    assert fleet.wait_ended(90) == 0
    wait_until(lambda: not any(map(is_alive, pids)), "no process left", 10)
    with pytest.raises(openai.APIConnectionError):
        ask(client)
