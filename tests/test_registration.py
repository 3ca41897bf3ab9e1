"""What is refused where it is registered, what takes the place of what, and what plugins bring."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass, make_dataclass
from importlib.metadata import EntryPoint
from textwrap import dedent

import numpy as np
import pytest

import harness
from harness import registry
from harness.cli import study as command
from harness.encoders import ENCODERS
from harness.errors import HarnessError, InputError
from harness.measures import MEASURES, definitions
from harness.registry import load_plugin
from harness.session import Session
from harness.spec import parse
from harness.store import Store
from harness.studies import COMMAND, STUDIES, Findings, Study, conduct
from harness.systems import RETRIEVERS, rename, split_index
from harness.tasks import catalog
from tests.measures.test_plugin_measures import KIND
from tests.test_plugins import REGISTRIES


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Forget what a test registered."""
    for each in REGISTRIES:
        each.names()
        monkeypatch.setattr(each, "_entries", dict(each._entries))


def texts_of(texts):
    """Vectors of ones."""
    return np.ones((len(texts), 2))


def hits_of(texts, k):
    """Nothing."""
    return [[] for _ in texts]


def refuse(message, register):
    with pytest.raises(HarnessError) as caught:
        register()
    assert str(caught.value) == message


# --- names that are taken -----------------------------------------------------------------------

FRESH = """
    import harness

    def mine(*given):
        return given

    for decorate, name in [
        (harness.encoder, "hashing"), (harness.encoder, "bm25"), (harness.encoder, "minilm"),
        (harness.encoder, "rrf"), (harness.system, "rrf"), (harness.system, "hashing"),
        (harness.study, "scale"), (harness.measure, "nDCG"),
    ]:
        try:
            decorate(name)(mine)
        except harness.InputError as error:
            print(name, *str(error).split()[-4:])
    from harness.encoders import ENCODERS

    print("words" in ENCODERS, ENCODERS.create("hashing").dim)
"""


def test_a_built_in_name_is_refused_in_a_fresh_process():
    words = [sys.executable, "-c", dedent(FRESH)]
    done = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    ends = "choose another name"
    assert [line.split()[0] for line in done[:-1] if line.endswith(ends)] == [
        "hashing", "bm25", "minilm", "rrf", "rrf", "hashing", "nDCG",
    ]  # fmt: skip
    assert done[-1] == "True 256"


THREADS = """
    import sys, threading
    from harness import encoder, registry
    from harness.encoders import ENCODERS
    from harness.indexes import INDEXES

    def load(group):
        if group != "harness.measures":
            return []
        imported.set()  # this thread holds the lock of entry points, and now waits for the module
        began.wait()
        with module:
            return []

    def register():
        with module:  # as the lock of a module that another thread is importing
            began.set()
            imported.wait()
            encoder("mine")(lambda texts: texts)

    imported, began, module = threading.Event(), threading.Event(), threading.Lock()
    registry.load_group = load
    told = []
    threads = [threading.Thread(target=register)]
    threads += [
        threading.Thread(target=lambda: told.append("hnsw" in INDEXES and "hashing" in ENCODERS))
        for _ in range(8)
    ]
    for each in threads:
        each.daemon = True
        each.start()
    for each in threads:
        each.join(60)
    print(told, [each.name for each in threads if each.is_alive()], "mine" in ENCODERS)
"""


