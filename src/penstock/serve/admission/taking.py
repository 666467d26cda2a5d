"""How a request is taken: what it is known to be from its head and its body, and what APIs of their own want of it.

Requests of the Messages API are mended, or translated where the engine does not know the API; requests for responses go
on from what was said before, and what answers them is kept; what was kept is looked up and deleted. The rest of a
request's way is `admission`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import orjson

from penstock.serve.admission.dialects import MESSAGES_PATH, Way, way_of
from penstock.serve.config import ANONYMOUS, Caller, GatewayConfig, ServedModel
from penstock.serve.core import Core
from penstock.serve.record import RequestRecord
from penstock.serve.routing import Endpoint
from penstock.serve.shelf import Found
from penstock.serve.stored import answer_about, expand
from penstock.serve.wire.errors import Failure
from penstock.serve.wire.heads import RequestHead
from penstock.serve.wire.messages import CHAT_PATHS
from penstock.serve.wire.requests import ApiRequest, json_object, without_ids
from penstock.serve.wire.routes import ROUTES, Dialect, Route, StoredPath, azure_path, dialect_of, stored_path

__all__ = ["Step", "Taking", "Then"]

Step = Failure | Endpoint | None
"""Refuse with this; send it there; or wait."""
Then = Callable[[Any, float], None]
"""Called once with what was waited for, and the time."""


class Taking(ABC):
    """One request as it was taken. Owned by its admission, which it is a part of.

    Attributes:
        asks_ids: the engine is asked for token ids on the gateway's own account.
        has_own_seed: the gateway chose the seed.
        deployment: the model that the path names, as Azure's do; or empty.
    """

    __slots__ = (
        "_asked_model",
        "_client_body",
        "_config",
        "_core",
        "_head",
        "_limit_lines",
        "_notes",
        "_record",
        "asks_ids",
        "body",
        "caller",
        "deployment",
        "has_own_seed",
        "model",
        "request",
        "route",
        "way",
    )

    def __init__(self, core: Core, config: GatewayConfig, head: RequestHead, record: RequestRecord) -> None:
        self._core = core
        self._config = config
        self._head = head
        self._record = record
        self._asked_model = ""
        self._client_body = b""
        self._limit_lines = b""
        self._notes = b""
        self.deployment = ""
        self.asks_ids = self.has_own_seed = False
        self.body = b""
        self.caller: Caller = ANONYMOUS
        self.model: ServedModel | None = None
        self.request: ApiRequest | None = None
        self.route: Route | None = None
        self.way: Way | None = None

    @property
    def dialect(self) -> Dialect:
        """How errors are told."""
        return self.route.dialect if self.route is not None else dialect_of(self._head.path)

    @property
    def headers(self) -> bytes:
        """Header lines for the answer: what was changed, what limits are left, and which model answers where that is
        not the one that was asked for; and the request's id under the name that Anthropic's clients look for."""
        model, way, route = self.model, self.way, self.route
        lines = self._notes + self._limit_lines + (way.lines if way is not None else b"")
        if (route is None or route.dialect == "anthropic") and self.dialect == "anthropic":
            lines += b"request-id: %b\r\n" % self._record.request_id.encode()
        asked = self._config.names.get(self._asked_model)
        if model is None or asked is None or model.name == asked.name or self._head.wants_explanation:
            return lines
        return b"%bx-penstock-model: %b\r\n" % (lines, model.name.encode())

    def _azures_route(self) -> Route | None:
        """The route of a path as Azure's clients have it, which from here on is the path of ours that it stands for."""
        if (found := azure_path(self._head.path)) is None:
            return None
        self._head.path, self.deployment = found
        return ROUTES.get(self._head.path)

    def _named(self, body: bytes) -> bytes:
        """A JSON body that says which model it is for, which one for a deployment need not."""
        fields = json_object(body)
        return orjson.dumps({**fields, "model": self.deployment}) if fields and not fields.get("model") else body

    def ask_no_ids(self) -> None:
        """Takes out of the body that the gateway asks for token ids, where an engine knows nothing of them."""
        if self.asks_ids:
            self.body, self.asks_ids = without_ids(self.body), False

    # ------------------------------------------------------------------ before an engine has it

    @abstractmethod
    @abstractmethod
    def _enter(self, now: float, then: Then) -> Step:
        """The body is such as an engine takes it: on it goes."""

    def _go_own_way(self, fields: dict[str, Any], route: Route, model: ServedModel, now: float, then: Then) -> Step:
        """Makes of the request what an engine takes, which may want what was said before."""
        path, core = self._head.path, self._core
        found = way_of(route.schema, path, fields, asked=self._asked_model, has_reasoning=model.has_reasoning)
        if isinstance(found, Failure):
            return found
        self.way, taken = found
        self._take(taken)
        if not self.way.previous:
            return self._enter(now, then)
        self._record.model = model.name  # which it is counted under while it waits
        before = core.shelf.find(self.caller.tenant, self.way.previous, now + core.unix_offset_s, then)
        return None if before is None else self._go_on_from(before, now, then)

    def _go_on_from(self, before: Found, now: float, then: Then) -> Step:
        """The conversation before the request was found, or was not."""
        request = self.request
        assert request is not None
        assert request.fields is not None
        taken = before.failure or expand(request.fields, before.stored)
        if isinstance(taken, Failure):
            return taken
        self._take(taken)
        return self._enter(now, then)

    def _take(self, fields: dict[str, Any]) -> None:
        """The request says this from here on."""
        request = self.request
        if request is not None and fields is not request.fields:
            request.fields, self._client_body = fields, orjson.dumps(fields)

    # ------------------------------------------------------------------ at an engine

    def translate(self, status: int, body: bytes, now: float) -> bool:
        """Whether that answer says that the model's engines must be asked in another way; they are, from here on."""
        way, model = self.way, self.model
        if way is None or model is None or not way.can_be_translated(status, body):
            return False
        self._core.lacking.note(model.name, way.path, now)
        self.body = way.translate(self.body)
        return True

    @property
    def engine_path(self) -> str:
        """Where an engine of the fleet is asked."""
        if self.way is not None and self.way.is_translated:
            return CHAT_PATHS[self.way.path]
        return self.route.upstream_path if self.route is not None else self._head.path

    @property
    def chat(self) -> dict[str, Any] | None:
        """The body as a chat completion, of a request that has another form and can be asked for so."""
        return self.way.as_chat(self.body) if self.way is not None else None

    def ask_as_chat(self) -> bool:
        """Has the engine asked for a chat completion from here on; whether that is anything new."""
        way = self.way
        if way is None or way.path != MESSAGES_PATH or way.is_translated:
            return False
        self.body = way.restate(self.body)
        return True

    def keep(self, answer: bytes, now: float, *, is_stream: bool) -> None:
        """The answer is there, whole or as the end of a stream: it is kept where the client wants that."""
        way, unix = self.way, now + self._core.unix_offset_s
        if way is not None:
            kept = way.kept_of if is_stream else way.kept
            stored = kept(answer, self.body, tenant=self.caller.tenant, now=unix)
            if stored is not None:
                self._core.shelf.put(stored, unix)

    # ------------------------------------------------------------------ what was kept

    @property
    def asks_for_kept(self) -> StoredPath | None:
        """What the request wants of a response that was kept; None where it is about none."""
        return stored_path(self._head.path) if self.route is None else None

    def look_up(self, wanted: StoredPath, now: float, then: Then) -> bytes | Failure | None:
        """What is said of a kept response; None: it is told later, see `said_of`."""
        shelf, tenant = self._core.shelf, self.caller.tenant
        look = shelf.take_away if self._head.method == "DELETE" else shelf.find
        found = look(tenant, wanted.response_id, now + self._core.unix_offset_s, then)
        return None if found is None else self.said_of(wanted, found)

    def said_of(self, wanted: StoredPath, found: Found) -> bytes | Failure:
        """What is said once the look is over."""
        return found.failure or answer_about(wanted, self._head.method, found.stored)
