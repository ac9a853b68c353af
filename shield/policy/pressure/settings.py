"""The settings of the pressure: when the defence rises, and when an attack is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why


@dataclass(frozen=True, slots=True)
class PressureSettings:
    """When the defence rises, and when an attack is over."""

    window: Annotated[
        float,
        Ge(0.1),
        Le(5),
        Unit("s"),
        Doc("Time between two readings."),
        Why(
            "Chosen",
            "eight samples come in it at 16 requests/s. Shorter ones react sooner, on fewer samples",
        ),
    ] = 0.5
    threshold: Annotated[
        float,
        Gt(0),
        Le(0.5),
        Unit("p"),
        Doc(
            "Pressure below which the weather is calm and nobody is challenged, but who insists after an attack "
            "(docs/defences/leftovers.md)."
        ),
        Why("Chosen", "demand at 0.93 of the capacity"),
    ] = 0.05
    capacity: Annotated[
        float,
        Ge(0),
        Unit("units/s"),
        Doc(
            "What the service can do, where the operator knows it; 0: Shield finds out. With listen.gate it cannot, "
            "and takes four times what is usually asked for. A request costs one unit there, if nothing else is set."
        ),
        Why("Chosen", "what a service can do is measured, and changes: a figure from last year misleads"),
    ] = 0.0
    max_pressure: Annotated[
        float,
        Ge(0),
        Le(1),
        Unit("p"),
        Doc(
            "Strictness that Shield may reach, however high the pressure is. Up to the threshold, nobody "
            "is ever challenged."
        ),
        Why("Chosen", "as strict as an attack asks for; less is the operator's choice"),
    ] = 1.0
    brownout_after: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc(
            "Time under pressure after which newcomers are let in again, when nobody asks for more than "
            "the service has served before and it does worse than before: then the service is ill."
        ),
        Why(
            "Chosen",
            "an attack that pauses for less than this after each pulse is not taken for an illness",
        ),
    ] = 60.0
    brownout_ill: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc(
            "Same time where the service shows its illness: it is slow and completes less than it did, or "
            "fails though it could do as much."
        ),
        Why(
            "Chosen",
            "longer than pulses of half a minute",
        ),
    ] = 45.0
    own_lag: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Lateness of Shield's own event loop that counts as overload."),
        Why(
            "Chosen",
            "as `pressure.slow_excess`",
        ),
    ] = 0.1
    own_busy: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the time that the loop must run or wait for a core, for its lateness to count."),
        Why(
            "Chosen",
            "a loop that is late though it is idle in between ran one long callback, and "
            "refusing people would not help",
        ),
    ] = 0.9
    rise: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("1/s"),
        Doc("Part of the way to the target that the pressure rises."),
        Why("Simulated", "in force within 2 s"),
    ] = 0.5
    fall: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("1/s"),
        Doc("Part of the way that it falls, for the first `most_rest`."),
        Why(
            "Simulated",
            "`pulses`: from 1, half a minute of rest leaves 0.55; the defence went up once and down once "
            "in twenty minutes",
        ),
    ] = 0.02
    most_rest: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time for which far less than the pressure is called for, after which it falls as fast as it rises."),
        Why(
            "Simulated",
            "`leftover`: a flood that has ended is over within a minute; `pulses`: the half minute between two "
            "pulses is shorter, with the 8 s in which a weak one shows",
        ),
    ] = 40.0
    release: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the threshold below which pressure that acts ceases to act."),
        Why("Simulated", "`pulses`: a flood at 0.96 of the capacity flapped at one threshold"),
    ] = 0.5
    used: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the capacity above which demand is pressure. Where T0 and T1 alone ask for more, T1 is cut off."),
        Why("Paper", "Kleinrock 1975, waiting grows as 1/(1 - load): ten times at 0.9"),
    ] = 0.9
    span: Annotated[
        float,
        Gt(0),
        Unit("share"),
        Doc("Part of the capacity that demand beyond `used` must reach for full pressure."),
        Why("Chosen", "p = 1 at one and a half times the capacity"),
    ] = 0.6
    overload: Annotated[
        float,
        Ge(0),
        Le(1),
        Unit("p"),
        Doc("Pressure that overload makes at least, once it shows in `overload_windows` running."),
        Why("Chosen", "newcomers are challenged, and those who are slowed keep half"),
    ] = 0.5
    overload_windows: Annotated[
        int,
        Ge(1),
        Le(120),
        Unit("windows"),
        Doc("Windows running that must show overload."),
        Why("Measured", "one is chance, the parts of a page come all at once"),
    ] = 2
    slow_ratio: Annotated[
        float,
        Gt(1),
        Unit("times"),
        Doc("Upstream times, as a multiple of the undisturbed ones, above which they show overload."),
        Why("Precedent", "Gradient2's tolerance"),
    ] = 1.5
    slow_excess: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc("Time by which the median must be longer, too, for that."),
        Why(
            "Paper",
            "Nielsen 1993, people notice 0.1 s. Measured: a dozen browsers that load a page fill every "
            "slot for a second",
        ),
    ] = 0.1
    long_wait: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Wait in the queue above which waits add up."),
        Why(
            "Chosen",
            "a little less than `queue.known_patience`. Less takes a short queue for overload; "
            "more sees overload later",
        ),
    ] = 0.4
    most_waited: Annotated[
        float,
        Gt(0),
        Unit("s²"),
        Doc("Sum of such waits over time that shows overload."),
        Why("Computed", "a second's wait for 6.7 s"),
    ] = 4.0
    most_asked: Annotated[
        float,
        Ge(0),
        Unit("s"),
        Doc("Time for which demand, as a multiple of what is beyond `used`, is summed until it counts."),
        Why(
            "Chosen",
            "some browsers that load a page at once ask for as much. Less takes them for "
            "overload; more sees a flood later",
        ),
    ] = 1.0
    capacity_kept: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share per minute"),
        Doc("Part of the greatest capacity seen that is kept, so that it is forgotten."),
        Why("Chosen", "half of it in 69 min, so a quiet hour is no loss"),
    ] = 0.99
    steady: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which demand is averaged to tell a brownout."),
        Why("Simulated", "`brownout`: browsing is uneven"),
    ] = 60.0
    served_kept: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share per minute"),
        Doc("Part of the most that was served in calm weather that is kept."),
        Why("Chosen", "half of it in a day"),
    ] = 0.9995
    slow_memory: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which the slowness of a service is averaged to tell an illness."),
        Why(
            "Simulated",
            "now and then a window looked well of a service that was twice as slow, and no brownout was "
            "found in ten minutes",
        ),
    ] = 10.0
    brownout_demand: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("Demand, as a multiple of what was served, that ends a brownout."),
        Why(
            "Chosen",
            "those who are refused ask again, which alone is no attack. More keeps newcomers in while an attack begins",
        ),
    ] = 1.5
    brownout_tries: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("Same multiple where the service shows its illness, or could do three times that."),
        Why(
            "Chosen",
            "people who are refused try again twice or so",
        ),
    ] = 3.0
    light: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the capacity that, asked for, overloads no service that is well."),
        Why(
            "Chosen",
            "a service that is slow though it is asked for a third of what it can do is ill",
        ),
    ] = 0.33
    cusum_step: Annotated[
        float,
        Ge(0),
        Unit("log2"),
        Doc("Rate over its usual one above which steps towards an early onset accumulate (k)."),
        Why("Paper", "Page 1954; half of the shift that is looked for, a doubling"),
    ] = 0.5
    cusum_alarm: Annotated[
        float,
        Gt(0),
        Unit("log2"),
        Doc("Sum of steps that is an onset (h). It only freezes history."),
        Why("Precedent", "the 4 or 5 of statistical process control"),
    ] = 4.0
    cusum_floor: Annotated[
        float,
        Gt(0),
        Unit("requests/s"),
        Doc("Least usual rate that is reckoned with."),
        Why(
            "Chosen",
            "on a site with fewer requests one page with its parts would be an onset",
        ),
    ] = 10.0
    cusum_growth: Annotated[
        float,
        Ge(1),
        Unit("times per minute"),
        Doc("Growth of the usual rate that is allowed while steps accumulate: the day's rise is no attack."),
        Why("Simulated", "`creeping`: a flood that grows as fast is noticed by demand before it reaches the capacity"),
    ] = 1.02
    cusum_share: Annotated[
        float,
        Ge(0),
        Le(1),
        Unit("share"),
        Doc("Part of the capacity that must be asked for; a quiet site's clicks are no flood."),
        Why(
            "Chosen",
            "what asks for less than a fiftieth of the service does it no harm",
        ),
    ] = 0.02
    cusum_memory: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which the usual rate is averaged."),
        Why(
            "Chosen",
            "longer than a page is read, and shorter than the day's changes",
        ),
    ] = 300.0
    smoothing: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time constant of demand, capacity and rate."),
        Why("Simulated", "a flood is in force within 5 s, and a page is none"),
    ] = 3.0
    calm_after: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time below the threshold after which an attack is over."),
        Why(
            "Chosen",
            "an attacker that pauses for less does not see the guard go. More keeps the history frozen for longer",
        ),
    ] = 600.0
    warm_up: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time from the first request until the rate alone may be an onset."),
        Why(
            "Chosen",
            "clients that come back all at once after a restart are no onset",
        ),
    ] = 60.0

    def complaints(self) -> Iterator[Complaint]:
        if self.brownout_ill > self.brownout_after:
            yield ("brownout_ill",), f"at most pressure.brownout_after, which is {self.brownout_after}"
