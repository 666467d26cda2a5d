"""What a request asks of the sampler: checked, with defaults filled in.

Guarantees: vLLM's checks in vLLM's order and words; a prompt that fits and an output length that fits behind it
(`max_tokens` is clamped to the room that is left, as vLLM does without a word). Leaves to others: parsing, prompts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.simulate.engine.api.chat_request import ChatCompletionRequest
from penstock.simulate.engine.api.completion_request import CompletionRequest
from penstock.simulate.engine.api.errors import ApiError, bad_request, bad_value

__all__ = [
    "LOGPROBS_MAX",
    "Sampling",
    "check_output_limit",
    "prompt_too_long",
    "sampling_of_chat",
    "sampling_of_completion",
]

LOGPROBS_MAX = 20
"""vLLM's `--max-logprobs` default: alternatives that may be asked for each token."""
_GREEDY = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """One request's sampling values. `max_tokens` is None until `within` fits it to a prompt."""

    n: int = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    logprobs: int | None = None
    """Alternatives to report for each output token; None: no log probabilities at all."""
    prompt_logprobs: int | None = None
    priority: int = 0
    cache_salt: str = ""

    def within(self, prompt_tokens: int, max_model_len: int) -> Sampling:
        """The same with `max_tokens` clamped to what fits behind the prompt; checks every value."""
        room = max_model_len - prompt_tokens
        limit = room if self.max_tokens is None else min(self.max_tokens, room)
        fitted = replace(self, max_tokens=limit)
        fitted.check()
        return fitted

    def check(self) -> None:
        """Raises vLLM's error for the first value that is out of range."""
        self._check_penalties()
        self._check_distribution()
        self._check_lengths()
        self._check_logprobs()
        if any(not text for text in self.stop):
            raise bad_request("stop cannot contain an empty string.")
        if self.temperature < _GREEDY and self.n > 1:
            raise bad_request(f"n must be 1 when using greedy sampling, got {self.n}.")

    def _check_penalties(self) -> None:
        if self.n < 1:
            raise bad_request(f"n must be at least 1, got {self.n}.")
        if not -2.0 <= self.presence_penalty <= 2.0:
            raise bad_request(f"presence_penalty must be in [-2, 2], got {self.presence_penalty}.")
        if not -2.0 <= self.frequency_penalty <= 2.0:
            raise bad_request(f"frequency_penalty must be in [-2, 2], got {self.frequency_penalty}.")
        if self.repetition_penalty <= 0.0:
            raise bad_request(f"repetition_penalty must be greater than zero, got {self.repetition_penalty}.")

    def _check_distribution(self) -> None:
        if self.temperature < 0.0:
            text = f"temperature must be non-negative, got {self.temperature}."
            raise bad_value(text, "temperature", self.temperature)
        if not 0.0 < self.top_p <= 1.0:
            raise bad_value(f"top_p must be in (0, 1], got {self.top_p}.", "top_p", self.top_p)
        if self.top_k < -1:
            raise bad_request(f"top_k must be 0 (disable), or at least 1, got {self.top_k}.")
        if not 0.0 <= self.min_p <= 1.0:
            raise bad_request(f"min_p must be in [0, 1], got {self.min_p}.")

    def _check_lengths(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise bad_value(f"max_tokens must be at least 1, got {self.max_tokens}.", "max_tokens", self.max_tokens)
        if self.min_tokens < 0:
            raise bad_request(f"min_tokens must be greater than or equal to 0, got {self.min_tokens}.")
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise bad_request(
                f"min_tokens must be less than or equal to max_tokens={self.max_tokens}, got {self.min_tokens}."
            )

    def _check_logprobs(self) -> None:
        for name, kind, value in (
            ("logprobs", "sample", self.logprobs),
            ("prompt_logprobs", "prompt", self.prompt_logprobs),
        ):
            if value is None:
                continue
            if value < 0 and value != -1:
                raise bad_value(f"{name} must be non-negative or -1, got {value}.", name, value)
            if value > LOGPROBS_MAX:
                raise bad_value(
                    f"Requested {kind} logprobs of {value}, which is greater than max allowed: {LOGPROBS_MAX}",
                    name,
                    value,
                )


def sampling_of_chat(request: ChatCompletionRequest, max_model_len: int) -> Sampling:
    """The sampling values of a chat; the output limit is checked against the model."""
    name, limit = "max_tokens", request.max_tokens
    if request.max_completion_tokens is not None:
        name, limit = "max_completion_tokens", request.max_completion_tokens
    check_output_limit(name, limit, max_model_len)
    wanted = (request.top_logprobs or 0) if request.logprobs else None
    return replace(_common(request), n=1 if request.n is None else request.n, max_tokens=limit, logprobs=wanted)


def sampling_of_completion(request: CompletionRequest, max_model_len: int) -> Sampling:
    """The sampling values of a completion. `echo` without output asks for one token, which is not shown."""
    limit = request.max_tokens
    check_output_limit("max_tokens", limit, max_model_len)
    if request.echo and limit == 0:
        limit = 1
    prompt_logprobs = request.prompt_logprobs
    if prompt_logprobs is None and request.echo:
        prompt_logprobs = request.logprobs
    return replace(
        _common(request),
        n=request.n,
        max_tokens=limit,
        logprobs=request.logprobs,
        prompt_logprobs=prompt_logprobs,
    )


def check_output_limit(name: str, limit: int | None, max_model_len: int) -> None:
    """Refuses an output limit that no prompt leaves room for."""
    if limit is not None and limit > max_model_len:
        raise bad_value(
            f"{name}={limit} cannot be greater than max_model_len={max_model_len}. Please request fewer output tokens.",
            name,
            limit,
        )


def prompt_too_long(count: int, max_model_len: int, *, at_least: bool) -> ApiError:
    """The error for a prompt over the context. `at_least`: counting stopped one past the limit, as it does for text."""
    counted = f"at least {count}" if at_least else f"{count}"
    return bad_value(
        f"This model's maximum context length is {max_model_len} tokens. However, your prompt contains {counted} input "
        "tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt.",
        "input_tokens",
        count,
    )


def _common(request: ChatCompletionRequest | CompletionRequest) -> Sampling:
    stop = request.stop or []
    return Sampling(
        min_tokens=request.min_tokens,
        temperature=_or(request.temperature, 1.0),
        top_p=_or(request.top_p, 1.0),
        top_k=request.top_k or 0,
        min_p=_or(request.min_p, 0.0),
        presence_penalty=_or(request.presence_penalty, 0.0),
        frequency_penalty=_or(request.frequency_penalty, 0.0),
        repetition_penalty=_or(request.repetition_penalty, 1.0),
        seed=request.seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        include_stop=request.include_stop_str_in_output,
        stop_token_ids=frozenset(request.stop_token_ids or ()),
        ignore_eos=request.ignore_eos,
        skip_special_tokens=request.skip_special_tokens,
        prompt_logprobs=request.prompt_logprobs,
        priority=request.priority,
        cache_salt=request.cache_salt or "",
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
