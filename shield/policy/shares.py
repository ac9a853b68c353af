"""Shares of something bounded, such as bytes or places: who may have more of it, and who must give way when it is full.

    all  ->  networks  ->  addresses  ->  clients  ->  holdings

Each of these has a charge: what it holds, times the weight of the tier in which it was taken. A stranger's byte is
charged like four bytes of somebody with a history.

When all is taken, whoever asks is compared with the others from the top down. The first network that is charged more
than the asker's would be afterwards gives way; else the first such address of the asker's network, else the first such
client of its address. Of the one that is found, the heaviest address, client and holding is meant: ties go to the one
that has not grown for longest. So nobody is refused while another network, or address of the network, or client of the
address, is charged for more. That is max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2) on three levels.

What can be taken back may be taken as long as any is left. What cannot, like bytes that wait for a slow reader, is
given out with foresight: an address may hold as much as is still free when it has got it, a network twice as much. So
one address alone takes half, two take a third each, and a newcomer always finds some. These are the dynamic thresholds
of shared-memory switches (Choudhury and Hahne, 1998).

Nothing is decided about a request here, and nothing is closed: the owner of a holding does what giving way means. A
call is O(log n) of the holdings there are. Nothing is kept of those who hold nothing.
"""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar, cast

from shield.model import Tier

WEIGHTS: Final = (1, 1, 2, 4, 16)
"""By tier: how much each unit is charged. Those with a history may hold four times what a stranger may."""
ADDRESS_OF_FREE: Final = WEIGHTS[Tier.T3]
"""How much an address may be charged for each unit that is free, if it cannot be taken back: a stranger's address may
hold as much as is free."""
NETWORK_OF_FREE: Final = 2 * ADDRESS_OF_FREE
"""The same for a network."""
SLACK: Final = 8
"""Outdated entries of a group's heap, beyond as many as it has members, with which it is not yet made anew."""

_GONE: Final = -1  # the bound of what holds nothing

T = TypeVar("T")


class _Node:
    """Something with a charge in a group. `bound` is the charge that its entry in the group's heap says: the present
    one, or more."""

    __slots__ = ("bound", "charge", "parent")

    def __init__(self) -> None:
        self.charge = 0
        self.bound = _GONE
        self.parent: _Group | None = None


class _Group(_Node):
    """A client, an address, a network, or all. In its heap the entry of a member that counts is that of its `bound`."""

    __slots__ = ("heap", "key", "members", "pushes")

    def __init__(self, key: Hashable) -> None:
        super().__init__()
        self.key = key
        self.members: dict[Hashable, _Node] = {}
        self.heap: list[tuple[int, int, _Node]] = []
        self.pushes = 0

    def charge_of(self, key: Hashable) -> int:
        """The charge of a member, 0 if there is none such."""
        member = self.members.get(key)
        return 0 if member is None else member.charge

    def raised(self, member: _Node) -> None:
        """The charge of `member` has risen."""
        if member.charge > member.bound:
            self._push(member)
            if len(self.heap) > 2 * len(self.members) + SLACK:
                self.heap = [entry for entry in self.heap if -entry[0] == entry[2].bound]
                heapify(self.heap)

    def heaviest(self) -> _Node | None:
        """The member that is charged most."""
        heap = self.heap
        while heap:
            bound, _, member = heap[0]
            if -bound == member.bound:
                if member.charge == member.bound:
                    return member
                heappop(heap)
                self._push(member)
            else:
                heappop(heap)
        return None

    def _push(self, member: _Node) -> None:
        member.bound = member.charge
        self.pushes += 1
        heappush(self.heap, (-member.charge, self.pushes, member))


class Holding(_Node, Generic[T]):
    """What one connection or request of a client has; `amount` of it. `owner` is whoever can give it back."""

    __slots__ = ("address", "amount", "client", "network", "owner", "weight")

    def __init__(self, owner: T, tier: Tier, client: Hashable, address: Hashable, network: Hashable) -> None:
        """`client`, `address` (IPv4 /32, IPv6 /64) and `network` name those that it counts for."""
        super().__init__()
        self.owner = owner
        self.weight = WEIGHTS[tier]
        self.client = client
        self.address = address
        self.network = network
        self.amount = 0

    def __repr__(self) -> str:
        return f"<Holding {self.amount} of {self.address}>"


