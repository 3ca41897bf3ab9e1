"""Results of mteb: real files in, ours out, and what is refused."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from harness.api import evaluate
from harness.errors import HarnessError, InputError
from harness.exchange import mteb
from harness.records import Record
from harness.stats import Estimate
from tests.shared import shared

PART = {"main_score": 0.5, "ndcg_at_10": 0.5, "hf_subset": "default", "languages": ["eng-Latn"]}
GOOD = {
    "task_name": "T",
    "dataset_revision": "r1",
    "mteb_version": "2.0.0",
    "scores": {"test": [PART]},
    "evaluation_time": 3.5,
    "date": 1700000000.25,
}


@cache
def real() -> Record:
    task = "limit,docs=40,queries=9,k=2,attributes=5"
    return evaluate("hashing,dim=64", task, measures=["R@2", "nDCG@10", "Judged@5"]).record


def test_a_result_comes_back_as_it_was_written():
    result = mteb.read(GOOD)
    assert (result.task, result.revision, result.seconds) == ("T", "r1", 3.5)
    assert result.parts[0].main == 0.5
    assert mteb.read(json.loads(json.dumps(mteb.to_json(result)))) == result


def test_every_published_file_reads_and_comes_back():
    files = [f for f in shared("mteb-json").rglob("*.json") if f.name != mteb.META]
    assert len(files) == 56
    for file in files:
        result = mteb.read(json.loads(file.read_text()))
        assert mteb.read(mteb.to_json(result)) == result


def test_published_scores_of_minilm():
    # shared/data/README.md
    expected = {
        "SciFact": ("ndcg_at_10", 0.64508),
        "STSBenchmark": ("cosine_spearman", 0.820325),
        "Banking77Classification": ("accuracy", 0.800422),
    }
    folder = shared("mteb-json") / "sentence-transformers__all-MiniLM-L6-v2"
    (revision,) = folder.iterdir()
    for task, (measure, score) in expected.items():
        parts = mteb.read(json.loads((revision / f"{task}.json").read_text())).select()
        assert [part.split for part in parts] == ["test"]  # though it has train, too
        assert mteb.measure(parts) == measure
        assert parts[0].main == pytest.approx(score, abs=1e-6)
    languages = mteb.read(json.loads((revision / "XQuADRetrieval.json").read_text()))
    (english,) = languages.select(["en"])
    assert english.main == pytest.approx(0.94357, abs=1e-6)
    assert len(languages.select()) == 12
    name, commit, meta = mteb.model(revision / "SciFact.json")
    assert (name, commit) == ("sentence-transformers/all-MiniLM-L6-v2", revision.name)
    assert meta["embed_dim"] == 384


def test_without_a_name_the_folders_name_the_model(tmp_path):
    file = tmp_path / "org__a__b" / "rev" / "T.json"
    assert mteb.model(file) == ("org/a__b", "rev", {})
    file.parent.mkdir(parents=True)
    for text in ("[1]", "{", '{"name": 3}', "[" * 100_000):
        (file.parent / mteb.META).write_text(text)
        assert mteb.model(file)[0] == "org/a__b"


def with_part(**changes: object) -> dict[str, object]:
    return {**GOOD, "scores": {"test": [{**PART, **changes}]}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "neither a record nor a result of mteb"),
        ({}, "neither a record nor a result of mteb (no task_name and scores)"),
        ({**GOOD, "task_name": 3}, "neither a record nor a result of mteb "
         "(no task_name and scores)"),
        ({**GOOD, "task_name": "\ud800"}, "neither a record nor a result of mteb "
         "(no task_name and scores)"),
        ({"mteb_dataset_name": "T"}, "a result of mteb before 1.11: load it with "
         "mteb.TaskResult.from_disk, save it again"),
        ({**GOOD, "scores": {}}, "a result of mteb without any score"),
        ({**GOOD, "scores": {"test": []}}, "a result of mteb without any score"),
        ({**GOOD, "scores": {"test": 1}}, "scores of 'test' are no list"),
        ({**GOOD, "scores": {"test": [1]}}, "a score of 'test' names no subset (hf_subset)"),
        (with_part(main_score=None), "main_score of test/default is None: expected -1 to 1"),
        (with_part(main_score=float("nan")), "main_score of test/default is nan: expected -1 to 1"),
        (with_part(main_score=64.5), "main_score of test/default is 64.5: expected -1 to 1"),
        (with_part(main_score=True), "main_score of test/default is True: expected -1 to 1"),
        (with_part(main_score=10**400), f"main_score of test/default is 1{'0' * 39}: "
         "expected -1 to 1"),
        (with_part(languages="en"), "languages of test/default are no list of names"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused_with_the_reason(data, said):
    with pytest.raises(InputError) as error:
        mteb.read(data)
    assert str(error.value) == said


def test_a_subset_that_is_not_there():
    with pytest.raises(InputError, match="it has none of the subsets de, fr"):
        mteb.read(GOOD).select(["fr", "de"])


def test_the_split_that_counts():
    result = mteb.read({**GOOD, "scores": {"train": [PART], "dev": [PART]}})
    assert [part.split for part in result.select()] == ["train", "dev"]  # of an unknown task
    result = mteb.read({**GOOD, "scores": {"train": [PART], "x": [PART]}})
    assert [part.split for part in result.select()] == ["train", "x"]


def test_a_main_score_that_no_other_equals():
    parts = mteb.read(with_part(main_score=0.25)).select()
    assert mteb.measure(parts) == "main_score"
    assert mteb.kind_and_family("main_score") == ("other", "other")
    assert mteb.kind_and_family("ndcg_at_5") == ("retrieval", "retrieval")


def test_ours_loads_in_mteb_and_comes_back(tmp_path):
    results = pytest.importorskip("mteb.results")
    cache = pytest.importorskip("mteb").ResultCache(tmp_path)
    path = mteb.save(real(), tmp_path)
    theirs = results.TaskResult.from_disk(path, load_historic_data=False)
    assert theirs.main_score == real().main.mean
    (split,) = theirs.scores.values()
    assert set(split[0]) > {"recall_at_2", "ndcg_at_10", "Judged@5"}
    (model,) = cache.load_results(include_remote=False)
    assert model.model_name == "retrieval-harness/hashing_dim=64"
    assert model.task_results[0].task_name == real().task.spec
    again = tmp_path / "again.json"
    theirs.to_disk(again)  # rounds to six digits
    back = mteb.read(json.loads(again.read_text()))
    ours = mteb.result(real())
    assert (back.task, back.revision, back.date) == (ours.task, ours.revision, ours.date)
    assert back.parts[0].main == pytest.approx(ours.parts[0].main, abs=1e-6)
    assert mteb.read(json.loads(path.read_text())) == ours


def test_a_task_of_mteb_keeps_its_name_and_passes_mteb_s_own_check(tmp_path):
    package = pytest.importorskip("mteb")
    task = real().task.model_copy(update={"spec": "mteb:SciFact", "source": "mteb:SciFact"})
    path = mteb.save(real().model_copy(update={"task": task}), tmp_path)
    assert path.name == "SciFact.json"
    theirs = package.results.TaskResult.from_disk(path)
    assert theirs.dataset_revision == package.get_task("SciFact").metadata.revision
    assert theirs.languages == ["eng"]
    assert theirs.validate_and_filter_scores().scores == theirs.scores


def test_names_of_folders_cannot_leave_the_folder(tmp_path):
    system = real().system.model_copy(update={"full": "st:../..", "spec": "../../x"})
    task = real().task.model_copy(update={"spec": "../../<script>", "source": "folder:x"})
    path = mteb.save(real().model_copy(update={"system": system, "task": task}), tmp_path / "out")
    assert path.resolve().is_relative_to(tmp_path / "out" / "results")
    hub = real().system.model_copy(update={"full": "st:org/name,dtype=float16"})
    path = mteb.save(real().model_copy(update={"system": hub}), tmp_path / "out")
    assert path.parent.parent.name == "org__name"


def test_an_object_is_not_exported_as_a_model_of_the_hub(tmp_path):
    class Mine:
        name = "intfloat/e5-small-v2"

        def encode(self, texts):
            return [[len(text), 1.0] for text in texts]

    task = "limit,docs=40,queries=9,k=2,attributes=5"
    record = evaluate(Mine(), task, measures=["R@2"]).record
    assert (record.system.source, record.system.full) == ("object", "own:intfloat/e5-small-v2")
    path = mteb.save(record, tmp_path)
    assert path.parent.parent.name == "retrieval-harness__own_intfloat_e5-small-v2"


def test_nothing_to_export(tmp_path):
    undefined = {"R@2": Estimate(mean=None, low=None, high=None)}
    with pytest.raises(InputError, match=r"hashing,dim=64 on limit.*: no score to export"):
        mteb.save(real().model_copy(update={"scores": undefined}), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"cannot be written.*choose another folder"):
        mteb.save(real(), Path(tmp_path / "file"))
