"""One model of the fleet: where it comes from, how it runs, what it promises."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from penstock.spec.base import SpecObject

__all__ = ["EngineSpec", "HardwareSpec", "ModelSpec", "ObjectivesSpec"]

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"
ModelName = Annotated[str, Field(pattern=_NAME, max_length=200)]


def _endpoint_url(value: str) -> str:
    """Checks that an endpoint is `http://host[:port]` with nothing after it; returns it without a trailing slash."""
    parts = urlsplit(value)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("an endpoint is http://HOST:PORT, as in http://127.0.0.1:9001")
    if parts.path.rstrip("/") or parts.query or parts.fragment or parts.username:
        raise ValueError("an endpoint is http://HOST:PORT without path, query or user; the API path is added for you")
    _ = parts.port  # raises ValueError when out of range
    return f"http://{parts.netloc}"


EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]
FlagValue = str | int | float | bool | None


class EngineSpec(SpecObject):
    """How the engine of this model is started."""

    type: Literal["auto", "vllm", "simulated"] = "auto"
    """Which engine runs. `auto`: vLLM where it is installed and `source` is a folder on disk, else the simulated engine; `up` says which and why."""
    version: str = "0.32.0"
    """vLLM version whose API and flags are meant, as in `0.32.0`."""
    image: str | None = None
    """Container image on Kubernetes. Default: the image of `version`."""
    venv: str | None = None
    """Virtual environment that has the `vllm` command, for `penstock up`. Default: the one Penstock runs in, then PATH."""
    args: dict[str, FlagValue | list[FlagValue]] = Field(default_factory=dict)
    """Engine flags by name without dashes, as in `max-model-len: 8192`. `true` gives the bare flag, `null` removes one of ours, a list repeats the value."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the engine process."""
    speed: Annotated[float, Field(gt=0)] = 1.0
    """Simulated engine only: how many times faster than the named GPU it runs."""
    start_timeout_s: Annotated[float, Field(gt=0)] = 600.0
    """Seconds from start until the engine must answer ready; past it the replica is restarted."""
    stop_timeout_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that running requests get to finish when a replica is stopped; past it the process is killed."""


class HardwareSpec(SpecObject):
    """What one replica runs on."""

    gpu: str = "H100"
    """GPU by its facts name, as in `H100`, `L4`, `H200`."""
    count: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs of one replica."""
    tensor_parallel: Annotated[int, Field(ge=1, le=64)] | None = None
    """Tensor-parallel size. Default: `count`."""


class ObjectivesSpec(SpecObject):
    """What the model promises. Goodput counts the requests that met all that are set."""

    ttft_ms: Annotated[float, Field(gt=0)] | None = None
    """Time to first token, milliseconds, at the 95th percentile."""
    itl_ms: Annotated[float, Field(gt=0)] | None = None
    """Time between tokens, milliseconds, at the 95th percentile."""
    e2e_ms: Annotated[float, Field(gt=0)] | None = None
    """Whole request, milliseconds, at the 95th percentile."""


class ModelSpec(SpecObject):
    """One model and its replicas."""

    name: ModelName
    """Name that clients send in `model`."""
    source: str | None = None
    """Hub name as in `Qwen/Qwen3-8B`, or a folder on disk. Default: `name`."""
    revision: str | None = None
    """Revision of `source`: a commit, tag or branch. Pin it in production."""
    aliases: list[ModelName] = Field(default_factory=list)
    """Other names that clients may send; answered by this model."""
    task: Literal["auto", "generate", "embed"] = "auto"
    """What the model does. `auto`: from what is known of `source`."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Engines that serve this model."""
    hardware: HardwareSpec | None = None
    """What each replica runs on. Default: one H100."""
    engine: EngineSpec = Field(default_factory=EngineSpec)
    """How the engine is started."""
    objectives: ObjectivesSpec = Field(default_factory=ObjectivesSpec)
    """What the model promises."""
    endpoints: Annotated[list[EndpointUrl], Field(min_length=1)] | None = None
    """Engines that already run elsewhere, as `http://HOST:PORT`. With it nothing is started for this model."""

    @model_validator(mode="after")
    def _endpoints_or_hardware(self) -> Self:
        if self.endpoints is not None:
            if self.hardware is not None:
                raise ValueError(
                    "has both `endpoints` (engines that run elsewhere) and `hardware` (engines to start): keep one"
                )
            if len(set(self.endpoints)) != len(self.endpoints):
                raise ValueError("names the same endpoint twice in `endpoints`")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every name a client may send for this model, the main one first."""
        return (self.name, *self.aliases)

    @property
    def source_or_name(self) -> str:
        """The model's source; its name where none is given."""
        return self.source if self.source is not None else self.name
