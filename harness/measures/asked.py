"""Measures as people ask for them: one name or several, in any usual spelling."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness import promises
from harness.arguments import read_names
from harness.arrays import Float64
from harness.data.rows import read_number
from harness.errors import InputError
from harness.measures import NUMBERED, MeasureDefinition, Value, definitions, fold
from harness.registry import LISTED

SPELLED = re.compile(r"([^()@]+)(?:\(([^()]*)\))?(?:@(.*))?", re.DOTALL)  # RBP(p=0.8)@10
DEEPEST = 10**15  # a cut-off that arrays of whole numbers hold, beyond every corpus


def choose(asked: object, kind: str = "", whose: str = "") -> tuple[Measure, ...]:
    """Read measures under any usual spellings, each once.

    Args:
        asked: Their names, or one name.
        kind: Of the task, as `Measure.parse` takes it.
        whose: What they must fit, for an error; empty where any kind will do.

    Raises:
        InputError: A measure is unknown, is no name, or is one of another kind of task.
    """
    names = read_names("measures", asked)
    chosen = tuple(dict.fromkeys(Measure.parse(name, kind) for name in names))
    for measure in chosen:
        if whose and kind not in measure.kinds:
            raise InputError(f"{measure} does not fit {whose}")
    return chosen


@dataclass(frozen=True)
class Measure:
    """A name with what was chosen of it: parse(str(measure)) == measure.

    cutoff: results of a ranking that count. parameters: what stands in brackets, all but those
    that are unset.
    """

    name: str
    cutoff: int | None = None
    parameters: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        if self.parameters and not self.parameters[0][0]:  # of a family, as ir:NAME
            return f"{self.name}:{self.parameters[0][1]}"
        inner = ",".join(f"{key}={_show(value)}" for key, value in self.parameters)
        brackets = f"({inner})" if inner else ""
        return f"{self.name}{brackets}" + ("" if self.cutoff is None else f"@{self.cutoff}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of task that it can measure."""
        return tuple(one.kind for one in definitions() if one.name == self.name)

    @property
    def depth(self) -> int:
        """Results of a ranking that it looks at; 0 for a measure of something else."""
        known = [one.depth for one in definitions() if one.name == self.name]
        return self.cutoff or max(known, default=0)

    def definition(self, kind: str = "") -> MeasureDefinition:
        """What is registered under its name. Raises InputError for nothing."""
        found = next((one for one in definitions(kind) if one.name == self.name), None)
        if found is None:
            raise unknown_measure(str(self), kind)
        return found

    def values(
        self,
        material: object,
        *,
        kind: str = "retrieval",
        size: int | None = None,
        queries: Sequence[str] = (),
        **given: object,
    ) -> Float64:
        """Call the function, and hold it to what it promises.

        Args:
            material: What functions of this kind of task take first.
            kind: Of the task.
            size: How many values there must be; None for as many as there are groups.
            queries: Ids of what has a value each, for errors.
            given: What it may need beside, by parameter.

        Returns:
            float64 [size]; NaN only where `size` is None.

        Raises:
            InputError: That names the measure, for a function that fails, for a wrong number of
                values, and for what is no finite number.
        """
        known = self.definition(kind)
        options: dict[str, Any] = {key or "name": value for key, value in self.parameters}
        options |= {key: given[key] for key in known.needs}
        if known.cutoff:
            options["cutoff"] = self.cutoff
        found = promises.call(known.function, f"measure {self}", material, **options)
        return promises.read_values(found, f"measure {self} returns", size, queries)

    @classmethod
    def parse(cls, text: str, kind: str = "") -> Measure:
        """Read a measure under any usual spelling.

        Args:
            text: As `nDCG@10`, `MRR@10`, `MAP`, `recall_100`, `ndcg_at_10`, `RBP(p=0.8)`.
            kind: Of the task: where two kinds have measures of one name (AP and ap), whose is
                meant. Case decides where it is empty.

        Returns:
            The measure under its canonical name.

        Raises:
            InputError: With the real choices and the nearest.
        """
        if not isinstance(text, str):
            raise InputError(f"a measure is called {text!r}: expected its name, as nDCG@10")
        text = text.strip()
        family, colon, rest = text.partition(":")
        for one in definitions() if colon else ():
            if one.read and one.name.lower() == family.lower():
                return cls(one.name, None, (("", one.read(rest)),))
        found = SPELLED.fullmatch(text)
        if found is None:
            raise unknown_measure(text, kind)
        name, inner, cutoff = found.groups()
        known = _spelt(name, kind, cutoff is not None)
        if known is None and inner is None and cutoff is None:
            numbered = NUMBERED.fullmatch(name)
            name, cutoff = numbered.groups() if numbered else (name, None)
            known = _spelt(name, kind, cutoff is not None)
        if known is None:
            raise unknown_measure(text, kind)
        known.require_parameters()
        chosen = _parameters(known, inner or "", text)
        return cls(known.name, _cutoff(known, name, cutoff, text), chosen)


