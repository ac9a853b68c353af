"""The addresses of populations: each gets networks of its own, or addresses in another's networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shield.simulate.population import Population

FIRST_NETWORK: Final = 16 << 16
"""Number of the first IPv4 /24: 16.0.0.0, where nothing is special."""
LOOPBACK: Final = 127 << 16
NETWORKS: Final = (223 - 16) << 16
HOSTS: Final = {4: 254, 6: 65_535}
"""Addresses of a network: hosts of a /24; of the 65,536 /64 of a /48 all but the first."""


@dataclass(frozen=True, slots=True)
class Block:
    """The addresses of a population."""

    first_network: int
    networks: int
    first_host: int
    addresses: int
    per_address: int
    ip: int

    def address(self, member: int) -> str:
        """The address of a member, as text."""
        number = member // self.per_address % self.addresses
        host, network = divmod(number, self.networks)
        network += self.first_network
        host += self.first_host
        if network >= LOOPBACK:
            network += 1 << 16
        if self.ip == 6:
            return f"{0x2600 + (network >> 16):x}:{network & 0xFFFF:x}:1:{host:x}:0:0:0:1"
        return f"{network >> 16}.{network >> 8 & 255}.{network & 255}.{host}"


def blocks(populations: Mapping[str, Population]) -> dict[str, Block]:
    """The block of each population, by name. ValueError when there is no room, with the name as second argument."""
    found: dict[str, Block] = {}
    next_host: dict[int, int] = {}  # by the first network of a block
    next_network = FIRST_NETWORK
    for name, population in populations.items():
        addresses = -(-population.members // population.per_address)
        if population.behind:
            other = found[population.behind]
            found[name] = Block(
                other.first_network, other.networks, other.first_host, other.addresses, population.per_address, other.ip
            )
            continue
        if population.beside:
            other = found[population.beside]
            first, networks, ip = other.first_network, other.networks, other.ip
        else:
            networks = min(population.networks or addresses, addresses)
            first, ip = next_network, population.ip
            next_network += networks
        host = next_host.get(first, 1)
        next_host[first] = host + -(-addresses // networks)
        if next_host[first] > HOSTS[ip] + 1:
            raise ValueError(f"more than {HOSTS[ip]} addresses in a network", name)
        if next_network - FIRST_NETWORK > NETWORKS:
            raise ValueError("more networks than there are", name)
        found[name] = Block(first, networks, host, addresses, population.per_address, ip)
    return found
