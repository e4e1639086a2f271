"""Gauges about the store, read at scrape time: true whichever process is asked, and free between scrapes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from glassq.model.clock import Clock
from glassq.model.stats import QueueStats, merged
from glassq.observe.catalogue import CATALOGUE, COLLECTOR_DURATION, COLLECTOR_UP, QUEUE_DRAIN
from glassq.observe.drain import Paces
from glassq.observe.families import family_of
from glassq.observe.figures import FIGURES
from glassq.observe.labels import QueueLabels, queue_labels
from glassq.shielding import Log
from glassq.storage import Storage
from glassq.systemclock import SystemClock

log = Log("glassq.collector")

CACHE_SECONDS = 1.0
"""Several scrapers, or a scraper and a person, cost the store one read."""
DEADLINE_SECONDS = 0.5
"""A scrape waits no longer for all its stores together."""

_PLANNED = tuple(spec for spec in CATALOGUE if spec.planned and spec.source == "store")
"""A name and a help, and nothing yet that could be taken for a figure."""

QueueNames = Callable[[], Sequence[str]]
Told = Callable[[Sequence[QueueStats]], None]
Lags = Callable[[], Mapping[str, float]]


def collect_store(
    registry: CollectorRegistry,
    storage: Storage,
    queues: QueueNames,
    *,
    told: Told | None = None,
    lags: Lags | None = None,
    clock: Clock | None = None,
) -> Callable[[], None]:
    """Show the gauges of these queues of a store in every scrape of `registry`, until the returned
    function is called. Costs one `stats` call per scrape and store, at most one a second; `told` hears
    what each of them answered. `lags` knows by how much slots of schedules are overdue, by queue: for the
    store they are no jobs yet."""
    return _collector_of(registry).attach(_User(storage, queues, told, lags), clock or SystemClock())


def look_at_stores(registry: CollectorRegistry) -> None:
    """Begin to read the stores shown in `registry`, unless that was done within the last second, and do not
    wait: whoever is `told` hears of it."""
    _collector_of(registry).look()


class _User(msgspec.Struct, frozen=True, eq=False):
    """One application's share in a store."""

    storage: Storage
    queues: QueueNames
    told: Told | None
    lags: Lags | None


class _Reading:
    """One call of `stats`, on its own thread: a store that hangs must not hang the scrape."""

    def __init__(self, users: Sequence[_User], clock: Clock) -> None:
        self.pid = os.getpid()
        self.began = clock.monotonic()
        self.done = threading.Event()
        self.stats: list[QueueStats] | None = None
        self.error: Exception | None = None
        self._seconds: float | None = None
        self._users = users
        self._clock = clock
        threading.Thread(target=self._read, name="glassq-collector", daemon=True).start()

    def _read(self) -> None:
        try:
            names = dict.fromkeys(name for user in self._users for name in user.queues())
            stats = self._users[0].storage.stats(list(names))
            for lags in [user.lags() for user in self._users if user.lags is not None]:
                stats = [_lagging(each, lags.get(each.queue, 0.0)) for each in stats]
            self.stats = stats
            for user in self._users:
                if user.told is not None:
                    user.told(stats)
        except Exception as error:  # licensed: thread top
            self.error = error
        finally:
            self._seconds = self._clock.monotonic() - self.began
            self.done.set()

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return self._clock.monotonic() - self.began if self._seconds is None else self._seconds

    def wait(self) -> bool:
        """True when the store answered within the deadline, which began with the reading: a store that
        has been stuck for longer delays no further scrape."""
        self.done.wait(max(0.0, self.began + DEADLINE_SECONDS - self._clock.monotonic()))
        return self.stats is not None


def _lagging(stats: QueueStats, lag: float) -> QueueStats:
    if lag <= stats.schedule_lag:
        return stats
    return msgspec.structs.replace(stats, schedule_lag=lag)


