"""Proof by simulation: many seeds of `penstock.simulate.system`, and the story of each one that fails.

    python -m bench.sim --count 10000             # seeds 0 to 9999, on all cores
    python -m bench.sim --seed 1451 --count 1     # one seed, with its story

Exit codes: 0, all rules held; 1, a seed failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from penstock.simulate.io.system import simulate_seed
from penstock.simulate.system import Verdict

STORIES_MAX = 5
"""Failed seeds whose story is told; of the others only the failure."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sim", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=500, help="how many seeds, one after another")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    seeds = range(options.seed, options.seed + options.count)
    verdicts: list[Verdict] = []
    for verdict in _run(seeds, options.jobs):
        verdicts.append(verdict)
        if verdict.failure and sum(bool(v.failure) for v in verdicts) <= STORIES_MAX:
            _tell(verdict)
        if sys.stderr.isatty():
            print(f"\r{len(verdicts)} of {options.count}", end="", file=sys.stderr)
    if options.count == 1 and not verdicts[0].failure:
        _tell(verdicts[0])
    failed = [v.seed for v in verdicts if v.failure]
    outcomes: Counter[str] = sum((v.outcomes for v in verdicts), Counter())
    figures = {
        "seeds": len(verdicts),
        "failed": failed,
        "requests": outcomes.total(),
        "retries": sum(v.retries for v in verdicts),
        "resumes": sum(v.resumes for v in verdicts),
        "continued": sum(v.continued for v in verdicts),
        "hedged": dict(sum((v.hedges for v in verdicts), Counter[str]()).most_common()),
        "events": sum(v.events for v in verdicts),
        "virtual_s": round(sum(v.seconds for v in verdicts)),
        "wall_s": round(time.monotonic() - began, 1),
        "outcomes": dict(outcomes.most_common()),
    }
    if options.output == "json":
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            if name == "outcomes":
                for outcome, count in outcomes.most_common():
                    print(f"  {count:>9,}  {outcome}")
            else:
                print(f"{name:>10}  {value:,}" if isinstance(value, int | float) else f"{name:>10}  {value or 'none'}")
    return 1 if failed else 0


def _run(seeds: range, jobs: int) -> Iterator[Verdict]:
    if jobs < 2 or len(seeds) < 2:
        yield from map(simulate_seed, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(simulate_seed, seeds, chunksize=20)


def _tell(verdict: Verdict) -> None:
    print(f"\nseed {verdict.seed}: {verdict.failure or 'all rules held'}")
    for line in verdict.story:
        print(f"  {line}")
    print(f"  alone: python -m bench.sim --seed {verdict.seed} --count 1")


if __name__ == "__main__":
    sys.exit(main())
