"""Encoding on a device and searching on it, with what torch keeps of its memory meanwhile."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from harness.arrays import Float32
from harness.data import Role
from harness.encoders import TextEncoder
from harness.encoders.checkpoint import ModelOptions
from harness.encoders.sentence_transformers import sentence_transformer
from harness.errors import EncodingError
from harness.indexes import devices
from harness.selftest.machine import Machine, held_by_torch
from harness.selftest.outcomes import Outcome
from harness.selftest.searching import hold_to_cpu
from harness.vectors import Dense

SECTION = "encoding, then search"
WORDS, DIM, LONGEST = 500, 32, 30  # of the vocabulary, of vectors, words of a text
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LEFT = 256 << 20  # bytes that torch leaves free where it keeps all others


def check_encoding(texts: tuple[int, int], machine: Machine) -> Outcome:
    """Encode on the first device, search there. texts: documents and queries."""
    name = f"{texts[0]:,} texts on {machine.names[0]}"
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        there = _encode(Path(folder), str(devices.place(machine.names[0])), texts)
        here = _encode(Path(folder), "cpu", texts)
    apart = max(float(np.abs(a - b).max()) for a, b in zip(there, here, strict=True))
    details = f"vectors differ from those made on the CPU by {apart:.2g} at most"
    asked = Dense(there[0]), Dense(there[1]), 10
    return hold_to_cpu(SECTION, name, f"gpu,{machine.ask('one')}", asked, machine, details=details)


def check_cached(texts: tuple[int, int], machine: Machine) -> Outcome:
    """Search while torch keeps nearly all memory of a device, as after encoding long texts."""
    import torch

    place = devices.place(machine.names[0])
    random = np.random.default_rng(12)
    documents, queries = (
        Dense(random.standard_normal((n, DIM), np.float32)) for n in texts
    )  # fmt: skip
    free = torch.cuda.mem_get_info(place)[0]
    block = torch.empty(max(free - LEFT, 0), dtype=torch.uint8, device=place)
    del block  # torch keeps its memory
    kept = torch.cuda.memory_reserved(place) / 1e9
    details = f"torch kept {kept:,.1f} GB of the device when the search began"
    name = f"torch keeps the memory of {machine.names[0]}"
    spec = f"gpu,{machine.ask('one')}"
    return hold_to_cpu(SECTION, name, spec, (documents, queries, 10), machine, details=details)


def can_keep(machine: Machine) -> bool:
    """Tell whether torch manages memory of the first device."""
    return machine.names[0] in held_by_torch(machine)


def _encode(folder: Path, device: str, texts: tuple[int, int]) -> list[Float32]:
    """Vectors of documents and of queries. Raises EncodingError."""
    encoder = sentence_transformer(str(folder), options=ModelOptions(device=device))
    if not isinstance(encoder, TextEncoder):
        raise EncodingError(f"the model of the self-test is a {type(encoder).__name__}")
    roles: tuple[Role, Role] = ("document", "query")
    found = list[Float32]()
    for n, role in zip(texts, roles, strict=True):
        values = encoder.encode(write_texts(n, seed=len(found)), role).values
        if not isinstance(values, np.ndarray):
            raise EncodingError(f"the model of the self-test makes {type(values).__name__}")
        found.append(values)
    return found


def write_texts(n: int, seed: int) -> list[str]:
    """Texts of words that the model of `write_model` knows."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, LONGEST, n)
    return [" ".join(f"w{word}" for word in random.integers(0, WORDS, m)) for m in lengths]


def write_model(folder: Path) -> None:
    """Write a sentence-transformers model of random weights: 2 layers, 32 dimensions."""
    import torch
    from transformers import BertConfig, BertModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()

    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *(f"w{i}" for i in range(WORDS))])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary), hidden_size=DIM, num_hidden_layers=2,
            num_attention_heads=2, intermediate_size=2 * DIM, max_position_embeddings=64,
        )  # fmt: skip
        BertModel(config).save_pretrained(folder, safe_serialization=True)
    _write_tokenizer(folder, vocabulary)
    part = "sentence_transformers.models"
    pooling = {"word_embedding_dimension": DIM, "pooling_mode_mean_tokens": True}
    files: dict[str, Any] = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{part}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{part}.Pooling"},
        ],
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "config_sentence_transformers.json": {},
    }
    (folder / "1_Pooling").mkdir()
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), "utf-8")


def _write_tokenizer(folder: Path, vocabulary: dict[str, int]) -> None:
    """Words by spaces, between [CLS] and [SEP]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    names = {f"{word.strip('[]').lower()}_token": word for word in SPECIAL}
    PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=64, **names
    ).save_pretrained(folder)  # fmt: skip
