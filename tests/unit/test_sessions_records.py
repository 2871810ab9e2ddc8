"""
The data of a session, its record, and the queue of its deadlines: pure parts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from memguard import Guard
from memguard._sessions.bytescodec import BytesCodec
from memguard._sessions.codec import codec_number, codec_of
from memguard._sessions.data import SessionData
from memguard._sessions.expiry import Alarm, Clocks, Deadlines, Verdict
from memguard._sessions.jsoncodec import JsonCodec
from memguard._sessions.picklecodec import PickleCodec
from memguard._sessions.record import (
    HEADER_BYTES,
    Header,
    Torn,
    read_header,
    read_record,
    write_record,
)
from memguard._sessions.slots import Slot
from memguard._sessions.stores import MemoryStore, store_of
from memguard._sessions.words import Words
from memguard.errors import SessionUnreadable

# Quotes, controls, an umlaut, half a surrogate pair, and one beyond the first plane.
TEXTS = st.text('a"\\\n\x00\xfc\ud800\U0001f600', max_size=6)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
    ),
    max_leaves=20,
)


def data() -> SessionData:
    """
    Clean data with a fixed value and a list.
    """
    return SessionData([("n", 1), ("list", [1])])


# -- data --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.__setitem__("n", 2),
        lambda d: d.__delitem__("n"),
        lambda d: d.update(n=2),
        lambda d: d.update({"n": 2}),
        lambda d: d.update([("n", 2)]),
        lambda d: d.__ior__({"n": 2}),
        lambda d: d.setdefault("m", 1),
        lambda d: d.pop("n"),
        lambda d: d.pop("m", None),
        lambda d: d.popitem(),
        lambda d: d.clear(),
    ],
)
def test_every_way_to_write_makes_data_dirty(
    change: Callable[[SessionData], object],
) -> None:
    """
    No method of a dictionary gets past it.
    """
    changed = data()
    change(changed)
    assert changed.dirty


@pytest.mark.parametrize(
    "read",
    [
        lambda d: d["list"],
        lambda d: d.get("list"),
        lambda d: list(d.values()),
        lambda d: list(d.items()),
        lambda d: d.copy(),
        lambda d: d | {},
        dict,
        lambda d: {**d},
        json.dumps,
    ],
)
def test_handing_out_a_list_makes_data_dirty(
    read: Callable[[SessionData], object],
) -> None:
    """
    It may be changed in place, where nobody sees it.
    """
    held = data()
    read(held)
    assert held.dirty


def test_reading_what_cannot_change_leaves_data_clean() -> None:
    """
    Texts, numbers and the keys tell nothing that could be changed.
    """
    held = data()
    assert 1 == held["n"] == held.get("n")
    assert held.get("missing") is None
    assert "n" in held
    assert ["n", "list"] == list(held) == list(held.keys())
    assert 2 == len(held)
    assert {"n": 1, "list": [1]} == held.plain()
    assert not held.dirty


def test_a_key_that_is_no_text_is_refused_at_once() -> None:
    """
    In every way to write one, before anything is changed.
    """
    held = data()
    wrong: Any = 7
    for write in (
        lambda: held.__setitem__(wrong, 1),
        lambda: held.setdefault(wrong, 1),
        lambda: held.update({"ok": 1, wrong: 1}),
    ):
        with pytest.raises(TypeError, match="must be text, not int"):
            write()
    assert {"n": 1, "list": [1]} == held.plain()


def test_data_are_a_dictionary_of_json() -> None:
    """
    Frameworks can send them as they are.
    """
    assert '{"n": 1, "list": [1]}' == json.dumps(data())


# -- records -----------------------------------------------------------------------


def written(raw: bytes, **changes: Any) -> bytes:
    """
    A record of *raw*.
    """
    facts = {
        "codec": 1,
        "schema": 1,
        "version": 7,
        "born": 10.0,
        "used": 20.0,
        "expires_at": 30.0,
        "writer": 5,
    }
    return write_record(raw, **{**facts, **changes})


@settings(max_examples=40, deadline=None)
@given(JSON_VALUES)
def test_json_comes_back_as_it_was(value: Any) -> None:
    """
    Any text, half surrogate pairs included, and any nesting.
    """
    codec = JsonCodec()
    content = {"data": {"value": value}, "rings": {}}
    _, raw = read_record(written(codec.dumps(content)))
    assert content == codec.loads(raw)


@given(st.binary(max_size=2000))
def test_a_record_costs_no_more_than_its_header(raw: bytes) -> None:
    """
    It is squeezed only where that is shorter.
    """
    record = written(raw)
    assert (Header(1, 1, 7, 10.0, 20.0, 30.0, 5), raw) == read_record(record)
    assert len(record) <= len(raw) + HEADER_BYTES


def test_a_session_need_not_expire() -> None:
    """
    The header has a word for never.
    """
    assert read_header(written(b"", expires_at=None)).expires_at is None


def test_a_history_is_squeezed() -> None:
    """
    Twenty messages of a chat take less than a quarter of their JSON.
    """
    message = {"from": "ann", "text": "have you seen the message of yesterday?"}
    raw = JsonCodec().dumps({"data": {}, "rings": {"messages": [message] * 20}})
    assert len(written(raw)) * 4 < len(raw)


def test_a_record_of_another_make_is_an_error() -> None:
    """
    Also an empty one.
    """
    for record in (b"", b"?", b"{}", b"x" * 200):
        with pytest.raises(Torn, match="header that memguard writes"):
            read_record(record)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600), st.data())
def test_a_torn_record_is_refused(raw: bytes, chosen: st.DataObject) -> None:
    """
    Cut anywhere, or with any one bit the other way round.
    """
    record = written(raw)
    cut = chosen.draw(st.integers(0, len(record) - 1))
    with pytest.raises(Torn):
        read_record(record[:cut])
    place = chosen.draw(st.integers(0, len(record) - 1))
    bit = 1 << chosen.draw(st.integers(0, 7))
    changed = bytes([*record[:place], record[place] ^ bit, *record[place + 1 :]])
    with pytest.raises(Torn):
        read_record(changed)


@pytest.mark.parametrize(
    "content",
    [{1: 2}, {"a": {None: 1}}, {"a": [{"b": {1.5: 2}}]}, {"a": ({True: 1},)}],
)
def test_keys_that_json_would_change_are_refused(content: Any) -> None:
    """
    At any depth: they would come back as texts.
    """
    with pytest.raises(TypeError, match="must be text, not"):
        JsonCodec().dumps(content)


def test_what_json_does_not_know_is_refused() -> None:
    """
    With the name of its type.
    """
    with pytest.raises(TypeError, match="set"):
        JsonCodec().dumps({"a": {1, 2}})


def test_what_contains_itself_is_refused() -> None:
    """
    With the cure in the words, in both codecs that write JSON; nothing is left over.
    """
    endless: list[Any] = []
    endless.append({"a": endless})
    for codec in (JsonCodec(), BytesCodec()):
        with pytest.raises(ValueError, match="contains itself"):
            codec.dumps(endless)
        assert [1] == codec.loads(codec.dumps([1]))


def test_json_that_is_none_is_told() -> None:
    """
    Also where something follows it.
    """
    for raw in (b"", b"{", b"[1]x"):
        with pytest.raises(ValueError, match=r"JSON|Expecting"):
            JsonCodec().loads(raw)


WITH_BYTES = st.recursive(
    JSON_VALUES | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXTS | st.just("\0") | st.just("\0\0"), inner, max_size=2)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(WITH_BYTES)
def test_bytes_come_back_as_they_were(value: Any) -> None:
    """
    Anywhere, next to anything; also where a key looks like the mark of their places.
    """
    codec = BytesCodec()
    assert {"data": value} == codec.loads(codec.dumps({"data": value}))


def test_bytes_take_as_much_room_as_they_are_long() -> None:
    """
    No text is made of them, and what has none costs one byte more than JSON.
    """
    codec = BytesCodec()
    image = bytes(range(256)) * 40
    assert len(codec.dumps({"data": {"image": image}})) < len(image) + 60
    assert 1 + len(JsonCodec().dumps([1, "a"])) == len(codec.dumps([1, "a"]))
    assert [b"ab", b"cd"] == codec.loads(codec.dumps([bytearray(b"ab"), b"cd"]))


def test_what_is_neither_json_nor_bytes_is_refused() -> None:
    """
    With the name of its type; keys have to be text as well.
    """
    with pytest.raises(TypeError, match="set cannot be saved"):
        BytesCodec().dumps({"a": {1, 2}})
    for key in (1, b"a"):
        with pytest.raises(TypeError):
            BytesCodec().dumps({"a": {key: b""}})


def test_a_codec_has_a_name_or_both_verbs() -> None:
    """
    A pickle is one that was asked for by that name. Each has a number of its own.
    """
    kinds = {"json": JsonCodec, "bytes": BytesCodec, "pickle": PickleCodec}
    for name, kind in kinds.items():
        assert isinstance(codec_of(name), kind)
    own = JsonCodec()
    assert codec_of(own) is own
    assert [1, 2, 3, 255] == [codec_number(one) for one in (*kinds, own)]
    for wrong in ("pickles", "", None, object(), 3):
        with pytest.raises(ValueError, match="codec must be"):
            codec_of(wrong)


@pytest.mark.parametrize("asked", ["bytes", "pickle", JsonCodec()])
def test_sessions_come_back_with_any_codec(asked: Any) -> None:
    """
    Data, rings and series; who asks for them with another codec is told.
    """
    disk = MemoryStore()
    value: Any = b"\0\xff" if isinstance(asked, str) else "text"
    with Guard("one") as guard:
        chat = guard.sessions("chat", store=disk, codec=asked)
        with chat.open("ann") as session:
            session.data["value"] = value
            session.ring("log").append(value)
            session.series("ms").add(1.5)
        assert chat.hibernate("ann")
        with chat.open("ann") as session:
            assert value == session.data["value"]
            assert not session.dirty
            assert [value] == list(session.ring("log"))
            assert [1.5] == session.series("ms").recent(1)
        assert chat.hibernate("ann")
        other = guard.sessions("other", store=disk)
        with pytest.raises(SessionUnreadable, match="another codec"):
            other.open("ann").__enter__()


def test_a_pickle_keeps_what_json_does_not_know() -> None:
    """
    Sets, tuples, and objects of classes that can be imported.
    """
    codec = PickleCodec()
    value = {"a": {1, 2}, 3: (4, Header(1, 1, 7, 10.0, 20.0, 30.0, 5))}
    assert value == codec.loads(codec.dumps(value))


# -- what records have in common -----------------------------------------------------


def test_what_records_have_in_common_is_not_repeated() -> None:
    """
    After the first four a record is smaller, and comes back with these words alone.
    """
    words = Words()
    raws = [
        JsonCodec().dumps(
            {
                "data": {f"a rather long key {key}": number for key in range(12)},
                "rings": {},
            }
        )
        for number in range(8)
    ]
    records = [written(raw, words=words) for raw in raws]
    assert raws == [read_record(one, words)[1] for one in records]
    assert len(records[7]) < len(records[0]) - 30
    assert raws == [read_record(one, words.copy())[1] for one in records]
    with pytest.raises(Torn, match="the store alone"):
        read_record(records[7])


def test_what_is_in_use_is_not_squeezed() -> None:
    """
    It is written again soon; squeezing is for what sleeps.
    """
    raw = b"a" * 1000
    assert HEADER_BYTES + 1000 == len(written(raw, squeeze=False))
    assert raw == read_record(written(raw, squeeze=False))[1]


def test_a_store_has_three_verbs_and_says_whether_it_lasts() -> None:
    """
    The error names what is missing.
    """
    store = MemoryStore()
    assert store_of(store) is store
    assert store_of(None) is None
    with pytest.raises(TypeError, match="put, delete, persistent"):
        store_of({})


# -- clocks ------------------------------------------------------------------------


def clocks(**changes: Any) -> Clocks:
    """
    The defaults, with changes.
    """
    options = {
        "ttl": 3600.0,
        "max_age": None,
        "hibernate_after": 600.0,
        "grace": 30.0,
        "backup_every": None,
    }
    return Clocks(**{**options, **changes})


def test_a_new_slot_has_nothing_due() -> None:
    """
    Not live, not stored: only its ttl runs.
    """
    slot = Slot("a", 100.0)
    assert Verdict.NOTHING is clocks().verdict(slot, 100.0)
    assert 3700.0 == clocks().next(slot)
    assert clocks(ttl=None).next(slot) is None


def test_what_is_held_has_only_its_backup() -> None:
    """
    A pin stops every other clock.
    """
    slot = Slot("a", 0.0)
    slot.pins = 1
    slot.session = object()  # type: ignore[assignment]
    slot.backup_at = 60.0
    assert 60.0 == clocks(ttl=1.0).next(slot)
    assert Verdict.NOTHING is clocks(ttl=1.0).verdict(slot, 59.0)
    assert Verdict.BACKUP is clocks(ttl=1.0).verdict(slot, 60.0)
    slot.pins = 0
    assert Verdict.EXPIRE is clocks(ttl=1.0).verdict(slot, 60.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.none() | st.integers(0, 50)),
        max_size=60,
    )
)
def test_a_queue_never_looks_later_than_it_was_asked_to(
    asked: list[tuple[str, int | None]],
) -> None:
    """
    Against a plain table: each session comes out once, by its earliest time, and void
    entries never outnumber valid ones.
    """
    queue = Deadlines()
    slots = {name: Slot(name, 0.0) for name in "abcde"}
    wanted: dict[str, int] = {}
    for name, when in asked:
        if when is None:
            queue.forget(slots[name])
            wanted.pop(name, None)
        else:
            queue.put(slots[name], when)
            wanted[name] = min(when, wanted.get(name, when))
        assert len(queue) <= 2 * len(wanted)
        assert min(wanted.values(), default=None) == queue.head
    order = []
    for now in range(51):
        while (slot := queue.pop(now)) is not None:
            order.append((now, slot.id))
    assert sorted((when, name) for name, when in wanted.items()) == sorted(order)
    assert 0 == len(queue)


def test_an_alarm_is_moved_forward_only() -> None:
    """
    An early ring does no harm; none is left behind.
    """

    class Handle:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    class Registry:
        running = True
        calls: list[tuple[float, Handle]] = []  # noqa: RUF012

        @property
        def scheduler(self) -> Any:
            return self

        def call_at(self, when: float, fn: Callable[[], object]) -> Handle:
            self.calls.append((when, Handle()))
            return self.calls[-1][1]

    registry: Any = Registry()
    alarm = Alarm(print)
    for when in (50.0, 60.0, 40.0, 45.0):
        alarm.set(registry, when)
    assert [(50.0, True), (40.0, False)] == [
        (when, handle.cancelled) for when, handle in registry.calls
    ]
    alarm.set(registry, None)
    assert all(handle.cancelled for _, handle in registry.calls)
    alarm.end()
    alarm.set(registry, 10.0)
    assert 2 == len(registry.calls)
