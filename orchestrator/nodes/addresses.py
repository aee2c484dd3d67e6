"""Which addresses an HTTP node may connect to: the public internet, and what the operator's settings allow.

Workflows are written by people who need not be trusted with the network that the worker stands in (metadata services,
databases, the API server). So every address is judged after the name was resolved, and the connection goes to the very
address that was judged (see http_client.py).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTING = "ORCHESTRATOR_HTTP_ALLOW"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address
# What the standard library's tables of special addresses, which differ by version, do not call special.
_SPECIAL: tuple[Network, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # IETF protocol assignments; one cloud's metadata service stands here
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays, deprecated by RFC 7526
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's host: metadata and keys, on a public address
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # NAT64 within a network, RFC 8215
    ipaddress.IPv6Network("2001::/23"),  # IETF protocol assignments, Teredo among them
    ipaddress.IPv6Network("3fff::/20"),  # documentation, RFC 9637
)
_UNICAST = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that was ever given out (RFC 4291, 2.4)
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class _Entry:
    """One allowed thing: a network or a name, at one port or at any."""

    network: Network | None
    name: str | None
    port: int | None

    def covers(self, host: str, port: int, address: Address) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return any(form in self.network for form in _forms(address))
        return self.name == _plain(host)


@dataclass(frozen=True, slots=True)
class AllowList:
    """What is allowed beside public addresses; nothing by default."""

    entries: tuple[_Entry, ...] = ()

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """`127.0.0.0/8,10.1.2.3,shop.internal,db.internal:8080,[::1]:80`; raises InvalidInput naming each bad part."""
        entries, problems = [], []
        for part in filter(None, (part.strip() for part in text.split(","))):
            try:
                entries.append(_entry(part))
            except ValueError as error:
                message = f"{part!r} is no CIDR, address or host name, with or without :port ({error})"
                problems.append(Problem(SETTING, message))
        if problems:
            raise InvalidInput(problems)
        return cls(tuple(entries))

    def allows(self, host: str, port: int, address: Address) -> bool:
        """Whether a node may connect to this address, which `host` resolved to."""
        return is_public(address) or any(entry.covers(host, port, address) for entry in self.entries)


def is_public(address: Address) -> bool:
    """Whether an address, and every IPv4 address that it stands for, is an ordinary public one."""
    return all(_is_public(form) for form in _forms(address))


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    special = any(address in network for network in _SPECIAL)
    return address.is_global and not (special or address.is_multicast or address.is_reserved)


def _forms(address: Address) -> Iterator[Address]:
    """What an address leads to: itself, or the IPv4 address within it (mapped, 6to4, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            yield inner
            return
    yield address


def _entry(text: str) -> _Entry:
    try:
        return _Entry(ipaddress.ip_network(text.strip("[]"), strict=False), None, None)
    except ValueError:
        host, colon, port_text = text.rpartition(":")
    if not colon:
        return _Entry(None, _name(text), None)
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) <= _HIGHEST_PORT):
        raise ValueError(f"{port_text!r} is no port")
    try:
        return _Entry(ipaddress.ip_network(host.strip("[]"), strict=False), None, int(port_text))
    except ValueError:
        return _Entry(None, _name(host), int(port_text))


def _name(text: str) -> str:
    plain = _plain(text)
    if not plain or not all(label and label.replace("-", "").replace("_", "").isalnum() for label in plain.split(".")):
        raise ValueError("not a host name")
    if plain.replace(".", "").isdigit():
        raise ValueError("an incomplete address")
    return plain


def _plain(host: str) -> str:
    return host.lower().rstrip(".")
