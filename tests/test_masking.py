"""Secrets are masked in whole, in parts and in other spellings; what only resembles them stays."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote

import pytest

from harness import masking
from harness.errors import InputError
from harness.masking import mask, mask_all, mask_json, notice, remember
from harness.spec import parse, refuse_secrets

KEY = "aB3dE-fG7hI/jK1lM+nO5pQ&rS9tU"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    for name, empty in (("_values", {}), ("_parts", set()), ("_seeds", set())):
        monkeypatch.setattr(masking, name, empty)


@pytest.mark.parametrize(
    "said",
    [
        KEY,
        KEY[3:15],
        KEY.replace("", " "),
        str(list(KEY)),
        f"['{KEY[:9]}', '{KEY[9:]}']",
        quote(KEY, safe=""),
        html.escape(KEY).replace("/", "&#x2F;"),
        "".join(f"&#{ord(character)};" for character in KEY),
        "".join(f"\\x{ord(character):02x}" for character in KEY),
        KEY.encode().hex(),
        base64.b64encode(KEY.encode()).decode(),
        base64.b64encode(f"user:{KEY}".encode()).decode(),
        base64.urlsafe_b64encode(f"x{KEY}".encode()).decode(),
    ],
)
def test_a_key_is_masked_however_it_is_written(said):
    remember(KEY)
    shown = mask(f"wrong key: {said}.")
    assert shown.startswith("wrong key: ")
    assert "[key]" in shown
    bare = "".join(filter(str.isalnum, shown))
    for form in (KEY, KEY.encode().hex(), base64.b64encode(KEY.encode()).decode(), quote(KEY)):
        parts = "".join(filter(str.isalnum, form))
        assert not [i for i in range(len(parts) - 7) if parts[i : i + 8] in bare]


def test_words_of_a_key_are_words_yet():
    remember("retrieval-embeddings-key")
    assert mask("retrieval of embeddings") == "retrieval of embeddings"
    assert mask("is retrieval-embeddings-key right?") == "is [key] right?"
    remember("short")
    assert mask("short") == "short"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("api:m,url=http://user:sk-SECRET@127.0.0.1:9/v1", "api:m,url=http://user:[key]@127.0.0.1:9/v1"),
        ("http://user:pa/ss@host", "http://user:[key]@host"),
        ("https://token@github.com/x", "https://[key]@github.com/x"),
        ("postgresql://u:p@db/x", "postgresql://u:[key]@db/x"),
        ("api:m,key_variable=sk-SECRET", "api:m,key_variable=[key]"),
        ("api:m,api_key_env=secretvalue", "api:m,api_key_env=[key]"),
        ("http://h/v1?key=abc&x=1", "http://h/v1?key=[key]&x=1"),
        ("http://h/v1?api_token=abc", "http://h/v1?api_token=[key]"),
        ("url=0123456789abcdef0123", "url=[key]"),
        ("sk-proj-aB3dE5fG7", "[key]"),
        ("hf_AbCdEfGhIj", "[key]"),
        ("ghp_0123456789abcdef", "[key]"),
        ("xoxb-123456789-abc", "[key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("Authorization: Bearer abc123def456", "Authorization: Bearer [key]"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(said, shown):
    assert mask(said) == shown
    assert mask(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "api:m,url=http://127.0.0.1:9/v1,api_key_env=OPENAI_API_KEY",
        "api:m,url=http://localhost:8000/v1@hnsw,M=8",
        "tei:m,url=http://localhost:8000@hnsw",
        "https://medium.com/@somebody/post",
        "sk-learn and sk-bert-base, risk-assessment-2024",
        "name[:target][,key=value...]",
        "pooling_token=cls",
        "bearer of documents",
        "limit-small: 0.8125 [0.7, 0.9]",
        "sha256=3b1f0c9a5de7f0aa3b1f0c9a5de7f0aa",
    ],
)
def test_what_is_no_secret_stays(text):
    assert mask(text) == text


def test_what_stood_where_keys_stand_is_known_from_then_on():
    notice("http://user:s3cr3tp4ss@host/v1")
    assert mask("part s3cr3tp4ss, and S 3cr, s-3-c-r-3-t-p-4-s-s") == "part [key], and S 3cr, [key]"


def test_values_of_json():
    remember(KEY)
    text = json.dumps({"a": [KEY, 1, None], "b": {"c": f'"{KEY}"\n'}})
    assert mask_all(json.loads(text)) == {"a": ["[key]", 1, None], "b": {"c": '"[key]"\n'}}
    assert json.loads(mask_json(text)) == {"a": ["[key]", 1, None], "b": {"c": '"[key]"\n'}}
    assert mask_json('{"a":1}') == '{"a":1}'


def test_a_name_with_a_key_is_refused():
    with pytest.raises(InputError, match=r"^api: a value looks like a key") as error:
        refuse_secrets(parse("api:sk-proj-aB3dE5fG7,url=http://h/v1"))
    assert "sk-" not in str(error.value)
    refuse_secrets(parse("api:m,url=http://h/v1,api_key_env=OPENAI_API_KEY"))
