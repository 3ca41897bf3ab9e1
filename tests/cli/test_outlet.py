"""Whatever names are called, what commands print acts on no terminal, page, table or CI service."""

from __future__ import annotations

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest

from harness.encoders import ENCODERS
from harness.records import TaskRecord
from harness.shown import ACTING, COMMAND, FORMULA, NUMBER
from harness.tasks import catalog
from tests.comparable import saved

HOSTILE = (
    "x\x1b[2J\x07\x08\r\u202e\u2066\x9b31m\u200b\u2028é中文👩\u200d💻\n::error::from the data\n"
    "##[group]a|b ![i](http://h) [l](http://h) <img src=x> `c` \\|"
)
FORMATS = ("terminal", "markdown", "csv", "latex", "json")
PLUGIN = f"""
import harness

@harness.encoder("odd")
def odd(texts: list[str], *, text: str = {HOSTILE!r}) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]

odd.__doc__ = {HOSTILE!r}
"""


@pytest.fixture
def hostile(tmp_path):
    """A folder of records of two systems, whose every text is hostile, and what defines more."""
    task = TaskRecord(
        spec=HOSTILE, source=HOSTILE, kind="retrieval", family=f"=f{HOSTILE}", exclude_self=False,
        fingerprint={HOSTILE: HOSTILE}, license=HOSTILE, reference=HOSTILE,
    )  # fmt: skip
    for name, values in (("=a", [1.0, 0.0]), ("@b", [0.0, 0.5])):
        saved(
            tmp_path / name, {"nDCG@10": values}, HOSTILE, system=name + HOSTILE, task=task,
            warnings=[HOSTILE], counts={HOSTILE: 3},
        )  # fmt: skip
    quoted = json.dumps(HOSTILE.replace("\n", " "), ensure_ascii=False)
    (tmp_path / "tasks.toml").write_text(
        f"[odd]\nsource = 'limit,docs=8,queries=2,k=1'\ndescription = {quoted}\n"
        f"family = {quoted}\nlicense = {quoted}\nreference = {quoted}\n",
        "utf-8",
    )
    before = list(catalog._extra)
    yield tmp_path
    catalog._extra[:] = before
    catalog.definitions.cache_clear()
    ENCODERS._entries.pop("odd", None)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A file that registers an encoder: one, so that it may be loaded again."""
    path = tmp_path_factory.mktemp("plugins") / "plugin.py"
    path.write_text(PLUGIN, "utf-8")
    return path


def check(text: str, commands: int = 0) -> None:
    """What leaves is harmless."""
    assert not [one for one in ACTING.findall(text) if one not in "\n\t"]
    ours = [line for line in text.split("\n") if COMMAND.search(line)]
    assert len(ours) == commands
    assert all(re.match(r"::(error|warning) title=", line) for line in ours)
    assert "\x1b" not in text


def check_format(style: str, text: str) -> None:
    if style == "json":
        json.loads(text)
    if style == "csv":
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not [c for c in cells if c.startswith(FORMULA) and not NUMBER.fullmatch(c)]
    if style == "markdown":
        assert not re.search(r"(?<!\\)\]\(|<img", text)
        for table in re.findall(r"(?:^\|.*\n?)+", text, re.M):
            bars = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in table.splitlines()}
            assert len(bars) == 1


@pytest.mark.parametrize("style", FORMATS)
@pytest.mark.parametrize(
    "words",
    [
        ["show", "."],
        ["show", "=a"],
        ["leaderboard", ".", "-q", "--refused"],
        ["compare", "=a", "@b", "-q"],
        ["gate", "@b", "-b", "base", "-q"],
        ["tasks", "--plugin", "tasks.toml"],
        ["tasks", "odd", "--plugin", "tasks.toml"],
        ["models", "--plugin", "plugin.py"],
        ["eval", "-m", "odd", "-t", "odd", "--plugin", "tasks.toml", "--plugin", "plugin.py"],
        ["store", "list"],
    ],
    ids=" ".join,
)
def test_hostile_names_in_every_command_and_format(run, hostile, plugin, words, style):
    assert run("baseline", "freeze", "=a", "-o", "base").status == 0
    done = run(*(plugin if word == "plugin.py" else word for word in words), "-f", style)
    assert done.status == (2 if words[0] == "gate" else 0)
    check(done.out + done.err)
    check_format(style, done.out)
    if words[0] == "show":
        assert "é中文👩\u200d💻" in done.out.replace("\n", "") or style in ("terminal", "latex")


def test_hostile_names_in_the_files_of_the_gate(run, hostile):
    assert run("baseline", "freeze", "=a", "-o", "base").status == 0
    words = ("--junit", "gate.xml", "--markdown", "gate.md", "--github", "-q")
    done = run("gate", "@b", "-b", "base", *words)
    check(done.out, commands=1)
    page = (hostile / "gate.md").read_text("utf-8")
    check(page)
    check_format("markdown", page)
    ElementTree.parse(hostile / "gate.xml")
    assert not ACTING.search((hostile / "gate.xml").read_text("utf-8").replace("\n", ""))


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "-m", HOSTILE, "-t", "limit-small"],
        ["eval", "-m", f"api:m,url={HOSTILE}", "-t", "limit-small"],
        ["eval", "-m", "hashing", "-t", f"folder:{HOSTILE}"],
        ["eval", f"--no{HOSTILE}"],
        ["eval", "-f", HOSTILE],
        ["eval", "--seed", HOSTILE],
        [HOSTILE],
        ["show", HOSTILE],
        ["tasks", HOSTILE],
        ["study", HOSTILE],
        ["models", "pull", HOSTILE],
        ["compare", HOSTILE, HOSTILE],
        ["leaderboard", "--families", HOSTILE],
        ["store", "prune", "--limit", HOSTILE],
    ],
    ids=lambda words: " ".join(words)[:20].encode("ascii", "backslashreplace").decode(),
)
def test_hostile_words_in_errors(run, words):
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    check(done.err)
    if not done.err.startswith("Usage:"):
        assert len(done.err.splitlines()) == 1


def test_a_page_of_a_study_has_no_markup_of_data(run, hostile, plugin):
    done = run(
        "study", "funnel", "-m", "odd", "-t", "odd", "--plugin", "tasks.toml",
        "--plugin", plugin, "-f", "markdown",
    )  # fmt: skip
    check(done.out + done.err)
    for page in hostile.glob("results/studies/*/*.md"):
        check(page.read_text("utf-8"))
