"""The store of an application: chosen when that is made, opened by the first call that needs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from glassq.errors import ConfigurationError, StorageUnavailable
from glassq.storage import ShardedStorage
from glassq.stores.open import Place


class LazyStore:
    """One store, or none yet. Thread-safe. `opened` opens it, and may have it watched."""

    def __init__(self, place: Place, opened: Callable[[Place], ShardedStorage]) -> None:
        self.place = place
        self._opened = opened
        self._lock = threading.Lock()
        self._storage: ShardedStorage | None = None
        self._closed = False

    def get(self) -> ShardedStorage:
        """The store, opened now if it is not. Raises what opening it raises."""
        storage = self._storage
        if storage is not None:
            return storage
        with self._lock:
            if self._closed:
                raise StorageUnavailable("this application is closed; make a new one", "closed")
            if self._storage is None:
                self._storage = self._opened(self.place)
            return self._storage

    def move(self, place: Place) -> None:
        """Another place before it was opened; `ConfigurationError` naming both afterwards."""
        with self._lock:
            if place.target == self.place.target:
                return
            if self._storage is not None:
                raise ConfigurationError(
                    f"this application already uses {self.place.address} and cannot move to {place.address}; "
                    "configure it before its first call or worker, or make a second application"
                )
            self.place = place

    @contextmanager
    def lent(self, storage: ShardedStorage) -> Iterator[None]:
        """Another store in the place of this one for as long as this lasts, opened by somebody else."""
        place = Place(storage.address, storage.kind, storage.address)
        with self._lock:
            own = self.place, self._storage, self._closed
            self.place, self._storage, self._closed = place, storage, False
        try:
            yield
        finally:
            with self._lock:
                self.place, self._storage, self._closed = own

    def take(self) -> ShardedStorage | None:
        """The store, if it was opened, for whoever closes it: nobody gets it from here any more."""
        with self._lock:
            self._closed = True
            storage, self._storage = self._storage, None
            return storage
