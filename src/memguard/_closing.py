"""
How a branch ends and takes along what it owns, in the middle of the program.

What it owns is closed in the order of `_lifecycle.order`, in the thread or on the loop
that closes the branch, without deadlines. A branch with nothing special among its
leaves ends them newest first, which is that order, without putting it up.
"""

from __future__ import annotations

from memguard._kinds.closers import running_loop
from memguard._lifecycle.inline import (
    aend_inline,
    arun_inline,
    end_inline,
    run_inline,
)
from memguard._lifecycle.order import Entry, closing_order
from memguard._phases import CLOSED, CLOSING, DRAINING, OPEN, PLAIN, Ending
from memguard._registering import Registering
from memguard.errors import WouldBlockLoop

__all__ = ("Closing",)


class Closing(Registering):
    """
    A branch that closes what it owns, and then itself, once.
    """

    __slots__ = ()

    def close(self) -> None:
        """
        Close everything this scope owns, then the scope.

        Raises WouldBlockLoop, and closes nothing, when something has to be awaited
        and an event loop runs in this thread. What fails to close is reported to the
        guard (logged once a site); the rest closes all the same.
        """
        if self._children is None and self._end_empty():
            return
        if self._is_mixed() and running_loop() is not None and self._awaits():
            verb = f"closing scope {self.label!r}"
            raise WouldBlockLoop(verb, "`await scope.aclose()` or `async with`")
        self._close()

    async def aclose(self) -> None:
        """
        Close everything this scope owns, awaiting what has to be awaited.

        A cancellation meanwhile is delivered after everything was closed.
        """
        if self._children is None and self._end_empty():
            return
        if not self._begin_to_end():
            return
        if not (self._is_mixed() or self.drains):
            interrupt = await aend_inline(self)
        else:
            interrupt = await arun_inline(self._ordered(), self.registry.now)
        self._end(interrupt)

    def _close(self) -> None:
        """
        Close here and now, for the first who asks; what fails is reported.
        """
        if not self._begin_to_end():
            return
        if not (self._is_mixed() or self.drains):
            interrupt = end_inline(self)
        else:
            interrupt = run_inline(self._ordered(), self.registry.now)
        self._end(interrupt)

    def _end_empty(self) -> bool:
        """
        End at once if nothing was ever owned.
        """
        # Said before it is looked at: who adds the first child meanwhile looks at the
        # state afterwards.
        self.state = CLOSED
        if self._children is None:
            self.owner = None
            return True
        self.state = OPEN
        return False

    def _begin_to_end(self) -> bool:
        """
        True for the one caller who closes this scope.
        """
        registry = self.registry
        if registry.detached:
            # Inherited through a fork: what it owns belongs to the parent.
            self.state = CLOSED
            self._children = self._named = self.owner = None
            return False
        if not self.claim():
            return False
        # What it owns may still register while it closes.
        self.state = DRAINING
        return True

    def _ordered(self) -> list[Entry]:
        """
        What is to be closed in its order, without this scope itself, which is last.
        """
        return closing_order([self])[:-1]

    def _end(self, interrupt: BaseException | None) -> None:
        """
        Everything is closed; the last step.
        """
        self.state = CLOSING
        try:
            if self._children:
                self._release()
        finally:
            self.settle()
        if interrupt is not None:
            raise interrupt

    def _release(self) -> None:
        """
        End what was registered between the snapshot of the plan and now.
        """
        interrupt: BaseException | None = None
        for child in reversed(self.children()):
            if isinstance(child, Closing):
                try:
                    child._close()
                except (KeyboardInterrupt, SystemExit) as error:
                    interrupt = error
        interrupt = end_inline(self) or interrupt
        if interrupt is not None:
            raise interrupt

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree, and drop children and parent.
        """
        # As Node.settle, written out: the way of every request that owns something.
        self.state = CLOSED
        self.ending = ending
        owner = self.owner
        self.owner = None
        if owner is not None and self.seq:
            owner.drop(self, ending)
        self._children = None
        self._named = None

    def _is_mixed(self) -> bool:
        """
        True while it owns anything that is not `plain`.
        """
        return self._mixed and not all(node.plain for node in self.children())

    def _awaits(self) -> bool:
        return any(node.awaits or node.drains for node in self.walk())
