"""Rules on what pages and comments say: sentences of the guides that are not so. Pure.

Only prose is read: Markdown outside code, and comments. A sentence that denies the claim is no finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from penstock.operate.doctor.case import Case
from penstock.operate.doctor.findings import Hit, Rule, Severity

__all__ = ["RULES"]

_WRONG = r"\b(?:not true|is wrong|are wrong|wrong:|myth|outdated|contrary)\b"
_DENIED = (
    rf"{_WRONG}|\b(?:no longer|instead of|rather than|unlike|does not|do not|don't|doesn't|isn't|never|nothing to do"
    r"|not because|is not|are not|not in)\b"
)
"""What makes a sentence one that denies a claim, where a rule has no words of its own."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*])|\n(?=\s*[-*|>#]|\s*\d+\.)")


def _claim(pattern: str, message: str, denied: str) -> Callable[[Case], Iterator[Hit]]:
    """A rule's function: the claim's pattern in one sentence of prose that does not deny it."""
    wanted, denial = re.compile(pattern, re.IGNORECASE | re.DOTALL), re.compile(denied, re.IGNORECASE)

    def check(case: Case) -> Iterator[Hit]:
        for snippet in case.snippets("prose"):
            if wanted.search(snippet.text) is None:
                continue
            start = 0
            for end in [*(m.end() for m in _SENTENCE.finditer(snippet.text)), len(snippet.text)]:
                sentence = snippet.text[start:end]
                match = wanted.search(sentence)
                if match is not None and denial.search(sentence) is None:
                    at = start + match.start()
                    at += len(snippet.text[at:]) - len(snippet.text[at:].lstrip())
                    line = snippet.text.count("\n", 0, at) + 1
                    column = at - snippet.text.rfind("\n", 0, at)
                    shown = " ".join(sentence.split())
                    yield Hit(
                        where=snippet.where(line, column),
                        message=message,
                        evidence=shown if len(shown) <= 200 else f"{shown[:197]}...",
                    )
                    break
                start = end

    return check


_SECONDS = r"(?:\d+\s*(?:-|–|to)\s*\d+|\d+)\s*(?:s\b|sec)"
_SOON = rf"(?:{_SECONDS}|(?:under|within|less than) (?:a|one|1) minute|(?:under|within) {_SECONDS})"
_INFO = Severity.INFO


def _rule(  # noqa: PLR0917 — a table's columns
    id: str,  # noqa: A002
    title: str,
    row: int,
    pattern: str,
    message: str,
    consequence: str,
    fix: str,
    denied: str = _DENIED,
) -> Rule:
    return Rule(
        id=id,
        title=title,
        severity=_INFO,
        rows=(row,),
        consequence=consequence,
        fix=fix,
        check=_claim(pattern, message, denied),
    )


