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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, unquote

from harness.errors import InputError, reason
from harness.parameters import Entry, kind_of, read_value, write_value

T = TypeVar("T")
SAFE = "/:@+"
BRACKETED = re.compile(r"\[[\w./:@+=,%\[\]-]+\]", re.ASCII)  # what may stand in brackets: specs
LISTED = 20  # choices that an error names, at most

_renamings: dict[str, None] = {}  # what was read by an old name, and not told yet


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


def renamings() -> list[str]:
    """Take what is to be said of parameters that were given by old names.

    Returns:
        A line each, as "st: truncate_dim is now called dim"; each is given once.
    """
    lines = list(_renamings)
    _renamings.clear()
    return lines


class Registry(Generic[T]):
    """Names and the factories behind them: one package of ours, entry points and plugins.

    A module of `package` registers what it holds when it is imported, so adding one is one file.
    """

    def __init__(self, noun: str, package: str, *, reserved: Iterable[str] = ()) -> None:
        """Begin without any.

        Args:
            noun: What errors call one.
            package: Whose modules register them; also the group of entry points.
            reserved: Names that none may have.
        """
        self.noun = noun
        self.package = package
        self._reserved = frozenset(reserved)
        self._entries: dict[str, Entry[T]] = {}
        self._aliases: dict[str, Spec] = {}
        self._complete = False

    def register(
        self, name: str, *, renamed: Mapping[str, str] | None = None
    ) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Decorate a factory with the name that specs call it by.

        Args:
            name: Of what is registered.
            renamed: Parameters' old names, which specs may still use, and what they are called now.

        Returns:
            The decorator.
        """

        def add(factory: Callable[..., T]) -> Callable[..., T]:
            self._claim(name)
            self._entries[name] = Entry(name, factory, dict(renamed or {}))
            return factory

        return add

    def alias(self, name: str, spec: str) -> None:
        """Let a short name stand for a spec."""
        self._claim(name)
        self._aliases[name] = parse(spec)

    def _claim(self, name: str) -> None:
        if name in self._reserved:
            raise InputError(f"{self.noun} {name!r}: the name is reserved: choose another name")
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
        written = {
            key: write_value(value) for key, value in sorted(full.items()) if value is not None
        }
        return Spec(spec.name, spec.target, tuple(written.items()))

    def create(self, text: str | Spec) -> T:
        """Call the factory that a spec names.

        Raises InputError for an unknown name or parameter, with the real choices and the nearest.
        """
        spec, entry, values = self._bind(text)
        if entry.target is not None and spec.target is not None:
            values["target"] = spec.target
        return entry.make(values)

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
        hints, values = entry.hints, dict[str, Any]()
        for key, value in _renamed(text, spec, entry).items():
            if key not in entry.parameters:
                raise unknown(f"parameter of {spec.name}", key, entry.parameters)
            kind = hints.get(key, kind_of(entry.parameters[key].default))
            values[key] = read_value(value, kind, f"{spec.name}: {key}")
        return spec, entry, values


def _renamed(text: str | Spec, spec: Spec, entry: Entry[Any]) -> dict[str, str]:
    """A spec's parameters by what they are called now; what was given by an old name is noted."""
    found = dict[str, str]()
    for key, value in spec.params:
        name = entry.renamed.get(key, key)
        if name in found:
            raise InputError(f"{text!s} gives {name} twice: {key} is another name for it")
        if name != key:
            _renamings[f"{parse(text).name}: {key} is now called {name}"] = None
        found[name] = value
    return found


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
