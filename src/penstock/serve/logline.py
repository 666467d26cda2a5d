"""The access log: one line per request, event name and key=value, ready for any log pipeline.

Never holds prompts, completions or keys. A value that a client chose is quoted and cut.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from penstock.serve.record import RequestRecord

__all__ = ["log_line"]

VALUE_CHARS_MAX = 100
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@+")


@lru_cache(maxsize=1024)
def _plain(value: str) -> str:
    value = value[:VALUE_CHARS_MAX]
    if _PLAIN.issuperset(value):
        return value or "-"
    escaped = value.encode("unicode_escape").decode().replace('"', '\\"')
    return f'"{escaped}"'


@lru_cache(maxsize=4)
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def log_line(r: RequestRecord) -> str:
    """The line of one finished request, without its newline. Tokens and times that are unknown are -1; the requested
    model is left out where it is the one that answered, and so are no rule, no fallbacks and no second endpoint."""
    whole_s = int(r.at)
    time = f"{_second(whole_s)}.{int((r.at - whole_s) * 1000):03d}"
    asked = f" requested_model={_plain(r.requested_model)}" if r.requested_model != r.model else ""
    if r.rule:
        asked += f" rule={_plain(r.rule)}"
    if r.fallbacks:
        asked += f" fallbacks={r.fallbacks}"
    if r.hedged:
        asked += f" hedged={r.hedged}"
    return (
        f"event=request time={time}Z request_id={r.request_id} route={r.route} model={r.model or '-'}{asked}"
        f" endpoint={r.endpoint or '-'} tenant={r.tenant or '-'} key={_plain(r.key)} class={r.traffic_class}"
        f" stream={'true' if r.is_stream else 'false'} status={r.status} outcome={r.outcome} reason={r.reason or '-'}"
        f" prompt_tokens={r.prompt_tokens} cached_tokens={r.cached_tokens} output_tokens={r.output_tokens}"
        f" bytes_in={r.bytes_in} bytes_out={r.bytes_out} queue_ms={r.queue_ms:.2f} ttft_ms={r.ttft_ms:.2f}"
        f" total_ms={r.total_ms:.2f} retries={r.retries} resumes={r.resumes} continued={r.continued}"
    )
