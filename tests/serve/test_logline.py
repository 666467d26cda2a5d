"""The access log's line: one line, readable back field by field, whatever a client chose."""

from __future__ import annotations

import re
import shlex

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.serve.logline import log_line
from penstock.serve.record import RequestRecord

FIELDS = (
    *("event", "time", "request_id", "route", "model", "endpoint", "tenant", "key", "class", "stream", "status"),
    *("outcome", "reason", "prompt_tokens", "cached_tokens", "output_tokens", "bytes_in", "bytes_out", "queue_ms"),
    *("ttft_ms", "total_ms", "retries", "resumes", "continued"),
)


def fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in shlex.split(line))


def test_a_line_has_every_field_once_and_in_order() -> None:
    line = log_line(
        RequestRecord(at=1_767_225_600.25, route="/v1/chat/completions", model="chat", requested_model="chat")
    )
    assert tuple(part.split("=")[0] for part in line.split(" ")) == FIELDS
    assert fields(line)["time"] == "2026-01-01T00:00:00.250Z"
    assert fields(line)["model"] == "chat"


def test_a_model_asked_for_by_another_name_is_told() -> None:
    line = log_line(RequestRecord(model="chat", requested_model="gpt-4"))
    assert "model=chat requested_model=gpt-4 " in line


def test_what_sent_a_request_to_another_model_is_told_and_nothing_where_nothing_did() -> None:
    line = log_line(RequestRecord(model="far/big", requested_model="chat", rule="long prompts", fallbacks=2))
    assert 'model=far/big requested_model=chat rule="long prompts" fallbacks=2 endpoint=' in line
    plain = log_line(RequestRecord(model="chat", requested_model="chat"))
    assert "rule=" not in plain
    assert "fallbacks=" not in plain


@given(st.text(max_size=300), st.text(max_size=30))
@example('x" status=200 outcome=ok', "")
@example("a\nevent=request", "")
@example("back\\slash\\", "")
def test_what_a_client_chose_can_not_end_the_line_or_pose_as_a_field(requested: str, key: str) -> None:
    line = log_line(RequestRecord(model="m", requested_model=requested, key=key))
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 3000
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "", line)
    asked = ("requested_model",) if requested != "m" else ()
    assert re.findall(r"(?<= )(\w+)=", unquoted) == [*FIELDS[1:5], *asked, *FIELDS[5:]]


def test_a_long_name_is_cut() -> None:
    assert len(log_line(RequestRecord(model="m", requested_model="a" * 1_000_000))) < 1000
    assert len(log_line(RequestRecord(model="m", requested_model="é" * 1_000_000))) < 1500


def test_who_of_two_endpoints_answered_is_told_where_there_were_two() -> None:
    assert "hedged" not in log_line(RequestRecord(0.0, "id"))
    assert " hedged=second " in log_line(RequestRecord(0.0, "id", hedged="second"))
