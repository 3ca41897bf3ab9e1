"""One grammar for naming encoders, indexes, tasks and sources, and the registry behind it.

    name[:target][,key=value...]        minilm    st:intfloat/e5-small-v2,dtype=float16    exact

A spec is safe in a shell and in make: whatever else a value needs is percent-encoded when a spec
is printed ("query_prompt=query%3A%20") and may be given plainly when it is read. A spec within a
spec that has commas or plus signs stands in brackets: rrf:[bm25,k1=0.9]+minilm
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from harness.errors import InputError, reason

T = TypeVar("T")
SAFE = "/:@+"
BRACKETED = re.compile(r"\[[\w./:@+=,%\[\]-]+\]", re.ASCII)  # what may stand in brackets: specs
LONE = "[]"  # a list of one empty text
LISTED = 20  # choices that an error names, at most


@dataclass(frozen=True)
class Spec:
    """A parsed name: parse(str(spec)) == spec."""

    name: str
    target: str | None = None
    params: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        head = _percent(self.name).replace(":", "%3A")
        if self.target is not None:
            head += ":" + _quoted(self.target)
        return ",".join([head, *(f"{key}={_quoted(value)}" for key, value in self.params)])

    def merged(self, params: Iterable[tuple[str, str]]) -> Spec:
        """The same with parameters added or replaced."""
        return Spec(self.name, self.target, tuple({**dict(self.params), **dict(params)}.items()))


def _quoted(text: str) -> str:
    """Percent-encoded, but for what stands in brackets: a spec, quoted already."""
    return "".join(part if inner else _percent(part) for part, inner in _brackets(text))


def _percent(text: str) -> str:
    """Percent-encoded, "~" too: a shell reads it as a home folder in TASK=folder:~/data."""
    return quote(text, safe=SAFE).replace("~", "%7E")


def _unquoted(text: str) -> str:
    return "".join(part if inner else unquote(part) for part, inner in _brackets(text))


def _brackets(text: str) -> list[tuple[str, bool]]:
    """A text cut where brackets open and close: each part, and whether it stands in brackets.

    A bracket without its partner, or around what no spec holds, is a character like any other.
    """
    parts, low, at = list[tuple[str, bool]](), 0, 0
    while (at := text.find("[", at)) >= 0:
        depth = 0
        for end in range(at, len(text)):
            depth += (text[end] == "[") - (text[end] == "]")
            if not depth:
                break
        if depth or not BRACKETED.fullmatch(text, at, end + 1):
            at += 1
            continue
        parts += [(text[low:at], False), (text[at : end + 1], True)]
        low = at = end + 1
    return [*parts, (text[low:], False)]


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
    """A spec without the brackets around it: "[bm25,k1=0.9]" -> "bm25,k1=0.9"."""
    text = text.strip()
    whole = len(_brackets(text)) == 3 and text[0] == "[" and text[-1] == "]"
    return bare(text[1:-1]) if whole else text


def parse(text: str | Spec) -> Spec:
    """Read a spec, with brackets around it or without. Raises InputError that quotes the text and
    names the part that is wrong.
    """
    if isinstance(text, Spec):
        return text
    text = bare(text)
    head, *rest = split(text, ",")
    name, colon, target = head.partition(":")
    if not name:
        raise InputError(f"{text!r} names nothing: expected name[:target][,key=value...]")
    if colon and not target:
        raise InputError(f"{text!r} has nothing after the colon: expected {name}:target")
    params: dict[str, str] = {}
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise InputError(f"{text!r}: {part!r} is not key=value (write a comma as %2C)")
        if key.strip() in params:
            raise InputError(f"{text!r} gives {key.strip()} twice")
        params[key.strip()] = _unquoted(value)
    return Spec(unquote(name), _unquoted(target) if colon else None, tuple(params.items()))


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered factory and what its signature says of it."""

    name: str
    factory: Callable[..., T]

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Parameters by name, the target left out."""
        found = inspect.signature(self.factory).parameters
        return {name: value for name, value in found.items() if name != "target"}

    @property
    def target(self) -> inspect.Parameter | None:
        """The parameter that takes the spec's target, if the factory has one."""
        return inspect.signature(self.factory).parameters.get("target")


