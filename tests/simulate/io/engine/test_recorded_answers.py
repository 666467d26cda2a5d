"""Every recorded answer of a real vLLM 0.32 beside ours: status, headers, keys in order, types, texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

from simulate.io.engine.recorded import FOLDER, body_shape, dechunk, event_shapes, header_shape, read_recorded
from simulate.io.engine.running import RunningEngine, running_engine

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recorded answers are not beside this project")


@dataclass(frozen=True, slots=True)
class Case:
    """How one recorded answer is asked for, and how it is compared."""

    name: str
    method: str
    path: str
    by: Literal["exact", "shape"]
    task: Literal["generate", "embed"] = "generate"
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


def _cases() -> Iterator[Case]:
    chat, completions = "/v1/chat/completions", "/v1/completions"
    for name in (
        *(
            "json_object",
            "json_schema",
            "json_schema_notriton",
            "logprobs",
            "logprobs_stream",
            "n2",
            "n2_stream",
            "plain",
        ),
        *("prompt_plus_max_exceeds", "return_token_ids", "return_token_ids_stream", "stop", "stop_include"),
        *("stop_token_ids", "stream", "stream_rawchunked", "stream_usage", "stream_usage_continuous"),
        *("structured_choice", "tools_auto", "tools_named", "tools_named_stream", "tools_required"),
        "tools_required_strictlevel",
    ):
        yield Case(f"chat_{name}", "POST", chat, "shape")
    yield Case("chat_batch", "POST", "/v1/chat/completions/batch", "shape")
    for name in (
        *("batch_prompts", "echo", "echo_logprobs", "echo_max0", "logprobs", "n2", "plain", "prompt_logprobs"),
        *("prompt_plus_max_exceeds", "seed", "seed_again", "stream", "token_ids", "token_ids_return", "truncate"),
    ):
        yield Case(f"comp_{name}", "POST", completions, "shape")
    yield Case("comp_suffix", "POST", completions, "exact")
    yield from _errors(chat, completions)
    yield from _other_routes()
    yield from _embedding()


def _errors(chat: str, completions: str) -> Iterator[Case]:
    for name in (
        *("bad_json_schema", "bad_model", "bad_model_stream", "bad_regex", "empty_body", "empty_messages", "image"),
        *("logprobs_too_many", "malformed_json", "max_completion_tokens_too_large", "max_tokens_negative"),
        *("max_tokens_too_large", "max_tokens_zero", "missing_messages", "n_greedy", "n_zero", "prompt_too_long"),
        *("stream_options_without_stream", "temp_negative", "tool_choice_named_unknown", "tool_choice_no_tools"),
        *("top_p", "wrong_types", "wrong_types2"),
    ):
        yield Case(f"err_{name}", "POST", chat, "exact")
    for name in ("guided_choice_legacy", "guided_json_legacy", "no_model_field", "priority_on_fcfs"):
        yield Case(f"err_{name}", "POST", chat, "shape")
    for name in ("unknown_field", "wrong_role"):
        yield Case(f"err_{name}", "POST", chat, "shape")
    for name in (
        *("bad_model_comp", "bad_token_id", "empty_prompt", "empty_token_prompt", "neg_token_id"),
        *("prompt_exact_len", "prompt_too_long_comp"),
    ):
        yield Case(f"err_{name}", "POST", completions, "exact")
    yield Case("err_queued_tokens", "POST", completions, "shape")
    yield Case("err_404", "POST", "/v1/nope", "exact")
    yield Case("err_embeddings_on_generate", "POST", "/v1/embeddings", "exact")
    yield Case("err_get_on_post", "GET", chat, "exact")
    body = b'{"model": "tiny"}'
    text, none = (("content-type", "text/plain"),), (("content-type", ""),)
    yield Case("err_content_type_text", "POST", chat, "exact", body=body, headers=text)
    yield Case("err_no_content_type", "POST", chat, "exact", body=body, headers=none)


def _other_routes() -> Iterator[Case]:
    for name, path in (("health", "/health"), ("ping", "/ping"), ("version", "/version"), ("load", "/load")):
        yield Case(f"get_{name}", "GET", path, "exact")
    yield Case("get_kv_event_sources", "GET", "/kv_event_sources", "exact")
    yield Case("get_v1_models", "GET", "/v1/models", "shape")
    for name, path in (
        ("detokenize", "/detokenize"),
        ("invocations", "/invocations"),
        ("messages_anthropic", "/v1/messages"),
        ("messages_anthropic_stream", "/v1/messages"),
        ("messages_count_tokens", "/v1/messages/count_tokens"),
        ("responses_plain", "/v1/responses"),
        ("responses_stream", "/v1/responses"),
        ("tokenize", "/tokenize"),
        ("tokenize_chat", "/tokenize"),
        ("tokenize_chat_continue", "/tokenize"),
    ):
        yield Case(name, "POST", path, "shape")
    for name, path in (
        ("generative_scoring", "/generative_scoring"),
        ("inference_generate_A_disabled", "/inference/v1/generate"),
        ("render_chat", "/v1/chat/completions/render"),
        ("responses_background", "/v1/responses"),
        ("responses_previd", "/v1/responses"),
        ("systemone", "/v1/systemone"),
    ):
        yield Case(name, "POST", path, "exact")
    yield Case("xrid_A_noflag", "POST", "/v1/completions", "shape", body=_HI, headers=(("x-request-id", "my-req-42"),))
    for name, method, path in (
        ("slp_health", "GET", "/health"),
        ("sleep1", "POST", "/sleep?level=1"),
        ("slp_is", "GET", "/is_sleeping"),
        ("sleep2", "POST", "/sleep?level=2"),
        ("wake", "POST", "/wake_up"),
        ("wake2", "POST", "/wake_up"),
    ):
        yield Case(name, method, path, "exact")
    for name in ("after_wake", "after_wake2"):
        yield Case(name, "POST", "/v1/completions", "shape", body=_HELLO)


_HI = b'{"model": "tiny", "prompt": "hi", "max_tokens": 3}'
_HELLO = b'{"model": "tiny", "prompt": "hello world", "max_tokens": 8}'


def _embedding() -> Iterator[Case]:
    for name in ("base64", "batch", "single", "tokens", "truncate"):
        yield Case(f"emb_{name}", "POST", "/v1/embeddings", "shape", "embed")
    yield Case("emb_dimensions", "POST", "/v1/embeddings", "exact", "embed")
    yield Case("emb_too_long", "POST", "/v1/embeddings", "exact", "embed")
    yield Case("emb_chat_on_pooling", "POST", "/v1/chat/completions", "exact", "embed")
    yield Case("emb_tokenize", "POST", "/tokenize", "shape", "embed")
    yield Case("pooling", "POST", "/pooling", "shape", "embed")
    for path in ("/score", "/v1/score"):
        yield Case("score", "POST", path, "shape", "embed")
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        yield Case("rerank", "POST", path, "shape", "embed")


CASES = list(_cases())

NOT_COVERED = {
    "needs --enable-scale-out (token in, token out; render and derender)": (
        *("abort_requests_unknown", "derender", "inference_generate_B", "inference_generate_B_stream"),
        *("render_chat_B", "render_comp_B"),
    ),
    "LoRA adapters are not simulated": (
        *("lora_adapters_delete", "lora_adapters_sagemaker", "lora_comp_dyn", "lora_comp_pre", "lora_comp_tiny"),
        *("lora_load", "lora_load_again", "lora_load_inplace", "lora_load_missing", "lora_load_without_enable_lora"),
        *("lora_models_after", "lora_models_before", "lora_unload", "lora_unload_missing", "lora_use_after_unload"),
    ),
    "pause and resume are not simulated (sleep and wake are)": (
        *("get_is_paused_B", "is_paused", "pause", "pause_keep", "resume", "resume2"),
    ),
    "recorded with --enable-request-id-headers, whose header we do not send; the answers are covered without it": (
        *("get_is_sleeping_B", "get_load_tracked", "is_sleeping", "reqid_body", "reqid_body_chat", "scale_elastic"),
        *("sleep_without_flag", "xrid"),
    ),
    "needs a flag that is not simulated (metrics per request, ORCA headers, KV events, tokenizer info, weights)": (
        *("get_kv_event_sources_B", "get_weight_info", "orca", "orca_json", "per_request_metrics", "tokenizer_info"),
    ),
    "recorded with a reasoning parser, a stream interval or forced usage, none of which is simulated": (
        *("chat_reasoning_stream", "chat_stream_interval4_ids", "chat_tools_named_strictlevel_stream"),
    ),
}


@pytest.fixture(scope="module")
def generating() -> Iterator[RunningEngine]:
    with running_engine(has_dev_routes=True) as engine:
        yield engine


@pytest.fixture(scope="module")
def embedding() -> Iterator[RunningEngine]:
    with running_engine(task="embed") as engine:
        yield engine


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name}{case.path.replace('/', ' ')}")
def test_our_answer_is_the_recorded_one(case: Case, generating: RunningEngine, embedding: RunningEngine) -> None:
    recorded = read_recorded(case.name)
    engine = generating if case.task == "generate" else embedding
    body = case.body if case.body is not None else recorded.request
    headers = dict(case.headers) if case.method == "GET" else {"content-type": "application/json"} | dict(case.headers)

    ours = engine.ask(case.method, case.path, body, headers)

    is_exact = case.by == "exact"
    kept = recorded.body
    if case.name.endswith("_rawchunked"):
        kept = b"".join(dechunk(kept))
        assert event_shapes(ours.chunks[0]) == event_shapes(dechunk(recorded.body)[0])
        assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in ours.chunks)
    assert ours.status == recorded.status
    assert header_shape(ours.headers, is_exact=is_exact) == header_shape(recorded.headers, is_exact=is_exact)
    if is_exact:
        assert ours.body.decode() == kept.decode()
    else:
        kind = ours.header("content-type")
        assert body_shape(ours.body, kind) == body_shape(kept, kind)


def test_every_recorded_answer_is_compared_or_named_with_a_reason() -> None:
    recorded = {path.stem for path in FOLDER.glob("*.http")}
    compared = {case.name for case in CASES}
    named = {name for names in NOT_COVERED.values() for name in names}

    assert compared | named == recorded
    assert compared & named == set()
