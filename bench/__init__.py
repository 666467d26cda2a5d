"""The speed benchmark: the gateway beside other gateways, one core each, in one run. `make bench`."""
