"""A model that can be asked to go on from tokens: what a whole engine would say, by the rules, with no engine's code.

Its tokens are bytes, so that characters may lie across them; the next token is a function of all before it. Text is
given out as vLLM does: no character before it is whole, none that may begin a stop string, several tokens an event.
"""

from __future__ import annotations

import codecs
import json
import zlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

from serve.exchanges import DONE, END, SSE_HEAD, answer, chunk, event

PROMPT_IDS = [900, 901, 902]
_EURO, _FACE = "€".encode(), "🙂".encode()
VOCABULARY = [b"a", b"b", b"ab", b"c ", b"de", b"", _EURO[:1], _EURO[1:], _FACE[:2], _FACE[2:3], _FACE[3:]]
VOCABULARY += [b"f", b"gh "]
_AFTER = {6: [7], 8: [9], 9: [10]}
"""A character that was begun is ended."""
_BEGINNINGS = [0, 1, 2, 3, 4, 5, 6, 8, 11, 12]


def next_id(ids: list[int]) -> int:
    """The model: greedy, and whole characters."""
    choices = _AFTER.get(ids[-1], _BEGINNINGS)
    return choices[zlib.crc32(json.dumps(ids).encode()) % len(choices)]


def spell(ids: list[int]) -> str:
    return b"".join(VOCABULARY[i] for i in ids).decode("utf-8", "replace")


@dataclass
class Speaker:
    """One request's answer, event by event. `seed`: how tokens are grouped into events, and nothing else."""

    asked: dict[str, Any]
    seed: int = 0
    is_chat: bool = True
    told: list[list[int]] = field(default_factory=list)

    @property
    def prompt_ids(self) -> list[int]:
        """What the engine reads before it says anything."""
        given = (self.asked.get("kv_transfer_params") or {}).get("prompt_token_ids")
        if not self.is_chat and type(self.asked.get("prompt")) is list:
            given = self.asked["prompt"]
        return list(given or PROMPT_IDS)

    def answer(self) -> list[tuple[str, list[int], str | None]]:
        """Text, tokens and finish reason of each event."""
        random, ids = Random(self.seed), self.prompt_ids
        said = [i for i in ids if i < len(VOCABULARY)]
        assert not spell(said).endswith("�"), "asked to go on inside a character: vLLM would tell the prompt"
        stop = self.asked.get("stop") or []
        stops = [stop] if type(stop) is str else stop
        held = 0 if self.asked.get("include_stop_str_in_output") else max(map(len, stops), default=1) - 1
        decoder, text, given, finish = codecs.getincrementaldecoder("utf-8")("replace"), "", 0, None
        events: list[tuple[str, list[int], str | None]] = []
        group: list[int] = []
        for count in range(1, self.asked["max_tokens"] + 1):
            group.append(next_id(ids))
            ids.append(group[-1])
            before = len(text)
            text += decoder.decode(VOCABULARY[group[-1]])
            ends = [(at, s) for s in stops if (at := text.find(s, max(0, before - len(s) + 1))) >= 0]
            if ends and len(ids) and count > self.asked.get("min_tokens", 0):
                at, found = min(ends)
                text, finish = text[: at + (len(found) if not held and len(stops) else 0)], "stop"
                if self.asked.get("include_stop_str_in_output"):
                    text = text[: at + len(found)]
            elif count == self.asked["max_tokens"]:
                text, finish = text + decoder.decode(b"", True), "length"
            if finish is not None or random.random() < 0.6:
                end = len(text) if finish is not None else max(given, len(text) - held)
                events.append((text[given:end], group, finish))
                given, group = end, []
            if finish is not None:
                break
        return events

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(text for text, _, _ in self.answer())

    def events(self, created: int = 1) -> list[bytes]:
        """Its events as vLLM writes them, usage last."""
        said = self.answer()
        tells = bool(self.asked.get("return_token_ids"))
        frame = {"id": f"chatcmpl-{created}", "object": "chunk", "created": created, "model": "chat"}
        first = {"prompt_token_ids": self.prompt_ids if tells else None, "prompt_text": None}
        made = []
        if self.is_chat:
            role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            made.append(event(**frame, choices=[role], **first))
        for number, (text, ids, finish) in enumerate(said):
            choice: dict[str, Any] = {"index": 0, **({"delta": {"content": text}} if self.is_chat else {"text": text})}
            choice |= {"logprobs": None, "finish_reason": finish}
            if not self.is_chat:
                choice |= first if number == 0 else dict.fromkeys(first)
            made.append(event(**frame, choices=[{**choice, "token_ids": ids if tells else None}]))
        output, prompt = sum(len(ids) for _, ids, _ in said), len(self.prompt_ids)
        counts = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
        return [*made, event(**frame, choices=[], usage=counts), DONE]

    def wire(self, created: int = 1) -> list[bytes]:
        """The same in HTTP's clothes."""
        return [SSE_HEAD, *(chunk(e) for e in self.events(created)), END]


def detokenized(asked: dict[str, Any]) -> bytes:
    """The engine's answer to `/detokenize`."""
    return answer(json.dumps({"prompt": spell(asked["tokens"])}).encode())
