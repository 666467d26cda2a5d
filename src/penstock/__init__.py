"""Penstock: one fleet.yaml, a production LLM-serving fleet."""

__all__ = ["__version__"]

__version__ = "0.1.0"
