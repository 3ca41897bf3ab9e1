"""The registry behind the grammar: names, the factories behind them, and plugins."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from os.path import expanduser, isdir
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from harness.errors import InputError, RenamedWarning, reason, warn_caller
from harness.parameters import Entry, identify_code, kind_of, read_value, write_value
from harness.spec import Spec, parse, refuse_secrets

T = TypeVar("T")
LISTED = 20  # choices that an error names, at most
NAME = re.compile(r"\w[\w./-]*")  # what specs, lists of them, and @INDEX leave of a name

_registries: dict[str, Registry[Any]] = {}
_seen: set[str] = set()  # groups whose entry points are loaded
# Who loads holds a lock, may ask again meanwhile, and others wait. Modules of ours ask for no names
# while they are imported, so the first is never held by one who waits for the second.
_ours, _installed = threading.RLock(), threading.RLock()
_thread = threading.local()  # registering: whether somebody's module may be half imported here

GROUPS = (
    "harness.kinds", "harness.measures", "harness.sources", "harness.encoders", "harness.rerankers",
    "harness.systems", "harness.indexes", "harness.rewriting", "harness.studies",
)  # fmt: skip
"""Groups of entry points. All are loaded together: one module may register whatever it likes."""


@dataclass(frozen=True)
class Alias:
    """A short name. place: where it is defined. old: the spec's name has taken its place."""

    spec: Spec
    place: str | None
    old: bool = False


