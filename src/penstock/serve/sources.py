"""Reads the secret values that a fleet file only names, from the environment or a Secret. Pure: both are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penstock.errors import UsageError
from penstock.spec import ValueSource

__all__ = ["SecretReader", "read_source"]

SecretReader = Callable[[str, str], str | None]
"""Value of a Secret's key, by the Secret's name and the key; None where it is not there."""


def read_source(
    whose: str, source: ValueSource, env: Mapping[str, str], secret: SecretReader | None, *, chars_min: int
) -> str:
    """The value, without the white space around it. `whose` begins the sentence when it can't be had.

    Raises:
        UsageError: it is not there, is shorter than `chars_min`, or lies where this machine can't read.
    """
    if source.env is not None:
        value = env.get(source.env, "").strip()
        if len(value) < chars_min:
            state = "is not set" if not value else f"holds fewer than {chars_min} characters"
            raise UsageError(
                f"{whose} comes from the environment variable {source.env}, which {state}.",
                hint=f"export {source.env}=… before starting",
            )
        return value
    ref = source.secret_key_ref
    if ref is None or secret is None:
        raise UsageError(
            f"{whose} is kept in a Kubernetes Secret, which this machine can't read.",
            hint="name an environment variable here, with `env: NAME`; `secretKeyRef` works where the gateway runs in "
            "the cluster, or with PENSTOCK_SECRETS_DIR set to a folder of SECRET/KEY files",
        )
    found = (secret(ref.name, ref.key) or "").strip()
    if len(found) < chars_min:
        state = "is not there" if not found else f"holds fewer than {chars_min} characters"
        raise UsageError(
            f"{whose} comes from key {ref.key} of Secret {ref.name}, which {state}.",
            hint=f"`kubectl describe secret {ref.name}` lists its keys and their sizes",
        )
    return found
