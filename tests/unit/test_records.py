"""
Records: what dataclasses do, without what they cost when a module is imported.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import threading
from typing import Any, ClassVar

import pytest

from memguard._records import changed, field, fields_of, record


@record
class Point:
    """
    Two numbers and a name.
    """

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)
    secret: str = field(default="", repr=False, compare=False)
    unit: ClassVar[str] = "mm"

    @property
    def length(self) -> int:
        return self.x + self.y


@record
class Base:
    """
    Without fields.
    """


@record
class Derived(Base):
    """
    With a field that stands before one with a default.
    """

    name: str
    times: int = 1


class Plain(Derived):
    """
    An ordinary class on top of a record.
    """


@record
class Own:
    """
    With an `__init__` of its own.
    """

    given: int
    computed: int = field(init=False)

    def __init__(self, given: int) -> None:
        object.__setattr__(self, "given", given)
        object.__setattr__(self, "computed", given * 2)


def test_fields_by_place_by_name_and_by_default() -> None:
    """
    As one would write the constructor by hand.
    """
    point = Point(1, y=2)

    assert (1, 2, [], "") == (point.x, point.y, point.tags, point.secret)
    assert 3 == point.length
    assert "mm" == Point.unit
    assert Point(1).tags is not Point(1).tags


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1,), {"z": 2}), ((1, 2, [], "", 5), {})]
)
def test_wrong_arguments_are_refused(args: Any, kwargs: Any) -> None:
    """
    With the name of the class in the text.
    """
    with pytest.raises(TypeError, match=r"Point\.__init__"):
        Point(*args, **kwargs)


def test_records_are_frozen_and_slotted() -> None:
    """
    Neither set, nor deleted, nor added to.
    """
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    with pytest.raises(AttributeError):
        point.other = 1  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")


def test_equality_and_hash_follow_the_compared_fields() -> None:
    """
    Of the same class only.
    """
    assert Point(1, secret="a") == Point(1, secret="b")
    assert Point(1) != Point(2)
    assert Derived("a") != Plain("a")
    assert hash(Derived("a")) == hash(Derived("a"))
    assert {Derived("a"): 1}[Derived("a")] == 1


def test_text_shows_what_may_be_shown() -> None:
    """
    A field with `repr=False` is left out.
    """
    assert "Point(x=1, y=2, tags=[])" == repr(Point(1, 2, secret="hidden"))
    assert "Base()" == repr(Base())


def test_bases_give_their_fields_first() -> None:
    """
    And a class on top keeps the constructor.
    """
    assert ["name", "times"] == list(fields_of(Derived))
    assert "a" == Plain("a").name
    assert isinstance(Plain("a"), Base)
    match Derived("a", 3):
        case Derived(name, times):
            assert ("a", 3) == (name, times)


def test_an_own_constructor_is_kept() -> None:
    """
    What a class defines itself wins.
    """
    assert (2, 4) == (Own(2).given, Own(2).computed)
    assert 6 == changed(Own(2), given=3).computed


def test_changed_copies_and_pickles() -> None:
    """
    The same values again, or others in some fields.
    """
    point = Point(1, 2, ["a"], secret="b")

    assert Point(1, 3, ["a"]) == changed(point, y=3)
    assert "b" == changed(point, y=3).secret
    for twin in (copy.copy(point), pickle.loads(pickle.dumps(point))):
        assert point == twin
        assert "b" == twin.secret


def test_the_standard_library_takes_records_for_dataclasses() -> None:
    """
    Their fields are told when somebody asks.
    """
    point: Any = Point(1, 2)

    assert dataclasses.is_dataclass(point)
    assert {"x": 1, "y": 2, "tags": [], "secret": ""} == dataclasses.asdict(point)
    assert Point(5, 2) == dataclasses.replace(point, x=5)
    assert ["given"] == [row.name for row in dataclasses.fields(Own) if row.init]  # type: ignore[arg-type]


def test_signatures_are_readable() -> None:
    """
    Before the first instance as well as after it.
    """

    @record
    class Fresh:
        name: str
        sizes: dict[str, int] = field(default_factory=dict)

    expected = "(name: 'str', sizes: 'dict[str, int]' = <factory>)"
    assert expected == str(inspect.signature(Fresh))
    Fresh("a")
    assert expected == str(inspect.signature(Fresh))
    assert "(given: 'int')" == str(inspect.signature(Own))


def test_first_instances_in_many_threads() -> None:
    """
    The constructor is compiled on first use, whoever comes first.
    """

    @record
    class Fresh:
        value: int

    made: list[Fresh] = []
    together = threading.Barrier(8)

    def make(value: int) -> None:
        together.wait(5)
        made.append(Fresh(value))

    threads = [threading.Thread(target=make, args=(value,)) for value in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert list(range(8)) == sorted(one.value for one in made)