@pytest.mark.parametrize("time", range(2))
def test_threads_wait_for_all_that_there_is_and_never_for_each_other(time):
    words = [sys.executable, "-c", dedent(THREADS)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout == f"{[True] * 8} [] True\n"


ASKED = """
    import importlib, pkgutil, harness
    from harness import registry

    registry.load_entry_points = lambda: print("asked")
    for module in pkgutil.walk_packages(harness.__path__, "harness."):
        if not module.name.endswith("__main__") and ".gpu" not in module.name:
            importlib.import_module(module.name)
"""


def test_ours_ask_for_no_names_while_they_are_imported():
    """Else a thread that loads ours waits for one that loads what is installed, and that for it."""
    words = [sys.executable, "-c", dedent(ASKED)]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == ""


def test_encoders_and_systems_share_their_names():
    assert not set(ENCODERS.names()) & set(RETRIEVERS.names())
    harness.system("s1")(hits_of)
    told = "specs could not tell them apart: choose another name"
    refuse(
        f"encoder 's1': harness.systems has one of that name, and {told}",
        lambda: harness.encoder("s1")(texts_of),
    )
    refuse(
        f"retriever 'hashing': harness.encoders has one of that name, and {told}",
        lambda: harness.system("hashing")(hits_of),
    )


@pytest.mark.parametrize("name", ["", "a b,c", "a:b", "a@b", "a+b", "[a]", " a", "-m", "a=b"])
@pytest.mark.parametrize("decorate", [harness.encoder, harness.system, harness.measure])
def test_a_name_that_no_spec_can_have(decorate, name):
    with pytest.raises(InputError, match=r"expected a name of|no name can have the spelling"):
        decorate(name)(texts_of)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"aliases": ("mrr",)}, "'mrr' is a spelling of RR already: choose another"),
        ({"aliases": ("Recall",)}, "'Recall' is a spelling of R already: choose another"),
        ({"mteb": "NDCG"}, "'NDCG' is a spelling of nDCG already: choose another"),
        (
            {"cutoff": True, "whole": {"map": 5}},
            "'map' is a spelling of AP already: choose another",
        ),
        ({"aliases": ("a b@3",)}, "no name can have the spelling 'a b@3'"),
        ({"aliases": ("hit-rate",)}, "'hit-rate' is a spelling of Success already: choose another"),
        ({"aliases": ("P_2",)}, "'P_2' is a spelling of P already: choose another"),
        ({"mteb": "ndcg_cut_2"}, "'ndcg_cut_2' is a spelling of nDCG already: choose another"),
        ({"aliases": ("recall_at_2",)}, "'recall_at_2' is a spelling of R already: choose another"),
        ({"aliases": "xyz"}, "aliases='xyz': expected Sequence[str]"),
        ({"aliases": 3}, "aliases=3: expected Sequence[str]"),
        ({"depth": "a"}, "depth='a': expected int"),
        ({"depth": -1}, "depth=-1: expected 0 or more"),
        ({"citation": 3}, "citation=3: expected str"),
        ({"cutoff": True, "whole": {"x": "7"}}, "whole={'x': '7'}: expected Mapping[str, int]"),
        ({"cutoff": True, "whole": {"x": 0}}, "whole={'x': 0}: expected a cut-off of at least 1"),
        ({"cutoff": True, "whole": {"x": -3}}, "whole={'x': -3}: expected a cut-off of at least 1"),
        ({"whole": {"x": 5}}, "whole={'x': 5}: expected a measure with cutoff"),
        ({"better": "lower"}, "better='lower': expected one of high, low"),
        ({"cutoff": "yes"}, "cutoff='yes': expected one of True, False, optional"),
        (
            {"kind": "retreival"},
            "unknown kind of task 'retreival'. Did you mean 'retrieval'? "
            "A kind of your own is registered before its measures",
        ),
    ],
)
def test_a_measure_that_cannot_be(facts, message):
    before = definitions()
    refuse(f"measure Mine: {message}", lambda: harness.measure("Mine", **facts)(texts_of))
    assert definitions() == before


def test_a_collection_excludes_or_does_not():
    with pytest.raises(InputError, match="exclude_self='no': expected True or False"):
        harness.Collection({"a": "x"}, {"q": "x"}, {"q": ["a"]}, exclude_self="no")


# --- decorators ---------------------------------------------------------------------------------


def test_each_decorator_stands_alone():
    @harness.encoder
    def ones(texts):
        return np.ones((len(texts), 2))

    @harness.measure
    def nothing(judged):
        """Nothing."""
        return np.zeros(judged.size)

    @harness.study
    @dataclass(frozen=True)
    class Few(Study):
        """Few."""

        def run(self, session, systems, task):
            return Findings("few", [])

    assert ones(["a"]).tolist() == [[1, 1]]
    assert "ones" in ENCODERS
    assert harness.system(hits_of) is hits_of
    assert "hits_of" in RETRIEVERS
    assert "retrieval/nothing" in MEASURES
    assert STUDIES.create("Few") == Few()
    refuse(
        "system 5: expected its name, or a function or class to decorate",
        lambda: harness.system(5),
    )


def test_a_definition_that_is_run_again_takes_the_place_of_its_earlier_one():
    cell = """
        import harness, numpy as np

        @harness.encoder("cell")
        def cell(texts):
            return np.full((len(texts), 1), {value})

        @harness.measure("Cell", aliases=("cell_of_mine",))
        def of_cell(judged):
            return np.full(judged.size, {value})
    """
    there = {"__name__": "notebook"}
    for value in (1.0, 2.0):
        exec(dedent(cell.format(value=value)), there)
    assert ENCODERS.create("cell").encode(["a"], "query").values.tolist() == [[2.0]]
    with pytest.raises(InputError, match="encoder 'cell' is registered already"):
        exec(dedent(cell.format(value=3.0)), {"__name__": "other"})


def test_a_plugin_file_may_be_given_twice_and_another_of_its_name_is_another(tmp_path):
    text = "import harness\n@harness.encoder('twice')\ndef f(texts): return {}\n"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
    load_plugin(tmp_path / "a/mine.py")
    load_plugin(tmp_path / "a/mine.py")
    with pytest.raises(InputError, match="encoder 'twice' is registered already"):
        load_plugin(tmp_path / "b/mine.py")


