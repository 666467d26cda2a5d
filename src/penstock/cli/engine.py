"""`penstock engine`: a simulated vLLM 0.32 on an HTTP port, for trying a fleet without a GPU.

Exit codes: 0 ended by SIGTERM or SIGINT, 1 it did not start, 2 the command line is wrong.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from penstock.cli.files import architecture_of, read_text
from penstock.cli.output import say
from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.facts import Task
    from penstock.perf import Calibration
    from penstock.simulate.io.engine import ServiceSettings

__all__ = ["register"]

_TASKS: dict[str, Literal["auto", "generate", "embed"]] = {"auto": "auto", "generate": "generate", "embed": "embed"}


def register(app: typer.Typer) -> None:
    """Adds `engine` to the command line."""
    app.command()(engine)


def engine(
    *,
    model: Annotated[str, typer.Option(help="Name of the model; also what requests call it.")],
    source: Annotated[
        str, typer.Option(help="Hub name or folder whose architecture is simulated. Default: --model.")
    ] = "",
    gpu: Annotated[str, typer.Option(help="GPU whose speed and memory are simulated.")] = "H100",
    tensor_parallel_size: Annotated[int, typer.Option(min=1, help="GPUs that share the model.")] = 1,
    task: Annotated[str, typer.Option(help="auto, generate or embed.")] = "auto",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 8000,
    served_model_name: Annotated[
        list[str] | None, typer.Option(help="Name that requests may use; repeatable. Default: --model.")
    ] = None,
    speed: Annotated[float, typer.Option(help="How many times faster than the GPU it runs.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Changes every generated text.")] = 0,
    max_model_len: Annotated[int | None, typer.Option(min=1, help="Longest prompt plus output, tokens.")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(min=1, help="Most requests in one batch.")] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens in one step.")] = None,
    block_size: Annotated[int | None, typer.Option(min=1, help="Tokens of one KV block.")] = None,
    num_gpu_blocks_override: Annotated[
        int | None, typer.Option(min=1, help="KV blocks. Default: what fits in the GPU.")
    ] = None,
    gpu_memory_utilization: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of GPU memory to use.")
    ] = 0.92,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Times of this GPU as `penstock calibrate` measured them.")
    ] = None,
    scheduling_policy: Annotated[str, typer.Option(help="fcfs or priority.")] = "fcfs",
    enable_prefix_caching: Annotated[bool, typer.Option(help="Reuse KV blocks of equal prefixes.")] = True,
    enable_chunked_prefill: Annotated[bool, typer.Option(help="Split long prompts over steps.")] = True,
    ready_file: Annotated[
        Path | None, typer.Option(help="File to write host, port and pid to when it listens.")
    ] = None,
    startup_delay_s: Annotated[float, typer.Option(min=0, help="Seconds that loading the model takes.")] = 0.0,
    shutdown_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds that running requests get after SIGTERM.")
    ] = 0.0,
    enable_faults: Annotated[
        bool, typer.Option(help="Serve POST /fault: crash, hang, slow, drop, error500, refuse. For tests only.")
    ] = False,
) -> None:
    """Serve a simulated vLLM 0.32: its API, scheduler and timing, with text that depends on the prompt alone."""
    from penstock.facts import engine_defaults, find_gpu  # noqa: PLC0415 — start-up time
    from penstock.simulate.engine import EngineConfig  # noqa: PLC0415 — start-up time
    from penstock.simulate.io.engine import RunOptions, ServiceSettings  # noqa: PLC0415 — start-up time

    if speed <= 0:
        raise UsageError(f"--speed is {speed}, and must be above 0", hint="1 is as fast as the GPU, 10 ten times that")
    architecture = architecture_of(source or model)
    gpu_row = find_gpu(gpu)
    defaults = engine_defaults(gpu_row)
    config = EngineConfig(
        model=architecture,
        gpu=gpu_row,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs or defaults.max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens or defaults.max_num_batched_tokens,
        block_size=block_size or defaults.block_size,
        num_gpu_blocks=num_gpu_blocks_override,
        gpu_memory_utilization=gpu_memory_utilization,
        tensor_parallel=tensor_parallel_size,
        policy=_policy(scheduling_policy),
        enable_prefix_caching=enable_prefix_caching,
        enable_chunked_prefill=enable_chunked_prefill,
        speed=speed,
        seed=seed,
        calibration=_calibration(calibration),
    )
    settings = ServiceSettings(
        served_names=tuple(served_model_name or [model]),
        source=source or model,
        engine=config,
        task=_task(task, architecture.task),
        has_faults=enable_faults,
        has_dev_routes=os.environ.get("VLLM_SERVER_DEV_MODE") == "1",
    )
    options = RunOptions(
        host=host,
        port=port,
        startup_delay_s=startup_delay_s,
        shutdown_timeout_s=shutdown_timeout,
        ready_file=ready_file,
    )
    _serve(settings, options)


def _serve(settings: ServiceSettings, options: object) -> None:
    import uvloop  # noqa: PLC0415 — start-up time

    from penstock.simulate.io.engine import RunOptions, run_engine  # noqa: PLC0415 — start-up time

    assert isinstance(options, RunOptions)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_engine(settings, options, say))


def _calibration(path: Path | None) -> Calibration | None:
    from penstock.perf import Calibration  # noqa: PLC0415 — start-up time

    return None if path is None else Calibration.from_json(read_text(str(path)))


def _task(asked: str, found: Task) -> Task:
    """The task that was asked for; for `auto` the architecture's."""
    if asked not in _TASKS:
        raise UsageError(f"--task is {asked!r}", hint="it is one of: auto, generate, embed")
    chosen = _TASKS[asked]
    return found if chosen == "auto" else chosen


def _policy(asked: str) -> Literal["fcfs", "priority"]:
    if asked == "fcfs":
        return "fcfs"
    if asked == "priority":
        return "priority"
    raise UsageError(f"--scheduling-policy is {asked!r}", hint="it is one of: fcfs, priority")
