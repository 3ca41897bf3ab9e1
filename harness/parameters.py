"""What a factory takes: its parameters with their types and defaults, as specs write them."""

from __future__ import annotations

import hashlib
import inspect
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from math import inf
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from harness.errors import HarnessError, InputError, reason
from harness.spec import join, scalar, split_list
from harness.threads import PARSING

T = TypeVar("T")
LARGEST = 2**63 - 1  # whole number that arrays and files hold


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered factory and what its signature says of it.

    A parameter whose default is a dataclass stands for that dataclass's fields: specs set these.

    Attributes:
        name: What specs call it.
        factory: Makes what is registered.
        renamed: Parameters' old names and what they are called now.
        place: Where it is defined.
        code: Tells the code behind it from other code; see `identify_code`.
    """

    name: str
    factory: Callable[..., T]
    renamed: Mapping[str, str] = field(default_factory=dict)
    place: str | None = None
    code: str = ""

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Parameters by name, the target left out and dataclasses by their fields."""
        found = dict[str, inspect.Parameter]()
        for parameter in self._signature.values():
            members = _members(parameter.default)
            for name, value in members.items():
                kind, annotation = inspect.Parameter.KEYWORD_ONLY, kind_of(value)
                found[name] = inspect.Parameter(name, kind, default=value, annotation=annotation)
            if not members and parameter.name != "target":
                found[parameter.name] = parameter
        return found

    @property
    def required(self) -> list[str]:
        """Parameters that a spec must give."""
        named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [
            name
            for name, one in self.parameters.items()
            if one.default is inspect.Parameter.empty and one.kind in named
        ]

    @property
    def target(self) -> inspect.Parameter | None:
        """The parameter that takes the spec's target, if the factory has one."""
        return self._signature.get("target")

    @property
    def hints(self) -> dict[str, Any]:
        """The declared type of each parameter that declares one."""
        found = read_hints(self.factory, self.name)
        for parameter in self._signature.values():
            if _members(parameter.default):
                found |= get_type_hints(type(parameter.default))
        return found

    def make(self, values: Mapping[str, Any]) -> T:
        """Call the factory with values by name, the fields of a dataclass put together again."""
        given = dict(values)
        for parameter in self._signature.values():
            members = _members(parameter.default)
            own = {name: given.pop(name) for name in members if name in given}
            if own:
                given[parameter.name] = replace(parameter.default, **own)
        try:
            return self.factory(**given)
        except Exception as error:  # whatever a third party raises
            if isinstance(error, HarnessError) or (self.place or "").startswith("harness."):
                raise
            said = f"{type(error).__name__}: {reason(error)}"
            raise InputError(f"{self.name} cannot be made: {said}") from error

    @property
    def _signature(self) -> Mapping[str, inspect.Parameter]:
        return _read_parameters(self.factory)


def read_hints(factory: Callable[..., object], name: str) -> dict[str, Any]:
    """The types that the parameters of a function or class declare. name: what errors call it."""
    plain = inspect.isclass(factory) and not is_dataclass(factory)
    try:
        return get_type_hints(factory.__init__ if plain else factory)
    except Exception as error:  # an annotation may be anything, and runs here
        raise InputError(
            f"{name}: the type of a parameter cannot be read: {reason(error)}"
        ) from error