def _spelt(name: str, kind: str, cut: bool) -> MeasureDefinition | None:
    """The definition that a name stands for, of this kind first.

    Then one that takes a cut-off where there is one, then one that is spelt in this case.
    """
    found = [one for one in definitions() if fold(name) in map(fold, one.spellings)]
    found.sort(
        key=lambda one: (
            one.kind != kind,
            cut and not one.cutoff,
            name not in one.spellings,
            one.name != name,
        )
    )
    return found[0] if found else None


def _cutoff(known: MeasureDefinition, name: str, cutoff: str | None, text: str) -> int | None:
    """The cut-off that a spelling of a measure has."""
    if cutoff is None:
        implied = {fold(key): value for key, value in known.whole.items()}.get(fold(name))
        if implied is None and known.cutoff is True:
            raise InputError(
                f"measure {text!r}: expected a cut-off of at least 1, as in {known.name}@10"
            )
        return implied
    if not known.cutoff:
        raise InputError(f"unknown measure {text!r}: {known.name} takes no cut-off")
    if not cutoff.isascii() or not cutoff.isdigit() or not cutoff.strip("0"):
        raise InputError(
            f"measure {text!r}: expected a cut-off of at least 1, as in {known.name}@10"
        )
    if len(cutoff) > len(str(DEEPEST)) or int(cutoff) > DEEPEST:
        raise InputError(f"measure {text[:40]!r}: expected a cut-off of at most {DEEPEST:,}")
    return int(cutoff)


def _parameters(known: MeasureDefinition, inner: str, text: str) -> tuple[tuple[str, Value], ...]:
    """What stands in brackets, with defaults filled in: "p=0.8", or 0.8 for the first."""
    own, given = known.parameters, dict[str, str]()
    for place, part in enumerate(filter(None, map(str.strip, inner.split(",")))):
        key, equals, value = part.partition("=")
        key, value = (key.strip(), value.strip()) if equals else ([*own, ""][place], part)
        if key == "rel" and value == "1" and key not in own:
            continue  # ir-measures' way to say that a gain of 1 is relevant, which holds here
        if key not in own:
            known_here = ", ".join(own) or "none"
            raise InputError(
                f"measure {text!r}: {known.name} has no {key or part}: its parameters: {known_here}"
            )
        if key in given:
            raise InputError(f"measure {text!r} gives {key} twice")
        given[key] = value
    read = {key: _number(value, f"measure {text!r}: {key}") for key, value in given.items()}
    defaults = {key: one.default for key, one in own.items() if one.default is not None}
    chosen = defaults | read
    return tuple((key, chosen[key]) for key in own if key in chosen)


def _number(text: str, where: str) -> float:
    value = read_number(text)
    if not math.isfinite(value):
        raise InputError(f"{where}={text}: expected a number")
    return value


def _show(value: Value) -> str:
    return repr(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def unknown_measure(text: str, kind: str = "") -> InputError:
    """An error that lists the real choices, the near ones first, and the nearest by any spelling.

    Args:
        text: What was asked for.
        kind: Of the task, empty for any.
    """
    known = definitions(kind) or definitions()
    folded = {name.lower(): one for one in known for name in one.spellings}
    name, _, cutoff = text.lower().partition("@")
    near = difflib.get_close_matches(name, folded, n=LISTED, cutoff=0.3)
    choices = list(dict.fromkeys(folded[one].written for one in near))
    every = list(dict.fromkeys(one.written for one in known))
    listed = choices + [one for one in every if one not in choices]
    more = f" and {len(every) - LISTED:,} more" if len(every) > LISTED else ""
    guess = ""
    if difflib.get_close_matches(name, near[:1]):
        usual = cutoff if cutoff.isascii() and cutoff.isdigit() else "10"
        guess = f" Did you mean {folded[near[0]].written.replace('@K', f'@{usual}')!r}?"
    asked = text.partition("@")[0]
    return InputError(
        f"unknown measure {asked!r}.{guess} Choices: {', '.join(listed[:LISTED])}{more}"
    )
