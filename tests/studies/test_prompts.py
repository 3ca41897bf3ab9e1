"""Prompts: values of four queries by hand, what models are asked, and what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from harness.analysis.prompting import PROMPTS, Prompt, labels, read
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.frames import Frame
from harness.parameters import Entry
from harness.session import Session
from harness.stats import Estimate
from harness.store import Store
from harness.studies import STUDIES
from harness.studies.prompts import CHOICE, Prompts, headline
from harness.tasks import catalog
from tests.fakes import Counting, beir

RIGHT = {  # queries that find their document first, by what stands before them
    "own: ": "xy",
    "good: ": "xyz",
    "all: ": "wxyz",
    "bad: ": "w",
    "Find it: ": "x",
}
asked: list[tuple[str, str]] = []


def study(systems, task, prompts=(), document_prompts=(), *, store=None, **options):
    made = Prompts(tuple(prompts), tuple(document_prompts), **options)
    return made.run(Session(store or Store(cache_root())), systems, task)


def cases(found, system=0, measure="Success@1"):
    """Of one system, by prompt: texts, score, difference, share of halves that choose it."""
    name = found["choice"]["system"][system]
    texts = found["texts"].where("system", name).records()
    rows = found["prompts"].where("system", name).records()
    return [
        ((put["before queries"], put["before documents"]), row[measure], row["beside its own"],
         row["best on a half"])
        for put, row in zip(texts, rows, strict=True)
    ]  # fmt: skip


def texts(found, system=0, measure="Success@1"):
    return [put for put, *_ in cases(found, system, measure)]


def means(found, system=0):
    return [score.mean for _, score, *_ in cases(found, system)]


def choice(found):
    return found["choice"].records()[0]


def folds(found):
    """Lowest, mean and highest prompt of each query."""
    return [value.mean for value in found["queries"].rows[0][1:]]


@dataclass(frozen=True)
class Prompted(Counting):
    """A model that is right about some queries, by its prompt."""

    query_prompt: str = "own: "
    document_prompt: str = ""

    def prompt(self, role):
        return self.query_prompt if role == "query" else self.document_prompt

    def for_task(self, purpose):
        told = purpose.instructions.get("query", "?")
        filled = self.query_prompt.replace("{instruction}", told)
        return replace(self, query_prompt=filled)

    def vector(self, text, role):
        asked.append((role, self.prompt(role)))
        hit = text in RIGHT.get(self.query_prompt, "") if role == "query" else text == "a"
        return np.array([1, 0] if hit else [0, 1], np.float32)


def prompted(query_prompt: str = "own: ", document_prompt: str = "") -> Prompted:
    """A model whose spec takes prompts."""
    return Prompted(query_prompt=query_prompt, document_prompt=document_prompt)


@pytest.fixture
def four(monkeypatch, tmp_path):
    """Study the model on four queries that want document a; Success@1 is 1 or 0."""
    monkeypatch.setitem(ENCODERS._entries, "prompted", Entry("prompted", prompted))
    asked.clear()
    queries = {name: name for name in "wxyz"}
    task = beir(tmp_path / "t", {"a": "a", "b": "b"}, queries, [(q, "a", 1) for q in queries])

    def found(*prompts, model="prompted", measure="Success@1", document_prompts=()):
        store = Store(tmp_path / "s")
        return study([model], task, prompts, document_prompts, measure=measure, store=store)

    return found


def test_one_prompt_by_hand(four):
    found = four("good: ")
    own, good = cases(found)
    assert found["prompts"]["prompt"] == ("its own", '"good: "')
    assert (own[0], good[0]) == (("own: ", ""), ("good: ", ""))
    assert (own[1].mean, good[1].mean, good[2].mean) == (0.5, 0.75, 0.25)
    assert (own[2].mean, own[2].high) == (0, 0)
    chosen = choice(found)
    assert chosen["its prompts"] == '"own: ", none'
    assert (chosen["best"], chosen["worst"]) == ('"good: "', "its own")
    assert chosen["best less worst"].mean == 0.25
    assert chosen["best less its own"] == good[2]
    assert chosen["deviation"] == pytest.approx(0.25 / 2**0.5)
    assert folds(found) == [0.5, 0.625, 0.75]
    # only the half that holds z chooses it, and adds nothing on the other half
    assert (own[3], good[3]) == (0.5, 0.5)
    assert chosen["held out"].mean == 0


def test_a_prompt_that_every_query_likes_is_worth_as_much_elsewhere(four):
    found = four("bad: ", "all: ")
    assert means(found) == [0.5, 0.25, 1]
    chosen = choice(found)
    assert (chosen["best"], chosen["worst"]) == ('"all: "', '"bad: "')
    assert chosen["best less worst"].mean == 0.75
    # the best on every half but x and y, where its own is as good and comes first; it adds 1 for w
    # and for z, unless x and y choose
    shares = [case[3] for case in cases(found)]
    assert shares == pytest.approx([1 / 6, 0, 5 / 6], abs=0.05)
    assert chosen["held out"].mean == pytest.approx((2 / 3 + 2 / 3) / 4, abs=0.05)
    lowest, _, highest = folds(found)
    assert (lowest, highest) == (0, 1)


def test_the_own_prompt_among_others_counts_once(four):
    found = four("own: ", "good: ", "good: ")
    assert means(found) == [0.5, 0.5, 0.75]
    assert folds(found)[1] == 0.625
    assert (choice(found)["best"], choice(found)["worst"]) == ('"good: "', "its own")
    alone = four("own: ")
    assert (choice(alone)["deviation"], choice(alone)["best less worst"].mean) == (0, 0)
    assert cases(alone)[0][3] == 1


def test_document_prompts_go_with_each_prompt(four):
    found = four("good: ", "bad: ", document_prompts=["", "text: "])
    assert texts(found) == [
        ("own: ", ""), ("good: ", ""), ("bad: ", ""), ("good: ", "text: "), ("bad: ", "text: "),
    ]  # fmt: skip
    assert found["prompts"]["prompt"][-1] == '"bad: ", documents "text: "'
    assert {prompt for role, prompt in asked if role == "document"} == {"", "text: "}


def test_a_spec_with_a_prompt_has_that_for_its_own(four):
    found = four("own: ", model="prompted,query_prompt=good: ,document_prompt=text:%20")
    assert texts(found) == [("good: ", "text: "), ("own: ", "text: ")]
    assert cases(found)[1][2].mean == -0.25


def test_any_text_is_a_prompt(four):
    """Commas, plus signs, percent signs, brackets, an index behind @: all reach the model."""
    odd = ["a, b + c: ", "100%25 ", " [x+y] [", "me@exact", "[Q] ", ""]
    assert [put for put, _ in texts(four(*odd))] == ["own: ", *odd]
    assert {prompt for role, prompt in asked if role == "query"} == {"own: ", *odd}


def test_an_index_of_its_own_serves_every_prompt(four):
    found = four("good: ", model="prompted@hnsw")
    assert means(found) == [0.5, 0.75]
    assert texts(found) == [("own: ", ""), ("good: ", "")]


@pytest.mark.parametrize(
    ("spec", "prompts"),
    [
        ("prompts,query_prompts=[]", [""]),
        ("prompts,query_prompts=query: +", ["query: ", ""]),
        ("prompts,query_prompts=query:%20", ["query: "]),
        ("prompts", []),
    ],
)
def test_prompts_of_a_spec(spec, prompts):
    made = STUDIES.create(spec)
    assert made == Prompts(tuple(prompts))
    assert STUDIES.create(str(STUDIES.resolve(spec))) == made


def test_no_prompt_by_the_old_option(run, tmp_path):
    also = "-m bm25 -t limit,docs=9,queries=5,k=1"
    words = [*also.split(), "-q", "-o", "pages", "-f", "csv"]
    done = run("study", "prompts", "--prompt", "", *words)
    assert done.status == 0, done.err
    assert done.err.splitlines()[0] == f"say: harness study prompts,query_prompts=%5B%5D {also}"
    assert [line.split(",")[1:3] for line in done.out.splitlines()[1:3]] == [
        ["bm25", "its own"], ["bm25", "none"]
    ]  # fmt: skip
    (tmp_path / "mine.txt").write_text("query: \n")
    done = run("study", "prompts", "--prompts", "mine.txt", *words)
    assert done.err.splitlines()[0] == f"say: harness study prompts,file=mine.txt {also}"
    assert '"query: "' in next(iter((tmp_path / "pages").glob("*mine*/page.md"))).read_text()


def test_cells_are_records_that_are_kept(four, tmp_path):
    four("own: ")  # which makes the collection
    task, cells = f"folder:{tmp_path / 't'}", tmp_path / "cells"

    def found(store):
        asked.clear()
        session = Session(Store(tmp_path / store), cells=cells)
        return Prompts(("good: ",), measure="Success@1").run(session, ["prompted", "bm25"], task)

    first = found("one")
    assert len(asked) > 0
    assert len([*cells.glob("*.json")]) == 4
    assert found("other") == first
    assert asked == []


def test_other_models_read_prompts_as_text(tmp_path):
    documents = {"a": "red apple", "b": "blue car", "c": "green tree"}
    judged = [("x", "a", 1), ("y", "c", 1)]
    task = beir(tmp_path / "t", documents, {"x": "apple", "y": "green tree"}, judged)
    found = study(
        ["bm25", "hashing"], task, ["", "blue car "], ["", "car car "], measure="Success@1"
    )
    assert found["choice"]["system"] == ("bm25", "hashing")
    assert texts(found)[1:] == [
        ("", ""), ("blue car ", ""), ("", "car car "), ("blue car ", "car car "),
    ]  # fmt: skip
    assert means(found)[:3] == [1, 1, 0.5]
    assert [put for put, _ in texts(found, 1)] == ["", "", "blue car ", "", "blue car "]
    assert found["prompts"]["prompt"][:3] == (
        "its own", "none, documents none", '"blue car ", documents none'
    )  # fmt: skip


@pytest.fixture
def instruction(tmp_path, monkeypatch):
    """The name of a task that says what it asks for."""
    queries = {name: name for name in "wxyz"}
    task = beir(tmp_path / "d", {"a": "a", "b": "b"}, queries, [(q, "a", 1) for q in queries])
    table = tmp_path / "mine.toml"
    table.write_text(f'[told]\nsource = "{task}"\ninstruction = "Find it"\n')
    monkeypatch.setattr(catalog, "_extra", [table])
    catalog.definitions.cache_clear()
    yield "told"
    monkeypatch.undo()
    catalog.definitions.cache_clear()


def test_an_instruction_is_filled_in(instruction, monkeypatch, tmp_path):
    monkeypatch.setitem(ENCODERS._entries, "prompted", Entry("prompted", prompted))
    kept = Store(tmp_path / "s")
    found = study(["prompted"], instruction, ["{instruction}: "], measure="P@1", store=kept)
    _, (put, score, *_) = cases(found, measure="P@1")
    assert (put[0], score.mean) == ("Find it: ", 0.25)
    _own, *defaults, last = texts(study(["prompted"], instruction, store=kept), measure="nDCG@10")
    assert [query for query, _ in defaults] == list(PROMPTS[:-1])
    assert last[0] == "Instruct: Find it\nQuery: "


def test_the_own_prompt_is_filled_in_too(instruction, monkeypatch, tmp_path):
    monkeypatch.setitem(ENCODERS._entries, "prompted", Entry("prompted", prompted))
    model = "prompted,query_prompt={instruction}:%20"
    found = study([model], instruction, [""], store=Store(tmp_path / "s"))
    assert texts(found, measure="nDCG@10")[0] == ("Find it: ", "")


def test_without_an_instruction_the_default_leaves_it_out(four):
    _own, *defaults = texts(four(measure="nDCG@10"), measure="nDCG@10")
    assert [query for query, _ in defaults] == list(PROMPTS[:-1])


def test_prompts_of_a_file(tmp_path):
    lines = tmp_path / "prompts.txt"
    lines.write_text("query: \n\nFind \n", "utf-8")
    assert read(lines) == (["query: ", "", "Find "], None)
    table = tmp_path / "prompts.toml"
    table.write_text('prompts = ["", "a\\nb: "]\ndocument_prompts = ["passage: "]\n')
    assert read(table) == (["", "a\nb: "], ["passage: "])
    table.write_text('prompts = ["x"]\n')
    assert read(table) == (["x"], None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.toml", 'prompt = ["a"]', "unknown key of .*p.toml 'prompt'. Did you mean 'prompts'"),
        ("p.toml", 'prompts = "a"', "p.toml: prompts = 'a': expected a list of texts"),
        ("p.toml", "prompts = []", r"p.toml: prompts = \[\]: expected a list of texts"),
        ("p.toml", "prompts = [1]", r"p.toml: prompts = \[1\]: expected a list of texts"),
        ("p.toml", 'document_prompts = ["a"]', "p.toml has no prompts: expected prompts = "),
        ("p.toml", "prompts", "p.toml: not a readable TOML file: "),
        ("none.txt", None, "none.txt: cannot be read: "),
    ],
)
def test_a_file_that_holds_no_prompts(name, text, message, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("judged", "prompts", "measure", "message"),
    [
        ("x", ["a"], "nDCG@10", "has one judged query: a prompt is chosen on half of them"),
        ("xy", ["{instruction} "], "nDCG@10", r"a prompt holds {instruction}, and folder:.* has n"),
        ("xy", ["a"], "Robustness@10", "measured by Robustness@10, of groups"),
    ],
)
def test_what_is_refused(judged, prompts, measure, message, tmp_path):
    queries = {"x": "x", "y": "y"}
    task = beir(tmp_path / "t", {"a": "a"}, queries, [(q, "a", 1) for q in judged])
    with pytest.raises(InputError, match=message):
        study(["bm25"], task, prompts, measure=measure)


def test_unknown_models_and_other_tasks_are_refused(four, tmp_path):
    with pytest.raises(InputError, match="unknown model 'nothing'"):
        four("a", model="nothing")
    path = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "a", "sentence2": t, "score": i} for i, t in enumerate("abc")]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study(["bm25"], f"pairs:{path}")
    with pytest.raises(InputError, match="file= names a file of prompts: give them there"):
        Prompts(("a",), file="prompts.txt")


def test_names_of_prompts():
    assert labels([Prompt(), Prompt(""), Prompt("q ", "d "), Prompt(None, "d ")]) == [
        "its own", "none", '"q ", documents "d "', '"d "'
    ]  # fmt: skip
    long = "ä" * 70
    assert labels([Prompt(long)]) == [f'"{"ä" * 60}..."']
    assert labels([Prompt(f"{long}a"), Prompt("x"), Prompt(f"{long}b")]) == [
        f'"{"ä" * 60}..." (1)', '"x"', f'"{"ä" * 60}..." (2)'
    ]  # fmt: skip


def test_only_the_minimum_of_ndcg_at_10_is_robustness_at_10(four):
    names = [column.name for column in four("a", measure="nDCG@10")["queries"].columns]
    assert names == ["system", "Robustness@10", "mean prompt", "highest prompt"]
    assert four("a")["queries"].columns[1].name == "lowest prompt"


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (Estimate(-0.02, -0.04, -0.01), "the best adds -0.0200"),
        (Estimate(0.05, -0.05, 0.15), "the best adds nothing that shows"),
    ],
)
def test_the_headline_is_what_choosing_adds(four, gain, said):
    found, none = four("good: "), Estimate(0, 0, 0)
    row = ("prompted", "", "", "", none, 0.1, none, gain)
    chosen = Frame("t", CHOICE, [row], name="choice")
    assert headline("t", "Success@1", found["prompts"], chosen) == (
        f"prompted on t: Success@1 0.500 to 0.750 by prompt; on other queries than chose it {said}"
    )


def test_prompts_of_a_spec_arrive_as_the_study_says_they_are_written():
    made = STUDIES.create("prompts,query_prompts=+query:%20+C%252B%252B%2C +x ")
    assert made.query_prompts == ("", "query: ", "C++, ", "x ")
    assert STUDIES.create("prompts,query_prompts=[]").query_prompts == ("",)
