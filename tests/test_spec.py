"""Specs: what is written is read back, printed for a shell, or refused with what is wrong."""

from __future__ import annotations

import shlex
import shutil
import string
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import InputError
from harness.spec import Spec, bare, bracket, join, parse, scalar, split, split_list
from harness.systems import split_index

QUICK = settings(max_examples=150, deadline=None, derandomize=True)

words = st.text(min_size=1, max_size=12)
keys = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
specs = st.builds(
    Spec,
    words,
    st.none() | words,
    st.dictionaries(keys, st.text(max_size=12), max_size=3).map(lambda d: tuple(d.items())),
)
NASTY = Spec("a:b", "~/my $data #1,k=v", (("prompt", "100% 'of' \"it\"\n\\ é\t*?[]{}()<>|;&!`~"),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("minilm", Spec("minilm")),
        ("folder:path/to/beir", Spec("folder", "path/to/beir")),
        (
            "st:intfloat/e5-small-v2,dtype=bfloat16,max_length=256",
            Spec("st", "intfloat/e5-small-v2", (("dtype", "bfloat16"), ("max_length", "256"))),
        ),
        # only the first colon divides; an equals sign may stand in a target and in a value
        ("api:m,url=http://h:80/v1?a=b", Spec("api", "m", (("url", "http://h:80/v1?a=b"),))),
        ("folder:a=b:c", Spec("folder", "a=b:c")),
        # values may be given plainly or percent-encoded
        ("e5,prompt=query: ", Spec("e5", None, (("prompt", "query: "),))),
        ("e5,prompt=query%3A%20", Spec("e5", None, (("prompt", "query: "),))),
        ("e5,prompt=", Spec("e5", None, (("prompt", ""),))),
        (" exact , a =1", Spec("exact", None, (("a", "1"),))),
        # values are as they stand: blanks, tabs, line ends, blanks that do not break
        (
            "e5,a= \t,b=\u00a0x\u00a0,c=y\n",
            Spec("e5", None, (("a", " \t"), ("b", "\u00a0x\u00a0"), ("c", "y\n"))),
        ),
        ("folder:my data ", Spec("folder", "my data ")),
        ("e5,prompt=a=b,other==", Spec("e5", None, (("prompt", "a=b"), ("other", "=")))),
        ("limit,seed=0%2C1", Spec("limit", None, (("seed", "0,1"),))),
        # a spec within a spec stands in brackets, which stay: it is read by whoever uses it
        (
            "rerank:[cross:a/b,max_length=9],first=[st:x,prompt=q%3A%20]",
            Spec("rerank", "[cross:a/b,max_length=9]", (("first", "[st:x,prompt=q%3A%20]"),)),
        ),
        ("rrf:[bm25,k1=0.9]+minilm,k=10", Spec("rrf", "[bm25,k1=0.9]+minilm", (("k", "10"),))),
        ("[bm25,k1=0.9]", Spec("bm25", None, (("k1", "0.9"),))),
        ("muvera:[rrf:[a,b=1]+c,d=2],e=3", Spec("muvera", "[rrf:[a,b=1]+c,d=2]", (("e", "3"),))),
        # brackets around anything else are characters
        ("e5,prompt=[INST] ask: x", Spec("e5", None, (("prompt", "[INST] ask: x"),))),
        ("e5,prompt=[two words]%2C", Spec("e5", None, (("prompt", "[two words],"),))),
        ("e5,prompt=a[,b=1", Spec("e5", None, (("prompt", "a["), ("b", "1")))),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' names nothing"),
        ("  ", "names nothing"),
        (":x", "':x' names nothing"),
        (",a=1", "names nothing"),
        ("st:", "'st:' has nothing after the colon: expected st:target"),
        ("st:,a=1", "nothing after the colon"),
        (
            "bm25,k1",
            r"'bm25,k1': 'k1' is not key=value \(a value with commas is written in brackets",
        ),
        ("bm25,=1", "'=1' is not key=value"),
        ("bm25,", "'' is not key=value"),
        ("bm25,k1=1,k1=2", "gives k1 twice"),
        ("bm25,k1=1, k1=2", "gives k1 twice"),
    ],
)
def test_a_wrong_spec_is_quoted_with_what_is_wrong(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


@QUICK
@given(specs)
@example(NASTY)
@example(Spec("%41", "%25", (("a", "%"),)))
def test_a_spec_reads_back_as_it_prints(spec):
    assert parse(str(spec)) == spec
    assert parse(spec) is spec


@QUICK
@given(words)
def test_reading_and_printing_settle_at_once(text):
    try:
        spec = parse(text)
    except InputError:
        return
    assert parse(str(spec)) == spec
    assert str(parse(str(spec))) == str(spec)


PLAINLY = st.text(st.characters(exclude_characters=",%[]@", exclude_categories=["Cs"]))


@QUICK
@given(PLAINLY, PLAINLY)
@example("query: ", "passage: ")
@example("\t\u00a0", "=\n")
def test_what_is_given_plainly_arrives_unchanged(query, document):
    """The last value, too, and before an index, in brackets of its own or not."""
    expected = (("query_prompt", query), ("document_prompt", document))
    text = f"m,query_prompt={query},document_prompt={document}"
    assert parse(text).params == expected
    assert parse(bare(text)).params == expected
    named, index = split_index(f"{text}@hnsw")
    assert (parse(named).params, index) == (expected, "hnsw")


def test_a_value_that_looks_like_an_index_is_quoted():
    spec = Spec("minilm", None, (("query_prompt", "mail@hnsw"),))
    assert str(spec) == "minilm,query_prompt=mail%40hnsw"
    assert split_index(str(spec)) == (str(spec), None)


def test_parts_of_a_list_are_cut_outside_of_brackets():
    assert split("[bm25,k1=0.9]+minilm", "+") == ["[bm25,k1=0.9]", "minilm"]
    assert split("[a+b]+[c+[d+e]]+", "+") == ["[a+b]", "[c+[d+e]]", ""]
    assert split("a+[b", "+") == ["a", "[b"]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([], ""),
        ([""], "[]"),
        (["", "a"], "+a"),
        ([0.1, True, "exact"], "0.1+true+exact"),
        (["hnsw,M=8", "exact"], "[hnsw,M=8]+exact"),
        (["a+b"], "[a+b]"),
        (["a + b", "100%"], "a %2B b+100%25"),
        (["[a]", "a:[b]"], "%5Ba]+a:[b]"),
        (["[", "]"], "%5B+]"),
    ],
)
def test_a_list_as_a_parameter_has_it(values, written):
    assert join(values) == written
    assert split_list(written) == [scalar(value) for value in values]


