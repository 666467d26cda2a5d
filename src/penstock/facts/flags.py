"""Flags of `vllm serve` that came and went: what a file written for another version must change.

Source: `vllm serve --help=all` of 0.32, what 0.32 answers to each old flag ("unrecognized arguments", exit 2), and the
deprecation notes it prints. Where the version that dropped a flag is not known, `gone_in` is the first one that was
seen without it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ADDED_FLAGS", "GONE_FLAGS", "GoneFlag", "flag_trouble", "version_key"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneFlag:
    """A flag that an engine of `gone_in` and later refuses."""

    name: str
    gone_in: str
    instead: str
    """What to do, in words; "" where it simply goes."""


_SEEN_WITHOUT = "0.32.0"
_SEEN_GOING = {
    "--disable-log-requests": "0.12.0",
    "--num-scheduler-steps": "0.10.2",
    "--multi-step-stream-outputs": "0.10.2",
}
"""Flags whose removal is on record: vLLM pull requests 29402 (November 2025), 22138 and 22779 (August 2025)."""
_INSTEAD = {
    "--disable-log-requests": "nothing: logging is off by default, --enable-log-requests turns it on",
    "--num-scheduler-steps": "nothing: async scheduling is on by default; tune --max-num-batched-tokens",
    "--multi-step-stream-outputs": "nothing: async scheduling is on by default",
    "--use-v2-block-manager": "nothing: there is one block manager",
    "--swap-space": "--kv-offloading-size, where memory of the host should hold KV blocks",
    "--preemption-mode": "nothing: a preempted request is computed again",
    "--max-seq-len-to-capture": "--compilation-config with cudagraph_capture_sizes",
    "--cuda-graph-sizes": "--compilation-config with cudagraph_capture_sizes",
    "--guided-decoding-backend": "--structured-outputs-config with a backend",
    "--enable-reasoning": "--reasoning-parser alone",
    "--worker-use-ray": "--distributed-executor-backend ray",
    "--disable-frontend-multiprocessing": "nothing: the API server is a process of its own",
    "--max-num-partial-prefills": "nothing: chunked prefill shares one token budget",
    "--max-long-partial-prefills": "nothing: chunked prefill shares one token budget",
    "--scheduler-delay-factor": "nothing",
    "--num-lookahead-slots": "--speculative-config",
    "--speculative-model": "--speculative-config",
    "--num-speculative-tokens": "--speculative-config",
    "--calculate-kv-scales": "",
    "--rope-scaling": "--hf-overrides with rope_scaling",
    "--rope-theta": "--hf-overrides with rope_theta",
    "--task": "--runner and --convert",
    "--override-pooler-config": "--pooler-config",
    "--disable-async-output-proc": "--no-async-scheduling, if at all",
    "--device": "nothing: the build has one device",
    "--lora-extra-vocab-size": "",
    "--enable-prompt-adapter": "",
    "--tokenizer-pool-size": "",
    "--enable-lora-bias": "",
    "--quantization-param-path": "",
    "--disable-mm-preprocessor-cache": "--mm-processor-cache-gb 0",
    "--num-redundant-experts": "--eplb-config",
}
GONE_FLAGS: tuple[GoneFlag, ...] = (
    *(
        GoneFlag(name=name, gone_in=_SEEN_GOING.get(name, _SEEN_WITHOUT), instead=instead)
        for name, instead in _INSTEAD.items()
    ),
    GoneFlag(name="--log-config-file", gone_in="0.33.0", instead="--logging-config.pylogging_config_file"),
    GoneFlag(name="--disable-cascade-attn", gone_in="0.33.0", instead=""),
)
"""Every flag that older guides use and a newer engine refuses."""

ADDED_FLAGS: dict[str, str] = {"--shutdown-timeout": "0.18.0"}
"""Flags that a fleet relies on, with the first version that has them."""


def version_key(version: str) -> tuple[int, ...]:
    """A version as numbers to compare; a release candidate counts as its release."""
    numbers: list[int] = []
    for part in version.lstrip("v").split("+", 1)[0].split("."):
        digits = "".join(c for c in part if c.isdigit()) if part[:1].isdigit() else ""
        if not digits:
            break
        numbers.append(int(digits if part.isdigit() else part[: len(part) - len(part.lstrip("0123456789"))]))
    return tuple(numbers)


def flag_trouble(flag: str, version: str) -> str | None:
    """Why an engine of this version refuses a flag, in words; None where nothing is known against it."""
    name = flag.split("=", 1)[0].replace("_", "-")
    for gone in GONE_FLAGS:
        if gone.name == name and version_key(version) >= version_key(gone.gone_in):
            advice = f"; use {gone.instead}" if gone.instead.startswith("--") else f"; {gone.instead}"
            return f"vLLM {version} has no {name} and does not start with it" + (
                advice if gone.instead else "; drop it"
            )
    since = ADDED_FLAGS.get(name)
    if since is not None and version_key(version) < version_key(since):
        return f"vLLM {version} has no {name} yet: it came with {since}"
    return None
