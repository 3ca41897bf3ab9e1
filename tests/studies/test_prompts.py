"""Prompts: values of four queries by hand, what models are asked, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest

from harness import catalog
from harness.disk import cache_root
from harness.encoders import ENCODERS
from harness.errors import InputError
from harness.parameters import Entry
from harness.store import Store
from harness.studies.prompts import PROMPTS, Prompt, read, study
from tests.fakes import Counting, beir

RIGHT = {  # queries that find their document first, by what stands before them
    "own: ": "xy",
    "good: ": "xyz",
    "all: ": "wxyz",
    "bad: ": "w",
    "Find it: ": "x",
}
asked: list[tuple[str, str]] = []


@dataclass(frozen=True)
class Prompted(Counting):
    """A model that is right about some queries, by its prompt."""

    query_prompt: str = "own: "
    document_prompt: str = ""

    def prompt(self, role):
        return self.query_prompt if role == "query" else self.document_prompt

    def with_instructions(self, instructions):
        filled = self.query_prompt.replace("{instruction}", instructions.get("query", "?"))
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

    def found(*prompts, model="prompted", **options):
        store = Store(tmp_path / "s")
        return study([model], task, prompts, measure="Success@1", store=store, **options)

    return found


def test_one_prompt_by_hand(four):
    [row] = four("good: ").rows
    own, good = row.cases
    assert (own.prompt, own.texts) == (Prompt(), ("own: ", ""))
    assert (good.prompt, good.texts) == (Prompt("good: "), ("good: ", ""))
    assert (own.score.mean, good.score.mean, good.difference.mean) == (0.5, 0.75, 0.25)
    assert (own.difference.mean, own.difference.high) == (0, 0)
    assert (row.best, row.worst, row.apart.mean) == (1, 0, 0.25)
    assert row.deviation == pytest.approx(0.25 / 2**0.5)
    assert (row.robustness.mean, row.micro.mean, row.oracle.mean) == (0.5, 0.625, 0.75)
    # only the half that holds z chooses it, and adds nothing on the other half
    assert (own.chosen, good.chosen) == (0.5, 0.5)
    assert row.gain.mean == 0


def test_a_prompt_that_every_query_likes_is_worth_as_much_elsewhere(four):
    [row] = four("bad: ", "all: ").rows
    assert [case.score.mean for case in row.cases] == [0.5, 0.25, 1]
    assert (row.best, row.worst, row.apart.mean) == (2, 1, 0.75)
    # the best on every half but x and y, where its own is as good and comes first; it adds 1 for w
    # and for z, unless x and y choose
    assert [case.chosen for case in row.cases] == pytest.approx([1 / 6, 0, 5 / 6], abs=0.05)
    assert row.gain.mean == pytest.approx((2 / 3 + 2 / 3) / 4, abs=0.05)
    assert (row.robustness.mean, row.oracle.mean) == (0, 1)


def test_the_own_prompt_among_others_counts_once(four):
    [row] = four("own: ", "good: ", "good: ").rows
    assert [case.score.mean for case in row.cases] == [0.5, 0.5, 0.75]
    assert row.micro.mean == 0.625
    assert row.best == 2
    assert row.worst == 0
    [alone] = four("own: ").rows
    assert (alone.deviation, alone.apart.mean, alone.cases[0].chosen) == (0, 0, 1)


def test_document_prompts_go_with_each_prompt(four):
    [row] = four("good: ", "bad: ", document_prompts=["", "text: "]).rows
    assert [case.texts for case in row.cases] == [
        ("own: ", ""), ("good: ", ""), ("bad: ", ""), ("good: ", "text: "), ("bad: ", "text: "),
    ]  # fmt: skip
    assert {prompt for role, prompt in asked if role == "document"} == {"", "text: "}


def test_a_spec_with_a_prompt_has_that_for_its_own(four):
    [row] = four("own: ", model="prompted,query_prompt=good: ,document_prompt=text:%20").rows
    assert [case.texts for case in row.cases] == [("good: ", "text: "), ("own: ", "text: ")]
    assert row.cases[1].difference.mean == -0.25


def test_other_models_read_prompts_as_text(tmp_path):
    documents = {"a": "red apple", "b": "blue car", "c": "green tree"}
    judged = [("x", "a", 1), ("y", "c", 1)]
    task = beir(tmp_path / "t", documents, {"x": "apple", "y": "green tree"}, judged)
    found = study(
        ["bm25", "hashing"], task, ["", "blue car "], ["", "car car "], measure="Success@1",
        store=Store(cache_root()),
    )  # fmt: skip
    first, second = found.rows
    assert (first.model, second.model) == ("bm25", "hashing")
    assert [case.texts for case in first.cases[1:]] == [
        ("", ""), ("blue car ", ""), ("", "car car "), ("blue car ", "car car "),
    ]  # fmt: skip
    assert [case.score.mean for case in first.cases[:3]] == [1, 1, 0.5]
    assert [case.prompt.query for case in second.cases] == [None, "", "blue car ", "", "blue car "]
    json.dumps(asdict(found), allow_nan=False)


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
    assert found.instruction == "Find it"
    assert found.rows[0].cases[1].texts[0] == "Find it: "
    assert found.rows[0].cases[1].score.mean == 0.25
    defaults = study(["prompted"], instruction, store=kept).rows[0].cases[1:]
    assert [case.texts[0] for case in defaults[:-1]] == list(PROMPTS[:-1])
    assert defaults[-1].texts[0] == "Instruct: Find it\nQuery: "


def test_the_own_prompt_is_filled_in_too(instruction, monkeypatch, tmp_path):
    monkeypatch.setitem(ENCODERS._entries, "prompted", Entry("prompted", prompted))
    model = "prompted,query_prompt={instruction}:%20"
    [row] = study([model], instruction, [""], store=Store(tmp_path / "s")).rows
    assert row.cases[0].texts == ("Find it: ", "")


def test_without_an_instruction_the_default_leaves_it_out(four, tmp_path):
    [row] = study(["prompted"], four("own: ").task, store=Store(tmp_path / "store")).rows
    assert [case.texts[0] for case in row.cases[1:]] == list(PROMPTS[:-1])


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
        ("p.toml", "prompts", "p.toml: no readable file of prompts: "),
        ("none.txt", None, "none.txt: no readable file of prompts: "),
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
        study(["bm25"], task, prompts, measure=measure, store=Store(cache_root()))


def test_unknown_models_and_other_tasks_are_refused(four, tmp_path):
    with pytest.raises(InputError, match="unknown model 'nothing'"):
        four("a", model="nothing")
    path = tmp_path / "pairs.jsonl"
    rows = [{"sentence1": "a", "sentence2": t, "score": i} for i, t in enumerate("abc")]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    with pytest.raises(InputError, match="is a task of pairs: expected retrieval"):
        study(["bm25"], f"pairs:{path}", store=Store(cache_root()))
