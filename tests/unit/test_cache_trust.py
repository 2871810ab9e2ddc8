"""
Which keys are hashed and compared with the lock held: none that could do harm.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import uuid
from collections import namedtuple
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from memguard._kinds.cache.cells import GONE
from memguard._kinds.cache.instances import Token
from memguard._kinds.cache.trust import StandIn, equal_in, is_trusted


class Text(str):
    """
    A text with nothing of its own.
    """

    __slots__ = ()


class Hashing(str):
    """
    A text with a hash of its own.
    """

    __slots__ = ()
    __hash__ = lambda self: 1  # noqa: E731


class Comparing(str):
    """
    A text that is compared in Python.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


class Number(int):
    """
    A number that is compared in Python.
    """

    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        return int.__eq__(self, other)


class Colour(enum.Enum):
    """
    A plain enumeration.
    """

    RED = 1


class Size(enum.IntEnum):
    """
    Numbers with names.
    """

    BIG = 3


class Word(str, enum.Enum):
    """
    Texts with names.
    """

    YES = "yes"


class Odd(enum.Enum):
    """
    An enumeration that is compared in Python.
    """

    ONE = 1
    __hash__ = enum.Enum.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


class Hashed(enum.Enum):
    """
    An enumeration with a hash of its own.
    """

    ONE = 1

    def __hash__(self) -> int:
        return 3


class Flags(enum.Flag):
    """
    Names that can be combined.
    """

    A = 1
    B = 2


Point = namedtuple("Point", "x y")  # noqa: PYI024


class Typed(NamedTuple):
    """
    A tuple with names.
    """

    x: Any


class Pair(tuple):  # type: ignore[type-arg]
    """
    A tuple that is compared in Python.
    """

    __slots__ = ()
    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other)


class Iterating(tuple):  # type: ignore[type-arg]
    """
    A tuple that shows other elements than it has.
    """

    __slots__ = ()

    def __iter__(self) -> Any:
        return iter((1, 2))


@dataclass(frozen=True)
class Data:
    """
    Compared in Python that `dataclass` wrote.
    """

    x: int


class Plain:
    """
    Compared by identity; its class could be changed.
    """


class Zone(dt.tzinfo):
    """
    A zone in Python.
    """


def uuid_like() -> Any:
    """
    A class with the name and module of a trusted one, which is another.
    """
    kind = type("UUID", (), {"__eq__": lambda self, other: True, "__hash__": hash})
    kind.__module__ = "uuid"
    return kind()


def homeless() -> Any:
    """
    A class whose module is no text, and not even hashable.
    """
    return type("Homeless", (), {"__module__": []})()


class UnhashableHash:
    """
    Called to hash, and not hashable itself.
    """

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> int:
        return 1


def strange_hash() -> Any:
    """
    A key whose `__hash__` is an object that cannot be hashed.
    """
    return type("Strange", (), {"__hash__": UnhashableHash()})()


