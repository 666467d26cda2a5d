"""The simulate wing: engines that need no GPU, workloads, and what would happen if."""
