"""Sends a generation as events while it runs.

Guarantees: each event is one HTTP chunk, in order; an engine that fails in mid-stream ends the stream with an error
event, as vLLM does. Leaves to others: what the events are.
"""

from __future__ import annotations

from typing import Protocol

from penstock.simulate.engine.api.errors import ApiError
from penstock.simulate.engine.api.sequence import Piece
from penstock.simulate.io.engine.exchange import HttpExchange
from penstock.simulate.io.engine.generation import Generation

__all__ = ["EventWriter", "send_stream"]


class EventWriter(Protocol):
    """Makes events of pieces."""

    def push(self, piece: Piece) -> list[bytes]:
        """Events of one piece."""
        ...

    def close(self) -> list[bytes]:
        """The last events."""
        ...

    def fail(self, error: ApiError) -> list[bytes]:
        """The last events of a stream that failed in the middle."""
        ...


async def send_stream(
    exchange: HttpExchange, generation: Generation, writer: EventWriter, opening: list[bytes] | None = None
) -> None:
    """Sends the whole stream."""
    await exchange.begin_events()
    try:
        for event in opening or ():
            await exchange.send_event(event)
        while pieces := await generation.next_pieces():
            for piece in pieces:
                for event in writer.push(piece):
                    await exchange.send_event(event)
            generation.check_faults()
        for event in writer.close():
            await exchange.send_event(event)
    except ApiError as error:
        for event in writer.fail(error):
            await exchange.send_event(event)
    await exchange.end()