class _Source:
    """One store, whatever number of applications use it."""

    def __init__(self, clock: Clock) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._users: tuple[_User, ...] = ()
        self._current: _Reading | None = None
        self._up = True
        self.kind = ""

    def add(self, user: _User) -> None:
        """One more application reads this store; its queues show in the next scrape."""
        with self._lock:
            self.kind = user.storage.kind
            self._users = (*self._users, user)
            self._current = None

    def remove(self, user: _User) -> bool:
        """An application is gone; True when it was the last."""
        with self._lock:
            self._users = tuple(each for each in self._users if each is not user)
            self._current = None
            return not self._users

    def reading(self) -> _Reading | None:
        """The reading under way or a fresh enough one, else a new one; None when nobody is left."""
        with self._lock:
            current = self._current
            if current is not None and self._serves(current):
                return current
            if not self._users:
                return None
            self._current = _Reading(self._users, self._clock)
            return self._current

    def _serves(self, reading: _Reading) -> bool:
        """Whether a reading is under way or fresh. A fork leaves the thread of a reading behind."""
        if reading.pid != os.getpid():
            return False
        return not reading.done.is_set() or self._clock.monotonic() - reading.began < CACHE_SECONDS

    def note(self, reading: _Reading, *, up: bool) -> None:
        """Log when the store goes away and when it is back, not at every scrape."""
        was, self._up = self._up, up
        if was and not up:
            why = reading.error or f"no answer in {DEADLINE_SECONDS} s"
            log.warning("the %s store cannot be read, its gauges are left out: %s", self.kind, why)
        elif up and not was:
            log.info("the %s store can be read again", self.kind)


class _StoreCollector(Collector):
    """All stores of a registry. The same queue in two stores is shown as one: never twice the series."""

    def __init__(self, labels: QueueLabels) -> None:
        self._labels = labels
        self._lock = threading.Lock()
        self._sources: dict[str, _Source] = {}
        self._paces = Paces()

    def attach(self, user: _User, clock: Clock) -> Callable[[], None]:
        """Add a user of a store; the returned function removes it."""
        address = user.storage.address
        # Stores in memory all have the same address and nothing else in common.
        key = address if address.partition("://")[2] else f"{address}{id(user.storage)}"
        with self._lock:
            self._sources.setdefault(key, _Source(clock)).add(user)

        def detach() -> None:
            with self._lock:
                source = self._sources.get(key)
                if source is not None and source.remove(user):
                    del self._sources[key]

        return detach

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry's check for duplicates; reads nothing."""
        figures = [spec for spec, _ in FIGURES]
        every = (COLLECTOR_UP, COLLECTOR_DURATION, *figures, QUEUE_DRAIN, *_PLANNED)
        return [family_of(spec) for spec in every]

    def look(self) -> list[tuple[_Source, _Reading]]:
        """Have a fresh reading of each store, or one under way."""
        with self._lock:
            sources = list(self._sources.values())
        return [(source, reading) for source in sources if (reading := source.reading()) is not None]

    def collect(self) -> Iterable[Metric]:
        """Ask all stores at once, wait for the deadline at most, show those that answered."""
        asked = self.look()
        up: dict[str, float] = {}
        seconds: dict[str, float] = {}
        by_label: dict[str, list[QueueStats]] = {}
        read_at: dict[str, float] = {}
        for source, reading in asked:
            answered = reading.wait()
            source.note(reading, up=answered)
            up[source.kind] = min(up.get(source.kind, 1.0), float(answered))
            seconds[source.kind] = max(seconds.get(source.kind, 0.0), reading.seconds)
            for stats in (reading.stats or ()) if answered else ():
                label = self._labels.label(stats.queue)
                by_label.setdefault(label, []).append(stats)
                read_at[label] = reading.began
        for spec, values in ((COLLECTOR_UP, up), (COLLECTOR_DURATION, seconds)):
            family = family_of(spec)
            for kind, value in values.items():
                family.add_metric((kind,), value)
            yield family
        queues = {label: merged(stats) for label, stats in by_label.items()}
        for spec, figure in FIGURES:
            family = family_of(spec)
            for label, stats in queues.items():
                for rest, value in figure(stats):
                    family.add_metric((label, *rest), value)
            yield family
        drain = family_of(QUEUE_DRAIN)
        for label, stats in queues.items():
            left = self._paces.drain_seconds(label, stats, read_at[label])
            if left is not None:
                drain.add_metric((label,), left)
        yield drain
        yield from map(family_of, _PLANNED)


_COLLECTORS: WeakKeyDictionary[CollectorRegistry, _StoreCollector] = WeakKeyDictionary()
_LOCK = threading.Lock()


def _collector_of(registry: CollectorRegistry) -> _StoreCollector:
    """The one collector of a registry, made and registered when it is first asked for."""
    with _LOCK:
        collector = _COLLECTORS.get(registry)
        if collector is None:
            collector = _StoreCollector(queue_labels(registry))
            registry.register(collector)
            _COLLECTORS[registry] = collector
        return collector
