"""Seeded workloads: one generator for each traffic shape that production traces show.

Guarantees: endless, sorted by time, and the same seed and settings give the same requests. Parameters follow recorded
traces: Azure LLM inference 2023 (CC-BY 4.0; Splitwise, ISCA'24), ServeGen (Apache-2.0), Mooncake (Apache-2.0; FAST'25);
where those say nothing, the figure is ours and the comment says so.
Leaves to others: cutting by time or number (the caller), text (`prompts`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from types import MappingProxyType

from penstock.errors import UsageError
from penstock.simulate.workload import arrivals
from penstock.simulate.workload.blocks import BlockIds, Prompt
from penstock.simulate.workload.lengths import Hump, Lengths
from penstock.simulate.workload.request import BLOCK_TOKENS, Session, TraceRequest, sessions_of

__all__ = ["PROFILES", "Profile", "generate", "generate_rates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named traffic shape. `rate` is its natural mean, in requests/s (sessions/s for `agent`)."""

    name: str
    summary: str
    rate: float
    prompt: Lengths
    output: Lengths
    make: Callable[[Profile, Random], Iterator[Session]]


def generate(
    name: str,
    *,
    seed: int,
    rate: float | None = None,
    prompt: Lengths | None = None,
    output: Lengths | None = None,
) -> Iterator[Session]:
    """An endless workload of the named profile; rate and lengths may be overridden, the shape stays."""
    profile = PROFILES.get(name)
    if profile is None:
        raise UsageError(f"there is no workload profile '{name}'", hint=f"profiles: {', '.join(PROFILES)}")
    if rate is not None and rate <= 0:
        raise UsageError(f"a rate of {rate:g} requests/s sends nothing", hint="give a rate above 0")
    profile = replace(
        profile, rate=rate or profile.rate, prompt=prompt or profile.prompt, output=output or profile.output
    )
    return profile.make(profile, Random(f"{seed}:{name}"))


def generate_rates(
    steps: tuple[tuple[float, float], ...], *, seed: int, prompt: Lengths, output: Lengths
) -> Iterator[Session]:
    """Poisson arrivals that follow recorded (time, rate) steps; ends a step's length after the last one."""
    rng = Random(f"{seed}:rates")
    return sessions_of(_single(at_s, prompt, output, rng) for at_s in arrivals.stepped(rng, steps))


def _single(at_s: float, prompt: Lengths, output: Lengths, rng: Random) -> TraceRequest:
    return TraceRequest(at_s=at_s, prompt_tokens=prompt.draw(rng), output_tokens=output.draw(rng))


def _plain(times: Callable[[Random, float], Iterator[float]]) -> Callable[[Profile, Random], Iterator[Session]]:
    """A profile that is only an arrival process and two distributions of lengths."""

    def make(p: Profile, rng: Random) -> Iterator[Session]:
        return sessions_of(_single(at_s, p.prompt, p.output, rng) for at_s in times(rng, p.rate))

    return make


# Mooncake: 39 % of requests continue a session, 123 s (p50) to 483 s (p90) after its last request.
_CONTINUE_SHARE = 0.39
_REUSE_GAP = Hump(p50=123.0, p99=1470.0)  # p99 follows from p50 and p90 of a log-normal
_NEW_TURN = Lengths.of(300, 4_000)  # tokens a person adds in one turn: ours
_WARM_UP_S = 1_800.0  # the workload begins in its steady state, with sessions already under way


def _long_chat(p: Profile, rng: Random) -> Iterator[Session]:
    ids = BlockIds(common=1)
    # conversations that will come back: when, a number that breaks ties, and what was said so far
    waiting: list[tuple[float, int, Prompt]] = []
    serial = count()
    for fresh_at in arrivals.poisson(rng, p.rate * (1 - _CONTINUE_SHARE), start_s=-_WARM_UP_S):
        heapq.heappush(waiting, (fresh_at, next(serial), ids.start(p.prompt.draw(rng))))
        while waiting[0][0] < fresh_at:
            at_s, _, prompt = heapq.heappop(waiting)
            output_tokens = p.output.draw(rng)
            if at_s >= 0:
                yield Session(turns=(_of_prompt(at_s, prompt, output_tokens),))
            if rng.random() < _CONTINUE_SHARE:
                grown_tokens = prompt.tokens + output_tokens + _NEW_TURN.draw(rng)
                grown = ids.extend(prompt, min(p.prompt.cap, grown_tokens))
                heapq.heappush(waiting, (at_s + _REUSE_GAP.draw(rng), next(serial), grown))


def _of_prompt(at_s: float, prompt: Prompt, output_tokens: int) -> TraceRequest:
    return TraceRequest(
        at_s=at_s, prompt_tokens=prompt.tokens, output_tokens=output_tokens, prefix_blocks=prompt.blocks
    )


# Five clients send 52 % (ServeGen: the top client alone 16-52 %); how the rest divides is ours.
_CLIENT_WEIGHTS = (0.20, 0.12, 0.09, 0.06, 0.05, *(0.48 / 35 for _ in range(35)))
_CLIENTS = tuple(f"client-{i}" for i in range(1, len(_CLIENT_WEIGHTS) + 1))


def _reasoning(p: Profile, rng: Random) -> Iterator[Session]:
    for at_s in arrivals.renewal(rng, p.rate, cv=2.3):
        tenant = rng.choices(_CLIENTS, _CLIENT_WEIGHTS)[0]
        yield Session(turns=(replace(_single(at_s, p.prompt, p.output, rng), tenant=tenant),))


