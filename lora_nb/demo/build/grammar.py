"""Questions about tables: the query behind each, its SQL, and its meaning in plain English."""

from dataclasses import dataclass
from random import Random
from typing import Final

from lora_nb.demo.build.tables import Column, Table

AGGREGATES: Final = ("MAX", "MIN", "AVG", "SUM")
_AGGREGATE_SAID: Final = {"MAX": "highest", "MIN": "lowest", "AVG": "average", "SUM": "total"}
_AGGREGATE_ASKED: Final = {
    "MAX": ["highest", "largest", "greatest", "maximum", "biggest", "top"],
    "MIN": ["lowest", "smallest", "least", "minimum"],
    "AVG": ["average", "mean", "average", "typical"],
    "SUM": ["total", "combined", "summed", "total"],
}
_OPERATOR_SAID: Final = {
    "=": "is",
    "!=": "is not",
    ">": "is more than",
    "<": "is less than",
    ">=": "is at least",
    "<=": "is at most",
}
_OPERATOR_ASKED: Final = {
    "=": ["is", "is", "equals"],
    "!=": ["is not", "is anything but", "is other than"],
    ">": ["is over", "is more than", "is above", "is greater than", "exceeds"],
    "<": ["is under", "is less than", "is below", "is smaller than"],
    ">=": ["is at least", "is no less than"],
    "<=": ["is at most", "is no more than", "is up to"],
}
_AMOUNT: Final = {
    "=": ["", "exactly "],
    ">": ["more than ", "over ", "above "],
    "<": ["fewer than ", "less than ", "under "],
    ">=": ["at least ", "no fewer than "],
    "<=": ["at most ", "up to ", "no more than "],
}
_WRAPPERS: Final = (
    "What is {n}?",
    "What is {n}?",
    "Tell me {n}.",
    "Give me {n}.",
    "Find {n}.",
    "Show {n}.",
    "I need {n}.",
    "Can you tell me {n}?",
    "I would like to know {n}.",
    "Please find {n}.",
    "Look up {n}.",
)


def _agree(column: Column, words: str) -> str:
    """Return words that follow a column's name, with "are" for "is" after a plural one."""
    first, _, rest = words.partition(" ")
    if not column.counts:
        return words
    first = {"is": "are", "equals": "equal", "exceeds": "exceed"}.get(first, first)
    return f"{first} {rest}".rstrip()


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a value."""

    column: Column
    operator: str
    value: str

    def sql(self) -> str:
        """Return the comparison in SQL: numbers bare, text in single quotes."""
        value = self.value if self.column.values.numeric else f"'{self.value}'"
        return f"{self.column.name} {self.operator} {value}"

    def english(self) -> str:
        """Return the comparison in words."""
        said = _agree(self.column, _OPERATOR_SAID[self.operator])
        return f"the {self.column.phrase} {said} {self.value}"


@dataclass(frozen=True)
class Query:
    """A question with everything it means. `column` is None when rows are counted."""

    table: Table
    schema: tuple[Column, ...]
    aggregate: str
    column: Column | None
    conditions: tuple[Condition, ...]
    question: str

    def header(self) -> str:
        """Return the two lines that describe the table."""
        names = ", ".join(column.name for column in self.schema)
        return f"table: {self.table.name}\ncolumns: {names}"

    def prompt(self) -> str:
        """Return what the user sends."""
        return f"{self.header()}\nQ: {self.question}"

    def sql(self) -> str:
        """Return the SQL statement, on one line, without a semicolon."""
        if self.column is None:
            target = "COUNT(*)"
        elif self.aggregate:
            target = f"{self.aggregate}({self.column.name})"
        else:
            target = self.column.name
        where = " AND ".join(condition.sql() for condition in self.conditions)
        statement = ["SELECT", target, "FROM", self.table.name]
        return " ".join([*statement, "WHERE", where] if where else statement)

    def target_english(self) -> str:
        """Return what is asked for, in words and without the conditions."""
        if self.column is None:
            return f"the number of {self.table.plural}"
        said = _AGGREGATE_SAID.get(self.aggregate, "")
        return f"the {said + ' ' if said else ''}{self.column.phrase} in {self.table.plural}"

    def where_english(self) -> str:
        """Return the conditions in words, with a leading " where", or nothing."""
        said = " and ".join(condition.english() for condition in self.conditions)
        return f" where {said}" if said else ""

    def english(self) -> str:
        """Return the whole meaning in one plain sentence."""
        return f"You ask for {self.target_english()}{self.where_english()}."


def ask(rng: Random, table: Table) -> Query:
    """Return a random question about a table; its schema shows some of the table's columns."""
    kind = rng.choices(("lookup", "select", "find", "aggregate", "count"), (25, 20, 20, 22, 13))[0]
    schema = _some_columns(rng, table)
    numeric = [column for column in schema if column.values.numeric]
    if kind == "aggregate" and not numeric:
        kind = "count"
    if kind == "lookup":
        return _lookup(rng, table, schema)
    if kind == "aggregate":
        column: Column | None = rng.choice(numeric)
        aggregate = rng.choice(AGGREGATES)
        count = rng.choices((0, 1, 2), (25, 55, 20))[0]
    else:
        aggregate = ""
        others = [column for column in schema if column is not table.key]
        column = {"select": rng.choice(others), "find": table.key}.get(kind)
        count = rng.choices((0, 1, 2), (6, 64, 30))[0]
    free = [c for c in schema if c is not column and (c is not table.key or kind == "select")]
    chosen = rng.sample(free, min(count, len(free)))
    conditions = tuple(_condition(rng, c) for c in chosen)
    tail = _tail(rng, conditions, schema)
    last = conditions[-1] if conditions else None
    if kind in ("find", "count") and last and last.operator in _AMOUNT and rng.random() < 0.2:
        start = "How many" if kind == "count" else "Which"
        tail = _tail(rng, conditions[:-1], schema)
        question = f"{start} {table.plural}{tail} {_predicate(rng, last)}?"
    elif kind == "find":
        question = _ask_find(rng, table, tail)
    elif column is None:
        question = _ask_count(rng, table, tail)
    elif aggregate:
        question = _ask_aggregate(rng, table, aggregate, column, tail)
    else:
        question = _ask_select(rng, table, column, tail)
    return Query(table, schema, aggregate, column, conditions, question)


