"""Labelled: series of a registry, and what a namespace sees of each."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.registry import Collector

from nearhit.telemetry.series import Counter, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric

One = TypeVar("One", Counter, Gauge, Histogram)
Mode = Literal["livemostrecent", "livemax", "livesum"]


class Labelled(dict[Any, One], Generic[One]):
    """One series in one namespace: ``series[reason].inc()``, with a tuple for several labels; each is bound once.

    A series without further labels is used directly: ``series.inc()``. It has no value before its first use.

    Args:
        series: the whole series.
        namespace: its first label.
        most: how many values may come from outside; later ones count as ``other``.
    """

    def __init__(self, series: One, namespace: str, most: int | None = None) -> None:
        super().__init__()
        self._series: One = series
        self._namespace = namespace
        self._most = most

    def __missing__(self, labels: Any) -> One:
        values = labels if isinstance(labels, tuple) else (labels,)
        full = self._most is not None and len(self) >= self._most
        names = ("other" if full else one.value if isinstance(one, Enum) else one for one in values)
        child: One = self._series.labels(self._namespace, *names)
        if not full:
            self[labels] = child
        return child

    def start(self, keys: Iterable[Any]) -> None:
        """Make the series of ``keys`` at 0, so that ``increase`` sees their first count."""
        for key in keys:
            self[key]


class Counts(Labelled[Counter]):
    """A counter in one namespace."""

    def inc(self, amount: float = 1) -> None:
        """Count."""
        self[()].inc(amount)


class Levels(Labelled[Gauge]):
    """A gauge in one namespace."""

    def set(self, value: float) -> None:
        """Say how it is now."""
        self[()].set(value)


class Spread(Labelled[Histogram]):
    """A histogram in one namespace."""

    def observe(self, amount: float) -> None:
        """Count by size."""
        self[()].observe(amount)


class Registered:
    """The series of one registry, each made once however many namespaces use it, and what is done before a scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.before_scrape = BeforeScrape()
        self.made: dict[str, Any] = {}
        registry.register(self.before_scrape)  # before any series: a registry collects in this order

    def once(self, kind: Callable[..., One], name: str, text: str, labels: Sequence[str], **more: Any) -> One:
        """Return the series ``nearhit_<name>``; its first label is the namespace."""
        if name not in self.made:
            self.made[name] = kind(f"nearhit_{name}", text, ("namespace", *labels), registry=self.registry, **more)
        made: One = self.made[name]
        return made


class BeforeScrape(Collector):
    """Runs steps when a scrape begins; it exports nothing itself."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []

    def run(self) -> None:
        """Run all steps."""
        for step in self.steps:
            step()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: there is no series of its own."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Run all steps."""
        self.run()
        return ()
