"""Queries rewritten by a language model behind an OpenAI-compatible endpoint.

The three styles are those of Killingback and Zamani 2025 (arXiv 2509.07253): query to answer,
query to document, query as reasoning trace. Their prompts are not published in words; those in
prompts/ are our own. Every answer is kept, so an evaluation is repeated without the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from harness.disk import cache_root, foreign
from harness.endpoints.answers import ResponseCache
from harness.endpoints.options import OPTIONS, RENAMED, EndpointOptions
from harness.endpoints.service import (
    Endpoint,
    Line,
    Service,
    UnansweredError,
    read_count,
)
from harness.endpoints.usage import Usage, sum_usage
from harness.errors import InputError
from harness.masking import mask
from harness.parameters import check_range
from harness.progress import Progress
from harness.rewriting import REWRITERS, Rewritten, TextRewriter
from harness.spec import is_unicode
from harness.wording import count

Style = Literal["answer", "document", "reasoning"]
Join = Literal["append", "replace"]
QUERY = "{query}"  # where a prompt takes the query
CHARACTERS = 64  # of one token, at most: a longer answer is none
COMPLETIONS = Service("chat", "/chat/completions", "chat completion")


@REWRITERS.register("chat", renamed=RENAMED)
def chat(
    target: str,
    *,
    endpoint: EndpointOptions = OPTIONS,
    style: Style = "answer",
    prompt: str | None = None,
    join: Join = "append",
    temperature: float = 0.0,
    max_tokens: int = 512,
    offline: bool = False,
) -> Chat:
    """Text of a chat model, added to a query or instead: chat:MODEL,url=http://host:port/v1.

    Args:
        target: What the endpoint calls the model.
        endpoint: Where it is asked, how patiently, and what it costs.
        style: What the model is asked for.
        prompt: A text file with {query} in it, in place of the style's own.
        join: Whether the answer comes after the query or in its place.
        temperature: Of the model.
        max_tokens: Of an answer.
        offline: Whether only answers that are kept are taken.

    Returns:
        The rewriter.

    Raises:
        InputError: A value is out of range, may hold a secret, or is no prompt.
    """
    check_range("chat", temperature=(temperature, 0, 2), max_tokens=(max_tokens, 1, 1_000_000))
    return Chat(
        model=target,
        endpoint=Endpoint(COMPLETIONS, endpoint),
        style="own" if prompt else style,
        template=_own(Path(prompt)) if prompt else _read_prompt(style),
        join=join,
        temperature=temperature,
        max_tokens=max_tokens,
        offline=offline,
    )


@dataclass(frozen=True)
class Chat(TextRewriter):
    """A model, where it is asked, and what becomes of its answers; see `chat`."""

    model: str
    endpoint: Endpoint
    style: str
    template: str
    join: Join
    temperature: float
    max_tokens: int
    offline: bool

    def describe(self) -> Mapping[str, object]:
        """Tell model, prompt and parameters; the url holds nothing secret."""
        return {
            "model": self.model,
            "url": self.endpoint.url,
            "style": self.style,
            "prompt_sha256": hashlib.sha256(self.template.encode()).hexdigest(),
            "join": self.join,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }

    def rewrite(
        self, texts: Sequence[str], progress: Progress, *, root: Path | None = None
    ) -> Rewritten:
        """Ask for each different text, once; kept answers are not asked for again.

        Args:
            texts: The queries.
            progress: Told how far it is.
            root: The folder under which answers are kept; the default store's where it is None.

        Returns:
            Texts to search with, in the order of the queries.

        Raises:
            InputError: The endpoint refuses a question, or an answer is missing offline.
            HarnessError: The endpoint does not answer.
            StoreError: Answers cannot be kept.
        """
        answers = ResponseCache((root or cache_root()) / "rewritings")
        labels: dict[str, str] = {}
        for number, text in enumerate(texts, 1):
            labels.setdefault(text, f"query {number} of {len(texts)}")
        kept = {text: answers.find(self._describe_request(text)) for text in labels}
        found = {text: answer for text, answer in kept.items() if answer is not None}
        missing = {text: label for text, label in labels.items() if text not in found}
        if missing and self.offline:
            first = next(iter(missing.values()))
            raise InputError(
                f"chat: {len(missing)} of {count(len(labels), 'different query')} have no kept "
                f"answer, the first is {first}: run it once without offline=true"
            )
        usage = self.endpoint.no_usage
        if missing:
            new, usage = self._new(missing, answers, progress)
            found |= new
        if self.join == "replace":
            return Rewritten([found[text] for text in texts], usage=usage)
        return Rewritten([f"{text} {found[text]}".strip() for text in texts], usage=usage)

    def _new(
        self, missing: Mapping[str, str], answers: ResponseCache, progress: Progress
    ) -> tuple[dict[str, str], Usage]:
        """Ask for texts (with their labels) at the same time, and keep each answer as it comes."""
        found, usages = dict[str, str](), list[Usage]()

        def ask(line: Line, text: str) -> Iterator[tuple[str, str]]:
            asked = self._describe_request(text)

            def read(reply: Any, headers: Mapping[str, str]) -> str:
                line.tally.add(tokens=read_count((reply.get("usage") or {}).get("total_tokens")))
                return self._answer(reply)

            answer = line.ask(asked["body"], missing[text], read)
            answers.keep(asked, answer)
            yield text, answer

        progress("rewrite", 0, len(missing), "queries")
        for (text, answer), usage in self.endpoint.each(missing, ask):
            found[text] = answer
            usages.append(usage)
            progress("rewrite", len(found), len(missing), "queries")
        return found, sum_usage(usages)

    def _answer(self, found: Any) -> str:
        """The text of a reply. Raises UnansweredError for one without."""
        choice = found["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
        if not isinstance(text, str) or not text.strip():
            more = " (it ended for length: raise max_tokens)" if ended == "length" else ""
            raise UnansweredError(f"sent an empty answer{more}")
        if len(text) > CHARACTERS * self.max_tokens:
            raise UnansweredError(f"sent an answer of {len(text)} characters, more than asked for,")
        if not is_unicode(text):
            raise UnansweredError("sent an answer that is not Unicode")
        return mask(text.strip())  # some servers repeat what they were sent

    def _describe_request(self, text: str) -> dict[str, Any]:
        """All that decides an answer: where the question goes, and its body."""
        message = {"role": "user", "content": self.template.replace(QUERY, text)}
        body = {
            "model": self.model,
            "messages": [message],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        return {"url": self.endpoint.url, "body": body}


def _read_prompt(style: Style) -> str:
    return (files("harness.rewriting") / "prompts" / f"{style}.txt").read_text("utf-8")


def _own(path: Path) -> str:
    """A user's prompt. Raises InputError where it cannot be read or does not take the query."""
    template = foreign.read_text(path)
    if QUERY not in template:
        raise InputError(f"{path}: the prompt holds no {QUERY}: expected it where the query goes")
    return template
