"""The page of documentation on measures, made of what is registered."""

from __future__ import annotations

from itertools import groupby

from harness.measures import MeasureDefinition, definitions

HEAD = """# Measures

Made by `harness measures --markdown`: change the functions in `harness/measures/`, not this page.

A measure is named as in the first column, `K` being a cut-off, or in any of the other spellings, in
any case: `MRR@10`, `mrr_at_10`, `recip_rank`; `recall_100`, `ndcg_cut_10`, `P_5`; `MAP@100`. A
spelling that implies a cut-off says so: `MAP`, trec_eval's `map`, is AP@1000. Records hold the name
of the first column. `ir:NAME` hands any other measure to the package ir-measures.

A document is relevant if its gain is above 0; measures marked as graded read the gains themselves.
Queries without judgments are left out of every mean; one without results, or without any relevant
document, scores 0.

To add one, register a function, in a file given with `--plugin mine.py`:

    import harness

    @harness.measure("Half", cutoff=True, citation="nobody")
    def half(judged, cutoff):
        '''Half of the precision.'''
        return judged.hits(cutoff) / cutoff / 2  # one number a query

It is then known to every table, leaderboard, gate, comparison, study and export. Where low
values are good, it says `better="low"`: records keep that, orders are turned round, and a study of
losses and shares refuses it. What a function is given, and what else it may ask
for, stands in `harness/measures/__init__.py` and `judged.py`.
"""


def markdown() -> str:
    """The whole page, a section for each kind of task."""
    ordered = sorted(definitions(), key=lambda one: (one.kind != "retrieval", one.kind))
    sections = [HEAD]
    for kind, found in groupby(ordered, key=lambda one: one.kind):
        rows = [_row(one) for one in found]
        header = [
            "| measure | other spellings | best | defined by | what |",
            "|---|---|---|---|---|",
        ]
        sections.append("\n".join([f"## {kind.capitalize()}", "", *header, *rows, ""]))
    return "\n".join(sections)


def _row(one: MeasureDefinition) -> str:
    spelt = [f"`{name}`" + (f" (@{k})" if k else "") for name, k in one.others.items()]
    notes = [" ".join(one.summary.split())]
    if one.graded:
        notes.append("Graded.")
    if one.grouped:
        notes.append("Over groups of queries.")
    cells = [f"`{one.written}`", ", ".join(spelt), one.better, one.citation, " ".join(notes)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
