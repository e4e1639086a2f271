"""The receipt of a job whose result is kept."""

from __future__ import annotations

from typing import Any

import msgspec

from glassq.model.jobs import JobView, Receipt, answers_of


class KeptReceipt(Receipt, frozen=True, gc=True, dict=True):
    """A receipt that can be asked what became of its job (see `JobView`, which can be, too). It is equal to
    any receipt that says the same."""

    def result(self, timeout: float | None = None) -> Any:
        """See `Receipt.result`."""
        return answers_of(self).result(self.id, timeout)

    async def aresult(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as `result`
        """See `Receipt.aresult`."""
        return await answers_of(self).aresult(self.id, timeout)

    def status(self) -> JobView:
        """See `Receipt.status`."""
        return answers_of(self).job(self.id)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Receipt):
            return NotImplemented
        return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    def __hash__(self) -> int:
        return hash(msgspec.structs.astuple(self))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__)
        return f"Receipt({fields})"
