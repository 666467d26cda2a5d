"""Streams of real vLLM engines, cut at random tokens: is what the client heard the uncut answer?

    python -m bench.cuts --cuts 200 --kills 12                      # float32: everything must be exact
    python -m bench.cuts --cuts 96 --dtype bfloat16 --load 8        # what goes on differently, must still be one text
    python -m bench.cuts --cuts 80 --thinking                       # a model that thinks first

Two engines on the CPU, each behind a relay that cuts a chosen answer at a chosen byte (most of the cuts: it takes no
restart), and a real gateway. For `--kills` the engines themselves are harmed: the engine core killed, the API server
killed, SIGTERM, SIGSTOP. Every answer is compared with that of an undisturbed run: text, calls, finish reason, usage.
In bfloat16, where the gateway says that a text was continued and not said again, what the relays wrote down must prove
that it is one text: what the client had, then what the last attempt said, asked for with just these tokens. Prints
figures as JSON (`exact_by_tokens`: continued, and exact all the same); exits 1 when an answer was wrong, or with
float32 not exact.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from bench.chaos import REAL_ENVIRONMENT, Engine, healthy
from bench.failover import free_port
from bench.questions import PROMPTS, SECRET, Question, enclose_thoughts, questions, thinking
from bench.relay import BETWEEN_EVENTS, KINDS, Attempt, Order, Relay

KEY = "cuts-key-1"
PATIENCE_S = 120.0
BLOCK = "<0>"
"""How the text of a message begins, as it is heard here."""
LAST_CHARS = 24
"""Characters of the last event that a relay let through, which may not have been whole."""
FLAGS = "--enforce-eager --max-model-len 1024 --max-num-seqs 16 --kv-cache-memory-bytes 64M --block-size 32"
CALLS, THINKS = "--enable-auto-tool-choice --tool-call-parser hermes", "--reasoning-parser deepseek_r1"
HARMS = ("core", "server", "terminate", "stop")


@dataclass
class Heard:
    """What a client made of a stream."""

    outcome: str = "lost"
    text: str = ""
    thoughts: str = ""
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    finish: str = ""
    usage: dict[str, int] = field(default_factory=dict)
    ids: set[Any] = field(default_factory=set)
    body_bytes: int = 0
    gap_s: float = 0.0
    number: int = 0

    @property
    def said(self) -> tuple[Any, ...]:
        """All that an uncut answer says too; the ids of calls are drawn anew by each run."""
        calls = {n: (c.get("name"), c.get("arguments")) for n, c in self.calls.items()}
        return self.text, self.thoughts, calls, self.finish, self.usage


def add(heard: Heard, event: dict[str, Any]) -> None:
    """One event more."""
    kind = event.get("type", "")
    if kind.startswith("response."):
        add_of_response(heard, kind, event)
    elif kind:
        add_of_message(heard, kind, event)
    else:
        add_of_chat(heard, event)


def add_of_chat(heard: Heard, event: dict[str, Any]) -> None:
    heard.ids.add((event["id"], event["created"], event["model"]))
    if event.get("usage"):
        heard.usage = {name: event["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    for choice in event["choices"]:
        delta = choice.get("delta") or {}
        if delta.get("reasoning"):
            heard.thoughts += delta["reasoning"]
        heard.text += choice.get("text") or delta.get("content") or ""
        for call in delta.get("tool_calls") or ():
            told = heard.calls.setdefault(call["index"], {})
            for name, value in (call.get("function") or {}).items():
                told[name] = told.get(name, "") + (value or "")
        heard.finish += choice.get("finish_reason") or ""


def add_of_response(heard: Heard, kind: str, event: dict[str, Any]) -> None:
    if event["sequence_number"] != heard.number:
        heard.finish += f"event {event['sequence_number']} came as number {heard.number}; "
    heard.number += 1
    if kind.endswith(".delta"):
        heard.text += event["delta"]
    response: dict[str, Any] = event.get("response") or {}
    if response:
        heard.ids.add((response["id"], response["created_at"]))
    if kind in ("response.completed", "response.incomplete"):
        said = "".join(part.get("text", "") for item in response["output"] for part in item.get("content") or ())
        heard.finish += response["status"] if said == heard.text else "its last event has another text"
        heard.usage = {name: response["usage"][name] for name in ("input_tokens", "output_tokens")}
        heard.outcome = "ok"


def add_of_message(heard: Heard, kind: str, event: dict[str, Any]) -> None:
    match kind:
        case "message_start":
            heard.ids.add(event["message"]["id"])
        case "content_block_start":
            heard.text += f"<{event['index']}>"
        case "content_block_delta":
            heard.text += event["delta"].get("text") or ""
        case "message_delta":
            heard.finish += event["delta"]["stop_reason"] or "no reason"
            heard.usage = {name: event["usage"][name] for name in ("input_tokens", "output_tokens")}
        case "message_stop":
            heard.outcome = "ok"
        case _:
            pass


async def ask(session: aiohttp.ClientSession, port: int, question: Question, name: str) -> Heard:
    """One stream, to its end."""
    heard, last = Heard(), 0.0
    headers = {"authorization": f"Bearer {KEY}", "x-request-id": name}
    try:
        async with asyncio.timeout(PATIENCE_S):
            url = f"http://127.0.0.1:{port}{question.path}"
            async with session.post(url, json=question.body, headers=headers) as answer:
                if answer.status != 200:
                    heard.outcome = f"status {answer.status}: {(await answer.text())[:200]}"
                    return heard
                heard.outcome = "no [DONE]"
                async for line in answer.content:
                    heard.body_bytes += len(line)
                    if not line.startswith(b"data: "):
                        continue
                    now = time.monotonic()
                    heard.gap_s, last = max(heard.gap_s, now - last if last else 0.0), now
                    if line.startswith(b"data: [DONE]"):
                        heard.outcome = "ok"
                        continue
                    event = json.loads(line[6:])
                    if "error" in event or event.get("type") == "error":
                        heard.outcome = f"error {event.get('error', event)}"
                        return heard
                    add(heard, event)
    except TimeoutError:
        heard.outcome = "hung"
    except aiohttp.ClientError as error:
        heard.outcome = f"lost: {error!r}"
    return heard


# ------------------------------------------------------------------ the proof that a continued text is one


def text_of(attempt: Attempt) -> str:
    heard = Heard()
    for event in attempt.events:
        add(heard, event)
    return heard.text.removeprefix(BLOCK)


def as_chat(heard: Heard) -> Heard:
    """What a client of the Messages API heard, in the words of the chat completion that it went on as."""
    if not heard.text.startswith(BLOCK):
        return heard
    finish = {"max_tokens": "length", "end_turn": "stop"}.get(heard.finish, heard.finish)
    usage = {"completion_tokens": heard.usage["output_tokens"]} if heard.usage else {}
    return replace(heard, text=heard.text.removeprefix(BLOCK), finish=finish, usage=usage)


def ids_of(attempt: Attempt) -> list[int]:
    """The tokens that an attempt was told to go on from; none where it began with messages or a text."""
    asked = attempt.fields
    ids = (asked.get("kv_transfer_params") or {}).get("prompt_token_ids") or asked.get("prompt")
    return ids if isinstance(ids, list) else []


def prompt_of(attempts: list[Attempt]) -> list[int]:
    """The tokens of the prompt, as a replay told them."""
    for attempt in attempts:
        for event in attempt.events if not ids_of(attempt) else ():
            told = event.get("prompt_token_ids") or (event.get("choices") or [{}])[0].get("prompt_token_ids")
            if told:
                ids: list[int] = told
                return ids
    return []


def flaw(heard: Heard, attempts: list[Attempt], decode: Any) -> str:
    """What is wrong with a text that goes on differently; empty when it is one text. `attempts`: in their order."""
    heard, first, last, prompt = as_chat(heard), text_of(attempts[0]), attempts[-1], prompt_of(attempts)
    if not prompt:
        return "no replay told the tokens of the prompt"
    if not heard.text.startswith(first) and not first.startswith(heard.text):
        return f"it does not begin with what the first attempt said: {first[-60:]!r}"
    most = 0  # characters that the client may have had of the attempts so far
    for attempt in attempts:
        ids, said = ids_of(attempt), text_of(attempt)
        if not ids:
            most = max(most, len(said))
            continue
        had = decode(ids[len(prompt) :])
        if ids[: len(prompt)] != prompt or not heard.text.startswith(had):
            return "an attempt went on from other tokens than those of the prompt and of the client's text"
        rest = heard.text[len(had) :]
        if not rest.startswith(said) and not (attempt.is_cut and rest.startswith(said[:-LAST_CHARS])):
            alike = len(os.path.commonprefix([rest, said]))  # noqa: RUF071 — of texts
            if attempt is last or len(had) + alike >= most:  # else it said again what the client had, differently
                return "what an attempt said does not follow what it went on from"
            continue
        most = max(most, len(had) + len(said))
    if not ids_of(last) or heard.text != decode(ids_of(last)[len(prompt) :]) + text_of(last):
        return "it does not end with what the last attempt said"
    return flaw_of_end(heard, attempts[0], last, len(ids_of(last)) - len(prompt))


def flaw_of_replay(heard: Heard, attempts: list[Attempt]) -> str:
    """What is wrong with an answer that no continuation was part of; empty when it is that of its last attempt."""
    said, first = Heard(), text_of(attempts[0])
    for event in attempts[-1].events:
        add(said, event)
    if "chat" in attempts[-1].path:
        heard = as_chat(heard)
    if not heard.text.removeprefix(BLOCK).startswith(first):
        return "it does not begin with what the first attempt said"
    if said.finish and not said.usage and heard.usage:  # the gateway counted
        said.usage = heard.usage | {"completion_tokens": tokens_told(attempts[-1])}
    return "" if heard.said == said.said else f"{heard.said} is not what the last attempt said: {said.said}"


def flaw_of_end(heard: Heard, first: Attempt, last: Attempt, kept: int) -> str:
    """What is wrong with the finish reason and the usage, which `kept` tokens of the client's text are part of."""
    events = Heard()
    for event in last.events:
        add(events, event)
    if heard.finish != events.finish:
        return f"its finish reason {heard.finish!r} is not {events.finish!r}"
    limit, asked = first.fields["max_tokens"], last.fields["max_tokens"]
    if asked != limit - min(kept, limit - 1):  # counted anew: at most so many that one may follow
        return f"it asked for {asked} tokens of {limit} after {kept}"
    right = (events.usage["completion_tokens"] if events.usage else tokens_told(last)) + limit - asked
    if heard.usage and heard.usage["completion_tokens"] != right:
        return f"its usage {heard.usage} is not {right}"
    return ""


