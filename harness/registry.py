"""The registry behind the grammar: names, the factories behind them, and plugins."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from harness.errors import InputError, RenamedWarning, reason
from harness.parameters import Entry, kind_of, read_value, write_value
from harness.spec import Spec, parse

T = TypeVar("T")
LISTED = 20  # choices that an error names, at most


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

    def infer(self, text: str | Spec, kind: str) -> Spec:
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

    def modern(self, full: str) -> str:
        """A full spec with its parameters under today's names; as it is where it is not known."""
        spec = parse(full)
        names = self._entries[spec.name].renamed if spec.name in self else {}
        params, target = [(names.get(key, key), value) for key, value in spec.params], spec.target
        if target is not None and "target" in names:
            params, target = [*params, (names["target"], target)], None
        return str(Spec(spec.name, target, tuple(sorted(params)))) if names else full

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
            spec = self._aliases[spec.name].with_parameters(spec.params)
        if spec.name not in self._entries:
            raise unknown(self.noun, spec.name, self.names())
        entry = self._entries[spec.name]
        spec = _rename(spec, entry.renamed, parse(text).name)
        if entry.target is None and spec.target is not None:
            raise InputError(f"{self.noun} {spec.name!r} takes no target, yet {text!s} has one")
        if entry.target is not None and spec.target is None and not _optional(entry.target):
            raise InputError(f"{self.noun} {spec.name!r} needs a target: {spec.name}:...")
        hints, values = entry.hints, dict[str, Any]()
        for key, value in spec.params:
            if key not in entry.parameters:
                raise unknown(f"parameter of {spec.name}", key, entry.parameters)
            kind = hints.get(key, kind_of(entry.parameters[key].default))
            values[key] = read_value(value, kind, f"{spec.name}: {key}")
        return spec, entry, values


def _rename(spec: Spec, names: Mapping[str, str], called: str) -> Spec:
    """A spec with the parameters that were renamed under their names of today. called: as asked."""
    target, params, told = spec.target, dict[str, str](), list[str]()
    if target is not None and "target" in names:
        told.append(f"{called}:{target} is now called {called},{names['target']}={target}")
        params[names["target"]], target = target, None
    for key, value in spec.params:
        new = names.get(key, key)
        if new in params:
            raise InputError(f"{spec!s} gives {new} twice: {key} is another name for it")
        if new != key:
            told.append(f"{called}: {key} is now called {new}")
        params[new] = value
    for line in told:
        warnings.warn(line, RenamedWarning, stacklevel=2)
    return Spec(spec.name, target, tuple(params.items()))


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
