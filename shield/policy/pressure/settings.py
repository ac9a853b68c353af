"""The settings of the pressure: when the defence rises, and when an attack is over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc


@dataclass(frozen=True, slots=True)
class PressureSettings:
    """When the defence rises, and when an attack is over."""

    window: Annotated[
        float, Ge(0.1), Le(5), Doc("seconds. Between two readings; shorter ones have too few samples, and are noise.")
    ] = 0.5
    threshold: Annotated[float, Gt(0), Le(0.5), Doc("p. Below it the weather is calm: nobody is challenged.")] = 0.05
    max_pressure: Annotated[
        float,
        Ge(0),
        Le(1),
        Doc("p. As strict as Shield may become, however high p is; up to the threshold: nobody is ever challenged."),
    ] = 1.0
    brownout_after: Annotated[
        float,
        Gt(0),
        Doc(
            "seconds. After this long under pressure without more demand than the service has served before, and while "
            "that does worse than before, it is the service that is ill: newcomers are let in again."
        ),
    ] = 60.0
    brownout_ill: Annotated[
        float,
        Gt(0),
        Doc(
            "seconds. The same when the service shows its illness: it is slow and completes less than it did, or fails "
            "though it could do as much. Pulses of half a minute are not taken for it."
        ),
    ] = 45.0
    own_lag: Annotated[
        float, Gt(0), Doc("seconds. That Shield's own event loop is late counts as overload beyond it.")
    ] = 0.1
    own_busy: Annotated[
        float, Gt(0), Le(1), Doc("of 1. And only while that runs, or waits for a core, for more than this of the time.")
    ] = 0.9
    rise: Annotated[float, Gt(0), Le(1), Doc("1/s. Share of the way to the target that p rises.")] = 0.5
    fall: Annotated[float, Gt(0), Le(1), Doc("1/s. Share of the way that it falls.")] = 0.02
    release: Annotated[
        float,
        Gt(0),
        Le(1),
        Doc("of 1. Of the threshold: pressure acts until p is below that. Weak pulses do not flap."),
    ] = 0.5
    used: Annotated[
        float,
        Gt(0),
        Le(1),
        Doc("of 1. Of the capacity. More demand is pressure: queues grow; more of T0 and T1 is cut off T1."),
    ] = 0.9
    span: Annotated[
        float, Gt(0), Doc("of 1. Of the capacity: so much demand beyond `used` is full pressure, p = 1.")
    ] = 0.6
    overload: Annotated[
        float,
        Ge(0),
        Le(1),
        Doc("p. Where p goes at least while anything shows overload, in `overload_windows` running."),
    ] = 0.5
    overload_windows: Annotated[
        int, Ge(1), Le(120), Doc("windows. A single one is chance: a page's parts come all at once.")
    ] = 2
    slow_ratio: Annotated[
        float, Gt(1), Doc("times. Upstream times above so many times the undisturbed ones show overload ...")
    ] = 1.5
    slow_excess: Annotated[
        float, Ge(0), Doc("seconds. ... when the median takes so much longer, too; people do not notice less.")
    ] = 0.1
    long_wait: Annotated[
        float, Gt(0), Doc("seconds. A longer wait in the queue adds up; people turn to something else.")
    ] = 0.4
    most_waited: Annotated[
        float,
        Gt(0),
        Doc("seconds times seconds. Such waits, summed over time, that show overload: a second's for 6.7 s."),
    ] = 4.0
    most_asked: Annotated[
        float,
        Ge(0),
        Doc("seconds. Times the demand beyond `used`, summed over time, until it counts: 25 browsers ask for as much."),
    ] = 1.0
    capacity_kept: Annotated[
        float, Gt(0), Le(1), Doc("of 1, per minute. Of the most that was ever completed, so that it is forgotten.")
    ] = 0.99
    steady: Annotated[
        float, Gt(0), Doc("seconds. Over which demand is averaged to tell a brownout: browsing is uneven.")
    ] = 60.0
    served_kept: Annotated[
        float, Gt(0), Le(1), Doc("of 1, per minute. Of the most that was served in calm weather; half of it in a day.")
    ] = 0.9995
    slow_memory: Annotated[
        float, Gt(0), Doc("seconds. Over which the slowness of an ill service is averaged: of one window it is noise.")
    ] = 10.0
    brownout_demand: Annotated[
        float, Ge(1), Doc("times. Demand over what was served that ends a brownout: the refused ask again.")
    ] = 1.5
    brownout_tries: Annotated[
        float,
        Ge(1),
        Doc(
            "times. The same when the service shows its illness: it is slow and completes less than it did, or fails "
            "though it could do as much, or could do three times that. People who are refused try again twice or so, "
            "and no more than that."
        ),
    ] = 3.0
    light: Annotated[
        float, Gt(0), Lt(1), Doc("of 1. Of the capacity: so much demand overloads no service that is well.")
    ] = 0.33
    cusum_step: Annotated[
        float, Ge(0), Doc("log2. Of the rate over its usual one: more accumulates towards an early onset (k).")
    ] = 0.5
    cusum_alarm: Annotated[float, Gt(0), Doc("log2. So much accumulated is an onset (h); it only freezes history.")] = (
        4.0
    )
    cusum_floor: Annotated[float, Gt(0), Doc("requests/s. A usual rate below it counts for as much.")] = 10.0
    cusum_growth: Annotated[
        float, Ge(1), Doc("times per minute. That the usual rate grows while steps accumulate: the day's rise is none.")
    ] = 1.02
    cusum_share: Annotated[
        float, Ge(0), Le(1), Doc("of 1. Of the capacity that must be asked for; a quiet site's clicks are no flood.")
    ] = 0.02
    cusum_memory: Annotated[float, Gt(0), Doc("seconds. Over which the usual rate is averaged.")] = 300.0
    smoothing: Annotated[float, Gt(0), Doc("seconds. Time constant of demand, capacity and rate.")] = 3.0
    calm_after: Annotated[float, Gt(0), Doc("seconds. An attack is over after this long below the threshold.")] = 600.0
    warm_up: Annotated[float, Gt(0), Doc("seconds. From the first request until the rate alone may be an onset.")] = (
        60.0
    )
