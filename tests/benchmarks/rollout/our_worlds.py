"""The worlds that the rollout controller is scored in, on its default schedule with 1 % held back in the last stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator_operator.rollout.simulation.world import Harm, Kind, World, worse
from orchestrator_operator.specs.rollout import RolloutSpec, parse_rollout

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADS, BASES = (50.0, 1_000.0, 20_000.0), (0.001, 0.01, 0.05)
DAY = timedelta(days=1)
NORMAL = World("1,000/h, 1 %")
LONG = replace(NORMAL, name="long steps", long=0.33, over_a_day=0.02)


@dataclass(frozen=True, slots=True)
class Setting:
    """A world, how finely it is looked at, and what it is there to show."""

    world: World
    step: timedelta
    group: str
    own: bool = False  # whether a user's own counter is compared as well

    @property
    def spec(self) -> RolloutSpec:
        return spec(own=self.own)


def spec(*, own: bool = False) -> RolloutSpec:
    """Four weeks, 5 · 25 · 50 · 99 %, with every default criterion."""
    weeks = [{"name": f"week-{n}", "percent": p, "duration": "7d"} for n, p in enumerate((5, 25, 50, 100), start=1)]
    weeks[-1]["holdback"] = 1
    if not own:
        return parse_rollout({"stages": weeks})
    defaults = RolloutSpec().criteria
    criteria = [item.model_dump(mode="json", by_alias=True, exclude_unset=True) for item in defaults]
    counters = {"bad": 'shop_failed_total{engine="$engine"}', "total": 'shop_orders_total{engine="$engine"}'}
    criteria.append({"name": "orders", "type": "comparison", "required": False, **counters})
    return parse_rollout({"stages": weeks, "criteria": criteria, "analysis": {"interval": "30m"}})


def healthy() -> Iterator[Setting]:
    """V2 does no harm: every rollback is a false one."""
    looked = timedelta(minutes=30)
    for load in LOADS:
        for base in BASES:
            yield Setting(World(f"{load:,.0f}/h, {100 * base:g} %", load=load, base=base), looked, "null")
    for name, world in {
        "retries mend half of V1's failures": replace(NORMAL, base=0.005, transient=0.005),
        "ten times the incidents": replace(NORMAL, incidents=10, tenant_incidents=70),
        "batches of 500, daily": replace(NORMAL, batches=7, batch=500),
        "Prometheus away 6 h a week": replace(NORMAL, outages=timedelta(hours=6)),
        "the operator restarts all the time": replace(NORMAL, missed=0.3),
        "a slow disk, ten times a week": replace(NORMAL, stalls=10),
        "long steps: a third take hours, 2 % over a day": LONG,
        "50/h, and most steps take hours": replace(NORMAL, load=50.0, long=0.8, over_a_day=0.02),
        "a key sends 15 %": replace(NORMAL, keyed=0.15),
        "a key sends 60 %": replace(NORMAL, keyed=0.6),
    }.items():
        yield Setting(replace(world, name=name), looked, "null")
    for base in (0.01, 0.05):
        world = World(f"50/h, {100 * base:g} %, and a counter of one's own", load=50.0, base=base)
        yield Setting(world, looked, "null", own=True)


def harmful() -> Iterator[Setting]:
    """V2 fails more often, in many ways and from many moments on."""
    for load in LOADS:
        for factor in (1.5, 2.0, 3.0, 5.0, 20.0):
            world = World(f"{load:,.0f}/h x{factor:g}", load=load, harm=worse(factor))
            yield Setting(world, _finer(load, factor), "effect")
    for day in (10, 20):
        for factor in (2.0, 5.0):
            world = replace(NORMAL, name=f"x{factor:g} from day {day}", harm=worse(factor, day * DAY))
            yield Setting(world, _finer(NORMAL.load, factor), "onset")
    for factor in (2.0, 5.0):  # between two restarts of the evidence, and not with one of them
        world = replace(NORMAL, name=f"x{factor:g} from noon of day 10", harm=worse(factor, 10.5 * DAY))
        yield Setting(world, _finer(NORMAL.load, factor), "onset")
    for name, world in {
        "fails everything": replace(NORMAL, harm=Harm(fails=1.0)),
        "one bad host of twenty: half of its executions fail": replace(NORMAL, harm=Harm(fails=0.025)),
        "hides x5 first attempts behind retries": replace(
            NORMAL, base=0.005, transient=0.005, harm=Harm(times={Kind.TRANSIENT: 5.0})
        ),
        "fails late, x10, seen after a day alone": replace(NORMAL, harm=Harm(times={Kind.FAILS_LATE: 10.0})),
        "never ends, x20": replace(NORMAL, harm=Harm(times={Kind.ENDLESS: 20.0})),
        "stands still for good, one in 200": replace(NORMAL, harm=Harm(stops=0.005)),
        "x2 in long steps": replace(LONG, harm=worse(2)),
        "twice as many last over a day": replace(LONG, harm=Harm(times={Kind.OVER_A_DAY: 2.0})),
        "twice as many slow ones": replace(NORMAL, harm=Harm(times={Kind.SLOW: 2.0})),
        "harms both arms, x3": replace(NORMAL, harm=Harm(both=3.0)),
        "x2, Prometheus away 6 h a week": replace(NORMAL, outages=timedelta(hours=6), harm=worse(2)),
    }.items():
        yield Setting(replace(world, name=name), timedelta(minutes=10), "kind")
    own = World("50/h x5, and a counter of one's own", load=50.0, harm=worse(5))
    yield Setting(own, timedelta(minutes=30), "kind", own=True)


def _finer(load: float, factor: float) -> timedelta:
    """Looks that are short beside the delay which is measured."""
    big = factor >= 5
    minutes = (1 if big else 2) if load > 10_000 else (2 if big else 10) if load > 500 else 10 if big else 30
    return timedelta(minutes=minutes)
