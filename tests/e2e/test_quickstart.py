"""The quickstart as a user has it: one command, the simulated engines, the official clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from e2e.fleet_process import FleetProcess, is_alive, read, run_fleet, wait_until

QUICKSTART = Path(__file__).resolve().parents[2] / "examples" / "quickstart.yaml"
KEY = "penstock-demo"
START_S_MAX = 60.0
HELLO = [{"role": "user", "content": "How does the water reach the wheel?"}]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetProcess]:
    with run_fleet(QUICKSTART, tmp_path_factory.mktemp("quickstart")) as running:
        running.wait_ready(START_S_MAX)
        yield running


@pytest.fixture
def client(fleet: FleetProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{fleet.url}/v1", api_key=KEY, max_retries=0, timeout=30) as client:
        yield client


def ask(client: openai.OpenAI, **fields: Any) -> Any:
    """A chat of exactly 8 tokens, unless `fields` say otherwise."""
    fields = {"model": "chat", "messages": HELLO, "max_tokens": 8, "extra_body": {"ignore_eos": True}, **fields}
    return client.chat.completions.create(**fields)


def test_models_and_aliases_are_listed(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"chat", "gpt-4o-mini", "embed"}


@pytest.mark.parametrize("name", ["chat", "gpt-4o-mini"])
def test_a_chat_is_answered_under_the_models_name_and_its_alias(client: openai.OpenAI, name: str) -> None:
    answer = ask(client, model=name)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens == 8


def test_a_stream_ends_with_the_usage_that_was_asked_for(client: openai.OpenAI) -> None:
    with ask(client, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert chunks[-1].usage.completion_tokens == 8


def test_an_unasked_stream_carries_no_usage_and_is_counted(fleet: FleetProcess, client: openai.OpenAI) -> None:
    before = fleet.model("chat")["output_tokens_total"]
    with ask(client, stream=True) as stream:
        chunks = list(stream)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)

    def counted() -> int:
        return int(fleet.model("chat")["output_tokens_total"]) - before

    wait_until(lambda: counted() > 0, "the stream is counted", 10)  # it ends a moment after its last event
    assert counted() == 8


def test_an_anthropic_client_is_served_plain_and_streaming(fleet: FleetProcess) -> None:
    with anthropic.Anthropic(base_url=fleet.url, api_key=KEY, max_retries=0) as client:
        asked: Any = {"model": "chat", "max_tokens": 6, "messages": [{"role": "user", "content": "hello"}]}
        plain = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
    assert 1 <= plain.usage.output_tokens == final.usage.output_tokens <= 6
    assert text == plain.content[0].text


def test_texts_are_embedded(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="embed", input=["a gate", "a wheel"])
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.data[0].embedding != answer.data[1].embedding


def test_both_replicas_take_part(fleet: FleetProcess, client: openai.OpenAI) -> None:
    for _ in range(8):
        ask(client, max_tokens=1)
    assert all(endpoint["dispatched_total"] > 0 for endpoint in fleet.model("chat")["endpoints"])


def test_a_stranger_and_an_unknown_model_are_turned_away(fleet: FleetProcess, client: openai.OpenAI) -> None:
    with (
        openai.OpenAI(base_url=f"{fleet.url}/v1", api_key="not-the-key", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        ask(stranger)
    with pytest.raises(openai.NotFoundError, match="chat"):
        ask(client, model="chatt")


def test_the_admin_port_shows_health_metrics_and_a_page(fleet: FleetProcess) -> None:
    assert read(f"{fleet.admin}/healthz")
    assert read(f"{fleet.admin}/readyz")
    assert b"penstock_" in read(f"{fleet.admin}/metrics")
    assert b"<html" in read(f"{fleet.admin}/").lower()


def test_it_says_which_engine_runs_and_why(fleet: FleetProcess) -> None:
    for model in fleet.state()["models"]:
        assert model["engine"] == "simulated"
        assert model["engine_reason"]


def test_ctrl_c_ends_it_with_0_and_leaves_no_process(fleet: FleetProcess) -> None:
    pids = fleet.pids()
    assert len(pids) >= 4
    fleet.interrupt()
    assert fleet.wait_ended(60) == 0
    wait_until(lambda: not any(map(is_alive, pids)), "no process left", 10)
