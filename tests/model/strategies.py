"""What the machine draws from: who works, on which lanes, how jobs come and end, how time goes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from glassq.model.jobs import Dedup
from glassq.model.leases import Leaving, Owner
from glassq.model.verdicts import Action
from tests.model.driving import Ending

OWNERS = [
    Owner("a", "1"),
    Owner("a", "2"),  # the same node, started again
    Owner("b", "1", 0),
    Owner("b", "1", 1),  # another worker beside it
    Owner("c", "1"),
]
RESTARTED = {OWNERS[0]: OWNERS[1], OWNERS[1]: OWNERS[0]}
"""Who comes when this one was started again."""
LANES = ["", "x", "y:1|"]
STEPS_FORWARD = [0.000001, 0.25, 0.9, 2.7, 5.0, 10.0, 14.999999, 15.0, 15.000001, 31.0, 3600.0]
STEPS_BACK = [-0.000001, -0.099999, -0.1, -0.4, -0.999999, -1.0, -1.000001, -5.0, -14.0, -3600.0]

owners = st.sampled_from(OWNERS)
leases = st.sampled_from([15.0, 6.0])
picks = st.integers(0, 7)

which = st.sampled_from([0, 0, 1])
"""One of the two queues. More goes wrong where more has happened, so most happens in the first."""
several = st.sampled_from([(0,), (1,), (0, 1), (0, 1), (1, 0), (1, 0)])

rooms = st.sampled_from([1, 2, 4, 6])

limits = st.sampled_from([None, None, None, None, 1, 2, 3, 5])
"""An example has a handful of jobs at a time: all of these are met."""

new_jobs: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    st.builds(
        dict,
        lane=st.sampled_from(LANES),
        level=st.sampled_from([3, 3, 2, 5]),
        due=st.sampled_from([None, None, None, 0.0, 2.5, 20.1]),
        at=st.sampled_from([None, None, None, -5.0, 3.3]),
        ttl=st.sampled_from([None, None, 7.1]),
        dedup=st.sampled_from(
            [None, None, None, Dedup("d"), Dedup("d", 4.35), Dedup("e", 300.0), Dedup("e")]
        ),
    ),
    min_size=1,
    max_size=4,
)

endings = st.builds(
    Ending,
    action=st.sampled_from(
        [Action.ACK, Action.ACK, Action.RETRY, Action.BURY, Action.HALT, Action.EXPIRE, Action.CANCEL]
    ),
    leaving=st.sampled_from([Leaving.STAY, Leaving.STAY, *Leaving]),
    named=st.booleans(),
    # What a lane has counted since is not said: a counter that is ahead might be what it has come to.
    stale=st.sampled_from([0, 0, 0, 0, -1]),
    window=st.integers(1, 3),
    ran=st.sampled_from([True, True, False]),
    wait=st.sampled_from([0.0, 2.05, 10.0]),
)