def tokens_told(attempt: Attempt) -> int:
    """How many tokens an attempt told that was cut before its usage."""
    return sum(len(choice.get("token_ids") or ()) for event in attempt.events for choice in event.get("choices") or ())


# ------------------------------------------------------------------ the run


class Cuts:
    """One run."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.folder, self.random = args, folder, Random(args.seed)
        self.engines: list[Engine] = []
        self.relays: list[Relay] = []
        self.port = free_port()
        self.gateway: subprocess.Popen[bytes] | None = None
        self.log = folder / "gateway.log"
        self.results: list[tuple[str, Question, str, Heard]] = []
        self.right: list[Heard] = []
        asked = thinking(args.prompts) if args.thinking else questions(args.prompts)
        self.asked = [q for q in asked if args.only in ("", q.name)]
        self.decode: Any = None
        self.by_ids = 0

    # ------------------------------------------------------------------ what runs

    def model_folder(self) -> Path:
        if self.args.model:
            folder: Path = self.args.model
            return folder
        maker = Path(__file__).parent.parent / "tests/e2e/engine/tiny_model.py"
        subprocess.run([self.args.venv.absolute() / "bin/python", maker, self.folder / "model"], check=True)
        return self.folder / "model"

    async def start(self) -> None:
        from tokenizers import Tokenizer

        model = self.model_folder()
        if self.args.thinking:
            enclose_thoughts(model / "tokenizer.json")
        self.decode = Tokenizer.from_file(str(model / "tokenizer.json")).decode
        tools = self.args.venv.absolute() / "bin"
        line = [str(tools / "vllm"), "serve", str(model), "--host", "127.0.0.1", "--served-model-name", "chat"]
        line += [*FLAGS.split(), *(THINKS if self.args.thinking else CALLS).split(), "--dtype", self.args.dtype]
        line += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
        env = REAL_ENVIRONMENT | {"PATH": f"{tools}:{os.environ['PATH']}"}
        ports = self.args.ports or [free_port(), free_port()]
        self.engines = [Engine(line, port, env) for port in ports]
        for engine in self.engines if not self.args.ports else ():
            engine.start()
        for engine in self.engines:
            async with asyncio.timeout(300):
                await healthy(engine.port)
        self.relays = [Relay(engine.port) for engine in self.engines]
        await self.start_gateway([await relay.start() for relay in self.relays])

    async def start_gateway(self, ports: list[int]) -> None:
        fleet = {
            "apiVersion": "penstock.dev/v1alpha1",
            "kind": "Fleet",
            "metadata": {"name": "cuts"},
            "spec": {
                "models": [{"name": "chat", "endpoints": [f"http://127.0.0.1:{port}" for port in ports]}],
                "gateway": {
                    "listen": f"127.0.0.1:{self.port}",
                    "admin": f"127.0.0.1:{free_port()}",
                    "tenants": [{"name": "bench", "keys": [{"value": KEY}]}],
                },
            },
        }
        file = self.folder / "fleet.yaml"
        file.write_text(json.dumps(fleet))
        command = [sys.executable, "-m", "penstock", "gateway", str(file)]
        with self.log.open("wb") as out:
            env = os.environ | {"NO_COLOR": "1"}
            self.gateway = subprocess.Popen(command, stdout=out, stderr=out, env=env)  # noqa: ASYNC220 — a fork is short
        async with asyncio.timeout(60):
            await healthy(self.port)

    def end(self) -> None:
        if self.gateway is not None:
            self.gateway.terminate()
            self.gateway.wait()
        for engine in self.engines:
            engine.end()

    # ------------------------------------------------------------------ the cuts

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, read_bufsize=1 << 20) as session:
            for number, question in enumerate(self.asked):
                heard = await ask(session, self.engines[number % 2].port, question, f"right-{number}")
                if heard.outcome != "ok":
                    raise SystemExit(f"the uncut run of {question.name} failed: {heard.outcome}")
                self.right.append(heard)
            turns = iter(range(self.args.cuts))

            async def client() -> None:
                for turn in turns:
                    await self.cut(session, turn)

            async with asyncio.TaskGroup() as clients:
                for _ in range(self.args.load or 1):
                    clients.create_task(client())
            for turn in range(self.args.kills):
                await self.harm(session, turn)
        for relay in self.relays:
            await relay.close()

    async def cut(self, session: aiohttp.ClientSession, turn: int) -> None:
        """One stream that a relay cuts, or two or three times."""
        number = turn % len(self.asked)
        question, right, name = self.asked[number], self.right[number], f"cut-{turn}"
        kinds = [kind for kind in KINDS if kind != "freeze" or self.random.random() < self.args.freezes]
        if "completions" not in question.path:
            kinds = [kind for kind in kinds if kind not in BETWEEN_EVENTS]  # made up in the words of chat
        size = right.body_bytes
        orders = [Order(self.random.choice(kinds), self.random.randrange(size))]
        while len(orders) < 3 and self.random.random() < 0.2:
            orders.append(Order(self.random.choice(kinds), self.random.randrange(size)))
        kind = "+".join(order.kind for order in orders)
        for relay in self.relays:
            relay.orders[name] = orders  # shared: whichever endpoint gets the attempt
        heard = await ask(session, self.port, question, name)
        for relay in self.relays:
            relay.orders.pop(name, None)
        self.results.append((kind, question, name, heard))

    async def harm(self, session: aiohttp.ClientSession, turn: int) -> None:
        """A batch of streams while one engine is harmed for real, and has been restarted after it."""
        harm, engine = HARMS[turn % len(HARMS)], self.engines[turn // len(HARMS) % 2]
        picked = self.random.sample(range(len(self.asked)), 8)

        async def one(number: int) -> None:
            name = f"harm-{turn}-{number}"
            heard = await ask(session, self.port, self.asked[number], name)
            if heard.outcome == "ok" and heard.said != self.right[number].said:
                heard.outcome = "differs"
            self.results.append((harm, self.asked[number], name, heard))

        async with asyncio.TaskGroup() as streams:
            for number in picked:
                streams.create_task(one(number))
            await asyncio.sleep(0.1 + 0.3 * self.random.random())
            harmed = core_of(engine) if harm in ("core", "stop") else [engine.process.pid if engine.process else 0]
            number = {"terminate": signal.SIGTERM, "stop": signal.SIGSTOP}.get(harm, signal.SIGKILL)
            for pid in harmed:
                os.kill(pid, number)
        if harm == "stop":
            for pid in harmed:
                os.kill(pid, signal.SIGCONT)
        else:
            engine.end()
            engine.start()
            await asyncio.sleep(1)
        async with asyncio.timeout(300):
            await healthy(engine.port)
        await asyncio.sleep(3)  # the gateway finds it again

    # ------------------------------------------------------------------ what came of it

    def judged(self) -> list[tuple[str, str, str, str]]:
        """(harm, kind of request, verdict, words) of each stream."""
        text = self.log.read_text(errors="replace")
        resumes = {m[1]: int(m[2]) for m in re.finditer(r"request_id=(\S+) .*resumes=(\d+)", text)}
        continued = {m[1]: int(m[2]) for m in re.finditer(r"request_id=(\S+) .*continued=(\d+)", text)}
        by_question = {id(q): right for q, right in zip(self.asked, self.right, strict=True)}
        told = []
        for harm, question, name, heard in self.results:
            found = [a for relay in self.relays for a in relay.attempts.get(name, [])]
            attempts = sorted(found, key=lambda attempt: attempt.began)
            verdict, words = "exact", heard.outcome
            if SECRET in heard.text or len(heard.ids) > 1:
                verdict, words = "wrong", f"leaked, or several ids: {heard.ids}"
            elif heard.outcome.startswith("error"):
                verdict = "error"
            elif heard.outcome not in ("ok", "differs"):
                verdict = "lost"
            elif self.args.dtype == "float32" and question.name != "drawn":
                if heard.said != by_question[id(question)].said:
                    verdict, words = "wrong", f"{heard.said} is not {by_question[id(question)].said}"
                else:
                    self.by_ids += bool(continued.get(name))
            elif continued.get(name):
                words = flaw(heard, attempts, self.decode)
                verdict = "wrong" if words else "continued"
                if not words and question.name == "drawn":
                    verdict = "exact"  # what it went on from, and no run would draw the same
            elif words := flaw_of_replay(heard, attempts):
                verdict = "wrong"
            kind = f"{question.path.rpartition('/v1/')[2]} {question.name}"
            told.append((harm, kind, verdict if resumes.get(name) or verdict != "exact" else "not cut", words))
        return told

    def report(self) -> dict[str, Any]:
        judged = self.judged()
        verdicts = Counter(verdict for _, _, verdict, _ in judged)
        by_harm: dict[str, Counter[str]] = {}
        for harm, _, verdict, _ in judged:
            by_harm.setdefault(harm.partition("+")[0], Counter())[verdict] += 1
        bad = [entry for entry in judged if entry[2] in ("wrong", "lost", "error")]
        longest = sorted(self.results, key=lambda result: -result[-1].gap_s)
        gaps = [heard.gap_s for *_, heard in reversed(longest)]
        return {
            "dtype": self.args.dtype,
            "seed": self.args.seed,
            "streams": len(judged),
            "verdicts": dict(sorted(verdicts.items())),
            "exact_by_tokens": self.by_ids,
            "by_harm": {name: dict(sorted(count.items())) for name, count in sorted(by_harm.items())},
            "longest_gap_p50_s": round(gaps[len(gaps) // 2], 3),
            "longest_gap_max_s": round(gaps[-1], 3),
            "longest_gaps": [f"{h.gap_s:.2f} s: {kind} {q.path} {q.name}" for kind, q, _, h in longest[:5]],
            "bad": [f"{harm} {kind} {verdict}: {words[:600]}" for harm, kind, verdict, words in bad[:12]],
        }


def core_of(engine: Engine) -> list[int]:
    """The engine's processes that compute, which are the children of its API server."""
    if engine.process is None:
        return []
    children = Path(f"/proc/{engine.process.pid}/task/{engine.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if "EngineCore" in Path(f"/proc/{pid}/cmdline").read_text()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--load", type=int, default=0, help="streams at once")
    parser.add_argument(
        "--freezes", type=float, default=0.3, help="share of the freezes that are done: each takes 2 s or more"
    )
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--only", default="", help="one kind of request, as in `greedy`")
    parser.add_argument("--thinking", action="store_true", help="a model that thinks first; in float32")
    parser.add_argument("--venv", type=Path, default=Path(".venv-vllm"))
    parser.add_argument("--model", type=Path, help="folder of another model than the tiny one")
    parser.add_argument("--ports", type=int, nargs=2, help="engines that run already; then nothing is killed")
    args = parser.parse_args()
    if args.ports and args.kills:
        parser.error("engines that run already are not killed: --ports goes without --kills")
    with tempfile.TemporaryDirectory() as folder:
        run = Cuts(args, Path(folder))

        async def all_of_it() -> None:
            await run.start()
            await run.run()

        began = time.monotonic()
        try:
            asyncio.run(all_of_it())
        finally:
            run.end()
        figures = run.report() | {"seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(figures, indent=1))
    allowed = {"exact", "not cut"} | ({"continued", "error"} if args.dtype != "float32" else set())
    return 0 if set(figures["verdicts"]) <= allowed else 1


if __name__ == "__main__":
    sys.exit(main())
