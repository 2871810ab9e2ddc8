"""
What one piece of code does with a name, read off its instructions. Nothing runs.

A hint, not a proof: a container that is handed on under another name is not followed.
"""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any, Final

from memguard._records import record

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Deeds", "Op", "deeds_of", "read")

_LOADS: Final = frozenset(
    ("LOAD_ATTR", "LOAD_DEREF", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME")
)
_ATTRIBUTES: Final = frozenset(("LOAD_ATTR",))
_STORES: Final = frozenset(("STORE_ATTR", "STORE_DEREF", "STORE_GLOBAL"))
_METHODS: Final = frozenset(("LOAD_ATTR", "LOAD_METHOD"))
_SKIPPED: Final = frozenset(("CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "RESUME"))
_BRANCHES: Final = ("JUMP", "POP_JUMP", "RETURN", "FOR_ITER", "RAISE", "SEND", "YIELD")
_FILLS: Final = frozenset(
    (
        "add",
        "append",
        "appendleft",
        "extend",
        "extendleft",
        "insert",
        "setdefault",
        "update",
    )
)
_TAKES: Final = frozenset(
    (
        "clear",
        "difference_update",
        "discard",
        "intersection_update",
        "pop",
        "popitem",
        "popleft",
        "remove",
    )
)
_FILLING: Final = frozenset(("heappush", "insort", "insort_left", "insort_right"))
_TAKING: Final = frozenset(("heappop",))
_NAMES: Final = frozenset(("__name__", "__qualname__"))
_WINDOW: Final = 80  # instructions from a name to what is done with it
# Bytes of one function's code. What is longer is not read: `dis` looks through all of
# it before its first instruction, a millisecond for 8,000 of them.
_LONGEST: Final = 4_000


@record
class Deeds:
    """
    `fills` with what is new each time, `takes` something out, `measures` its length.
    """

    fills: bool = False
    takes: bool = False
    measures: bool = False


def deeds_of(
    code: CodeType,
    found: list[Op],
    name: str,
    step: Callable[[], object] = lambda: None,
    *,
    only_attributes: bool = False,
) -> Deeds:
    """
    What *code* does with what is called *name* in it. Calls *step* on the way.

    *found* are its instructions, as `read` gives them. With *only_attributes* a
    variable of that name is another one.
    """
    loads = _ATTRIBUTES if only_attributes else _LOADS
    fills = takes = measures = False
    for at, one in enumerate(found):
        if type(one.argval) is not str or one.argval != name:
            continue
        if one.opname in _STORES and only_attributes:
            continue
        if one.opname in _STORES and code.co_name != "__init__":
            # Put anew; unless that is the second half of `name += ...`.
            before = found[at - 1] if at else None
            if before is None or not _is_inplace(before):
                takes = True
        elif one.opname in loads:
            step()
            deed = _deed(found, at)
            fills = fills or deed == "fill"
            takes = takes or deed == "take"
            measures = measures or deed == "measure"
    if fills and _is_decorator(code, found):
        fills = False
    return Deeds(fills, takes, measures)


class Op:
    """
    One instruction, as all versions of the interpreter would have it.
    """

    __slots__ = ("argrepr", "argval", "effect", "opname")

    def __init__(self, opname: str, argval: Any, argrepr: str, effect: int) -> None:
        self.opname = opname
        self.argval = argval
        self.argrepr = argrepr
        #: By how much the stack is higher afterwards.
        self.effect = effect


def read(code: CodeType, step: Callable[[], object] = lambda: None) -> list[Op]:
    """
    The instructions of *code*, without what is for the interpreter alone.
    """
    import dis

    found: list[Op] = []
    if len(code.co_code) > _LONGEST:
        return found
    for one in dis.get_instructions(code):
        if not len(found) & 31:
            step()
        name = one.opname
        if name in _SKIPPED:
            continue
        if name.startswith("LOAD_FAST"):
            # Since 3.13 one instruction may load two.
            loaded = one.argval if type(one.argval) is tuple else (one.argval,)
            found += [Op("LOAD_FAST", each, "", 1) for each in loaded]
            continue
        if name == "BINARY_OP" and one.argrepr == "[]":
            name = "BINARY_SUBSCR"
        try:
            effect = dis.stack_effect(one.opcode, one.arg, jump=False)
        except ValueError:
            effect = -_WINDOW  # whatever follows is not understood
        found.append(Op(name, one.argval, one.argrepr, effect))
    return found


def _deed(found: list[Op], at: int) -> str:
    """
    What becomes of the value that instruction *at* loads: fill, take, measure or "".
    """
    after = found[at + 1] if at + 1 < len(found) else None
    if after is not None and after.opname == "PUSH_NULL":
        return ""  # it is called itself
    if after is None:
        return ""
    if after.opname in _METHODS:
        return _of_verb(after.argval)
    before = at - 2 if at > 1 and found[at - 1].opname == "PUSH_NULL" else at - 1
    called = found[before].argval if before >= 0 else None
    if after.opname.startswith("CALL") and type(called) is str and called == "len":
        compared = any(one.opname == "COMPARE_OP" for one in found[at + 2 : at + 12])
        return "measure" if compared else ""
    return _of_expression(found, at, called)


def _of_expression(found: list[Op], at: int, called: Any) -> str:
    """
    Follow the stack from instruction *at* to the one that takes its value away.
    """
    depth = 0
    for number in range(at + 1, min(at + _WINDOW, len(found))):
        one = found[number]
        name = one.opname
        if name in ("STORE_SUBSCR", "STORE_SLICE"):
            return _of_store(found, number, depth)
        if depth == 1 and name in ("DELETE_SUBSCR", "BINARY_SUBSCR"):
            return "take" if name == "DELETE_SUBSCR" else _of_entry(found, number)
        if _is_inplace(one) and depth == 1:
            return "fill"
        if name.startswith(_BRANCHES):
            return ""
        depth += one.effect
        if depth < 0 or (name.startswith("CALL") and depth <= 0):
            if type(called) is not str:
                return ""
            if called in _FILLING:
                return "fill"
            return "take" if called in _TAKING else ""
    return ""


def _of_entry(found: list[Op], number: int) -> str:
    """
    An entry that is filled grows as well; one that is emptied stays.
    """
    after = found[number + 1] if number + 1 < len(found) else None
    is_verb = after is not None and after.opname in _METHODS
    return "fill" if is_verb and _of_verb(found[number + 1].argval) == "fill" else ""


def _of_store(found: list[Op], number: int, depth: int) -> str:
    if found[number].opname == "STORE_SLICE":
        return "take" if depth == 2 else ""
    before = found[number - 1]
    if depth == 2 and before.opname in ("SWAP", "ROT_THREE"):
        return "fill"  # name[key] += value
    if depth != 1:
        return ""
    # A key that stands in the code, or the name of a function, is none of many.
    fixed = before.opname == "LOAD_CONST" or before.argval in _NAMES
    return "" if fixed else "fill"


def _of_verb(verb: Any) -> str:
    if verb in _FILLS:
        return "fill"
    return "take" if verb in _TAKES else ""


def _is_inplace(one: Op) -> bool:
    if one.opname.startswith("INPLACE_"):
        return True
    return one.opname == "BINARY_OP" and one.argrepr.endswith("=")


def _is_decorator(code: CodeType, found: list[Op]) -> bool:
    """
    True for what returns its first argument as it is: it registers what is in the code.
    """
    if not code.co_argcount:
        return False
    first = code.co_varnames[0]
    return any(
        one.opname == "RETURN_VALUE"
        and found[at].opname.startswith("LOAD_FAST")
        and found[at].argval == first
        for at, one in enumerate(found[1:])
    )