def test_a_class_that_cannot_be_made_is_one_line():
    @harness.encoder("moody")
    class Moody:
        def __init__(self, weights: str, size: int = 1) -> None:
            raise RuntimeError(f"no {weights}")

    refuse(
        "encoder moody,size=2 needs weights: moody,size=2,weights=...",
        lambda: ENCODERS.create("moody,size=2"),
    )
    refuse("moody cannot be made: RuntimeError: no x", lambda: ENCODERS.create("moody,weights=x"))

    class Odd:
        def __init__(self, of: Nowhere = 1) -> None: ...  # noqa: F821

    for decorate in (harness.encoder, harness.system):
        refuse(
            "odd: the type of a parameter cannot be read: name 'Nowhere' is not defined",
            lambda decorate=decorate: decorate("odd")(Odd),
        )


def test_what_has_no_signature_and_no_name_is_one_line():
    own = "write a function or class of your own around it"
    for decorate, noun in ((harness.encoder, "encoder"), (harness.system, "system")):
        with pytest.raises(InputError, match=f"^{noun} 'dict': its parameters cannot .*{own}$"):
            decorate(dict)
    for decorate in (harness.encoder, harness.system, harness.measure, harness.study):
        with pytest.raises(InputError, match=r"^\w+ None: expected its name, or a function or"):
            decorate()


# --- studies ------------------------------------------------------------------------------------


def study_of(returned=None, **fields):
    namespace = {"__doc__": "Made."}
    made = make_dataclass("Made", fields.items(), bases=(Study,), namespace=namespace, frozen=True)
    made.run = lambda self, session, systems, task: returned
    made.__abstractmethods__ = frozenset()
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (texts_of, "expected a frozen dataclass that is a harness.studies.Study and has run"),
        (dataclass(type("Bare", (), {})), "expected a frozen dataclass that is a"),
        (dataclass(type("NoRun", (Study,), {})), "expected a frozen dataclass that is a"),
        (study_of(seed=int), "its field seed is called as an option of the command: rename"),
        (study_of(words=int), "its field words has no default: give it one"),
    ],
)
def test_what_is_no_study_is_refused(made, message):
    with pytest.raises(InputError, match=r"^study 'mine': ") as caught:
        harness.study("mine")(made)
    assert message in str(caught.value)


BAD = [
    ("'Some.'\n    x: 'Nowhere' = 1", "the type of a parameter cannot be read: name 'Nowhere'"),
    ("'Some.'\n    x: int = 'a'", "its field x='a': expected int"),
    (
        "'Some.'\n    x: tuple[int, ...] = (1, 'a')",
        "its field x=(1, 'a'): expected tuple[int, ...]",
    ),
    ("'Some.'\n    x: dict = None", "its field x is dict: expected int, float, str, bool, a"),
    ("'Some.'\n    x: object = 1", "its field x is object: expected int, float, str, bool, a"),
    ("'Some.'\n    takes = 'three'", "takes='three': expected Literal['one', 'many']"),
    ("'Some.'\n    tasks = 'x'", "tasks='x': expected "),
    ("'Some.'\n    default_task = 3", "default_task=3: expected "),
    ("'Some.'\n    default_systems = 'bm25'", "default_systems='bm25': expected "),
    ("x: int = 1", "it has no docstring: say in a line what it tells"),
    (
        "'Some.'\n    def run(self, session): ...",
        "run(self, session): expected run(self, session, sy",
    ),
]


@pytest.mark.parametrize(("body", "message"), BAD)
def test_a_study_that_cannot_be(body, message):
    there = {"Study": Study, "dataclass": dataclass, "__name__": __name__}
    run = "" if "def run" in body else "    def run(self, session, systems, task): ..."
    exec(f"@dataclass(frozen=True)\nclass Some(Study):\n    {body}\n{run}\n", there)
    with pytest.raises(InputError) as caught:
        harness.study("some")(there["Some"])
    assert str(caught.value).startswith(f"study 'some': {message}")


@pytest.mark.parametrize("name", ["cells", "list"])
def test_a_name_that_the_folder_of_studies_needs(name):
    refuse(
        f"study {name!r}: the name is reserved: choose another name",
        lambda: harness.study(name)(study_of()),
    )


def test_the_options_of_the_command_are_those_that_no_field_has():
    taken = set(inspect.signature(command._run).parameters) - {"spec"}
    assert taken | {"format", "help"} == set(COMMAND)


