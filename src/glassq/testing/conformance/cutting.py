"""How a queue is cut into shards is decided once, and again only while nothing is in it."""

# ruff: noqa: S101, PLR2004 - asserts are the trade of a test, and its numbers its example

from __future__ import annotations

from glassq.errors import QueueClosed, ShardsInUse
from glassq.model.jobs import NewJob
from glassq.model.layouts import Layout
from glassq.model.leases import Leaving
from glassq.testing.conformance.scenario import ALICE, QUEUE, Scenario, refused


class Cutting(Scenario):
    """`layouts` and `lay_out`."""

    def test_whoever_comes_first_decides(self) -> None:
        """A queue is whole until it is cut, and every handle sees the same cut."""
        assert self.store.layouts() == {}
        assert self.store.lay_out(QUEUE, 1).shards(QUEUE) == (QUEUE,)
        assert self.store.layouts() == {}
        assert self.store.lay_out(QUEUE, 3).shards(QUEUE) == (f"{QUEUE}#0", f"{QUEUE}#1", f"{QUEUE}#2")
        assert self.another_handle().lay_out(QUEUE, 3) == Layout(3, 0)
        assert self.another_handle().layouts() == {QUEUE: Layout(3, 0)}

    def test_shards_are_queues_of_their_own(self) -> None:
        """Each gives sequences and tokens of its own."""
        first, second = self.store.lay_out(QUEUE, 2).shards(QUEUE)
        assert [each.seq for each in self.put("a", "b", queue=first)] == [1, 2]
        assert [each.seq for each in self.put("c", queue=second)] == [1]
        assert self.store.queues() == [first, second]
        granted = self.claim(queues=[first, second]).grants
        assert [grant.lease.queue for grant in granted] == [first, second]

    def test_nothing_is_cut_that_holds_something(self) -> None:
        """Jobs that wait, run or are due later, dead letters and workers keep a queue as it is."""
        self.put("a")
        self._keeps_its_cut(2, Layout())
        self.bury(self.claim_one(), leaving=Leaving.RELEASE)
        self._keeps_its_cut(2, Layout())
        self.store.purge(QUEUE, dead=True)
        layout = self.store.lay_out(QUEUE, 2)
        shards = layout.shards(QUEUE)
        [later] = self.store.append(shards[1], [NewJob(body=b"b", due=60.0)])
        self._keeps_its_cut(3, layout)
        self.put("c", queue=shards[0])
        self.store.cancel(later.id)
        self.store.purge(shards[0], dead=False)
        bell = self.store.listen(ALICE, shards)
        self._keeps_its_cut(3, layout)
        bell.close()
        assert self.store.lay_out(QUEUE, 3).count == 3

    def _keeps_its_cut(self, wanted: int, layout: Layout) -> None:
        with refused(ShardsInUse):
            self.store.lay_out(QUEUE, wanted)
        assert self.store.layouts().get(QUEUE, Layout()) == layout
        for shard in layout.shards(QUEUE):  # and each takes jobs as before
            [job] = self.put("x", queue=shard)
            self.store.cancel(job.id)

    def test_a_queue_that_is_cut_anew_has_new_shards(self) -> None:
        """Nothing is put any more into the former ones, whoever still goes by them."""
        late = self.another_handle()
        late.append(QUEUE, [NewJob(body=b"a")])
        self.store.purge(QUEUE, dead=False)
        former = self.store.lay_out(QUEUE, 2).shards(QUEUE)
        with refused(QueueClosed):
            late.append(QUEUE, [NewJob(body=b"b")])
        late.append(former[0], [NewJob(body=b"c")])
        self.store.purge(former[0], dead=False)
        shards = self.store.lay_out(QUEUE, 1).shards(QUEUE)
        assert not set(shards) & {QUEUE, *former}
        for shard in former:
            with refused(QueueClosed):
                late.append(shard, [NewJob(body=b"d")])
        assert [each.seq for each in self.put("e", queue=shards[0])] == [1]
        assert self.store.queues() == list(shards)