_AGENT_GAP = Hump(p50=1.3, p99=52.5)  # p99 follows from p50 1.3 s and p90 10 s of a log-normal
_AGENT_TURNS = (4, 44)  # a beta with this span and a median of 29
_AGENT_COMMON_BLOCKS = 8  # system prompt and tool descriptions, the same for all sessions: ours
_TOOL_RESULT = Lengths.of(500, 8_000)  # what a tool's answer adds to the next prompt: ours
_REWRITE_SHARE = 0.1  # turns whose history is compacted from some point on: set so that 89 % of blocks were seen


def _agent(p: Profile, rng: Random) -> Iterator[Session]:
    ids = BlockIds(common=_AGENT_COMMON_BLOCKS)
    for at_s in arrivals.poisson(rng, p.rate):
        yield Session(turns=tuple(_agent_turns(at_s, ids, p, rng)))


def _agent_turns(at_s: float, ids: BlockIds, p: Profile, rng: Random) -> Iterator[TraceRequest]:
    low, high = _AGENT_TURNS
    prompt = ids.start(ids.common * BLOCK_TOKENS + p.prompt.draw(rng))
    gap_s = 0.0
    for _ in range(round(low + (high - low) * rng.betavariate(2.0, 1.3))):
        output_tokens = p.output.draw(rng)
        yield replace(_of_prompt(at_s, prompt, output_tokens), gap_s=gap_s)
        gap_s = _AGENT_GAP.draw(rng)
        at_s += gap_s
        grown = min(p.prompt.cap, prompt.tokens + output_tokens + _TOOL_RESULT.draw(rng))
        if rng.random() < _REWRITE_SHARE:
            kept = round(prompt.tokens * rng.random())
            prompt = Prompt(tokens=kept, blocks=prompt.blocks[: kept // BLOCK_TOKENS])
        prompt = ids.extend(prompt, grown)


_CHAT_PROMPT = Lengths(  # Azure chat: p50 1,020, modes near 1.1 k and 4.1 k, p99 4.1 k
    humps=(
        Hump(weight=0.46, p50=380, p99=2_600),
        Hump(weight=0.32, p50=1_080, p99=1_250),
        Hump(weight=0.14, p50=2_000, p99=4_200),
        Hump(weight=0.08, p50=4_110, p99=4_200),
    ),
    cap=16_000,
)
_CHAT_OUTPUT = Lengths(  # Azure chat: p50 129, modes 85-130 and 400-450, p99 600
    humps=(
        Hump(weight=0.66, p50=95, p99=330),
        Hump(weight=0.32, p50=408, p99=470),
        Hump(weight=0.02, p50=600, p99=1_000),
    ),
    cap=2_000,
)
_PLAIN_PROMPT, _PLAIN_OUTPUT = Lengths.of(512), Lengths.of(128)

_ALL = (
    Profile(
        name="constant",
        summary="evenly spaced, 512 tokens in and 128 out",
        rate=1.0,
        prompt=_PLAIN_PROMPT,
        output=_PLAIN_OUTPUT,
        make=_plain(arrivals.constant),
    ),
    Profile(
        name="poisson",
        summary="independent arrivals, 512 tokens in and 128 out",
        rate=1.0,
        prompt=_PLAIN_PROMPT,
        output=_PLAIN_OUTPUT,
        make=_plain(arrivals.poisson),
    ),
    Profile(
        name="code-burst",
        summary="code completion: minutes of silence, then bursts to 67 requests/s; long in, short out",
        rate=arrivals.BURST_MEAN_RATE,
        prompt=Lengths.of(1_470, 8_500, cap=7_400),
        output=Lengths.of(13, 251, cap=1_000),
        make=_plain(arrivals.bursts),
    ),
    Profile(
        name="chat",
        summary="people chatting: nearly Poisson on a slow trend, two modes of length",
        rate=5.5,  # 19,366 requests in 3,502 s
        prompt=_CHAT_PROMPT,
        output=_CHAT_OUTPUT,
        make=_plain(arrivals.trend),
    ),
    Profile(
        name="long-chat",
        summary="long conversations that come back after minutes and share their history",
        rate=3.4,  # 12,031 requests in 3,537 s
        prompt=Lengths.of(6_200, 85_000),  # with continued sessions: p50 6.9 k
        output=Lengths.of(350, 1_118, cap=2_000),
        make=_long_chat,
    ),
    Profile(
        name="reasoning",
        summary="a few clients in bursts, answers of thousands of tokens",
        rate=1.0,
        prompt=Lengths.of(500, 8_000, cap=32_000),  # ours: the recordings name output only
        output=Lengths.of(800, 12_700, cap=32_000),
        make=_reasoning,
    ),
    Profile(
        name="agent",
        summary="closed sessions of 4-44 turns; each prompt repeats and extends the one before",
        rate=0.1,
        prompt=Lengths.of(1_500, 8_000, cap=64_000),
        output=Lengths.of(150, 1_500, cap=4_000),  # ours
        make=_agent,
    ),
    Profile(
        name="diurnal",
        summary="a day's curve by the hour, with steps of +40 % in ten minutes",
        rate=2.0,
        prompt=_CHAT_PROMPT,
        output=_CHAT_OUTPUT,
        make=_plain(arrivals.diurnal),
    ),
    Profile(
        name="diurnal-stress",
        summary="a day's curve with steps of +220 % in ten minutes, the worst recorded",
        rate=2.0,
        prompt=_CHAT_PROMPT,
        output=_CHAT_OUTPUT,
        make=_plain(arrivals.diurnal_stress),
    ),
)
PROFILES: Mapping[str, Profile] = MappingProxyType({p.name: p for p in _ALL})
