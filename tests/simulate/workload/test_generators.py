from __future__ import annotations

from itertools import islice, pairwise, takewhile
from statistics import median

import pytest

from penstock.errors import UsageError
from penstock.simulate.workload.generators import PROFILES, generate, generate_rates
from penstock.simulate.workload.lengths import Lengths
from penstock.simulate.workload.request import TraceRequest


def turns(name: str, sessions: int, seed: int = 1) -> list[TraceRequest]:
    return [turn for s in islice(generate(name, seed=seed), sessions) for turn in s.turns]


def rank(values: list[int], share: float) -> int:
    return sorted(values)[int(share * (len(values) - 1))]


@pytest.mark.parametrize("name", PROFILES)
def test_the_same_seed_gives_the_same_requests_and_another_seed_others(name: str) -> None:
    assert turns(name, 20) == turns(name, 20)
    if name != "constant":
        assert turns(name, 20) != turns(name, 20, seed=2)


@pytest.mark.parametrize("name", PROFILES)
def test_sessions_come_in_order_of_time_from_zero_with_real_lengths(name: str) -> None:
    sessions = list(islice(generate(name, seed=4), 300))

    assert all(0 <= a.at_s <= b.at_s for a, b in pairwise(sessions))
    assert all(t.prompt_tokens >= 1 and t.output_tokens >= 1 for s in sessions for t in s.turns)


@pytest.mark.parametrize("name", [n for n in PROFILES if n != "agent"])
def test_the_rate_can_be_set_and_the_shape_stays(name: str) -> None:
    until_s = 4 * 86_400 if name.startswith("diurnal") else 40_000
    sessions = list(takewhile(lambda s: s.at_s < until_s, generate(name, seed=5, rate=0.2)))

    assert len(sessions) / until_s == pytest.approx(0.2, rel=0.2)


@pytest.mark.parametrize(
    ("name", "prompt_p50", "prompt_p99", "output_p50", "output_p99"),
    [  # recorded: figures of the public traces that the profiles follow
        ("code-burst", 1_469, 7_436, 13, 251),
        ("chat", 1_020, 4_142, 129, 601),
        ("long-chat", 6_909, 85_400, 350, 1_118),
        ("reasoning", None, None, 800, 12_700),
    ],
)
def test_lengths_are_those_of_the_recorded_traces(
    name: str, prompt_p50: int | None, prompt_p99: int | None, output_p50: int, output_p99: int
) -> None:
    drawn = turns(name, 12_000)
    prompts, outputs = [t.prompt_tokens for t in drawn], [t.output_tokens for t in drawn]

    assert rank(outputs, 0.5) == pytest.approx(output_p50, rel=0.15)
    assert rank(outputs, 0.99) == pytest.approx(output_p99, rel=0.15)
    if prompt_p50 is not None and prompt_p99 is not None:
        assert rank(prompts, 0.5) == pytest.approx(prompt_p50, rel=0.1)
        assert rank(prompts, 0.99) == pytest.approx(prompt_p99, rel=0.15)


def test_two_in_five_long_chats_continue_one_that_came_before() -> None:
    drawn = turns("long-chat", 6_000)
    seen: set[int] = set()
    continued = 0
    for turn in drawn[:2_000]:
        seen.update(turn.prefix_blocks[1:])
    for turn in drawn[2_000:]:
        continued += len(turn.prefix_blocks) > 1 and turn.prefix_blocks[1] in seen
        seen.update(turn.prefix_blocks[1:])

    assert continued / 4_000 == pytest.approx(0.39, abs=0.06)
    assert {t.prefix_blocks[0] for t in drawn if t.prompt_tokens >= 1024} == {0}  # one block is common to all


def test_five_reasoning_clients_send_half_of_the_traffic() -> None:
    drawn = [t.tenant for t in turns("reasoning", 5_000)]
    by_traffic = sorted((drawn.count(name) for name in set(drawn)), reverse=True)

    assert sum(by_traffic[:5]) / 5_000 == pytest.approx(0.52, abs=0.03)


def test_agents_take_many_turns_and_repeat_most_of_what_they_said() -> None:
    sessions = list(islice(generate("agent", seed=2), 500))
    counts = [len(s.turns) for s in sessions]
    gaps = sorted(t.gap_s for s in sessions for t in s.turns[1:])
    seen_blocks = all_blocks = 0
    for session in sessions:
        seen: set[int] = set()
        for turn in session.turns:
            seen_blocks += sum(block in seen for block in turn.prefix_blocks)
            all_blocks += len(turn.prefix_blocks)
            seen.update(turn.prefix_blocks)

    assert (min(counts), max(counts)) >= (4, 40)
    assert max(counts) <= 44
    assert median(counts) == pytest.approx(29, abs=2)
    assert seen_blocks / all_blocks == pytest.approx(0.89, abs=0.02)
    assert gaps[len(gaps) // 2] == pytest.approx(1.3, rel=0.1)
    assert gaps[int(len(gaps) * 0.9)] == pytest.approx(10, rel=0.15)
    assert all(s.turns[0].gap_s == 0 for s in sessions)


def test_lengths_can_be_set() -> None:
    (session,) = islice(generate("poisson", seed=0, prompt=Lengths.of(7), output=Lengths.of(3)), 1)

    assert (session.turns[0].prompt_tokens, session.turns[0].output_tokens) == (7, 3)


def test_recorded_rates_are_played_from_zero_and_end() -> None:
    sessions = list(generate_rates(((600.0, 1.0), (1200.0, 0.0)), seed=0, prompt=Lengths.of(5), output=Lengths.of(1)))

    assert len(sessions) == pytest.approx(600, rel=0.15)
    assert all(0 <= s.at_s < 600 for s in sessions)


def test_an_unknown_profile_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'chats'\n.*code-burst, chat"):
        generate("chats", seed=0)


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_rate_that_sends_nothing_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="sends nothing"):
        generate("poisson", seed=0, rate=rate)
