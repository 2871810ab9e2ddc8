"""
The content of sessions as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ("JsonCodec", "json_decoder", "json_encoder", "refuse_odd_keys")

# What has no keys.
_FLAT: Final = frozenset({str, int, float, bool, type(None), bytes})


class JsonCodec:
    """
    JSON. A tuple comes back as a list; a key that is no text is refused.

    JSON would turn such a key into a text without a word, and the session would come
    back with other keys than it went.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(self) -> None:
        self._encode = json_encoder(None)
        self._decode = json_decoder(None)

    def dumps(self, content: Any) -> bytes:
        """
        JSON in UTF-8. Raises TypeError for what JSON does not know, ValueError for what
        contains itself.
        """
        text = self._encode(content)
        refuse_odd_keys(content)
        # Half a surrogate pair is no UTF-8, but it may be in a text all the same.
        return text.encode("utf-8", "surrogatepass")

    def loads(self, raw: bytes) -> Any:
        """
        The content that was encoded.
        """
        return self._decode(raw.decode("utf-8", "surrogatepass"))


def json_encoder(default: Callable[[Any], Any] | None) -> Callable[[Any], str]:
    """
    What makes a text of a value; *default* replaces what JSON does not know.

    It is the encoder of the standard library, made once: the one that json makes for
    each call takes longer than most contents.
    """
    import json
    from json import encoder as found

    encoder: Any = found  # its parts in C are in no stub

    settings = json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), default=default
    )
    make = encoder.c_make_encoder
    if make is None:
        return settings.encode
    chunks = make(
        # It remembers nobody's containers: what contains itself ends in a recursion.
        None,
        settings.default,
        encoder.encode_basestring,
        None,
        ":",
        ",",
        False,
        False,
        True,
    )

    def encode(value: Any) -> str:
        try:
            return "".join(chunks(value, 0))
        except RecursionError:
            msg = "a value contains itself, or is nested too deeply, to be saved"
            raise ValueError(msg) from None

    return encode


def json_decoder(
    hook: Callable[[dict[str, Any]], Any] | None,
) -> Callable[[str], Any]:
    """
    What makes a value of a text that `json_encoder` made; *hook* replaces dictionaries.
    """
    import json

    decoder: Any = json.JSONDecoder(object_hook=hook)
    scan = decoder.scan_once

    def decode(text: str) -> Any:
        try:
            value, end = scan(text, 0)
        except StopIteration:
            value, end = None, -1
        if end != len(text):
            msg = "what should be JSON is not"
            raise ValueError(msg)
        return value

    return decode


def refuse_odd_keys(content: Any) -> None:
    """
    Raise TypeError where a key of a dictionary is no text, at any depth.
    """
    # Encoding came first: it has proved that nothing contains itself.
    ahead = [content]
    while ahead:
        value = ahead.pop()
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    msg = (
                        "keys of dictionaries in a session must be text, not"
                        f" {type(key).__qualname__}; JSON has no other"
                    )
                    raise TypeError(msg)
            value = value.values()
        elif not isinstance(value, (list, tuple)):
            continue
        ahead.extend([one for one in value if type(one) not in _FLAT])
