"""The gateways that are measured: what each needs on this machine and how it is started.

All get the same two upstreams and one port. The peers run as they are shipped but for their log level, and do less than
Penstock does in its row: no keys, no access log, no usage accounting; `litellm` checks a key.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bench.workloads import MODEL

__all__ = ["BUILD", "KEY", "PEERS", "CannotRunError", "Peer", "Place"]

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
VENVS = BUILD / "venvs"
KEY = "penstock-bench-key"
LITELLM_KEY = "sk-penstock-bench-key"
"""LiteLLM's master key must begin with `sk-`: https://docs.litellm.ai/docs/proxy/prod."""
UNREACHED = {"requestsPerMinute": 100_000_000, "tokensPerMinute": 100_000_000_000}
"""Limits that are counted for each request and refuse none: three thousand times what one core relays."""


class CannotRunError(Exception):
    """A peer can't be measured here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a peer runs: its own port, a spare one for its metrics, the upstreams, and a folder for its files."""

    port: int
    spare_port: int
    upstream_ports: Sequence[int]
    folder: Path

    @property
    def upstream_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.upstream_ports]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One gateway."""

    name: str
    does: str
    """What it does for each request beyond relaying it."""
    command: Callable[[Place], list[str]] | None
    """None: no gateway, the load goes straight to an upstream."""
    requirements: tuple[str, ...] = ()
    """Packages of its virtual environment, which `environment` names."""
    environment: str = ""
    headers: tuple[str, ...] = field(default=())
    slowness: float = 1.0
    """How many times longer its windows are, so that a slow one answers enough requests to be measured by."""
    loads: tuple[str, ...] = ()
    """Loads that it is measured at; empty: all of them."""

    def takes(self, load: str) -> bool:
        """Whether it is measured at that load."""
        return not self.loads or load in self.loads

    def prepare(self, say: Callable[[str], None]) -> None:
        """Makes the peer runnable, installing it where needed.

        Raises:
            CannotRunError: it can't be installed or found.
        """
        if self.requirements:
            _install(self.environment, self.requirements, say)
        if self.name == "nginx" and not shutil.which("nginx"):
            raise CannotRunError("nginx is not installed (Debian: apt-get install nginx-light)")


def _install(name: str, requirements: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Creates a virtual environment with these packages; does nothing when it is there with the same ones."""
    folder = VENVS / name
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == "\n".join(requirements):
        return
    say(f"installing {' '.join(requirements)} into {folder}")
    venv.create(folder, clear=True, with_pip=True)  # what an interrupted install left is no use
    pip = [_python(name), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[
            -1:
        ]
        raise CannotRunError(f"pip could not install {' '.join(requirements)}: {' '.join(errors)}")
    stamp.write_text("\n".join(requirements))


def _python(environment: str) -> str:
    return str(VENVS / environment / "bin" / "python")


def _penstock(place: Place, *, limits: dict[str, int] | None = None) -> list[str]:
    """Everything on that a user has on: keys, queue, routing, scraping, metrics, an access log, the ledger. `limits`
    hold twice: for the tenant and for the key."""
    limited = {"limits": limits} if limits else {}
    key: dict[str, Any] = {"name": "bench", "value": KEY, **limited}
    folder = place.folder / ("penstock-limits" if limits else "penstock")  # also the ledger's: nobody waits for another
    folder.mkdir(exist_ok=True)
    fleet = {
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": "bench"},
        "spec": {
            "models": [{"name": MODEL, "endpoints": place.upstream_urls}],
            "gateway": {
                "tenants": [{"name": "bench", "keys": [key], **limited}],
                "accessLog": str(folder / "access.log"),
            },
        },
    }
    file = folder / "fleet.yaml"
    file.write_text(json.dumps(fleet, indent=2))  # YAML's subset
    listen = ["--listen", f"127.0.0.1:{place.port}", "--admin", f"127.0.0.1:{place.spare_port}"]
    return [sys.executable, "-m", "penstock", "gateway", str(file), *listen]


def _router(module: str, environment: str, policy: str, log_level: str) -> Callable[[Place], list[str]]:
    def command(place: Place) -> list[str]:
        words = [_python(environment), "-m", module, "--host", "127.0.0.1", "--port", str(place.port)]
        words += ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(place.spare_port)]
        words += ["--policy", policy, "--log-level", log_level, "--worker-startup-check-interval", "1"]
        return [*words, "--worker-urls", *place.upstream_urls]

    return command


