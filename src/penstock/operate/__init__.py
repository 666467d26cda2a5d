"""The operate wing: which replicas should run, which do, and what to do about the difference."""
