"""The lives of a queue: a store that lost data goes on from an earlier state, and its numbers come again.

Everything that compares numbers compares them within one life. Lives are told apart by the marks that came
with answers: where the queue stood when the call arrived.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from glassq.testing.history.lines import FINAL, EnqueueOk, LeaseTaken, Mark, SettleOk

Answer = EnqueueOk | SettleOk | LeaseTaken


class Life(msgspec.Struct):
    """One life. `seq` and `settled` is what it began with: everything later of the lives before is lost."""

    began: float
    """When the first call was sent that met it."""
    seq: int = 0
    settled: int = 0


class Seen(msgspec.Struct, gc=False):
    """An answer with a mark: when its call was sent and answered, and the numbers it left."""

    asked: float
    answered: float
    mark: Mark
    seq: int
    ordinal: int


class _Run:
    """One run of a server (or all of a store that has none), as the answers show it."""

    def __init__(self, first: Seen) -> None:
        self.life = first.mark[0]
        self.began_with = first.mark[5:7] if first.mark[4] else None
        self.asked, self.answered, self.last = first.asked, first.answered, first.answered
        self.seq = self.settled = 0

    def add(self, each: Seen) -> None:
        """Another answer of this run."""
        self.asked, self.answered = min(self.asked, each.asked), min(self.answered, each.answered)
        self.last = max(self.last, each.answered)
        self.seq, self.settled = max(self.seq, each.seq), max(self.settled, each.ordinal)


class Lives:
    """The lives of one queue, in their order; there is always one."""

    def __init__(self, answers: Sequence[tuple[float, Answer]] = ()) -> None:
        """Tell the lives apart by all marks; `answers` come with the time their call was sent."""
        self.all = [Life(float("-inf"))]
        self._breaks: list[tuple[float, float]] = []
        self._of: dict[tuple[str, str], int] = {}
        answered = [see(asked, line) for asked, line in answers if line.found is not None]
        self.met = min((each.answered for each in answered), default=float("inf"))
        """When the first answer with a mark came. A life that was over by then has left no trace."""
        self._by_time = not any(each.mark[4] for each in answered) and self._went_back(answered)
        if not self._by_time:
            self._follow(answered)

    def _follow(self, seen: list[Seen]) -> None:
        """Life after life by the names they have, and by what each run of the server began with."""
        runs: dict[tuple[str, str], _Run] = {}
        for each in seen:
            key = each.mark[0], each.mark[4]
            if key[0]:  # else nothing was there: that call began a life, which the next answer names
                runs.setdefault(key, _Run(each)).add(each)
        seq = settled = 0
        last: _Run | None = None
        for key, run in sorted(runs.items(), key=lambda item: item[1].answered):
            if last is None:
                self.all[0].began = run.asked
            else:
                # A call that outlasted the change was sent in the time of the run before.
                self._breaks.append((min(last.last, run.asked), max(last.last, run.answered)))
                began = run.began_with if run.life == last.life else (0, 0)
                if began is not None and (run.life != last.life or began[0] < seq or began[1] < settled):
                    self.all.append(Life(run.asked, *began))
                    seq = settled = 0
            self._of[key] = len(self.all) - 1
            seq, settled = max(seq, run.seq), max(settled, run.settled)
            last = run

    def _went_back(self, seen: list[Seen]) -> bool:
        """Where no server tells of its runs, a store that went back shows in counters that decrease."""
        by_answer = sorted(seen, key=lambda each: each.answered)
        life, seq, settled, position = "", 0, 0, 0
        for each in sorted(seen, key=lambda each: each.asked):
            if each.mark[0] != life:
                life, seq, settled = each.mark[0], 0, 0
            while position < len(by_answer) and by_answer[position].answered < each.asked:
                known = by_answer[position]
                if known.mark[0] == life:
                    seq, settled = max(seq, known.seq), max(settled, known.ordinal)
                position += 1
            if each.mark[1] < seq or each.mark[3] < settled:
                self.all.append(Life(each.asked, each.mark[1], each.mark[3]))
                self._breaks.append((by_answer[position - 1].answered, each.asked))
                seq, settled = each.mark[1], each.mark[3]
        return len(self.all) > 1

    def end(self, told: float) -> None:
        """Everything was lost, as somebody was told, and no call came after that."""
        self.all.append(Life(told))

    def is_of_last(self, mark: Mark | None) -> bool:
        """Whether a call with this mark was surely answered in the last life."""
        if len(self.all) == 1:
            return True
        known = mark is not None and mark[0] and not self._by_time
        return bool(known) and mark is not None and self._of[mark[0], mark[4]] == len(self.all) - 1

    def of(self, mark: Mark | None, asked: float) -> int:
        """The life in which a call sent at `asked` was answered."""
        if len(self.all) == 1:
            return 0
        if mark is not None and not self._by_time:
            if not mark[0]:
                later = (number for number, life in enumerate(self.all) if life.began >= asked)
                return next(later, len(self.all) - 1)
            return self._of[mark[0], mark[4]]
        return max(0, bisect_right([life.began for life in self.all], asked) - 1)

    def keeps(self, life: int, *, seq: int | None = None, ordinal: int | None = None) -> bool:
        """Whether a number of that life outlived every loss after it."""
        return all(
            (seq is None or seq <= later.seq) and (ordinal is None or ordinal <= later.settled)
            for later in self.all[life + 1 :]
        )

    def broken_between(self, earlier: float, later: float) -> bool:
        """Whether a store that may have forgotten what it told nobody else of came between."""
        return any(start <= later and end >= earlier for start, end in self._breaks)


def see(asked: float, line: Answer) -> Seen:
    """What an answer that has a mark tells. The numbers are counted on from the mark, not taken from the
    answer: one that is wrong is a finding, and must not be taken for another life."""
    assert line.found is not None  # noqa: S101 - asked for lines with a mark only
    _, seq, _, settled, *_ = line.found
    if isinstance(line, LeaseTaken):
        return Seen(asked, line.m, line.found, seq, settled)
    if isinstance(line, SettleOk):
        ended = line.status == "done" and line.action in FINAL
        return Seen(asked, line.m, line.found, seq, settled + ended)
    placed = [job[1] for job in line.jobs if job[1] is not None and not job[5]]
    # An append that is repeated after its answer was lost finds its own jobs there.
    last = min(seq + len(placed), max(placed, default=0))
    return Seen(asked, line.m, line.found, max(seq, last), settled)
