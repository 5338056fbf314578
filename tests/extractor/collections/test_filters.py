"""Filters: what they mean, and that a wrong one is answered with where and why."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractor.collections import metadata
from extractor.collections.filters import MAX_COMPARISONS, MAX_DEPTH, Filter
from extractor.errors import InvalidArgument

Row: TypeAlias = dict[str, Any]


@pytest.fixture(scope="module")
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE items (number INTEGER, id, label, source, digest, metadata)")
    yield db
    db.close()


def matching(db: sqlite3.Connection, rows: list[Row], text: str) -> list[int]:
    """The numbers of the rows that SQLite finds for a filter."""
    db.execute("DELETE FROM items")
    columns = ("id", "label", "source", "digest")
    for number, row in enumerate(rows):
        facts = metadata.dumped(row.get("metadata", {}))
        defaults = {"id": str(number), "digest": b""}
        values = [row.get(name, defaults.get(name)) for name in columns]
        db.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?)", (number, *values, facts))
    found = Filter.parse(text)
    query = f"SELECT number, (SELECT {found.sql}) FROM items WHERE number > -1 ORDER BY number"
    answers = db.execute(query, found.values).fetchall()
    assert {answer for _, answer in answers} <= {0, 1}
    return [number for number, answer in answers if answer]


ROWS: list[Row] = [
    {"label": "cat", "metadata": {"width": 300}},
    {"label": "dog", "metadata": {"width": 300.5, "camera": {"maker": "Ωmega", "f stop": 2}}},
    {"metadata": {"width": "300", "ok": True}},
    {"label": "Cat", "source": "/a/b.jpg", "metadata": {"width": None, "ok": False, "label": "mine"}},
    {"digest": bytes.fromhex("ab" * 32), "metadata": {"ok": 1, "tags": ["x"]}},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label = 'cat'", [0]),
        ("label != 'cat'", [1, 2, 3, 4]),
        ("label <> 'cat' and label is not null", [1, 3]),
        ("label is null", [2, 4]),
        ("label like 'c%'", [0, 3]),
        ("label not like 'c%'", [1, 2, 4]),
        ("label in ('cat', 'dog')", [0, 1]),
        ("label not in ('cat', 'dog')", [2, 3, 4]),
        ("width > 299", [0, 1]),
        ("WIDTH > 299", []),
        ("width >= 300 AND NOT width > 300", [0]),
        ("width = 300", [0]),
        ("width = 3e2", [0]),
        ("width = '300'", [2]),
        ("width < 'z'", [2]),
        ("width is null", [3, 4]),
        ("not width > 0", [2, 3, 4]),
        ("width in (300, '300', true)", [0, 2]),
        ("ok = true", [2]),
        ("ok != true", [0, 1, 3, 4]),
        ("ok in (false, 1)", [3, 4]),
        ("camera.maker = 'Ωmega'", [1]),
        ('camera."f stop" = 2', [1]),
        ('"camera"."maker" like \'_mega\'', [1]),
        ("metadata.label = 'mine'", [3]),
        ("source = '/a/b.jpg'", [3]),
        (f"digest = '{'AB' * 32}'", [4]),
        ("digest like 'ab%'", [4]),
        ("id in ('0', '4')", [0, 4]),
        ("label = 'dog' or label = 'cat' and width > 300", [1]),
        ("(label = 'dog' or label = 'cat') and width > 300", [1]),
        ("not not label = 'dog'", [1]),
        ("tags = 'x'", []),
        ("tags is not null", [4]),
        ("nothing = 1 or\n nothing != 1", [0, 1, 2, 3, 4]),
    ],
)
def test_what_a_filter_means(db: sqlite3.Connection, text: str, expected: list[int]) -> None:
    assert matching(db, ROWS, text) == expected


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("", 1, "expected a field, such as label or width, found the end"),
        ("label", 6, "expected a comparison: =, !=, <, <=, >, >=, in, like or is, found the end"),
        ("label = cat", 9, "expected a text in single quotes, which label is, found 'cat'"),
        ("label > 3", 9, "which label is"),
        ("width > true", 9, "expected a text in single quotes or a number, found 'true'"),
        ("width = ", 9, "a text in single quotes or a number, true or false, found the end"),
        ("width = 'x", 9, "expected a closing quote"),
        ("width = 1e999", 9, "1.8e308"),
        ("width 3", 7, "a comparison"),
        ("width = 3 4", 11, "`and`, `or` or the end"),
        ("(width = 3", 11, "expected `)`"),
        ("width in ()", 11, "a text in single quotes or a number"),
        ("width in (1 2)", 13, "expected `)`"),
        ("width is 3", 10, "expected `null`"),
        ("width not 3", 11, "expected `in` or `like`"),
        ("label like 3", 12, "a pattern in single quotes"),
        ("and = 3", 1, "a field"),
        ("width = 3; drop", 10, "a field, a text, a number or a sign"),
        ("width = 1.2.3", 9, "a field, a text, a number or a sign"),
        ('"a\\"b" = 3', 1, "a closing quote"),
        ("(" * (MAX_DEPTH + 1) + "a = 1" + ")" * (MAX_DEPTH + 1), MAX_DEPTH + 2, f"{MAX_DEPTH} levels"),
        (" or ".join(["a=1"] * (MAX_COMPARISONS + 1)), 7 * MAX_COMPARISONS + 1, f"{MAX_COMPARISONS} comp"),
    ],
)
def test_a_wrong_filter_is_answered_with_where_and_what(text: str, column: int, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(reason)) as caught:
        Filter.parse(text)
    assert f"at column {column}: " in str(caught.value)


def test_a_filter_of_many_pages_is_not_read() -> None:
    with pytest.raises(InvalidArgument, match="20,001 characters; at most 20,000"):
        Filter.parse("x" * 20_001)


def test_the_largest_filters_run(db: sqlite3.Connection) -> None:
    """What is accepted is within SQLite's own limits."""
    many = ",".join(map(str, range(3_900)))
    assert matching(db, ROWS, f"width in ({many})") == [0]
    assert matching(db, ROWS, " and ".join(["width = 300"] * MAX_COMPARISONS)) == [0]
    assert matching(db, ROWS, "not " * MAX_DEPTH + "width = 300") == [0]
    deepest = "width = 1 or width = 300 and (" * MAX_DEPTH + "width in (300, 'x')" + ")" * MAX_DEPTH
    assert matching(db, ROWS, deepest) == [0]


