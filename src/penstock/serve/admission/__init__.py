"""From a request's body to its place in the queue: what it is, whether it may, how large it is, which model. Pure."""

from penstock.serve.admission.prompt import Prompt

__all__ = ["Prompt"]
