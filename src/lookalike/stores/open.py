"""Opening a store by its address: a directory, or the URL of a database."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from ulid import ULID

from lookalike.content.object_storage import ObjectStorage, check_package
from lookalike.content.storage import DirectoryStorage, LayeredStorage, Storage
from lookalike.errors import BadSetting, MissingExtra
from lookalike.settings import Settings, read_settings
from lookalike.stores import schema
from lookalike.stores.base import Store

_SCHEMES = ("postgresql", "postgres")
_IDENTITY = schema.meta.c.key == "store_id"


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """An open store, the directory of its derived data, and the storage of its bytes."""

    store: Store
    root: Path
    blobs: Storage | None
    shown: str
    """The address without secrets."""


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """The address of a store, as given."""

    given: str = field(repr=False)

    @property
    def is_database(self) -> bool:
        """Return whether it is the URL of a database. Raises BadSetting for another URL."""
        scheme, separator, _ = self.given.partition("://")
        if separator and scheme not in _SCHEMES:
            raise BadSetting(
                f"a store cannot be at a {scheme!r} address; name a directory, or a database as "
                "postgresql://USER@HOST/NAME"
            )
        return bool(separator)

    def settings(self, environment: Mapping[str, str]) -> Settings:
        """Return the settings of the store: a directory may have a settings file."""
        file = None if self.is_database else Path(self.given) / "lookalike.toml"
        return read_settings(environment, file)

    def is_there(self) -> bool:
        """Return whether there is a store. Raises like `open` if a database is not ready."""
        if not self.is_database:
            return (Path(self.given) / "lookalike.db").exists()
        _check_extra()
        from lookalike.stores.postgres import engine

        return engine.is_there(engine.address_of(self.given))

    def shown(self) -> str:
        """Return the address without a password."""
        if not self.is_database:
            return self.given
        _check_extra()
        from lookalike.stores.postgres.engine import address_of

        return address_of(self.given).shown

    def open(self, settings: Settings, environment: Mapping[str, str]) -> OpenedStore:
        """Open the store; create it if there is none.

        Raises MissingExtra if the storage of its bytes needs a package that is not installed.
        """
        if isinstance(settings.blobs, str):
            check_package(settings.blobs)
        if not self.is_database:
            from lookalike.stores.sqlite.store import SqliteStore

            root = Path(self.given)
            embedded = SqliteStore(root)
            own = root / "blobs"
            return OpenedStore(embedded, root, _layered(own, embedded, settings.blobs), self.given)
        _check_extra()
        from lookalike.stores.postgres.engine import address_of
        from lookalike.stores.postgres.store import PostgresStore

        store = PostgresStore(address_of(self.given), settings.cache or _user_caches(environment))
        storage = None if settings.blobs is None else _storage(store, settings.blobs)
        return OpenedStore(store, store.root, storage, store.place)


def _layered(own: Path, store: Store, setting: Path | str | None) -> Storage:
    """Return the storage of bytes for a store in a directory: `own`, or the one of the setting."""
    inside = DirectoryStorage(own)
    if setting is None or (isinstance(setting, Path) and setting.resolve() == own.resolve()):
        return inside
    return LayeredStorage(_storage(store, setting), inside)


def _storage(store: Store, setting: Path | str) -> Storage:
    """Return the storage of the setting, with a folder of this store's own.

    So stores with the same setting share no bytes, and erasing in one does not affect another.
    """
    folder = _identity(store)
    if isinstance(setting, Path):
        return DirectoryStorage(setting / folder)
    return ObjectStorage(f"{setting}/{folder}")


def _identity(store: Store) -> str:
    """Return the id that the store got when it was created; a copy has another one."""
    query = select(schema.meta.c.value).where(_IDENTITY)
    with store.read() as snapshot:
        rows = snapshot.rows(query)
    if not rows:
        with store.write() as txn:
            rows = txn.rows(query)
            if not rows:
                txn.insert(schema.meta, [{"key": "store_id", "value": str(ULID()).lower()}])
                rows = txn.rows(query)
    return str(rows[0].value)


def _check_extra() -> None:
    try:
        import psycopg  # noqa: F401 whether it is installed
    except ImportError as error:
        raise MissingExtra.named("a store in PostgreSQL", "postgres") from error


def _user_caches(environment: Mapping[str, str]) -> Path:
    """Return the directory of the user's caches."""
    directory = environment.get("XDG_CACHE_HOME")
    if directory:
        return Path(directory) / "lookalike"
    default = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path.home() / default / "lookalike"
