"""Which fields an engine ignores, and which a service elsewhere knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.facts.request_fields import OPENAI_FIELDS, foreign_fields

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "vllm-api"
CLASSES = {
    "chat": "ChatCompletionRequest",
    "completion": "CompletionRequest",
    "responses": "ResponsesRequest",
    "messages": "AnthropicMessagesRequest",
}


@pytest.mark.parametrize("schema", sorted(CLASSES))
def test_no_field_that_vllm_takes_is_foreign(schema: str) -> None:
    document = RECORDED / "openapi-A.json"
    if not document.is_file():
        pytest.skip("the recorded API of vLLM 0.32 is not on this machine")
    taken = set(json.loads(document.read_bytes())["components"]["schemas"][CLASSES[schema]]["properties"])
    assert not taken & set(foreign_fields(schema, "0.32.0"))
    known = OPENAI_FIELDS.get(schema, frozenset()) - {"functions", "function_call"}
    assert known - taken <= set(foreign_fields(schema, "0.32.0")), "what OpenAI takes and vLLM does not is foreign"


def test_fields_that_went_with_a_version_are_foreign_from_it_on() -> None:
    assert "guided_json" not in foreign_fields("chat", "0.11.2")
    assert foreign_fields("chat", "0.12.0")["guided_json"].changes_answer
    assert "best_of" not in foreign_fields("completion", "0.9.0")
    assert "best_of" in foreign_fields("completion", "0.11.0")
    assert foreign_fields("embeddings", "0.32.0") == {}
