"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from coldlm.experiment.live import Live
from coldlm.online.loop import Update

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
"""Seconds."""


class Measured:
    """Counters of one application."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "coldlm_requests", "answered requests", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "coldlm_request_seconds",
            "until an answer",
            ["path"],
            registry=registry,
            buckets=BUCKETS,
        )
        self.events = Counter("coldlm_feedback_events", "events taken", registry=registry)
        self.items = Counter("coldlm_new_items", "items added", registry=registry)
        self._updates = Counter("coldlm_updates", "by outcome", ["outcome"], registry=registry)
        self._learning = Histogram(
            "coldlm_update_seconds",
            "of an update",
            registry=registry,
            buckets=(*BUCKETS, 10, 30, 60, 300),
        )
        gauges = {
            "version": "of the weights that answer",
            "waiting_events": "not learned yet",
            "items": "of the catalogue",
            "events": "of the log",
            "learning": "1 while an update is on its way",
            "probe_ndcg": "of the last update",
        }
        self._gauges = {
            name: Gauge(f"coldlm_{name}", said, registry=registry) for name, said in gauges.items()
        }

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)

    def update(self, update: Update) -> None:
        """Count an update."""
        self._updates.labels("rolled back" if update.rolled_back else "live").inc()
        self._learning.observe(update.seconds)
        self._gauges["probe_ndcg"].set(update.probe_after)

    def page(self, live: Live) -> tuple[bytes, str]:
        """Return the page and its content type."""
        version = live.version
        now = {
            "version": version.number,
            "waiting_events": live.waiting,
            "items": len(version.world.data.items),
            "events": len(version.world.data.log),
            "learning": int(live.is_learning),
        }
        for name, value in now.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
