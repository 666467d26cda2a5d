"""Tables with a source for each row: GPUs, model architectures, engine defaults."""

from penstock.facts.gpus import GPUS, Gpu, find_gpu
from penstock.facts.models import Architecture, Task, find_model

__all__ = ["GPUS", "Architecture", "Gpu", "Task", "find_gpu", "find_model"]
