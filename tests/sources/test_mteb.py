from __future__ import annotations

import ast
import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data import Origin
from harness.errors import InputError
from harness.measures.asked import Measure
from harness.optional import install
from harness.sources import SOURCES
from harness.sources import mteb as module
from tests.mteb_tasks import declare, package, searched, table
from tests.sources.writing import complaint

DOCUMENTS = {"d2": ("Title", "two "), "d1": ("", " one"), "d3": (None, "three")}
JUDGED = {"q1": {"d1": 2, "d9": 1}, "q3": {}}


@pytest.fixture(autouse=True, scope="module")
def _mteb() -> None:
    package()


def load(kind: Any, options: str = "") -> Any:
    return SOURCES.create(f"mteb:{kind.metadata.name}{options}")


def error(kind: Any, options: str = "") -> str:
    """What loading a task complains of, NAME in place of its name."""
    return complaint(lambda: load(kind, options)).replace(kind.metadata.name, "NAME")


def search(main: str = "ndcg_at_10", *, own: Any = (), about: Any = (), **parts: Any) -> Any:
    """A retrieval task of three documents and two queries, one of them without judgments."""
    data = {"documents": DOCUMENTS, "queries": {"q1": "who?", "q3": "what?"}, "judged": JUDGED}
    made = searched(**{**data, **parts})
    given = {"default": {"test": made, "dev": made}}
    return declare("Found", "Retrieval", main, lambda: given, own=own, **dict(about))