class Registry(Generic[T]):
    """Names and the factories behind them: one package of ours, entry points and plugins.

    A module of `package` registers what it holds when it is imported, so adding one is one file.
    """

    def __init__(
        self,
        noun: str,
        package: str,
        *,
        reserved: Iterable[str] = (),
        beside: str = "",
        check: Callable[[str, object], None] | None = None,
    ) -> None:
        """Begin without any.

        Args:
            noun: What errors call one.
            package: Whose modules register them; also the group of entry points.
            reserved: Names that none may have.
            beside: The package of another registry whose names stand where these do.
            check: Refuses what is no such thing, by its name; raises InputError.
        """
        self.noun = noun
        self.package = package
        self._reserved = frozenset(reserved)
        self._beside = beside
        self._check = check
        self._entries: dict[str, Entry[T]] = {}
        self._aliases: dict[str, Alias] = {}
        self._complete = False
        _registries[package] = self
        _seen.discard(package)

    @overload
    def register(
        self, name: str, *, renamed: Mapping[str, str] | None = None, of: object = None
    ) -> Callable[[Callable[..., T]], Callable[..., T]]: ...
    @overload
    def register(self, name: Callable[..., T]) -> Callable[..., T]: ...
    def register(
        self, name: object = None, *, renamed: Mapping[str, str] | None = None, of: object = None
    ) -> Any:
        """Decorate a factory with the name that specs call it by.

        Args:
            name: Of what is registered; without one (the decorator alone), the factory's own.
            renamed: Parameters' old names, which specs may still use, and what they are called now.
            of: What the factory was made of, where that is something else. A definition that is
                run again, as a cell of a notebook, takes the place of its earlier one.

        Returns:
            The decorator.
        """

        def add(name: str, factory: Callable[..., T]) -> Callable[..., T]:
            made = factory if of is None else of
            place = place_of(made)
            entry = Entry(name, factory, dict(renamed or {}), place, identify_code(made))
            if self._check:
                self._check(name, factory)
            self._claim(name, place)
            self._entries[name] = entry
            return factory

        return decorate(name, add, self.noun)

    def alias(self, name: str, spec: str, *, old: bool = False) -> None:
        """Let a short name stand for a spec. old: for what is called by another name now."""
        place = f"{sys._getframe(1).f_globals['__name__']}.{name}"
        self._claim(name, place)
        self._aliases[name] = Alias(parse(spec), place, old)

    def _claim(self, name: str, place: str | None) -> None:
        """Refuse a name that none can have, or that another definition has. Raises InputError."""
        if not NAME.fullmatch(name):
            raise InputError(
                f"{self.noun} {name!r}: expected a name of letters, digits, and . _ - / after them"
            )
        if name in self._reserved:
            raise InputError(f"{self.noun} {name!r}: the name is reserved: choose another name")
        if foreign := not self.owns(place):  # ours register themselves while they are loaded
            self._load()
        known = self._entries.get(name) or self._aliases.get(name)
        if known and (place is None or known.place != place):
            raise InputError(f"{self.noun} {name!r} is registered already: choose another name")
        if foreign and self._beside and name in names_of(self._beside):
            raise InputError(
                f"{self.noun} {name!r}: {self._beside} has one of that name, and specs could not "
                "tell them apart: choose another name"
            )

    def owns(self, place: str | None) -> bool:
        """Whether something is defined in the registry's own package."""
        return place is not None and place.startswith(f"{self.package}.")

    def _load(self) -> None:
        """Bring all that there is, or raise: never a part of it."""
        with _ours:
            if not self._complete:
                self._complete = True  # what is imported may ask
                try:
                    package = importlib.import_module(self.package)
                    for module in pkgutil.iter_modules(package.__path__):
                        importlib.import_module(f"{self.package}.{module.name}")
                except BaseException:
                    self._complete = False
                    raise
        load_entry_points()

    def entries(self) -> list[Entry[T]]:
        """All entries, by name."""
        self._load()
        return [self._entries[name] for name in sorted(self._entries)]

    def aliases(self) -> dict[str, Spec]:
        """All short names and what they stand for."""
        self._load()
        return {name: alias.spec for name, alias in sorted(self._aliases.items())}

    def names(self) -> list[str]:
        """Every name that `create` takes."""
        return sorted([entry.name for entry in self.entries()] + list(self.aliases()))

    def choices(self) -> list[str]:
        """The names that there are to choose from: all but old ones."""
        old = {name for name, alias in self._aliases.items() if alias.old}
        return [name for name in self.names() if name not in old]

    def infer(self, text: str | Spec, kind: str) -> Spec:
        """A spec as given, or kind:... for a bare hub id or folder, whose name may hold a colon."""
        spec = parse(text)
        whole = spec.name if spec.target is None else f"{spec.name}:{spec.target}"
        bare = ("/" in spec.name and spec.target is None) or isdir(expanduser(whole))
        return Spec(kind, whole, spec.params) if bare and spec.name not in self else spec

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
        full = sorted((defaults | values).items())
        written = tuple((key, write_value(value)) for key, value in full if value is not None)
        return Spec(spec.name, spec.target, written)

    def modern(self, full: str) -> str:
        """A full spec with its parameters under today's names; as it is where it is not known."""
        spec = parse(full)
        names = self._entries[spec.name].renamed if spec.name in self else {}
        params, target = [(names.get(key, key), value) for key, value in spec.params], spec.target
        if target is not None and "target" in names:
            params, target = [*params, (names["target"], target)], None
        return str(Spec(spec.name, target, tuple(sorted(params)))) if names else full

    def rename(self, text: str, name: str = "") -> str:
        """A spec as it was asked for, its parameters under today's names.

        Args:
            text: The spec.
            name: Of the entry, where the spec has a short form of it.

        Returns:
            The same text where nothing is called otherwise now. Warns as `create` does.
        """
        self._load()
        asked = parse(text)
        alias = self._aliases.get(name or asked.name)
        entry = self._entries.get(alias.spec.name if alias else name or asked.name)
        spec = _rename(asked, entry.renamed, asked.name) if entry else asked
        return text if spec == asked else str(spec)

    def create(self, text: str | Spec) -> T:
        """Call the factory that a spec names.

        Raises InputError for an unknown name or parameter, with the real choices and the nearest.
        """
        spec, entry, values = self._bind(text)
        if entry.target is not None and spec.target is not None:
            values["target"] = spec.target
        made = entry.make(values)  # which may say better what is wrong
        refuse_secrets(spec)
        return made

    def code(self, text: str | Spec) -> str:
        """What tells the code behind a spec from other code: see `parameters.identify_code`."""
        return self._bind(text)[1].code

    def _bind(self, text: str | Spec) -> tuple[Spec, Entry[T], dict[str, Any]]:
        spec = parse(text)
        self._load()
        if spec.target is None and spec.name in self._aliases:
            spec = self._aliases[spec.name].spec.with_parameters(spec.params)
        if spec.name not in self._entries:
            raise unknown(self.noun, spec.name, self.choices())
        entry = self._entries[spec.name]
        spec = _rename(spec, entry.renamed, parse(text).name)
        if entry.target is None and spec.target is not None:
            raise InputError(f"{self.noun} {spec.name!r} takes no target, yet {text!s} has one")
        if entry.target and spec.target is None and entry.target.default is inspect.Parameter.empty:
            raise InputError(f"{self.noun} {spec.name!r} needs a target: {spec.name}:...")
        hints, values = entry.hints, dict[str, Any]()
        for key, value in spec.params:
            if key not in entry.parameters:
                raise unknown(f"parameter of {spec.name}", key, entry.parameters)
            kind = hints.get(key, kind_of(entry.parameters[key].default))
            values[key] = read_value(value, kind, f"{spec.name}: {key}")
        if missing := [key for key in entry.required if key not in values]:
            wanted = ",".join(f"{key}=..." for key in missing)
            raise InputError(f"{self.noun} {spec!s} needs {', '.join(missing)}: {spec!s},{wanted}")
        return spec, entry, values


