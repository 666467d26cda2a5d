"""The protocol of vLLM 0.32, pure: request checks, answers, metrics text, faults. `simulate/io/engine` serves it."""