RULES = (
    _rule(
        "PS015-lead-time-too-short",
        "A new engine is not ready within a minute",
        15,
        r"(?!.*\b(?:[2-9]|\d\d+|two|three|four|five|ten|several|some|many|a few)\s*(?:(?:-|–|to)\s*\w+\s*)?min)"
        rf"(?=.*\b(?:hpa|autoscal\w*|scal(?:e|es|ing)(?:[ -](?:up|out))?)\b)(?=.*\b(?:ready|breach"
        rf"|new (?:pod|replica)s?|serv\w+ traffic)\b)(?=.*{_SOON}).*",
        "promises a new replica within a minute of the breach",
        "The signal alone takes 45 to 90 s to arrive, and an engine 100 s to 10 minutes to load:"
        " capacity planned by this is late.",
        "Measure it (`penstock plan` says the load time), and let the scaler look ahead by that much.",
    ),
    _rule(
        "PS326-pdb-rollout-claim",
        "A PodDisruptionBudget does not govern rolling updates",
        26,
        r"\b(?:PDB|Pod ?Disruption ?Budget|min ?available)s?\b.*\b(?:rolling (?:update|upgrade)|rollout|during (?:an"
        r" )?(?:update|upgrade)|deployment update|new version)s?\b"
        r"|\b(?:rolling (?:update|upgrade)|rollout|update)s?\b.*\b(?:PDB|Pod ?Disruption ?Budget)s?\b",
        "says that a PodDisruptionBudget governs rolling updates",
        "It holds evictions only; the Deployment's strategy alone decides what an update takes down.",
        "Set `strategy.rollingUpdate`; keep the budget for node drains.",
        denied=_WRONG
        + r"|\b(?:not|never|n't|nothing)\b(?:\W+\w+){0,2}\W+(?:govern|protect|appl|affect|cover|hold|concern"
        r"|matter|limit|consult|respect|block|slow|stop|help|do with|rolling|roll-?out|update)|\bevictions? only\b"
        r"|\bonly (?:\w+ )?(?:evictions?|drains?)\b|\bignor\w+|\bevictions?\b.{0,30}\bnot\b",
    ),
    _rule(
        "PS327-v1beta1-claim",
        "policy/v1beta1 is not deprecated but gone",
        27,
        r"v1beta1\b.*\bdeprecated\b|\bdeprecated\b.*\bv1beta1\b",
        "calls policy/v1beta1 deprecated",
        "It was removed in Kubernetes 1.25: the object is refused.",
        "Write policy/v1.",
        denied=_DENIED + r"|\b(?:removed|gone|used to)\b",
    ),
    _rule(
        "PS328-zero-drop-claim",
        "Surge alone does not save running requests",
        28,
        r"(?:max ?surge|max ?unavailable|rolling update)\b.*\b(?:zero|no|without (?:any )?)"
        r" ?(?:dropp?ed|lost|down ?time|interrupt\w+)",
        "promises an update without dropped connections from maxSurge and maxUnavailable",
        "SIGTERM aborts what runs unless the engine has a `--shutdown-timeout`; and the surge"
        " waits for ever without a free GPU.",
        "preStop sleep, `--shutdown-timeout`, a grace period over both, and a free set of GPUs.",
    ),
    _rule(
        "PS332-spot-notice-claim",
        "The notice before a spot machine goes differs by cloud",
        32,
        r"(?:spot|preempt\w*)\b.*\b30[ -]?s(?:ec\w*)?\b.*\b(?:every|all|any|each|aws|clouds?)\b"
        r"|\bno hard errors\b|(?:spot|preempt\w*)\b.*\bno (?:hard )?errors\b",
        "says that spot machines go with the same notice everywhere, or without errors",
        "AWS gives 2 minutes, GCP and Azure 30 s; streams break, a reload takes minutes, and a"
        " budget does not hold a reclaimed node.",
        "Retry before the first token in the gateway, and keep an on-demand floor.",
    ),
    _rule(
        "PS333-tp-hang-claim",
        "A wrong tensor-parallel size does not hang",
        33,
        r"\b(?:tensor[ -]?parallel\S*|tp)\b.*\b(?:must|equals?|match\w*|same|differs?|mismatch\w*)\b.*\b(?:hangs?"
        r"|stuck)\b"
        r"|\b(?:hangs?|stuck)\b.*\b(?:tensor[ -]?parallel\S*|tp)\b",
        "says that the pod hangs where tensor parallelism differs from the GPUs",
        "More than there are is an error at start; fewer wastes the rest silently, which nobody then looks for.",
        "Check both ways: TP × PP × DP equals the pod's GPUs.",
        denied=_WRONG + r"|\b(?:not|never|n't|nothing)\b(?:\W+\w+)?\W+(?:hang|stuck)|\b(?:instead of|rather than) hang"
        r"|\b(?:an error|exits|fails at start)\b",
    ),
    _rule(
        "PS334-shm-claim",
        "The KV cache is not in /dev/shm",
        34,
        r"(?:/dev/shm|\bshm\b|shared memory)\b.*\bkv[ -]?cache|kv[ -]?cache\b.*(?:/dev/shm|\bshm\b|shared memory)",
        "says that /dev/shm is for the KV cache",
        "The cache is in GPU memory; /dev/shm is for NCCL and the workers, and counts against the memory limit.",
        "Size it by tensor parallelism, about 1 GiB for each GPU and one more.",
    ),
    _rule(
        "PS335-oom-claim",
        "Not every out-of-memory error wants a lower gpu-memory-utilization",
        35,
        r"\A(?=.*(?:out[- ]of[- ]memory|\boom\b|memory error|memory runs? out|available memory"
        r"|cache blocks|crash)).*?(?:"
        r"\b(?:lower|reduce|decrease|drop)\b.*\bgpu[-_ ]memory[-_ ]utili[sz]ation|gpu[-_"
        r" ]memory[-_ ]utili[sz]ation\b.*\b(?:lower|reduce|decrease)d?\b)",
        "says to lower gpu-memory-utilization when memory runs out",
        "Where no KV blocks are left at start it must be raised (or the context shortened);"
        " lowering it makes that worse.",
        "Go by the message: raise it for `No available memory for the cache blocks`, lower it for"
        " an error in a forward pass or in CUDA graphs.",
        denied=_DENIED + r"|\b(?:only where|forward pass|graphs?|activations?)\b",
    ),
    _rule(
        "PS345-driver-claim",
        "The current image needs driver 580",
        45,
        r"\bdriver\b[^.]{0,40}(?:>=|≥|at least|version|or newer)?[^.\d]{0,20}\b5[0-7]\d\b|\bCUDA"
        r" 12\.\d\b.*\bvllm\b|\bvllm\b.*\bCUDA 12\.\d\b",
        "names a driver or CUDA that the current image does not run on",
        "vLLM's main image is CUDA 13.0, which needs driver 580 or newer: older ones fail at start.",
        "Driver 580 or newer, or an image built for CUDA 12 (its tag says so).",
    ),
    _rule(
        "PS347-rwx-claim",
        "A shared volume is not the fastest way to load",
        47,
        r"\b(?:RWX|ReadWriteMany)\b.*\b(?:most (?:critical|important)|biggest|single (?:most"
        r"|biggest))\b|\b(?:most (?:critical|important)|biggest)\b.*\b(?:RWX|ReadWriteMany)\b",
        "calls ReadWriteMany the most critical optimisation",
        "A network file system read by memory mapping can be slower than a direct download.",
        "RWX with a streaming or prefetching loader, or a cache on the node; measure.",
    ),
    _rule(
        "PS349-compare-claim",
        "Output quality cannot be compared by eye",
        49,
        r"\bcompare\b[^.]{0,80}\b(?:output quality|quality of (?:the"
        r" )?outputs?)\b(?![^.]*\b(?:judge|eval|benchmark|score|test|metric|sampled"
        r"|deterministic)\w*)",
        "asks to compare output quality without saying how",
        "Nobody does it, or on ten prompts; a regression goes out.",
        "A sampled shadow with deterministic checks: JSON and tool-call validity, refusals, lengths, finish reasons.",
    ),
    _rule(
        "PS052-dated-gpu-table",
        "GPU classes by parameter count are dated",
        52,
        r"\b(?:7|8|13|70|120)B\b[^.\n]{0,60}\b(?:A10G?|L4|T4|A100[ -]?40\w*)\b|\b(?:A10G?|L4|A100["
        r" -]?40\w*)\b[^.\n]{0,40}\b(?:7|8|13|70|120)B\b",
        "matches models to GPUs by parameter count",
        "Precision and context decide: FP8 halves the weights, a long context takes more than"
        " they do; L40S, H200 and B200 are missing.",
        "`penstock plan --model NAME --context N` computes it.",
    ),
    _rule(
        "PS053-wrong-facts",
        "A fact that is not one",
        53,
        r"very large language model|\b(?:ollama|llama\.cpp)\b[^.\n]{0,60}\bcpu[ -]only\b|\bcpu["
        r" -]only\b[^.\n]{0,60}\b(?:ollama|llama\.cpp)\b"
        r"|tensorrt[- ]llm\b[^.\n]{0,80}\bno (?:native )?(?:k8s|kubernetes)",
        "says something of vLLM, Ollama, llama.cpp or TensorRT-LLM that is not so",
        "A choice made by it is made by a mistake: Ollama and llama.cpp run on GPUs, TensorRT-LLM"
        " runs on Kubernetes (Triton, Dynamo),"
        " and vLLM's V is for its virtual memory of KV blocks.",
        "Correct it.",
    ),
)
