"""A simulated engine at the end of virtual wires: speaks vLLM's bytes, and suffers from faults. Pure.

Far lighter than `penstock.simulate.engine`, as its bytes only have to be right for the gateway: chat completions and
completions, streamed or not, plain words as tokens. Several faults may hold at once. Guarantees: the same request gets
the same text unless it is sampled without a seed; whoever sends a second request before the first is answered, or one
that is not well formed, is told off by `Foul`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from penstock.serve.routing.endpoints import EngineSample
from penstock.simulate.system.clock import Clock, Planned
from penstock.simulate.system.text import (
    Said,
    cut_up,
    message_finish,
    message_usage,
    prompt_ids,
    say,
    spelled,
    token_ids,
)
from penstock.simulate.system.wire import Wire

__all__ = ["Engine", "Foul", "Job"]

IDLE_S = 5.0
"""Seconds after which uvicorn closes an idle connection."""
_RESET = ConnectionResetError("connection reset by peer")
_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
_LEAVING = "cannot schedule new futures after shutdown"
_SSE = (
    b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"
_ABOUT_TOKENS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/detokenize": lambda fields: {"prompt": spelled(fields["tokens"])},
    "/tokenize": lambda fields: {"tokens": cut_up(fields["prompt"])},
}
_NOTHING = Said((), "stop", 0)
_FROZEN = frozenset({"hang", "hang_core", "draining"})
_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nlocation: http://10.9.9.9/\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nnonsense\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-endless: " + b"a" * 70_000,
)


class Foul(AssertionError):
    """Somebody broke a rule that always holds."""


@dataclass(eq=False, slots=True)
class Job:
    """A request at an engine."""

    wire: Wire
    id: str
    path: str
    fields: dict[str, Any]
    said: Said
    done: int = 0
    is_begun: bool = False
    sent: int = 0
    limit: int = -1
    """Bytes after which the connection breaks; -1 for never."""
    step: Planned | None = None
    is_preempted: bool = False
    """It was, and has not spoken since."""

    @property
    def is_stream(self) -> bool:
        return bool(self.fields.get("stream"))

    @property
    def tells_ids(self) -> bool:
        return bool(self.fields.get("return_token_ids"))

    @property
    def is_message(self) -> bool:
        """Whether it is of Anthropic's API."""
        return self.path == "/v1/messages"


