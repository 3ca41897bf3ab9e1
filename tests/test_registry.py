"""Registries: what registers itself, what parameters become, what is refused, plugins."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from harness import registry as module
from harness.errors import InputError, RenamedWarning
from harness.registry import Registry, load_plugin, unknown
from harness.spec import Spec, parse

SHAPES = """
from __future__ import annotations
from typing import Any
from harness.registry import Registry
SHAPES: Registry[Any] = Registry("shape", "shapes")
"""
SQUARE = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import Literal, Optional
from shapes import SHAPES

@SHAPES.register("square")
@dataclass(frozen=True)
class Square:
    """Four equal sides.

    And more.
    """
    side: int = 1
    tilt: float = 0.5
    filled: bool = False
    line: Literal["solid", "dotted"] = "solid"
    ink: Literal[1, 2] = 1
    name: str = "sq"
    limit: int | None = None
    label: Optional[str] = None

SHAPES.alias("tile", "square,side=3,filled=true")
'''
DRAWN = '''
from shapes import SHAPES

@SHAPES.register("drawn")
def drawn(target: str, scale: float = 1.0):
    """A shape from a file."""
    return target, scale

@SHAPES.register("sketch")
def sketch(target: str = "blank"):
    return target

@SHAPES.register("loose")
def loose(size=7, name=None):
    return size, name

@SHAPES.register("strict")
def strict(size: int):
    return size

SHAPES.alias("logo", "drawn:logo.svg")
'''


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to import from; what is imported from it is forgotten."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("shapes", "outside") or name.startswith("harness_plugin_"):
            del sys.modules[name]


@pytest.fixture
def shapes(modules: Path) -> Registry[Any]:
    package = modules / "shapes"
    package.mkdir()
    for name, text in (("__init__", SHAPES), ("square", SQUARE), ("drawn", DRAWN)):
        (package / f"{name}.py").write_text(text, "utf-8")
    importlib.invalidate_caches()
    return importlib.import_module("shapes").SHAPES


def test_modules_of_the_package_register_themselves(shapes):
    assert shapes.names() == ["drawn", "logo", "loose", "sketch", "square", "strict", "tile"]
    assert [entry.name for entry in shapes.entries()] == [
        "drawn",
        "loose",
        "sketch",
        "square",
        "strict",
    ]
    assert shapes.aliases() == {
        "logo": parse("drawn:logo.svg"),
        "tile": parse("square,side=3,filled=true"),
    }
    assert "tile" in shapes
    assert "circle" not in shapes


def test_a_package_is_there_whole_or_not_at_all(shapes, modules):
    late = modules / "shapes" / "late.py"
    late.write_text("from shapes import SHAPES\nSHAPES.register('late')(dict)\n1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            shapes.names()
        del shapes._entries["late"]
    late.unlink()
    importlib.invalidate_caches()
    assert len(shapes.names()) == 7


def test_an_entry_describes_its_factory(shapes):
    drawn, loose, sketch, square, _ = shapes.entries()
    assert square.summary == "Four equal sides."
    assert list(square.parameters)[:2] == ["side", "tilt"]
    assert square.target is None
    assert list(drawn.parameters) == ["scale"]
    assert drawn.target is not None
    assert sketch.target.default == "blank"
    assert loose.summary == ""


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("square", "side", 1),
        ("square,side=4", "side", 4),
        ("square,tilt=2", "tilt", 2.0),
        ("square,tilt=1e-3", "tilt", 0.001),
        ("square,filled=true", "filled", True),
        ("square,filled=False", "filled", False),
        ("square,line=dotted", "line", "dotted"),
        ("square,ink=2", "ink", 2),
        ("square,limit=5", "limit", 5),
        ("square", "limit", None),
        ("square,label=7", "label", "7"),
        ("square,name=a%20b", "name", "a b"),
        ("tile", "side", 3),
        ("tile", "filled", True),
        ("tile,side=9", "side", 9),
    ],
)
def test_values_take_the_declared_type(shapes, text, field, value):
    found = getattr(shapes.create(text), field)
    assert (found, type(found)) == (value, type(value))


def test_targets(shapes):
    assert shapes.create("drawn:a/b.svg,scale=2") == ("a/b.svg", 2.0)
    assert shapes.create("logo") == ("logo.svg", 1.0)
    assert shapes.create("logo,scale=3") == ("logo.svg", 3.0)
    assert shapes.create("sketch") == "blank"
    assert shapes.create("sketch:full") == "full"
    assert shapes.create(Spec("drawn", "x")) == ("x", 1.0)


def test_a_parameter_that_declares_no_type_has_that_of_its_default(shapes):
    assert shapes.create("loose") == (7, None)
    assert shapes.create("loose,size=8,name=9") == (8, "9")
    with pytest.raises(InputError, match="loose: size=x: expected a whole number"):
        shapes.create("loose,size=x")


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("square", "square,filled=false,ink=1,line=solid,name=sq,side=1,tilt=0.5"),
        (
            "tile,limit=07,label=a%20b",
            "square,filled=true,ink=1,label=a%20b,limit=7,line=solid,name=sq,side=3,tilt=0.5",
        ),
        ("logo", "drawn:logo.svg,scale=1.0"),
        ("sketch", "sketch"),
        ("loose", "loose,size=7"),
    ],
)
def test_a_resolved_spec_has_every_value(shapes, text, full):
    assert str(shapes.resolve(text)) == full
    assert shapes.resolve(full) == shapes.resolve(text)
    assert shapes.create(full) == shapes.create(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sqare",
            "unknown shape 'sqare'. Did you mean 'square'? "
            "Choices: drawn, logo, loose, sketch, square, strict, tile",
        ),
        ("SQUARE", "Did you mean 'square'?"),
        ("zzz", "unknown shape 'zzz'. Choices: drawn"),
        ("square,sid=3", "unknown parameter of square 'sid'. Did you mean 'side'? Choices: filled"),
        ("drawn:x,target=y", "unknown parameter of drawn 'target'. Choices: scale"),
        ("square:x", "shape 'square' takes no target, yet square:x has one"),
        ("tile:x", "unknown shape 'tile'"),
        ("drawn", "shape 'drawn' needs a target: drawn:..."),
        ("square,side=x", "square: side=x: expected a whole number"),
        ("square,side=1.5", "square: side=1.5: expected a whole number"),
        ("square,side=", "square: side=: expected a whole number"),
        ("square,tilt=x", "square: tilt=x: expected a number"),
        ("square,filled=yes", "square: filled=yes: expected true or false"),
        ("square,line=wavy", "square: line=wavy: expected one of solid, dotted"),
        ("square,ink=3", "square: ink=3: expected one of 1, 2"),
        ("square,limit=none", "square: limit=none: expected a whole number"),
    ],
)
@pytest.mark.parametrize("ask", ["create", "resolve"])
def test_errors_say_what_is_there(shapes, ask, text, message):
    with pytest.raises(InputError) as caught:
        getattr(shapes, ask)(text)
    assert message in str(caught.value)


def test_the_nearest_name_is_found_whatever_its_case():
    assert "Did you mean 'nDCG@K'?" in str(unknown("measure", "NDCG@k", ["nDCG@K", "AP@K"]))
    assert str(unknown("thing", "x", [])) == "unknown thing 'x'. Choices: none"


def test_of_many_names_those_that_are_near_are_listed():
    """Twenty-one are more than an error lists: those alike, or, where none is, the first."""
    many = [*(f"alpha{i}" for i in range(4)), *(letter * 9 for letter in "bcdefghijklmnopqr")]
    assert str(unknown("task", "alpha", many)) == (
        "unknown task 'alpha'. Did you mean 'alpha3'? "
        "Choices: alpha3, alpha2, alpha1, alpha0 and 17 more"
    )
    message = str(unknown("task", "?", many))
    assert "Did you mean" not in message
    assert message.endswith(f"Choices: {', '.join(sorted(many)[:20])} and 1 more")
    assert str(unknown("task", "?", many[:20])).endswith(f"Choices: {', '.join(many[:20])}")


def test_a_name_is_registered_once():
    registry: Registry[int] = Registry("number", "nowhere")
    registry._complete = True
    registry.register("one")(lambda: 1)
    registry.alias("uno", "one")
    for claim in (
        lambda: registry.register("one")(lambda: 2),
        lambda: registry.register("uno")(lambda: 2),
        lambda: registry.alias("one", "uno"),
    ):
        with pytest.raises(InputError, match=r"number '(one|uno)' is registered already"):
            claim()


# --- third parties ------------------------------------------------------------------------------

PLUGIN = """
    from __future__ import annotations
    from dataclasses import dataclass
    from shapes import SHAPES

    @SHAPES.register("circle")
    @dataclass(frozen=True)
    class Circle:
        \"\"\"Round.\"\"\"
        radius: float = 1.0