@cache  # asked for again and again
def _read_parameters(factory: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    with PARSING:
        return inspect.signature(factory).parameters


def read_signature(factory: Any, name: str) -> inspect.Signature:
    """The parameters of a function or class; name: what errors call it. Raises InputError."""
    try:
        return inspect.signature(factory)
    except (TypeError, ValueError) as error:  # no function, or one of C that does not say
        raise InputError(
            f"{name}: its parameters cannot be read: {reason(error)}: write a function or class "
            "of your own around it"
        ) from None


def require_type(value: object, hint: Any, where: str) -> None:
    """Raise InputError for a value that is not of an annotated type. where: what holds it."""
    if not _fits(value, hint):
        expected = inspect.formatannotation(
            get_args(hint)[0] if get_origin(hint) is ClassVar else hint
        )
        for prefix in ("collections.abc.", "typing."):
            expected = expected.replace(prefix, "")
        raise InputError(f"{where}={value!r}: expected {expected}")


def _fits(value: object, hint: Any) -> bool:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Annotated, ClassVar):
        return _fits(value, parts[0])
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind is Any or (kind is float and type(value) is int):
        return True
    fits = isinstance(value, kind) and not (kind in (int, float) and isinstance(value, bool))
    held: list[tuple[object, Any]] = []
    if parts and isinstance(value, Mapping):
        held = [(one, parts[0]) for one in value] + [(one, parts[1]) for one in value.values()]
    elif parts and isinstance(value, Sequence):  # a text is one, and never meant as one
        fits = fits and not isinstance(value, str)
        held = [(one, parts[0]) for one in value if fits]
    return fits and all(_fits(*each) for each in held)


def check_range(noun: str, **limits: tuple[float, float, float]) -> None:
    """Raise InputError for a parameter out of range.

    Args:
        noun: What has the parameters.
        limits: The value, the lowest and the highest of each; a highest of infinity is none.
    """
    for name, (value, low, high) in limits.items():
        if not low <= value <= high or value == inf:
            least = f"at least {low:g}" if low else "0 or more"
            expected = least if high == inf else f"{low:g} to {high:.0f}"
            raise InputError(f"{noun}: {name}={value}: expected {expected}")


def identify_code(written: object) -> str:
    """What tells code from other code: the SHA-256 of its file, as it is when it is loaded.

    Empty for the harness's own, which is known as a whole. What has no file, as it was typed into
    a notebook, is never known again: another definition may take its place.
    """
    module = inspect.getmodule(written)
    if module is not None and module.__name__.partition(".")[0] == "harness":
        return ""
    code: Any = written
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(code) or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return secrets.token_hex(8)


def _members(default: object) -> dict[str, Any]:
    """The fields of a dataclass by name, with their values; none of anything else."""
    if not is_dataclass(default) or isinstance(default, type):
        return {}
    return {one.name: getattr(default, one.name) for one in fields(default)}


def kind_of(default: object) -> type:
    """The type of a parameter that declares none."""
    return str if default is None or default is inspect.Parameter.empty else type(default)


def write_value(value: object) -> str:
    """Write a value as specs do; a list with plus signs between."""
    return join(value) if isinstance(value, tuple) else scalar(value)


def read_value(text: str, kind: Any, where: str) -> Any:
    """Read a parameter's text as the type that its factory declares.

    Args:
        text: As it stands in a spec.
        kind: The type.
        where: What errors call the parameter.

    Returns:
        The value.

    Raises:
        InputError: The text is none of that type, or no number that arrays hold.
    """
    if get_origin(kind) in (Union, UnionType):
        kind = next(option for option in get_args(kind) if option is not type(None))
    if get_origin(kind) is tuple:
        return tuple(read_value(part, get_args(kind)[0], where) for part in split_list(text))
    if get_origin(kind) is Literal:
        choices = {write_value(choice): choice for choice in get_args(kind)}
        if text.strip() not in choices:  # blanks belong to texts alone
            raise InputError(f"{where}={text}: expected one of {', '.join(choices)}")
        return choices[text.strip()]
    if kind is bool:
        if text.strip().lower() not in ("true", "false"):
            raise InputError(f"{where}={text}: expected true or false")
        return text.strip().lower() == "true"
    try:
        value = kind(text)
    except ValueError:
        noun = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise InputError(f"{where}={text}: expected {noun}") from None
    if kind is float and not math.isfinite(value):
        raise InputError(f"{where}={text}: expected a finite number")
    if kind is int and abs(value) > LARGEST:
        raise InputError(f"{where}={text}: expected a whole number of at most {LARGEST:,}")
    return value
