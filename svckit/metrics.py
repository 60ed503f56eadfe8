"""Counters, gauges and histograms by prometheus_client, in a registry that the process owns.

There is no global registry: two services in one process, or two tests, do not meet.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Literal
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The metrics of one process, under one namespace."""

    def __init__(self, namespace: str, *, process: bool = False) -> None:
        """Use *namespace* as the prefix of every name; *process* adds CPU, memory and platform."""
        self.registry = CollectorRegistry()
        self._namespace = namespace
        if process:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """Create a counter; its exposed name ends in ``_total``."""
        return Counter(name, text, labels, namespace=self._namespace, registry=self.registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """Create a gauge."""
        return Gauge(name, text, labels, namespace=self._namespace, registry=self.registry)

    def histogram(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = LATENCY_BUCKETS_S,
    ) -> Histogram:
        """Create a histogram; the default buckets are seconds of latency."""
        return Histogram(
            name, text, labels, namespace=self._namespace, registry=self.registry, buckets=buckets
        )

    def read(
        self,
        name: str,
        text: str,
        source: Callable[[], Mapping[str, float]],
        label: str,
        kind: Literal["counter", "gauge"] = "counter",
    ) -> None:
        """Expose what *source* returns, by *label*, each time the metrics are read.

        For counts that a hot path keeps in plain numbers.
        """
        family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
        self.registry.register(_Read(family, f"{self._namespace}_{name}", text, source, label))

    def exposition(self) -> tuple[bytes, str]:
        """Return the text that Prometheus reads, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def serve(self, host: str, port: int) -> "MetricsServer":
        """Serve ``/metrics`` from a thread of its own, for a process that has no HTTP door."""
        server, thread = start_http_server(port, host, registry=self.registry)
        return MetricsServer(server, thread)


class _Read(Collector):
    """A family that is made when it is read."""

    def __init__(
        self,
        family: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        source: Callable[[], Mapping[str, float]],
        label: str,
    ) -> None:
        self._family, self._name, self._text = family, name, text
        self._source, self._label = source, label

    def describe(self) -> Iterable[Metric]:
        """Name the family without asking the source, which may not be ready."""
        return [self._family(self._name, self._text, labels=[self._label])]

    def collect(self) -> Iterable[Metric]:
        """Ask the source."""
        found = self._family(self._name, self._text, labels=[self._label])
        for value, number in self._source().items():
            found.add_metric([value], number)
        return [found]


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """A running metrics endpoint."""

    _server: WSGIServer
    _thread: Thread

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop listening and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
