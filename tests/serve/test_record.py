"""What is known of a finished request."""

from __future__ import annotations

import pytest

from penstock.serve.record import RequestRecord


def test_time_per_token_leaves_out_the_first() -> None:
    assert RequestRecord(ttft_ms=100.0, total_ms=500.0, output_tokens=5).tpot_ms == pytest.approx(100.0)


@pytest.mark.parametrize(
    "record",
    [
        RequestRecord(ttft_ms=100.0, total_ms=500.0, output_tokens=1),
        RequestRecord(ttft_ms=100.0, total_ms=500.0),
        RequestRecord(total_ms=500.0, output_tokens=5),
    ],
)
def test_time_per_token_is_unknown_without_two_tokens_or_a_first_byte(record: RequestRecord) -> None:
    assert record.tpot_ms == -1.0
