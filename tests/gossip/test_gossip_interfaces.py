"""Which addresses are told and which are not, on computers as they are found at home."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tarsd import config
from tarsd.gossip import interfaces
from tarsd.gossip.interfaces import (
    announced_hosts,
    link_local_hosts,
    local_hosts,
    multicast_hosts,
    own_addresses,
    own_hosts,
    times_up,
)
from tarsd.gossip.messages import MAX_ADDRESSES

ANY = ("0.0.0.0", "::")


class Entry(NamedTuple):
    family: int
    address: str


class Interface(NamedTuple):
    isup: bool


class Computer:
    """As much of psutil as is asked, for a computer with these interfaces; those in `down` have no cable."""

    def __init__(self, interfaces: Mapping[str, list[str]], down: tuple[str, ...] = ()) -> None:
        self._interfaces, self._down = interfaces, down

    def net_if_addrs(self) -> dict[str, list[Entry]]:
        loopback = {"lo": [Entry(socket.AF_INET, "127.0.0.1"), Entry(socket.AF_INET6, "::1")]}
        given = {
            name: [
                Entry(socket.AF_PACKET, "52:54:00:12:34:56"),
                *(Entry(socket.AF_INET6 if ":" in host else socket.AF_INET, host) for host in hosts),
            ]
            for name, hosts in self._interfaces.items()
        }
        return loopback | given

    def net_if_stats(self) -> dict[str, Interface]:
        return {name: Interface(name not in self._down) for name in ("lo", *self._interfaces)}


LAPTOP = {
    "wlan0": ["192.168.1.20", "fd00::20", "fe80::20%wlan0"],
    "eth0": ["192.168.1.21", "fe80::21%eth0"],
    "docker0": ["172.17.0.1", "fe80::1%docker0"],
    "br-9f86d081": ["172.18.0.1"],
    "veth12ab": ["fe80::2%veth12ab"],
}


@pytest.fixture(autouse=True)
def no_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    file = tmp_path / "if_inet6"
    monkeypatch.setattr(interfaces, "_INET6", file)
    return file


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch):
    def make(found: Mapping[str, list[str]], down: tuple[str, ...] = ()) -> None:
        monkeypatch.setattr(interfaces, "psutil", Computer(found, down))

    return make


def test_all_addresses_that_lead_here_are_told_ipv4_first_and_no_containers_bridge(computer):
    computer(LAPTOP)
    assert own_hosts(ANY) == ("192.168.1.20", "192.168.1.21", "fd00::20")


def test_an_interface_without_cable_is_not_told(computer):
    computer(LAPTOP, down=("wlan0",))
    assert own_hosts(ANY) == ("192.168.1.21",)


def test_an_address_that_is_listened_at_is_told_as_it_is(computer):
    computer(LAPTOP)
    assert own_hosts(("127.0.0.1",)) == ("127.0.0.1",)
    assert own_hosts(("0.0.0.0",)) == ("192.168.1.20", "192.168.1.21")


def test_where_there_is_nothing_but_a_containers_network_that_is_told(computer):
    computer({"docker0": ["172.17.0.1"]})
    assert own_hosts(ANY) == ("172.17.0.1",)


def test_a_bridge_that_a_person_made_is_an_interface_like_others(computer):
    computer({"br0": ["192.168.1.30"], "docker0": ["172.17.0.1"]})
    assert own_hosts(ANY) == ("192.168.1.30",)


def test_no_more_addresses_than_a_greeting_carries_and_each_ipv4_among_them(computer):
    computer({f"eth{n}": [f"10.0.{n}.1", *(f"fd0{n}::{k}" for k in range(1, 8))] for n in range(3)})
    told = own_addresses(ANY, 7710)
    assert len(told) == MAX_ADDRESSES
    assert told[:3] == (("10.0.0.1", 7710), ("10.0.1.1", 7710), ("10.0.2.1", 7710))


def test_every_address_of_this_computer_is_known_as_its_own_containers_included(computer):
    computer(LAPTOP)
    assert {"172.17.0.1", "127.0.0.1", "::1", "fe80::20", "fd00::20", "192.168.1.21"} <= local_hosts()


@pytest.mark.parametrize(("flags", "name"), [("40", "tentative"), ("08", "taken by another"), ("20", "deprecated")])
def test_an_ipv6_address_that_cannot_be_used_is_not_told(computer, no_flags, flags, name):
    computer(LAPTOP)
    no_flags.write_text(f"fd000000000000000000000000000020 02 40 00 {flags}    wlan0\n")
    assert own_hosts(ANY) == ("192.168.1.20", "192.168.1.21")
    no_flags.write_text("fd000000000000000000000000000020 02 40 00 82    wlan0\n")
    assert "fd00::20" in own_hosts(ANY)


def test_a_tentative_link_local_address_is_not_spoken_from(computer, no_flags):
    computer({"eth0": ["fe80::20%eth0"]})
    assert link_local_hosts(ANY) == ("fe80::20%eth0",)
    no_flags.write_text("fe800000000000000000000000000020 02 40 20 40    eth0\n")
    assert link_local_hosts(ANY) == ()


@pytest.mark.parametrize(
    ("hosts", "announced"),
    [
        (["192.168.1.20", "2a00::20"], ("192.168.1.20", "2a00::20")),
        (["fd00::20", "2a00::20"], ("fd00::20", "2a00::20")),
        (["2a00::20"], ("2a00::20", "fe80::20%eth0")),
        ([], ("fe80::20%eth0",)),
    ],
)
def test_link_local_addresses_are_announced_where_there_is_no_other_of_a_home_network(computer, hosts, announced):
    computer({"eth0": [*hosts, "fe80::20%eth0"]})
    assert announced_hosts(ANY) == announced


def test_multicast_is_spoken_from_ipv4_and_from_link_local_addresses(computer):
    computer(LAPTOP)
    spoken = multicast_hosts(config.Network())
    assert spoken == ("192.168.1.20", "192.168.1.21", "fe80::20%wlan0", "fe80::21%eth0")


def test_multicast_is_spoken_where_the_config_says(computer):
    computer(LAPTOP)
    assert multicast_hosts(config.Network(mdns_interfaces=("192.168.1.21",))) == ("192.168.1.21",)
    assert multicast_hosts(config.Network(listen=("0.0.0.0",))) == ("192.168.1.20", "192.168.1.21")
    assert multicast_hosts(config.Network(listen=("127.0.0.1",))) == ("127.0.0.1",)


def test_how_often_a_link_came_up_is_counted_for_real_interfaces_only(computer, monkeypatch, tmp_path):
    computer(LAPTOP)
    monkeypatch.setattr(interfaces, "_SYS", tmp_path)
    for interface in ("eth0", "docker0"):
        (tmp_path / interface).mkdir()
        (tmp_path / interface / "carrier_up_count").write_text("3\n")
    assert times_up() == {"eth0": 3}
