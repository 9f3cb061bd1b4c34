"""SQL that differs between the two engines: values in JSON columns, and truncation of numbers.

SQLite columns hold values of any type. PostgreSQL columns do not, so a value is a **key** there: a
text that sorts like SQLite sorts values, numbers before texts. A number is a `1`, the bits of the
number as a double, arranged so that they sort like the number, and its digits; a text is a `2` and
the text. True is 1, false 0; arrays and objects are their JSON.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Dialect,
    Integer,
    Numeric,
    Text,
    literal,
    literal_column,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

_NUMBER, _TEXT = "1", "2"
_HEX, _INVERTED = "0123456789abcdef", "fedcba9876543210"
_BITS = 16
_LARGEST = 2**63
"""Larger numbers are doubles, as in SQLite."""

FUNCTIONS = (
    """
    CREATE OR REPLACE FUNCTION lookalike_at(doc json, parts text[]) RETURNS json
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE part text;
    BEGIN
        FOREACH part IN ARRAY parts LOOP
            IF doc IS NULL OR json_typeof(doc) <> 'object' THEN RETURN NULL; END IF;
            doc := doc -> part;
        END LOOP;
        RETURN doc;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION lookalike_kind(doc json, parts text[]) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE value json := lookalike_at(doc, parts); kind text := json_typeof(value);
    BEGIN
        RETURN CASE kind
            WHEN 'string' THEN 'text'
            WHEN 'boolean' THEN value::text
            WHEN 'number' THEN CASE WHEN value::text ~ '[.eE]' THEN 'real' ELSE 'integer' END
            ELSE kind
        END;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION lookalike_number(doc json, parts text[]) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE value json := lookalike_at(doc, parts);
    BEGIN
        RETURN CASE WHEN json_typeof(value) = 'number' THEN (value #>> '{}')::numeric END;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION lookalike_key(doc json, parts text[]) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        value json := lookalike_at(doc, parts); kind text := json_typeof(value);
        number numeric; double float8; bits text;
    BEGIN
        IF kind IS NULL OR kind = 'null' THEN RETURN NULL; END IF;
        IF kind NOT IN ('number', 'boolean') THEN RETURN '2' || (value #>> '{}'); END IF;
        number := CASE value::text
            WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE (value #>> '{}')::numeric END;
        double := CASE WHEN abs(number) < 1.797e308 THEN number::float8
            ELSE sign(number)::float8 * 'Infinity'::float8 END;
        bits := encode(float8send(double), 'hex');
        bits := CASE WHEN number < 0 THEN translate(bits, '0123456789abcdef', 'fedcba9876543210')
            ELSE translate(left(bits, 1), '01234567', '89abcdef') || substr(bits, 2) END;
        IF abs(number) >= 9223372036854775808 THEN number := double::text::numeric; END IF;
        RETURN '1' || bits || trim_scale(number)::text;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION lookalike_has(doc json, parts text[], kind text, wanted text)
    RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE value json := lookalike_at(doc, parts);
    BEGIN
        RETURN json_typeof(value) = 'array' AND EXISTS (
            SELECT 1 FROM json_array_elements(value) AS member
            WHERE json_typeof(member) = CASE kind WHEN 'text' THEN 'string' ELSE kind END
            AND lookalike_key(member, '{}') COLLATE "C" = wanted COLLATE "C");
    END $$
    """,
)
"""The SQL functions that a PostgreSQL store has in its schema."""


class Path(TypeDecorator[Sequence[str]]):
    """The path to a value: a JSON path, or an array of texts."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type in an engine."""
        return dialect.type_descriptor(ARRAY(Text()) if _is_postgres(dialect) else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the path in the engine's form."""
        if _is_postgres(dialect):
            return list(value)
        return "$" + "".join(f'."{part}"' for part in value)


class SortKey(TypeDecorator[Any]):
    """A value of any type: itself, or a text that sorts in the same order."""

    impl = NullType
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type in an engine."""
        return dialect.type_descriptor(Text() if _is_postgres(dialect) else NullType())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return a value in the engine's form."""
        return key_of(value) if _is_postgres(dialect) and value is not None else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the original value of a key; true is 1."""
        return value_of(value) if _is_postgres(dialect) and value is not None else value

    def coerce_compared_value(self, _op: Any, _value: Any) -> TypeEngine[Any]:
        """Return the type of the other operand: a key, too."""
        return self


def key_of(value: str | float) -> str:
    """Return the key of a text, a number or a boolean."""
    if isinstance(value, str):
        return _TEXT + value
    if abs(value) >= _LARGEST:
        value = _double(value)
    bits = struct.pack(">d", value or 0.0).hex()
    inverted = dict(zip(_HEX, _INVERTED, strict=True))
    first = _HEX[(int(bits[0], 16) + 8) % 16]
    bits = "".join(inverted[digit] for digit in bits) if value < 0 else first + bits[1:]
    digits = str(int(value)) if isinstance(value, int) else _digits(value)
    return _NUMBER + bits + digits


def value_of(key: str) -> str | float:
    """Return the value of a key."""
    if key.startswith(_TEXT):
        return key[len(_TEXT) :]
    digits = key[len(_NUMBER) + _BITS :]
    if not digits.lstrip("-").isdigit() or abs(int(digits)) >= _LARGEST:
        return float(digits)
    return int(digits)


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _digits(value: float) -> str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return format(Decimal(repr(value)).normalize(), "f") if value else "0"


class _JsonElement(FunctionElement[Any]):
    """A property of the value at a path in a JSON column."""

    inherit_cache = True
    sqlite = "json_extract"
    postgresql = ""
    collates = False


class json_kind(_JsonElement):  # noqa: N801 as functions are named in SQL
    """Its type: null, true, false, integer, real, text, array or object."""

    inherit_cache = True
    type = Text()
    sqlite = "json_type"
    postgresql = "lookalike_kind"
    collates = True


class json_key(_JsonElement):  # noqa: N801
    """The value itself, of any type, for sorting, grouping and comparing."""

    inherit_cache = True
    type = SortKey()
    postgresql = "lookalike_key"
    collates = True


class json_number(_JsonElement):  # noqa: N801
    """The value as a number."""

    inherit_cache = True
    type = Numeric(asdecimal=False)
    postgresql = "lookalike_number"


class json_text(_JsonElement):  # noqa: N801
    """The value as a text."""

    inherit_cache = True
    type = Text()


@compiles(_JsonElement, "sqlite")
def _in_sqlite(element: _JsonElement, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{element.sqlite}({compiler.process(element.clauses, **kw)})"


@compiles(_JsonElement, "postgresql")
def _in_postgres(element: _JsonElement, compiler: SQLCompiler, **kw: Any) -> str:
    called = f"{element.postgresql}({compiler.process(element.clauses, **kw)})"
    return f'({called} COLLATE "C")' if element.collates else called


@compiles(json_text, "postgresql")
def _text_in_postgres(element: json_text, compiler: SQLCompiler, **kw: Any) -> str:
    at = f"lookalike_at({compiler.process(element.clauses, **kw)})"
    return f"(({at} #>> '{{}}') COLLATE \"C\")"


class truncated(FunctionElement[int]):  # noqa: N801
    """A number without its fraction, as SQLite casts; PostgreSQL rounds."""

    inherit_cache = True
    type = Integer()


@compiles(truncated, "sqlite")
def _cut_in_sqlite(element: truncated, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS INTEGER)"


@compiles(truncated, "postgresql")
def _cut_in_postgres(element: truncated, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(trunc({compiler.process(element.clauses, **kw)}) AS integer)"


class json_has(FunctionElement[bool]):  # noqa: N801
    """Whether an array has a member: column, path, kind (number, text, boolean), value."""

    inherit_cache = True
    type = Boolean()


@compiles(json_has, "sqlite")
def _has_in_sqlite(element: json_has, compiler: SQLCompiler, **kw: Any) -> str:
    column, path, kind, value = (compiler.process(one, **kw) for one in element.clauses)
    types = {"'number'": "'integer', 'real'", "'text'": "'text'", "'boolean'": "'true', 'false'"}
    equal = f"member.type IN ({types[kind]}) AND member.value = {value}"
    return f"EXISTS (SELECT 1 FROM json_each({column}, {path}) AS member WHERE {equal})"


@compiles(json_has, "postgresql")
def _has_in_postgres(element: json_has, compiler: SQLCompiler, **kw: Any) -> str:
    return f"lookalike_has({compiler.process(element.clauses, **kw)})"


def has_member(
    column: ColumnElement[Any], path: ColumnElement[Any], kind: str, value: str | float
) -> ColumnElement[bool]:
    """Return whether an array has a `value` of the kind number, text or boolean."""
    return json_has(column, path, literal_column(f"'{kind}'"), literal(value, SortKey()))


def path_to(dotted: str) -> ColumnElement[Any]:
    """Return the path argument for a dotted name."""
    return literal(tuple(dotted.split(".")), Path())


def _is_postgres(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"
