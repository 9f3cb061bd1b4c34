"""The table of settings. A value comes from the environment, else the settings file, else the
default; it is read once, when a store is opened.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from lookalike.errors import BadSetting


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError("must be above 0")
    return number


def _folders(text: str) -> tuple[Path, ...]:
    folders = tuple(Path(part).absolute() for part in text.split(os.pathsep) if part.strip())
    if any(folder.resolve() == Path("/") for folder in folders):
        raise ValueError("/ would make every file of the machine readable; name a folder")
    return folders


def _folder(text: str) -> Path | None:
    return Path(text).absolute() if text else None


def _storage(text: str) -> Path | str | None:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _folder(text)
    scheme, rest = scheme.lower(), rest.rstrip("/")
    if scheme in _NO_STORAGE:
        raise ValueError("must be a directory, or s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    if re.search(r"[@?#%\s:]", rest) or not rest.partition("/")[0]:
        raise ValueError(
            "must be scheme, bucket and prefix, as s3://BUCKET/PREFIX; set credentials and the "
            "rest in the environment, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL"
        )
    return f"{scheme}://{rest}"


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(_host(part) for part in _items(text))


def _host(text: str) -> str:
    if "/" not in text and _HOST_NAME.fullmatch(text) and not text.replace(".", "").isdigit():
        return text.lower().removesuffix(".")
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a host name nor a network; write a.example or 10.1.0.0/16"
        ) from None


def _schemes(text: str) -> frozenset[str]:
    schemes = frozenset(_items(text.lower()))
    if unknown := schemes - _SCHEMES:
        raise ValueError(f"{min(unknown)!r} is none of {', '.join(sorted(_SCHEMES))}")
    return schemes


def _items(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_HOST_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_ORIGIN = re.compile(r"https?://[^/*?#@\s]+")
_MAX_SECONDS = 3600
_NO_STORAGE = frozenset({"blob", "data", "file", "http", "https", "postgres", "postgresql"})
_SCHEMES = frozenset({"data", "gs", "http", "https", "s3"})


def _seconds(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _MAX_SECONDS:
        raise ValueError(f"must be 0 to {_MAX_SECONDS}")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise ValueError("must be 0 to 65535")
    return number


def _long_secret(text: str) -> str:
    if text and len(text) < 16:
        raise ValueError("must have 16 characters or more")
    if not re.fullmatch(r"[!-~]*", text):
        raise ValueError("must have only ASCII letters, digits and punctuation, without spaces")
    return text


def _rate(text: str) -> float | None:
    number = float(text) if text else None
    if number is not None and not 0 <= number < math.inf:
        raise ValueError("must be 0 or above")
    return number


def _names(text: str) -> tuple[str, ...]:
    return tuple(_items(text.lower()))


def _origins(text: str) -> tuple[str, ...]:
    origins = _names(text)
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is not an origin such as https://labels.example.org")
    return origins


def _origin(text: str) -> str:
    origin = text.rstrip("/")
    if origin and not _ORIGIN.fullmatch(origin):
        raise ValueError("must be scheme and host, such as https://labels.example.org")
    return origin


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its environment variable is `LOOKALIKE_` + name in capitals.

    The value of a `secret` is never shown. It may be in a file instead, which the variable with
    `_FILE` at its end names: the way in which containers get secrets.
    """

    name: str
    default: str
    read: Callable[[str], Any]
    help: str
    secret: bool = False

    @property
    def variable(self) -> str:
        """Return the name of the environment variable."""
        return f"LOOKALIKE_{self.name.upper()}"