def test_nothing_of_the_text_gets_into_the_sql() -> None:
    """Values and names of keys are bound."""
    found = Filter.parse("\"x'); DROP TABLE items; --\" = 'y''); DELETE FROM items; --'")
    assert "DROP" not in found.sql
    assert "DELETE" not in found.sql
    assert found.values[-1] == "y'); DELETE FROM items; --"


PIECES = st.sampled_from(
    ["label", "width", "a.b", '"q r"', "=", "!=", "<=", "(", ")", ",", "and", "or", "not", "in", "like", "is"]
    + ["null", "true", "'x'", "''", "'", '"', "3", "-1.5e3", ".", ";", "metadata.", "digest", "\0", "é", " "]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map(" ".join)))
@settings(max_examples=300, deadline=None)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(InvalidArgument):
        found = Filter.parse(text)
        assert found.sql.count("?") == len(found.values)


# --- against a judge in Python ------------------------------------------------

TEXTS = st.text("abAB%_'é", max_size=3)
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, -1.5, 2.0]), st.just(2**62))
VALUES = st.one_of(TEXTS, NUMBERS, st.booleans())
KEYS = st.sampled_from(["a", "b", "n.a"])
FACTS = st.dictionaries(st.sampled_from("ab"), st.one_of(VALUES, st.none()), max_size=2)
METADATA = st.builds(lambda flat, nested: {**flat, "n": nested}, FACTS, FACTS)
LABELS = st.one_of(st.none(), TEXTS.filter(bool))

