"""Programs for pyfiq, written from its READMEs, of which only the import says glassq; on a real Redis."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis

from glassq.compat.pyfiq import RedisQueueBackend


@pytest.fixture
def empty_redis(redis_url: str) -> str:
    """The server, with nothing on it."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    return redis_url


FAILED_JOB = re.compile(r"^job \S+ \(\S+\) failed .*\n(Traceback .*\n( .*\n)+\S.*\n)?", re.MULTILINE)


def run(tmp_path: Path, program: str, url: str) -> Any:
    """What a program printed last, as JSON. It has to end by itself, and without a complaint; jobs that fail
    are told of, with their tracebacks."""
    (tmp_path / "program.py").write_text(program)
    result = subprocess.run(
        [sys.executable, "-W", "error", "program.py", url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, FAILED_JOB.sub("", result.stderr)) == (0, "")
    assert not list(tmp_path.glob("*.db"))
    return json.loads(result.stdout.splitlines()[-1])


WORKER_FIRST = """
import json, sys, threading
import glassq as pyfiq

# Start a worker at the beginning of the program, then decorate, then call; stop is never called.
worker = pyfiq.ThreadedWorker(redis_url=sys.argv[1])
worker.start()

told, done = [], threading.Event()

def on_success(retval, task, binding):
    told.append(["success", retval, list(task.args), binding.queue])
    if len(told) == 5:
        done.set()

def on_error(exc, task, binding):
    told.append(["error", str(exc), list(task.args), binding.queue])

@pyfiq.fifo(queue="queue1", on_success=on_success)
def subscribe(user):
    return user.upper()

@pyfiq.fifo(queue="queue1", max_retries=-1, retry_wait=0.01, on_error=on_error, on_success=on_success)
def update(user, *, attempts=[]):
    attempts.append(user)
    if len(attempts) < 4:
        raise ConnectionError("try again")
    return len(attempts)

@pyfiq.fifo(queue="queue1", max_retries=1, retry_wait=0.01, on_error=on_error, on_success=on_success)
def refuse(user):
    raise ValueError(f"no such user: {user}")

subscribe("ann")
refuse("bob")
update("cy")
subscribe("dan")
subscribe(user="eve")
done.wait(30)
print(json.dumps(told))
"""


def test_the_program_of_the_readme_runs_and_ends(tmp_path: Path, empty_redis: str) -> None:
    """A queue shared by three functions keeps the order of the calls, through retries and failures; what has
    `max_retries=-1` is tried until it succeeds, the rest waiting; `on_error` is told once, at the end."""
    assert run(tmp_path, WORKER_FIRST, empty_redis) == [
        ["success", "ANN", ["ann"], "queue1"],
        ["error", "no such user: bob", ["bob"], "queue1"],
        ["success", 4, ["cy"], "queue1"],
        ["success", "DAN", ["dan"], "queue1"],
        ["success", "EVE", [], "queue1"],
    ]


FIRST_VERSION = """
import json, sys, time
from glassq.compat.pyfiq import RedisQueueBackend, fifo, threaded_worker

ran = []

@fifo(queue="http-requests1")
def fetch(what):
    time.sleep(0.01)
    ran.append(what)

@fifo(queue="http-requests1")
def fetch_also(what):
    ran.append(what)

worker = threaded_worker(
    backend=RedisQueueBackend(sys.argv[1])
)

for number in range(10):
    (fetch if number % 2 else fetch_also)(number)
while len(ran) < 10:
    time.sleep(0.01)
print(json.dumps(ran))
"""


def test_a_program_of_the_first_version_runs_and_ends(tmp_path: Path, empty_redis: str) -> None:
    """Two functions on one queue take turns in the order of the calls."""
    assert run(tmp_path, FIRST_VERSION, empty_redis) == list(range(10))


def test_the_first_versions_names_are_in_the_top_package_too(tmp_path: Path, empty_redis: str) -> None:
    """`import glassq` is enough, whichever version a program was written for."""
    program = FIRST_VERSION.replace("from glassq.compat.pyfiq import", "from glassq import")
    assert run(tmp_path, program, empty_redis) == list(range(10))
    assert RedisQueueBackend().redis_url == "redis://localhost"


SHAPES = """
import json, sys, threading
from glassq import ThreadedWorker, fifo

told, both = [], threading.Semaphore(0)

def keep(outcome, task, binding):
    told.append({
        "outcome": outcome if isinstance(outcome, str) else type(outcome).__name__,
        "fqn": [task.fqn, binding.fqn],
        "args": [isinstance(task.args, list), *task.args],
        "kwargs": task.kwargs,
        "text": str(task.args) in f"Task succeeded ({task})",
        "binding": [binding.queue, binding.max_retries, binding.retry_wait],
        "functions": [binding.func.__name__, binding.on_success is keep, binding.on_error is keep],
    })
    both.release()
    raise RuntimeError("a callback that fails")

@fifo("queue2", keep, keep, 0, 2)
def pay(amount, note=""):
    if amount < 0:
        raise ValueError("negative")
    return "paid"

import logging
logging.getLogger("glassq").setLevel(logging.CRITICAL)

worker = ThreadedWorker(sys.argv[1])
worker.start()
worker.start()
pay(5, note="x")
worker.stop()
worker.start()
pay(-1)
both.acquire(timeout=30), both.acquire(timeout=30)
worker.stop()
worker.stop()
print(json.dumps(told))
"""


def test_callbacks_get_what_they_got(tmp_path: Path, empty_redis: str) -> None:
    """Result or exception, the job with its function's name and arguments, the binding with its options; all
    options by position. What a callback raises changes nothing, and a worker may be stopped and started."""
    succeeded, failed = run(tmp_path, SHAPES, empty_redis)
    assert succeeded == {
        "outcome": "paid",
        "fqn": ["program.pay", "program.pay"],
        "args": [True, 5],
        "kwargs": {"note": "x"},
        "text": True,
        "binding": ["queue2", 0, 2],
        "functions": ["pay", True, True],
    }
    assert (failed["outcome"], failed["args"]) == ("ValueError", [True, -1])


MANY_QUEUES = """
import json, sys, threading
from glassq import ThreadedWorker, fifo

together = threading.Barrier(21)

def declare(number):
    @fifo(f"queue{number}", name=f"wait{number}")
    def wait():
        together.wait(30)
    return wait

waits = [declare(number) for number in range(20)]
ThreadedWorker(redis_url=sys.argv[1]).start()
for wait in waits:
    wait()
together.wait(30)
print(json.dumps("all at once"))
"""


def test_queues_do_not_wait_for_one_another(tmp_path: Path, empty_redis: str) -> None:
    """Twenty queues run twenty jobs at the same time, as with a thread for each."""
    assert run(tmp_path, MANY_QUEUES, empty_redis) == "all at once"
