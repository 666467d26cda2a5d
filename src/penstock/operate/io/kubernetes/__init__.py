"""A Kubernetes cluster, spoken to: the client, and what applies, waits, deletes and reads with it."""
