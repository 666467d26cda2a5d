"""How far the performance model and the simulated engine are from real vLLM: the tables of `docs/accuracy.md`.

    .venv/bin/python -m bench.accuracy [--write] [--trace DAY.csv.gz] [--aiconfigurator PATH]

Needs the measurements beside the checkout. Everything but the seconds of the trace is the same on every machine.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.h200 import SERVED, WARM, load_points, points, rows, starts
from bench.report import replace_marked
from penstock.facts import find_gpu, find_model
from penstock.perf import Calibration, Regime, StepTime, default_calibration, plan_memory
from penstock.perf.fitting import DECODE_OVERHEADS, PREFILL_OVERHEADS, Point, fit_points, predict
from penstock.simulate.engine import EngineConfig, LengthRequest, OpenLoop, VirtualEngine, replay_open_loop
from penstock.simulate.engine.pipeline import Pipeline
from penstock.simulate.engine.scheduler import Batch
from penstock.simulate.engine.scheduler import Sequence as Tokens

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "accuracy.md"
GPU = find_gpu("H200")
SHIPPED = default_calibration(GPU)
WINDOW = 12
REPLAYS = 8
FIT = (*DECODE_OVERHEADS, *PREFILL_OVERHEADS, "host.ungraphed_expert_layer_s")


def _table(head: Sequence[str], body: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in body]
    return "\n".join(lines) + "\n"


def _pct(value: float, signed: bool = False) -> str:
    return f"{value * 100:+.1f} %" if signed else f"{value * 100:.1f} %"


def _quantile(values: Sequence[float], share: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def memory_table() -> str:
    body = []
    for start in starts():
        options = start["options"]
        plan = plan_memory(
            find_model(start["model"]),
            GPU,
            utilization=float(options["--gpu-memory-utilization"]),
            max_num_batched_tokens=int(options.get("--max-num-batched-tokens", 8192)),
            max_model_len=int(options["--max-model-len"]),
            kv_dtype=options.get("--kv-cache-dtype"),
            is_cold=start["run"] not in WARM,
        )
        printed = int(start["kv_tokens"])
        shown = " ".join(a.removeprefix("--") for a in start["args"][2:])
        error = _pct(plan.kv_tokens / printed - 1, signed=True).replace(".0 %", ".0 %")
        body.append((start["model"], shown, f"{printed:,}", f"{plan.kv_tokens:,}", error))
    return _table(("model", "options", "vLLM printed", "said", "error"), body)


def _errors(found: Sequence[Point], calibration: Calibration) -> list[float]:
    return [predict(p, calibration) / p.seconds - 1 for p in found]


def _error_cells(errors: Sequence[float]) -> tuple[str, str, str]:
    absolute = [abs(e) for e in errors]
    within = sum(1 for e in absolute if e <= 0.20) / len(absolute)
    return _pct(statistics.median(absolute)), _pct(max(absolute)), _pct(within)


def held_out_calibration(held_out: str) -> Calibration:
    """Fitted on every model but one."""
    seen = [p for kind in ("decode", "prefill") for p in points(kind) if p.model.name != held_out]
    return fit_points(seen, SHIPPED, FIT)


def step_tables() -> str:
    body: list[tuple[object, ...]] = []
    covered: list[tuple[str, str, int, int]] = []
    models = sorted({p.model.name for p in points("decode")})
    for name in models:
        other = held_out_calibration(name)
        for kind in ("decode", "prefill"):
            mine = [p for p in points(kind) if p.model.name == name]
            if not mine:
                continue
            shipped, held = _error_cells(_errors(mine, SHIPPED)), _error_cells(_errors(mine, other))
            body.append((name, kind, len(mine), *shipped, *held))
            intervals = [SHIPPED.interval(predict(p, other), p.kind) for p in mine]
            inside = sum(1 for p, (low, high) in zip(mine, intervals, strict=True) if low <= p.seconds <= high)
            covered.append((name, kind, len(mine), inside))
    head = ("model", "kind", "points", "median", "worst", "within 20 %", "held out: median", "worst", "within 20 %")
    for kind in ("decode", "prefill"):
        of_kind = [row for row in covered if row[1] == kind]
        covered.append(("all", kind, sum(row[2] for row in of_kind), sum(row[3] for row in of_kind)))
    shares = [(name, kind, count, _pct(inside / count)) for name, kind, count, inside in covered]
    said = "\nShare of held-out points inside the stated 90 % interval:\n\n"
    return _table(head, body) + said + _table(("model", "kind", "points", "inside"), shares)


def window_errors() -> list[float]:
    """Recorded steps of the loaded server, replayed through the pipeline: errors of windows of 12 steps."""
    pipeline: Pipeline[int] = Pipeline(StepTime(SERVED.model, GPU))
    share = (Tokens(request_id="", number=0, tokens=1, arrival=0.0), 1)
    recorded = rows("engine-steps-llama-3.1-8b.csv.gz")
    run: list[tuple[float, float]] = []
    errors: list[float] = []
    last_step, last_out = -1, 0.0
    waiting: float | None = None
    for row in recorded:
        step, out, decided = int(row["step"]), float(row["t_out"]), float(row["t_sched0"])
        if step != last_step + 1 or decided - last_out > 0.004:
            pipeline.flight, run, waiting = None, [], None
        prefills, requests = int(row["pref_reqs"]), int(row["reqs"])
        batch = Batch(
            shares=[share] * requests,
            prefill_tokens=int(row["pref_tok"]),
            prefill_requests=prefills,
            prefill_pairs=float(row["pref_attn"]),
            decode_tokens=requests - prefills,
            decode_context=int(row["dec_ctx"]),
        )
        at, due = pipeline.step(batch, step, pipeline.host_free)
        if due is not None and waiting is not None:
            run.append((at, waiting))
        waiting, last_step, last_out = out, step, out
        if len(run) > WINDOW:
            said, seen = run[-1][0] - run[0][0], run[-1][1] - run[0][1]
            errors.append(said / seen - 1)
            run = run[-1:]
    return errors


def window_table() -> str:
    errors = window_errors()
    cells = _error_cells(errors)
    return _table(("windows of 12 steps", "median", "worst", "within 20 %"), [(len(errors), *cells)])


def _load_figures(replays: Sequence[OpenLoop]) -> dict[str, float]:
    """What replays say together, under the names of the measured figures."""
    ttft = [a.ttft_s * 1e3 for replayed in replays for a in replayed.answered]
    gaps = [g * 1e3 for replayed in replays for a in replayed.answered for g in a.gaps_s]
    return {
        "ttft_p50": _quantile(ttft, 0.5),
        "ttft_p95": _quantile(ttft, 0.95),
        "ttft_p99": _quantile(ttft, 0.99),
        "itl_p50": _quantile(gaps, 0.5),
        "itl_p99": _quantile(gaps, 0.99),
        "itl_mean": statistics.mean(gaps),
        "out_tok_s": statistics.mean(replayed.output_tokens_per_s for replayed in replays),
        "max_running": round(statistics.mean(replayed.running_max for replayed in replays)),
        "max_kv": statistics.mean(replayed.kv_usage_max for replayed in replays),
    }


def replays(requests: Sequence[tuple[float, LengthRequest]], config: EngineConfig = SERVED) -> list[OpenLoop]:
    """The same requests with the host slow at other times in each: a dozen seconds are too few for a tail."""
    return [replay_open_loop(requests, config, phase=n / REPLAYS) for n in range(REPLAYS)]


def _load_row(name: str, measured: dict[str, float], said: dict[str, float]) -> tuple[str, ...]:
    cells = (f"{value:.3g} / {measured[k]:.3g} ({(value / measured[k] - 1) * 100:+.0f} %)" for k, value in said.items())
    return (name.removeprefix("p_").replace("_", " / "), *cells)


_LOAD_REGIMES: tuple[tuple[str, Regime], ...] = (("ttft", "ttft"), ("itl", "itl"), ("out_tok_s", "throughput"))
"""Start of a figure's name, and the interval that is stated with it."""