def pairs(kind: str = "STS", main: str = "cosine_spearman", **columns: Any) -> Any:
    rows = table(**{"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [0, 1.5], **columns})
    return declare("Paired", kind, main, lambda: {"test": rows})


def grouped(labels: list[Any], **own: Any) -> Any:
    rows = table(sentences=[f"t{i}" for i in range(len(labels))], labels=labels)
    own = {"max_fraction_of_documents_to_embed": None, **own}
    return declare("Grouped", "Clustering", "v_measure", lambda: {"test": rows}, own=own)


def labelled(**own: Any) -> Any:
    rows = table(text=["a", "b"], label=[1, 0])
    splits = {"train": rows, "test": rows}
    return declare("Labelled", "Classification", "accuracy", lambda: splits, own=own)


def test_texts_are_joined_and_judgments_kept():
    found = load(search())
    assert found.corpus.ids == ["d1", "d2", "d3"]
    assert found.corpus.texts == ["one", "Title two", "three"]
    assert (found.queries.ids, found.queries.texts) == (["q1"], ["who?"])
    assert found.qrels.docs.tolist() == [-1, 0]
    assert found.qrels.gains.tolist() == [1, 2]
    assert (found.candidates, found.groups, found.changes) == (None, None, None)
    assert found.warnings == ()


def test_candidates():
    found = load(search(top_ranked={"q1": ["d3", "d1", "d8"]}))
    assert found.candidates.docs.tolist() == [0, 2]
    assert found.candidates.unknown == 1
    assert load(search(top_ranked={})).candidates.docs.tolist() == []


TURNS = [{"role": "user", "content": "hi"}, {"role": "bot", "content": "yes"}]


@pytest.mark.parametrize(
    ("text", "instruction", "expected"),
    [
        (" who? ", "Be brief.", " who?  Be brief."),
        ("who?", "", "who? "),
        ("who?", None, "who?"),
        (["hi", "yes"], None, "hi; yes"),
        (TURNS, None, "user: hi; bot: yes"),
        (TURNS, "Be brief.", "Be brief. user: hi; bot: yes"),
    ],
)
def test_queries_with_instructions(text, instruction, expected):
    kind = search(queries={"q1": text}, instructions=[instruction])
    assert load(kind).queries.texts == [expected]


def test_first_format_of_retrieval(capfd):
    """The attributes that older tasks fill; map() would draw a progress bar."""

    def fill(self: Any, **_: Any) -> None:
        self.corpus = {"test": {"d1": "one", "d2": {"title": "T", "text": "two"}}}
        self.queries, self.relevant_docs = {"test": {"q1": "who?"}}, {"test": {"q1": {"d2": 1}}}
        self.instructions = {"test": {"q1": "Be brief."}}
        self.top_ranked = {"test": {"q1": ["d2"]}}
        self.data_loaded = True

    found = load(search(own={"load_data": fill}))
    assert found.corpus.texts == ["one", "T two"]
    assert found.queries.texts == ["who? Be brief."]
    assert found.candidates.docs.tolist() == [1]
    assert capfd.readouterr() == ("", "")


def test_groups_of_queries():
    queries = {"q1_a": "a", "q2_x_y": "b", "q1_b": "c"}
    judged = {id: {"d1": 1} for id in queries}
    kind = search("robustness_at_10", queries=queries, judged=judged, instructions=["", "", ""])
    assert load(kind).groups.tolist() == [0, 1, 0]


def test_parts_of_a_question():
    queries = {"u_1_a": "a", "u_2_a": "b", "u_1_b": "c"}
    judged = {id: {"d1": 1} for id in queries}
    found = load(search("max_over_subqueries_map_at_1000", queries=queries, judged=judged))
    assert found.groups.tolist() == [0, 1, 0]
    assert (found.origin.measures[0], found.warnings) == ("MergedAP@1000", ())


ASKED = {"7-og": "a", "7-changed": "b", "8-og": "c"}
FOLLOWED = {
    "queries": ASKED,
    "judged": {id: {"d1": 1} for id in ASKED},
    "instructions": ["", "", ""],
}
CHANGED = {"7": ["d2", "d9"], "8": ["d1"], "9": ["d1"]}


def changes(found: Any) -> list[list[int]]:
    one = found.changes
    return [one.before.tolist(), one.after.tolist(), one.docs.tolist()]


def test_changed_judgments_of_the_task():
    own = {"qrels_diff": {"default": {"test": CHANGED}}}
    assert changes(load(search("p-MRR", own=own, **FOLLOWED))) == [[0, 0], [1, 1], [1, -1]]


def test_changed_judgments_of_the_hub(monkeypatch):
    import datasets

    rows = table(**{"query-id": list(CHANGED), "corpus-ids": list(CHANGED.values())})
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((a, k)) or rows)
    assert changes(load(search("p-MRR", **FOLLOWED))) == [[0, 0], [1, 1], [1, -1]]
    where = (("local/local", "qrel_diff"), {"split": "qrel_diff", "revision": "0123abcd"})
    assert asked == [where]


def test_changed_judgments_that_are_missing():
    own = {"qrels_diff": {"default": {"test": {"8": ["d1"]}}}}
    expected = "mteb:NAME: no queries ID-og and ID-changed for a changed judgment"
    assert error(search("p-MRR", own=own, **FOLLOWED)) == expected
    assert error(search("p-MRR", **FOLLOWED)).startswith(
        "mteb:NAME: local/local at revision 0123abcd cannot be loaded ("
    )


def test_what_offline_mteb_loses(monkeypatch):
    """Without the hub mteb cannot list what its cache holds, and goes on without."""
    from mteb.abstasks.task_metadata import TaskMetadata

    lost = "mteb finds them only where it reaches the hub; unset HF_HUB_OFFLINE"
    assert error(search("p-MRR")) == f"mteb:NAME has lost its instructions: {lost}"
    assert error(search("robustness_at_10")) == f"mteb:NAME has lost its instructions: {lost}"
    told = {"test": {"top_ranked_statistics": {"num_top_ranked": 9}}}
    monkeypatch.setattr(TaskMetadata, "descriptive_stats", told)
    assert error(search()) == f"mteb:NAME has lost its candidates: {lost}"
    nested = {"test": {"hf_subset_descriptive_stats": {"default": told["test"]}}}
    monkeypatch.setattr(TaskMetadata, "descriptive_stats", nested)
    assert error(search()) == f"mteb:NAME has lost its candidates: {lost}"
    assert load(search(top_ranked={"q1": ["d1"]})).candidates is not None
    assert load(search(), ",split=dev").candidates is None


@pytest.mark.parametrize(
    ("labels", "levels"),
    [
        ([3, 1, 3], [["3", "1", "3"]]),
        (["b", "a", "-1"], [["b", "a", "-1"]]),
        ([3, -1, 3], [["3", None, "3"]]),
        ([[1, 2], [1], [0, 5]], [["1", "1", "0"], ["2", None, "5"]]),
        ([["x", "y"], ["x"], ["z", "y"]], [["x", "x", "z"], ["y", "-1", "y"]]),
    ],
)
def test_levels_of_labels(labels, levels):
    found = load(grouped(labels))
    assert [list(level) for level in found.levels] == levels
    assert (found.texts, found.drawn, found.sets) == (["t0", "t1", "t2"], None, None)


@pytest.mark.parametrize(
    ("own", "drawn"),
    [
        ({"max_document_to_embed": 2}, 2),
        ({"max_document_to_embed": 9}, 3),
        ({"max_fraction_of_documents_to_embed": 0.7}, 2),
    ],
)
def test_texts_that_are_drawn(own, drawn):
    assert load(grouped([1, 2, 3], **own)).drawn == drawn
    assert len(load(grouped([[1, 2], [1], [0, 5]], max_depth=1, **own)).levels) == 1


def test_classes():
    found = load(labelled(samples_per_label=3, n_experiments=2))
    assert (found.train.texts, found.train.labels) == (["a", "b"], ["1", "0"])
    assert (found.samples_per_label, found.experiments) == (3, 2)


def test_the_origin_is_that_of_the_metadata():
    about = {"license": "mit", "reference": "https://example.org/", "prompt": "Find it."}
    found = load(search(own={"ignore_identical_ids": True}, about=about)).origin
    assert found == Origin(
        license="mit",
        reference="https://example.org/",
        measures=("nDCG@10", "AP@1000", "RR@10", "R@10", "R@100"),
        exclude_self=True,
        instructions={"query": "Find it.", "text": "Find it."},
        name=found.name,
        type="Retrieval",
        language="eng-Latn",
    )
    assert found.name.startswith("Found")
    other = load(search(about={"license": "not specified"})).origin
    assert (other.license, other.reference, other.exclude_self) == ("", "", False)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ({"query": "Ask.", "document": "Tell."}, {"query": "Ask.", "document": "Tell."}),
        ({"query": "Ask."}, {"query": "Ask."}),
        (None, dict.fromkeys(("query", "text"), "Retrieve text based on user query.")),
    ],
)
def test_prompts_by_role(prompt, expected):
    assert load(search(about={"prompt": prompt})).origin.instructions == expected