"""


def plugin(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(dedent(text), "utf-8")
    return path


def test_a_plugin_file_registers_what_it_holds(shapes, tmp_path):
    load_plugin(plugin(tmp_path, PLUGIN))
    assert shapes.create("circle,radius=2").radius == 2.0
    assert str(shapes.resolve("circle")) == "circle,radius=1.0"
    assert "square" in shapes


def test_a_plugin_cannot_take_a_name_that_is_taken(shapes, tmp_path):
    shapes.names()
    with pytest.raises(InputError, match=r"^shape 'square' is registered already"):
        load_plugin(plugin(tmp_path, PLUGIN.replace("circle", "square")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "mine.py: the plugin fails: ZeroDivisionError: division by zero"),
        ("def", "mine.py: the plugin fails: SyntaxError: invalid syntax"),
        ("import no_such_module", "the plugin fails: ModuleNotFoundError: No module named"),
    ],
)
def test_a_broken_plugin_is_named(modules, text, message):
    with pytest.raises(InputError) as caught:
        load_plugin(plugin(modules, text))
    assert message in str(caught.value)


def test_a_plugin_is_a_python_file_that_exists(modules):
    with pytest.raises(InputError, match=r"none\.py: no such plugin file"):
        load_plugin(modules / "none.py")
    with pytest.raises(InputError, match=r"notes\.txt: a plugin is a \.py"):
        load_plugin(plugin(modules, "", "notes.txt"))


def test_entry_points_of_the_package_s_name_are_loaded(shapes, modules, monkeypatch):
    plugin(modules, PLUGIN, "outside.py")
    asked = []

    def entry_points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("circle", "outside:Circle", group)] if group == "shapes" else []

    monkeypatch.setattr(module, "entry_points", entry_points)
    assert shapes.create("circle").radius == 1.0
    assert "circle" in shapes.names()
    assert asked.count("shapes") == 1


def test_a_broken_entry_point_is_named(shapes, monkeypatch):
    def load() -> None:
        raise RuntimeError("needs libfoo\nand more")

    point = SimpleNamespace(
        name="blob",
        value="other.pkg:Blob",
        load=load,
        group="shapes",
        dist=SimpleNamespace(name="other"),
    )
    monkeypatch.setattr(module, "entry_points", lambda group: [point])
    for _ in range(2):  # it is never half loaded
        with pytest.raises(InputError) as caught:
            shapes.names()
        assert str(caught.value) == (
            "the entry point 'blob' of other (shapes: other.pkg:Blob) does not load: needs libfoo; "
            "upgrade or uninstall other"
        )


# --- options that several factories share, and names that were others once ----------------------


@dataclass(frozen=True)
class Pen:
    """What is shared: its fields are parameters."""

    width: float = 1.0
    colour: str | None = None
    round: bool = False

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise InputError(f"width={self.width}: expected more than 0")


@pytest.fixture
def drawings() -> Registry[tuple[Pen, int]]:
    registry: Registry[tuple[Pen, int]] = Registry("drawing", "tests")
    registry._complete = True

    @registry.register("line", renamed={"thickness": "width", "len": "length"})
    def line(*, pen: Pen = Pen(width=2.0), length: int = 3) -> tuple[Pen, int]:
        """Draw."""
        return pen, length

    registry.alias("thin", "line,width=0.5")
    return registry


@pytest.mark.parametrize(
    ("text", "made", "full"),
    [
        ("line", (Pen(2.0), 3), "line,length=3,round=false,width=2.0"),
        ("line,width=4,length=5", (Pen(4.0), 5), "line,length=5,round=false,width=4.0"),
        ("line,round=true,colour=red", (Pen(2.0, "red", True), 3),
         "line,colour=red,length=3,round=true,width=2.0"),
        ("thin,length=1", (Pen(0.5), 1), "line,length=1,round=false,width=0.5"),
    ],
)  # fmt: skip
def test_the_fields_of_a_dataclass_are_parameters(drawings, text, made, full):
    assert drawings.create(text) == made
    assert str(drawings.resolve(text)) == full
    assert drawings.create(full) == made


def test_what_is_wrong_with_a_field_is_said_as_ever(drawings):
    [entry] = drawings.entries()
    assert list(entry.parameters) == ["width", "colour", "round", "length"]
    for text, message in {
        "line,pen=x": "unknown parameter of line 'pen'",
        "line,colou=x": "Did you mean 'colour'? Choices: colour, length, round, width",
        "line,width=x": "line: width=x: expected a number",
        "line,width=-1": "width=-1.0: expected more than 0",
    }.items():
        with pytest.raises(InputError) as error:
            drawings.create(text)
        assert message in str(error.value)


def test_an_old_name_is_read_and_told(drawings):
    with pytest.warns(RenamedWarning) as told:
        made = drawings.create("line,thickness=4,len=5")
    assert made == (Pen(4.0), 5)
    assert [str(one.message) for one in told] == [
        "line: thickness is now called width",
        "line: len is now called length",
    ]
    with pytest.warns(RenamedWarning, match="^thin: len is now called length$"):
        found = drawings.resolve("thin,len=1")
    assert str(found) == str(drawings.resolve("thin,length=1"))
    with pytest.raises(InputError, match="gives width twice: thickness is another name for it"):
        drawings.create("line,width=1,thickness=2")


def test_a_reserved_name_is_nobody_s():
    registry: Registry[int] = Registry("number", "nowhere", reserved=("none",))
    with pytest.raises(InputError, match="number 'none': the name is reserved"):
        registry.register("none")(lambda: 1)
    with pytest.raises(InputError, match="number 'none': the name is reserved"):
        registry.alias("none", "one")