Tree: TypeAlias = tuple[Any, ...]


def comparisons() -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.just("label"), TEXTS),
        st.tuples(st.sampled_from(["=", "!="]), KEYS, VALUES),
        st.tuples(st.sampled_from(["<", "<=", ">", ">="]), KEYS, st.one_of(TEXTS, NUMBERS)),
        st.tuples(st.sampled_from(["in", "not in"]), KEYS, st.lists(VALUES, min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["like", "not like"]), st.one_of(KEYS, st.just("label")), TEXTS),
        st.tuples(st.sampled_from(["is", "is not"]), st.one_of(KEYS, st.just("label")), st.none()),
    )


TREES = st.recursive(
    comparisons(),
    lambda tree: st.one_of(
        st.tuples(st.just("not"), tree), st.tuples(st.sampled_from(["and", "or"]), tree, tree)
    ),
    max_leaves=6,
)


def written(value: Any) -> str:
    if isinstance(value, list):
        return f"({', '.join(map(written, value))})"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(value)


def text_of(tree: Tree) -> str:
    operator, *parts = tree
    if operator == "not":
        return f"not ({text_of(parts[0])})"
    if operator in ("and", "or"):
        return f"({text_of(parts[0])}) {operator} ({text_of(parts[1])})"
    return f"{parts[0]} {operator} {written(parts[1])}"


def judged(tree: Tree, row: Row) -> bool:
    operator, *parts = tree
    if operator in ("and", "or"):
        return {"and": all, "or": any}[operator](judged(part, row) for part in parts)
    if operator == "not":
        return not judged(parts[0], row)
    negated = operator.startswith("not ") or operator in ("!=", "is not")
    plain = {"!=": "=", "is not": "is"}.get(operator, operator.removeprefix("not "))
    return compared(plain, valued(parts[0], row), parts[1]) != negated


def valued(name: str, row: Row) -> Any:
    if name == "label":
        return row["label"]
    value: Any = row["metadata"]
    for key in name.split("."):
        value = value.get(key)
    return value


def compared(operator: str, found: Any, given: Any) -> bool:
    if operator == "is":
        return found is None
    if operator == "in":
        return any(compared("=", found, value) for value in given)
    if kind(found) != kind(given) or found is None:
        return False
    if operator == "like":
        return re.fullmatch(pattern(given), found, re.DOTALL) is not None
    answers = {"=": found == given, "<": found < given, "<=": found <= given, ">": found > given}
    return bool(answers.get(operator, found >= given))


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    return "number" if isinstance(value, int | float) else type(value).__name__


def pattern(like: str) -> str:
    """LIKE as a regular expression: case is passed over in ASCII alone."""
    parts = {"%": ".*", "_": "."}
    return "".join(
        parts.get(letter)
        or (
            f"[{letter.upper()}{letter.lower()}]"
            if letter.isascii() and letter.isalpha()
            else re.escape(letter)
        )
        for letter in like
    )


@given(TREES, st.lists(st.fixed_dictionaries({"label": LABELS, "metadata": METADATA}), max_size=6))
@settings(max_examples=300, deadline=None)
def test_generated_filters_agree_with_a_judge(db: sqlite3.Connection, tree: Tree, rows: list[Row]) -> None:
    expected = [number for number, row in enumerate(rows) if judged(tree, row)]
    assert matching(db, rows, text_of(tree)) == expected


def test_a_number_of_thousands_of_digits_is_too_large_and_no_more() -> None:
    """Python itself refuses to read it."""
    with pytest.raises(InvalidArgument, match=r"a number of at most 1.8e308"):
        Filter.parse("width > " + "9" * 5000)
    assert Filter.parse("width > " + "0" * 5000 + "7").values[-1] == 7