def _covered_loads(pairs: Sequence[tuple[dict[str, float], dict[str, float]]]) -> str:
    """Share of measured figures inside the interval around the replayed one."""
    body = []
    for start, regime in _LOAD_REGIMES:
        inside = [
            low <= measured[name] <= high
            for measured, said in pairs
            for name, value in said.items()
            if name.startswith(start)
            for low, high in (SHIPPED.interval(value, regime),)
        ]
        body.append((regime, len(inside), _pct(sum(inside) / len(inside))))
    return _table(("kind", "figures", "inside"), body)


def load_table() -> str:
    head = (
        "prompt / output / rate", "TTFT p50 ms", "p95", "p99", "ITL p50 ms", "p99", "mean", "tokens/s", "running", "KV",
    )  # fmt: skip
    found = [(name, measured, _load_figures(replays(requests))) for name, (measured, requests) in load_points().items()]
    said = "\nShare of these figures (not held out) inside the stated 90 % interval:\n\n"
    return _table(head, [_load_row(*row) for row in found]) + said + _covered_loads([row[1:] for row in found])


def trace_table(path: Path, replicas: int = 8) -> str:
    """A day's trace on eight replicas, one core: CPU time, whatever else the machine does."""
    began = time.process_time()
    config = replace(SERVED, max_model_len=32768)
    engines = [VirtualEngine(config) for _ in range(replicas)]
    count = served = 0
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            now = int(row["t_ms"]) / 1e3
            for engine in engines:
                served += len(engine.advance(now))
            prompt, output = max(1, min(32_000, int(row["input_tokens"]))), max(1, int(row["output_tokens"]))
            request = LengthRequest(id=str(count), prompt_tokens=prompt, output_tokens=output)
            engines[count % replicas].submit(request, now)
            count += 1
    served += sum(len(engine.drain()) for engine in engines)
    seconds = time.process_time() - began
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert served == count
    steps = sum(engine.steps for engine in engines)
    head = ("requests", "replicas", "engine steps", "CPU seconds", "memory MB")
    return _table(head, [(f"{count:,}", replicas, f"{steps:,}", f"{seconds:.0f}", f"{megabytes:.0f}")])


