"""List prices of GPUs by the hour: public, on demand, approximate, and with their date.

Written down from memory of the vendors' public price lists as of that date, not copied from them: good for comparing
GPUs, not for a bill. `hardware.usdPerGpuHour` in the fleet file holds over them. One GPU's share of the instance that
has it, its CPUs and memory included. Prices move and differ by region. Money is in millionths of a US dollar.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LIST_PRICES", "ListPrice", "list_price"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPrice:
    """What one GPU costs for an hour."""

    gpu: str
    micro_usd_per_hour: int
    instance: str
    as_of: str
    """Month, YYYY-MM."""
    source: str

    @property
    def usd_per_hour(self) -> float:
        return self.micro_usd_per_hour / 1e6


def _aws(gpu: str, instance: str, gpus: int, usd_per_hour: float) -> ListPrice:
    return ListPrice(
        gpu=gpu,
        micro_usd_per_hour=round(usd_per_hour / gpus * 1e6),
        instance=instance,
        as_of="2025-06",
        source="AWS EC2 on-demand price list, Linux, us-east-1",
    )


LIST_PRICES: tuple[ListPrice, ...] = (
    _aws("T4", "g4dn.xlarge", 1, 0.526),
    _aws("L4", "g6.xlarge", 1, 0.805),
    _aws("A10G", "g5.xlarge", 1, 1.006),
    _aws("L40S", "g6e.xlarge", 1, 1.861),
    _aws("A100-40GB", "p4d.24xlarge", 8, 21.96),
    _aws("A100-80GB", "p4de.24xlarge", 8, 27.45),
    _aws("H100", "p5.48xlarge", 8, 55.04),
    _aws("H200", "p5en.48xlarge", 8, 63.30),
    _aws("B200", "p6-b200.48xlarge", 8, 113.93),
    ListPrice(
        gpu="MI300X",
        micro_usd_per_hour=6_000_000,
        instance="ND96isr_MI300X_v5",
        as_of="2025-06",
        source="Azure pay-as-you-go price list, Linux, East US; an eighth of the instance",
    ),
)
"""One price for each GPU that a large cloud rents out; none for the others."""


def list_price(gpu: str) -> ListPrice | None:
    """The price of a GPU by its name in the GPU table; None where there is none."""
    return next((p for p in LIST_PRICES if p.gpu == gpu), None)
