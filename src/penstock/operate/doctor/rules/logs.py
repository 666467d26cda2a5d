"""Rules on logs: what the engine said before it died, told apart. Pure.

Messages are vLLM's, PyTorch's, NCCL's and the hub client's own. Each line is taken by the first pattern that knows it,
and a rule speaks once for each log; the same out-of-memory error means five things by what stands around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.evidence import Snippet
from penstock.operate.doctor.findings import Hit, Rule, Severity

__all__ = ["RULES"]

_AROUND = 60
"""Lines before an out-of-memory error in which its traceback lies."""
_SECRET = re.compile(r"hf_[A-Za-z0-9]{8,}|Bearer\s+\S+|sk-[A-Za-z0-9]{8,}")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_OOM = re.compile(r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|HIP out of memory|CUDA error: out of memory")
_LOADING = re.compile(
    r"load_model|create_weights|load_weights|initialize_model|model_loader|process_weights_after_loading"
)
_STARTING = re.compile(
    r"profile_run|_dummy_run|_dummy_sampler_run|capture_model|cudagraph|CUDA graph"
    r"|determine_available_memory|warm_?up|torch\.compile"
)
_LINES_MAX = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """One kind of message: the code of its rule, its pattern, what it means."""

    code: str
    pattern: re.Pattern[str]
    meaning: str


def _message(code: str, pattern: str, meaning: str) -> _Message:
    return _Message(code=code, pattern=re.compile(pattern, re.IGNORECASE), meaning=meaning)


_MESSAGES = (
    _message(
        "PS212",
        r"No available memory for the cache blocks",
        "the weights leave no room for KV blocks within gpu-memory-utilization",
    ),
    _message(
        "PS213",
        r"larger than the (available|maximum number of tokens that can be stored in) KV cache|max"
        r" seq len \(?\d+\)? is larger than the maximum number of tokens|KV cache is needed, which"
        r" is larger than",
        "one request of max-model-len does not fit the KV cache",
    ),
    _message("PS214", r"Free memory on device .{0,80}(less than desired|is less than)", "something else is on the GPU"),
    _message(
        "PS219",
        r"tensor parallel size \(?\d+\)? (cannot be larger|is larger|must be less)|World size"
        r" \(\d+\) is larger than the number of available GPUs|must be divisible by (the )?tensor"
        r" parallel size|requires \d+ GPUs? but|number of required GPUs exceeds",
        "tensor parallelism does not fit the GPUs or the heads",
    ),
    _message("PS220", r"unrecognized arguments:|error: argument -", "the engine does not know a flag"),
    _message(
        "PS221",
        r"driver on your system is too old|driver version is insufficient|unsatisfied condition:"
        r" cuda|forward compatibility was attempted|provided PTX was compiled with an unsupported"
        r" toolchain",
        "the node's driver is too old for the image",
    ),
    _message(
        "PS217",
        r"No space left on device.{0,120}(/dev/shm|shm|psm_)|(/dev/shm|shm).{0,120}No space left"
        r" on device|unable to write to file </torch_|insufficient shared memory|Bus error|out of"
        r" shared memory.{0,40}/dev/shm|Error while creating shared memory segment",
        "too little room in /dev/shm",
    ),
    _message("PS237", r"No space left on device|Disk quota exceeded|Not enough free disk space", "a disk is full"),
    _message(
        "PS238",
        r"403 Client Error|403 Forbidden|not in the authorized list|awaiting a review from the"
        r" repo authors|Your request to access model",
        "the token may not read this model",
    ),
    _message(
        "PS209",
        r"401 Client Error|401 Unauthorized|Invalid (user token|username or password|credentials"
        r" in Authorization)|token (seems invalid|has expired|is expired)|Access to model"
        r" .{0,80}is restricted|gated repo",
        "the Hugging Face token is absent, wrong or expired",
    ),
    _message(
        "PS210",
        r"Repository Not Found|404 Client Error|does not appear to have a file named|is not a"
        r" local folder and is not a valid model identifier|Entry Not Found|No such file or"
        r" directory: .{0,200}(config\.json|safetensors)|Can't load the (configuration|tokenizer)"
        r"|RevisionNotFound",
        "the model is not there",
    ),
    _message(
        "PS229",
        r"Bfloat16 is only supported on GPUs|compute capability.{0,80}(not supported|at least"
        r"|minimum)|no kernel image is available|quantization method .{0,60}(not supported|minimum"
        r" capability)",
        "this GPU cannot compute in that number type",
    ),
    _message(
        "PS218",
        r"collective operation timeout|Watchdog caught|NCCL (error|WARN).{0,120}(timeout|unhandled"
        r"|system error)|ncclInternalError|ncclSystemError|ncclRemoteError|DistBackendError|Timed"
        r" out after .{0,60}waiting for clients",
        "the ranks do not reach each other",
    ),
    _message(
        "PS234",
        r"No CUDA GPUs are available|Failed to infer device type|libcuda\.so\.1: cannot open|Found"
        r" no NVIDIA driver|no NVIDIA GPU|CUDA unknown error|device_count.{0,20}= ?0\b",
        "the container sees no GPU",
    ),
    _message(
        "PS233",
        r"NVRM: Xid|\bXid \d+|uncorrectable ECC|GPU has fallen off the bus|CUDA error:"
        r" (unspecified launch failure|an illegal memory access)",
        "the GPU itself failed",
    ),
    _message(
        "PS239",
        r"trust_remote_code=True|requires you to execute the configuration file|contains custom"
        r" code which must be executed",
        "the model wants to run its own code",
    ),
)


@lru_cache(maxsize=64)
def _found(snippet: Snippet) -> dict[str, tuple[int, str, str]]:
    """By code the first line of a log that says so: line number, text, meaning. Each line is one thing."""
    found: dict[str, tuple[int, str, str]] = {}
    lines = snippet.text.split("\n")[:_LINES_MAX]
    for number, raw in enumerate(lines, 1):
        line = _ANSI.sub("", raw) if "\x1b" in raw else raw
        if _OOM.search(line):
            code, meaning = _memory_error(lines, number - 1)
            found.setdefault(code, (number, line, meaning))
            continue
        message = next((m for m in _MESSAGES if m.pattern.search(line)), None)
        if message is not None:
            found.setdefault(message.code, (number, line, message.meaning))
    if "PS238" in found:
        found.pop("PS209", None)  # a gated repository's page says both
    return found


def _memory_error(lines: list[str], place: int) -> tuple[str, str]:
    """Which out-of-memory error it is, by the traceback before it."""
    before = "\n".join(lines[max(0, place - _AROUND) : place + 1])
    last = max(
        (
            (m.start(), kind)
            for kind, pattern in (("load", _LOADING), ("start", _STARTING))
            for m in pattern.finditer(before)
        ),
        default=(0, ""),
    )
    served = re.search(
        r"execute_model|POST /v1/|EngineCore.{0,40}(died|encountered)|Application startup complete",
        "\n".join(lines[:place]),
    )
    if last[1] == "load":
        return "PS211", "GPU memory ran out while the weights were loaded: they do not fit"
    if last[1] == "start" or not served:
        return (
            "PS215",
            "GPU memory ran out in the trial run or CUDA graphs: lower gpu-memory-utilization,"
            " max-num-seqs or max-num-batched-tokens",
        )
    return (
        "PS216",
        "GPU memory ran out while serving: activations need more than was left; lower gpu-memory-utilization a little",
    )


def _check(code: str) -> Callable[[Case], Iterator[Hit]]:
    def check(case: Case) -> Iterator[Hit]:
        for snippet in case.snippets("log"):
            hit = _found(snippet).get(code)
            if hit is not None:
                number, line, meaning = hit
                shown = _SECRET.sub("(hidden)", " ".join(line.split()))
                yield Hit(
                    where=snippet.where(number, 1),
                    message=meaning,
                    evidence=shown if len(shown) <= 200 else f"{shown[:197]}...",
                )

    return check


def _hpa_table(case: Case) -> Iterator[Hit]:
    for snippet in case.snippets("log"):
        for number, line in enumerate(snippet.text.split("\n")[:_LINES_MAX], 1):
            if "<unknown>" in line and re.search(r"<unknown>\s*/\s*\S+", line):
                yield Hit(
                    where=snippet.where(number, line.index("<unknown>") + 1),
                    message="the HPA gets no metric and does not scale",
                    evidence=" ".join(line.split())[:200],
                )
                break


def _rule(  # noqa: PLR0917 — a table below reads better without names
    id: str,  # noqa: A002
    title: str,
    consequence: str,
    fix: str,
    rows: tuple[int, ...] = (),
    severity: Severity = Severity.ERROR,
) -> Rule:
    return Rule(
        id=id,
        title=title,
        severity=severity,
        rows=rows,
        consequence=consequence,
        fix=fix,
        check=_check(id[:5]),
        is_live=True,
    )


RULES = (
    _rule(
        "PS209-token-refused",
        "The Hugging Face token is refused",
        "The model is not downloaded, and the pod loops.",
        "A valid token in the Secret that HF_TOKEN refers to: `hf auth whoami` with it tells.",
        rows=(37,),
    ),
    _rule(
        "PS238-model-forbidden",
        "The token may not read the model",
        "The model is not downloaded, and the pod loops.",
        "Accept the model's terms with the token's account; a fine-grained token needs read"
        " access to gated repositories.",
        rows=(37,),
    ),
    _rule(
        "PS210-model-not-found",
        "The model is not there",
        "The engine ends at start.",
        "Check the name, the revision and the mount: the folder must hold config.json, the tokenizer and the weights.",
        rows=(18,),
    ),
    _rule(
        "PS211-oom-weights",
        "GPU memory ran out while loading",
        "The pod loops.",
        "More GPUs with tensor parallelism, a larger GPU, or a quantized model;"
        " gpu-memory-utilization does not change it.",
        rows=(19, 35),
    ),
    _rule(
        "PS212-no-kv-blocks",
        "No memory left for KV blocks",
        "The engine ends at start.",
        "Raise --gpu-memory-utilization (0.92 is the default), or use more GPUs or a smaller"
        " model. Lowering it makes it worse.",
        rows=(35,),
    ),
    _rule(
        "PS213-context-beyond-cache",
        "The context does not fit the KV cache",
        "The engine ends at start.",
        "Lower --max-model-len, raise --gpu-memory-utilization, use --kv-cache-dtype fp8, or more GPUs.",
        rows=(22, 35),
    ),
    _rule(
        "PS214-gpu-shared",
        "Something else is on the GPU",
        "The engine ends at start.",
        "Find it with nvidia-smi; without sharing meant, one of the two has no GPU request. Where"
        " it is meant, lower --gpu-memory-utilization.",
        rows=(35,),
    ),
    _rule(
        "PS215-oom-start",
        "GPU memory ran out in the trial run or CUDA graphs",
        "The engine ends at start.",
        "Lower --gpu-memory-utilization by 0.05, --max-num-seqs or --max-num-batched-tokens.",
        rows=(35,),
    ),
    _rule(
        "PS216-oom-serving",
        "GPU memory ran out while serving",
        "Every running request is lost, and the engine restarts.",
        "Lower --gpu-memory-utilization by 0.02 to 0.05, or --max-num-batched-tokens.",
        rows=(35,),
    ),
    _rule(
        "PS217-shm-full",
        "too little room in /dev/shm",
        "Workers end with a bus error or cannot start.",
        "An emptyDir with `medium: Memory` at /dev/shm, about 1 GiB for each GPU and one more.",
        rows=(34,),
    ),
    _rule(
        "PS218-ranks-apart",
        "The ranks do not reach each other",
        "The engine hangs, then ends.",
        "NCCL_DEBUG=INFO; the same image on all nodes, /dev/shm, NCCL_SOCKET_IFNAME, peer access"
        " (NCCL_P2P_DISABLE=1 to try).",
        rows=(33, 34),
    ),
    _rule(
        "PS219-parallel-misfit",
        "Tensor parallelism does not fit",
        "The engine ends at start.",
        "TP × PP × DP equals the pod's GPUs, and TP divides the attention heads.",
        rows=(33,),
    ),
    _rule(
        "PS220-flag-refused",
        "The engine does not know a flag",
        "It exits with 2.",
        "`penstock doctor` on the manifest tells which, and what replaced it.",
        rows=(2, 3),
    ),
    _rule(
        "PS221-driver-refused",
        "The driver is too old for the image",
        "The container does not start, or CUDA does not.",
        "Driver 580 or newer for the current image, or an image built for CUDA 12.",
        rows=(45,),
    ),
    _rule(
        "PS229-type-unsupported",
        "The GPU cannot compute in that type",
        "The engine ends at start.",
        "--dtype half on a T4 or V100; FP8 needs Ada or Hopper.",
        rows=(52,),
    ),
    _rule(
        "PS233-gpu-fault",
        "The GPU failed",
        "Requests die, often again on the same node.",
        "Drain the node, reset or replace the GPU; the Xid number tells which fault.",
        rows=(),
    ),
    _rule(
        "PS234-no-gpu-in-container",
        "The container sees no GPU",
        "The engine ends at start.",
        "Ask for nvidia.com/gpu in the limits; check runtimeClassName and the container toolkit.",
        rows=(),
    ),
    _rule(
        "PS237-disk-full",
        "A disk is full",
        "The download or the compile cache fails.",
        "A larger claim (weights × 1.15), and ephemeral storage for caches.",
        rows=(),
    ),
    _rule(
        "PS239-wants-remote-code",
        "The model wants to run its own code",
        "The engine ends at start.",
        "Prefer a model that vLLM knows; else read the code and allow that revision only.",
        rows=(40,),
    ),
    Rule(
        id="PS240-hpa-table-unknown",
        title="`kubectl get hpa` shows <unknown>",
        severity=Severity.ERROR,
        rows=(5, 12),
        consequence="The HPA never scales.",
        fix="`kubectl describe hpa`; is the metric in `kubectl get --raw /apis/custom.metrics.k8s.io/v1beta1`?",
        check=_hpa_table,
        is_live=True,
    ),
)
