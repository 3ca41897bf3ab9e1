"""What was given as a secret, or looks like one: never shown, never written.

remember    a value that was given as a key; from then on no part of it is shown
notice      a text that somebody typed, as a spec: what stands in it where keys stand is remembered
mask        a text without all this
mask_all    whatever JSON can hold, its texts without it
mask_json   the same of a text of JSON
"""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from typing import Any

MASK = "[key]"
PART = 8  # characters of a secret that are not shown in a row
LEAST = 6  # letters and digits among them: fewer are in many words
SEED = 4  # the same, one in each part: what is looked for first
WORD = 16  # the same, of small letters alone: shorter ones are words
LIKE = {  # of what looks like one its group is masked, else the whole; what any such text holds
    r"(?<![A-Za-z0-9])(?:sk-|sk_|hf_|gsk_|nvapi-|xai-|pplx-)"
    r"(?:(?=[\w-]*[A-Z])[\w-]{6,}|(?=[\w-]*\d)[\w-]{24,})": ("sk", "hf_", "nvapi", "xai-", "pplx"),
    r"(?<![A-Za-z0-9])(?:gh[opsur]_|github_pat_|glpat-|xox[a-z]-|AIza)[\w-]{8,}": (
        "gh", "glpat", "xox", "AIza",
    ),
    r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{8,}": ("AKIA", "ASIA"),
    r"(?<![A-Za-z0-9])(?:jina_|pa-)(?=[\w-]*\d)\w{40,}": ("jina_", "pa-"),
    r"(?<![A-Za-z0-9])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*": ("eyJ",),
    r"(?i:\bbearer\s+)((?=\S*[\dA-Z])[\w.~+/=-]{8,})": ("earer", "EARER"),
    # in a URL: a password, whatever is in it but blanks; a name alone, where a host comes after it
    r"://[^\s/@:\"'<>]*:((?!\d{1,5}[/@,\s])[^\s@\"'<>]+)@": ("@",),
    r"://([^\s/@:\"'<>\[\]]+)@(?=[\w-]*\.|[\w-]*:\d|localhost|[\w-]+/|\[)": ("@",),
    r"(?i)[?&;](?:[a-z]+[-_]?)?(?:key|token|sig|signature|auth|code|password|secret)="
    r"([^\s&,\"'<>\]\[\\]+)": ("?", "&", ";"),
    r"(?i)(?:api_?key|token|password|passwd|pwd|secret)="
    r"((?=\S*\d)[^\s&,\"'<>\]\[\\]{6,})": ("=",),
    r"\b(?:api_key_env|key_variable)=(?![A-Z_][A-Z0-9_]*(?![\w-]))(?!\[)([^\s,\"'<>\]]+)": (
        "_env=", "_variable=",
    ),
    r"(?<![a-z_])url=((?=\w*\d)[\w-]{16,})(?![\w.:/-])": ("url=",),
}  # fmt: skip
_LIKE = [(re.compile(pattern), hints) for pattern, hints in LIKE.items()]
SIZES = (WORD, *range(PART, LEAST - 1, -1))  # of parts, without what is passed over
_ENCODED, _PASSED_OVER = re.compile(r"%[0-9A-Fa-f]{2}|&#|\\[xu]"), re.compile("[^A-Za-z0-9]+")
_CHARACTER = re.compile(  # as URLs, pages and programs write it, and what is not passed over
    r"%[0-9A-Fa-f]{2}|&#(?:[xX][0-9A-Fa-f]+|\d+);|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|[A-Za-z0-9]"
)
_values: dict[str, None] = {}
_parts: set[str] = set()
_seeds: set[str] = set()  # each part holds one


def mask(text: str) -> str:
    """Take out of a text what was given as a secret, also in part or encoded, or looks like one."""
    for pattern, hints in _LIKE:
        if any(hint in text for hint in hints):
            text = pattern.sub(_cover, text)
    return "\n".join(map(_cover_parts, text.split("\n"))) if _values else text


def mask_all(value: Any) -> Any:
    """The same with every text of it masked, in dicts and lists."""
    if isinstance(value, dict):
        return {key: mask_all(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [mask_all(each) for each in value]
    return mask(value) if isinstance(value, str) else value


def mask_json(text: str) -> str:
    """A text of JSON with every text in it masked, laid out as records are."""
    if mask(text) == text:
        return text
    return json.dumps(mask_all(json.loads(text)), indent=2, ensure_ascii=False)


def remember(value: str) -> None:
    """Never show a value again, nor a part of it. What is shorter than a part is no secret."""
    if len(value) < PART or value in _values:
        return
    raw = value.encode("utf-8", "replace")
    encoded = [base64.b64encode(b" " * n + raw).decode() for n in range(3)]  # wherever it begins
    for form in (value, raw.hex(), *encoded):
        bare = _PASSED_OVER.sub("", form)
        parts = {_PASSED_OVER.sub("", form[i : i + PART]) for i in range(len(form) - PART + 1)}
        _parts.update(part for part in parts if len(part) >= LEAST and not _is_word(part))
        _parts.update(bare[i : i + WORD] for i in range(len(bare) - WORD + 1))
        _seeds.update(bare[i : i + SEED] for i in range(0, len(bare) - SEED + 1, LEAST - SEED + 1))
    _values[value] = None


def notice(text: str) -> None:
    """Remember what stands in a text where only keys stand."""
    for pattern, _ in _LIKE:
        for found in pattern.finditer(text):
            remember(found[pattern.groups])


def _cover(found: re.Match[str]) -> str:
    low, high = (at - found.start() for at in found.span(found.re.groups))
    return found[0][:low] + MASK + found[0][high:]


def _is_word(part: str) -> bool:
    return part.isalpha() and part.islower()


def _spell(text: str) -> list[tuple[int, int, str]]:
    """Letters and digits of a text, in whatever way they are written, and where they stand."""
    found = ((one.start(), one.end(), _read(one[0])) for one in _CHARACTER.finditer(text))
    return [each for each in found if each[2]]


def _read(written: str) -> str:
    if len(written) == 1:
        return written
    plain = unescape(written) if written[0] == "&" else chr(int(written.lstrip("%\\xu"), 16))
    return plain if plain.isascii() and plain.isalnum() else ""


def _find_seed(line: str) -> bool:
    """Whether a line may hold a part of a secret: told in less time than is taken to find it."""
    bare = _PASSED_OVER.sub("", line)
    return any(seed in bare for seed in tuple(_seeds))


def _cover_parts(line: str) -> str:
    """A line without parts of secrets, whatever stands between their characters."""
    for value in tuple(_values):
        line = line.replace(value, MASK)
    if not _ENCODED.search(line) and not _find_seed(line):
        return line
    spelt = _spell(line)
    bare = "".join(character for *_, character in spelt)
    shown, end = "", 0
    for at in range(len(bare) - LEAST + 1):
        part = next((p for n in SIZES if (p := bare[at : at + n]) in _parts), "")
        if part:
            first, last = spelt[at][0], spelt[at + len(part) - 1][1]
            shown += line[end:first] + MASK if first >= end else ""
            end = max(end, last)
    return shown + line[end:]
