"""What the gateway knows of its traffic: the one record that the dashboard, `/metrics`, `up`'s table and users read.

`begin` and `end` are on the hot path: plain integers, one bisect per latency, no lock, no metric objects; under 2 µs
together. Everything else happens once a second (`sample_endpoints`) or when somebody asks.

Guarantees: bounded in every direction. Models come from the fleet file, others are counted under ""; a model's labels
are bounded by its tally; rings are fixed. Leaves the shape of the JSON to `state`, and Prometheus text to `io/metrics`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from statistics import fmean
from typing import Any

from penstock.serve.histogram import BOUNDS_MS, percentile
from penstock.serve.platform import DiscoveryState, ModelProfile, PlatformEndpoint, PlatformModel, StoreState
from penstock.serve.record import OUTCOMES, RequestRecord
from penstock.serve.routing.endpoints import EndpointTable, Pool
from penstock.serve.state import (
    ModelView,
    discovery_state,
    fresh_sample,
    model_state,
    request_state,
    rfc3339,
    rounded,
    store_state,
)
from penstock.serve.tally import ModelTally
from penstock.serve.timeseries import Point, TimeSeries
from penstock.serve.verdict import problems

__all__ = ["ModelProfile", "PlatformEndpoint", "PlatformModel", "Telemetry"]

RECENT_MAX = 500
"""Finished requests kept for the dashboard; as many failed ones, so that a flood of good ones does not hide them."""
RATE_TICKS = 5
"""Ticks (seconds) that a rate of the present is averaged over."""
SERIES_TICKS = 10
"""Seconds that a latency point of a chart looks back: a line that can be read, and a slow minute seen in a second."""


class Telemetry:
    """Counters of one gateway. Changed only from its event loop.

    `platform` is replaced by whoever runs the engines; `log_lines_dropped` is counted up by the access log.
    """

    def __init__(
        self,
        models: Mapping[str, ModelProfile],
        fleet_name: str,
        version: str,
        started_unix: float,
        *,
        outside: Iterable[str] = (),
    ) -> None:
        """`outside`: models of providers, which are counted but not shown among the models."""
        self.fleet_name = fleet_name
        self.version = version
        self.started_unix = started_unix
        self.platform: Mapping[str, PlatformModel] = {}
        self.log_lines_dropped = 0
        self.loop_lag_s = 0.0
        """How late the last tick came: what any request may wait for the event loop."""
        self.models: dict[str, ModelProfile] = {}
        self.nameless = ModelTally()
        """Requests for which no model was chosen: bad key, unknown model, unknown route."""
        self._tallies: dict[str, ModelTally] = {}
        self._recent: deque[RequestRecord] = deque(maxlen=RECENT_MAX)
        self._failed: deque[RequestRecord] = deque(maxlen=RECENT_MAX)
        self._series = TimeSeries()
        self._ticks: deque[float] = deque(maxlen=RATE_TICKS + 1)
        self.set_models(models, outside)

    def set_models(self, models: Mapping[str, ModelProfile], outside: Iterable[str] = ()) -> None:
        """Takes the models of a (re)loaded fleet file. One that is gone is kept, unseen, till its requests are over."""
        self.models, self._outside = dict(models), tuple(outside)
        for name in (*models, *self._outside):
            self._tallies.setdefault(name, ModelTally())
        self._forget_removed()

    def begin(self, model: str, _now: float) -> None:
        """A request for `model` begins; "" where none was chosen. Each `begin` has one `end` of the same model."""
        (self._tallies.get(model) or self.nameless).in_flight += 1

    def moved(self, before: str, after: str) -> None:
        """A request that had begun for one model is another's now."""
        (self._tallies.get(before) or self.nameless).in_flight -= 1
        (self._tallies.get(after) or self.nameless).in_flight += 1

    def end(self, record: RequestRecord, _now: float) -> None:
        """A request is over. Total time counts `ok` and `timeout`; TTFT and TPOT streams that got a first token; time
        in the queue those that waited for their first endpoint, and no wait that a lost one brought."""
        tally = self._tallies.get(record.model) or self.nameless
        tally.in_flight -= 1
        if (begun := record.counted_as) is not None and begun != record.model:
            self.moved(begun, record.model)
        caller = tally.callers.get((record.tenant, record.traffic_class))
        if caller is None:
            caller = tally.add_caller(record.tenant, record.traffic_class)
        outcome = record.outcome
        caller.outcomes[outcome] += 1
        if (tokens := record.output_tokens) > 0:
            caller.output_tokens += tokens
        if (tokens := record.prompt_tokens) > 0:
            caller.prompt_tokens += tokens
        if (tokens := record.cached_tokens) > 0:
            caller.cached_tokens += tokens
        if record.is_stream and (ttft_ms := record.ttft_ms) >= 0:
            histogram = tally.ttft
            histogram.counts[bisect_left(BOUNDS_MS, ttft_ms)] += 1
            histogram.sum_ms += ttft_ms
            if (tpot_ms := record.tpot_ms) >= 0:
                histogram = tally.tpot
                histogram.counts[bisect_left(BOUNDS_MS, tpot_ms)] += 1
                histogram.sum_ms += tpot_ms
        if outcome == "ok" or outcome == "timeout":  # noqa: PLR1714  (a tuple or set here costs more)
            total_ms = record.total_ms
            histogram = tally.total
            histogram.counts[bisect_left(BOUNDS_MS, total_ms)] += 1
            histogram.sum_ms += total_ms
        if (queue_ms := record.queue_ms) > 0 and not record.retries:
            histogram = tally.waits.get(record.traffic_class) or tally.waits["interactive"]
            histogram.counts[bisect_left(BOUNDS_MS, queue_ms)] += 1
            histogram.sum_ms += queue_ms
        if outcome != "ok":
            tally.count_failure(outcome, record.reason)
            self._failed.append(record)
        if record.retries or record.resumes:
            tally.retries += record.retries
            tally.resumes += record.resumes
            tally.continued += record.continued
        if record.hedged:
            tally.hedges[record.hedged] += 1
        self._recent.append(record)

    def tallies(self) -> Iterator[tuple[str, ModelTally]]:
        """Each model of the fleet file with its counts, in the file's order; those of providers; then "" with what had
        no model."""
        yield from ((name, self._tallies[name]) for name in (*self.models, *self._outside))
        yield "", self.nameless

    def sample_endpoints(self, table: EndpointTable, now: float) -> None:
        """Closes one second: call it once a second. Adds a point to each model's series."""
        if self._ticks and now <= self._ticks[-1]:
            return
        passed_s = now - self._ticks[-1] if self._ticks else 1.0
        self.loop_lag_s = max(0.0, passed_s - 1.0)
        points: dict[str, Point] = {}
        for name, tally in self.tallies():
            before = tally.marks[-1]
            tally.tick()
            if name in self.models:
                rates = [(new - old) / passed_s for new, old in zip(tally.marks[-1], before, strict=True)]
                points[name] = self._point(name, tally, table, now, rates)
        self._ticks.append(now)
        self._series.append(points, now)
        self._forget_removed()

    def requests_per_s(self, model: str) -> float:
        """Requests per second over the last ticks, as the gateway saw them end."""
        if len(self._ticks) < 2:
            return 0.0
        return self._tallies[model].since(len(self._ticks) - 1)[0] / (self._ticks[-1] - self._ticks[0])

    def tokens_per_s(self, model: str, table: EndpointTable, now: float) -> float | None:
        """What the engines of `model` say they generate per second; None where none has said so lately."""
        pool = table.pools.get(model)
        endpoints = pool.endpoints if pool else ()
        fresh = [e.tokens_per_s() for e in endpoints if e.previous_sample is not None and fresh_sample(e, now)]
        return sum(fresh) if fresh else None

    def timeseries(self, window_s: float, now: float, unix_now: float) -> dict[str, Any]:
        """The answer of `/api/v1/timeseries`."""
        return self._series.window(window_s, now, unix_now)

    def recent(self, limit: int, *, failed_only: bool = False) -> list[dict[str, Any]]:
        """The last finished requests, newest first; `failed_only` those whose outcome is not `ok`."""
        ring = self._failed if failed_only else self._recent
        return [request_state(record) for record in islice(reversed(ring), max(0, limit))]

    def state(
        self,
        table: EndpointTable,
        now: float,
        unix_now: float,
        *,
        listen: str,
        connections: int,
        is_ready: bool,
        discovery: DiscoveryState | None = None,
        store: StoreState | None = None,
    ) -> dict[str, Any]:
        """The answer of `/api/v1/state`."""
        by_outcome = [tally.outcomes() for _, tally in self.tallies()]
        outcomes = {name: sum(o[name] for o in by_outcome) for name in OUTCOMES}
        models = [model_state(self._view(name, table, now)) for name in self.models]
        gateway = {
            "listen": listen,
            "is_ready": is_ready,
            "in_flight": sum(tally.in_flight for _, tally in self.tallies()),
            "connections": connections,
            "requests_total": sum(outcomes.values()),
            "outcomes": outcomes,
            "loop_lag_ms": round(self.loop_lag_s * 1000, 2),
            "log_lines_dropped": self.log_lines_dropped,
            "discovery": None if discovery is None else discovery_state(discovery, now),
            "store": None if store is None else store_state(store, now),
        }
        return {
            "fleet": self.fleet_name,
            "version": self.version,
            "now": rfc3339(unix_now),
            "uptime_s": round(max(0.0, unix_now - self.started_unix), 1),
            "gateway": gateway,
            "problems": problems(gateway, models),
            "models": models,
        }

    def _view(self, name: str, table: EndpointTable, now: float) -> ModelView:
        profile = self.models[name]
        able = [id_ for id_ in profile.fallbacks if (pool := table.pools.get(id_)) is not None and pool.ready_count]
        generated = [point.tokens_per_s for point in self._series.last(name, RATE_TICKS)]
        return ModelView(
            now=now,
            name=name,
            profile=profile,
            able_fallbacks=able,
            platform=self.platform.get(name) or PlatformModel(),
            pool=table.pools.get(name) or Pool(model=name),
            tally=self._tallies[name],
            requests_per_s=self.requests_per_s(name),
            tokens_per_s=fmean(generated) if generated else 0.0,
        )

    def _point(self, name: str, tally: ModelTally, table: EndpointTable, now: float, rates: list[float]) -> Point:
        requests, errors, output_tokens = rates
        measured = self.tokens_per_s(name, table, now)
        pool = table.pools.get(name)
        ttft = tally.ttft.window(SERIES_TICKS)
        return Point(
            requests_per_s=round(requests, 3),
            errors_per_s=round(errors, 3),
            tokens_per_s=round(output_tokens if measured is None else measured, 1),
            in_flight=tally.in_flight,
            waiting=sum(s.waiting for e in (pool.endpoints if pool else ()) if (s := fresh_sample(e, now))),
            ttft_p50_ms=rounded(percentile(ttft, 0.5)),
            ttft_p95_ms=rounded(percentile(ttft, 0.95)),
        )

    def _forget_removed(self) -> None:
        removed = self._tallies.keys() - self.models.keys() - set(self._outside)
        for name in [n for n in removed if self._tallies[n].in_flight <= 0]:
            del self._tallies[name]
