"""Tables with a source for each row: GPUs, model architectures, engine versions and defaults, prices."""

from penstock.facts.architecture import Architecture, Latent, Task
from penstock.facts.catalog import MODELS
from penstock.facts.config import architecture_from_config
from penstock.facts.engines import VLLM_VERSION, EngineDefaults, engine_defaults
from penstock.facts.flags import ADDED_FLAGS, GONE_FLAGS, GoneFlag, flag_trouble
from penstock.facts.gpus import GPUS, Gpu, find_gpu
from penstock.facts.metrics import ENGINE_METRICS, GONE_METRICS, metric_advice
from penstock.facts.mig import MIG_PROFILES, MigProfile, mig_profiles, mig_slice
from penstock.facts.models import find_model
from penstock.facts.prices import LIST_PRICES, ListPrice, list_price
from penstock.facts.safetensors import TensorBytes, header_length, index_bytes, tensor_bytes

__all__ = [
    "ADDED_FLAGS",
    "ENGINE_METRICS",
    "GONE_FLAGS",
    "GONE_METRICS",
    "GPUS",
    "LIST_PRICES",
    "MIG_PROFILES",
    "MODELS",
    "VLLM_VERSION",
    "Architecture",
    "EngineDefaults",
    "GoneFlag",
    "Gpu",
    "Latent",
    "ListPrice",
    "MigProfile",
    "Task",
    "TensorBytes",
    "architecture_from_config",
    "engine_defaults",
    "find_gpu",
    "find_model",
    "flag_trouble",
    "header_length",
    "index_bytes",
    "list_price",
    "metric_advice",
    "mig_profiles",
    "mig_slice",
    "tensor_bytes",
]
