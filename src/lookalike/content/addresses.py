"""Which IP addresses are public, from the registries of special addresses (RFC 6890).

Of IPv6 only global unicast, 2000::/3, is public, without what the registry takes out of it. An
address that carries an IPv4 address, as tunnels and translators use it, is judged by that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SPECIAL: tuple[tuple[str, Sequence[str]], ...] = (
    ("unspecified", ["0.0.0.0/8", "::/128"]),
    ("loopback", ["127.0.0.0/8", "::1/128"]),
    ("link-local", ["169.254.0.0/16", "fe80::/10"]),
    (
        "private",
        [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "64:ff9b:1::/48",
            "fc00::/7",
            "fec0::/10",
        ],
    ),
    ("carrier-shared", ["100.64.0.0/10"]),
    ("multicast", ["224.0.0.0/4", "ff00::/8"]),
    (
        "reserved",
        [
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
        ],
    ),
)
_KINDS: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), kind) for kind, listed in _SPECIAL for text in listed
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")


def special_kind(address: Address) -> str | None:
    """Return why an address is not public, in a word, or None where it is public.

    >>> special_kind(IPv4Address("192.168.1.1")), special_kind(IPv4Address("9.9.9.9"))
    ('private', None)
    """
    inner = _inner(address)
    if inner is not None:
        return special_kind(inner)
    for network, kind in _KINDS:
        if address in network:
            return kind
    return None if address.version == 4 or address in _GLOBAL_UNICAST else "reserved"


def lies_in(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether an address, or the IPv4 address that it carries, lies in one of `networks`."""
    forms = [form for form in (address, _inner(address)) if form is not None]
    return any(form in network for form in forms for network in networks)


def _inner(address: Address) -> IPv4Address | None:
    """Return the IPv4 address in one that is mapped, translated (NAT64) or tunnelled (6to4)."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
