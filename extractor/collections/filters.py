"""Which items are meant: `label = 'cat' and width > 300`, checked and turned into SQL.

A comparison is true or false, never neither: an item without the field, or
with a value of another type there, equals nothing and is neither less nor
greater. So `x != 1` is the same as `not x = 1`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeAlias

from extractor.errors import InvalidArgument

MAX_CHARACTERS = 20_000
MAX_COMPARISONS = 200
"""SQLite gives up at a thousand in a row."""

MAX_DEPTH = 10
"""Of parentheses and `not` in one another; SQLite's own parser has room for a hundred words at once."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>'(?:[^']|'')*')
  | (?P<number>[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
  | (?P<name>(?:[^\W\d]\w*|"[^"\\\x00-\x1f]+")(?:\.(?:\w+|"[^"\\\x00-\x1f]+"))*)
  | (?P<sign><=|>=|!=|<>|==|[=<>(),])
  | (?P<end>\Z)
    )""",
    re.VERBOSE,
)
_DIGITS = 20  # of the longest whole number, with its sign
_SEGMENT = re.compile(r'"([^"]+)"|(\w+)')
_WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false"})
COLUMNS = {"id": "id", "label": "label", "source": "source", "digest": "lower(hex(digest))"}
_PREFIX = "metadata"
_ORDERS = {"<": "<", "<=": "<=", ">": ">", ">=": ">="}
_EQUAL = {"=": False, "==": False, "!=": True, "<>": True}

Value: TypeAlias = "str | int | float | bool"


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on items, as SQL over the store's table of items.

    Attributes
    ----------
    text : str
        As it was given.
    sql : str
        A condition that is 0 or 1 for every item; nothing of the text is in it.
    values : tuple
        What its question marks stand for.
    fields : tuple of (str, str)
        The keys of the metadata that it compares with something, as they were
        written, each with its JSON path. Those are left out of which it only
        asks whether they are null.
    """

    text: str
    sql: str
    values: tuple[str | int | float, ...]
    fields: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read a filter.

        Raises
        ------
        InvalidArgument
            When it makes no sense; the message says where, and what was expected.
        """
        if len(text) > MAX_CHARACTERS:
            raise InvalidArgument(
                f"the filter has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read"
            )
        parser = _Parser(text)
        part = parser.whole()
        return cls(text, part.sql, part.values, tuple(parser.compared))

    def __str__(self) -> str:
        return self.text


class _Sql(NamedTuple):
    """Some SQL in parentheses, with the values that it binds."""

    sql: str
    values: tuple[str | int | float, ...] = ()

    def negated(self, really: bool = True) -> _Sql:
        return _Sql(f"(NOT {self.sql})", self.values) if really else self


class _Token(NamedTuple):
    kind: str
    text: str
    column: int

    @property
    def word(self) -> str:
        """The keyword or sign that it is; empty for anything else."""
        if self.kind == "sign":
            return self.text
        return self.text.lower() if self.kind == "name" and self.text.lower() in _WORDS else ""


class _Field(NamedTuple):
    """What is compared: a column of text, or a place in the metadata."""

    name: str
    column: str
    path: str

    def compare(self, operator: str, value: Value) -> _Sql:
        """One comparison that is 0 or 1, never NULL."""
        return self._test(operator, "?", (value,))

    def among(self, values: list[Value]) -> _Sql:
        """Whether it equals one of many."""
        texts = tuple(value for value in values if isinstance(value, str))
        truths = tuple(value for value in values if isinstance(value, bool))
        numbers = tuple(value for value in values if not isinstance(value, str | bool))
        parts = [self._test("IN", f"({_marks(same)})", same) for same in (texts, numbers) if same]
        parts += [self.compare("=", truth) for truth in dict.fromkeys(truths)]
        return _joined("OR", parts)

    def _test(self, operator: str, marks: str, values: tuple[Value, ...]) -> _Sql:
        """A comparison with values of one type."""
        if self.column:
            return _Sql(f"({self.column} IS NOT NULL AND {self.column} {operator} {marks})", values)
        if isinstance(values[0], bool):
            return _Sql("(json_type(metadata, ?) IS ?)", (self.path, str(values[0]).lower()))
        kinds = "'text'" if isinstance(values[0], str) else "'integer', 'real'"
        return _Sql(
            f"(coalesce(json_type(metadata, ?), '') IN ({kinds})"
            f" AND json_extract(metadata, ?) {operator} {marks})",
            (self.path, self.path, *values),
        )

    def null(self) -> _Sql:
        if self.column:
            return _Sql(f"({self.column} IS NULL)")
        return _Sql("(json_extract(metadata, ?) IS NULL)", (self.path,))


class _Parser:
    """One pass from left to right, a method for each level of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = self._comparisons = 0
        self.compared: dict[tuple[str, str], None] = {}

    def whole(self) -> _Sql:
        found = self._any()
        if self._next.kind != "end":
            self._fail("`and`, `or` or the end")
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, *words: str) -> str:
        """Pass over the next token when it is one of these; return which, or nothing."""
        word = self._next.word
        if word not in words:
            return ""
        self._at += 1
        return word

    def _expect(self, word: str) -> None:
        if not self._take(word):
            self._fail(f"`{word}`")

    def _any(self) -> _Sql:
        return self._joined("or", self._all)

    def _all(self) -> _Sql:
        return self._joined("and", self._single)

    def _joined(self, word: str, part: Callable[[], _Sql]) -> _Sql:
        parts = [part()]
        while self._take(word):
            parts.append(part())
        return _joined(word.upper(), parts)

    def _single(self) -> _Sql:
        word = self._take("not", "(")
        if not word:
            return self._comparison()
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"at most {MAX_DEPTH} levels of `not` and parentheses")
        found = self._single().negated() if word == "not" else self._any()
        if word == "(":
            self._expect(")")
        self._depth -= 1
        return found

    def _comparison(self) -> _Sql:
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            self._fail(f"at most {MAX_COMPARISONS} comparisons")
        field = self._field()
        if self._take("is"):
            really = not self._take("not")
            self._expect("null")
            return field.null().negated(not really)
        if field.path:
            self.compared[field.name, field.path] = None
        negated = bool(self._take("not"))
        if self._take("in"):
            return self._among(field).negated(negated)
        if self._take("like"):
            return self._like(field).negated(negated)
        if negated:
            self._fail("`in` or `like`")
        return self._order(field)

    def _order(self, field: _Field) -> _Sql:
        operator = self._take(*_EQUAL, *_ORDERS)
        if not operator:
            self._fail("a comparison: =, !=, <, <=, >, >=, in, like or is")
        value = self._value(field, orderable=operator in _ORDERS)
        if operator in _ORDERS:
            return field.compare(operator, value)
        return field.compare("=", value).negated(_EQUAL[operator])

    def _like(self, field: _Field) -> _Sql:
        if self._next.kind != "text":
            self._fail("a pattern in single quotes")
        return field.compare("LIKE", self._value(field))

    def _among(self, field: _Field) -> _Sql:
        self._expect("(")
        values = [self._value(field)]
        while self._take(","):
            values.append(self._value(field))
        self._expect(")")
        return field.among(values)

    def _field(self) -> _Field:
        token = self._next
        if token.kind != "name" or token.word:
            self._fail("a field, such as label or width")
        self._at += 1
        if token.text in COLUMNS:
            return _Field(token.text, COLUMNS[token.text], "")
        keys = [quoted or plain for quoted, plain in _SEGMENT.findall(token.text)]
        if len(keys) > 1 and token.text.startswith(f"{_PREFIX}."):
            keys = keys[1:]
        return _Field(token.text, "", "$" + "".join(f'."{key}"' for key in keys))

    def _value(self, field: _Field, *, orderable: bool = False) -> Value:
        token, word = self._next, self._next.word
        if token.kind == "text":
            value: Value = token.text[1:-1].replace("''", "'")
        elif field.column:
            self._fail(f"a text in single quotes, which {field.name} is")
        elif token.kind == "number":
            value = self._number(token.text)
        elif word in ("true", "false") and not orderable:
            value = word == "true"
        else:
            self._fail("a text in single quotes or a number" + ("" if orderable else ", true or false"))
        self._at += 1
        return value.lower() if field.name == "digest" and isinstance(value, str) else value

    def _number(self, text: str) -> int | float:
        whole = text.lstrip("+-").isdigit()
        if whole and len(text) <= _DIGITS and -(2**63) <= int(text) < 2**63:
            return int(text)
        value = float(text)
        if value in (float("inf"), float("-inf")):
            self._fail("a number of at most 1.8e308")
        return value

    def _fail(self, expected: str) -> NoReturn:
        _refuse(self._text, self._next.column, expected)


def _joined(word: str, parts: list[_Sql]) -> _Sql:
    if len(parts) == 1:
        return parts[0]
    sql = f" {word} ".join(part.sql for part in parts)
    return _Sql(f"({sql})", tuple(value for part in parts for value in part.values))


def _marks(values: tuple[Value, ...]) -> str:
    return ", ".join("?" * len(values))


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            column = at + len(text[at:]) - len(text[at:].lstrip())
            opened = text[column] in "'\""
            _refuse(text, column, "a closing quote" if opened else "a field, a text, a number or a sign")
        found.append(_Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
        at = match.end()
    return found


def _refuse(text: str, column: int, expected: str) -> NoReturn:
    rest = text[column : column + 20]
    found = f"{rest!r}" if rest else "the end"
    raise InvalidArgument(
        f"the filter {text[:200]!r} is wrong at column {column + 1}: expected {expected}, found {found}"
    )
