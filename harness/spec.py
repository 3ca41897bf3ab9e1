"""One grammar for naming encoders, indexes, tasks and sources.

    name[:target][,key=value...]        minilm    st:intfloat/e5-small-v2,dtype=float16    exact

A spec is safe in a shell and in make: whatever else a value needs is percent-encoded when a spec
is printed ("query_prompt=query%3A%20") and may be given plainly when it is read. A spec within a
spec that has commas or plus signs stands in brackets: rrf:[bm25,k1=0.9]+minilm
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from harness.errors import InputError
from harness.masking import mask

SAFE = "/:@+"
BRACKETED = re.compile(r"\[[\w./:@+=,%\[\]-]+\]", re.ASCII)  # what may stand in brackets: specs
DEEPEST = 100  # brackets within brackets
LONE = "[]"  # a list of one empty text


@dataclass(frozen=True)
class Spec:
    """A parsed name: parse(str(spec)) == spec."""

    name: str
    target: str | None = None
    params: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        head = _percent(self.name).replace(":", "%3A")
        if self.target is not None:
            head += ":" + _quote(self.target)
        # an "@" within a value is quoted: after a model it would stand before its index
        params = (f"{key}={_quote(value, SAFE.replace('@', ''))}" for key, value in self.params)
        return ",".join([head, *params])

    def with_parameters(self, params: Iterable[tuple[str, str]]) -> Spec:
        """The same with parameters added or replaced."""
        return Spec(self.name, self.target, tuple({**dict(self.params), **dict(params)}.items()))


def _quote(text: str, safe: str = SAFE) -> str:
    """Percent-encoded, but for what stands in brackets: a spec, quoted already."""
    return "".join(part if inner else _percent(part, safe) for part, inner in _brackets(text))


def _percent(text: str, safe: str = SAFE) -> str:
    """Percent-encoded, "~" too: a shell reads it as a home folder in TASK=folder:~/data."""
    return quote(text, safe=safe).replace("~", "%7E")


def _unquote(text: str) -> str:
    return "".join(part if inner else unquote(part) for part, inner in _brackets(text))


def _brackets(text: str) -> list[tuple[str, bool]]:
    """A text cut where brackets open and close: each part, and whether it stands in brackets.

    A bracket without its partner, or around what no spec holds, is a character like any other.
    """
    parts, low, ends = list[tuple[str, bool]](), 0, _pair(text)
    for at in sorted(ends):
        end = ends[at] + 1
        if at >= low and BRACKETED.fullmatch(text, at, end):
            parts += [(text[low:at], False), (text[at:end], True)]
            low = end
    return [*parts, (text[low:], False)]


def _pair(text: str) -> dict[int, int]:
    """Where the bracket that opens at each place closes, for those that do.

    Of brackets deeper than any spec has them none is more than a character.
    """
    ends, opened = dict[int, int](), list[int]()
    for at in re.finditer(r"[][]", text):
        if at[0] == "[":
            opened.append(at.start())
            if len(opened) > DEEPEST:
                return {}
        elif opened:
            ends[opened.pop()] = at.start()
    return ends


def split(text: str, separator: str) -> list[str]:
    """Parts of a text between separators that stand in no brackets.

    split("[bm25,k1=0.9]+minilm", "+") -> ["[bm25,k1=0.9]", "minilm"]
    """
    parts = [""]
    for part, inner in _brackets(text):
        first, *more = [part] if inner else part.split(separator)
        parts[-1] += first
        parts += more
    return parts


def bare(text: str) -> str:
    """A spec without the brackets around it: "[bm25,k1=0.9]" -> "bm25,k1=0.9".

    Any other text comes back as it is: a blank at its end may belong to a value.
    """
    inner = text.strip()
    whole = len(_brackets(inner)) == 3 and inner[0] == "[" and inner[-1] == "]"
    return bare(inner[1:-1]) if whole else text


def parse(text: str | Spec) -> Spec:
    """Read a spec, with brackets around it or without.

    Blanks around the name and around keys are none of theirs; target and values are as they stand.
    Raises InputError that quotes the text and names the part that is wrong.
    """
    if isinstance(text, Spec):
        return text
    if not text.isascii() and not is_unicode(text):
        raise InputError(f"{text!r} holds bytes that are not UTF-8: rename what it names")
    text = bare(text)
    head, *rest = split(text, ",")
    name, colon, target = head.partition(":")
    name = name.strip()
    if not name:
        raise InputError(f"{text!r} names nothing: expected name[:target][,key=value...]")
    if colon and not target:
        raise InputError(f"{text!r} has nothing after the colon: expected {name}:target")
    params: dict[str, str] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(
                f"{text!r}: {part!r} is not key=value (a value with commas is written in brackets, "
                "as [hnsw,M=8], or with %2C for them)"
            )
        if key in params:
            raise InputError(f"{text!r} gives {key} twice")
        params[key] = _unquote(value)
    return Spec(unquote(name), _unquote(target) if colon else None, tuple(params.items()))


def refuse_secrets(spec: Spec) -> None:
    """Raise InputError where a spec holds what looks like a key: specs are printed and kept."""
    texts = [spec.target or "", *(f"{key}={value}" for key, value in spec.params)]
    if any(mask(text) != text for text in texts):
        raise InputError(
            f"{spec.name}: a value looks like a key, and names are printed and kept: a key goes "
            "into an environment variable, where an endpoint is asked named by api_key_env=NAME"
        )


def is_unicode(text: str) -> bool:
    """Whether a text can be written: arguments hold lone surrogates for what is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def scalar(value: object) -> str:
    """Write one value as specs do."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def join(values: Iterable[object]) -> str:
    """Write a list as a parameter has it: 0.1+0.3, [hnsw,M=8]+exact.

    A plus sign that is no part of a spec is percent-encoded; [] is one empty text.
    """
    written = [scalar(value) for value in values]
    return LONE if written == [""] else "+".join(map(_item, written))


def bracket(text: str) -> str:
    """A value in brackets where it is a spec that needs them: [hnsw,M=8]; else as it is."""
    spec = "=" in text and set(text) & {",", "+"} and BRACKETED.fullmatch(f"[{text}]")
    return f"[{text}]" if spec else text


def _item(text: str) -> str:
    bracketed, plain = f"[{text}]", text.replace("%", "%25").replace("+", "%2B")
    if len(_pair(text)) < text.count("["):  # a bracket of the next item would close one
        return plain.replace("[", "%5B")
    if (
        set(text) & {",", "+"}
        and BRACKETED.fullmatch(bracketed)
        and split_list(bracketed) == [text]
    ):
        return bracketed
    return plain if split_list(plain) == [text] else plain.replace("[", "%5B")


def split_list(text: str) -> list[str]:
    """Read what `join` writes; a value in brackets comes without them, no text is an empty list.

    listed("0.1+0.3") -> ["0.1", "0.3"]; listed("[hnsw,M=8]+exact") -> ["hnsw,M=8", "exact"]
    """
    if text == LONE:
        return [""]
    parts = split(text, "+") if text else []
    return [_unquote(part) if bare(part) == part else bare(part) for part in parts]