@pytest.mark.parametrize(
    ("main", "first"),
    [
        ("ndcg_at_5", "nDCG@5"),
        ("map_at_1000", "AP@1000"),
        ("recall_at_2", "R@2"),
        ("precision_at_1", "P@1"),
        ("mrr_at_5", "RR@5"),
        ("hit_rate_at_3", "Success@3"),
    ],
)
def test_the_main_score_comes_first(main, first):
    found = load(search(main)).origin.measures
    assert found[0] == first
    assert len(set(found)) == len(found) >= 5


def test_what_mteb_scores_in_another_way():
    found = load(search("paired_accuracy"))
    assert found.warnings == ("mteb's main score of this task, paired_accuracy, is not measured",)
    assert found.origin.measures[0] == "nDCG@10"
    assert load(grouped([1, 2], max_documents_per_cluster=800)).sample == 800
    kind = pairs("PairClassification", "max_accuracy", labels=[0, 1])
    kind.input1_prompt_type = "document"
    assert load(kind).warnings == (
        "mteb encodes these pairs as queries and documents: here both sides are texts",
    )
    rows = table(human_summaries=[["a"]], machine_summaries=[["b", "c"]], relevance=[[1, 2]])
    summed = declare("Summed", "Summarization", "cosine_spearman", lambda: {"test": rows})
    assert load(summed).warnings == ()
    summed.evaluator = type("DeprecatedEvaluator", (), {})
    assert load(summed).warnings == (
        "mteb's own score of this task averages p-values, too: not comparable",
    )


