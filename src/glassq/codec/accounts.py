"""What is said of an attempt beside its settlement, for whoever asks after the job later."""

from __future__ import annotations

import msgspec

from glassq.codec.serializers import UNREADABLE
from glassq.errors import CorruptRecord


class Account(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose attempt it was, and how it went. Without any text of the job's own: neither arguments nor
    messages. Short names, because every attempt of a kept job leaves one."""

    task: str = msgspec.field(default="", name="t")
    key: str | None = msgspec.field(default=None, name="k")
    seq: int | None = msgspec.field(default=None, name="q")
    level: int = msgspec.field(default=3, name="l")
    enqueued_at: float | None = msgspec.field(default=None, name="e")
    """When the job was eligible, in epoch seconds by the store's clock."""
    attempt: int = msgspec.field(default=0, name="n")
    """How many attempts the job had by then, this one included if it `ran`."""
    ran: bool = msgspec.field(default=False, name="r")
    seconds: float = msgspec.field(default=0.0, name="s")
    outcome: str = msgspec.field(default="", name="o")
    worker: str = msgspec.field(default="", name="w")
    error: str = msgspec.field(default="", name="x")
    """The type of what it raised."""


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Account)


def account_bytes(account: Account) -> bytes:
    """An account as it is stored."""
    return _ENCODER.encode(account)


def read_account(data: bytes) -> Account:
    """What `account_bytes` was given, an empty one for nothing; `CorruptRecord` for any other bytes."""
    if not data:
        return Account()
    try:
        return _DECODER.decode(data)
    except UNREADABLE as error:
        raise CorruptRecord(f"what is said of an attempt cannot be read: {error}") from error
