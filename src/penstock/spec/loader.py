"""Reads a fleet file: text in, `Fleet` out, or every problem of the file at once. Pure.

Guarantees: each problem has the line and column of the thing that is wrong, its field, what is wrong, and what to do
where that can be told; problems come in the order of the file; no message holds a key.
"""

from __future__ import annotations

from pydantic import ValidationError

from penstock.errors import Problem, SpecError
from penstock.spec.base import FieldPath
from penstock.spec.document import Document, Plain, parse_document
from penstock.spec.explain import explain
from penstock.spec.fleet import API_VERSION, Fleet
from penstock.spec.names import ModelNames, TenantNames, clashes, unknown_models

__all__ = ["load_fleet"]


def load_fleet(text: str, file: str) -> Fleet:
    """Reads a fleet file. `file` is what messages call it.

    Raises:
        SpecError: the file is wrong; carries every problem.
    """
    document = parse_document(text, file)
    if not isinstance(document.value, dict):
        hint = f"a fleet file begins with `apiVersion: {API_VERSION}` and `kind: Fleet`"
        raise SpecError([document.problem((), "a fleet file is a mapping of fields to values", hint)])
    stranger = _another_kind(document, document.value)
    if stranger is not None:
        raise SpecError([stranger])
    try:
        fleet = Fleet.model_validate(document.value, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [
            document.problem(found.at, found.message, found.hint, of_key=found.of_key)
            for found in explain(error.errors(include_url=False), document.value, Fleet)
        ]
        problems += _name_problems(document, document.value, problems)
        raise SpecError(_in_order([*document.problems, *problems])) from None
    if document.problems:
        raise SpecError(_in_order(document.problems))
    return fleet


def _another_kind(document: Document, value: dict[str, Plain]) -> Problem | None:
    """A file of another kind or version: then nothing else in it is worth telling."""
    kind, version = value.get("kind"), value.get("apiVersion")
    if isinstance(kind, str) and kind != "Fleet" and version != API_VERSION:
        message = f"is {kind!r}: this is not a fleet file"
        return document.problem(("kind",), message, f"a fleet file has `apiVersion: {API_VERSION}` and `kind: Fleet`")
    if isinstance(version, str) and version != API_VERSION and version.startswith("penstock.dev/"):
        message = f"is {version!r}, a version of the format that this Penstock does not know"
        return document.problem(("apiVersion",), message, f"this one reads {API_VERSION}; newer files need a newer one")
    return None


def _name_problems(document: Document, value: dict[str, Plain], known: list[Problem]) -> list[Problem]:
    """Clashes of names in a file that has other problems too, so that pydantic did not get to them."""
    spec = value.get("spec")
    if not isinstance(spec, dict):
        return []
    models = [_model_names(item) for item in _items(spec.get("models"))]
    gateway = spec.get("gateway")
    tenants = [_tenant_names(item) for item in _items(gateway.get("tenants") if isinstance(gateway, dict) else None)]
    findings = list(clashes(models, tenants))
    if not any(problem.field.startswith("spec.models") for problem in known):  # else a name may be one of the problems
        findings += unknown_models(models, tenants)
    problems = [document.problem(("spec", *found.at), found.message, found.hint) for found in findings]
    said = {(problem.field, problem.message) for problem in known}
    return [problem for problem in problems if (problem.field, problem.message) not in said]


def _model_names(model: Plain) -> ModelNames:
    if not isinstance(model, dict):
        return ModelNames(names=[])
    name = model.get("name")
    own: list[tuple[FieldPath, str]] = [(("name",), name)] if isinstance(name, str) else []
    return ModelNames(names=[*own, *_texts(("aliases",), model.get("aliases"))])


def _tenant_names(tenant: Plain) -> TenantNames:
    if not isinstance(tenant, dict):
        return TenantNames(name=None)
    name = tenant.get("name")
    keys: list[tuple[FieldPath, str]] = []
    models = _texts(("models",), tenant.get("models"))
    for place, key in enumerate(_items(tenant.get("keys"))):
        literal = key.get("value") if isinstance(key, dict) else None
        if isinstance(literal, str):
            keys.append((("keys", place, "value"), literal))
        models += _texts(("keys", place, "models"), key.get("models") if isinstance(key, dict) else None)
    return TenantNames(name=name if isinstance(name, str) else None, models=models, keys=keys)


def _items(value: Plain) -> list[Plain]:
    return value if isinstance(value, list) else []


def _texts(at: FieldPath, value: Plain) -> list[tuple[FieldPath, str]]:
    """The texts of a list, each with its place."""
    return [((*at, place), item) for place, item in enumerate(_items(value)) if isinstance(item, str)]


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line, problem.column))
