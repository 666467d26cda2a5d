"""How `penstock controller` runs: signals, logging, the client, the controller."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from penstock.cli.output import say
from penstock.errors import UsageError
from penstock.facts import find_model
from penstock.operate.io.controller import Controller
from penstock.operate.io.kubernetes.client import open_client
from penstock.spec import parse_listen

__all__ = ["run_controller"]


def run_controller(*, namespace: str | None, fleet: str | None, listen: str, scaler: str) -> None:
    """Runs until SIGTERM or SIGINT.

    Raises:
        UsageError: no cluster is known, or `listen` or `scaler` is no address.
        StartError: a port is taken.
        ApiFailure: the cluster does not answer at all.
    """
    host, port = _address("--listen", listen)
    scaler_at = _address("--scaler", scaler)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("httpx", "httpx2", "kopf"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it warns that signals are ours
    asyncio.run(_run(namespace, fleet, (host, port), scaler_at if scaler_at[1] else None))


def _address(option: str, text: str) -> tuple[str, int]:
    try:
        return parse_listen(text)
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}.") from error


async def _run(
    namespace: str | None, fleet: str | None, listen: tuple[str, int], scaler_at: tuple[str, int] | None
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_client() as api:
        here = namespace or api.namespace
        say(f"keeping {f'fleet {fleet}' if fleet else 'the fleets'} of namespace {here} at {api.url}")
        controller = Controller(api, namespace=here, fleet=fleet, architecture_of=find_model)
        await controller.run(stop, host=listen[0], port=listen[1], scaler_at=scaler_at)
