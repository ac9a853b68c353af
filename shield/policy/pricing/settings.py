"""What can be set of the price of passes and of the waiting room: the table [market]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from shield.complaints import Complaint
from shield.marks import Unit, Why


@dataclass(frozen=True, slots=True)
class PricingSettings:
    """What a bought pass costs, and how many there are."""

    window: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time between two prices."),
        Why(
            "Chosen",
            "shorter counts fewer solves for a price; longer is later with it",
        ),
    ] = 5.0
    least_rise: Annotated[
        float,
        Gt(1),
        Unit("times"),
        Doc("Least factor by which the price rises in a window, when it does."),
        Why(
            "Chosen",
            "the least that the price rises when it rises at all",
        ),
    ] = 1.05
    most_rise: Annotated[
        float,
        Gt(1),
        Unit("times"),
        Doc("Greatest factor by which it rises in a window."),
        Why("Chosen", "from the least to the highest price in 25 s"),
    ] = 2.0
    fall: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("times"),
        Doc("Factor by which the price falls in a window."),
        Why("Chosen", "slower than it rises, as p"),
    ] = 0.85
    slack: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the passes that can be served; with fewer solves than that the price falls."),
        Why(
            "Chosen",
            "without a gap between rising and falling the price swings",
        ),
    ] = 0.7
    bought_share: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the capacity that is left for bought passes whatever T0 and T1 ask for."),
        Why(
            "Chosen",
            "what newcomers can buy beside a full house. It costs T0 and T1 as much",
        ),
    ] = 0.15
    kept_share: Annotated[
        float,
        Ge(0),
        Lt(1),
        Unit("share"),
        Doc(
            "Part of the capacity for which bought passes go first in the queue where T0 and T1 ask for "
            "more than the rest. 0: T0 and T1 always go first."
        ),
        Why(
            "Simulated",
            "`creeping`: without it newcomers got nothing beside attackers that had behaved for an hour; "
            "with 0.15 users lost more",
        ),
    ] = 0.05
    usable_share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of the capacity that is given away in all; beyond it queues grow."),
        Why("Chosen", "as `pressure.used`"),
    ] = 0.9
    first_used: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of a bought pass's worth that is taken to be used, until it is known."),
        Why(
            "Chosen",
            "it is learned within seconds. Half would issue too few passes in the first of them, less too many",
        ),
    ] = 0.2
    least_used: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Least part that is reckoned with."),
        Why("Simulated", "with a fifth at least a flash crowd got 250 answers/s of a service of 1,600, learned 1,570"),
    ] = 0.01
    flash_cap: Annotated[
        float,
        Ge(1),
        Unit("times"),
        Doc("Highest price over the lowest while the solvers are the usual people."),
        Why("Simulated", "the p95 of hashing was 0.5 s in known networks and 1.6 s in others, where 5 s were allowed"),
    ] = 4.0
    flash_share: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc(
            "Part of the usual share of newcomers from known networks that must be found among the "
            "solvers, for them to be the usual people."
        ),
        Why("Simulated", "`flash-crowd`, `crowd-and-attack`"),
    ] = 0.5
    least_usual: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Share of newcomers from known networks without which it tells nobody from another."),
        Why(
            "Chosen",
            "of a smaller share chance makes half too often",
        ),
    ] = 0.1
    most_wait: Annotated[
        float,
        Gt(0),
        Le(600),
        Unit("s"),
        Doc("Longest wait for a pass."),
        Why(
            "Chosen",
            "a minute. More lets more people in, each after a longer wait",
        ),
    ] = 60.0
    asks: Annotated[
        int,
        Ge(1),
        Le(100),
        Unit("times"),
        Doc("How often a waiting page asks in the time that it will take: it may be sooner."),
        Why("Chosen", "a place that is won early lies idle for a quarter of the wait at most"),
    ] = 4
    most_pause: Annotated[
        int,
        Ge(1),
        Le(600),
        Unit("s"),
        Doc("Time after which a waiting page asks in any case: a place that was won must not lie idle."),
        Why("Computed", "a full waiting room asks 1,600 times/s then"),
    ] = 10
    full_rate: Annotated[
        float,
        Gt(0),
        Unit("answers/s"),
        Doc("Answers that are turned away for lack of room and come again, as told by Retry-After."),
        Why("Measured", "4 % of a core"),
    ] = 1000.0
    full_pause: Annotated[
        int,
        Ge(2),
        Le(60),
        Unit("s"),
        Doc("Time after which they come again at most."),
        Why(
            "Chosen",
            "a quarter of `challenge.lifetime`, so that an answer is tried some times before it expires",
        ),
    ] = 30
    use_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which what bought passes take is averaged."),
        Why(
            "Chosen",
            "about two pages. Less follows each page, more is late when use rises",
        ),
    ] = 10.0
    worth_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which the use of passes is compared with their issue."),
        Why(
            "Chosen",
            "less takes passes that rest for passes that are left",
        ),
    ] = 30.0
    learn_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which it is learned that passes are used less than was thought."),
        Why("Chosen", "twice `market.alarm_seconds`: to issue too few is the smaller mistake"),
    ] = 8.0
    alarm_seconds: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time over which it is learned that they are used more."),
        Why(
            "Chosen",
            "idle passes may be put to use all at once, so it is learned quickly",
        ),
    ] = 4.0
    least_issued: Annotated[
        float,
        Gt(0),
        Unit("passes"),
        Doc("Passes issued of late from which their use can be told."),
        Why("Chosen", "as `concurrency.samples`"),
    ] = 8.0
    least_solves: Annotated[
        float,
        Gt(0),
        Unit("solves"),
        Doc("Solves of late from which the share of known networks among them can be told."),
        Why("Chosen", "as `concurrency.samples`"),
    ] = 8.0
    solves_kept: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share per window"),
        Doc("Part of these solves that still counts."),
        Why("Computed", "half a minute's"),
    ] = 0.8
    flash_kept: Annotated[
        float,
        Gt(0),
        Le(1),
        Unit("share"),
        Doc("Part of `flash_share` that suffices while it is a crowd."),
        Why(
            "Chosen",
            "known networks are let in first, so their share of those who still solve falls",
        ),
    ] = 0.5
    waited_share: Annotated[
        float,
        Ge(0),
        Lt(1),
        Unit("share"),
        Doc("Passes for those who wait instead of solving, as a part of those that are sold. 0: none."),
        Why("Simulated", "`without-scripts`: the most that solvers and known users do not feel"),
    ] = 0.05
    waited_least: Annotated[
        float,
        Gt(0),
        Le(600),
        Unit("s"),
        Doc("Time to wait instead of solving, where there is no pressure."),
        Why("Chosen", "somebody waits for it; a program that asks many sites would not"),
    ] = 5.0
    waited_most: Annotated[
        float,
        Gt(0),
        Le(600),
        Unit("s"),
        Doc("The same under the highest pressure; at most half of `challenge.lifetime`."),
        Why("Chosen", "as `market.most_wait`"),
    ] = 60.0
    by_network: Annotated[
        bool,
        Doc(
            "Whether a network's solves count as one, and passes go to known networks and those with the "
            "fewest first. false: each solve counts, and who solved first gets it; then a botnet of a few "
            "networks gets most."
        ),
    ] = True
    strangers: Annotated[
        float,
        Gt(0),
        Lt(1),
        Unit("share"),
        Doc("Part of the passes that goes to networks that are not known, while some of them wait."),
        Why(
            "Chosen",
            "it costs the known as much; without it a crowd of known networks leaves the others none, "
            "however long it lasts",
        ),
    ] = 0.05
    savings: Annotated[
        float,
        Gt(0),
        Unit("s"),
        Doc("Time for which passes that nobody wanted are saved up, so that bursts of visitors need not wait."),
        Why("Chosen", "as `market.window`"),
    ] = 5.0

    def complaints(self) -> Iterator[Complaint]:
        if self.most_rise < self.least_rise:
            yield ("most_rise",), f"at least market.least_rise, which is {self.least_rise}"
        if self.waited_most < self.waited_least:
            yield ("waited_most",), f"at least market.waited_least, which is {self.waited_least}"
        if self.first_used < self.least_used:
            yield ("first_used",), f"at least market.least_used, which is {self.least_used}"
