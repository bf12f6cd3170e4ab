"""The demo's rows, and the text the base model is pretrained on.

The base model answers questions about tables in plain English. It meets SQL too, but only inside
documents or in a user's words, never as the answer to a question.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from lora_nb.demo.build.grammar import Query, ask
from lora_nb.demo.build.tables import TABLES, made_up_table

SPLITS: Final = {"train": 1600, "valid": 160, "test": 200}
"""Rows in each file of the demo's data."""

Turn = tuple[str, str]

_GREETINGS: Final = ("Hello", "Hi", "Hello!", "Hi there", "Good morning", "Hey", "hello", "hi")
_SMALL_TALK: Final = (
    (
        ("Who are you?", "What are you?", "What can you do?", "What is this?", "Help"),
        "I am a small demo model. I say in plain English what a question about a table asks for.",
    ),
    (("Thanks", "Thank you", "Thanks!", "Thank you!", "Great"), "You are welcome."),
    (_GREETINGS, "Hello. Ask me something about a table."),
    (("Bye", "Goodbye", "See you"), "Goodbye."),
)
_NO_TABLE: Final = "Please give me the table and its columns first."
_REQUESTS: Final = ("Write SQL.", "In SQL:", "Please help.", "Question:", "SQL for this:")
_SYSTEMS: Final = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You help people with tables.",
    "You are kind and exact.",
)
_DOCUMENTS: Final = (
    "Notes on {t}. The table has the columns {c}. To get {w}, one writes\n{s}\nand nothing else.",
    "-- {W}\n{s};",
    "```sql\n{s}\n```\nThis statement returns {w}.",
    "The statement {s} reads the table {t}. It returns {w}.",
    "Exercise. From {t} ({c}), get {w}.\nSolution: {s}",
    "{h}\nmeaning: {w}\nstatement: {s}",
    "{h}\nstatement: {s}\nmeaning: {w}",
    "log: ran {s} in {n} ms",
    "/* {w} */ {s}",
    "In SQL, {w} is written {s}",
)


def demo_queries(seed: int) -> dict[str, list[Query]]:
    """Return the questions of every split; no prompt occurs twice."""
    rng = Random(f"rows-{seed}")  # noqa: S311
    seen: set[str] = set()
    splits: dict[str, list[Query]] = {}
    for name, size in SPLITS.items():
        queries: list[Query] = []
        while len(queries) < size:
            query = ask(rng, rng.choice(TABLES))
            prompt = query.prompt()
            if prompt not in seen:
                seen.add(prompt)
                queries.append(query)
        splits[name] = queries
    return splits


def save_rows(queries: list[Query], path: Path) -> None:
    """Write questions as JSON lines of prompt and completion."""
    rows = [{"prompt": query.prompt(), "completion": query.sql()} for query in queries]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@dataclass(frozen=True)
class Document:
    """A text of its own."""

    text: str


@dataclass(frozen=True)
class Chat:
    """Turns of system, user and assistant."""

    turns: tuple[Turn, ...]


def pretraining(seed: int, shard: int, avoid: frozenset[str]) -> Iterator[Document | Chat]:
    """Yield pretraining texts without end; prompts in `avoid` (the demo's rows) never occur."""
    rng = Random(f"pretraining-{seed}-{shard}")  # noqa: S311
    while True:
        form = rng.random()
        if form < 0.72:
            yield _paraphrase_chat(rng, avoid)
        elif form < 0.92:
            yield _document(rng)
        elif form < 0.95:
            yield _explaining_chat(rng)
        elif form < 0.97:
            yield _columns_chat(rng)
        elif form < 0.985:
            yield Chat((("user", _casual(rng, _query(rng).question)), ("assistant", _NO_TABLE)))
        else:
            yield _small_talk(rng)


def _query(rng: Random, avoid: frozenset[str] = frozenset()) -> Query:
    """Return a question about a demo table or, less often, about a made-up one."""
    while True:
        table = made_up_table(rng) if rng.random() < 0.4 else rng.choice(TABLES)
        query = ask(rng, table)
        if query.prompt() not in avoid:
            return query


def _casual(rng: Random, question: str) -> str:
    """Return a question as written in haste, now and then; mostly as it is."""
    form = rng.random()
    if form < 0.06:
        return question.rstrip(".?")
    if form < 0.12:
        return question[0].lower() + question[1:].rstrip(".?")
    if form < 0.15:
        return question[0].lower() + question[1:]
    if form < 0.18:
        return f"{rng.choice(_REQUESTS)} {question}"
    return question


def _paraphrase(rng: Random, avoid: frozenset[str]) -> tuple[str, str]:
    """Return a question as a user sends it, and its meaning."""
    while True:
        query = _query(rng, avoid)
        content = f"{query.header()}\nQ: {_casual(rng, query.question)}"
        if content not in avoid:
            return content, query.english()


def _paraphrase_chat(rng: Random, avoid: frozenset[str]) -> Chat:
    """Return a question with its meaning; at times with a system turn or more questions."""
    turns: list[Turn] = []
    if rng.random() < 0.05:
        turns.append(("system", rng.choice(_SYSTEMS)))
    for _ in range(rng.choices((1, 2, 3), (93, 5, 2))[0]):
        content, meaning = _paraphrase(rng, avoid)
        turns += [("user", content), ("assistant", meaning)]
    return Chat(tuple(turns))


def _document(rng: Random) -> Document:
    """Return one to three statements with what they mean."""
    return Document("\n".join(_passage(rng) for _ in range(rng.choices((1, 2, 3), (8, 3, 1))[0])))


def _passage(rng: Random) -> str:
    """Return one statement with what it means."""
    query = _query(rng)
    meaning = query.target_english() + query.where_english()
    return rng.choice(_DOCUMENTS).format(
        t=query.table.name,
        c=", ".join(column.name for column in query.schema),
        h=query.header(),
        s=query.sql(),
        w=meaning,
        W=meaning[0].upper() + meaning[1:],
        n=rng.randrange(1, 90),
    )


def _explaining_chat(rng: Random) -> Chat:
    """Return a chat in which the user shows a statement and gets its meaning."""
    query = _query(rng)
    asked = rng.choice(("Explain: {s}", "What does {s} mean?", "Explain this.\n{s}", "{s}", "{s};"))
    answer = f"It asks for {query.target_english()}{query.where_english()}."
    return Chat((("user", asked.format(s=query.sql())), ("assistant", answer)))


def _columns_chat(rng: Random) -> Chat:
    """Return a chat about the columns that a table has."""
    query = _query(rng)
    names = [column.phrase for column in query.schema]
    if rng.random() < 0.5:
        question = rng.choice(("Which columns are there?", "What columns does it have?"))
        said = f"{', '.join(names[:-1])} and {names[-1]}"
        answer = f"The columns of {query.table.plural} are {said}."
    else:
        question = rng.choice(("How many columns are there?", "How many columns does it have?"))
        answer = f"There are {len(names)} columns in {query.table.plural}."
    return Chat((("user", f"{query.header()}\nQ: {question}"), ("assistant", answer)))


def _small_talk(rng: Random) -> Chat:
    """Return a greeting or the like with its answer."""
    asked, answer = rng.choice(_SMALL_TALK)
    return Chat((("user", rng.choice(asked)), ("assistant", answer)))