DEEP: Any = ((((1,),),),)
TRUSTED = [
    *("text", 1, b"bytes", 1.5, True, 2j, None, (), ("a", 1, (2.0, None))),
    *(frozenset({1, "a"}), frozenset(), Text("a"), Point(1, "a"), Typed((1,)), DEEP),
    *(Colour.RED, Size.BIG, Word.YES, Flags.A, Flags.A | Flags.B),
    *(uuid.UUID(int=3), pathlib.PurePosixPath("a"), pathlib.Path("a")),
    *(decimal.Decimal("1.5"), fractions.Fraction(1, 3)),
    *(dt.date(2020, 1, 1), dt.timedelta(1), dt.timezone.utc),
    *(ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")),
    Token(lambda: None),  # type: ignore[arg-type]
    (Token(lambda: None), "a"),  # type: ignore[arg-type]
]
FOREIGN = [
    *(Hashing("a"), Comparing("a"), Number(1), Odd.ONE, Hashed.ONE),
    *(Data(1), Plain(), object(), lambda: None, Plain, int, range(3)),
    *(("a", Data(1)), (1, (2, Comparing("b"))), frozenset({Data(1)})),
    *(Typed(Data(1)), Pair((1, 2)), Point(1, Plain()), Iterating((Data(1), Data(2)))),
    *((DEEP,), dt.datetime(2020, 1, 1), dt.time(1)),  # noqa: DTZ001
    *(dt.datetime(2020, 1, 1, tzinfo=Zone()), uuid_like()),
    *(homeless(), strange_hash(), StandIn("a", 1), memoryview(b"a")),
]


@pytest.mark.parametrize("key", TRUSTED, ids=repr)
def test_harmless_types_are_trusted(key: Any) -> None:
    """
    Hash and comparison of the interpreter's or the standard library's.
    """
    assert is_trusted(key)


@pytest.mark.parametrize("key", FOREIGN, ids=lambda key: type(key).__name__)
def test_all_others_are_not(key: Any) -> None:
    """
    Whatever runs, or could run, code of users.
    """
    assert not is_trusted(key)


@pytest.mark.parametrize("name", ["int64", "float32", "uint8"])
def test_numbers_of_numpy_are_trusted(name: str) -> None:
    """
    They are equal to the numbers they stand for, so they must find the same entry.
    """
    numpy = pytest.importorskip("numpy")
    assert is_trusted(getattr(numpy, name)(3))
    assert not is_trusted(numpy.datetime64("2020-01-01"))


class Watched(type):
    """
    Tells whenever something runs code of a class or of its instances.
    """

    seen: list[str]

    def __instancecheck__(cls, instance: object) -> bool:
        cls.seen.append("isinstance")
        return True

    def __subclasscheck__(cls, subclass: type) -> bool:
        cls.seen.append("issubclass")
        return True

    def __eq__(cls, other: object) -> bool:
        cls.seen.append("eq of the class")
        return True

    def __hash__(cls) -> int:
        Watched.seen.append("hash of the class")
        return hash("str")


Watched.seen = []


class Key(metaclass=Watched):
    """
    A key that tells whatever is done to it.
    """

    def __hash__(self) -> int:
        Watched.seen.append("hash")
        return 1

    def __eq__(self, other: object) -> bool:
        Watched.seen.append("eq")
        return True

    def __getattribute__(self, name: str) -> Any:
        Watched.seen.append(name)
        return object.__getattribute__(self, name)


def test_finding_out_asks_the_key_nothing() -> None:
    """
    Neither the key nor elements of a tuple are hashed, compared or read.
    """
    key = Key()
    Watched.seen.clear()
    assert not is_trusted(key)
    assert not is_trusted((1, key))
    assert not is_trusted(Typed(key))
    assert [] == [one for one in Watched.seen if one != "hash of the class"]


def test_the_key_of_a_table_that_is_equal() -> None:
    """
    A foreign key finds the trusted one, and nothing else, not even a stand-in.
    """
    table: dict[Any, int] = {"a": 1, 3: 2, StandIn("b", hash("b")): 3}
    assert "a" == equal_in(table, Comparing("a"), hash("a"))
    assert 3 == equal_in(table, Number(3), hash(3))
    assert GONE is equal_in(table, Comparing("b"), hash("b"))
    assert GONE is equal_in(table, Number(4), hash(4))
    always = type("Always", (), {"__eq__": lambda self, other: True, "__hash__": None})
    assert GONE is equal_in({}, always(), 3)


@pytest.mark.skipif(not hasattr(enum, "StrEnum"), reason="Python 3.11")
def test_enumerations_of_texts() -> None:
    """
    As the text that they are.
    """
    kind: Any = enum.StrEnum("kind", "a b")  # type: ignore[attr-defined,unused-ignore]
    assert is_trusted(kind.a)
    assert "a" == kind.a
