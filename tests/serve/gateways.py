"""Gateway configurations for tests, from a fleet file as a user would write it."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.serve.config import GatewayConfig, compile_gateway
from penstock.spec.loader import load_fleet

KEY = "acme-key-1"
OTHER_KEY = "beta-key-1"

MODELS = """\
    - name: chat
      aliases: [gpt-4o, default]
      endpoints: ["http://127.0.0.1:1"]
    - name: embed
      endpoints: ["http://127.0.0.1:1"]
"""
TENANTS = f"""\
    tenants:
      - name: acme
        keys: [{{name: acme-laptop, value: {KEY}}}]
      - name: beta
        models: [embed]
        keys: [{{value: {OTHER_KEY}}}]
"""


def fleet_text(gateway: str = TENANTS, models: str = MODELS, *, listen: str = "127.0.0.1:0") -> str:
    return f"""\
apiVersion: penstock.dev/v1alpha1
kind: Fleet
metadata: {{name: demo}}
spec:
  models:
{models}  gateway:
    listen: "{listen}"
    admin: "127.0.0.1:0"
{gateway}"""


def config(
    gateway: str = TENANTS,
    models: str = MODELS,
    *,
    env: Mapping[str, str] | None = None,
    file_listen: str = "127.0.0.1:0",
    listen: str | None = None,
    admin: str | None = None,
    secret: Mapping[tuple[str, str], str] | None = None,
    authorities: Mapping[str, str] | None = None,
) -> GatewayConfig:
    """The compiled gateway of a fleet whose `spec.gateway` ends with `gateway` (indented by four)."""
    fleet = load_fleet(fleet_text(gateway, models, listen=file_listen), "fleet.yaml")
    reader = None if secret is None else (lambda name, key: secret.get((name, key)))
    return compile_gateway(fleet, env or {}, listen=listen, admin=admin, secret=reader, authorities=authorities)
