"""
The handle of something adopted: made by another library, owned by a guard.

It refers to its object weakly, or to the place it lies at, unless it was told to keep
it. What the object is, what it holds and how it ends is its adapter's business. Longer
than 300 lines because the life of a handle, from its start to its end, is one class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from memguard._adopt.at_home import close_at_home, home_of, release_at_home, stack_of
from memguard._adopt.caps import checked_caps
from memguard._adopt.info import AdoptedInfo, info_of
from memguard._adopt.known import PHASES
from memguard._adopt.place import Place
from memguard._adopt.rounds import WEIGH_EVERY_S, rounds_of
from memguard._kinds.closers import running_loop
from memguard._kinds.references import NOTHING, Kept, Ref, on_collect
from memguard._phases import CLOSING, NEW, OPEN, PLAIN, Ending, Outcome, Phase
from memguard._sites import RawSite, Site, call_site, outside
from memguard._tree import COLLECTED, Branch, Gone, Node
from memguard.errors import ScopeClosed
from memguard.typing import Adapter, Measured, Risk

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = ("Adopted", "AdoptedInfo")

#: What a round measures: metrics tell of it.
MEASURED: Final = frozenset({"cache", "container"})
UNKNOWN: Final = Measured()


class Seen:
    """
    What was last measured of one object, and when it was weighed.
    """

    __slots__ = ("label", "measured", "weighed_at", "weight")

    def __init__(self, label: str) -> None:
        self.label = label
        self.measured = UNKNOWN
        self.weight: int | None = None
        self.weighed_at = float("-inf")


class Adopted(Node):
    """
    One adopted object: `info`, `resize` and `close`.

    No lock is held while the adapter or the object is called. `info`, `resize` and
    `close` may be called from any thread, as far as the object's library allows that.
    """

    __slots__ = ("_lasti", "_target", "_title", "adapter", "caps", "home", "seen")

    def __init__(  # noqa: PLR0917
        self,
        owner: Branch,
        obj: Any,
        name: str | None,
        adapter: Adapter,
        caps: Mapping[str, Any],
        frame: FrameType,
        *,
        keep: bool = False,
    ) -> None:
        # Written out instead of calling super().__init__: thousands are adopted at
        # once. The owner sets the tally.
        self._target: Callable[[], Any]
        if keep:
            self._target = Kept(obj)
        elif type(obj) is Place:
            self._target = obj
            obj.belong_to(self)
        else:
            self._target = reference = Ref(obj, on_collect)
            reference.resource = self  # type: ignore[assignment]
        self.owner = owner
        self.registry = registry = owner.registry
        self.name = name
        self.declared = declared = owner.state == NEW and adapter.inherited
        self.state = NEW if declared else OPEN
        self.ending = None
        self.seq = seq = registry.next_seq()
        self.born = registry.now()
        self.tally = None
        code = frame.f_code
        if seq & registry.sites.mask and code.co_filename in outside:
            self._site = code  # type: ignore[assignment]  # see `site`
            self._lasti = frame.f_lasti
        else:
            self._site = registry.sites.take(frame, seq)
        self._claim = True
        self._title: str | None = None
        self.adapter = adapter
        self.caps = caps
        #: What the last round saw; metrics are made of it.
        self.seen: Seen | None = None
        self.home: ref[Any] | None = None
        if adapter.awaits or adapter.affinity == "loop":
            loop = running_loop()
            self.home = None if loop is None else ref(loop)

    # -- what its adapter says ---------------------------------------------------------

    @property
    def kind(self) -> str:  # type: ignore[override]
        """
        What it is counted as.
        """
        return self.adapter.kind

    @property
    def phase(self) -> Phase:  # type: ignore[override]
        """
        The phase of the shutdown in which it is closed.
        """
        return PHASES[self.adapter.phase]

    @property
    def affinity(self) -> str:  # type: ignore[override]
        """
        Where the close may run: any, thread or loop.
        """
        return self.adapter.affinity

    @property
    def awaits(self) -> bool:  # type: ignore[override]
        """
        True where the close is a coroutine function.
        """
        return self.adapter.awaits

    @property
    def forces(self) -> bool:  # type: ignore[override]
        """
        True where there is a way out that does not wait.
        """
        return self.adapter.forces

    @property
    def spec(self) -> dict[str, Any]:
        """
        What a container of the same kind and name is compared by: it is another thing.
        """
        return {"adopted": self.adapter.kind, **self.caps}

    @property
    def asked(self) -> None:
        """
        Nothing that a factory of the guard could have been asked for.
        """
        return

    @property
    def label(self) -> str:
        """
        The name, else what the adapter calls it.
        """
        place = self.place
        found = self.name or self._title or (place and place.label)
        if found:
            return found
        obj = self._target()
        return self.kind if obj is None else self.adapter.label(obj)

    @property
    def site(self) -> Site | None:
        """
        Where it was adopted; None where the level is off.
        """
        raw: Any = self._site
        if isinstance(raw, CodeType):
            return Site(raw, self._lasti)
        return Site(*raw) if isinstance(raw, tuple) else raw

    @site.setter
    def site(self, site: RawSite) -> None:
        self._site = site

    def entitle(self, title: str) -> None:
        """
        What people call it; unlike a name it may be that of several.
        """
        self._title = title

    # -- life ------------------------------------------------------------------------

    def target(self) -> Any:
        """
        The object, or None when it is gone. Do not keep what this returns.
        """
        return self._target()

    @property
    def place(self) -> Place | None:
        """
        Where it lies, for what was adopted by place.
        """
        target = self._target
        return target if type(target) is Place else None

    def _join(self) -> None:
        super()._join()
        self.note_kept()

    def note_kept(self) -> None:
        """
        Make a kept object and a place findable; all else is so by its weak reference.
        """
        target = self._target
        if type(target) is Kept:
            self.registry.objects[id(target())] = self
        elif type(target) is Place:
            rounds_of(self.registry).places[target.key] = self

    def _arm(self) -> None:
        if self.adapter.kind in MEASURED or self.is_trimmed:
            rounds = self.registry.rounds
            if rounds is None:
                rounds = rounds_of(self.registry)
            rounds.join(self)

    @property
    def is_trimmed(self) -> bool:
        """
        True where its caps are kept by rounds.
        """
        caps = self.caps
        return bool(caps) and self.adapter.trims and any(caps.values())

    def _disarm(self) -> Any:
        self._rest()
        return self._end()

    def _rest(self) -> None:
        rounds = self.registry.rounds
        if rounds is not None:
            rounds.leave(self)

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self.note_kept()

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree and let go of the object.
        """
        rounds = self.registry.rounds
        if rounds is not None:
            rounds.forget(self)
        super().settle(ending)
        target = self._target
        if type(target) is Kept:
            self.registry.forget(id(target()), self)
        self._target = NOTHING

    def collected_unclosed(self) -> bool:
        """
        Settle after the object's death; a fault where its adapter says so.
        """
        if not self.seq or self.state >= CLOSING or not self.claim():
            return False
        self.settle(COLLECTED if self.adapter.must_close else PLAIN)
        return self.adapter.must_close

    @property
    def loop(self) -> ref[Any] | None:
        """
        The loop it is bound to: the one it names itself, else that of its adoption.
        """
        return home_of(self)

    def stack(self) -> str:
        """
        Where its own threads stand, for a close that hangs; "" without any.
        """
        return stack_of(self)

    def is_open(self) -> bool:
        """
        For the audit: the object lives and does not say that it is closed.
        """
        obj = self._target()
        if obj is None:
            return False
        try:
            return self.adapter.is_open(obj)
        except Exception as error:  # a half-built or half-closed object may raise
            self.failed("closed-check", error)
            return True

    # -- the end -----------------------------------------------------------------------

    def _release(self) -> Any:
        self._rest()
        return self._end()

    def _end(self) -> Any:
        obj = self._target()
        if obj is None:
            if self.adapter.must_close and self.place is None:
                raise Gone
            return None
        return self.adapter.close(obj)

    def _force(self) -> None:
        obj = self._target()
        if obj is not None:
            self.adapter.force(obj)

    def close(self) -> None:
        """
        End the object in its own way, now, and leave the guard. Twice does nothing.

        What belongs to a loop of another thread is closed there (30 s at most). Raises
        what the object's close raises; WouldBlockLoop where it has to be awaited in
        this thread's running loop: use `aclose` there.
        """
        if not close_at_home(self):
            super().close()

    async def aclose(self) -> None:
        """
        As `close`, and await what has to be awaited. In the object's own loop.
        """
        if self.registry.detached or not self.claim():
            return
        try:
            await release_at_home(self)
        except Gone:
            self.registry.tell_collected(self)
            self.settle(COLLECTED)
            return
        except BaseException as error:
            self.settle(Ending(Outcome.UNCLOSABLE, type(error).__qualname__))
            raise
        self.settle()

    # -- caps --------------------------------------------------------------------------

    def resize(self, **caps: Any) -> None:
        """
        Other caps from now on; those that are not named stay as they are, None lifts.

        Raises TypeError for a cap that this object cannot have, with the reason, and
        ValueError for a bad figure.
        """
        obj = self._target()
        if self.state >= CLOSING or obj is None:
            raise ScopeClosed(self._ended_text())
        checked = checked_caps(self.adapter, obj, caps)
        self.adapter.apply(obj, checked)
        self.caps = {**self.caps, **checked}
        if self.registry.running:
            self._arm()

    # -- reading -----------------------------------------------------------------------

    def measure(self) -> Measured:
        """
        What the adapter reads off the object now; nothing once that is gone.
        """
        obj = self._target()
        found = UNKNOWN if obj is None else self.adapter.measure(obj)
        self._note().measured = found
        return found

    def weigh(self) -> int | None:
        """
        The bytes of the object, measured now where the adapter can.
        """
        obj = self._target()
        seen = self._note()
        seen.weighed_at = self.registry.now()
        seen.weight = None if obj is None else self.adapter.weigh(obj)
        return seen.weight

    def _note(self) -> Seen:
        seen = self.seen
        if seen is None:
            seen = self.seen = Seen(self.label)
        return seen

    def memory_bytes(self) -> int | None:
        """
        What the object holds, estimated half a minute ago at most, or before the end of
        the guard began; None where that cannot be told.
        """
        obj = self._target()
        if obj is None:
            return None
        told = self.adapter.measure(obj).bytes
        if told is not None:
            return told
        seen = self._note()
        owner = self.owner
        ends = owner is None or owner.state > OPEN
        if ends or self.registry.now() - seen.weighed_at < WEIGH_EVERY_S:
            # A shutdown has no time for ten thousand looks.
            return seen.weight
        return self.weigh()

    def info(self) -> AdoptedInfo:
        """
        What the object holds now. Costs some microseconds; where the bytes of something
        large are estimated, some milliseconds.
        """
        return info_of(self)

    def risk(self) -> Risk | None:
        """
        What may grow without bound, or None.
        """
        obj = self._target()
        if obj is None or self.is_trimmed:
            return None
        return self.adapter.risk(obj)

    def failed(self, where: str, error: BaseException) -> None:
        """
        Record what the adapter or the object raised.
        """
        self.registry.failures.record(
            f"{where} of {self.kind} {self.label}", error, call_site(self.site)
        )
