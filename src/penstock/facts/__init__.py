"""Tables with a source for each row: GPUs, model architectures, engine defaults."""

from penstock.facts.architecture import Architecture, Task
from penstock.facts.engines import VLLM_VERSION, EngineDefaults, engine_defaults
from penstock.facts.gpus import GPUS, Gpu, find_gpu
from penstock.facts.models import MODELS, architecture_from_config, find_model

__all__ = [
    "GPUS",
    "MODELS",
    "VLLM_VERSION",
    "Architecture",
    "EngineDefaults",
    "Gpu",
    "Task",
    "architecture_from_config",
    "engine_defaults",
    "find_gpu",
    "find_model",
]