SETTINGS = (
    Setting(
        "store",
        "lookalike",
        str,
        "where the store is: a directory, or a database as postgresql://USER@HOST/NAME",
        secret=True,
    ),
    Setting(
        "blobs",
        "",
        _storage,
        "where uploads and copies are kept, the same for all servers and workers: a directory, or "
        "object storage as s3://BUCKET/PREFIX (default: in the store, if that is a directory)",
        secret=True,
    ),
    Setting(
        "cache",
        "",
        _folder,
        "for a store in a database: the directory of derived files, which can be computed again "
        "(default: the user's cache directory)",
    ),
    Setting(
        "actor",
        "",
        str,
        "the person who labels; recorded with every label (default: the user's name)",
    ),
    Setting("namespace", "default", str, "an isolated set of buckets and collections"),
    Setting("max_pixels", "100000000", _positive, "pictures with more pixels are refused"),
    Setting("read_seconds", "60", _positive, "a PDF page that takes longer to read is refused"),
    Setting("read_memory_mib", "1500", _positive, "a PDF that takes more MiB to read is refused"),
    Setting("max_blob_bytes", "536870912", _positive, "blobs larger than this are refused"),
    Setting("threads", "2", _positive, "number of threads that read and extract"),
    Setting(
        "fetch_roots",
        "",
        _folders,
        "folders, separated by `:`, whose files a request to a server may name (default: none)",
    ),
    Setting(
        "fetch_allow",
        "",
        _hosts,
        "private host names or networks, separated by commas, that a server may fetch from "
        "(default: none)",
    ),
    Setting(
        "fetch_schemes",
        "http,https,data",
        _schemes,
        "URL schemes, separated by commas, that a server may fetch; it reads `s3` and `gs` with "
        "its own credentials",
    ),
    Setting(
        "host",
        "127.0.0.1",
        str,
        "the address the server listens on; any but loopback needs an API key",
    ),
    Setting("port", "8710", _port, "the port the server listens on; 0: any free port"),
    Setting(
        "public_url",
        "",
        _origin,
        "the server's address for clients if a proxy in front of it handles TLS, such as "
        "https://labels.example.org; the server's links begin with it (default: the address of "
        "the request)",
    ),
    Setting(
        "drain_s",
        "0",
        _seconds,
        "seconds that a stopping server keeps answering while its readiness probe fails: the time "
        "that a load balancer needs to notice",
    ),
    Setting(
        "grace_s",
        "10",
        _seconds,
        "seconds that running requests, and then the worker, get to finish when the server stops",
    ),
    Setting(
        "api_key",
        "",
        _long_secret,
        "an API key with all rights, 16 characters or more; requests from loopback need it, too",
        secret=True,
    ),
    Setting(
        "webhook_secret",
        "",
        _long_secret,
        "the secret that signs webhooks, 16 characters or more; alerts with a webhook need it",
        secret=True,
    ),
    Setting("max_json_bytes", "8388608", _positive, "JSON bodies larger than this are refused"),
    Setting(
        "rate_per_s",
        "",
        _rate,
        "requests per second for each API key or address; 0: no limit (default: 200, on loopback "
        "no limit)",
    ),
    Setting(
        "cors_origins",
        "",
        _origins,
        "other origins, separated by commas, whose pages may call the server",
    ),
    Setting(
        "allowed_hosts",
        "",
        _names,
        "more host names, separated by commas, that requests may address the server by",
    ),
)
"""All settings. Help texts and docs are made from this table."""


class Settings:
    """The current values, as attributes with the names of the table."""

    store: str
    blobs: Path | str | None
    cache: Path | None
    actor: str
    namespace: str
    max_pixels: int
    read_seconds: int
    read_memory_mib: int
    max_blob_bytes: int
    threads: int
    fetch_roots: tuple[Path, ...]
    fetch_allow: tuple[str, ...]
    fetch_schemes: frozenset[str]
    host: str
    port: int
    public_url: str
    drain_s: int
    grace_s: int
    api_key: str
    webhook_secret: str
    max_json_bytes: int
    rate_per_s: float | None
    cors_origins: tuple[str, ...]
    allowed_hosts: tuple[str, ...]

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)


def read_settings(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Return the settings from `environment`, else the TOML `file`, else the defaults.

    Raises BadSetting for an unknown name in the file, an impossible value, or the file of a secret
    that cannot be read; the message has the name and the value.
    """
    stored = _read_file(file) if file is not None and file.exists() else {}
    values = {}
    for setting in SETTINGS:
        text = _from_environment(setting, environment) or stored.get(setting.name, setting.default)
        try:
            values[setting.name] = setting.read(str(text))
        except ValueError as error:
            shown = "unusable" if setting.secret else repr(text)
            raise BadSetting(
                f"{setting.variable} is {shown}: {error}; it means: {setting.help}"
            ) from error
    return Settings(values)


def _from_environment(setting: Setting, environment: Mapping[str, str]) -> str | None:
    """Return the value of the setting's variable or, for a secret, of the file it names."""
    value, file_variable = environment.get(setting.variable), f"{setting.variable}_FILE"
    file = environment.get(file_variable) if setting.secret else None
    if not file:
        return value
    if value:
        raise BadSetting(f"{setting.variable} and {file_variable} are both set; remove one of them")
    try:
        text = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise BadSetting(f"{file_variable} is {file!r}, which cannot be read: {reason}") from error
    if not text:
        raise BadSetting(f"{file_variable} is {file!r}, which is empty: write the secret into it")
    return text


def _read_file(file: Path) -> dict[str, Any]:
    try:
        stored = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"the settings file {file} is not TOML: {error}") from error
    unknown = set(stored) - {setting.name for setting in SETTINGS}
    if unknown:
        known = ", ".join(setting.name for setting in SETTINGS)
        raise BadSetting(f"unknown setting {min(unknown)!r} in {file}; known: {known}")
    return stored
