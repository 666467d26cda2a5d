from __future__ import annotations

from array import array

import pytest

from penstock.cli.bench_tables import print_report
from penstock.simulate.workload import Answer, ClientHealth, Failure, Objectives, Sample, Spread, summarize


def printed(
    capsys: pytest.CaptureFixture[str],
    *,
    late_ms: float = 0.1,
    gap_s: float = 0.02,
    prompt_tokens: int = 10,
    unfinished: int = 0,
    objectives: Objectives | None = None,
) -> str:
    answer = Answer(prompt_tokens=prompt_tokens, output_tokens=2, finish_reason="stop", has_text=True)
    good = Sample(
        due_s=0.0,
        sent_s=0.0,
        first_s=0.1,
        last_s=0.1 + gap_s,
        done_s=1.0,
        gaps_s=array("d", [gap_s]),
        prompt_tokens_wanted=10,
        output_tokens_wanted=2,
        answer=answer,
    )
    bad = Sample(due_s=0.0, sent_s=0.0, done_s=0.5, failure=Failure(kind="reset", detail="it [went] away"))
    client = ClientHealth(cpu_share=0.1, lag_ms=Spread(), late_ms=Spread.of([late_ms]))
    print_report(summarize([good, bad], objectives=objectives or Objectives(), client=client, unfinished=unfinished))
    return capsys.readouterr().out


def test_counts_latency_throughput_and_errors_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, unfinished=3)

    assert "2 requests in 1.0 s: 1 ok, 1 failed, 3 unfinished" in out
    assert "TTFT ms" in out
    assert "20.0" in out
    assert "1.00 requests/s, 10 prompt tokens/s, 2 output tokens/s" in out
    assert "it [went] away" in out  # not taken for markup
    assert "goodput" not in out


def test_goodput_names_its_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, objectives=Objectives(ttft_ms=500, itl_ms=50))

    assert "goodput 1.00 requests/s: 50.0% met TTFT ≤ 500 ms, ITL ≤ 50 ms" in out


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"late_ms": 80.0}, "sent late: p99 80 ms"),
        ({"gap_s": 0.0}, "several tokens came in one read"),
        ({"prompt_tokens": 30}, "prompt tokens: 30 on average where the workload wanted 10"),
    ],
)
def test_what_makes_figures_doubtful_is_said(
    capsys: pytest.CaptureFixture[str], seen: dict[str, float], said: str
) -> None:
    assert said in printed(capsys, **seen)  # type: ignore[arg-type]
    assert said not in printed(capsys)
