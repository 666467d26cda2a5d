"""The simulated engine as an HTTP server that answers like vLLM 0.32."""

from penstock.simulate.io.engine.run import RunOptions, run_engine
from penstock.simulate.io.engine.server import EngineServer, bind
from penstock.simulate.io.engine.service import ServiceSettings

__all__ = ["EngineServer", "RunOptions", "ServiceSettings", "bind", "run_engine"]
