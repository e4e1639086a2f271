"""A history put in order: what is known of each job, settlement, lane and queue."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from glassq.testing.history import lines as kinds
from glassq.testing.history.lines import Line
from glassq.testing.history.lives import Answer, Lives
from glassq.testing.history.reading import History

NEVER = float("inf")

LaneName = tuple[str, str]
L = TypeVar("L", bound=kinds.LeaseLine)


class Accepted(msgspec.Struct, gc=False):
    """A job whose enqueuing was acknowledged. `asked` is when its call was sent, `line` the answer."""

    id: str
    seq: int | None
    lane: str
    level: int
    body: str
    queue: str
    life: int
    asked: float
    line: kinds.EnqueueOk


class Settling(msgspec.Struct, gc=False):
    """One call to settle: the line before it, and the answer; None when none came."""

    asked: kinds.SettleInvoked
    answer: kinds.SettleOk | kinds.SettleFenced | None = None
    life: int = 0

    @property
    def final(self) -> bool:
        """Whether it ends the job, rather than an attempt."""
        return self.asked.action in kinds.FINAL

    @property
    def done(self) -> kinds.SettleOk | None:
        """The answer of a settlement that did it."""
        answer = self.answer
        return answer if isinstance(answer, kinds.SettleOk) and answer.status == "done" else None

    @property
    def refused(self) -> bool:
        """Whether it surely did nothing."""
        return isinstance(self.answer, kinds.SettleFenced)


class Steering(msgspec.Struct, gc=False):
    """One call of another verb. `ended` is when its answer came: never, when none did."""

    asked: Line
    answer: Line | None
    ended: float


class Facts:
    """Everything the checks look up, computed once."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.calls = {line.call: line for line in history.of(kinds.EnqueueInvoked)}
        self.settlings = _settlings(history)
        self.lives = self._live()
        self.accepted = self._accept()
        self.after: dict[str, list[tuple[str, str]]] = {}
        for line in history.of(kinds.EnqueueOk):
            self.after |= line.after
        self.unanswered = self._unanswered()
        self.uncertain: dict[str, int] = defaultdict(int)
        for call in self.unanswered:
            self.uncertain[call.queue] += call.n
        self.starts = _by_lane(history.of(kinds.Start))
        self.taken = _by_lane(history.of(kinds.LeaseTaken))
        self.late = self._late()
        self.settlings_of: dict[str, list[Settling]] = defaultdict(list)
        self.settlings_in: dict[tuple[str, str, int], list[Settling]] = defaultdict(list)
        for settling in self.settlings:
            asked = settling.asked
            self.settlings_of[asked.id].append(settling)
            self.settlings_in[asked.queue, asked.lane, asked.token].append(settling)
        self.cancels = _steerings(history, kinds.CancelInvoked, kinds.CancelOk)
        self.skips = _steerings(history, kinds.SkipInvoked, kinds.SkipOk)
        self.purges = _steerings(history, kinds.PurgeInvoked, kinds.PurgeOk)
        self.replays = _steerings(history, kinds.ReplayInvoked, kinds.ReplayOk)
        self.replays_of = self._replayed()
        self._mark_replayed()
        self.cancelled = self._cancelled()
        self.dumps = self._dumps()
        self.queues = sorted(
            {line.queue for line in self.calls.values()} | {lane[0] for lane in self.taken} | set(self.dumps)
        )

    # -- putting together ------------------------------------------------------------------------------------

    def _live(self) -> dict[str, Lives]:
        answers: dict[str, list[tuple[float, Answer]]] = defaultdict(list)
        for line in self.history.of(kinds.EnqueueOk):
            answers[line.queue].append((self._asked(line), line))
        for settling in self.settlings:
            if isinstance(settling.answer, kinds.SettleOk):
                answers[settling.asked.queue].append((settling.asked.m, settling.answer))
        for take in self.history.of(kinds.LeaseTaken):
            answers[take.queue].append((take.sent, take))
        lives: dict[str, Lives] = defaultdict(Lives)
        lives.update({queue: Lives(each) for queue, each in answers.items()})
        self._end_lives(lives, {queue: max(asked for asked, _ in each) for queue, each in answers.items()})
        for settling in self.settlings:
            answer = settling.answer
            mark = answer.found if isinstance(answer, kinds.SettleOk) else None
            settling.life = lives[settling.asked.queue].of(mark, settling.asked.m)
        return lives

    def _end_lives(self, lives: dict[str, Lives], asked: dict[str, float]) -> None:
        """A queue that its store does not know in the end was emptied, where somebody was told of that after
        its last call; otherwise what is missing is missing."""
        listed = {queue for end in self.history.of(kinds.DumpEnd) for queue in end.queues}
        if not self.history.of(kinds.DumpEnd):
            return
        for report in self.history.of(kinds.LossTold):
            queue = report.queue
            if report.kind == "emptied" and queue not in listed and report.m > asked.get(queue, NEVER):
                lives[queue].end(report.m)
                asked[queue] = NEVER

    def _dumps(self) -> dict[str, kinds.Dump]:
        """The newest dump of each queue; an empty one, without figures, of those a store did not list, or was
        asked to forget: it does that only while there is nothing in them."""
        known = [*self.history.of(kinds.Dump), *self._forgotten()]
        found = {dump.queue: dump for dump in sorted(known, key=lambda dump: dump.m)}
        ends = self.history.of(kinds.DumpEnd)
        listed = {queue for end in ends for queue in end.queues}
        for job in self.accepted.values() if ends else ():
            if job.queue not in listed and job.queue not in found:
                found[job.queue] = _empty(job.queue, ends[-1])
        return found

    def _forgotten(self) -> list[kinds.Dump]:
        """Queues that their store forgot, but for those that somebody used again."""
        gone = [line for line in self.history.of(kinds.ForgetOk) if line.forgotten]
        used = {line.queue: line.m for line in gone}
        for call in self.calls.values() if gone else ():
            if call.queue in used:
                used[call.queue] = max(used[call.queue], call.m)
        return [_empty(line.queue, line) for line in gone if used[line.queue] == line.m]

    def _asked(self, line: kinds.EnqueueOk) -> float:
        call = self.calls.get(line.call)
        return line.m if call is None else call.m

    def _accept(self) -> dict[str, Accepted]:
        accepted: dict[str, Accepted] = {}
        for line in self.history.of(kinds.EnqueueOk):
            asked = self._asked(line)
            life = self.lives[line.queue].of(line.found, asked)
            for known, seq, lane, level, body, duplicate in line.jobs:
                if not duplicate:
                    accepted[known] = Accepted(known, seq, lane, level, body, line.queue, life, asked, line)
        return accepted

    def _unanswered(self) -> list[kinds.EnqueueInvoked]:
        """Appends that were perhaps accepted: no answer came."""
        answered = {line.call for line in self.history.of(kinds.EnqueueOk)}
        answered.update(line.call for line in self.history.of(kinds.EnqueueFailed))
        return [line for call, line in self.calls.items() if call not in answered]

    def _replayed(self) -> dict[str, list[Steering]]:
        found: dict[str, list[Steering]] = defaultdict(list)
        for steering in self.replays:
            assert isinstance(steering.asked, kinds.ReplayInvoked)  # noqa: S101
            answer = steering.answer
            ids: Iterable[str] = steering.asked.ids
            if isinstance(answer, kinds.ReplayOk):
                ids = (job[0] for job in answer.jobs)
            for each in ids:
                found[each].append(steering)
        return found

    def _mark_replayed(self) -> None:
        """Starts that user code wrote down itself are of a replayed job where a replay of it was asked for
        before: until then it was a dead letter."""
        for starts in self.starts.values():
            for start in starts:
                if start.replayed is None:
                    asked = (each.asked.m for each in self.replays_of.get(start.id, ()))
                    start.replayed = any(m <= start.m for m in asked)

    def _cancelled(self) -> dict[str, Steering]:
        """Jobs that somebody took out, surely or perhaps: one that was `asked` is ended unrun by its store
        if it had not begun."""
        found: dict[str, Steering] = {}
        for steering in self.cancels:
            assert isinstance(steering.asked, kinds.CancelInvoked)  # noqa: S101
            answer = steering.answer
            if not isinstance(answer, kinds.CancelOk) or answer.result is not None:
                found[steering.asked.id] = steering
        for steering in self.skips:
            if isinstance(steering.answer, kinds.SkipOk) and steering.answer.id is not None:
                found[steering.answer.id] = steering
        return found

    def _late(self) -> set[int]:
        """Starts after a newer owner took the lane, by place. A process may be paused between looking at its
        lease and starting the job, so one in each stay can happen; a second one is a fault."""
        late: set[int] = set()
        if not self.history.one_clock:
            return late
        for lane, starts in self.starts.items():
            takes = self.taken.get(lane, [])
            newer_than = first_newer(takes)
            late.update(
                start.where
                for start in starts
                if (newer := newer_than(start.token)) is not None and newer.m < start.m
            )
        return late

    # -- asking ----------------------------------------------------------------------------------------------

    def survives(self, job: Accepted) -> bool:
        """Whether a job outlived every loss of data after its acceptance. One that was scheduled took its
        seq later, if at all: after a loss nothing is certain about it."""
        lives = self.lives[job.queue]
        if job.seq is None:
            return job.life == len(lives.all) - 1
        return lives.keeps(job.life, seq=job.seq)

    def stands(self, settling: Settling) -> bool:
        """Whether a settlement was done, and outlived every loss of data after it."""
        done = settling.done
        return done is not None and self.lives[settling.asked.queue].keeps(
            settling.life, ordinal=done.ordinal
        )

    def skipped_perhaps(self, lane: LaneName, after: float = 0.0) -> bool:
        """Whether a head of this lane was perhaps skipped by a call that got no answer."""
        return any(
            isinstance(each.asked, kinds.SkipInvoked)
            and (each.asked.queue, each.asked.lane) == lane
            and each.answer is None
            and each.ended > after
            for each in self.skips
        )

    def purged(self, queue: str, *, dead: bool, since: float = -NEVER) -> tuple[int, int | float]:
        """How many jobs were purged: at least, since this moment, and at most."""
        least, most = 0, 0.0
        for each in self.purges:
            assert isinstance(each.asked, kinds.PurgeInvoked)  # noqa: S101
            if each.asked.queue == queue and each.asked.dead == dead:
                count = each.answer.count if isinstance(each.answer, kinds.PurgeOk) else 0
                least += count if each.asked.m >= since else 0
                most += NEVER if each.answer is None else count
        return least, most