@pytest.mark.parametrize("returned", [None, {}, "text"])
def test_a_study_returns_findings(returned, tmp_path):
    STUDIES.register("mine")(study_of(returned))
    refuse(
        f"study mine: run returned {type(returned).__name__}: expected harness.studies."
        "Findings(headline, frames)",
        lambda: conduct(parse("mine"), Session(Store(tmp_path), 0), ["bm25"], "limit-small"),
    )


PLUGIN = """
    from dataclasses import dataclass
    import harness
    from harness.studies import Findings, Study

    @harness.measure("Half", cutoff=True)
    def half(judged, cutoff):
        "Half of the precision."
        return judged.hits(cutoff) / cutoff / 2

    @harness.study("first")
    @dataclass(frozen=True)
    class First(Study):
        "The first."
        fail: bool = False
        def run(self, session, systems, task):
            return Findings(f"{1 / (not self.fail):g}", [])
"""


def test_a_plugin_stands_before_the_name_of_its_study_or_after(run, tmp_path):
    (tmp_path / "first.py").write_text(dedent(PLUGIN))
    for words in (["--plugin", "first.py", "first"], ["first", "--plugin", "first.py"]):
        done = run("study", *words, "-q", "-f", "markdown")
        assert (done.status, done.out) == (0, "# 1\n\n\n"), done.err
    failed = run("study", "--plugin", "first.py", "first,fail=true", "-q")
    assert (failed.status, failed.err) == (
        1,
        "error: study first fails: ZeroDivisionError: division by zero "
        "(HARNESS_DEBUG=1 shows where)\n",
    )


def test_python_is_loaded_before_tasks_that_name_what_it_registers(run, tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "_extra", [])
    (tmp_path / "first.py").write_text(dedent(PLUGIN))
    (tmp_path / "my.toml").write_text(
        '[mine]\nsource = "limit,docs=9,queries=2,k=1"\nmeasures = ["Half@1"]\n'
    )
    plugins = ["--plugin", "my.toml", "--plugin", "first.py", "--plugin", "my.toml"]
    done = run("tasks", "mine", *plugins, "-f", "csv")
    catalog.definitions.cache_clear()
    assert done.status == 0, done.err


# --- installed packages -------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that names one module, in one group of entry points."""

    def install(text: str, group: str) -> None:
        (tmp_path / "trip.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "trip", raising=False)
        monkeypatch.setattr(registry, "_seen", set())
        point = EntryPoint("trip", "trip", group)
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [point] if group == point.group else []
        )
        catalog.definitions.cache_clear()

    yield install
    sys.modules.pop("trip", None)
    catalog.definitions.cache_clear()


@pytest.mark.parametrize("group", ["harness.kinds", "harness.studies", "harness.rerankers"])
def test_one_module_registers_whatever_it_likes(run, installed, group):
    installed(KIND, group)
    listed = run("measures", "-f", "csv")
    assert "oddity,oddity" in listed.out
    done = run("eval", "-m", "hashing", "-t", "triples", "-q", "-f", "csv")
    assert done.status == 0, done.err


def test_a_broken_package_is_blamed_and_nothing_of_ours(run, installed):
    installed("raise RuntimeError('no libfoo')", "harness.measures")
    for words in (["tasks"], ["eval", "-m", "bm25", "-t", "complex"], ["measures"]):
        done = run(*words)
        assert done.status == 2
        assert done.err == (
            "error: the entry point 'trip' of trip (harness.measures: trip) does not load: "
            "no libfoo; upgrade or uninstall trip\n"
        )


# --- misspelt, and called otherwise once --------------------------------------------------------


def test_what_is_misspelt_is_said_by_what_it_is(run):
    with pytest.raises(InputError, match=r"^unknown index 'nope'\. Choices: binary, exact, "):
        split_index("minilm@nope")
    done = run("eval", "-m", "hashing@hnsw:qdrnt", "-t", "limit-small", "-q")
    assert "unknown preset of hnsw 'qdrnt'. Did you mean 'qdrant'?" in done.err
    assert "is now called" not in done.err
    assert STUDIES.choices() == [entry.name for entry in STUDIES.entries()]
    assert "robust" in STUDIES.names()


@pytest.mark.filterwarnings("ignore::harness.errors.RenamedWarning")
def test_a_record_says_todays_names(tmp_path):
    session = Session(Store(tmp_path), 0)
    tiny = "limit,docs=9,queries=2,k=1"
    asked = ["tfidf-svd,dimensions=2@int8,rescore=3", "tfidf-svd,dim=2@int8,oversample=3"]
    one, same = (session.evaluate(system, tiny).record for system in asked)
    assert (one.name, one.id) == (same.name, same.id)
    assert one.name == "tfidf-svd,dim=2 @ int8,oversample=3"
    assert rename("intfloat/e5-small,truncate_dim=8") == "intfloat/e5-small,dim=8"
    assert rename("minilm, dim=8") == "minilm, dim=8"
