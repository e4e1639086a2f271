"""What an application declares."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassq.codec import ArgumentCodec, JsonSerializer
from glassq.errors import BadOption, DuplicateTask, UnknownTask
from glassq.model.events import Event, QueueDeclared, TaskDeclared
from glassq.policy.decide import Rules
from glassq.registry import QueueOptions, Registry, TaskDefinition, task_name
from glassq.telemetry import Bus


def first() -> None:
    """A task."""


def second() -> None:
    """Another."""


def made_inside() -> Callable[[], None]:
    """A task from a factory."""

    def inner() -> None: ...

    return inner


def definition(
    func: Callable[..., Any], name: str = "m.f", queue: str = "payments", **options: Any
) -> TaskDefinition:
    """A task as its decorator would declare it."""
    signature = inspect.signature(func)
    codec = ArgumentCodec(signature, func, JsonSerializer(), name)
    return TaskDefinition(name=name, queue=queue, func=func, signature=signature, codec=codec, **options)


@pytest.fixture
def heard() -> list[Event]:
    """The events of the registry, as they come."""
    return []


@pytest.fixture
def registry(heard: list[Event]) -> Registry:
    """An empty registry."""
    bus = Bus()
    bus.subscribe(heard.append, QueueDeclared, TaskDeclared)
    return Registry(bus)


# -- tasks ---------------------------------------------------------------------------------------------


def test_a_task_is_found_by_its_name(registry: Registry, heard: list[Event]) -> None:
    """By exactly its name; its queue becomes known first, and both are announced once."""
    task = definition(first)
    registry.add(task)
    assert registry.task("m.f") is task
    assert registry.find("m.f") is task
    assert registry.find("M.f") is None
    assert registry.tasks() == (task,)
    assert registry.queues() == ("payments",)
    assert heard == [QueueDeclared(queue="payments"), TaskDeclared(queue="payments", task="m.f")]


def test_an_unknown_task_names_the_nearest(registry: Registry) -> None:
    """A typing error finds its word; otherwise the message says what to do."""
    registry.add(definition(first, "shop.charge"))
    with pytest.raises(UnknownTask, match=r"did you mean 'shop\.charge'"):
        registry.task("shop.chrage")
    with pytest.raises(UnknownTask, match="import the module"):
        registry.task("zzz")


def test_two_functions_of_one_name_are_refused(registry: Registry) -> None:
    """The message names both places; the first stays registered."""
    registry.add(definition(first))
    with pytest.raises(DuplicateTask, match=r"'m\.f'.*test_registry\.py:\d+ and .*test_registry\.py:\d+"):
        registry.add(definition(second))
    assert registry.task("m.f").func is first


def test_a_module_loaded_twice_is_not_a_duplicate(registry: Registry) -> None:
    """The same source, compiled again (as `__main__` and by import), replaces itself."""
    source = compile("def task(): ...", "shop.py", "exec")
    once: dict[str, Any] = {}
    again: dict[str, Any] = {}
    exec(source, once)
    exec(source, again)
    registry.add(definition(once["task"]))
    registry.add(definition(again["task"]))
    assert registry.task("m.f").func is again["task"]
    with pytest.raises(DuplicateTask):
        registry.add(definition(once["task"], queue="other"))


def test_two_closures_of_one_source_are_duplicates(registry: Registry) -> None:
    """They look the same and may do different things."""
    closure = made_inside()
    registry.add(definition(closure))
    registry.add(definition(closure))
    with pytest.raises(DuplicateTask):
        registry.add(definition(made_inside()))


def test_callables_without_code_are_named_in_errors(registry: Registry) -> None:
    """A builtin has no file; the message shows what there is."""
    registry.add(definition(first))
    with pytest.raises(DuplicateTask, match="built-in function len"):
        registry.add(definition(len))


@pytest.mark.parametrize(
    ("name", "queue"), [("m.f", "a/b"), ("m.f", "a\n"), ("a\nb", "payments"), ("", "payments")]
)
def test_a_task_that_is_refused_leaves_nothing_behind(
    registry: Registry, heard: list[Event], name: str, queue: str
) -> None:
    """A name that cannot be a metric label or a log field registers neither task nor queue."""
    with pytest.raises(BadOption, match="1 to 128 of"):
        registry.add(definition(first, name, queue))
    assert registry.tasks() == ()
    assert registry.queues() == ()
    assert heard == []


def test_rules_come_from_the_task_and_its_queue(registry: Registry) -> None:
    """What `decide` is given is what the two decorations said."""
    task = definition(first, max_retries=-1, retry_wait=2.5, on_exhausted="halt")
    registry.add(task)
    registry.declare("payments", on_unknown="bury")
    assert task.rules(registry.options("payments")) == Rules(
        max_retries=-1, retry_wait=2.5, on_exhausted="halt", on_unknown="bury"
    )


# -- queues --------------------------------------------------------------------------------------------


def test_options_given_later_replace_only_themselves(registry: Registry, heard: list[Event]) -> None:
    """Declaring again without options keeps what is in force, and is announced once."""
    assert registry.options("payments") == QueueOptions(on_unknown="halt")
    assert registry.declare("payments", on_unknown="bury").on_unknown == "bury"
    assert registry.declare("payments").on_unknown == "bury"
    assert registry.options("payments").on_unknown == "bury"
    assert registry.options("other").on_unknown == "halt"
    assert heard == [QueueDeclared(queue="payments")]


def test_an_unknown_option_names_the_nearest(registry: Registry) -> None:
    """And declares nothing."""
    with pytest.raises(BadOption, match=r"^on_unknwon: .*did you mean 'on_unknown'\?"):
        registry.declare("payments", on_unknwon="halt")  # type: ignore[call-arg]
    with pytest.raises(BadOption, match=r"^colour: is not an option of a queue$"):
        registry.declare("payments", colour="red")  # type: ignore[call-arg]
    assert registry.queues() == ()


@pytest.mark.parametrize("value", ["drop", "", None, True, "HALT"])
def test_a_queue_ends_in_one_of_two_ways(registry: Registry, value: Any) -> None:
    """`bury` or `halt`; the message shows both and what was given."""
    with pytest.raises(BadOption, match=r'^on_unknown: is "bury" or "halt", got'):
        registry.declare("payments", on_unknown=value)
    assert registry.queues() == ()


# -- names of tasks ------------------------------------------------------------------------------------


def test_names_say_where_a_function_is() -> None:
    """Module and qualified name, without the noise of `<locals>`."""

    class Shop:
        def charge(self) -> None: ...

    module = first.__module__
    assert task_name(first) == f"{module}.first"
    assert task_name(made_inside()) == f"{module}.made_inside.inner"
    assert task_name(Shop.charge) == f"{module}.test_names_say_where_a_function_is.Shop.charge"


SCRIPT = """
import multiprocessing
from glassq.registry import task_name
def charge(): ...
NAME = task_name(charge)
def show():
    print(NAME, flush=True)
