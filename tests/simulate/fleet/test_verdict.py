from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.simulate.fleet.verdict import Level, Pressure, judge

CALM = Pressure(
    requests=1000,
    queued=0,
    queue_max_s=0.1,
    waiting_max=1,
    running_max=12,
    running_limit=1024,
    kv_max=0.3,
    preemptions=0,
    lost=0,
    unfinished=0,
    still_waiting=0,
    drain_s=3.0,
    e2e_p99_s=5.0,
)


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (replace(CALM, requests=0), "idle", "Nothing came"),
        (CALM, "comfortable", "no replica ran more than 12 requests, and no KV cache was more than 30 % full"),
        (replace(CALM, missed=("ITL ≤ 50 ms",)), "slow", "Too slow for ITL ≤ 50 ms"),
        (replace(CALM, queued=5, queue_max_s=3.0, waiting_max=9), "busy", "0.5 % of the requests waited over 1 s"),
        (replace(CALM, kv_max=0.97, preemptions=2), "busy", "the KV cache was 97 % full, 2 preemptions"),
        (replace(CALM, queued=50, running_max=1024), "saturated", "the limit of 1,024 requests at once was reached"),
        (replace(CALM, queued=300), "overloaded", "30 % of the requests"),
        (replace(CALM, queued=300), "overloaded", "it is the GPU's speed that ends it"),
        (replace(CALM, queued=1, lost=7), "overloaded", "7 got no answer"),
        (replace(CALM, queued=1, drain_s=900.0), "overloaded", "the last answer came 900 s after the last arrival"),
        (replace(CALM, queued=9, still_waiting=3000, unfinished=3900), "overloaded", "3,000 still waited at the end"),
    ],
)
def test_a_queue_is_what_tells(seen: Pressure, level: Level, words: str) -> None:
    verdict = judge(seen)

    assert verdict.level == level
    assert words in verdict.words


def test_long_answers_after_the_last_arrival_are_no_backlog() -> None:
    assert judge(replace(CALM, queued=1, drain_s=200.0, e2e_p99_s=150.0)).level == "busy"
