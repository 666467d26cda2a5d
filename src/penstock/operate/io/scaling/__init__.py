"""The scaler at work: gateways are read, KEDA is answered."""

from penstock.operate.io.scaling.scaler import Beat, Scaler

__all__ = ["Beat", "Scaler"]
