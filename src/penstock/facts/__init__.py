"""Tables with a source for each row: GPUs, model architectures, engine versions and defaults, prices."""

from penstock.facts.architecture import Architecture, Latent, Task
from penstock.facts.catalog import MODELS
from penstock.facts.config import architecture_from_config
from penstock.facts.engines import VLLM_VERSION, EngineDefaults, engine_defaults
from penstock.facts.gpus import GPUS, Gpu, find_gpu
from penstock.facts.models import find_model
from penstock.facts.safetensors import TensorBytes, header_length, index_bytes, tensor_bytes

__all__ = [
    "GPUS",
    "MODELS",
    "VLLM_VERSION",
    "Architecture",
    "EngineDefaults",
    "Gpu",
    "Latent",
    "Task",
    "TensorBytes",
    "architecture_from_config",
    "engine_defaults",
    "find_gpu",
    "find_model",
    "header_length",
    "index_bytes",
    "tensor_bytes",
]
