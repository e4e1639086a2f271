"""Names, keys and ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassq.errors import BadOption
from glassq.model.names import (
    MAX_KEY_LENGTH,
    check_id,
    check_key,
    check_name,
    flow_id,
    gate_of,
    is_flow,
    is_gate,
    job_id,
    nearest,
    queue_of,
)

names = st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True)


@given(name=names)
def test_names_of_the_alphabet_are_accepted(name: str) -> None:
    """Letters, digits and `_ . : -`, 1 to 128 of them, come back as they are."""
    assert check_name("queue", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 129,
        "a/b",
        "a b",
        "a\n",
        "\n",
        "a\x00",
        "ä",
        "a{b}",
        'a"b',
        "../x",
        "a\u2028",
        None,
        7,
        b"queue",
    ],
)
def test_anything_else_is_refused_with_the_rule(name: object) -> None:
    """Slashes, white space, a final newline, other alphabets and other types; the message shows the rule."""
    with pytest.raises(BadOption, match=r"^queue: .*1 to 128 of A-Z a-z 0-9 _ \. : -$") as caught:
        check_name("queue", name)
    assert caught.value.option == "queue"
    assert "\n" not in str(caught.value)


@given(key=st.text(min_size=1, max_size=MAX_KEY_LENGTH))
def test_a_key_is_any_text(key: str) -> None:
    """Customers' names go in as they are written."""
    assert check_key(key) == key


@pytest.mark.parametrize("key", ["", "k" * (MAX_KEY_LENGTH + 1), "\ud800", 7, None, b"k"])
def test_keys_no_store_could_hold_are_refused(key: object) -> None:
    """Nothing (that is the default lane), too much, text without UTF-8, and other types."""
    with pytest.raises(BadOption, match=r"^key: "):
        check_key(key)


@pytest.mark.parametrize("value", ["\ud800", "q/\udcff:1", 7, None, b"q/p:1"])
def test_ids_no_store_could_look_for_are_refused(value: object) -> None:
    """Text without UTF-8 and other types; any other text is an id, if perhaps nobody's."""
    with pytest.raises(BadOption, match=r"^job_id: a job's id is "):
        check_id("job_id", "a job's id", value)
    assert check_id("job_id", "a job's id", "") == ""


@given(queue=names, producer=names, number=st.integers(0, 2**63))
def test_a_job_id_names_its_queue(queue: str, producer: str, number: int) -> None:
    """The queue, and so the shard, is read off the id."""
    assert queue_of(job_id(queue, producer, number)) == queue


def test_the_nearest_name_is_suggested() -> None:
    """A slip of the finger finds its word, nonsense finds none."""
    known = ("max_retries", "retry_wait", "timeout")
    assert nearest("max_retry", known) == "max_retries"
    assert nearest("zzz", known) is None
    assert nearest("timeout", ()) is None


@given(name=names)
def test_ids_of_workflows_and_gates_name_their_home_and_are_no_jobs(name: str) -> None:
    """Whoever has one knows where it is told of, and that it is not a job's."""
    flow, job = flow_id(name, "0123456789abcdef"), job_id(name, "p", 1)
    gate = gate_of(flow)
    assert [queue_of(each) for each in (job, flow, gate)] == [name] * 3
    assert [is_flow(each) for each in (job, flow, gate)] == [False, True, False]
    assert [is_gate(each) for each in (job, flow, gate)] == [False, False, True]
