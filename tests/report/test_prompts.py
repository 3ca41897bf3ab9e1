"""The page and the figure of a study of prompts."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

from harness.report.prompts import figure, name, page
from harness.report.tables import write
from harness.studies.prompts import Case, Prompt, Prompts, Row
from harness.studies.subject import Interval

NONE = Interval(0, 0, 0)


def around(mean: float) -> Interval:
    return Interval(mean, mean - 0.1, mean + 0.1)


ROW = Row(
    model="m",
    cases=(
        Case(Prompt(), ("query: ", "query: "), around(0.5), NONE, 0.25),
        Case(Prompt(""), ("", "query: "), around(0.4), around(-0.1), 0),
        Case(
            Prompt("Instruct: x\nQuery: ", "passage: "),
            ("Instruct: x\nQuery: ", "passage: "),
            around(0.6),
            Interval(0.1, 0.05, 0.2),
            0.75,
        ),
    ),
    best=2,
    worst=1,
    apart=around(0.2),
    deviation=0.1,
    gain=Interval(-0.02, -0.04, -0.01),
    robustness=around(0.3),
    micro=around(0.5),
    oracle=around(0.7),
)
PROMPTS = Prompts("t", "nDCG@10", 1500, 100, "x", (ROW,), 0, ("odd",))


def test_a_page_holds_every_prompt():
    cases, choice, queries, warnings = page(PROMPTS)
    assert cases.title == "nDCG@10 on t by prompt, 1,500 queries"
    assert cases.rows == [
        ["m", 'its own: "query: "', "0.5000", "[0.4000, 0.6000]", "", "", "25%"],
        ["m", "none", "0.4000", "[0.3000, 0.5000]", "-0.1000", "[-0.2000, 0.0000]", "0%"],
        [
            "m", '"Instruct: x\\nQuery: ", documents "passage: "', "0.6000", "[0.5000, 0.7000]",
            "+0.1000", "[0.0500, 0.2000]", "75%",
        ],
    ]  # fmt: skip
    assert "too high on the queries that chose it" in choice.title
    assert choice.rows == [
        [
            "m", '"Instruct: x\\nQuery: ", documents "passage: "', "none",
            "0.2000 [0.1000, 0.3000]", "0.1000", "0.1000 [0.0500, 0.2000]",
            "-0.0200 [-0.0400, -0.0100]",
        ]
    ]  # fmt: skip
    assert queries.header == ["model", "Robustness@10", "mean prompt", "highest prompt"]
    assert queries.rows == [
        ["m", "0.3000 [0.2000, 0.4000]", "0.5000 [0.4000, 0.6000]", "0.7000 [0.6000, 0.8000]"]
    ]
    assert warnings.rows == [["odd"]]


def test_only_the_minimum_of_ndcg_at_10_is_robustness_at_10():
    tables = page(replace(PROMPTS, measure="R@2", warnings=()))
    assert tables[2].header[1] == "lowest prompt"
    assert len(tables) == 3
    assert json.loads(write(tables[:1], "json"))[1]["R@2"] == "0.4000"


def test_names_of_prompts():
    def shown(prompt: Prompt, *texts: str) -> str:
        return name(Case(prompt, (texts[0], texts[-1]), NONE, NONE, 0))

    assert shown(Prompt(), "") == "its own: none"
    assert shown(Prompt(), "q ", "d ") == 'its own: "q ", "d "'
    assert shown(Prompt("ä" * 70), "") == f'"{"ä" * 60}..."'
    assert shown(Prompt(None, "d "), "", "d ") == '"d "'


def texts(prompts: Prompts) -> list[str]:
    """All that is written on a figure, which is drawn to see that it can be."""
    from matplotlib.text import Text

    made = figure(prompts)
    made.savefig(io.BytesIO(), format="svg")
    return [item.get_text().replace("\n", " ") for item in made.findobj(Text)]


def test_the_title_of_a_figure_is_what_it_shows(monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    said = texts(PROMPTS)
    first = "m on t: nDCG@10 0.400 to 0.600 by prompt; on other queries than chose it the best adds"
    assert f"{first} −0.0200" in said
    assert {"its own", "none", "m"} <= set(said)
    nothing = replace(ROW, gain=around(0.05))
    other = replace(ROW, model="n")
    said = texts(replace(PROMPTS, rows=(nothing, other)))
    assert f"{first} nothing that shows" in said
    assert {"m", "n", "nDCG@10, 95 % interval over 1,500 queries"} <= set(said)
    assert "matplotlib.pyplot" not in sys.modules
