"""The shared store: PostgreSQL passes the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from databases import database, prepared
from lookalike.stores import schema
from lookalike.stores.base import Store
from lookalike.stores.postgres.engine import address_of
from lookalike.stores.postgres.store import PostgresStore
from lookalike.testing.stores import StoreContract


@pytest.fixture
def url() -> Iterator[str]:
    """Return the URL of a database with an empty store."""
    with database(template=prepared()) as made:
        yield made


class TestPostgresStore(StoreContract):
    """The shared store keeps the law of stores."""

    @pytest.fixture
    def open_store(self, url: str, tmp_path: Path) -> Callable[[], Store]:
        return lambda: PostgresStore(address_of(url), tmp_path)

    @pytest.fixture
    def bytes_kept(self, url: str, tmp_path: Path) -> Callable[[], bytes]:
        """Read what any client of the database can, and all files on the local disk."""

        def read() -> bytes:
            parts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
            with psycopg.connect(url) as connection:
                for name in schema.metadata.tables:
                    with connection.cursor().copy(f'COPY lookalike."{name}" TO STDOUT') as copy:
                        parts += [bytes(block) for block in copy]
                stored = "SELECT vector::vector::real[] FROM lookalike.vector"
                for (vector,) in connection.execute(stored):
                    parts.append(np.array(vector, np.float16).tobytes())
            return b"".join(parts)

        return read

    @pytest.fixture
    def lose_vectors(self, url: str) -> Callable[[], None]:
        def cut() -> None:
            with psycopg.connect(url) as connection:
                connection.execute("DELETE FROM lookalike.vector WHERE slot >= 25")

        return cut