_MODEL_NAMES = {"llama-3.1-8b": "meta-llama/Meta-Llama-3.1-8B", "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B"}


def _ask_aiconfigurator(program: str, model: str, mode: str, tokens: int, batch: int) -> float | None:
    """Milliseconds that it says for one decode step or one prefill; None where it has no answer."""
    command = [
        program, "cli", "estimate", "--model-path", _MODEL_NAMES[model], "--system", "h200_sxm", "--backend", "vllm",
        "--estimate-mode", mode, "--isl", str(tokens), "--osl", "2", "--batch-size", str(batch),
        "--moe-tp-size", "1", "--moe-ep-size", "1",
    ]  # fmt: skip
    if model == "llama-3.1-8b":
        command = command[:-4]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    field = "TPOT" if mode == "static_gen" else "TTFT"
    found = re.search(rf"{field}:\s+([\d.,]+) ms", done.stdout + done.stderr)
    return float(found.group(1).replace(",", "")) if found else None


def _published_cases() -> list[tuple[str, Any]]:
    decode = [p for p in points("decode") if p.model.name in _MODEL_NAMES and p.requests in (1, 8, 32, 128, 256)]
    chosen = [p for p in decode if 800 < p.context < 1300]
    prefill = [p for p in points("prefill") if p.prompt_tokens in (512, 2048, 8192) and not p.cached_tokens]
    unique: dict[tuple[str, int], list[Point]] = {}
    for point in prefill:
        unique.setdefault((point.model.name, point.prompt_tokens), []).append(point)
    best = [replace(g[0], seconds=statistics.median(p.seconds for p in g)) for g in unique.values()]
    return [("decode", p) for p in chosen] + [("prefill", p) for p in best]


def published_table(program: str) -> str:
    """AIConfigurator's figures for the measured cases, beside ours held out and as shipped."""
    held = {name: held_out_calibration(name) for name in _MODEL_NAMES}
    body = []
    for kind, point in _published_cases():
        mode = "static_gen" if kind == "decode" else "static_ctx"
        tokens = point.context if kind == "decode" else point.prompt_tokens
        theirs = _ask_aiconfigurator(program, point.model.name, mode, tokens, point.requests)
        what = f"{point.requests} x {point.context}" if kind == "decode" else f"{point.prompt_tokens}"
        measured = point.seconds * 1e3
        ours = predict(point, held[point.model.name]) * 1e3
        shown = "no answer" if theirs is None else f"{theirs:.2f} ({(theirs / measured - 1) * 100:+.0f} %)"
        body.append(
            (
                point.model.name,
                kind,
                what,
                f"{measured:.2f}",
                shown,
                f"{ours:.2f} ({(ours / measured - 1) * 100:+.0f} %)",
            )
        )
    return _table(("model", "kind", "tokens", "measured ms", "AIConfigurator", "Penstock, model held out"), body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/accuracy.md")
    parser.add_argument("--trace", type=Path, help="a day's trace, as CSV in gzip, for the virtual-time table")
    parser.add_argument("--aiconfigurator", help="its program, for the table of published figures")
    options = parser.parse_args()
    parts = [
        ("KV tokens", memory_table()),
        ("Steps", step_tables()),
        ("Steps under load", window_table()),
        ("Open-loop serving", load_table()),
    ]
    if options.trace:
        parts.append(("Virtual time", trace_table(options.trace)))
    if options.aiconfigurator:
        parts.append(("Beside a published calculator", published_table(options.aiconfigurator)))
    text = "\n".join(f"### {title}\n\n{table}" for title, table in parts)
    print(text)
    if options.write:
        DOCUMENT.write_text(replace_marked(DOCUMENT.read_text() if DOCUMENT.exists() else "", text))


if __name__ == "__main__":
    main()