class Registry(Generic[T]):
    """Names and the factories behind them: one package of ours, entry points and plugins.

    A module of `package` registers what it holds when it is imported, so adding one is one file.
    """

    def __init__(self, noun: str, package: str) -> None:
        self.noun = noun
        self.package = package
        self._entries: dict[str, Entry[T]] = {}
        self._aliases: dict[str, Spec] = {}
        self._complete = False

    def register(self, name: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorate a factory with the name that specs call it by."""

        def add(factory: Callable[..., T]) -> Callable[..., T]:
            self._claim(name)
            self._entries[name] = Entry(name, factory)
            return factory

        return add

    def alias(self, name: str, spec: str) -> None:
        """Let a short name stand for a spec."""
        self._claim(name)
        self._aliases[name] = parse(spec)

    def _claim(self, name: str) -> None:
        if name in self._entries or name in self._aliases:
            raise InputError(f"{self.noun} {name!r} is registered already: choose another name")

    def _load(self) -> None:
        if self._complete:
            return
        self._complete = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=self.package):
            try:
                point.load()
            except Exception as error:  # whatever a third party raises
                self._complete = False
                raise InputError(
                    f"the {self.noun} {point.name!r} of {point.value} does not load: "
                    f"{reason(error)}; upgrade or uninstall that package"
                ) from error

    def entries(self) -> list[Entry[T]]:
        """All entries, by name."""
        self._load()
        return [self._entries[name] for name in sorted(self._entries)]

    def aliases(self) -> dict[str, Spec]:
        """All short names and what they stand for."""
        self._load()
        return dict(sorted(self._aliases.items()))

    def names(self) -> list[str]:
        """Every name that `create` takes."""
        return sorted([entry.name for entry in self.entries()] + list(self.aliases()))

    def named(self, text: str | Spec, kind: str) -> Spec:
        """A spec as given, or kind:... for a bare hub id or folder."""
        spec = parse(text)
        unknown_here = spec.target is None and spec.name not in self
        if unknown_here and ("/" in spec.name or Path(spec.name).is_dir()):
            return Spec(kind, spec.name, spec.params)
        return spec

    def __contains__(self, name: str) -> bool:
        return name in self.names()

    def resolve(self, text: str | Spec) -> Spec:
        """The full spec: short names replaced, values checked, defaults filled in."""
        spec, entry, values = self._bind(text)
        defaults = {
            name: parameter.default
            for name, parameter in entry.parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
        full = {**defaults, **values}
        written = {key: _written(value) for key, value in sorted(full.items()) if value is not None}
        return Spec(spec.name, spec.target, tuple(written.items()))

    def create(self, text: str | Spec) -> T:
        """Call the factory that a spec names.

        Raises InputError for an unknown name or parameter, with the real choices and the nearest.
        """
        spec, entry, values = self._bind(text)
        if entry.target is not None and spec.target is not None:
            values["target"] = spec.target
        return entry.factory(**values)

    def _bind(self, text: str | Spec) -> tuple[Spec, Entry[T], dict[str, Any]]:
        spec = parse(text)
        self._load()
        if spec.target is None and spec.name in self._aliases:
            spec = self._aliases[spec.name].merged(spec.params)
        if spec.name not in self._entries:
            raise unknown(self.noun, spec.name, self.names())
        entry = self._entries[spec.name]
        if entry.target is None and spec.target is not None:
            raise InputError(f"{self.noun} {spec.name!r} takes no target, yet {text!s} has one")
        if entry.target is not None and spec.target is None and not _optional(entry.target):
            raise InputError(f"{self.noun} {spec.name!r} needs a target: {spec.name}:...")
        hints = get_type_hints(
            entry.factory.__init__ if inspect.isclass(entry.factory) else entry.factory
        )
        values = {}
        for key, value in spec.params:
            if key not in entry.parameters:
                raise unknown(f"parameter of {spec.name}", key, entry.parameters)
            kind = hints.get(key, _kind(entry.parameters[key].default))
            values[key] = _read(value, kind, f"{spec.name}: {key}")
        return spec, entry, values


def _kind(default: object) -> type:
    """The type of a parameter that declares none."""
    return str if default is None or default is inspect.Parameter.empty else type(default)


def _optional(parameter: inspect.Parameter) -> bool:
    return parameter.default is not inspect.Parameter.empty


def unknown(noun: str, name: str, choices: Iterable[str]) -> InputError:
    """An error that lists the real choices, of many those that are near, and the nearest one."""
    known = sorted(choices)
    folded = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    guess = f" Did you mean {folded[near[0]]!r}?" if near else ""
    listed, more = known or ["none"], ""
    if len(known) > LISTED:
        close = difflib.get_close_matches(name.lower(), folded, n=LISTED, cutoff=0.3)
        listed = [folded[choice] for choice in close] or known[:LISTED]
        more = f" and {len(known) - len(listed):,} more"
    return InputError(f"unknown {noun} {name!r}.{guess} Choices: {', '.join(listed)}{more}")


def join(values: Iterable[object]) -> str:
    """Write a list as a parameter has it: 0.1+0.3, [hnsw,M=8]+exact.

    A plus sign that is no part of a spec is percent-encoded; [] is one empty text.
    """
    written = [_written(value) for value in values]
    return LONE if written == [""] else "+".join(map(_item, written))


def _item(text: str) -> str:
    bracketed, plain = f"[{text}]", text.replace("%", "%25").replace("+", "%2B")
    if set(text) & {",", "+"} and BRACKETED.fullmatch(bracketed) and listed(bracketed) == [text]:
        return bracketed
    return plain if text and listed(plain) == [text] else plain.replace("[", "%5B")


def listed(text: str) -> list[str]:
    """Read what `join` writes; a value in brackets comes without them, no text is an empty list.

    listed("0.1+0.3") -> ["0.1", "0.3"]; listed("[hnsw,M=8]+exact") -> ["hnsw,M=8", "exact"]
    """
    if text == LONE:
        return [""]
    parts = split(text, "+") if text else []
    return [bare(part) if bare(part) != part.strip() else _unquoted(part) for part in parts]


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read(text: str, kind: Any, where: str) -> Any:
    """A parameter's text as the type that its factory declares."""
    if get_origin(kind) in (Union, UnionType):
        kind = next(option for option in get_args(kind) if option is not type(None))
    if get_origin(kind) is tuple:
        return tuple(_read(part, get_args(kind)[0], where) for part in listed(text))
    if get_origin(kind) is Literal:
        choices = {_written(choice): choice for choice in get_args(kind)}
        if text not in choices:
            raise InputError(f"{where}={text}: expected one of {', '.join(choices)}")
        return choices[text]
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"{where}={text}: expected true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        noun = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise InputError(f"{where}={text}: expected {noun}") from None


def load_plugin(path: Path) -> None:
    """Run a user's Python file, which registers what it holds. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such plugin file")
    found = importlib.util.spec_from_file_location(f"harness_plugin_{path.stem}", path)
    if found is None or found.loader is None:
        raise InputError(f"{path}: a plugin is a .py or .toml file")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # dataclasses look their own module up there
    try:
        found.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: the plugin fails: {type(error).__name__}: {reason(error)}"
        ) from error