def _empty(queue: str, seen: Line) -> kinds.Dump:
    """What a dump of a queue would have been that its store did not know when this line was written."""
    dump = kinds.Dump(m=seen.m, queue=queue, unsettled=[], dead=[], stats={})
    dump.where = seen.where
    return dump


def _by_lane(found: Iterable[L]) -> dict[LaneName, list[L]]:
    """Lines by lane, in the order of their tokens, which is the store's own; then of their times."""
    lanes: dict[LaneName, list[L]] = defaultdict(list)
    for line in found:
        lanes[line.queue, line.lane].append(line)
    for of_lane in lanes.values():
        of_lane.sort(key=lambda line: (line.token, line.m))
    return dict(lanes)


def _settlings(history: History) -> list[Settling]:
    """Calls with their answers. A job's calls under one token follow each other in one thread."""
    found: dict[tuple[str, int], list[Settling]] = defaultdict(list)
    calls = [Settling(line) for line in sorted(history.of(kinds.SettleInvoked), key=lambda line: line.m)]
    for call in calls:
        found[call.asked.id, call.asked.token].append(call)
    oks, refusals = history.of(kinds.SettleOk), history.of(kinds.SettleFenced)
    answers: list[kinds.SettleOk | kinds.SettleFenced] = [*oks, *refusals]
    for answer in answers:
        group = found.get((answer.id, answer.token), [])
        asked = [call for call in group if call.asked.m <= answer.m]
        if asked:
            asked[-1].answer = answer
    return calls


def first_newer(takes: list[kinds.LeaseTaken]) -> Callable[[int], kinds.LeaseTaken | None]:
    """For a token, the first moment at which a newer owner of the lane was known."""
    tokens = [take.token for take in takes]
    earliest: list[kinds.LeaseTaken] = []
    for take in reversed(takes):
        best = earliest[-1] if earliest else take
        earliest.append(take if take.m <= best.m else best)
    earliest.reverse()

    def find(token: int) -> kinds.LeaseTaken | None:
        at = bisect_right(tokens, token)
        return earliest[at] if at < len(earliest) else None

    return find


def _steerings(history: History, asked: type[kinds.Verb], answered: type[kinds.Verb]) -> list[Steering]:
    answers = {line.call: line for line in history.of(answered)}
    found = []
    for line in history.of(asked):
        answer = answers.get(line.call)
        found.append(Steering(line, answer, NEVER if answer is None else answer.m))
    return found