def test_every_task_of_mteb_is_measured_or_refused():
    from mteb.get_tasks import _TASKS_REGISTRY

    measured = 0
    for kind in _TASKS_REGISTRY.values():
        try:
            _, usual = module._reader(kind)
        except InputError:
            continue
        measured += 1
        main = module._measure(kind.metadata.main_score)
        for name in [*usual, *([main] if "@" in main else [])]:
            assert Measure.parse(name)
    assert measured > 1000


def test_unknown_names():
    message = complaint(lambda: module.mteb("SciFakt"))
    assert message.startswith("unknown mteb task 'SciFakt'. Did you mean 'SciFact'? Choices: ")
    assert complaint(lambda: module.mteb("?!")) == (
        "unknown mteb task '?!': mteb.get_tasks() lists the names"
    )


def test_subsets():
    given = {name: {"test": searched(DOCUMENTS, {"q1": name}, JUDGED)} for name in ("en", "de")}
    langs = {"en": ["eng-Latn"], "de": ["deu-Latn"]}
    kind = declare("Found", "Retrieval", "ndcg_at_10", lambda: given, eval_langs=langs)
    assert load(kind, ",subset=de").queries.texts == ["de"]
    assert error(kind) == "choose a subset of NAME with subset=NAME: en, de"
    assert error(kind, ",subset=dee") == (
        "unknown subset of NAME 'dee'. Did you mean 'de'? Choices: de, en"
    )


def test_splits():
    assert load(search(), ",split=dev").queries.ids == ["q1"]
    assert load(search(about={"eval_splits": ["dev", "test"]})).queries.ids == ["q1"]
    assert load(search(about={"eval_splits": ["dev"]})).queries.ids == ["q1"]
    assert error(search(about={"eval_splits": ["dev", "train"]})) == (
        "choose a split of NAME with split=NAME: dev, train"
    )
    assert error(search(), ",split=tset") == (
        "unknown split of NAME 'tset'. Did you mean 'test'? Choices: dev, test"
    )
    assert error(labelled(train_split="trian")).startswith(
        "unknown training split of mteb:NAME 'trian'. Did you mean 'train'?"
    )


def test_only_what_is_asked_for_is_loaded():
    seen = []

    def load_data(self: Any, **_: Any) -> None:
        seen.extend([self.hf_subsets, list(self.eval_splits)])
        raise ValueError("enough")

    about = {"eval_langs": {"en": ["eng-Latn"], "de": ["deu-Latn"]}}
    about |= {"eval_splits": ["dev", "test"]}
    assert error(search(own={"load_data": load_data}, about=about), ",subset=de") == (
        "mteb:NAME: local/local at revision 0123abcd cannot be loaded (ValueError: enough)"
    )
    assert seen == [["de"], ["test"]]


def test_tasks_that_are_not_measured():
    assert complaint(lambda: module.mteb("BornholmBitextMining")) == (
        "mteb:BornholmBitextMining is a task of type BitextMining (text): the harness measures "
        "retrieval, reranking, STS, (pair) classification, clustering and summarization of text"
    )
    rows = table(text=["a"], label=[[1]])
    for kind, type_ in (("MultilabelClassification", None), ("Regression", "Regression")):
        made = declare("Other", kind, "accuracy", lambda: {"test": rows}, type=type_ or kind)
        assert error(made).startswith(
            f"mteb:NAME is a task of type {kind} (text): the harness measures "
        )
    made = search(about={"modalities": ["image", "text"]})
    assert error(made).startswith("mteb:NAME is a task of type Retrieval (image, text): ")
    assert error(labelled(is_cross_validation=True)) == (
        "mteb:NAME is measured by cross-validation: the harness has none"
    )