@dataclass(eq=False, kw_only=True)
class Engine:
    """One engine at one port."""

    clock: Clock
    random: Random
    model: str
    port: int
    pace_s: float
    seats: int
    said: Callable[[str, Said], None]
    """Told of each attempt at an answer."""
    faults: dict[str, int] = field(default_factory=dict)
    running: list[Job] = field(default_factory=list)
    waiting: list[Job] = field(default_factory=list)
    preempted: list[Job] = field(default_factory=list)
    """Whose answers had begun, and which wait again."""
    wires: dict[Wire, bytes] = field(default_factory=dict)
    """With what came of a request that is not whole yet."""
    idle: dict[Wire, Planned] = field(default_factory=dict)
    tokens: int = 0
    prompts: int = 0
    steps: int = 0
    preemptions: int = 0
    amount: float = 0.0
    frozen: EngineSample | None = None

    # ------------------------------------------------------------------ faults

    def has(self, *names: str) -> bool:
        faults = self.faults
        return bool(faults) and any(faults.get(name) for name in names)

    def begin(self, fault: str, amount: float) -> None:
        """A fault begins."""
        self.faults[fault] = self.faults.get(fault, 0) + 1
        self.amount = amount
        if fault in ("crash", "crash_quietly", "refuse"):
            if fault != "refuse":
                self._die(None if fault == "crash_quietly" else _RESET)
        elif fault == "half_open":
            for wire in self.wires:
                wire.is_black = True
        elif fault == "half_open_one":
            if (job := self._one()) is not None:
                job.wire.is_black = True
        elif fault == "preempt":
            self._preempt()
        elif fault == "core_dead":
            self.frozen = self.look()
            for job in self.jobs:
                self._give_up(job, _DEAD)
        elif fault in ("hang_core", "metrics_frozen", "draining"):
            self.frozen = self.look()

    def heal(self, fault: str) -> None:
        """A fault ends."""
        if not self.faults.get(fault):
            return
        self.faults[fault] -= 1
        if fault in ("core_dead", "draining"):
            self._die(_RESET)
        if not self.has("preempt"):
            self._take_up()
        if not self.has("hang_core", "metrics_frozen", "core_dead", "draining"):
            self.frozen = None
        if not self.has(*_FROZEN):
            for job in self.running:
                if job.step is None:
                    self._plan(job)
            self._admit()

    @property
    def jobs(self) -> list[Job]:
        """All that it has."""
        return [*self.running, *self.waiting, *self.preempted]

    def _one(self) -> Job | None:
        """One stream under way, if there is one."""
        under_way = [job for job in self.running if job.is_begun and job.is_stream]
        return under_way[int(self.amount * len(under_way))] if under_way else None

    def _preempt(self) -> None:
        """One stream is put back into the queue, until it is healed or nothing else runs. It is counted when it speaks
        again, as by vLLM."""
        job = self._one()
        if job is None or len(self.running) < 2:
            return
        if job.step is not None:
            job.step.cancel()
            job.step = None
        self.running.remove(job)
        self.preempted.append(job)
        job.is_preempted = True
        self._admit()

    def _take_up(self) -> None:
        """What was preempted runs again."""
        jobs, self.preempted = self.preempted, []
        self.running += jobs
        for job in jobs:
            if not self.has(*_FROZEN):
                self._plan(job)

    def _die(self, error: Exception | None) -> None:
        for job in self.running:
            if job.step is not None:
                job.step.cancel()
        for jobs in (self.running, self.waiting, self.preempted):
            jobs.clear()
        for wire in list(self.wires):
            self._close(wire, error)
        self.tokens = self.prompts = self.steps = self.preemptions = 0

    # ------------------------------------------------------------------ connections

    @property
    def is_refusing(self) -> bool:
        return self.has("crash", "crash_quietly", "refuse")

    def accept(self, wire: Wire) -> None:
        self.wires[wire] = b""
        self._idle(wire)

    def gone(self, wire: Wire) -> None:
        """The other side has cut it: what runs for it stops."""
        self._forget(wire)

    def _close(self, wire: Wire, error: Exception | None = None) -> None:
        wire.end(error)
        self._forget(wire)

    def _forget(self, wire: Wire) -> None:
        self.wires.pop(wire, None)
        if (idle := self.idle.pop(wire, None)) is not None:
            idle.cancel()
        for job in [j for j in self.jobs if j.wire is wire]:
            self._leave(job)

    def _idle(self, wire: Wire) -> None:
        self.idle[wire] = self.clock.after(IDLE_S, lambda: self._close(wire))

    def read(self, wire: Wire, data: bytes) -> None:
        """Bytes of a request."""
        if wire not in self.wires:
            return
        if any(job.wire is wire for job in self.jobs):
            raise Foul(f"a second request on a connection that is busy: {data[:60]!r}")
        whole = self.wires[wire] + data
        head, blank, body = whole.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        if not blank or len(body) < int(headers["content-length"]):
            self.wires[wire] = whole
            return
        if len(body) > int(headers["content-length"]):
            raise Foul(f"bytes after a request: {body[-60:]!r}")
        self.wires[wire] = b""
        if (idle := self.idle.pop(wire, None)) is not None:
            idle.cancel()
        fields = json.loads(body)
        if fields["model"] != self.model:
            raise Foul(f"a request for {fields['model']} at an engine of {self.model}")
        path = lines[0].split(" ")[1]
        try:
            said = _NOTHING if path in _ABOUT_TOKENS else say(fields, self.random.getrandbits(30))
        except ValueError as error:
            raise Foul(f"{headers['x-request-id']} goes on from what was never said: {error}") from error
        self._take(Job(wire, headers["x-request-id"], path, fields, said, said.given))

    # ------------------------------------------------------------------ requests

    def _take(self, job: Job) -> None:
        prompt = str(job.fields.get("messages") or job.fields.get("prompt"))
        if self.has("hang"):
            self.waiting.append(job)
        elif self.has("core_dead"):
            self._refuse(job, 500, _DEAD)
        elif self.has("draining"):
            self._refuse(job, 500, _LEAVING)
        elif self.has("busy"):
            self._refuse(job, 503 if self.amount < 0.5 else 429, "no room")
        elif self.has("errors") and self.random.random() < 0.7:
            self._refuse(job, 500, "something went wrong")
        elif self.has("garbage"):
            job.wire.answer(self.random.choice(_GARBAGE))
            if self.amount < 0.5:
                self._close(job.wire)
        elif "refuse me" in prompt:
            self._refuse(job, 400, "this prompt is refused")
        else:
            if self.has("drop"):
                job.limit = int(self.amount * 900)
            self.waiting.append(job)
            self._admit()

    def _admit(self) -> None:
        while self.waiting and len(self.running) < self.seats and not self.has("hang"):
            job = self.waiting.pop(0)
            if job.path in _ABOUT_TOKENS:
                body = orjson.dumps(_ABOUT_TOKENS[job.path](job.fields))
                self._finish(job, _head(200, len(body)) + body)
                continue
            self.running.append(job)
            self.said(job.id, job.said)
            self._plan(job)

    def _leave(self, job: Job) -> None:
        if job.step is not None:
            job.step.cancel()
            job.step = None
        for jobs in (self.running, self.waiting, self.preempted):
            if job in jobs:
                jobs.remove(job)
        if self.preempted and not self.running:
            self._take_up()
        self._admit()

    def _plan(self, job: Job) -> None:
        pace = self.pace_s * (30 if self.has("slow") else 1)
        seconds = pace if job.is_begun else pace * self.random.uniform(1, 3)
        job.step = self.clock.after(seconds, lambda: self._step(job))

    def _step(self, job: Job) -> None:
        job.step = None
        if self.has(*_FROZEN):
            return  # goes on when it is healed
        if not job.is_begun:
            job.is_begun = True
            self.prompts += job.said.prompt_tokens
            if job.is_stream:
                self._send(
                    job, _SSE + (self._message_start(job) if job.is_message else self._event(job, self._first(job)))
                )
        self.preemptions += job.is_preempted
        job.is_preempted = False
        count = self.random.choice((1, 1, 1, 2, 4))
        tokens = job.said.tokens[job.done : job.done + count]
        job.done += len(tokens)
        self.tokens += len(tokens)
        self.steps += 1
        if self.has("abort") and self.random.random() < 0.3:
            self._abort(job)
            return
        is_last = job.done == len(job.said.tokens)
        if not job.is_stream:
            if is_last:
                self._finish(job, self._whole(job))
            else:
                self._plan(job)
            return
        if job.is_message:
            self._step_message(job, "".join(tokens), is_last=is_last)
            return
        # vLLM's last token comes with its finish reason or before it
        alone = is_last and self.random.random() < 0.5
        out = self._event(job, self._choice(job, tokens, None if alone or not is_last else job.said.finish))
        if alone:
            out += self._event(job, self._choice(job, (), job.said.finish))
        if not is_last:
            self._send(job, out)
            if job in self.running:
                self._plan(job)
            return
        if self.has("truncate"):
            self._finish(job, _LAST_CHUNK if self.amount < 0.5 else b"")
            if self.amount >= 0.5:
                self._close(job.wire)
            return
        if (job.fields.get("stream_options") or {}).get("include_usage"):
            out += self._event(job, {"choices": [], "usage": job.said.own_usage})
        done = _chunk(b"data: [DONE]\n\n") + _LAST_CHUNK
        if self.random.random() < 0.5:
            out += done
        else:
            self._send(job, out)
            out = done
        if job in self.running:
            self._finish(job, out)

    def _step_message(self, job: Job, text: str, *, is_last: bool) -> None:
        """A step of a stream of Anthropic's API."""
        out = _named("content_block_delta", index=0, delta={"type": "text_delta", "text": text})
        if not is_last:
            self._send(job, out)
            if job in self.running:
                self._plan(job)
            return
        if self.has("truncate"):
            self._finish(job, out + _LAST_CHUNK)
            return
        out += _named("content_block_stop", index=0)
        delta = {"stop_reason": message_finish(job.said.finish), "stop_sequence": None}
        out += _named("message_delta", delta=delta, usage=message_usage(job.said))
        self._finish(job, out + _named("message_stop") + _LAST_CHUNK)

    def _message_start(self, job: Job) -> bytes:
        usage = {"input_tokens": job.said.prompt_tokens, "output_tokens": 0}
        message = {"id": f"msg_{job.id}-{self.port}", "type": "message", "role": "assistant", "model": self.model}
        start = _named("message_start", message={**message, "content": [], "stop_reason": None, "usage": usage})
        return start + _named("content_block_start", index=0, content_block={"type": "text", "text": ""})

    def _abort(self, job: Job) -> None:
        """The engine drops it, as vLLM does when it is told to: `finish_reason` is `abort`."""
        if not job.is_stream or job.is_message:
            self._finish(job, _LAST_CHUNK if job.is_stream else self._whole(job, "abort"))
            return
        self._finish(job, self._event(job, self._choice(job, (), "abort")) + _chunk(b"data: [DONE]\n\n") + _LAST_CHUNK)

    def _give_up(self, job: Job, words: str) -> None:
        if job.is_begun and job.is_stream and job.is_message:
            said = {"type": "internal_server_error", "message": words}
            self._finish(job, _named("error", error=said) + _LAST_CHUNK)
        elif job.is_begun and job.is_stream:
            error = {"error": {"message": words, "type": "InternalServerError", "param": None, "code": 500}}
            out = _chunk(b"data: " + json.dumps(error).encode() + b"\n\n") + _chunk(b"data: [DONE]\n\n") + _LAST_CHUNK
            self._finish(job, out)
        else:
            self._leave(job)
            self._refuse(job, 500, words)

    # ------------------------------------------------------------------ bytes

    def _refuse(self, job: Job, status: int, words: str) -> None:
        error = {"message": words, "type": "BadRequestError" if status == 400 else "InternalServerError"}
        body = json.dumps({"error": {**error, "param": None, "code": status}}).encode()
        self._finish(job, _head(status, len(body)) + body)

    def _send(self, job: Job, data: bytes) -> None:
        if job.limit >= 0 and job.sent + len(data) > job.limit:
            job.wire.answer(data[: job.limit - job.sent])
            self._close(job.wire, _RESET if self.random.random() < 0.5 else None)
            return
        job.sent += len(data)
        job.wire.answer(data)

    def _finish(self, job: Job, data: bytes) -> None:
        self._send(job, data)
        self._leave(job)
        if job.wire in self.wires and job.wire not in self.idle:
            self._idle(job.wire)

    def _identity(self, job: Job) -> dict[str, Any]:
        kind = "chat.completion" if "chat" in job.path else "text_completion"
        chunk = ".chunk" if job.is_stream and "chat" in job.path else ""
        prefix = "chatcmpl-" if "chat" in job.path else "cmpl-"
        created = int(self.clock.now) if job.is_stream else 1
        return {"id": f"{prefix}{job.id}-{self.port}", "object": kind + chunk, "created": created, "model": self.model}

    @staticmethod
    def _first(job: Job) -> dict[str, Any]:
        given = (job.fields.get("kv_transfer_params") or {}).get("prompt_token_ids") or job.fields.get("prompt")
        ids = given if type(given) is list else prompt_ids(job.fields)
        told = {"prompt_token_ids": ids if job.tells_ids else None}
        if "chat" not in job.path:
            return {"choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": None, **told}]}
        delta = {"role": "assistant", "content": ""}
        return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}], **told}

    @staticmethod
    def _choice(job: Job, tokens: Sequence[str], finish: str | None) -> dict[str, Any]:
        text = "".join(tokens)
        said: dict[str, Any] = {"delta": {"content": text}} if "chat" in job.path else {"text": text}
        ids = token_ids(tokens) if job.tells_ids else None
        return {"choices": [{"index": 0, **said, "logprobs": None, "finish_reason": finish, "token_ids": ids}]}

    def _event(self, job: Job, fields: dict[str, Any]) -> bytes:
        return _chunk(b"data: " + orjson.dumps({**self._identity(job), **fields}) + b"\n\n")

    def _whole(self, job: Job, finish: str = "") -> bytes:
        text = "".join(job.said.tokens[: job.done])
        longer = 20 if self.has("truncate") else 0
        if job.is_message:
            message: dict[str, Any] = {
                "id": f"msg_{job.id}-{self.port}",
                "type": "message",
                "role": "assistant",
                "model": self.model,
                "content": [{"type": "text", "text": text}],
                "stop_reason": message_finish(finish or job.said.finish),
                "usage": message_usage(job.said),
            }
            body = orjson.dumps(message)
            return _head(200, len(body) + longer) + body
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text}} if "chat" in job.path else {"text": text}
        )
        choice = {"index": 0, **said, "finish_reason": finish or job.said.finish}
        fields = {**self._identity(job), "choices": [choice], "usage": job.said.usage}
        body = json.dumps(fields, ensure_ascii=False).encode()
        return _head(200, len(body) + longer) + body

    # ------------------------------------------------------------------ what it tells of itself

    def look(self) -> EngineSample:
        """Its metrics, as they are."""
        return EngineSample(
            at=self.clock.now,
            running=len(self.running),
            waiting=len(self.waiting) + len(self.preempted),
            preemptions_total=self.preemptions,
            prompt_tokens_total=self.prompts,
            generation_tokens_total=self.tokens,
            steps_total=self.steps,
        )

    def read_metrics(self) -> EngineSample | str | None:
        """Its metrics, why there are none, or None for silence."""
        if self.is_refusing:
            return "connection refused"
        if self.has("hang", "metrics_mute", "black_hole"):
            return None
        if self.has("metrics_wild"):
            return EngineSample(
                at=self.clock.now,
                running=self.random.randrange(9),
                waiting=self.random.randrange(9),
                generation_tokens_total=self.random.randrange(10**6),
                steps_total=self.random.randrange(10**6),
                kv_usage=self.random.random(),
            )
        if self.frozen is not None:
            old = self.frozen
            return EngineSample(
                at=self.clock.now,
                running=old.running,
                waiting=old.waiting,
                prompt_tokens_total=old.prompt_tokens_total,
                generation_tokens_total=old.generation_tokens_total,
                steps_total=old.steps_total,
            )
        return self.look()

    def read_health(self) -> int | None:
        """The status of `/health`; None for silence."""
        if self.is_refusing or self.has("hang", "black_hole"):
            return None
        return 503 if self.has("core_dead") else 200


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _named(name: str, **fields: Any) -> bytes:
    """An event of Anthropic's API."""
    return _chunk(b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name, **fields})))


def _head(status: int, length: int) -> bytes:
    kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % length
    return b"HTTP/1.1 %d Status\r\nserver: uvicorn\r\n" % status + kind
