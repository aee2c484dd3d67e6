"""What can be wrong with the criteria of an EngineRollout: one small rule each, all findings reported."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.errors import Problem
from orchestrator_operator.specs.selectors import EXAMPLE, PLACE, parse_selector
from orchestrator_operator.specs.unique import unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator_operator.specs.rollout import Criterion, RolloutSpec

_COMPARED = ("failures", "first-attempt-failures", "slower-than-baseline")
_GUARDED = ("slow-checkpoints",)


def check_criteria(spec: RolloutSpec) -> Iterator[Problem]:
    """Every problem of spec.criteria, in the order of the fields."""
    yield from unique("spec.criteria", (criterion.name for criterion in spec.criteria))
    for index, criterion in enumerate(spec.criteria):
        path = f"spec.criteria[{index}]"
        yield from (_comparison if criterion.type == "comparison" else _guardrail)(criterion, path)
    presets = Counter(criterion.preset for criterion in spec.comparisons if criterion.preset)
    for index, criterion in enumerate(spec.criteria):
        if criterion in spec.comparisons and criterion.preset and presets[criterion.preset] > 1:
            yield Problem(f"spec.criteria[{index}].preset", f"{criterion.preset} is compared more than once")
    if not any(criterion.required for criterion in spec.comparisons):
        yield Problem("spec.criteria", "at least one required comparison is needed: guardrails do not tell V2 from V1")


def _comparison(criterion: Criterion, path: str) -> Iterator[Problem]:
    own = criterion.bad is not None or criterion.total is not None
    if criterion.preset is None and not own:
        yield Problem(f"{path}.preset", f"a comparison needs a preset ({', '.join(_COMPARED)}), or bad and total")
    elif criterion.preset in _GUARDED:
        yield Problem(f"{path}.preset", f"{criterion.preset} exists on V2 only: make it a guardrail")
    elif criterion.preset is not None and own:
        yield Problem(f"{path}.preset", "stands beside bad and total: a comparison has either")
    if own:
        yield from _own_counters(criterion, path)
    for name, field in (("query", "query"), ("max", "max"), ("for_", "for"), ("on_breach", "onBreach")):
        if name in criterion.model_fields_set:
            yield Problem(f"{path}.{field}", "belongs to guardrails: a comparison has none")


def _own_counters(criterion: Criterion, path: str) -> Iterator[Problem]:
    """Both, each a plain selector, each another one for V1 than for V2."""
    for name, text in (("bad", criterion.bad), ("total", criterion.total)):
        if text is None:
            yield Problem(f"{path}.{name}", "bad and total come together: what is bad, and all there is")
            continue
        try:
            selector = parse_selector(text)
        except ValueError as error:
            yield Problem(f"{path}.{name}", str(error))
            continue
        if not selector.by_engine:
            yield Problem(
                f"{path}.{name}", f"selects the same for V1 and V2: put {PLACE} into a matcher, such as {EXAMPLE}"
            )
    if criterion.bad is not None and criterion.bad == criterion.total:
        yield Problem(f"{path}.bad", "is the same as total: then everything is bad on both engines")


def _guardrail(criterion: Criterion, path: str) -> Iterator[Problem]:
    if (criterion.preset is None) == (criterion.query is None):
        yield Problem(f"{path}.query", f"a guardrail needs either a query or the preset {_GUARDED[0]}")
    elif criterion.preset is not None and criterion.preset in _COMPARED:
        yield Problem(f"{path}.preset", f"{criterion.preset} is a comparison: it needs both engines")
    if criterion.query is not None and not criterion.query.strip():
        yield Problem(f"{path}.query", "is empty")
    if criterion.max is None or not math.isfinite(criterion.max):
        yield Problem(f"{path}.max", "a guardrail needs the largest value that it allows")
    if "required" in criterion.model_fields_set:
        yield Problem(f"{path}.required", "belongs to comparisons: a guardrail needs no Pass, and always holds")
    for name in ("bad", "total"):
        if getattr(criterion, name) is not None:
            yield Problem(f"{path}.{name}", "belongs to comparisons: a guardrail has a query")
