from __future__ import annotations

from ipaddress import ip_address

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.nodes.addresses import AllowList


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # the metadata service of most clouds
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fd00::1",
        "fe80::1%eth0",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:a9fe:a9fe::",  # 6to4 of 169.254.169.254
        "64:ff9b::a00:1",  # NAT64 of 10.0.0.1
        "64:ff9b:1::101:101",  # NAT64 within a network
        "::101:101",  # IPv4-compatible, deprecated
        "2001:0:101:101::",  # Teredo
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "fec0::1",  # site-local, deprecated
        "4000::1",  # never given out
        "192.0.0.192",
        "168.63.129.16",
        "192.88.99.1",
        "198.18.0.1",
        "fd00:ec2::254",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not AllowList().allows("x", 80, ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert AllowList().allows("x", 80, ip_address(address))


@pytest.mark.parametrize(
    ("setting", "host", "port", "address", "allowed"),
    [
        ("127.0.0.0/8", "x", 80, "127.9.9.9", True),
        ("127.0.0.0/8", "x", 80, "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "x", 80, "10.0.0.1", False),
        ("127.0.0.0/8", "x", 80, "::1", False),
        ("10.0.0.1", "x", 80, "10.0.0.1", True),
        ("10.0.0.1", "x", 80, "10.0.0.2", False),
        ("10.0.0.1:8080", "x", 8080, "10.0.0.1", True),
        ("10.0.0.1:8080", "x", 80, "10.0.0.1", False),
        ("168.63.129.16", "x", 80, "168.63.129.16", True),
        ("::1", "x", 80, "::1", True),
        ("[::1]:80", "x", 80, "::1", True),
        ("[::1]:80", "x", 81, "::1", False),
        ("fd00::/8", "x", 80, "fd12::1", True),
        ("shop.internal", "Shop.Internal.", 80, "10.0.0.1", True),
        ("shop.internal", "evil.shop.internal", 80, "10.0.0.1", False),
        ("shop.internal:8080", "shop.internal", 8080, "10.0.0.1", True),
        ("shop.internal:8080", "shop.internal", 22, "10.0.0.1", False),
        (" 10.0.0.1 , shop , ", "shop", 80, "10.0.0.9", True),
    ],
)
def test_the_setting_allows_just_what_it_names(
    setting: str, host: str, port: int, address: str, *, allowed: bool
) -> None:
    assert AllowList.parse(setting).allows(host, port, ip_address(address)) is allowed


def test_every_bad_part_of_the_setting_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        AllowList.parse("10.0.0.0/33,shop:99999,http://shop,10.0.0,ok.example")
    assert [problem.message.split()[0] for problem in caught.value.problems] == [
        "'10.0.0.0/33'",
        "'shop:99999'",
        "'http://shop'",
        "'10.0.0'",
    ]
