"""Boards of records, imports and files that are neither; standings by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from harness import board, records
from harness.api import evaluate
from harness.board import of_entries
from harness.board.entries import BoardEntry, MtebReading, of_record
from harness.board.standings import Ordering, standings
from harness.errors import InputError
from harness.evaluation import Evaluation
from tests.shared import shared

TASK = "limit,docs=40,queries=9,k=2,attributes=5"


@cache
def real(model: str) -> Evaluation:
    return evaluate(model, TASK, measures=["R@2", "nDCG@10"])


def entry(system: str, task: str, score: float | None, **changes: object) -> BoardEntry:
    values = {"family": "f", "kind": "retrieval", "measure": "nDCG@10", "low": None, "high": None,
              "path": None, "cost": {}, "conditions": "c", **changes}  # fmt: skip
    return BoardEntry(system=system, task=task, score=score, **values)


def matrix(scores: dict[str, list[float | None]]) -> board.Board:
    return of_entries(
        entry(system, f"t{i}", score)
        for system, row in scores.items()
        for i, score in enumerate(row)
        if score is not None
    )


def mteb_file(folder: Path, model: str, revision: str, **changes: object) -> Path:
    part = {"main_score": 0.5, "ndcg_at_10": 0.5, "hf_subset": "default", "languages": ["eng-Latn"]}
    data = {"task_name": "T", "dataset_revision": "1", "scores": {"test": [part]}, **changes}
    path = folder / model / revision / f"{data['task_name']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def test_records_of_ours_and_of_mteb_share_a_board(tmp_path):
    for model in ("hashing,dim=64", "bm25"):
        one = real(model)
        records.save(one.record, one.per_query, tmp_path / "ours")
    mteb_file(tmp_path / "theirs", "org__name", "rev")
    found = board.load([tmp_path / "ours", str(tmp_path / "theirs" / "**" / "*.json")])
    assert found.systems == ("bm25", "hashing,dim=64", "org/name")
    assert found.tasks == ("T", TASK)
    assert found.families == ("retrieval", real("bm25").record.task.family)
    assert (found.refused, found.older) == ((), 0)
    assert found.notes == (
        "not known of MTEB 2.26.24: 1 task, scored by means of all that files hold: T",
    )
    ours = found.entries["bm25", TASK]
    assert ours.score == real("bm25").record.main.mean
    assert records.load(ours.path) == real("bm25").record
    assert ours.cost["dim"] is None  # it is sparse
    assert ours.cost["index_bytes"] == real("bm25").record.index.bytes
    assert found.cost("hashing,dim=64", "index_bytes") == 4 * 64 * 40
    assert found.cost("hashing,dim=64", "dim") == 64
    assert found.cost("org/name", "dim") is None
    assert np.isnan(found.scores).sum() == 3


def test_an_index_stands_beside_the_exact_one():
    def sized(system: str, task: str, score: float, size: float | None) -> BoardEntry:
        model, _, index = system.partition(" @ ")  # of these names, made here
        return entry(
            system, task, score, cost={"index_bytes": size}, exact=not index, subject=model
        )

    found = of_entries(
        [
            sized("m", "t", 0.8, 400),
            sized("m", "u", 0.6, 100),
            sized("m @ int8", "t", 0.7, 100),
            sized("m @ int8", "u", 0.6, 50),
            sized("m @ int8", "v", 0.1, None),
            sized("n @ int8", "t", 0.7, 100),
        ]
    )
    assert found.beside_exact("m @ int8") == (pytest.approx(-0.05), pytest.approx(0.375))
    assert found.beside_exact("m") is None
    assert found.beside_exact("n @ int8") is None


def test_of_several_exact_systems_the_first_by_name_is_stood_beside():
    made = [
        entry("m", "t", 0.8, subject="m"),
        entry("m @ int8", "t", 0.7, subject="m", exact=False),
        entry("m @ sharded", "t", 0.5, subject="m"),
    ]
    for entries in (made, made[::-1]):
        assert of_entries(entries).beside_exact("m @ int8") == (pytest.approx(-0.1), None)


def test_siblings_are_known_by_what_they_are_not_by_their_names():
    """A system of several parts, one of them searched by an index that is not exact; another
    measure, and another model, are no siblings.
    """
    spec = "rrf:bm25+[hashing,dim=57]"
    exact, other = real(spec).record, evaluate(spec, TASK, "int8", measures=["R@2", "nDCG@10"])
    assert exact.exact
    assert not other.record.exact
    renamed = other.record.system.model_copy(update={"spec": "another name"})
    entries = [
        of_record(one)
        for one in (
            exact,
            other.record.model_copy(update={"system": renamed}),
            real("bm25").record.model_copy(update={"index": other.record.index}),
        )
    ]
    found = of_entries([replace(entry, score=0.1 * at) for at, entry in enumerate(entries)])
    assert found.beside_exact("another name @ int8") == (
        pytest.approx(0.1),
        pytest.approx(other.record.index.bytes / exact.index.bytes),
    )
    assert found.beside_exact("bm25 @ int8") is None
    assert exact.subject != real("bm25").record.subject
    again = exact.model_copy(update={"main_measure": "nDCG@10"})
    assert again.subject != exact.subject


def test_a_cost_is_found_in_every_part_of_a_system():
    found = of_record(real("rrf:bm25+[hashing,dim=57]").record).cost
    assert found["search_ms"] > 0
    assert found["texts_per_s"] > 0
    assert found["document_bytes"] == found["index_bytes"] / 40


def test_files_that_are_no_records_are_named_and_stop_nothing(tmp_path):
    good = mteb_file(tmp_path, "m", "r")
    (good.parent / "model_meta.json").write_text("{}")
    record = json.loads(real("bm25").record.model_dump_json())
    bad = {
        "a.json": "{",
        "b.json": "[" * 100_000,
        "c.json": '{"schema_version": 99}',
        "d.json": json.dumps({**record, "scores": 3}),
        "e.json": "9" * 5000,
        "f.json": '"<script>alert(1)</script>"',
        "g.json": '{"task_name": "T", "scores": {}}',
        "h.json": " " * 5001,
    }
    for name, text in bad.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "i.json").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "j.json").mkdir()
    (tmp_path / "k.json").symlink_to(tmp_path / "nowhere")
    with open(tmp_path / "l.json", "wb") as file:
        file.truncate(64 * 2**20 + 1)
    found = board.load([tmp_path])
    assert found.systems == ("m",)
    why = {path.name: said for path, said in found.refused}
    assert list(why) == [f"{letter}.json" for letter in "abcdefghijkl"]
    assert why["c.json"] == "schema_version is 99: expected 1 or 2"
    assert why["d.json"].startswith("scores: ")
    assert why["f.json"] == "neither a record nor a result of mteb"
    assert why["g.json"] == "a result of mteb without any score"
    assert why["j.json"] == "cannot be read: Is a directory"
    assert why["k.json"] == "cannot be read: No such file or directory"
    assert why["l.json"] == "67,108,865 bytes: expected at most 67,108,864"
    assert all(why[f"{letter}.json"].startswith("not a readable JSON file: ") for letter in "abehi")


def test_nothing_of_use_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such record or folder"):
        board.load([tmp_path / "none*"])
    with pytest.raises(InputError, match=r"no records: 0 files refused$"):
        board.load([tmp_path])
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(InputError, match=r"no records: 1 file refused; the first: .*a\.json: "):
        board.load([tmp_path])


def test_a_file_that_is_named_twice_counts_once(tmp_path):
    path = mteb_file(tmp_path, "m", "r")
    assert board.load([path, tmp_path, str(tmp_path / "*" / "*" / "*.json")]).older == 0


def test_the_newest_counts():
    old, new = entry("a", "t", 0.9, created="2025"), entry("a", "t", 0.1, created="2026")
    for order in ([old, new], [new, old]):
        found = of_entries(order)
        assert found.scores.tolist() == [[0.1]]
        assert found.older == 1


def test_of_equally_old_entries_the_last_by_path_counts():
    made = [entry("a", "t", 0.9, path=Path("b")), entry("a", "t", 0.1, path=Path("a"))]
    for order in (made, made[::-1]):
        assert of_entries(order).scores.tolist() == [[0.9]]


def test_one_row_never_joins_other_weights():
    """A folder of weights that changed between two tasks, and was measured again on one."""
    old, new = {"folder_sha256": "a" * 64, "dtype": "f"}, {"folder_sha256": "b" * 64, "dtype": "f"}
    found = of_entries([
        entry("m", "t", 0.9, created="2025", traits=old),
        entry("m", "u", 0.8, created="2025", traits=old),
        entry("m", "t", 0.1, created="2026", traits=new),
        entry("n", "t", 0.5, traits=old),
    ])  # fmt: skip
    assert found.systems == ("m [folder_sha256 aaaaaaa]", "m [folder_sha256 bbbbbbb]", "n")
    assert found.scores[:, 0].tolist() == [0.9, 0.1, 0.5]
    assert found.older == 0
    assert found.notes == ("m: 2 systems of this name, which differ in folder_sha256",)


def test_prompts_may_go_with_the_task_but_not_change_on_one():
    def prompted(task: str, prompt: str, created: str = "") -> BoardEntry:
        return entry("m", task, 0.5, by_task={"prompts": prompt}, created=created)

    by_task = [prompted("t", "query: "), prompted("u", "title: ")]
    assert of_entries(by_task).systems == ("m",)
    found = of_entries([*by_task, prompted("t", "q: ", "2026")])
    assert found.systems == ("m [prompts q: ]", "m [prompts query: ]", "m [prompts title: ]")


def test_other_conditions_are_another_column():
    found = of_entries([
        entry("a", "t", 0.9), entry("b", "t", 0.8),
        entry("a", "t", 0.1, conditions="dddddddd", measure="R@5"),
    ])  # fmt: skip
    assert found.tasks == ("t [R@5, dddddd]", "t [nDCG@10, c]")
    assert found.notes == (
        "t: measured under 2 conditions (data, measure or task version): a column each, "
        "not compared",
    )
    assert np.isnan(found.scores[1, 0])


def test_conditions_tell_data_measure_sign_and_exclusion_apart_and_nothing_else():
    record = real("bm25").record
    same = of_record(real("hashing,dim=64").record).conditions
    assert of_record(record).conditions == same
    changed = [
        record.model_copy(update={"main_measure": "nDCG@10"}),
        record.model_copy(update={"lower_is_better": ["R@2"]}),
        record.model_copy(update={"task": record.task.model_copy(update={"exclude_self": True})}),
        record.model_copy(
            update={"task": record.task.model_copy(update={"fingerprint": {"corpus": "x"}})}
        ),
    ]
    assert len({same, *(of_record(one).conditions for one in changed)}) == 5


def test_revisions_of_mteb(tmp_path):
    mteb_file(tmp_path, "org__a", "r1", date=1)
    mteb_file(tmp_path, "org__a", "r2", date=2, dataset_revision="2")
    found = board.load([tmp_path])
    assert len(found.tasks) == 2
    assert found.systems == ("org/a [revision r1]", "org/a [revision r2]")
    assert found.notes[0] == "--loose joins the revisions of a model of MTEB, and those of its data"
    assert "org/a: 2 systems of this name, which differ in revision" in found.notes
    loose = board.load([tmp_path], MtebReading(strict=False, families={"T": "Mine"}))
    assert (loose.tasks, loose.older, loose.families) == (("T",), 1, ("Mine",))
    assert loose.notes[0] == "several revisions are joined of 1 model: org/a (r1, r2)"
    assert loose.entries["org/a", "T"].path.parent.name == "r2"


@pytest.mark.parametrize("date", [1e300, -1e18, "yesterday", None])
def test_a_date_that_is_none_is_the_oldest(tmp_path, date):
    mteb_file(tmp_path, "a", "r1", date=date)
    mteb_file(tmp_path, "a", "r0", date=5)
    found = board.load([tmp_path], MtebReading(strict=False))
    assert found.older == 1
    assert found.entries["a", "T"].path.parent.name == "r0"


def test_what_is_not_known_to_be_measured_gives_way_though_it_is_newer(tmp_path):
    part = {"main_score": 0.9, "hf_subset": "default", "languages": ["eng-Latn"]}
    mteb_file(tmp_path, "a", "external", date=9, scores={"test": [part]})
    mteb_file(tmp_path, "a", "4f2c91d", date=5)
    found = board.load([tmp_path], MtebReading(strict=False))
    assert found.scores.tolist() == [[0.5]]
    assert found.older == 1


def test_an_experiment_is_another_model(tmp_path):
    mteb_file(tmp_path, "org__a", "r")
    mteb_file(tmp_path / "org__a" / "r", "experiments", "int8")
    for strict in (True, False):
        found = board.load([tmp_path], MtebReading(strict=strict))
        assert found.systems == ("org/a", "org/a [int8]")


def test_a_mean_of_mteb_is_over_its_splits_and_subsets(tmp_path):
    """mteb averages six splits of WebLINX; MSMARCO is measured on dev."""

    def part(score: float, subset: str = "default") -> list[dict[str, object]]:
        return [{"main_score": score, "hf_subset": subset, "languages": ["eng-Latn"]}]

    splits = ["validation", *(f"test_{name}" for name in ("iid", "cat", "geo", "vis", "web"))]
    one = dict(zip(splits, [0.9, 0.5, 0.5, 0.5, 0.5, 0.5], strict=True))
    other = dict(zip(splits, [0.6, 0.8, 0.8, 0.8, 0.8, 0.8], strict=True))
    for model, scores in (("a", one), ("b", other)):
        made = {split: part(score) for split, score in scores.items()} | {"train": part(0)}
        mteb_file(tmp_path / "x", model, "r", task_name="WebLINXCandidatesReranking", scores=made)
    found = board.load([tmp_path / "x"])
    assert found.scores[:, 0] == pytest.approx([3.4 / 6, 4.6 / 6])
    assert found.notes == ()
    scores = {"test": part(0.7), "dev": part(0.4)}
    mteb_file(tmp_path / "y", "a", "r", task_name="MSMARCO", scores=scores)
    assert board.load([tmp_path / "y"]).scores.tolist() == [[0.4]]
    assert board.load([tmp_path / "y"], MtebReading(splits=["test"])).scores.tolist() == [[0.4]]


def test_a_result_that_lacks_parts_is_compared_with_none_that_has_them(tmp_path):
    part = {"hf_subset": "en", "languages": ["eng-Latn"]}
    both = {"test": [{"main_score": 0.5, **part}], "validation": [{"main_score": 0.7, **part}]}
    task = "AmazonCounterfactualClassification"
    mteb_file(tmp_path, "a", "r", task_name=task, scores=both)
    mteb_file(tmp_path, "b", "r", task_name=task, scores={"test": both["test"]})
    english = board.load([tmp_path], MtebReading(subsets=["en"]))
    assert len(english.tasks) == 2
    assert english.notes[0].endswith(f": {task} of b (1 of 2)")
    assert "--split and --subset name what all have" in english.notes[0]
    same = board.load([tmp_path], MtebReading(subsets=["en"], splits=["test"]))
    assert same.scores.tolist() == [[0.5], [0.5]]
    assert same.notes == ()
    assert board.load([tmp_path]).notes[0].endswith(f": {task} of a (6 of 8), {task} of b (7 of 8)")


def test_published_files():
    found = board.load([shared("mteb-json")], MtebReading(["default", "en"], strict=False))
    assert len(found.tasks) == 14
    (lacking,) = found.refused
    assert (lacking[0].name, lacking[1]) == (
        "XQuADRetrieval.json",
        "it has none of the subsets default, en",
    )
    assert np.isnan(found.scores).sum() == 1
    assert found.entries["sentence-transformers/all-MiniLM-L6-v2", "XQuADRetrieval"].score == (
        pytest.approx(0.94357)
    )
    assert found.cost("sentence-transformers/all-MiniLM-L6-v2", "parameters") == 22_700_000
    rows = standings(found, Ordering(common=True)).rows
    assert rows[0].system == "BAAI/bge-small-en-v1.5"
    assert rows[-1].system == "sentence-transformers/LaBSE"


def test_the_toy_with_three_winners():
    toy = {"A": [9, 1, 2, 6, 9], "B": [5, 8, 7, 9, 5], "C": [7, 5, 8, 1, 7], "D": [6, 7, 9, 2, 8]}
    found = standings(matrix(toy))
    assert [row.system for row in found.rows] == ["D", "A", "B", "C"]
    assert [row.borda for row in found.rows] == [9, 8, 7, 6]
    assert [row.kemeny for row in found.rows] == [2, 1, 4, 3]
    assert [row.groups for row in found.rows] == [(1,)] * 4
    by_mean = standings(matrix(toy), Ordering("mean"))
    assert [row.system for row in by_mean.rows] == ["B", "D", "C", "A"]
    assert [row.rank for row in by_mean.rows] == [1, 2, 3, 4]
    assert found.wins[0].tolist() == [0.5, 0.4, 0.6, 0.8]  # D against D, A, B, C


def test_an_incomplete_row_is_never_above_a_complete_one():
    found = standings(matrix({"low": [0.1, 0.2], "high": [0.3, 0.4], "part": [0.99, None]}))
    assert [row.system for row in found.rows] == ["high", "low", "part"]
    part = found.rows[2]
    assert (part.rank, part.mean, part.kemeny, part.groups) == (None, None, None, ())
    assert (part.low, part.kept, part.places) == (None, None, None)
    assert (part.part, part.tasks, part.borda) == (0.99, 1, 2)
    assert found.wins[2].tolist() == [1, 1, 0.5]
    assert found.notes[-1] == (
        "tasks are lacking for 1 of 3 systems: no rank, a place below the others, no Borda points "
        "for a missing score; common to all: 1 of 2 tasks; --common ranks by these, and the others "
        "are in the order of their means there"
    )


def test_incomplete_systems_stand_in_the_order_of_what_all_have():
    """Neither by name nor by how many they have, and not by means over other tasks."""
    found = standings(
        matrix({
            "full": [0.1, 0.1, 0.1],
            "a": [0.2, 0.9, None],
            "b": [0.4, None, None],
            "c": [0.3, None, 0.9],
        })
    )  # fmt: skip
    assert [row.system for row in found.rows] == ["full", "b", "c", "a"]
    apart = standings(
        matrix({"a": [0.2, None, 0.1], "b": [None, 0.4, 0.3], "c": [0.9, None, None]})
    )
    assert [(row.system, row.rank) for row in apart.rows] == [("b", 1), ("a", 2), ("c", None)]
    assert apart.tasks == ("t2",)
    assert apart.notes[0] == "no system has all 3 tasks: ranked by the 1 that 2 share"


def test_where_nobody_is_complete_the_common_tasks_are_ranked():
    found = standings(matrix({"a": [0.5, None, 0.3], "b": [0.6, 0.2, None], "c": [0.1, 1.0, None]}))
    assert [(row.system, row.rank) for row in found.rows] == [("b", 1), ("a", 2), ("c", 3)]
    assert found.tasks == ("t0",)
    assert found.notes[0] == (
        "no system has all 3 tasks: ranked by the 1 that every system has, as --common does"
    )


def test_the_common_subset():
    made = matrix({"low": [0.1, 0.2], "high": [0.3, 0.4], "part": [0.99, None]})
    found = standings(made, Ordering(common=True))
    assert [(row.system, row.rank) for row in found.rows] == [("part", 1), ("high", 2), ("low", 3)]
    assert found.tasks == ("t0",)
    made = matrix({"a": [0.5, None, 0.3], "b": [0.6, 0.2, None]})  # nobody has all
    assert standings(made, Ordering(common=True)).tasks == ("t0",)
    apart = {"a": [0.1, None], "b": [None, 0.1]}
    for rows in (apart, {**apart, "c": [0.2, 0.2]}):
        with pytest.raises(InputError, match="no task is common to all systems"):
            standings(matrix(rows), Ordering(common=True))


def test_nobody_is_complete():
    found = standings(matrix({"a": [0.1, None], "b": [None, 0.1]}))
    assert [row.rank for row in found.rows] == [None, None]
    assert np.isnan(found.wins[0, 1])


def test_systems_that_differ_everywhere_have_groups_of_their_own():
    random = np.random.default_rng(0)
    hard = random.random(30) / 2
    noise = random.normal(0, 0.01, (3, 30))
    rows = {"a": hard + 0.3 + noise[0], "b": hard + noise[1], "b2": hard + noise[2]}
    found = standings(matrix({name: row.tolist() for name, row in rows.items()}))
    groups = {row.system: row.groups for row in found.rows}
    assert groups == {"a": (1,), "b": (2,), "b2": (2,)}
    first = found.rows[0]
    assert (first.system, first.first, first.places, first.kept) == ("a", 1, (1, 1), 1)
    assert first.low < first.mean < first.high
    assert "nothing is known of their queries" in found.notes[0]


def test_one_task_is_judged_by_its_queries(tmp_path):
    for model in ("hashing,dim=64", "bm25"):
        records.save(real(model).record, real(model).per_query, tmp_path)
    found = standings(board.load([tmp_path]))
    best = found.rows[0]
    assert (best.system, best.kept, best.places) == ("bm25", None, None)
    other = real(found.rows[1].system).record.main
    # another seed than the record's own interval: about the same ends
    assert found.rows[1].low == pytest.approx(other.low, abs=0.08)
    assert found.rows[1].high == pytest.approx(other.high, abs=0.08)
    assert best.groups == found.rows[1].groups  # of 9 queries 2 differ: compare has p = 0.5
    assert found.notes[0].startswith("intervals: bootstrap over queries")
    for file in tmp_path.rglob("*.parquet"):
        file.write_text("broken")
    again = standings(board.load([tmp_path]))  # then from the records' intervals
    assert again.rows[1].low == pytest.approx(other.low, abs=0.08)


def test_fixed_tasks_without_queries_have_no_intervals():
    found = standings(matrix({"a": [0.9, 0.8], "b": [0.1, 0.2]}), Ordering(fixed_tasks=True))
    assert [(row.low, row.groups) for row in found.rows] == [(None, (1,)), (None, (1,))]


def test_the_same_board_stands_the_same(tmp_path):
    records.save(real("bm25").record, real("bm25").per_query, tmp_path / "a")
    mteb_file(tmp_path, "m", "r")
    made = board.load([tmp_path])
    assert standings(made).rows == standings(made).rows
    shutil.rmtree(tmp_path / "a")
    assert standings(made).rows[0].system in ("bm25", "m")  # values that are gone stop nothing
