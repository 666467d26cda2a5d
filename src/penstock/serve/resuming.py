"""What becomes of a stream whose endpoint is lost: the part of an exchange that goes on elsewhere, or ends it honestly.

    RELAYING ── lost ──▶ RESUMING (replay) ── head ──▶ RELAYING ── it diverges ──▶ RESUMING (tokens, then text) ──▶ …

`failover` chooses, `continuation` knows the steps. Guarantees: the client's stream ends with its last event or with an
error event, whatever fails here; each step is bounded in time and tries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from penstock.serve.admission.admission import Step
from penstock.serve.answer import Answer
from penstock.serve.client_side import ClientSide
from penstock.serve.closing import End, end_of_count, end_of_text, known_end, last_events
from penstock.serve.commands import Dispatch, Reply
from penstock.serve.continuation import Continuation, token_list
from penstock.serve.continued import last_key, text_key
from penstock.serve.delivered import Attempt, Delivered
from penstock.serve.failover import Course, Loss, choose, choose_after, is_all_but_done, may_count
from penstock.serve.record import Outcome
from penstock.serve.routing import Endpoint
from penstock.serve.routing.signals import Signal
from penstock.serve.wire.heads import request_head
from penstock.serve.wire.requests import json_object
from penstock.serve.wire.responses import ResponseHead
from penstock.serve.wire.sse import UNENDED

__all__ = ["Resuming", "signal_of"]

_REFUSALS = frozenset({400, 422})
"""What servers answer to a field that they do not know."""


class Resuming(ClientSide, ABC):
    """How one exchange goes on. Owned by the exchange that it is a part of."""

    __slots__ = ()

    # ------------------------------------------------------------------ what the exchange does

    @abstractmethod
    def _await_turn(self) -> None:
        """The request waits in the queue."""

    @abstractmethod
    def _sent(self, endpoint: Endpoint, now: float, *, is_fresh: bool = False) -> Dispatch:
        """Sends it there."""

    @abstractmethod
    def _retry(self, reason: str, now: float, signal: Signal | None = None) -> Reply | Dispatch | None:
        """Nothing of the answer has gone: another endpoint may give all of it."""

    @abstractmethod
    def _make_answer(self, head: ResponseHead, before: Answer | None = None, attempt: Attempt | None = None) -> Answer:
        """The answer that begins with that head."""

    @abstractmethod
    def _relay(self, answer: Answer, data: bytes, now: float, first: bytes = b"") -> bytes | Reply | Dispatch | None:
        """A read of an answer under way."""

    @abstractmethod
    def _finish_relay(self, answer: Answer, now: float) -> None:
        """The answer is complete."""

    # ------------------------------------------------------------------ a loss

    def _go_elsewhere(
        self,
        reason: str,
        now: float,
        outcome: Outcome = "upstream_error",
        *,
        signal: Signal | None = None,
        first: bytes = b"",
        may_return: bool = False,
    ) -> bytes | Reply | Dispatch | None:
        """The endpoint is lost after its answer began: resumes the stream at another, or ends it honestly. `first`
        goes to the client before that. `may_return`: the endpoint is well, and only the connection to it lost."""
        answer = self._answer
        if signal is not None:
            self._heard(signal, now, reason)
        if self._held is not None:
            return self._retry(reason, now, signal)
        if answer is None:
            return None
        if self.phase == "resuming":
            return self._resume(reason, now)
        admission, course = self._admission, self._course(answer)
        if course == "close":
            return first + self._close(answer, now)
        has_other = admission.has_elsewhere(now, is_new_round=True)
        if may_return and not has_other and course != "error" and self.endpoint is not None:
            return self._return(answer, self.endpoint, now)
        can_go_on = has_other or admission.can_wait(now, is_new_round=True)
        if can_go_on and course != "error":
            admission.begin_round()
            self.record.resumes += 1
            resumed = self._resume(reason, now)
            if isinstance(resumed, Dispatch):
                resumed.first = first
                return resumed
            return first + (resumed or b"")
        if answer.fault not in ("", UNENDED) and not answer.is_replay and not is_all_but_done(self._loss(answer)):
            out = first + answer.let_fault_pass()
            if answer.is_done:
                self._finish_relay(answer, now)
            return out
        return first + (self._cut(reason, now, outcome) or b"")

    def _may_return(self, answer: Answer) -> bool:
        """Whether a stream whose connection is lost may go on at the same endpoint: not where it came back and had
        nothing of it."""
        return not self.record.resumes or answer.settle().chars != self._told

    def _return(self, answer: Answer, endpoint: Endpoint, now: float) -> Dispatch:
        """Resumes the stream at the endpoint that it is at, which is the only one, on a fresh connection."""
        self._admission.begin_round()
        self.record.resumes += 1
        self._suspend(answer)
        return self._sent(endpoint, now, is_fresh=True)

    def _course(self, answer: Answer) -> Course:
        """What the table says of this loss; readies a continuation, should the replay diverge."""
        delivered = answer.settle()
        if delivered.chars != self._told:
            self._stuck = 0
        elif self.record.resumes and answer.has_caught_up:  # one that was lost before shows nothing of the request
            self._stuck += 1
        self._told = delivered.chars
        return self._chosen(answer)

    def _chosen(self, answer: Answer) -> Course:
        """The row of the table, and the continuation that it may need."""
        delivered = answer.settle()
        continuation = self._continuation
        if continuation is None:
            continuation = self._new_continuation(delivered)
        continuation.told(token_list(delivered.prompt_ids) or answer.prompt_ids)
        end = known_end(self._admission.engine_path, self._client_request(), delivered, continuation.prompt_tokens)
        loss = self._loss(answer, has_ids=continuation.has_places, is_all_said=end is not None)
        case = choose(loss)
        if end is not None and case.course == "close":
            self._end, self._continuation = end, None
            return "close"
        if case.course == "continue" and self._admission.ask_as_chat():
            continuation = self._new_continuation(delivered)
        if choose_after(loss).course == "error" and case.name != "tokens_known" and not may_count(loss):
            self._continuation = None  # if a replay diverges, that is the end
        elif case.course != "error":
            self._continuation = continuation
            continuation.use_ids(uses_ids=case.name == "tokens_known")
            if case.course == "continue" and case.name != "tokens_known":
                continuation.diverged(())  # as far as the prompt is known, a replay would be in vain
        return case.course

    def _new_continuation(self, delivered: Delivered) -> Continuation:
        return Continuation(self._admission.engine_path, self._client_request(), delivered)

    def _client_request(self) -> dict[str, Any]:
        """The body that the endpoint got, less what the gateway asked for on its own account."""
        fields = json_object(self._admission.body)
        if self._admission.asks_ids:
            fields.pop("return_token_ids", None)
        return fields

    def _loss(self, answer: Answer, *, has_ids: bool = False, is_all_said: bool = False) -> Loss:
        delivered, request = answer.settle(), self._admission.request
        return Loss(
            path=self.head.path,
            request=self._client_request(),
            is_stream=answer.is_stream,
            has_text=delivered.has_text,
            is_readable=delivered.is_readable,
            resumes=self.record.resumes,
            stuck=self._stuck,
            is_plain_text=text_key(delivered) is not None,
            is_spoken=last_key(delivered) is not None,
            has_finish=(0, "finish") in delivered.marks,
            wants_usage=request is None or request.wants_usage,
            is_continued=self.record.continued > 0,
            is_outside=self._admission.is_outside,
            chat=self._admission.chat,
            has_ids=has_ids,
            is_all_said=is_all_said,
            has_message_end=(-1, "message_delta") in delivered.marks,
            has_own_seed=self._admission.has_own_seed,
        )

    def _resume(self, reason: str, now: float, signal: Signal | None = None) -> bytes | Dispatch | None:
        """Sends the request of a stream under way to an endpoint that has not failed it since its last word, or waits
        for one."""
        answer, self.endpoint = self._answer, None
        step: Step | Literal[False] = self._admission.elsewhere(now, is_resume=True)
        if step is None:
            step = self._admission.wait_again(now, is_blameless=signal == "connect_failed")
        if answer is None or step is False:
            return self._cut(reason, now)
        self._suspend(answer)
        return self._resumed(step, reason, now)

    def _suspend(self, answer: Answer) -> None:
        self.phase = "resuming"
        answer.suspend()
        answer.settle()
        if self._continuation is not None:
            self._continuation.restart()

    def _resumed(self, step: Step, reason: str, now: float) -> bytes | Dispatch | None:
        if isinstance(step, Endpoint):
            return self._sent(step, now)
        if step is None:
            self._await_turn()
            return None
        return self._cut(f"{reason}, and no other came: {step.message}", now)

    def _resume_answer(self, head: ResponseHead, rest: bytes, now: float) -> bytes | Reply | Dispatch | None:
        """Another endpoint answers the request of a stream under way."""
        before, endpoint, continuation = self._answer, self.endpoint, self._continuation
        if before is None or endpoint is None:
            return None
        if head.status in _REFUSALS and continuation is not None:
            if continuation.is_from_ids:
                return self._without_ids(f"answered {head.status} to its tokens", now)
            if continuation.stage == "replay":
                self._continuation = None  # an engine that does not know what was asked for besides
                self._admission.ask_no_ids()
                return self._sent(endpoint, now, is_fresh=True)
        if head.status != 200 or not head.content_type.startswith(b"text/event-stream"):
            words = f"answered {head.status}"
            self._heard(signal_of(head.status), now, words)
            return self._resume(words, now)
        self.phase = "relaying"
        if continuation is not None and continuation.stage == "text":
            self.record.continued += 1
        attempt = continuation.attempt() if continuation is not None else None
        self._answer = answer = self._make_answer(head, before, attempt)
        return self._relay(answer, rest, now) if rest or head.body.is_done else b""

    # ------------------------------------------------------------------ a replay that says something else

    def _diverged(self, words: str, now: float) -> bytes | Reply | Dispatch | None:
        """An attempt does not say what the client has: the same endpoint is asked for what follows it, if the table
        allows that, or the stream ends honestly."""
        answer, endpoint, continuation = self._answer, self.endpoint, self._continuation
        if answer is None or endpoint is None:
            return None
        if continuation is not None and continuation.is_from_ids:
            if answer.settle().chars == self._told:
                self.record.continued -= 1  # nothing of it went on
            return self._without_ids(words, now)
        if continuation is not None and not continuation.has_diverged and may_count(self._loss(answer)):
            return self._count(answer, continuation, endpoint, now)
        may_go_on = continuation is not None and not continuation.has_diverged
        if not may_go_on or choose_after(self._loss(answer)).course == "error":
            return self._cut(f"could not go on with it: {words}", now, code="replay_diverged")
        if continuation is None or not continuation.diverged(answer.prompt_ids):
            if not self._admission.ask_as_chat():
                return self._cut(f"could not go on with it: {words}", now, code="replay_diverged")
            self._continuation = self._new_continuation(answer.settle())
        self._suspend(answer)
        return self._ask_on(endpoint, now)

    def _without_ids(self, words: str, now: float) -> bytes | Dispatch | None:
        """The tokens that the stream told did not serve: the same endpoint is asked in the next best way."""
        answer, endpoint, continuation = self._answer, self.endpoint, self._continuation
        if answer is None or endpoint is None or continuation is None:
            return None
        continuation.give_up_ids()
        course = self._chosen(answer)
        if course == "close":
            return self._close(answer, now)
        if course == "error":
            return self._cut(f"could not go on with it: {words}", now, code="replay_diverged")
        self._suspend(answer)
        return self._ask_on(endpoint, now)

    def _ask_on(self, endpoint: Endpoint, now: float) -> Dispatch:
        """The next step of a continuation, at the endpoint where the last one was."""
        self.last_progress_at = self._sent_at = now
        return Dispatch(endpoint, self._request_to(endpoint), tls_host=self._admission.tls_host)

    def _request_to(self, endpoint: Endpoint) -> tuple[bytes, bytes]:
        """Head and body of what is asked of the endpoint now."""
        admission, continuation = self._admission, self._continuation
        if continuation is None:
            return admission.upstream_request(endpoint)
        path, body = continuation.request(admission.body)
        head = request_head(
            path,
            endpoint.authority,
            content_type=b"application/json",
            content_length=len(body),
            request_id=self.request_id,
            forwarded=self.head.forwarded,
        )
        return head, body

    def _take_tokens(self, continuation: Continuation, data: bytes, now: float) -> bytes | Dispatch | None:
        """A read of what the endpoint says of the tokens of the client's text."""
        endpoint = self.endpoint
        if endpoint is None or not continuation.take(data):
            return None
        if continuation.stage == "spelling" and continuation.status < 500:
            if continuation.spelled():
                return self._ask_on(endpoint, now)
            return self._without_ids("its tokens end nowhere in what the client has", now)
        if continuation.status != 200:
            words = f"answered {continuation.status} when asked for tokens"
            self._heard(signal_of(continuation.status), now, words)
            return self._resume(words, now)
        goes_on, answer = continuation.go_on(), self._answer
        if answer is not None and (end := self._counted_end(answer, continuation)) is not None:
            self._end = end
            return self._close(answer, now)
        if not goes_on or (answer is not None and answer.settle().finish_reason):
            return self._cut("could not go on with it: its text was not counted", now, code="replay_diverged")
        return self._ask_on(endpoint, now)

    # ------------------------------------------------------------------ an end that the gateway tells itself

    def _count(
        self, answer: Answer, continuation: Continuation, endpoint: Endpoint, now: float
    ) -> bytes | Dispatch | None:
        """A replay said something else, and the client lacks nothing but the usage: the tokens of its text are counted,
        where the limit does not tell how many they are."""
        continuation.told(answer.prompt_ids)
        reason, path = answer.settle().finish_reason, self._admission.engine_path
        self._end = end_of_count(path, self._client_request(), reason, continuation.prompt_tokens)
        if self._end is not None:
            return self._close(answer, now)
        if not continuation.diverged(()):
            return self._cut("said something else, and not how long the prompt is", now, code="replay_diverged")
        self._suspend(answer)
        return self._ask_on(endpoint, now)

    def _counted_end(self, answer: Answer, continuation: Continuation) -> End | None:
        """The end of the stream, now that the tokens of its text are known; None where it may go on."""
        delivered, path, request = answer.settle(), self._admission.engine_path, self._client_request()
        ids, prompt_tokens = continuation.text_ids, continuation.prompt_tokens
        if not ids or (key := text_key(delivered)) is None:
            return None
        if delivered.finish_reason:
            return end_of_count(path, request, delivered.finish_reason, prompt_tokens, ids)
        return end_of_text(path, request, delivered.texts[key], ids, prompt_tokens)

    def _close(self, answer: Answer, now: float) -> bytes:
        """The stream is whole but for its end, which is told here."""
        self._note_answer(answer)
        end, request = self._end, self._admission.request
        if end is not None and self.record.prompt_tokens < 0:
            self._note_usage((end.prompt_tokens, end.output_tokens, 0))
        wants_usage = request is None or request.wants_usage
        delivered = answer.settle()
        self._over(now, "ok", "")
        return answer.closed(last_events(self.head.path, delivered, end, wants_usage=wants_usage))

    # ------------------------------------------------------------------ the honest end

    def _cut(
        self,
        reason: str,
        now: float,
        outcome: Outcome = "upstream_error",
        *,
        code: str = "stream_interrupted",
        endpoint_id: str = "",
    ) -> bytes | None:
        """The answer can't be finished after it began: an SSE error event, or a connection cut where there is no
        honest way to say it."""
        answer = self._answer
        if answer is None:
            return None
        if answer.is_stream and is_all_but_done(self._loss(answer)):
            return self._close(answer, now)
        self._note_answer(answer)
        if self.endpoint is not None:
            endpoint_id = self.endpoint.id
        out = answer.cut(code, f"The stream ended early: endpoint {endpoint_id} {reason}.", outcome)
        if out is None:
            self.is_client_kept = False
        self._over(now, outcome, "answer_cut" if out is None else code)
        return out


def signal_of(status: int) -> Signal:
    """What an answer's status tells of the endpoint."""
    if status in (429, 503):
        return "busy"
    return "answered_5xx" if status >= 500 else "client_error"
