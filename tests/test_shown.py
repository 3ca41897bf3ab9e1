"""What acts in a text is written out; what is only unusual stays."""

from __future__ import annotations

import json

import pytest

from harness.errors import HarnessError
from harness.shown import (
    clean,
    disarm,
    escape,
    escape_formula,
    escape_markdown,
    quote_code,
)

ACTS = {
    "\x00": "\\u0000", "\x07": "\\u0007", "\x08": "\\u0008", "\x1b[2J": "\\u001b[2J",
    "\x7f": "\\u007f", "\x9b": "\\u009b", "\xad": "\\u00ad", "\u200b": "\\u200b",
    "\u202e": "\\u202e", "\u2066": "\\u2066", "\u2028": "\\u2028", "\ufeff": "\\ufeff",
    "\u2060": "\\u2060", "\u3164": "\\u3164", "\udcff": "\\udcff", "\U000e0041": "\\udb40\\udc41",
}  # fmt: skip


@pytest.mark.parametrize("text", ACTS)
def test_what_acts_is_written_as_json_writes_it(text):
    assert escape(f"a{text}b") == f"a{ACTS[text]}b"
    assert json.loads(f'"{escape(text)}"') == text


@pytest.mark.parametrize(
    "text",
    ["é", "e\u0301", "中文", "全角　空白", "🙂", "👩🏽\u200d💻", "❤\ufe0f", "می\u200cخواهم",
     "क\u094d\u200dष", "naïve\u00a0café", "C:\\new\\u001b", "1–3", "→"],
)  # fmt: skip
def test_letters_of_any_language_stay(text):
    assert escape(text) == clean(text) == text


def test_joiners_stay_only_where_they_join():
    assert escape("a\u200db") == "a\\u200db"
    assert escape("🙂\u200d") == "🙂\\u200d"


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"]
)
def test_a_name_or_an_error_is_one_line(end):
    assert clean(f"a {end} b") == "a b"
    assert str(HarnessError(f"bad: {end}::error::x\x1b")) == "bad: ::error::x\\u001b"


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ("::error::x", "\\u003a:error::x"),
        ("  ::add-mask::x", "  \\u003a:add-mask::x"),
        ("see a::b", "see a::b"),
        ("a ##[error]x", "a \\u0023#[error]x"),
        ("##vso[task.x]", "\\u0023#vso[task.x]"),
        ("##teamcity[x]", "\\u0023#teamcity[x]"),
        ("### Scores", "### Scores"),
    ],
)
def test_no_line_is_a_command(line, printed):
    assert disarm(line) == printed


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"), ("-2+3x", "'-2+3x"),
        ("@SUM(A1)", "'@SUM(A1)"), (" =1", "' =1"), ("＝1", "'＝1"), ("\t=1", "\\u0009=1"),
        ("\r=1", "\\u000d=1"), ("-0.5", "-0.5"), ("+0.0100", "+0.0100"), ("-1e-07", "-1e-07"),
        ("-5%", "-5%"), ("+1,024", "+1,024"), ("[-0.1, 0.2]", "[-0.1, 0.2]"), ("", ""),
        ("-0.1 [-0.2, 0.0]", "-0.1 [-0.2, 0.0]"), ("a\nb", "a\nb"),
    ],
)  # fmt: skip
def test_a_spreadsheet_runs_no_cell(text, cell):
    assert escape_formula(text) == cell


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("![i](http://x)", "![i\\](http://x)"),
        ("[x][y]", "[x\\][y]"),
        ("[0.1, 0.2]", "[0.1, 0.2]"),
        ("<img src=x>", "&lt;img src=x>"),
        ("&lt;b", "&amp;lt;b"),
        ("a & b_c *", "a & b_c *"),
        ("a\\](b)", "a\\\\\\](b)"),
        ("a\n# b", "a # b"),
    ],
)
def test_markdown_has_no_markup_of_data(text, page):
    assert escape_markdown(text) == page


def test_code_ends_where_it_should():
    assert quote_code("a b") == "`a b`"
    assert quote_code("a`b\n") == "`` a`b ``"