def _litellm(place: Place) -> list[str]:
    """Its proxy with a list of models and a master key, as its page on production has it, but for a database: none.

    One worker, as it has one core. It would fetch prices from the network at its start; they come with the package too.
    """
    models = [
        {
            "model_name": MODEL,
            "litellm_params": {"model": f"hosted_vllm/{MODEL}", "api_base": f"{url}/v1", "api_key": "none"},
        }
        for url in place.upstream_urls
    ]
    config = {
        "model_list": models,
        "general_settings": {"master_key": LITELLM_KEY},
        "litellm_settings": {"request_timeout": 600, "set_verbose": False},
    }
    file = place.folder / "litellm.yaml"
    file.write_text(json.dumps(config, indent=2))
    quiet = ["env", "LITELLM_MODE=PRODUCTION", "LITELLM_LOG=ERROR", "LITELLM_LOCAL_MODEL_COST_MAP=True"]
    program = str(VENVS / "litellm" / "bin" / "litellm")
    return [
        *quiet,
        program,
        "--config",
        str(file),
        "--host",
        "127.0.0.1",
        "--port",
        str(place.port),
        "--num_workers",
        "1",
    ]


def _aiohttp(place: Place) -> list[str]:
    return [_python("aiohttp"), str(HERE / "aiohttp_proxy.py"), str(place.port), *place.upstream_urls]


_NGINX = """\
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 32768;
pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 512k; keepalive_requests 100000000; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream engines {{ {servers} keepalive 4096; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""


def _nginx(place: Place) -> list[str]:
    servers = " ".join(f"server 127.0.0.1:{port};" for port in place.upstream_ports)
    file = place.folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=place.folder, port=place.port, servers=servers))
    return [shutil.which("nginx") or "nginx", "-p", str(place.folder), "-c", str(file)]


_VLLM_ROUTER = ("vllm-router==0.1.17",)
_SGLANG_ROUTER = ("sglang-router==0.3.2",)
_LITELLM = ("litellm[proxy]==1.102.4",)

PEERS: tuple[Peer, ...] = (
    Peer(
        name="penstock",
        does="key check, queue, routing by cost, ledger, metrics, access log",
        command=_penstock,
        headers=(f"authorization: Bearer {KEY}",),
    ),
    Peer(
        name="penstock-limits",
        does="the same, with limits of requests and tokens a minute on tenant and key, which refuse nothing",
        command=partial(_penstock, limits=UNREACHED),
        headers=(f"authorization: Bearer {KEY}",),
    ),
    Peer(
        name="vllm-router",
        does="its default policy, cache_aware; retries, circuit breaker, metrics",
        command=_router("vllm_router.launch_router", "vllm-router", "cache_aware", "warning"),
        requirements=_VLLM_ROUTER,
        environment="vllm-router",
    ),
    Peer(
        name="vllm-router-rr",
        does="round_robin; retries, circuit breaker, metrics",
        command=_router("vllm_router.launch_router", "vllm-router", "round_robin", "warning"),
        requirements=_VLLM_ROUTER,
        environment="vllm-router",
    ),
    Peer(
        name="sglang-router",
        does="its default policy, cache_aware; retries, circuit breaker, metrics",
        command=_router("sglang_router.launch_router", "sglang-router", "cache_aware", "warn"),
        requirements=_SGLANG_ROUTER,
        environment="sglang-router",
    ),
    Peer(
        name="sglang-router-rr",
        does="round_robin; retries, circuit breaker, metrics",
        command=_router("sglang_router.launch_router", "sglang-router", "round_robin", "warn"),
        requirements=_SGLANG_ROUTER,
        environment="sglang-router",
    ),
    Peer(
        name="litellm",
        does="master key, its default routing (simple-shuffle), retries, access log; no database: no limits, no use",
        command=_litellm,
        requirements=_LITELLM,
        environment="litellm",
        headers=(f"authorization: Bearer {LITELLM_KEY}",),
        slowness=2.0,
        loads=("plain",),  # two thousand streams are more than it opens in any window
    ),
    Peer(
        name="aiohttp",
        does="reads the model from the body, round robin",
        command=_aiohttp,
        requirements=("aiohttp>=3.14,<4", "uvloop>=0.23,<0.24"),
        environment="aiohttp",
    ),
    Peer(name="nginx", does="round robin, nothing else", command=_nginx),
    Peer(name="direct", does="no gateway: load straight to one upstream", command=None),
)
