"""An engine's flags as words of its command line: ours, with the file's over them. Pure.

One rule for `up` and for clusters: `true` gives the bare flag, `false` its `no-` form, null removes one of ours, a list
repeats the value. Guarantees that a flag which is ours alone is never taken from a file, and that each flag which is
not carried leaves a note that says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock.facts import flag_trouble
from penstock.spec import HardwareSpec, ModelSpec
from penstock.spec.traffic import KV_REPLAY_PORT_AFTER

__all__ = [
    "EVENTS_FLAG",
    "SIMULATED_FLAGS",
    "EngineFlags",
    "events_config",
    "field_flags",
    "flag_words",
    "joined_words",
    "merged_flags",
    "simulated_flags",
]

SIMULATED_FLAGS = frozenset(
    {
        "block-size",
        "calibration",
        "enable-chunked-prefill",
        "enable-faults",
        "enable-prefix-caching",
        "gpu-memory-utilization",
        "max-model-len",
        "max-num-batched-tokens",
        "max-num-seqs",
        "no-enable-chunked-prefill",
        "no-enable-prefix-caching",
        "num-gpu-blocks-override",
        "scheduling-policy",
        "seed",
        "shutdown-timeout",
        "startup-delay-s",
        "tensor-parallel-size",
    }
)
"""Engine flags that `penstock engine` takes too; others change nothing in a simulation and are dropped with a note."""


EVENTS_FLAG = "kv-events-config"


def events_config(port: int) -> str:
    """Value of `EVENTS_FLAG`: the engine publishes what its prefix cache holds by ZMQ, on a port of every address, and
    repeats what was missed on the next.

    Fields as in vLLM 0.32's `KVEventsConfig`, which binds where the address is `*` and connects where it is another.
    A data-parallel rank adds itself to both ports, so that ranks would take each other's.
    """
    ports = {"endpoint": f"tcp://*:{port}", "replay_endpoint": f"tcp://*:{port + KV_REPLAY_PORT_AFTER}"}
    return json.dumps({"enable_kv_cache_events": True, "publisher": "zmq", **ports}, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFlags:
    """Flags by name without dashes, each with its values; none for a bare flag."""

    flags: dict[str, list[str]]
    notes: tuple[str, ...] = ()
    """What of the file was not carried over, in words."""


def field_flags(model: ModelSpec) -> dict[str, str]:
    """What the fields of a model say as flags, its hardware's parallel sizes among them."""
    return {**(model.hardware or HardwareSpec()).engine_flags, **model.engine_flags}


def merged_flags(
    model: ModelSpec, defaults: Mapping[str, str], *, owned: Mapping[str, str], version: str | None = None
) -> EngineFlags:
    """The engine's flags, `engine.args` over `defaults`.

    `owned` are flags that whoever starts the engine sets, each with the reason why a file's value is not taken. With
    `version` flags that this vLLM does not start with are left out.
    """
    flags = {name: [value] for name, value in defaults.items()}
    if model.trust_remote_code:
        flags["trust-remote-code"] = []
    notes: list[str] = []
    for given, value in model.engine.args.items():
        name = given.replace("_", "-")
        if name in owned:
            notes.append(f"engine flag {name} is not taken from the file: {owned[name]}")
        elif value is None:
            flags.pop(name, None)
        elif version is not None and (trouble := _trouble(name, value, version)) is not None:
            notes.append(f"engine flag {name} is left out: {trouble}")
        elif value is True:
            flags.pop(f"no-{name}", None)
            flags[name] = []
        elif value is False:
            flags.pop(name, None)
            flags[f"no-{name}"] = []
        else:
            flags[name] = [str(v) for v in value] if isinstance(value, list) else [str(value)]
    return EngineFlags(flags=flags, notes=tuple(notes))


def _trouble(name: str, value: object, version: str) -> str | None:
    written = f"--no-{name}" if value is False else f"--{name}"
    return flag_trouble(f"--{name}", version) or flag_trouble(written, version)


def simulated_flags(merged: EngineFlags) -> EngineFlags:
    """Those that the simulated engine takes too."""
    dropped = sorted(set(merged.flags) - SIMULATED_FLAGS)
    notes = [f"the simulated engine has no use for {', '.join(dropped)}: dropped"] if dropped else []
    kept = {name: values for name, values in merged.flags.items() if name in SIMULATED_FLAGS}
    return EngineFlags(flags=kept, notes=(*merged.notes, *notes))


def flag_words(flags: Mapping[str, list[str]]) -> list[str]:
    """Flags as command-line words. A value that begins with a dash is joined, else it would read as a flag."""
    words: list[str] = []
    for name, values in flags.items():
        if len(values) == 1 and values[0].startswith("-"):
            words.append(f"--{name}={values[0]}")
        else:
            words += [f"--{name}", *values]
    return words


def joined_words(flags: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Each flag's name with its words, a single value joined to it: one line each where they are listed."""
    for name, values in flags.items():
        match values:
            case []:
                yield name, f"--{name}"
            case [value]:
                yield name, f"--{name}={value}"
            case _:
                yield name, f"--{name}"
                yield from ((name, value) for value in values)
