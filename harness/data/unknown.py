"""Ids that are named and not there: one of them, and why where that can be seen."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable
from itertools import islice

LOOKED_AT = 1000  # unknown ids among which one with a cause is looked for


def show_unknown(named: Iterable[tuple[str, str]], held: Container[str]) -> str:
    """One of several unknown ids, as: 'a ' (test.tsv:2), which is there without the blanks: 'a'.

    Args:
        named: Unknown ids, each with its place, or "".
        held: The ids that are there.
    """
    shown = ""
    for id, where in islice(named, LOOKED_AT):
        cause = _find_cause(id, held)
        if cause or not shown:
            shown = f"{id!r}{f' ({where})' if where else ''}{cause}"
        if cause:
            break
    return shown


def _find_cause(id: str, held: Container[str]) -> str:
    """What looks like an id and is there, and in what they differ; nothing where none is."""
    bare = id.strip()
    forms = {form: unicodedata.normalize(form, bare) for form in ("NFC", "NFD")}
    others = {
        "without the blanks around it": bare,
        "with a blank behind it": f"{bare} ",
        "with a blank before it": f" {bare}",
        **{f"in the Unicode form {form}": other for form, other in forms.items()},
    }
    for how, other in others.items():
        if other != id and other in held:
            return f", which is there {how}: {other!r}"
    return ""
