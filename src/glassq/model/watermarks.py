"""How far a queue has come: what a store says of it in passing, so that a loss of data is seen."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Counters of a queue. They only grow, for as long as its store keeps what it acknowledged."""

    seq: int = 0
    """The last seq that was given to a job."""
    enqueued: int = 0
    """Jobs accepted, scheduled ones included."""
    settled: int = 0
    """Jobs settled."""


class Run(msgspec.Struct, frozen=True, gc=False):
    """One run of the server's process, and how far the queue had come when it began: what was counted beyond
    that before was not kept, however far the counters have come again."""

    id: str
    counts: Counts


class Watermark(msgspec.Struct, frozen=True, gc=False):
    """How far a queue had come when a call reached its store, before that call did anything itself."""

    incarnation: str = ""
    """Which life of the queue this is, also when this very call began it: another one when its store lost
    everything and began anew, and none when it does not know the queue."""
    counts: Counts = Counts()
    run: Run | None = None
    """The server's run, where there is a server that tells."""

    def after(self, *, seq: int = 0, enqueued: int = 0, settled: int = 0) -> Watermark:
        """The mark that is left by a call which found this one: the last seq and the last ordinal it gave
        (0: none), and how many jobs it accepted."""
        found = self.counts
        left = Counts(max(found.seq, seq), found.enqueued + enqueued, max(found.settled, settled))
        return Watermark(self.incarnation, left, self.run)
