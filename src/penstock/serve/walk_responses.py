"""Events of the Responses API, for `walk`, and the names in them that each run of an engine draws anew.

An event names its place by numbers (`output_index`, `content_index`), which two runs of the same request share, and by
ids (of items and calls), which they do not. `Names` keeps those that a client has been told, and tells another run's
events by them; it also counts on `sequence_number`, which each run begins at 0.
"""

from __future__ import annotations

from typing import Any

from penstock.serve.walk import Key, UnreadableError, Visitor

__all__ = ["ENDINGS", "Names", "is_response_event", "walk_response"]

PARTS_MAX = 100_000
"""Parts of one item. The place of a text is the number of its item times this, and that of its part."""
_BEGINNINGS = frozenset({"created", "in_progress", "queued"})
ENDINGS = frozenset({"response.completed", "response.incomplete"})
"""Last events of an answer that is whole."""
_TEXTS = frozenset(
    {"output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments", "reasoning"}
)
"""What grows by `.delta` and is whole at `.done`."""
_PARTS = frozenset({"content_part", "reasoning_part", "reasoning_summary_part"})
_IDS = ("id", "call_id")


def is_response_event(event: dict[str, Any]) -> bool:
    """Whether it is an event of this API."""
    kind = event.get("type")
    return type(kind) is str and kind.startswith("response.")


def walk_response(event: dict[str, Any], visitor: Visitor) -> bool:
    """Shows an event to `visitor` and changes it to what stays; whether anything does.

    Raises:
        UnreadableError: it is of a kind that is not known to be told twice alike.
    """
    kind = str(event["type"]).removeprefix("response.")
    if kind in _BEGINNINGS or event["type"] in ENDINGS:
        return visitor.mark((-1, kind))
    item = _number(event, "output_index")
    name, _, step = kind.rpartition(".")
    if name == "output_item" and step in ("added", "done"):
        return visitor.mark((item, kind))
    place = item * PARTS_MAX + _number(event, "content_index", "summary_index")
    if name in _PARTS and step in ("added", "done"):
        return visitor.mark((place, kind))
    if name not in _TEXTS or step not in ("delta", "done"):
        raise UnreadableError("an event of a kind that is not known")
    return visitor.finish(place) if step == "done" else _delta(event, (place, name), visitor)


def _delta(event: dict[str, Any], key: Key, visitor: Visitor) -> bool:
    piece, logprobs = event.get("delta"), event.get("logprobs")
    if type(piece) is not str:
        raise UnreadableError("a delta was no text")
    event["delta"] = visitor.text(key, piece)
    news = bool(event["delta"])
    if type(logprobs) is list:
        event["logprobs"] = visitor.items((*key, "logprobs"), logprobs)
        news = news or bool(event["logprobs"])
    return news


def _number(event: dict[str, Any], *names: str) -> int:
    for name in names:
        number = event.get(name)
        if type(number) is int and 0 <= number < PARTS_MAX:
            return number
        if number is not None:
            raise UnreadableError(f"'{name}' was not a number")
    if names[0] == "output_index":
        raise UnreadableError("an event did not say its item")
    return 0


class Names:
    """The names that a client knows, and the number of the last event. Owned by its `Delivered`."""

    __slots__ = ("_created_at", "_items", "_response_id", "last")

    def __init__(self) -> None:
        self.last = -1
        """`sequence_number` of the last event; -1 before the first."""
        self._response_id: Any = None
        self._created_at: Any = None
        self._items: dict[int, dict[str, Any]] = {}

    def learn(self, event: dict[str, Any]) -> None:
        """An event that went to the client."""
        number = event.get("sequence_number")
        if type(number) is int:
            self.last = number
        response, item = event.get("response"), event.get("item")
        if type(response) is dict and self._response_id is None:
            self._response_id, self._created_at = response.get("id"), response.get("created_at")
        place = event.get("output_index")
        if type(item) is dict and type(place) is int and place not in self._items:
            self._items[place] = {name: item[name] for name in _IDS if type(item.get(name)) is str}

    def mend(self, event: dict[str, Any], others: Names) -> None:
        """Tells an event of another run, whose names are `others`, by the names that the client knows."""
        known = {
            theirs: self._items[place][name]
            for place, item in others._items.items()
            for name, theirs in item.items()
            if name in self._items.get(place, {})
        }
        _rename(event, ("item_id",), known)
        _rename(event.get("item"), _IDS, known)
        response = event.get("response")
        if type(response) is dict:
            if self._response_id is not None:
                response |= {"id": self._response_id, "created_at": self._created_at}
            output = response.get("output")
            for item in output if type(output) is list else ():
                _rename(item, _IDS, known)

    def next(self) -> int:
        """The number of the next event."""
        self.last += 1
        return self.last

    def copy(self) -> Names:
        """The same, to be counted on from."""
        made = Names()
        made.last, made._response_id, made._created_at = self.last, self._response_id, self._created_at
        made._items = dict(self._items)
        return made


def _rename(holder: Any, names: tuple[str, ...], known: dict[str, str]) -> None:
    if type(holder) is dict:
        for name in names:
            value = holder.get(name)
            if type(value) is str and value in known:
                holder[name] = known[value]
