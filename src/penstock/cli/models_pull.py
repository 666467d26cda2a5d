"""The work of `penstock models pull`: one source, or every model of a fleet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.cli.files import load_fleet_file
from penstock.cli.models_screen import moving
from penstock.cli.output import Output, print_json, print_table, say, warn
from penstock.errors import UsageError
from penstock.operate.io.storage import Pull, Pulled, PullOptions, open_source
from penstock.operate.storage import ModelSource, Scheme, parse_source, safe_name, shown_bytes

__all__ = ["Asked", "fleet_sources", "is_fleet_file", "run_pull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One model to pull."""

    source: ModelSource
    models: tuple[str, ...]
    """Models of the fleet that are served from it; empty where the source was named itself."""


def is_fleet_file(text: str) -> bool:
    """Whether what a person wrote means a fleet file."""
    return text == "-" or text.endswith((".yaml", ".yml"))


def fleet_sources(file: str, only: Sequence[str] = ()) -> list[Asked]:
    """The sources of a fleet file's models and their adapters, each once. Engines that run elsewhere have none.

    Raises:
        UsageError: the file is wrong, `only` names a model that it does not have, or a source cannot be read.
    """
    models = load_fleet_file(file).spec.models
    known = {model.name for model in models}
    if unknown := [name for name in only if name not in known]:
        raise UsageError(f"{file} has no model {unknown[0]!r}", hint=f"it has {', '.join(sorted(known))}")
    found: dict[ModelSource, list[str]] = {}
    for model in models:
        if model.endpoints is not None or (only and model.name not in only):
            continue
        places = [(a.source, a.revision) for a in model.adapters] + [(model.source_or_name, model.revision)]
        for text, revision in places:
            found.setdefault(parse_source(text).at(revision), []).append(model.name)
    return [Asked(source=source, models=tuple(names)) for source, names in found.items()]


def run_pull(
    text: str,
    store: Path,
    *,
    revision: str | None,
    models: Sequence[str],
    name: str | None,
    options: PullOptions,
    output: Output,
) -> None:
    """Pulls what was asked for, and prints what came of it."""
    is_fleet = is_fleet_file(text)
    if is_fleet and (revision is not None or name is not None):
        raise UsageError("--revision and --name go with one source", hint="a fleet file has `revision` for each model")
    if models and not is_fleet:
        raise UsageError("--model goes with a fleet file", hint="--name says what a source is called in the store")
    asked = fleet_sources(text, models) if is_fleet else [_asked(text, revision)]
    pulled: list[Pulled] = []
    try:
        for one in _without_folders(asked) if is_fleet else asked:
            pulled.append(_pull(one, store, name, options))  # noqa: PERF401 — what is done is printed after a failure
    finally:
        _print(pulled, output)


def _asked(text: str, revision: str | None) -> Asked:
    source = parse_source(text)
    asked = source.at(revision)
    if source.revision not in (None, asked.revision) or source.digest not in (None, asked.digest):
        raise UsageError(
            f"{text} names revision {source.revision}, and --revision {revision}", hint="keep one of the two"
        )
    if source.is_hub and Path(text, "config.json").is_file():
        warn(f"{text} is taken for a name on the hub; the folder {text} here is written ./{text}")
    return Asked(source=asked, models=())


def _without_folders(asked: Sequence[Asked]) -> Iterator[Asked]:
    """A model that the fleet serves from a folder is where it has to be."""
    for one in asked:
        if one.source.scheme is Scheme.PATH:
            say(f"{', '.join(one.models)}: served from the folder {one.source.location}: nothing to pull")
        else:
            yield one


def _pull(asked: Asked, store: Path, name: str | None, options: PullOptions) -> Pulled:
    source = asked.source
    if name is not None and safe_name(name) != name:
        raise UsageError(f"--name {name!r} cannot name a folder", hint=f"for example {safe_name(name)}")
    if source.is_hub and source.revision is None and asked.models:
        warn(f"{asked.models[0]}: no revision is pinned: the newest commit of {source} is pulled")
    with moving(f"pulling {source}") as (progress, stop):
        pulled = Pull(
            source, lambda: open_source(source), store, name=name, options=options, progress=progress, stop=stop
        ).run()
    for warning in pulled.warnings:
        warn(f"{pulled.name}: {warning}")
    if pulled.was_present:
        say(f"{pulled.path} is there and valid")
    else:
        say(f"{pulled.path} is published: {pulled.files} files, {shown_bytes(pulled.bytes)}, {pulled.seconds:.1f} s")
    return pulled


def _print(pulled: Sequence[Pulled], output: Output) -> None:
    if output is Output.JSON:
        print_json({"models": list(pulled)})
    elif pulled:
        rows = [(p.name, p.revision, shown_bytes(p.bytes), shown_bytes(p.fetched_bytes)) for p in pulled]
        print_table(("model", "revision", "size", "fetched"), rows)