@QUICK
@given(st.lists(st.text(st.sampled_from("ab=,+[]% ")) | st.text(max_size=6), max_size=3))
def test_a_list_reads_back_as_it_was_written(values):
    assert split_list(join(values)) == values


def test_only_a_spec_that_needs_brackets_has_them():
    assert bracket("hnsw,M=8") == "[hnsw,M=8]"
    for plain in ("exact", "a=1", "a,b", "find: x, y=1"):
        assert bracket(plain) == plain


@QUICK
@given(specs, specs)
def test_a_spec_stands_whole_within_another(inner, outer):
    whole = outer.with_parameters([("first", f"[{inner}]")])
    found = dict(parse(str(whole)).params)["first"]
    assert parse(found) == inner


PLAIN = set(string.ascii_letters + string.digits + "_.-/:@+%,=[]")


@QUICK
@given(specs)
@example(NASTY)
def test_a_spec_is_one_word_in_a_shell_and_in_make(spec):
    text = str(spec)
    assert shlex.split(text, comments=True) == [text]
    assert set(text) <= PLAIN  # no white space, no $ or # for make, no ~ or * for the shell


def test_a_spec_survives_a_real_shell():
    shell = shutil.which("bash") or shutil.which("sh")
    if shell is None:
        pytest.skip("no shell on this machine")
    found = [NASTY, Spec("folder", "~/x"), Spec("a", "b:~", (("k", "~root"),))]
    found += [Spec("n", char, (("v", char * 2),)) for char in string.printable]
    lines = [f"TASK={spec}" for spec in found]
    done = subprocess.run(
        [shell, "-c", "printf '%s\\n' " + " ".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": "/home/somebody"},
    )
    assert done.stdout.splitlines() == lines


def test_what_a_spec_prints():
    assert str(Spec("st", "a/b", (("prompt", "query: "),))) == "st:a/b,prompt=query:%20"
    assert str(Spec("folder", "~/x")) == "folder:%7E/x"


def test_merged_adds_and_replaces_in_place():
    spec = parse("bm25,k1=1.2,b=0.5")
    assert (
        str(spec.with_parameters([("k1", "2"), ("method", "atire")]))
        == "bm25,k1=2,b=0.5,method=atire"
    )
    assert str(spec) == "bm25,k1=1.2,b=0.5"
