"""The demo's claims: each a pure function from what was seen to a verdict with its evidence.

A claim that could not be looked at is not kept: the demo's exit code is 0 only if all of them were seen to hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator_operator.demo.facts import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orchestrator_operator.demo.facts import Facts, Sighting

_FEW = (0.5, 8.0)  # what "a few per cent" may be
_ALIKE = 4.0  # points between the engines: three standard deviations where the smaller arm has some 400 executions
_OF_RATE = 0.9  # of the asked rate that must have been carried
_ENOUGH_AFTER = 20  # executions after the rollback: less would show nothing
_ENABLED = "USE_ORCHESTRATOR_V2"


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, whether it was seen to hold, the evidence, and where to look when it was not."""

    sentence: str
    kept: bool
    evidence: str
    look: str


def judge(facts: Facts) -> list[Claim]:
    """Every claim, in the order of the story."""
    return [rule(facts) for rule in _CLAIMS]


def _workflows_accepted(facts: Facts) -> Claim:
    kept = bool(facts.workflows) and all(facts.workflows.values())
    evidence = ", ".join(f"{name}: {'Valid' if valid else 'not Valid'}" for name, valid in facts.workflows.items())
    return Claim("both sample Workflows were accepted", kept, evidence, "kubectl describe workflows; operator.log")


def _stream_carried(facts: Facts) -> Claim:
    sent = facts.sent
    kept = sent.errors == 0 and sent.rate >= _OF_RATE * sent.wanted
    evidence = f"{sent.created} created at {sent.rate:.1f}/s ({sent.wanted:g}/s asked for), {sent.errors} refused"
    if sent.last_error:
        evidence += f"; the last: {sent.last_error}"
    return Claim("a steady stream of Executions as custom resources", kept, evidence, "kube-apiserver.log")


def _none_lost(facts: Facts) -> Claim:
    kept = facts.resources == facts.sent.created == facts.books.executions
    evidence = f"{facts.sent.created} created, {facts.resources} resources, {facts.books.executions} in the store"
    return Claim("no Execution was lost, none was run twice", kept, evidence, "operator.log")


def _few_fail_alike(facts: Facts) -> Claim:
    v1, v2 = (facts.books.refused_before[engine] for engine in ("v1", "v2"))
    few = all(_FEW[0] <= share.percent <= _FEW[1] for share in (v1, v2))
    kept = few and abs(v1.percent - v2.percent) <= _ALIKE
    evidence = f"the shop refused on V1 {v1}, on V2 {v2}"
    if any(facts.books.failed_otherwise.values()):
        others = ", ".join(f"{count} on {engine.upper()}" for engine, count in facts.books.failed_otherwise.items())
        evidence += f"; failed otherwise (V1 does not retry): {others}"
    return Claim("a few per cent failed, on both engines alike", kept, evidence, "kubectl get executions; worker.log")


def _went_through(facts: Facts) -> Claim:
    seen = facts.of(facts.good)
    steps = _runs(s.flag_percent for s in seen if s.flag and s.phase == "Progressing")
    completed = next((s for s in seen if s.phase == "Completed"), None)
    kept = completed is not None and tuple(step for step in steps if step) == facts.percents
    evidence = f"flag seen at {' · '.join(step or '?' for step in steps) or 'nothing'} %"
    if completed is not None:
        evidence += f", Completed after {completed.at - seen[0].at:.0f} s"
    failed = (seen[-1].status.get("failed") or {}).get("sentence") if seen else None
    if failed:
        evidence += f"; rolled back: {failed}"
    look = "operator.log; where the machine is too busy executions end late, V2's later: try a lower --rate"
    return Claim("rollout 1 took V2 through every stage to Completed", kept, evidence, look)


def _completed_flag(facts: Facts) -> Claim:
    flags = [s.flag for s in facts.of(facts.good) if s.phase == "Completed" and s.flag is not None]
    last = flags[-1] if flags else {}
    kept = dict(last) == {_ENABLED: "true"}
    evidence = "the Secret held " + (_spell(last) or "no key")
    return Claim("Completed left the flag true, without percent and expiry", kept, evidence, "operator.log")


def _promotions_explained(facts: Facts) -> Claim:
    seen = facts.of(facts.good)
    promotions = [d for d in (seen[-1].decisions if seen else ()) if d.get("action") in ("Promote", "Complete")]
    kept = len(promotions) >= len(facts.percents) and all(d.get("message") for d in promotions)
    evidence = str(promotions[0].get("message")) if promotions else "no promotion in status.decisions"
    return Claim("every promotion says why (underpowered: Promote)", kept, evidence, "kubectl get ero -o yaml")


def _deletion_cleared(facts: Facts) -> Claim:
    after = [s for s in facts.sightings if s.at >= facts.deleted_at and s.flag is not None]
    gone = next((s for s in after if not s.flag), None) if facts.deleted_at else None
    evidence = (
        f"no key in the Secret {gone.at - facts.deleted_at:.1f} s after the deletion"
        if gone
        else "it was not seen cleared"
    )
    return Claim("deleting rollout 1 cleared the flag", gone is not None, evidence, "operator.log")


