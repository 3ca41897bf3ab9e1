"""A gate's verdicts for people, GitHub and JUnit; text from data stays text."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from harness import gate
from harness.compare import side
from harness.gate import Gate, TaskVerdict
from harness.gate.costs import CostVerdict
from harness.gate.policy import CostPolicy, Policy
from harness.report import gate as report
from harness.report.tables import write
from tests.comparable import costed, saved

HOSTILE = '<script>alert(1)</script> | `x` *b* [l](http://e.vil) @user &amp; "q" \x1b[31m\x00\n# h'
BASE = np.linspace(0.2, 0.8, 400)


@pytest.fixture
def made(tmp_path) -> Gate:
    for task, change in {"worse": -0.1, "same": 0.0, "better": 0.1}.items():
        saved(tmp_path / "old", {"nDCG@10": BASE}, task, costs=costed(1.0))
        saved(tmp_path / "new", {"nDCG@10": BASE + change}, task, system="n", costs=costed(1.0))
    policy = Policy(cost=CostPolicy(dimension=1.0, latency=1.1))
    return gate.judge(side([tmp_path / "old"]), side([tmp_path / "new"]), policy)


def hostile(count: int = 1, text: str = HOSTILE) -> Gate:
    verdicts = [TaskVerdict(f"{text} {i}", "not comparable", text, 0.0) for i in range(count)]
    costs = (CostVerdict("latency", 1.0, None, "not compared", text),)
    return Gate(text, text, Policy(), tuple(verdicts), costs, (text,))


def test_the_page_in_numbers(made):
    verdicts, costs = report.page(made)
    assert verdicts.title == "n held to m"
    assert verdicts.rows[0] == [
        "worse", "regressed", "nDCG@10", "0.5000", "0.4000", "-0.1000", "< 0.001",
        "0.5000 -> 0.4000 (-0.1000), p < 0.001: more than 0.0100 lost",
    ]  # fmt: skip
    assert [row[:2] for row in verdicts.rows[1:]] == [["same", "same"], ["better", "improved"]]
    assert [row[:2] for row in costs.rows] == [["latency", "within"], ["dimension", "within"]]
    missing = replace(made, verdicts=(TaskVerdict("t", "missing", "not there", 0.0),))
    assert report.page(missing)[0].rows == [["t", "missing", *[""] * 5, "not there"]]


def test_the_summary_names_what_is_not_in_order(made):
    passed = replace(made, verdicts=made.verdicts[1:])
    assert report.summary(passed) == "pass (1 same, 1 improved)"
    assert report.summary(hostile()) == ("cannot judge (1 not comparable, latency not compared)")


@pytest.mark.parametrize("style", ["markdown", "latex"])
def test_every_format_can_be_written(made, style):
    assert "worse" in write(report.page(made), style)


def test_junit_counts_what_failed_and_what_could_not_be_judged(made):
    more = replace(
        made,
        verdicts=(
            *made.verdicts,
            TaskVerdict("x", "not comparable", "the data differ", 0.0),
            TaskVerdict("y", "cannot tell", "few", 0.0, blind=True),
            TaskVerdict("z", "cannot tell", "enough", 0.0),
        ),
        costs=(CostVerdict("memory", 1.0, 2.0, "exceeded", "2.00 x"), made.costs[0]),
    )
    suite = ElementTree.fromstring(report.junit(more))
    assert suite.attrib == {
        "name": "gate: n",
        "tests": "8",
        "failures": "2",
        "errors": "2",
        "skipped": "0",
    }
    cases = {case.get("name"): case for case in suite}
    assert cases["worse"].get("classname") == "f"
    assert cases["worse"].find("failure").get("type") == "regressed"
    assert cases["x"].find("error").get("message") == "not comparable: the data differ"
    assert cases["y"].find("error") is not None
    assert cases["z"].find("system-out").text == "cannot tell: enough"
    assert cases["memory"].find("failure").get("message") == "exceeded: 2.00 x"
    assert cases["memory"].get("classname") == "cost"


def test_a_cost_that_passes_untold_says_so_in_every_report(tmp_path):
    saved(tmp_path / "old", {"nDCG@10": BASE}, costs=costed(1.0))
    saved(tmp_path / "new", {"nDCG@10": BASE}, system="n", costs=costed(1.05))
    policy = Policy(cost=CostPolicy(throughput=1.0))
    found = gate.judge(side([tmp_path / "old"]), side([tmp_path / "new"]), policy)
    why = (
        "0.95 x [0.86, 1.06] the baseline's, at least 1.00: cannot be judged, as the interval "
        "holds the limit, and passes; more runs or less noise, under [cost], narrow it"
    )
    assert found.exit_status == 0
    assert report.page(found)[1].rows[0][-1] == why
    assert report.summary(found) == "pass (1 same, throughput cannot tell)"
    suite = ElementTree.fromstring(report.junit(found))
    assert (suite.get("skipped"), suite.get("errors")) == ("1", "0")
    assert suite[1].find("skipped").get("message") == f"cannot tell: {why}"
    assert report.data(found)["costs"][0]["reason"] == why


def test_hostile_text_stays_text_in_xml():
    suite = ElementTree.fromstring(report.junit(hostile()))
    names = [case.get("name") for case in suite]
    assert names[0].startswith("<script>alert(1)</script> | `x`")
    assert not re.search("[\x00\x1b]", ElementTree.tostring(suite, "unicode"))
    ElementTree.fromstring(report.junit(hostile(text="\ud800 \ufffe \x0b")))


def test_hostile_text_stays_text_in_markdown():
    text = report.markdown(hostile())
    table = text.splitlines()[4]
    assert table.startswith(
        "| &lt;script>alert(1)&lt;/script> \\| \\`x\\` \\*b\\* \\[l\\](http:\u2060//"
    )
    assert "<script" not in text
    assert " @user" not in text
    assert "&amp;amp;" in text
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("### ")
    ]
    # every row has the header's cells, however many bars its text has
    rows = [line for line in text.splitlines()[2:5] if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_markdown_fits_and_says_what_it_left_out():
    text = report.markdown(hostile(1500))
    assert len(text.encode()) <= report.COMMENT_BYTES
    left = int(re.search(r"([\d,]+) more rows left out", text)[1].replace(",", ""))
    assert left + text.count("not comparable |") == 1500
    assert len(report.markdown(hostile(1500), report.SUMMARY_BYTES).encode()) > 200_000
    assert "left out" not in report.markdown(hostile(3))
    assert len(report.markdown(hostile(1, "x" * 10**6)).encode()) < 5000


def test_annotations_are_ten_at_most_and_one_line_each():
    lines = report.workflow_commands(hostile(50))
    assert len(lines) == 10
    assert all(line.startswith("::warning title=") for line in lines)
    assert not any("\n" in line or "\r" in line for line in lines)
    assert lines[-1].startswith("::warning title=42 more::cannot judge (50 not comparable")
    name = lines[0].removeprefix("::warning title=").split("::")[0]
    assert ":" not in name
    assert "," not in name
    assert "%0A" in lines[0]


def test_annotations_say_failures_first_and_nothing_of_a_pass(made):
    more = replace(made, verdicts=(TaskVerdict("x", "not comparable", "why", 0.0), *made.verdicts))
    assert report.workflow_commands(more) == [
        "::error title=worse%3A regressed::0.5000 -> 0.4000 (-0.1000), p < 0.001: "
        "more than 0.0100 lost",
        "::warning title=x%3A not comparable::why",
    ]
    assert report.workflow_commands(replace(made, verdicts=made.verdicts[1:])) == []
    percent = replace(made, verdicts=(TaskVerdict("50%", "missing", "a\r\nb", 0.0),))
    assert report.workflow_commands(percent) == ["::error title=50%25%3A missing::a%0D%0Ab"]


def test_json_holds_the_numbers(made):
    whole = report.data(made)
    assert (whole["exit_status"], whole["outcome"]) == (1, "regression")
    assert (whole["baseline"], whole["candidate"]) == ("m", "n")
    assert whole["policy"]["correction"] == "holm"
    worst = whole["verdicts"][0]
    assert (worst["task"], worst["status"], worst["blind"]) == ("worse", "regressed", False)
    assert worst["difference"]["a"] - worst["difference"]["b"] == pytest.approx(-0.1)
    assert [cost["status"] for cost in whole["costs"]] == ["within", "within"]
    assert report.data(hostile())["verdicts"][0]["difference"] is None
