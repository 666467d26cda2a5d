"""Where a secret value is read from: the environment or a Kubernetes Secret. Never the value itself."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import ConfigDict, model_validator

from penstock.spec.base import Finding, Refusal, SpecObject
from penstock.spec.secrets import NonEmpty, SecretKeyRef

__all__ = ["ValueSource"]


class ValueSource(SpecObject):
    """Where a secret value comes from: exactly one of its fields is set."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["env"]}, {"required": ["secretKeyRef"]}]})
    forms: ClassVar[str] = "write `{env: NAME}` or `{secretKeyRef: {name: SECRET, key: KEY}}` below it"

    env: NonEmpty | None = None
    """Environment variable that holds the value."""
    secret_key_ref: SecretKeyRef | None = None
    """Kubernetes Secret that holds the value."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if self.env is None and self.secret_key_ref is None:
            raise Refusal([Finding(at=(), message="says nothing about where the value is", hint=self.forms)])
        if self.env is not None and self.secret_key_ref is not None:
            message = "has both `env` and `secretKeyRef`: keep one"
            raise Refusal([Finding(at=("secretKeyRef",), message=message, hint=self.forms)])
        return self