def _some_columns(rng: Random, table: Table) -> tuple[Column, ...]:
    """Return the key and two to five other columns, mostly with the key first."""
    size = min(rng.randint(2, 5), len(table.columns))
    others = rng.sample(table.columns, size)
    if rng.random() < 0.75:
        return (table.key, *others)
    mixed = [table.key, *others]
    rng.shuffle(mixed)
    return tuple(mixed)


def _condition(rng: Random, column: Column) -> Condition:
    """Return a random comparison that suits the column's values."""
    if column.values.numeric:
        operator = rng.choices(("=", ">", "<", ">=", "<=", "!="), (22, 28, 26, 11, 11, 2))[0]
    else:
        operator = rng.choices(("=", "!="), (92, 8))[0]
    return Condition(column, operator, column.values.make(rng))


def _special(condition: Condition, schema: tuple[Column, ...]) -> list[str]:
    """Return the column's own phrases for a comparison that no other column shares."""
    shared = {phrase for c in schema if c is not condition.column for phrase in c.where}
    found = [p for p in condition.column.where if p[0] == condition.operator and p not in shared]
    return [phrase.format(v=condition.value) for _, phrase in found]


def _after_noun(rng: Random, condition: Condition, schema: tuple[Column, ...]) -> str:
    """Return a comparison as it follows a plural noun."""
    column, operator, value = condition.column, condition.operator, condition.value
    special = _special(condition, schema)
    if special and rng.random() < 0.5:
        return rng.choice(special)
    if column.counts and operator in _AMOUNT and rng.random() < 0.7:
        verb = rng.choice(("with", "with", "having"))
        return f"{verb} {_amount(rng, operator, value)} {column.phrase}"
    form = rng.random()
    if form < 0.3 and operator in _AMOUNT:
        return f"with {_article(rng)}{column.phrase} of {_amount(rng, operator, value)}"
    if form < 0.5 and operator == "=":
        return f"with {column.phrase} {value}"
    said = _agree(column, rng.choice(_OPERATOR_ASKED[operator]))
    return f"{'whose' if form < 0.75 else 'where the'} {column.phrase} {said} {value}"


def _a(noun: str) -> str:
    """Return a noun with its article."""
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"


def _predicate(rng: Random, condition: Condition) -> str:
    """Return a comparison as a verb with its object, "have more than 30 songs"."""
    column = condition.column
    amount = _amount(rng, condition.operator, condition.value)
    if column.counts:
        return f"have {amount} {column.phrase}"
    return f"have {_article(rng)}{column.phrase} of {amount}"


def _article(rng: Random) -> str:
    """Return "a " or nothing."""
    return rng.choice(("a ", ""))