def _convicted(facts: Facts) -> Claim:
    seen = facts.of(facts.bad)
    failed: Mapping[str, Any] = (seen[-1].status.get("failed") or {}) if seen else {}
    kept = all(failed.get(field) for field in ("criterion", "counts", "evidence"))
    evidence = str(failed.get("sentence") or failed or "status.failed is empty")
    return Claim("the failing V2 was convicted, with counts and evidence", kept, evidence, "kubectl get ero -o yaml")


def _rolled_back(facts: Facts) -> Claim:
    back = _first_back(facts)
    gone = next((s for s in facts.of(facts.bad) if back and s.at >= back.at and s.flag == {}), None)
    again = [s for s in facts.of(facts.bad) if gone and s.at > gone.at and s.flag]
    kept = gone is not None and not again
    evidence = "the rollout never rolled back"
    if back and gone:
        percent = max((s.flag_percent for s in facts.of(facts.bad)), key=lambda p: float(p or 0))
        evidence = (
            f"{gone.at - facts.faults_at:.0f} s after V2 began to fail, at {percent or '?'} %: no key in the Secret"
        )
    elif back:
        evidence = f"{back.phase}, but the Secret still held {_spell(facts.of(facts.bad)[-1].flag or {})}"
    return Claim("it rolled back by itself: all flag keys are gone", kept, evidence, "operator.log")


def _starts_on_v1(facts: Facts) -> Claim:
    on = dict(facts.after_rollback)
    kept = on.get("v1", 0) >= _ENOUGH_AFTER and set(on) == {"v1"}
    evidence = f"of those created later {on.get('v1', 0)} on V1, {on.get('v2', 0)} on V2"
    if on.get("none"):
        evidence += f", {on['none']} never routed"
    return Claim("after it every new execution started on V1", kept, evidence, "operator.log")


def _drained(facts: Facts) -> Claim:
    seen = facts.of(facts.bad)
    phase = seen[-1].phase if seen else "never seen"
    kept = phase == "RolledBack" and facts.books.unfinished_v2 == 0
    evidence = f"phase {phase}, {facts.books.unfinished_v2} of V2's executions unfinished"
    return Claim("those in flight on V2 drained, then RolledBack", kept, evidence, "worker.log")


def _harm_was_small(facts: Facts) -> Claim:
    harmed = facts.books.refused_by_faults
    evidence = f"{harmed} of V2's executions failed while the shop refused them"
    return Claim("V2 really failed", harmed.part > 0, evidence, "shop.log")


def _one_effect(facts: Facts) -> Claim:
    ledger = facts.ledger
    doubled = ledger.doubled.get("v2", 0)
    kept = ledger.effects > 0 and not (ledger.keys_with_many_effects or doubled or facts.books.effects_missing)
    evidence = (
        f"{ledger.requests} requests, {ledger.effects} effects, {ledger.keys_with_many_effects} keys with two, "
        f"{doubled} orders served twice by V2, {facts.books.effects_missing} of V2's steps without theirs"
    )
    return Claim("the shop's ledger has one effect for each key", kept, evidence, "shop.log; ledger.db")


def _one_event(facts: Facts) -> Claim:
    kept = facts.books.steps > 0 and facts.books.steps_not_once == 0
    evidence = f"{facts.books.steps} completed steps, {facts.books.steps_not_once} without exactly one event"
    return Claim("every completed step has exactly one event", kept, evidence, "orchestrator executions events ID")


def _no_leaks(facts: Facts) -> Claim:
    v1, v2 = (facts.ledger.mixed_up.get(engine, 0) for engine in ("v1", "v2"))
    evidence = f"effects that cite another order: {v2} on V2 (V1, whose executions share a context: {v1})"
    return Claim("nothing leaked from one execution of V2 to another", v2 == 0, evidence, "ledger.db")


def _routing_logged(facts: Facts) -> Claim:
    lines = facts.books.routed_lines
    v1, v2 = (lines.get(engine, 0) for engine in ("v1", "v2"))
    kept = v1 > 0 and v2 > 0 and v1 + v2 == facts.books.executions
    evidence = f"“Usando Orchestrator V1”: {v1}, “… V2”: {v2}, in edge_logs"
    return Claim("each routing decision logged its line", kept, evidence, "operator.log")


def _least_privilege(facts: Facts) -> Claim:
    allowed = [verb for verb, may in facts.forbidden.items() if may]
    kept = bool(facts.forbidden) and not allowed
    evidence = f"allowed: {', '.join(allowed)}" if allowed else f"refused: {', '.join(facts.forbidden)}"
    return Claim("the operator ran with its own narrow role", kept, evidence, "deploy/base")


_CLAIMS: Sequence[Callable[[Facts], Claim]] = (
    _workflows_accepted,
    _stream_carried,
    _few_fail_alike,
    _went_through,
    _promotions_explained,
    _completed_flag,
    _deletion_cleared,
    _harm_was_small,
    _convicted,
    _rolled_back,
    _starts_on_v1,
    _drained,
    _none_lost,
    _one_effect,
    _one_event,
    _no_leaks,
    _routing_logged,
    _least_privilege,
)


def _first_back(facts: Facts) -> Sighting | None:
    return next((s for s in facts.of(facts.bad) if s.phase in ("RollingBack", "RolledBack")), None)


def _runs(values: Iterable[str]) -> list[str]:
    """The values without repetitions of the one before."""
    runs: list[str] = []
    for value in values:
        if not runs or runs[-1] != value:
            runs.append(plain(value))
    return runs


def _spell(flag: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in flag.items())