if __name__ == "__main__":
    show()
    child = multiprocessing.get_context("spawn").Process(target=show)
    child.start()
    child.join()
"""


@pytest.mark.parametrize(
    ("how", "processes"),
    [
        (["shop.py"], 2),
        (["-m", "shop"], 2),
        (["-m", "store.shop"], 2),
        (["-m", "store"], 1),  # multiprocessing does not load a package's __main__ in its children
    ],
)
def test_a_script_and_its_import_agree_on_names(tmp_path: Path, how: list[str], processes: int) -> None:
    """`__main__` is named as it would be imported, also in processes that the script spawns."""
    package = tmp_path / "store"
    package.mkdir()
    for path in (tmp_path / "shop.py", package / "shop.py", package / "__main__.py"):
        path.write_text(SCRIPT)
    (package / "__init__.py").touch()
    result = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    module = how[-1].removesuffix(".py")
    assert result.stdout.split() == [f"{module}.charge"] * processes


def test_code_without_a_file_is_main() -> None:
    """At a prompt there is no better name."""
    program = "from glassq.registry import task_name\ndef f(): ...\nprint(task_name(f))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "__main__.f"


def test_defaults_hold_for_what_decorators_leave_out() -> None:
    """What a decorator says stays; what it leaves out follows the application's defaults, whether they are
    given before or after it."""
    registry = Registry(Bus())
    registry.add(definition(first, left_out=("max_retries", "on_exhausted"), retry_wait=1.0))
    registry.default(max_retries=7, retry_wait=2.0, on_exhausted="halt")
    registry.add(definition(second, "m.g", left_out=("retry_wait",), max_retries=0))
    early, late = registry.task("m.f"), registry.task("m.g")
    assert (early.max_retries, early.retry_wait, early.on_exhausted) == (7, 1.0, "halt")
    assert (late.max_retries, late.retry_wait, late.on_exhausted) == (0, 2.0, "bury")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("max_retrys", 3, "did you mean 'max_retries'"),
        ("max_retries", True, "whole number"),
        ("retry_wait", "soon", "seconds"),
        ("on_exhausted", "drop", "bury"),
    ],
)
def test_a_default_is_checked_as_in_a_decorator(option: str, value: Any, said: str) -> None:
    """Nothing wrong is kept for tasks that come later."""
    with pytest.raises(BadOption, match=said):
        Registry(Bus()).default(**{option: value})