def _amount(rng: Random, operator: str, value: str) -> str:
    """Return "more than 30" and the like."""
    return rng.choice(_AMOUNT[operator]) + value


def _tail(rng: Random, conditions: tuple[Condition, ...], schema: tuple[Column, ...]) -> str:
    """Return all conditions as they follow a plural noun, with a leading space, or nothing."""
    said = [_after_noun(rng, condition, schema) for condition in conditions]
    return f" {' and '.join(said)}" if said else ""


def _wrap(rng: Random, noun: str) -> str:
    """Return a sentence that asks for what a noun phrase names."""
    return rng.choice(_WRAPPERS).format(n=noun)


def _lookup(rng: Random, table: Table, schema: tuple[Column, ...]) -> Query:
    """Return a question for one column of the row with a given key."""
    column = rng.choice([c for c in schema if c is not table.key])
    key = table.key.values.make(rng)
    forms = [lookup.format(k=key) for lookup in column.lookups] * 3
    forms += [
        _wrap(rng, f"the {column.phrase} of {key}"),
        _wrap(rng, f"the {column.phrase} for {key}"),
        _wrap(rng, f"{key}'s {column.phrase}"),
        f"What {column.phrase} does {key} have?",
        f"Which {column.phrase} {_agree(column, 'is listed')} for {key}?",
    ]
    conditions = (Condition(table.key, "=", key),)
    return Query(table, schema, "", column, conditions, rng.choice(forms))


def _ask_select(rng: Random, table: Table, column: Column, tail: str) -> str:
    """Return a question for a column of the rows that fit."""
    noun = f"{table.plural}{tail}"
    forms = (
        _wrap(rng, f"the {column.phrase} of {noun}"),
        _wrap(rng, f"the {column.phrase} for {noun}"),
        f"Which {column.phrase} do {noun} have?",
        f"List the {column.phrase} of all {noun}.",
        f"What {column.phrase} {_agree(column, 'is given')} for {noun}?",
        f"Show the {column.phrase} of each {table.singular}{tail}.",
    )
    return rng.choice(forms)


def _ask_find(rng: Random, table: Table, tail: str) -> str:
    """Return a question for the keys of the rows that fit."""
    noun = f"{table.plural}{tail}"
    forms = [
        f"Which {noun} are there?" if not tail else f"Which are the {noun}?",
        f"List the {noun}.",
        f"Find all {noun}.",
        f"Show me {noun}.",
        f"Name every {table.singular}{tail}.",
        _wrap(rng, f"the {table.key.phrase} of {noun}"),
        f"Which {table.key.phrase} do {noun} have?",
    ]
    if table.people:
        forms += [f"Who are the {noun}?", f"Who is {_a(table.singular)}{tail}?"]
    return rng.choice(forms)


def _ask_count(rng: Random, table: Table, tail: str) -> str:
    """Return a question for the number of rows that fit."""
    noun = f"{table.plural}{tail}"
    forms = (
        f"How many {table.plural} are there{tail}?",
        f"How many {noun} are listed?",
        f"Count the {noun}.",
        _wrap(rng, f"the number of {noun}"),
        f"How many rows are {noun}?" if tail else f"How many {table.plural} does the table hold?",
    )
    return rng.choice(forms)


def _ask_aggregate(rng: Random, table: Table, aggregate: str, column: Column, tail: str) -> str:
    """Return a question for the highest, lowest, average or summed value of a column."""
    noun = f"{table.plural}{tail}"
    said = rng.choice(_AGGREGATE_ASKED[aggregate])
    forms = [
        _wrap(rng, f"the {said} {column.phrase} of {noun}"),
        _wrap(rng, f"the {said} {column.phrase} among {noun}"),
        f"What {said} {column.phrase} do {noun} have?",
        f"What is the {said} {column.phrase} of all {noun}?",
    ]
    extreme = {"MAX": column.most, "MIN": column.least}.get(aggregate, "")
    if extreme:
        forms += [f"What is the {column.phrase} of the {extreme} {table.singular}{tail}?"] * 2
        forms += [form.format(k=f"the {extreme} {table.singular}{tail}") for form in column.lookups]
    if aggregate == "SUM" and column.counts:
        forms += [f"How many {column.phrase} do {noun} have in total?"] * 2
    if aggregate == "AVG" and column.counts:
        forms += [f"How many {column.phrase} do {noun} have on average?"]
    return rng.choice(forms)


__all__ = ["AGGREGATES", "Condition", "Query", "ask"]
