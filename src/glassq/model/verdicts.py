"""What happened to an attempt (outcome) and what is done about it (verdict)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Outcome(StrEnum):
    """How an attempt ended, before anybody has decided anything. Closed set."""

    SUCCEEDED = "succeeded"
    EXCEPTION = "exception"
    TIMEOUT = "timeout"
    UNDECODABLE = "undecodable"
    UNKNOWN_TASK = "unknown_task"
    CRASHED = "crashed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    LEASE_LOST = "lease_lost"
    INTERRUPTED = "interrupted"
    """Not ended by itself: the event loop it ran on was left by its program."""


class Action(StrEnum):
    """What a store can be told to do with the head of a lane."""

    ACK = "ack"
    RETRY = "retry"
    BURY = "bury"
    HALT = "halt"
    EXPIRE = "expire"
    CANCEL = "cancel"
    DROP = "drop"
    """Nothing is written: the lane is no longer ours, and its new owner runs the job again."""


class Verdict(msgspec.Struct, frozen=True):
    """An action with its reason; `wait` (seconds) and `retry`, which one of its job it will be (from 1),
    belong to RETRY alone."""

    action: Action
    reason: str = ""
    wait: float = 0.0
    retry: int = 0

    @property
    def final(self) -> bool:
        """True when the retries of this job have come to an end without success."""
        return self.action in (Action.BURY, Action.HALT)


class Failure(msgspec.Struct, frozen=True):
    """The remote error as text: never arguments, never frame locals."""

    type: str
    message: str = ""
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type
