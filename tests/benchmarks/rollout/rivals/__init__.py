"""The rules of other controllers, re-stated: each says which source it follows, in which version.

    Argo(…).decide(trace)      inline and background analysis of Argo Rollouts 1.10.2
    Flagger(…).decide(trace)   threshold and interval of Flagger 1.36.1
    Kayenta(…).decide(trace)   Spinnaker's default judge, of 2026

Read and re-stated, not copied. `make bench WHAT=rollout-argo` compares the first of them with the real controller.
"""

from __future__ import annotations

from tests.benchmarks.rollout.rivals.argo import Argo
from tests.benchmarks.rollout.rivals.flagger import Flagger
from tests.benchmarks.rollout.rivals.kayenta import Kayenta
from tests.benchmarks.rollout.rivals.outcome import Outcome, Rule

__all__ = ["Argo", "Flagger", "Kayenta", "Outcome", "Rule"]
