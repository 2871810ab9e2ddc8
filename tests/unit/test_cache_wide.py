"""
The mapping for very many keys: against a dict, while it grows, and by readers.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from memguard._kinds.cache import wide
from memguard._kinds.cache.wide import Wide

KEYS = st.integers(-40, 400) | st.text(max_size=2) | st.tuples(st.integers(0, 30))
STEPS = st.tuples(st.sampled_from(["set", "pop", "del", "get", "look"]), KEYS)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Growth begins with few keys.
    """
    monkeypatch.setattr(wide, "MOST", 8)


def is_moving(table: Wide) -> bool:
    """
    True while keys are on their way.
    """
    return bool(table._old)


def same(model: dict[Any, Any], table: Wide) -> None:
    """
    One is the other, however it is looked at.
    """
    assert len(model) == len(table)
    assert model == dict(table.items())
    assert sorted(model, key=repr) == sorted(table, key=repr)
    parts = table.parts()
    assert len(model) == sum(map(len, parts))
    assert model == {key: value for part in parts for key, value in part.items()}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("most", [1, 3, 8])
@settings(deadline=None, max_examples=60)
@given(start=st.dictionaries(KEYS, st.integers(), max_size=30), data=st.data())
def test_is_a_dict(most: int, start: dict[Any, int], data: st.DataObject) -> None:
    """
    Any sequence of steps gives what a dict gives, in the middle of moves too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wide, "MOST", most)
        table = Wide(dict(start))
        model = dict(start)
        for number, (verb, key) in enumerate(data.draw(st.lists(STEPS, max_size=120))):
            if verb == "set":
                table[key] = model[key] = number
            elif verb == "pop":
                assert model.pop(key, "none") == table.pop(key, "none")
            elif verb == "del" and key in model:
                del table[key], model[key]
            elif verb == "del":
                with pytest.raises(KeyError):
                    del table[key]
            elif verb == "get":
                assert model.get(key) == table.get(key)
                assert (key in model) is (key in table)
            elif key in model:
                assert model[key] == table[key]
            else:
                with pytest.raises(KeyError):
                    table[key]
            assert len(model) == len(table)
        same(model, table)


@pytest.mark.usefixtures("small")
def test_grows_more_than_once_and_moves_a_few_keys_at_a_time() -> None:
    """
    From 40 to 3000 keys: all are found at every moment, and no step moves many.
    """
    model: dict[Any, int] = {key: -key for key in range(40)}
    table = Wide(dict(model))
    growths, was_moving, dicts = 0, True, len(table._dicts)
    for key in range(40, 3000):
        left = sum(map(len, table._old))
        table[key] = model[key] = -key
        if len(table._dicts) != dicts:
            growths, dicts = growths + 1, len(table._dicts)
        elif was_moving:
            assert left - sum(map(len, table._old)) <= 8
        was_moving = is_moving(table)
        if key % 97 == 0:
            same(model, table)
    assert growths >= 2
    assert max(map(len, table.parts())) <= 3 * wide.MOST
    same(model, table)


@pytest.mark.usefixtures("small")
def test_a_key_is_replaced_where_it_is() -> None:
    """
    In the middle of a move there are never two of one key.
    """
    table = Wide(dict.fromkeys(range(60), 0))
    for round_ in range(1, 4):
        for key in range(60):
            table[key] = round_
            assert round_ == table[key] == table.get(key)
            assert 60 == len(table) == len(list(table))
    assert dict.fromkeys(range(60), 3) == dict(table.items())


@pytest.mark.usefixtures("small")
def test_takes_out_what_waits_to_be_moved() -> None:
    """
    `pop` finds keys in old dicts and in new ones; the moves end all the same.
    """
    table = Wide({key: str(key) for key in range(100)})
    for key in range(0, 100, 2):
        assert str(key) == table.pop(key)
        assert key not in table
    assert 50 == len(table)
    assert "other" == table.pop(0, "other")
    for key in range(1, 100, 2):
        del table[key]
    assert (0, [], []) == (len(table), list(table), list(table.items()))
    table["new"] = 1
    assert not is_moving(table)
    assert [("new", 1)] == list(table.items())


@pytest.mark.usefixtures("small")
def test_hashes_that_differ_in_high_bits_only_are_spread() -> None:
    """
    Numbers that lie far apart do not all go to one dict.
    """
    table = Wide({number << 16: number for number in range(400)})
    for number in range(400, 900):
        table[number << 16] = number
    filled = [len(part) for part in table.parts()]
    assert max(filled) < 900 // 4
    assert 900 == len(table)


@pytest.mark.usefixtures("small")
def test_is_whole_again_after_a_torn_change() -> None:
    """
    Whatever an exception left in the middle of a move or of a growth, `mend` finishes.
    """
    table = Wide({key: key for key in range(100)})
    for key in range(5):
        table[key] = key
    table._count += 7
    table.mend()
    assert not is_moving(table)
    same({key: key for key in range(100)}, table)
    # A growth that was cut off before its dicts were there, and just behind it.
    for mask in (table._mask, 7):
        table._old, table._old_mask = table._dicts, mask
        table._mask = mask
        table.mend()
        same({key: key for key in range(100)}, table)
    for key in range(100, 1000):
        table[key] = key
    same({key: key for key in range(1000)}, table)


@pytest.mark.usefixtures("small")
def test_readers_need_no_lock() -> None:
    """
    Readers beside a writer get a value of the key or nothing, and never an error.
    """
    table = Wide({key: (key, 0) for key in range(50)})
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                for key in range(0, 600, 7):
                    value = table.get(key)
                    assert value is None or key == value[0]
        except BaseException as error:
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for one in readers:
            one.start()
        for round_ in range(3):
            for key in range(600):
                table[key] = (key, round_)
            for key in range(50, 600):
                table.pop(key)
    finally:
        stop.set()
        for one in readers:
            one.join(5.0)
        sys.setswitchinterval(often)
    assert [] == failures
