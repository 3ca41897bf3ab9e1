"""Studies as plugins: registered, listed, asked by specs, with pages and files of their own."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest

from harness.errors import InputError
from harness.report.findings import load_findings
from harness.spec import join, split_list
from harness.studies import STUDIES, Findings, Option, Study, options
from harness.studies.robustness import Robustness

PLUGIN = """
    from __future__ import annotations

    from collections.abc import Sequence
    from dataclasses import dataclass
    from typing import Annotated, ClassVar, Literal

    import harness
    from harness.frames.charts import Bars
    from harness.frames import Column, Frame
    from harness.studies import Findings, Study


    @harness.study("letters")
    @dataclass(frozen=True)
    class Letters(Study):
        \"\"\"How many letters there are.

        Two paragraphs of help.
        \"\"\"

        takes: ClassVar = "one"
        tasks: ClassVar = "many"
        default_systems: ClassVar = ("hashing",)
        default_seed: ClassVar = 42
        old_options: ClassVar = {"--letter": "letters", "-l": "letters"}

        letters: Annotated[tuple[str, ...], "counted"] = ("a", "b")
        case: Literal["upper", "lower"] = "lower"
        most: int | None = None

        def run(self, session, systems: Sequence[str], task: str) -> Findings:
            session.progress("count", 0, 2, "letters")
            rows = [(letter, task.count(letter), session.seed) for letter in self.letters]
            columns = [Column("letter"), Column("count", "count", about=self.case)]
            frame = Frame("Letters", [*columns, Column("seed", "count")], rows, name="letters")
            return Findings(f"{systems[0]}: {task}", [frame], [Bars(frame, "count", "letter")])
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A study in a file; it is forgotten when the test ends."""
    STUDIES.names()
    monkeypatch.setattr(STUDIES, "_entries", dict(STUDIES._entries))
    path = tmp_path / "letters.py"
    path.write_text(dedent(PLUGIN))
    return path


def test_a_study_from_a_plugin(run, plugin, tmp_path):
    words = ["-t", "aab", "-t", "limit,docs=9", "--plugin", plugin]
    done = run("study", "letters,letters=a+z", *words)
    assert done.status == 0, done.err
    assert done.out.startswith("hashing: aab+[limit,docs=9]\n\nLetters")
    (folder,) = (tmp_path / "results/studies").iterdir()
    names = "page.md, letters.parquet, figure.png, figure.svg, numbers.json"
    assert done.err.endswith(f"written: results/studies/{folder.name}: {names}\n")
    saved = load_findings(folder)
    assert saved.about.study == "letters,case=lower,letters=a+z"
    assert (saved.about.systems, saved.about.task) == (("hashing",), "aab+[limit,docs=9]")
    assert saved.findings["letters"].rows == (("a", 2, 42), ("z", 0, 42))
    assert saved.about.environment["cpus"] >= 1
    assert (folder / "page.md").read_text().startswith("# hashing: aab+[limit,docs=9]\n")


def test_formats(run, plugin):
    words = ["--plugin", plugin, "-t", "ab", "-q"]
    done = run("study", "letters", *words, "-f", "json", "--seed", 7)
    read = json.loads(done.out)
    assert (read["headline"], read["seed"]) == ("hashing: ab", 7)
    assert read["frames"][0]["rows"] == [["a", 1, 7], ["b", 1, 7]]
    again = run("study", "letters", "-t", "ab", "-q", "-f", "csv")
    assert again.out == (
        "table,letter,count,seed,headline\nletters,a,1,42,\nletters,b,1,42,\nabout,,,,hashing: ab\n"
    )
    page = run("study", "letters", "-t", "ab", "-q", "-f", "markdown")
    assert page.out.startswith("# hashing: ab\n\n### Letters\n")


def test_old_spellings_say_the_new_ones(run, plugin):
    words = ["--plugin", plugin, "-t", "ab", "-q", "-f", "csv"]
    done = run("study", "letters", "--letter", "a", "-l", "c", "--case", "upper", *words)
    assert done.out.splitlines()[1:3] == ["letters,a,1,42,", "letters,c,0,42,"]
    plus = run("study", "letters", "-l", "a+b", "-t", "xa+b", "-q", "-f", "csv")
    assert plus.out.splitlines()[1] == "letters,a+b,1,42,"
    assert plus.err.splitlines()[0] == "say: harness study 'letters,letters=[a+b]' -t xa+b"
    assert done.err.splitlines()[0] == ("say: harness study letters,letters=a+c,case=upper -t ab")


def test_the_help_of_a_study_tells_its_options(run, plugin, monkeypatch):
    known = dict(STUDIES._entries)
    run("study", "letters", "--plugin", plugin, "-t", "a", "-q")
    done = run("study", "letters", "--help")
    assert done.status == 0
    said = " ".join(done.out.split())
    assert "How many letters there are. Two paragraphs of help. Options after the name" in said
    assert "letters=a+b counted (texts, as A+B) case=lower (upper, lower) most=" in said
    assert "Example: harness study letters,letters=a+b -m hashing -t limit-small" in said
    assert "--letter" not in said
    monkeypatch.setattr(STUDIES, "_entries", known)
    listing = run("study", "--plugin", plugin)
    assert listing.status == 0
    assert "How many letters there are." in listing.out
    assert "What typing errors, case," in listing.out
    assert "geometry" in listing.out


def test_ann_is_short_for_a_study(run):
    for word in ("-h", "--help"):
        done = run("ann", word)
        assert done.status == 0
        assert done.out.startswith("Usage: harness study ann [OPTIONS]")
    done = run("ann", "-m", "hashin", "-q")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: unknown encoder 'hashin'")


def test_the_options_that_ann_had_still_work(run, tmp_path):
    pytest.importorskip("faiss")
    asked = ["-m", "hashing,dim=16", "-t", "limit,docs=60,queries=20,k=2,pattern=cycle", "-q"]
    words = ["-i", "hnsw,M=4", "--sweep", "ef_search=2,8", "-f", "csv", "-o", "pages"]
    done = run("ann", *asked, *words)
    assert done.status == 0
    spec = "ann,indexes=[hnsw,M=4],sweep=[ef_search=2,8]"
    said = f"say: harness study '{spec}' {' '.join(asked[:4])}"
    assert done.err.splitlines()[0] == said
    (folder,) = (tmp_path / "pages").iterdir()
    kept = load_findings(folder)
    assert kept.about.study.startswith("ann,indexes=[hnsw,M=4],k=10,")
    found = ["exact", "hnsw,M=4,ef_search=2", "hnsw,M=4,ef_search=8"]
    assert list(kept.findings["settings"]["index"]) == found
    assert (folder / "figure.png").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lettres"], "unknown study 'lettres'. Did you mean 'letters'?"),
        (["letters,letter=a"], "unknown parameter of letters 'letter'. Did you mean 'letters'?"),
        (["letters,case=low"], "letters: case=low: expected one of upper, lower"),
        (["letters", "-m", "a", "-m", "b"], "letters studies one system: expected one of a, b"),
        (["robustness", "-t", "a", "-t", "b"], "robustness takes one task: expected one of a, b"),
        (["robustness,draws=0"], "0 draws: expected at least 1"),
        (["letters", "-f", "html"], "--format html: expected one of"),
        (["letters", "--plugin", "none.py"], "none.py: no such plugin file"),
        (["letters", "--plugin=none.py"], "none.py: no such plugin file"),
    ],
)
def test_a_study_that_is_asked_wrongly_is_one_line(run, plugin, tmp_path, words, message):
    if "none.py" not in words[-1]:
        run("study", "letters", "--plugin", plugin, "-t", "a", "-q", "-o", "first")
    done = run("study", *words, "-q")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"error: {message}")
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


def test_the_options_of_a_study():
    perturbations, severities, draws = options("robustness")
    assert perturbations.about.startswith("all, or some of typos, upper-case")
    assert severities == Option(
        "severities", "numbers, as A+B", True, "0.3", "shares of words with a typing error"
    )
    assert (draws.kind, draws.default) == ("whole number", "3")


def test_a_study_is_made_from_its_spec():
    made = STUDIES.create("robust,severities=0.1+0.3,perturbations=typos,draws=2")
    assert made == Robustness(("typos",), (0.1, 0.3), 2)
    full = STUDIES.resolve("robust,severities=0.1+0.3")
    assert str(full) == "robustness,draws=3,perturbations=,severities=0.1+0.3"
    assert STUDIES.create(full) == Robustness(severities=(0.1, 0.3))
    with pytest.raises(InputError, match=r"robustness: severities=0\.1x: expected a number"):
        STUDIES.create("robustness,severities=0.1x")


def test_what_is_no_study_is_seen():
    with pytest.raises(TypeError, match="abstract"):
        Study()  # type: ignore[abstract]
    assert Findings("h", []).frames == ()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.1, 0.3), "0.1+0.3"),
        ((), ""),
        (("",), "[]"),
        (("[]",), "%5B]"),
        (("[Q] ", "x [a+b]"), "%5BQ] +x %5Ba%2Bb]"),
        (("query: ", "", "a+b"), "query: ++[a+b]"),
        (("1 + 1", "100%"), "1 %2B 1+100%25"),
        (("hnsw,M=8", "exact"), "[hnsw,M=8]+exact"),
        (("rrf:[bm25,k1=0.9]+minilm",), "[rrf:[bm25,k1=0.9]+minilm]"),
    ],
)
def test_a_list_reads_back_as_it_is_written(values, text):
    assert join(values) == text
    assert split_list(text) == ([str(value) for value in values] if text else [])
