"""Texts of others as they are shown: what acts on terminals, pages or tables is written out.

    escape              characters that move a cursor, turn or hide text, as JSON escapes them
    clean               the same in one line, without secrets: names, errors, cells
    disarm              a printed line that a CI service would take for a command
    escape_markdown     text in a page of Markdown
    quote_code          the same as code
    escape_formula      a cell that a spreadsheet would run

Letters of any language, emoji and what joins their parts stay as they are.
"""

from __future__ import annotations

import codecs
import re

from harness.masking import mask

JOINED = (  # between two of these a joiner makes a letter or a picture, and hides nothing
    "\u0600-\u08ff\u0900-\u109f\u1780-\u18af\u1b00-\u1bff\ua800-\uabff"
    "\u2190-\u2bff\ufe0f\U00011000-\U00011fff\U0001f000-\U0001faff"
)
ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2061-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff]"
    f"|(?<![{JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{JOINED}])"
    "|(?<![@:])\u2060"  # behind these it is ours: see report.gate
)
COMMAND = re.compile(r"^\s*:(?=:)|#(?=#(?:vso|teamcity)?\[)")
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
NUMBER = re.compile(r"[-+]?[\d.,]+(?:e[-+]?\d+)?%?|[-+\d.,%\[\]() –]+", re.I)


def escape(text: str, keep: str = "") -> str:
    """Write out what acts, as JSON would. keep: characters that stay."""
    if text.isascii() and text.isprintable():
        return text
    return ACTING.sub(lambda found: found[0] if found[0] in keep else _write(found[0]), text)


def clean(text: str) -> str:
    """A text in one line that shows all that is in it, but for secrets."""
    return escape(mask(" ".join(line.strip() for line in text.splitlines())))


def disarm(line: str) -> str:
    """A line to print that no CI service takes for a command: ::error::, ##[group], ##vso[...]."""
    return COMMAND.sub(lambda found: found[0][:-1] + _write(found[0][-1]), line)


def escape_markdown(text: str) -> str:
    """A line of text in a page of Markdown: no markup of HTML, no link, no image."""
    text = re.sub(r"\\(?=[!-/:-@\[-`{-~])", r"\\\\", clean(text))
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    return re.sub(r"\](?=[(\[:])", r"\\]", text)


def quote_code(text: str) -> str:
    """A line of text as code in a page of Markdown."""
    text = clean(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 else f"`{text}`"


def escape_formula(text: str) -> str:
    """A cell of a CSV file that no spreadsheet runs; numbers stay numbers."""
    text = escape(mask(text), keep="\n")
    runs = text.lstrip().startswith(FORMULA) and not NUMBER.fullmatch(text)
    return f"'{text}" if runs else text


def _write(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _write(error.object[error.start : error.end]), error.end


LACKING = "harness.shown"  # the name of a codec's error handler: what an encoding lacks is shown
codecs.register_error(LACKING, _replace)
