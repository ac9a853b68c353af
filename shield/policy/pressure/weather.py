"""The weather: what a window made of the pressure, as a value. The other parts go by it until the next window."""

from __future__ import annotations

from dataclasses import dataclass

from shield.policy.pressure.onset import PEACE, Attack
from shield.policy.pressure.signs import Overload
from shield.policy.pressure.window import IDLE, OwnLoad


@dataclass(frozen=True, slots=True)
class Weather:
    """Calm, unless told otherwise. Rates are in units/s.

    It has more than 15 attributes because the status shows nearly all of them, and they are of one moment.
    """

    capacity: float
    shown: float = 0.0  # of the capacity, what the service has shown that it can do
    p: float = 0.0
    target: float = 0.0  # where p is going
    strictness: float = 0.0  # p as far as it may act on people, in [0, 1]
    high: bool = False  # there is pressure: the queue goes by tier
    pressed: bool = False  # and it acts on people: newcomers are challenged
    brownout: bool = False  # there is, but it is the service that is ill
    overload: Overload = Overload()
    demand: float = 0.0
    known_demand: float = 0.0  # of T0 and T1
    served: float = 0.0  # the most that a minute of calm weather completed
    rate: float = 0.0  # requests/s
    cutoff: float = 0.0  # rank of T1 below which it is challenged, too
    merged: bool = False  # T0 goes by rank among T1
    attack: Attack = PEACE
    own: OwnLoad = IDLE
