"""The plan wing: what hardware a fleet needs, and what exactly will run."""
