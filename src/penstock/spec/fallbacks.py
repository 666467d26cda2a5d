"""Whether each fallback leads to somebody else who can answer. Pure.

Works on main names: an alias or an adapter is the model whose engines answer to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from penstock.spec.base import FieldPath, Finding
from penstock.spec.nearest import nearest
from penstock.spec.traffic import FallbackSpec

__all__ = ["Fallbacks", "fallback_findings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallbacks:
    """The fallbacks of one model."""

    model: str
    names: Sequence[str]
    """Every name it answers to, `model` among them."""
    fallbacks: Sequence[FallbackSpec]


def fallback_findings(models: Sequence[Fallbacks], providers: Sequence[str]) -> Iterator[Finding]:
    """Providers that are not there, fallbacks to oneself or said twice, and cycles. Paths are relative to `spec`.

    Models that are not there are left to `unknown_models`.
    """
    owner = {name: model.model for model in models for name in model.names}
    for place, model in enumerate(models):
        seen: set[tuple[str | None, str | None, str | None]] = set()
        for index, fallback in enumerate(model.fallbacks):
            at: FieldPath = ("models", place, "fallbacks", index)
            to = owner.get(fallback.model or "", fallback.model)
            if fallback.provider is not None and fallback.provider not in providers:
                yield _unknown_provider(fallback.provider, providers, (*at, "provider"))
            if to == model.model:
                message = (
                    f"is {fallback.model!r}, which is this model: what it can't answer it can't answer here either"
                )
                yield Finding(at=(*at, "model"), message=message, hint="name another model, or take it out")
            whom = (to, fallback.provider, fallback.provider_model)
            if whom in seen:
                message = f"names {fallback.model or fallback.provider!r} a second time"
                yield Finding(at=at, message=message, hint="keep one, with all of its `when`")
            seen.add(whom)
    yield from _cycles(models, owner)


def _unknown_provider(name: str, providers: Sequence[str], at: FieldPath) -> Finding:
    close = nearest(name, providers, 1)
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif providers:
        hint = f"providers here: {', '.join(sorted(providers))}"
    else:
        hint = f"add it: `gateway: {{providers: [{{name: {name}, url: https://HOST/v1}}]}}`"
    return Finding(at=at, message=f"no provider is called {name!r}", hint=hint)


def _cycles(models: Sequence[Fallbacks], owner: Mapping[str, str]) -> Iterator[Finding]:
    """One finding for each cycle of several models, at the fallback that closes it."""
    edges: dict[str, list[tuple[FieldPath, str]]] = {}
    for place, model in enumerate(models):
        for index, fallback in enumerate(model.fallbacks):
            to = owner.get(fallback.model or "")
            if to is not None and to != model.model:
                at: FieldPath = ("models", place, "fallbacks", index, "model")
                edges.setdefault(model.model, []).append((at, to))
    done: set[str] = set()
    for start in edges:
        yield from _cycles_from(start, edges, done)


def _cycles_from(start: str, edges: Mapping[str, list[tuple[FieldPath, str]]], done: set[str]) -> Iterator[Finding]:
    """A walk in depth without recursion: each model is entered once in all."""
    if start in done:
        return
    path, open_edges = [start], [iter(edges.get(start, ()))]
    while path:
        at, to = next(open_edges[-1], ((), ""))
        if not to:
            done.add(path.pop())
            open_edges.pop()
        elif to in path:
            way = " → ".join([*path[path.index(to) :], to])
            message = f"leads back to where it began: {way}"
            hint = "take one of these fallbacks out, so that a request that nobody can answer comes to an end"
            yield Finding(at=at, message=message, hint=hint)
        elif to not in done:
            path.append(to)
            open_edges.append(iter(edges.get(to, ())))
