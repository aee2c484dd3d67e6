"""PromQL as the dashboards and the alerts write it: selectors, and series that every operator exports alike."""

from __future__ import annotations

from typing import Final

PROCESS: Final = 'namespace=~"$namespace",job=~"$job"'  # the dashboards' variables
ROLLOUT: Final = f'{PROCESS},rollout=~"$rollout"'
CRITERION: Final = 'criterion=~"$criterion"'
RATE: Final = "[$__rate_interval]"
# Of an expression, which needs a resolution of its own: deploy/monitoring scrapes every 15 s.
SHARED_RATE: Final = "[$__rate_interval:15s]"


def series(metric: str, labels: str = "", scope: str = PROCESS) -> str:
    """`metric{scope,labels}`."""
    return f"{metric}{{{','.join(part for part in (scope, labels) if part)}}}"


def rollout(metric: str, labels: str = "") -> str:
    """A metric of the chosen rollouts."""
    return series(metric, labels, ROLLOUT)


def rate(metric: str, labels: str = "", by: str = "") -> str:
    """How much a counter grows a second, all processes together, by these labels.

    For what each process counts by itself: one that ends takes its own series along, so rates are taken before sums.
    """
    return f"sum by ({by}) (rate({series(metric, labels)}{RATE}))"


def growth(metric: str, labels: str = "", by: str = "") -> str:
    """How many a counter grew by from one point of the graph to the next, all processes together."""
    return f"sum by ({by}) (increase({series(metric, labels)}{RATE}))"


def shared(expression: str) -> str:
    """Series that stand in the store: each operator exports the same ones, and they count once.

    Before any rate: for an operator that takes over goes on where another one's series ended.
    """
    return f"max without (pod, instance) ({expression})"


def quantile(share: float, metric: str, labels: str = "", by: str = "") -> str:
    """A quantile of a histogram, all processes together."""
    together = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, by=together)})"


def ratio(part: str, whole: str) -> str:
    """A share of 0 to 1; without any traffic there is none, and 0/0 is left out rather than drawn as a gap of NaN."""
    return f"({part}) / (({whole}) > 0)"


def states(metric: str, label: str, names: tuple[str, ...], by: str, scope: str) -> str:
    """One number for a metric that has a series for each state, 1 for the one that holds: the state's place in `names`,
    from 1. A panel maps the numbers back to names, so that one line shows what holds when.
    """
    chosen = (series(metric, f'{label}="{name}"', scope) for name in names)
    return " or ".join(f"(max by ({by}) ({one}) == 1) * {number}" for number, one in enumerate(chosen, start=1))