class Shares(Generic[T]):
    """Who holds how much of something of which there is `most`; `total` of it is held. Bounded by its holdings."""

    __slots__ = ("_all", "most", "recallable", "total")

    def __init__(self, most: int, recallable: bool) -> None:
        """`recallable`: what is held can be taken back at once, so that nothing need be kept free."""
        self.most = most
        self.recallable = recallable
        self.total = 0
        self._all = _Group(None)

    def __repr__(self) -> str:
        return f"<Shares {self.total} of {self.most} in {len(self._all.members)} networks>"

    def room(self, holding: Holding[T], amount: int) -> bool:
        """Whether `holding` may grow by so much with nobody giving way."""
        free = self.most - self.total - amount
        if free < 0 or self.recallable:
            return free >= 0
        more = amount * holding.weight
        network = cast("_Group | None", self._all.members.get(holding.network))
        if network is None:
            return more <= ADDRESS_OF_FREE * free
        return (
            network.charge_of(holding.address) + more <= ADDRESS_OF_FREE * free
            and network.charge + more <= NETWORK_OF_FREE * free
        )

    def take(self, holding: Holding[T], amount: int) -> bool:
        """Let `holding` grow if there is room. Whether it did."""
        if not self.room(holding, amount):
            return False
        self.add(holding, amount)
        return True

    def add(self, holding: Holding[T], amount: int) -> None:
        """Let `holding` grow whether or not there is room, for what has happened already."""
        if amount <= 0:
            return
        if not holding.amount:
            self._attach(holding)
        self.total += amount
        holding.amount += amount
        more = amount * holding.weight
        node: _Node = holding
        while node.parent is not None:
            node.charge += more
            node.parent.raised(node)
            node = node.parent

    def give(self, holding: Holding[T], amount: int) -> None:
        """Let `holding` shrink by so much, at most to nothing."""
        amount = min(amount, holding.amount)
        self.total -= amount
        holding.amount -= amount
        less = amount * holding.weight
        node: _Node = holding
        key: Hashable = id(holding)
        while node.parent is not None:
            parent = node.parent
            node.charge -= less
            if not node.charge:
                node.bound = _GONE
                node.parent = None
                parent.members.pop(key, None)
            node, key = parent, parent.key

    def above_share(self, address: Hashable, network: Hashable) -> bool:
        """Whether an address, or its network, has more than it might take by room(), of what cannot be taken back."""
        charges = cast("_Group | None", self._all.members.get(network))
        if charges is None:
            return False
        free = max(self.most - self.total, 0)
        return charges.charge_of(address) > ADDRESS_OF_FREE * free or charges.charge > NETWORK_OF_FREE * free

    def least(self) -> Holding[T] | None:
        """The holding that deserves least: the heaviest of the heaviest client of the heaviest address and network."""
        return self._heaviest_in(self._all)

    def gives_way(self, asker: Holding[T], amount: int) -> Holding[T] | None:
        """The holding that must give way if `asker` is to have so much more; None if nobody need, as the asker would
        hold as much as anybody."""
        more = amount * asker.weight
        group = self._all
        for key in (asker.network, asker.address, asker.client):
            heaviest = group.heaviest()
            mine = group.members.get(key)
            if heaviest is None:
                return None
            if heaviest is not mine and heaviest.charge > group.charge_of(key) + more:
                return self._heaviest_in(cast("_Group", heaviest))
            if mine is None:
                return None
            group = cast("_Group", mine)
        return None

    def _heaviest_in(self, group: _Group) -> Holding[T] | None:
        node: _Node | None = group
        while isinstance(node, _Group):
            node = node.heaviest()
        return cast("Holding[T] | None", node)

    def _attach(self, holding: Holding[T]) -> None:
        group = self._all
        for key in (holding.network, holding.address, holding.client):
            inner = group.members.get(key)
            if inner is None:
                inner = group.members[key] = _Group(key)
                inner.parent = group
            group = cast("_Group", inner)
        group.members[id(holding)] = holding
        holding.parent = group
