"""Vocabularies of generated collections, a file each."""

from __future__ import annotations

from importlib.resources import files


def read(name: str) -> str:
    """The text of one of the files."""
    return (files(__name__) / name).read_text("ascii")
