"""What tells more than a success goes on no course; and nobody who waits for one that does is forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from prometheus_client import CollectorRegistry

from glassq import Glassq, WorkflowStatus, chain
from glassq.model.jobs import Receipt
from glassq.stores.redis.course import RedisCourse

JOBS = 300


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs whose settlements went on a course."""
    sent: list[str] = []
    send = RedisCourse.send

    def sending(self: RedisCourse, job_id: str, next_id: str) -> int | None:
        heard = send(self, job_id, next_id)
        if heard is not None:
            sent.append(job_id)
        return heard

    monkeypatch.setattr(RedisCourse, "send", sending)
    return sent


@pytest.fixture
def app(redis_url: str) -> Iterator[Glassq]:
    """An application on an empty server, whose lanes are served for long."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    with Glassq(redis_url, registry=CollectorRegistry()) as app:
        app.queue("q", turn=1000)
        yield app


def drain(app: Glassq) -> None:
    """Run what there is, one lane at a time."""
    assert app.worker(concurrency=1).run_until_idle(30)


def test_every_result_of_quick_jobs_is_kept(app: Glassq, sent: list[str]) -> None:
    """Of a task that keeps nothing by itself, among jobs on a course: each is judged by itself."""

    @app.fifo("q")
    def double(number: int) -> int:
        return 2 * number

    kept: dict[int, Receipt] = {}
    for number in range(JOBS):
        if number // 10 % 2:
            kept[number] = double.options(result_ttl=60)(number)
        else:
            double(number)
    drain(app)
    assert sent
    assert not {receipt.id for receipt in kept.values()} & set(sent)
    assert [receipt.result(0) for receipt in kept.values()] == [2 * number for number in kept]


def test_jobs_of_workflows_go_on_no_course(app: Glassq, sent: list[str]) -> None:
    """Each lets the next one go, and leaves what it returned for it."""
    ran: list[str] = []

    @app.fifo("q")
    def step(name: str) -> None:
        ran.append(name)

    ends = []
    for number in range(20):
        for each in range(10):
            step(f"alone {number} {each}")
        ends.append(app.submit(chain(*(step.s(f"{number} {at}") for at in range(5)))))
    steps = {each.job for workflow in ends for each in workflow.graph().steps}
    drain(app)
    assert sent
    assert not steps & set(sent)
    assert [workflow.status() for workflow in ends] == [WorkflowStatus.SUCCEEDED] * 20
    assert len(ran) == 20 * (10 + 5)
    for number in range(20):
        assert [name for name in ran if name.startswith(f"{number} ")] == [
            f"{number} {at}" for at in range(5)
        ]


def test_a_parent_that_is_followed_while_its_lane_runs_ahead_lets_its_child_go(
    app: Glassq, sent: list[str]
) -> None:
    """Its settlement goes on the course like any other: the store knows who waits for it, here and in another
    queue, and says so."""
    ran: list[int] = []
    parents: list[Receipt] = []
    children: list[Receipt] = []

    @app.fifo("q")
    def job(number: int) -> None:
        ran.append(number)
        if number == JOBS // 2:  # far ahead of this one, so that their settlements are yet to come
            for far in (parents[number + 60], parents[number + 90]):
                children.append(near.options(depends_on=[far])(int(far.seq or 0)))
                children.append(other.options(depends_on=[far])(int(far.seq or 0)))

    @app.fifo("q", key=lambda number: f"{number}")
    def near(number: int) -> None:
        ran.append(-number)

    @app.fifo("r")
    def other(number: int) -> None:
        ran.append(-number)

    parents += [job(number) for number in range(JOBS)]
    drain(app)
    followed = [parents[JOBS // 2 + 60], parents[JOBS // 2 + 90]]
    assert {each.id for each in followed} & set(sent)
    assert len(children) == 4
    assert sorted(ran) == sorted([*range(JOBS), *(-int(each.seq or 0) for each in followed * 2)])
    for each in followed:
        assert ran.index(-int(each.seq or 0)) > ran.index(parents.index(each))
    assert [queue.deferred for queue in app.storage.stats(["q", "r"])] == [0, 0]
