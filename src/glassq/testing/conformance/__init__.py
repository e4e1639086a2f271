"""The promises every store keeps, as tests: a new store adds itself and passes them all.

    from glassq.testing.conformance import StorageConformance

    class TestMyStorage(StorageConformance):
        def make(self, clock):
            return MyStorage(..., clock=clock)

That is all: pytest collects the tests from the subclass. `make` is called once for each handle a test
opens; all handles of one test must see the same, initially empty store, and no two tests the same. A store
whose time is a server's must take it from `clock` when it is given one: an hour that really passes proves
nothing more, and a clock that steps back cannot be waited for. For messages that show the values of a failed
comparison, call `pytest.register_assert_rewrite("glassq.testing.conformance")` before the import.
"""

from __future__ import annotations

from glassq.testing.conformance.appending import Appending
from glassq.testing.conformance.choosing import Choosing
from glassq.testing.conformance.claiming import Claiming
from glassq.testing.conformance.crowding import Crowding
from glassq.testing.conformance.cutting import Cutting
from glassq.testing.conformance.deferring import Deferring
from glassq.testing.conformance.duplicating import Duplicating
from glassq.testing.conformance.exchanging import Exchanging
from glassq.testing.conformance.flowing import Flowing
from glassq.testing.conformance.forgetting import Forgetting
from glassq.testing.conformance.halting import Halting
from glassq.testing.conformance.inheriting import Failing, Inheriting, Relaying
from glassq.testing.conformance.keeping import KeepingNotes, KeepingValues
from glassq.testing.conformance.leasing import Jumping, Leasing
from glassq.testing.conformance.leveling import Leveling
from glassq.testing.conformance.looking import Looking
from glassq.testing.conformance.purging import Purging
from glassq.testing.conformance.ranking import Ranking, Serving
from glassq.testing.conformance.remembering import Remembering
from glassq.testing.conformance.ringing import Closing, Ringing
from glassq.testing.conformance.running_ahead import RunningAhead
from glassq.testing.conformance.scheduling import Scheduling
from glassq.testing.conformance.settling import Releasing, Settling
from glassq.testing.conformance.settling_together import SettlingTogether
from glassq.testing.conformance.steering import Cancelling, Finding, Pausing, Replaying
from glassq.testing.conformance.taking_ahead import TakingAhead
from glassq.testing.conformance.waiting import Waiting

__all__ = ["StorageConformance"]


class StorageConformance(
    Appending,
    Claiming,
    Choosing,
    Settling,
    SettlingTogether,
    RunningAhead,
    TakingAhead,
    Releasing,
    Leasing,
    Jumping,
    Halting,
    Looking,
    Ranking,
    Serving,
    Ringing,
    Closing,
    Crowding,
    Scheduling,
    Duplicating,
    Remembering,
    Leveling,
    Cancelling,
    Finding,
    Pausing,
    Replaying,
    Purging,
    Forgetting,
    Cutting,
    Waiting,
    KeepingNotes,
    KeepingValues,
    Exchanging,
    Deferring,
    Failing,
    Inheriting,
    Relaying,
    Flowing,
):
    """The whole suite. Subclasses supply `make` (see `Scenario.make`)."""
