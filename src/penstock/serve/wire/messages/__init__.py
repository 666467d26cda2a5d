"""Anthropic's Messages API: mended for engines that serve it, translated to chat completions for those that don't."""

from penstock.serve.wire.messages.from_chat import from_chat
from penstock.serve.wire.messages.mending import Mended, mend
from penstock.serve.wire.messages.passage import CHAT_PATHS, TranslatedBody, translated_answer, translated_request
from penstock.serve.wire.messages.stream import ChatEvents
from penstock.serve.wire.messages.to_chat import count_answer, count_request, to_chat

__all__ = [
    "CHAT_PATHS",
    "ChatEvents",
    "Mended",
    "TranslatedBody",
    "count_answer",
    "count_request",
    "from_chat",
    "mend",
    "to_chat",
    "translated_answer",
    "translated_request",
]
