"""The store from the command line: listed, limited, pruned, with sizes as people write them."""

from __future__ import annotations

import os

import pytest

from harness.cli import common
from harness.errors import InputError
from tests.cli.test_cli import TASK


def test_the_store(run, tmp_path):
    place = ["--cache", tmp_path / "store"]
    run("eval", "-m", "hashing", "-t", TASK, "-q", *place)
    rows = run("store", "list", "--json", *place).json["spaces"]
    assert sorted((row["encoder"], row["role"], row["texts"]) for row in rows) == [
        ("hashing", "document", 40),
        ("hashing", "query", 9),
    ]
    whole = run("store", "verify", "-q", *place)
    assert (whole.status, whole.out, whole.err) == (0, "2 whole, 0 damaged\n", "")
    shard = next((tmp_path / "store").rglob("*.npy"))
    shard.write_bytes(shard.read_bytes()[:-1])
    broken = run("store", "verify", "-q", *place)
    assert (broken.status, broken.out) == (1, "1 whole, 1 damaged\n")
    assert broken.err == f"damaged: {shard.with_suffix('.damaged')}\n"
    pruned = run("store", "prune", "--limit", "0", *place)
    assert pruned.out.startswith("removed 2 encoder spaces, ")
    assert list((tmp_path / "store" / "embeddings").iterdir()) == []
    assert run("store", "prune", "--limit", "1GB", *place).out == (
        "removed 0 encoder spaces, 0.0 MB\n"
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500MB", 5 * 10**8), ("10gb", 10**10), ("1.5 GB", 15 * 10**8), ("7B", 7), ("8", 8)],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert common.size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "ten", "1XB", "inf", "nan", "1e999", "-1GB"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="expected a number and KB, MB, GB or TB"):
        common.size(text)


def test_the_stores_limit_comes_from_the_environment(run, tmp_path, monkeypatch):
    place = ["--cache", tmp_path / "store"]
    run("eval", "-m", "hashing", "-t", TASK, "-q", *place)
    for described in (tmp_path / "store").rglob("space.json"):
        os.utime(described, (0, 1000))
    monkeypatch.setenv("HARNESS_CACHE_LIMIT", "10KB")
    run("eval", "-m", "hashing,dim=8", "-t", TASK, "-q", *place)
    rows = run("store", "list", "--json", *place).json["spaces"]
    assert {row["encoder"] for row in rows} == {"hashing,dim=8"}
    monkeypatch.setenv("HARNESS_CACHE_LIMIT", "much")
    done = run("eval", "-m", "hashing", "-t", TASK)
    assert done.status == 2
    assert done.err == "error: size 'much': expected a number and KB, MB, GB or TB\n"


def test_another_models_broken_entry_stops_nothing_and_is_named_by_the_list(run, tmp_path):
    place = ["--cache", tmp_path / "store"]
    run("eval", "-m", "hashing", "-t", TASK, "-q", *place)
    next((tmp_path / "store").rglob("space.json")).write_text("{")
    done = run("eval", "-m", "bm25", "-t", TASK, "-f", "csv", "-q", *place)
    assert "bm25" in done.out
    assert done.status == 0
    listed = run("store", "list", *place)
    assert listed.status == 1
    assert "delete that folder" in listed.err


def test_the_store_lists_what_it_holds(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    listed = run("store")
    assert (listed.status, listed.out) == (0, run("store", "list").out)
    assert "encoder" in listed.out