def names_of(package: str) -> list[str]:
    """What the registry of a package knows, which may stand above the one that asks."""
    importlib.import_module(package)
    return _registries[package].names()


def place_of(made: object) -> str | None:
    """Where a function or class is defined, the same when it is run again; None for others."""
    if not (inspect.isfunction(made) or inspect.isclass(made)) or made.__name__ == "<lambda>":
        return None
    return f"{made.__module__}.{made.__qualname__}"


def decorate(name: object, add: Callable[[str, Any], Any], noun: str) -> Any:
    """What a decorator gives back, with a name in brackets or alone.

    Args:
        name: The name, or what is decorated and has its own.
        add: Registers something by a name, and gives it back.
        noun: What errors call it.

    Returns:
        The decorator, or what was decorated.

    Raises:
        InputError: It is neither.
    """
    if isinstance(name, str):
        return partial(_register, add, name)
    if not (inspect.isfunction(name) or inspect.isclass(name)):
        raise InputError(f"{noun} {name!r}: expected its name, or a function or class to decorate")
    return _register(add, name.__name__, name)


def _register(add: Callable[[str, Any], Any], name: str, made: Any) -> Any:
    before, _thread.registering = vars(_thread).get("registering", False), True
    try:
        return add(name, made)
    finally:
        _thread.registering = before


def load_entry_points() -> None:
    """Import what installed packages register, once. Raises InputError, again each time.

    Who registers does not wait: another thread that loads may wait for the very module.
    """
    if not _installed.acquire(blocking=not vars(_thread).get("registering")):
        return
    groups = [group for group in dict.fromkeys([*GROUPS, *_registries]) if group not in _seen]
    _seen.update(groups)  # what is imported may ask for names
    try:
        for group in groups:
            load_group(group)
    except BaseException:
        _seen.difference_update(groups)
        raise
    finally:
        _installed.release()


def load_group(group: str) -> list[object]:
    """What the entry points of a group name. Raises InputError that names the package at fault."""
    return [_load_point(point) for point in entry_points(group=group)]


def _load_point(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # whatever a third party raises
        package = point.dist.name if point.dist else point.value.partition(":")[0]
        raise InputError(
            f"the entry point {point.name!r} of {package} ({point.group}: {point.value}) does not "
            f"load: {reason(error)}; upgrade or uninstall {package}"
        ) from error


def _rename(spec: Spec, names: Mapping[str, str], called: str) -> Spec:
    """A spec with the parameters that were renamed under their names of today. called: as asked."""
    target, params, told = spec.target, dict[str, str](), list[str]()
    given = {names.get(key, key): key for key, _ in spec.params if key in names}
    if target is not None and "target" in names:
        told.append(f"{called}:{target} is now called {called},{names['target']}={target}")
        params[names["target"]], target = target, None
        given[names["target"]] = "what follows the colon"
    for key, value in spec.params:
        new = names.get(key, key)
        if new in params:
            raise InputError(f"{spec!s} gives {new} twice: {given[new]} is another name for it")
        if new != key:
            told.append(f"{called}: {key} is now called {new}")
        params[new] = value
    for line in told:
        warn_caller(line, RenamedWarning)
    return Spec(spec.name, target, tuple(params.items()))


def unknown(noun: str, name: str, choices: Iterable[str]) -> InputError:
    """An error that lists the real choices, of many those that are near, and the nearest one."""
    known = sorted(choices)
    folded = {choice.lower(): choice for choice in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    guess = f" Did you mean {folded[near[0]]!r}?" if near else ""
    listed, more = known or ["none"], ""
    if len(known) > LISTED:
        close = difflib.get_close_matches(name.lower(), folded, n=LISTED)
        listed = [folded[choice] for choice in close] or known[:LISTED]
        more = f" and {len(known) - len(listed):,} more"
    return InputError(f"unknown {noun} {name!r}.{guess} Choices: {', '.join(listed)}{more}")


def load_plugin(path: Path) -> None:
    """Run a user's Python file, which registers what it holds. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such plugin file")
    whole = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]  # of a.py, not b/a.py
    found = importlib.util.spec_from_file_location(f"harness_plugin_{path.stem}_{whole}", path)
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
