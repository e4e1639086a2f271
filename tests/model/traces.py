"""What Redis notes of a lane that is run ahead. A trace that outlives its stay would bind the next holder."""

from __future__ import annotations

import redis

from glassq.stores.redis.replies import full_id
from tests.model.driving import Side
from tests.model.lanes import HELD, Lane
from tests.model.model import Model
from tests.model.strategies import LANES

_PAST = ("n", "f", "k", "ba", "cx", "cw")


class Traces:
    """Looks at the fields of lanes."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True)

    def close(self) -> None:
        """The connection is not kept."""
        self._client.close()

    def compare(self, model: Model, side: Side) -> None:
        """The same lanes run ahead, with the same wishes; a pass is there only where it is true."""
        with self._client.pipeline(transaction=False) as asked:
            for name in LANES:
                asked.hgetall(f"gq:{{{model.queue}}}:l:{name}")
            asked.hgetall(f"gq:{{{model.queue}}}:t")
            *hashes, shorts = asked.execute()
            found = dict(zip(LANES, hashes, strict=True))
        self.look_at_shorts(model, shorts, found)
        for name, fields in found.items():
            lane = model.lanes.get(name)
            if lane is None:
                assert not fields, f"of {name!r}, which is gone, there is left {fields}"
                continue
            wishes = [side.names[full_id(model.queue, job)] for job in fields.get("cw", "").split()]
            assert (int(fields.get("ah", 0)), wishes) == (lane.ahead, lane.wishes), f"{name!r} has {fields}"
            if "go" in fields:
                self.look_at_pass(lane, fields)

    @staticmethod
    def look_at_shorts(model: Model, shorts: dict[str, str], found: dict[str, dict[str, str]]) -> None:
        """What is noted in short is of lanes that are held, and have no hash of their own."""
        for name, short in shorts.items():
            lane = model.lanes[name]
            job = lane.find(lane.current)
            assert lane.state is HELD, f"{name!r} is {lane.state}, with {short}"
            assert job is not None, f"{name!r} runs nothing, with {short}"
            assert short.split("|")[1] == str(int(job.level)), f"{name!r} has {short}"
            assert not found[name], f"{name!r} has {found[name]} besides {short}"

    @staticmethod
    def look_at_pass(lane: Lane, fields: dict[str, str]) -> None:
        """It is the holder's, of this moment, and hides nothing else that is noted; run ahead or not."""
        job = lane.find(lane.current)
        assert lane.state is HELD, f"{lane.name!r} is {lane.state}, with {fields}"
        assert job is not None, f"{lane.name!r} runs nothing, with {fields}"
        told = f"{fields['t']}|{fields['o']}|{job.level}|{fields.get('ch', '0')}"
        assert fields["go"] == told, f"{lane.name!r} has {fields}"
        assert not fields.keys() & set(_PAST), f"{lane.name!r} has {fields}"
