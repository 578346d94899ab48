"""What Prometheus reads. Each service has a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.001, 0.002, 0.004, 0.006, 0.008, 0.012, 0.016, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_CANDIDATES = (1, 10, 25, 50, 100, 250, 500, 1000)


class Metrics:
    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        named = "first_impression_"
        self.requests = Counter(
            f"{named}requests", "Requests answered, by route and status.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            f"{named}request_seconds",
            "From the first byte read until the last one is sent.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.candidates = Histogram(
            f"{named}candidates", "Candidates per request scored.", buckets=_CANDIDATES, registry=registry
        )
        self.outcomes = Counter(
            f"{named}outcomes", "Outcomes: new, repeated, or refused with their request.", ["result"], registry=registry
        )
        for result in ("new", "repeated", "refused"):
            self.outcomes.labels(result)
        self.never_scored = Counter(
            f"{named}outcomes_never_scored",
            "New outcomes of events that this process didn't score, or scored long ago.",
            registry=registry,
        )
        self.waiting = Gauge(
            f"{named}waiting", "Requests that wait for the scoring thread, or are in it.", registry=registry
        )
        self.batch_only = Gauge(
            f"{named}batch_only_columns", "Columns of the mart that can't be served.", registry=registry
        )
        self.store_up = Gauge(
            f"{named}store_up", "1 if the state could be read just now, otherwise 0.", registry=registry
        )
        self.clock = Gauge(
            f"{named}state_clock_seconds",
            "When the newest outcome became known, in seconds since 1970; NaN before the first one.",
            registry=registry,
        )
        self.age = Gauge(f"{named}state_age_seconds", "From then until now.", registry=registry)
        self.served = Counter(
            f"{named}served_rows",
            "Rows for the log of what was served: written, or dropped.",
            ["result"],
            registry=registry,
        )
        for result in ("written", "dropped"):
            self.served.labels(result)
        self.served_buffered = Gauge(
            f"{named}served_buffered_rows", "Rows of it that are in memory.", registry=registry
        )
        self.served_failures = Counter(
            f"{named}served_write_failures", "Attempts to write it that failed.", registry=registry
        )
