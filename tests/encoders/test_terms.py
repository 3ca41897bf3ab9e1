"""Words, stop words, stems and character pairs of languages, by hand."""

from __future__ import annotations

import numpy as np
import pytest

import harness
from harness.data import Purpose
from harness.encoders import ENCODERS
from harness.encoders.bm25 import BM25, GUESSED
from harness.encoders.terms import Analysis, guess, shorten
from harness.errors import InputError
from harness.records import naming

CHINESE = ["黄山位于安徽省南部，是著名的旅游景点。", "长江是中国最长的河流。", "北京是中国的首都。"]
ASKED = ["黄山在哪里", "最长的河流", "中国首都"]


def terms(language: str, text: str) -> list[str]:
    (row,), vocabulary = Analysis(language).analyse([text])
    words = {number: word for word, number in vocabulary.items()}
    return [words[number] for number in row]


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "The runners, running a race", ["runner", "run", "race"]),
        ("de", "Die Häuser und das alte Haus", ["haus", "alt", "haus"]),
        ("fr", "les chevaux et le cheval", ["cheval", "cheval"]),
        ("ru", "и новые книги", ["нов", "книг"]),
        ("sw", "vitabu na kitabu", ["vitabu", "na", "kitabu"]),  # neither stems nor stop words
        ("hi", "हिन्दी में", ["हिन्द", "म"]),  # vowel signs belong to words
        ("zh", "黄山在哪里", ["黄山", "山在", "在哪", "哪里"]),
        ("zh", "在 GPT-4 里", ["在", "gpt", "里"]),
        ("ja", "東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("th", "สวัสดี", ["สว", "วั", "ัส", "สด", "ดี"]),
        ("mul", "Berlin 北京市", ["berlin", "北京", "京市"]),
    ],
)
def test_a_text_of_a_language(language, text, expected):
    assert terms(language, text) == expected


def test_common_pairs_rank_what_common_words_cannot():
    """Pairs in common: 1, 0, 0; 0, 4, 0; 0, 1, 2; three more of the second query's are 的."""
    made = BM25().encode_collection(CHINESE, ASKED)
    scores = (made.queries.matrix @ made.documents.matrix.T).toarray()
    assert np.argmax(scores, axis=1).tolist() == [0, 1, 2]
    assert (scores > 0).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, True, True],
    ]
    assert made.notes == (GUESSED,)
    words = BM25(language="en").encode_collection(CHINESE, ASKED)
    assert (words.queries.matrix @ words.documents.matrix.T).nnz == 0
    assert words.notes == BM25(language="zh").encode_collection(CHINESE, ASKED).notes == ()


def test_a_script_without_spaces_is_told_by_most_letters():
    assert guess(CHINESE) == "zh"
    assert guess(["a film by 黄山"]) == guess([]) == guess(["..."]) == "en"


def test_the_task_tells_the_language_where_nobody_asks_for_one():
    german = BM25().for_task(Purpose(language="deu-Latn"))
    assert german == BM25(language="de")
    assert german.fingerprint()["stemmer"] == "snowball de"
    assert german.fingerprint()["stop_words"] == "bm25s de"
    assert BM25(language="fr").for_task(Purpose(language="deu-Latn")).language == "fr"
    assert BM25().for_task(Purpose()) == BM25()
    assert [shorten(code) for code in ("nob-Latn", "de-DE", "zh_CN", "ara", "mul", "")] == [
        "no", "de", "zh", "ara", "mul", "",
    ]  # fmt: skip


def test_what_is_english_is_told_as_it_was():
    told = BM25().fingerprint()
    assert told == BM25(language="en").fingerprint()
    assert set(told) == {"k1", "b", "method", "stop_words", "stemmer", "bm25s"}
    assert (told["stop_words"], told["stemmer"]) == ("bm25s en", "snowball english")


def test_what_is_no_code_of_a_language_is_refused():
    for wrong in ("german", "DE", "d", "de-DE"):
        with pytest.raises(InputError, match=f"bm25: language={wrong}: expected a code of ISO 639"):
            ENCODERS.create(f"bm25,language={wrong}")


def test_tasks_of_two_languages_are_answered_by_one_system():
    english = harness.evaluate("bm25", "limit,docs=40,queries=9,k=2,attributes=5").record
    task = english.task.model_copy(update={"spec": "german", "fingerprint": {"corpus": "g"}})
    told = BM25(language="de").fingerprint()
    system = english.system.model_copy(update={"fingerprint": dict(told)})
    german = english.model_copy(update={"system": system, "task": task})
    assert naming.name([english, german]) == ["bm25", "bm25"]
    again = english.model_copy(update={"system": system})
    assert len(set(naming.name([english, again]))) == 2  # on one task, by two analyses
