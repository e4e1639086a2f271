"""The receipt of a job whose result is kept."""

from __future__ import annotations

import msgspec

from glassq.model.jobs import JobView, R_co, Receipt, answers_of


class KeptReceipt(Receipt[R_co], frozen=True, gc=True, dict=True):
    """A receipt that can be asked what became of its job (see `JobView`, which can be, too). It is equal to
    any receipt that says the same."""

    def result(self, timeout: float | None = None) -> R_co:
        """See `Receipt.result`."""
        result: R_co = answers_of(self).result(self.id, timeout)
        return result

    async def aresult(self, timeout: float | None = None) -> R_co:  # noqa: ASYNC109 - as `result`
        """See `Receipt.aresult`."""
        result: R_co = await answers_of(self).aresult(self.id, timeout)
        return result

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