def test_means_of_tasks_name_their_parts():
    with pytest.raises(InputError) as caught:
        module.mteb("CQADupstackRetrieval")
    assert str(caught.value).startswith(
        "mteb:CQADupstackRetrieval is the mean of other tasks: name one of "
        "mteb:CQADupstackAndroidRetrieval, mteb:CQADupstackEnglishRetrieval, "
    )


def test_no_network():
    from datasets import config

    message = complaint(lambda: module.mteb("NFCorpus"))
    assert message.startswith(
        "mteb:NFCorpus: mteb/nfcorpus at revision ec0fa4fe99da2ff19ca1214b7966684033a58814 cannot "
        "be loaded (ConnectionError: "
    )
    assert message.endswith(
        "unset HF_HUB_OFFLINE where there is a network, or run "
        "mteb.get_task('NFCorpus').load_data() on another machine and copy its HF_DATASETS_CACHE "
        f"to {config.HF_DATASETS_CACHE}"
    )


def test_mteb_is_not_installed(monkeypatch):
    for name in ("mteb", "mteb.abstasks"):
        monkeypatch.setitem(sys.modules, name, None)
    message = complaint(lambda: module.mteb("SciFact"))
    assert message.startswith("mteb cannot be imported (")
    assert message.endswith(f"): {install('mteb')}")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"score": [1.5, float("nan")]}, "a value of 'score' is not finite"),
        ({"score": [1.5, None]}, "'score' of row 1 is None: expected a number"),
        ({"score": ["1", "2"]}, "'score' of row 0 is '1': expected a number"),
        ({"sentence2": ["c", None]}, "'sentence2' of row 1 is None: expected text"),
    ],
)
def test_values_of_another_kind(columns, expected):
    assert error(pairs(**columns)) == f"mteb:NAME: {expected}"


def test_other_values_and_columns():
    assert error(pairs("PairClassification", "max_ap")) == (
        "unknown column of mteb:NAME 'labels'. Choices: score, sentence1, sentence2"
    )
    assert error(search(documents={"d1": ("", None)})) == (
        "mteb:NAME: 'text' of row 0 is None: expected text"
    )
    rows = table(sentences=["a"], labels=["b"])
    kind = declare("Sets", "ClusteringLegacy", "v_measure", lambda: {"test": rows})
    assert error(kind) == "mteb:NAME: 'sentences' of row 0 is 'a': expected a list"
    assert error(grouped([None, 2])) == "mteb:NAME: 'labels' of row 0 is None: expected a label"
    assert error(grouped([1, 2], max_fraction_of_documents_to_embed=0.04)) == (
        "mteb:NAME draws 0.04 of its 2 texts, which is none"
    )


def test_nothing_is_written_to_the_terminal(capfd, caplog):
    """Notes, warnings and progress bars of a task's own code, of mteb and of datasets."""
    from datasets import utils as of_datasets

    def load_data(self: Any, **_: Any) -> None:
        logging.getLogger("mteb.tasks").warning("a note")
        warnings.warn("a warning", stacklevel=1)
        rows = table(text=["a", "b"], label=[1, 0]).map(lambda row: row)
        self.dataset, self.data_loaded = {"train": rows, "test": rows}, True

    was = of_datasets.are_progress_bars_disabled()
    of_datasets.enable_progress_bars()
    try:
        assert load(labelled(load_data=load_data)).test.labels == ["1", "0"]
        assert not of_datasets.are_progress_bars_disabled()
    finally:
        (of_datasets.disable_progress_bars if was else of_datasets.enable_progress_bars)()
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    logging.getLogger("mteb.tasks").warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]


def test_mteb_evaluates_nothing():
    """Of mteb the harness knows the classes of tasks, and in one module."""
    used = {}
    for path in sorted(Path(module.__file__).parents[1].rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        names += [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
        found = {str(name) for name in names if str(name).split(".")[0] == "mteb"}
        if found:
            used[path.name] = found
    assert used == {"mteb.py": {"mteb.abstasks", "mteb.abstasks.aggregated_task"}}


def test_gold_values_are_numbers():
    assert load(pairs()).gold.tolist() == [0, 1.5]
    assert load(pairs()).gold.dtype == np.float64
