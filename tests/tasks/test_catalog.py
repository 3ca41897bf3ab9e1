from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import evaluate
from harness.data import Pairs, Retrieval
from harness.measures.asked import Measure
from harness.registry import LISTED
from harness.sources import SOURCES
from harness.spec import parse
from harness.tasks import catalog
from harness.tasks.catalog import Definition, Suite
from tests.sources.writing import QRELS, complaint, write_collection, write_rows

OWN = frozenset(catalog.definitions())
FAMILIES = {"limit", "complex", "crumb"}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test adds to the catalog is gone after it."""
    monkeypatch.setattr(catalog, "_extra", list(catalog._extra))
    catalog.definitions.cache_clear()
    yield
    monkeypatch.undo()
    catalog.definitions.cache_clear()


def write(path: Path, toml: str) -> Path:
    path.write_text(toml, "utf-8")
    return path


# our own tasks


def test_own_tasks() -> None:
    found = catalog.definitions()
    assert {"limit-small", "limit-1k", "limit", "limit:hub", "complex-mixed"} <= OWN
    assert {name: d.name for name, d in found.items()} == {name: name for name in OWN}
    assert {d.family for d in found.values()} == FAMILIES
    assert all(d.description and d.license and d.measures for d in found.values())
    assert all(d.reference.startswith("https://") for d in found.values())


@pytest.mark.parametrize("name", ["limit-small", "limit-1k"])  # the others: tests/sources
def test_own_task_is_what_it_declares(name: str) -> None:
    task = catalog.task(name)
    data = task.load()
    assert isinstance(data, Retrieval)
    declared = catalog.definitions()[name]
    assert (len(data.corpus), len(data.queries)) == (declared.documents, declared.queries)
    assert data.qrels.judged.all()
    assert (task.spec, task.exclude_self) == (name, None)
    assert max(measure.cutoff or 0 for measure in task.measures(data)) <= len(data.corpus)


def test_source_of_a_task_has_its_defaults_filled_in() -> None:
    assert str(catalog.task("limit-small").source) == (
        "limit,attributes=45,docs=46,k=2,pattern=dense,queries=1000,relevant=0,seed=0,synonyms=false"
    )


def test_main_measure_is_the_first() -> None:
    task = catalog.task("limit-small")
    assert [str(measure) for measure in task.measures(task.load())] == [
        "R@2",
        "R@10",
        "R@20",
        "nDCG@10",
    ]


def test_suites_name_tasks_and_hide_behind_none() -> None:
    suites = catalog.suites()
    assert suites["core"].tasks == ["limit-small", "limit-1k"]
    assert set(suites) & set(catalog.definitions()) == {"limit"}
    for name, suite in suites.items():
        assert suite.name == name
        assert suite.description
        assert catalog.expand([f"suite:{name}"]) == list(suite.tasks)
        assert [catalog.task(task).spec for task in suite.tasks] == list(suite.tasks)
    assert catalog.expand(["limit"]) == ["limit"]  # the task
    assert catalog.expand(["nano"]) == list(suites["nano"].tasks)


def test_expand_keeps_the_order_and_each_spec_once() -> None:
    assert catalog.expand(["limit", "core", "limit-small", "no-such", "limit-1k", "limit"]) == [
        "limit",
        "limit-small",
        "limit-1k",
        "no-such",
    ]
    assert catalog.expand(["limit-1k", "core"]) == ["limit-1k", "limit-small"]
    different = ["limit-small", "limit-small,seed=1"]
    assert catalog.expand(different) == different
    assert catalog.expand([]) == []


def test_a_task_goes_before_a_suite_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    suites = {"limit": Suite("limit", "", ["limit-small"]), "s": Suite("s", "", ["limit-1k"])}
    monkeypatch.setattr(catalog, "suites", lambda: suites)
    assert catalog.expand(["limit", "s"]) == ["limit", "limit-1k"]


# specs


def test_parameters_of_the_source_are_overridden() -> None:
    task = catalog.task("limit-small,pattern=cycle,docs=1000")
    assert task.spec == "limit-small,pattern=cycle,docs=1000"
    assert str(task.source) == (
        "limit,attributes=45,docs=1000,k=2,pattern=cycle,queries=1000,relevant=0,seed=0,"
        "synonyms=false"
    )
    data = task.load()
    assert data.fingerprint() == SOURCES.create("limit,docs=1000,pattern=cycle").fingerprint()
    assert data.fingerprint() != catalog.task("limit-1k").load().fingerprint()
    assert task.definition == catalog.task("limit-small").definition


def test_a_source_is_a_task(tmp_path: Path) -> None:
    root = write_collection(tmp_path / "own, collection")
    write_rows(root / "qrels/dev.tsv", QRELS[:1])
    spec = f"folder:{str(root).replace(',', '%2C')},split=dev"
    task = catalog.task(spec)
    data = task.load()
    assert isinstance(data, Retrieval)
    assert len(data.qrels.docs) == 1
    assert parse(task.spec) == parse(spec)
    assert task.source.target == str(root)
    assert task.definition.license == ""
    assert [str(measure) for measure in task.measures(data)] == [
        "nDCG@10",
        "AP@1000",
        "RR@10",
        "P@10",
        "R@10",
        "R@100",
        "Judged@10",
    ]


@pytest.mark.parametrize(
    ("spec", "measures"),
    [
        ("limit-small,k=1", ["R@1", "R@10", "R@20", "nDCG@10"]),
        ("limit-small,k=3,queries=10", ["R@3", "R@10", "R@20", "nDCG@10"]),
        ("limit-small,seed=1", ["R@2", "R@10", "R@20", "nDCG@10"]),
        ("limit-k10,docs=500", ["R@10", "R@20", "R@100", "nDCG@10"]),
    ],
)
def test_generated_limit_is_judged_by_recall_at_its_k(spec: str, measures: list[str]) -> None:
    if spec == "limit-small,k=1":
        spec += ",pattern=cycle,queries=40"  # dense k=1 has a document a query
    task = catalog.task(spec)
    assert [str(measure) for measure in task.measures(task.load())] == measures


def test_pairs_have_measures_of_their_own(tmp_path: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "score": i} for i in range(2)]
    task = catalog.task(f"pairs:{write_rows(tmp_path / 'a.jsonl', rows)}")
    data = task.load()
    assert isinstance(data, Pairs)
    assert str(task.measures(data)[0]) == "cosine_spearman"
    assert len(task.measures(data)) == 8


def test_looking_a_task_up_loads_nothing(tmp_path: Path) -> None:
    task = catalog.task(f"folder:{tmp_path}/absent")
    assert complaint(task.load) == (
        f"{tmp_path}/absent: no such folder: expected a collection in the BEIR layout"
    )


def test_exclude_self_leaves_a_query_out_of_its_own_results(tmp_path: Path) -> None:
    texts = [{"_id": name, "text": f"word {name} word"} for name in ("a", "b", "c")]
    qrels = [
        {"query-id": "a", "corpus-id": "b", "score": 1},
        {"query-id": "b", "corpus-id": "a", "score": 1},
    ]
    root = write_collection(tmp_path, corpus=texts, queries=texts[:2], qrels=qrels)
    spec = f"folder:{root}"
    asked = [
        catalog.task(spec + more) for more in ("", ",exclude_self=true", ",exclude_self=false")
    ]
    assert [task.exclude_self for task in asked] == [None, True, False]
    assert asked[1].spec == f"{spec},exclude_self=true"
    assert len({str(task.source) for task in asked}) == 1
    kept = evaluate("hashing", spec, measures=["R@1"])
    left = evaluate("hashing", f"{spec},exclude_self=true", measures=["R@1", "R@2"])
    assert kept.run.docs[:, 0].tolist() == [0, 1]
    assert sorted(left.run.docs[0].tolist()) == [1, 2]
    assert sorted(left.run.docs[1].tolist()) == [0, 2]
    assert kept.record.scores["R@1"].mean == 0
    assert left.record.scores["R@2"].mean == 1
    assert (kept.record.task.exclude_self, left.record.task.exclude_self) == (False, True)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("limit-smal", "unknown task 'limit-smal'. Did you mean 'limit-small'? Choices: "),
        ("cor", "unknown task 'cor'. Did you mean 'core'? Choices: "),
        ("core", "'core' is a suite of tasks: name one of limit-small, limit-1k"),
        ("zzz", "unknown task 'zzz'. Choices: "),
        ("mine:x", "unknown task 'mine:x'. "),
        ("limit-small:x", "unknown task 'limit-small:x'. Did you mean 'limit-small'? "),
        (
            "limit-small,exclude_self=yes",
            "limit-small,exclude_self=yes: exclude_self=yes: expected true or false",
        ),
        (
            "limit-small,patern=cycle",
            "unknown parameter of limit 'patern'. Did you mean 'pattern'? ",
        ),
        ("limit-small,k=x", "limit: k=x: expected a whole number"),
        ("folder", "source 'folder' needs a target: folder:..."),
        ("", "'' names nothing: expected name[:target][,key=value...]"),
    ],
)
def test_spec_that_names_no_task(spec: str, expected: str) -> None:
    message = complaint(lambda: catalog.task(spec))
    assert message.startswith(expected)


def test_unknown_task_lists_tasks_suites_and_sources() -> None:
    message = complaint(lambda: catalog.task("zzz"))
    sources = {f"{entry.name}:..." for entry in SOURCES.entries() if entry.target}
    choices = sorted({*OWN, *catalog.suites(), *sources})
    assert {"folder:...", "hub:...", "irds:...", "mteb:...", "pairs:..."} <= sources
    listed, _, more = message.partition("Choices: ")[2].partition(" and ")
    assert listed.split(", ") == choices[:LISTED]  # none is near
    assert more == f"{len(choices) - LISTED} more (harness tasks lists them)"
    message = complaint(lambda: catalog.task("folder"))
    assert "folder:..." in message


# tasks of others


def test_a_new_task_is_one_table(tmp_path: Path) -> None:
    root = write_collection(tmp_path / "data")
    path = write(
        tmp_path / "mine.toml",
        f"""
        [cats]
        description = "Who sleeps?"
        family = "pets"
        source = 'folder:{root}'
        documents = 3
        queries = 2
        measures = ["RR@3", "R@1"]
        exclude_self = true
        license = "CC0"

        [ring]
        source = "limit,docs=20,queries=20,pattern=cycle"
        """,
    )
    catalog.add(path)
    assert set(catalog.definitions()) == {*OWN, "cats", "ring"}
    assert catalog.definitions()["cats"] == Definition(
        name="cats",
        source=f"folder:{root}",
        description="Who sleeps?",
        family="pets",
        measures=["RR@3", "R@1"],
        documents=3,
        queries=2,
        exclude_self=True,
        license="CC0",
    )
    task = catalog.task("cats")
    assert task.measures(task.load()) == (Measure("RR", 3), Measure("R", 1))
    assert (task.exclude_self, catalog.task("cats,exclude_self=false").exclude_self) == (
        True,
        False,
    )
    record = evaluate("bm25", "cats").record
    assert (record.main_measure, record.task.family, record.task.license) == ("RR@3", "pets", "CC0")
    assert record.scores["R@1"].mean == 1
    assert evaluate("bm25", "ring,k=3").record.counts["judgments"] == 60
    assert "Did you mean 'cats'?" in complaint(lambda: catalog.task("cat"))


def test_parameters_of_a_table_are_the_sources(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.toml",
        "[ring]\nsource = 'limit,docs=20'\nparameters = {queries = 20, pattern = 'cycle', "
        "synonyms = true}\n",
    )
    catalog.add(path)
    source = str(catalog.task("ring,seed=3").source)
    assert source == (
        "limit,attributes=45,docs=20,k=2,pattern=cycle,queries=20,relevant=0,seed=3,synonyms=true"
    )


def test_an_unknown_suite_lists_the_suites() -> None:
    message = complaint(lambda: catalog.expand(["suite:cor"]))
    assert message.startswith("unknown suite 'cor'. Did you mean 'core'? Choices: beir, ")


def test_nothing_of_other_tests_stays() -> None:
    assert set(catalog.definitions()) == set(OWN)


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[a]\nsource = ", "not a readable TOML file: Invalid value (at end of document)"),
        ("[a]\nfamily = 'x'", "task 'a': expected a table with at least source = '...'"),
        ("a = 5", "task 'a': expected a table with at least source = '...'"),
        ("[a]\nsource = 5", "task 'a': source = 5: expected str"),
        (
            "[a]\nsource = 'limit'\nsorce = 'x'",
            "task 'a': unknown key 'sorce'. Did you mean 'source'? ",
        ),
        ("[a]\nsource = 'limit'\nname = 'x'", "task 'a': unknown key 'name'. "),
        ("[a]\nsource = 'limit'\nmeasures = 'R@2'", "task 'a': measures = 'R@2': expected list"),
        (
            "[a]\nsource = 'limit'\nmeasures = ['R@2', 5]",
            "task 'a': measures=['R@2', 5]: expected a list of names",
        ),
        (
            "[a]\nsource = 'limit'\nmeasures = ['R@0']",
            "task 'a': measure 'R@0': expected a cut-off ",
        ),
        (
            "[a]\nsource = 'limit'\nmeasures = ['NDGC@10']",
            "task 'a': unknown measure 'NDGC'. Did you mean 'nDCG",
        ),
        ("[a]\nsource = 'limit'\ndocuments = '5'", "task 'a': documents = '5': expected int"),
        ("[a]\nsource = 'limit'\nqueries = true", "task 'a': queries = True: expected int"),
        ("[a]\nsource = 'limit'\nparameters = 'docs=5'", "task 'a': parameters = 'docs=5': exp"),
        (
            "[a]\nsource = 'limit'\nparameters = {dcos = 5}",
            "task 'a': unknown parameter of limit 'dcos'. Did you mean 'docs'? ",
        ),
        ("[a]\nsource = 'limit'\nexclude_self = 1", "task 'a': exclude_self = 1: expected bool"),
        (
            "[a]\nsource = 'limit,dcos=5'",
            "task 'a': unknown parameter of limit 'dcos'. Did you mean 'docs'? ",
        ),
        ("[a]\nsource = 'limit,docs=many'", "task 'a': limit: docs=many: expected a whole number"),
        ("[a]\nsource = 'hubb:x'", "task 'a': unknown source 'hubb'. Did you mean 'hub'?"),
        ("[a]\nsource = 'folder'", "task 'a': source 'folder' needs a target: folder:..."),
        ("[limit-small]\nsource = 'limit'", "task 'limit-small' is defined already: rename it"),
    ],
)
def test_bad_table_names_file_and_task_and_is_not_taken(
    tmp_path: Path, toml: str, expected: str
) -> None:
    path = write(tmp_path / "mine.toml", toml)
    assert complaint(lambda: catalog.add(path)).startswith(f"{path}: {expected}")
    assert set(catalog.definitions()) == set(OWN)
    catalog.add(write(path, "[a]\nsource = 'limit'"))
    assert set(catalog.definitions()) == {*OWN, "a"}


def test_bad_task_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert complaint(lambda: catalog.add(path)) == f"{path}: no such task file"
    path.write_bytes(b"[a]\nsource = '\xff'")
    assert complaint(lambda: catalog.add(path)).startswith(f"{path}: byte 14 is not UTF-8")
    assert set(catalog.definitions()) == set(OWN)


def test_two_files_may_not_define_the_same_task(tmp_path: Path) -> None:
    one = write(tmp_path / "one.toml", "[a]\nsource = 'limit'")
    two = write(tmp_path / "two.toml", "[b]\nsource = 'limit'\n[a]\nsource = 'limit'")
    catalog.add(one)
    expected = f"{two}: task 'a' is defined already: rename it"
    assert complaint(lambda: catalog.add(two)) == expected
    assert set(catalog.definitions()) == {*OWN, "a"}


def test_a_task_may_be_named_with_a_colon(tmp_path: Path) -> None:
    toml = '["own:small"]\nsource = "limit,docs=10,queries=9"'
    catalog.add(write(tmp_path / "mine.toml", toml))
    data = catalog.task("own:small,queries=8").load()
    assert isinstance(data, Retrieval)
    assert (len(data.corpus), len(data.queries)) == (10, 8)


def test_the_catalog_is_read_without_heavy_libraries() -> None:
    code = (
        "import sys; from harness.tasks import catalog; catalog.task('limit-small'); "
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'faiss', 'pyarrow', 'bm25s'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
