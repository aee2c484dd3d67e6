"""Repetitions and forks: what is carried, which keys go on, and why one is refused. The real engine runs them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import forks, steering
from orchestrator.errors import InvalidExecution
from orchestrator.events import StepCarried
from orchestrator.forks import Change, Fork
from orchestrator.model import Status
from orchestrator.testing import Bench
from tests.support.situations import broken, every, node, seen, state, undo

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.nodes.base import StepContext


class Service:
    """An HTTP service whose answers a test chooses by step; it notes the idempotency keys of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: dict[str, int] = {}  # the end of a key, and the status that it gets

    def __call__(self, with_: Any, context: StepContext) -> Any:
        key = context.idempotency_key
        self.asked.append(key)
        for end, status in self.broken.items():
            if key.endswith(f"/{end}"):
                return broken(status)(with_, context)
        return {"status": 200, "asked": len(self.asked)}

    def since(self) -> list[str]:
        """The keys asked for since the last time that this was called."""
        asked, self.asked = self.asked, []
        return asked


class Shop:
    """A bench with one service."""

    def __init__(self) -> None:
        self.service = Service()
        self.bench = Bench(stubs={"http": self.service})

    def run(self, spec: dict[str, Any], input_: Any = None, **fields: Any) -> str:
        execution = self.bench.submit(spec, input_, **fields)
        self.bench.run()
        return execution

    def retry(self, execution: str) -> tuple[str, Fork]:
        """Repeat an execution, with the service whole again."""
        self.service.broken, _ = {}, self.service.since()
        return self._submit(
            lambda known, new: forks.repeat(known.workflow, known.execution, new, self.bench.clock.now()), execution
        )

    def fork(self, execution: str, at: str, change: Change | None = None) -> tuple[str, Fork]:
        self.service.broken, _ = {}, self.service.since()
        return self._submit(
            lambda known, new: forks.fork(
                known.workflow, known.execution, new, self.bench.clock.now(), node=at, change=change
            ),
            execution,
        )

    def _submit(self, make: Callable[[steering.Known, str], Fork], execution: str) -> tuple[str, Fork]:
        known = asyncio.run(steering.look_up(self.bench.store, execution))
        made = make(known, f"{execution}-again")
        assert asyncio.run(steering.submit_fork(self.bench.store, made, self.bench.clock.now()))
        self.bench.run()
        return made.id, made


@pytest.fixture
def shop() -> Any:
    made = Shop()
    yield made
    made.bench.close()


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(InvalidExecution) as caught:
        call()
    return str(caught.value)


def carried(made: Fork) -> list[str]:
    return [event.node if event.item is None else f"{event.node}/{event.item}" for event in made.carried]


CHAIN = {"nodes": [node("reserve"), node("charge", "reserve"), node("ship", "charge"), node("beside")]}


class TestRepeating:
    def test_what_is_done_is_carried_and_the_rest_runs_with_the_keys_of_the_original(self, shop: Shop) -> None:
        shop.service.broken = {"charge": 400}
        x = shop.run(CHAIN)
        again, made = shop.retry(x)
        assert sorted(carried(made)) == ["beside", "reserve"]
        assert shop.service.since() == [f"{x}/charge", f"{x}/ship"]
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_outputs_of_carried_steps_are_read_as_if_they_had_run_here(self, shop: Shop) -> None:
        nodes = [node("a"), node("b", "a", with_={"url": "http://x/", "body": "${nodes.a.output.asked}"})]
        shop.service.broken = {"b": 400}
        again, _ = shop.retry(shop.run({"nodes": nodes, "output": "${nodes.a.output.asked}"}))
        assert shop.bench.get(again).output == 1

    def test_a_skipped_step_stays_skipped(self, shop: Shop) -> None:
        shop.service.broken = {"b": 400}
        x = shop.run({"nodes": [node("a", when="${false}"), node("b")]})
        again, _ = shop.retry(x)
        assert shop.service.since() == [f"{x}/b"]
        assert state(shop.bench, again).step("a").status == "skipped"

    def test_a_step_whose_attempts_are_used_up_has_all_of_them_again(self, shop: Shop) -> None:
        shop.service.broken = {"a": 503}
        x = shop.run({"nodes": [node("a", retry=every(1, attempts=2))]})
        again, _ = shop.retry(x)
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_of_a_map_the_items_that_are_done_are_carried(self, shop: Shop) -> None:
        do = {"type": "http", "with": {"url": "http://x/"}}
        spec = {"nodes": [node("each", type_="map", with_={"items": [1, 2, 3], "do": do, "concurrency": 1})]}
        shop.service.broken = {"each/1": 400}
        x = shop.run(spec)
        again, made = shop.retry(x)
        assert carried(made) == ["each/0"]
        assert shop.service.since() == [f"{x}/each/1", f"{x}/each/2"]
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_a_branch_that_a_switch_took_is_taken_again(self, shop: Shop) -> None:
        cases = [{"when": "${input.n > 1}", "to": ["large"]}]
        way = node("way", type_="switch", with_={"cases": cases, "default": ["small"]})
        shop.service.broken = {"large": 400}
        x = shop.run({"nodes": [way, node("large", "way"), node("small", "way")]}, {"n": 2})
        shop.retry(x)
        assert shop.service.since() == [f"{x}/large"]

    def test_steps_that_were_compensated_run_again_with_keys_of_their_own(self, shop: Shop) -> None:
        nodes = [node("reserve", compensate=undo()), node("charge", "reserve"), node("ship", "charge")]
        shop.service.broken = {"ship": 400}
        x = shop.run({"nodes": nodes})
        again, made = shop.retry(x)
        assert carried(made) == ["charge"]
        assert shop.service.since() == [f"{again}/reserve", f"{x}/ship"]

    def test_a_compensation_that_comes_a_second_time_has_a_key_of_its_own(self, shop: Shop) -> None:
        spec = {"nodes": [node("reserve", compensate=undo()), node("ship", "reserve")]}
        shop.service.broken = {"ship": 400}
        x = shop.run(spec)
        known = asyncio.run(steering.look_up(shop.bench.store, x))
        made = forks.repeat(known.workflow, known.execution, "again", shop.bench.clock.now())
        asyncio.run(steering.submit_fork(shop.bench.store, made, shop.bench.clock.now()))
        shop.service.since()
        shop.bench.run()
        assert shop.service.since() == ["again/reserve", f"{x}/ship", "again/reserve:compensate"]

    def test_a_step_that_could_not_be_compensated_counts_as_done(self, shop: Shop) -> None:
        nodes = [node("reserve", compensate=undo(retry=every(1, 1))), node("ship", "reserve")]
        shop.service.broken = {"ship": 400, "reserve:compensate": 400}
        x = shop.run({"nodes": nodes})
        _, made = shop.retry(x)
        assert carried(made) == ["reserve"]
        assert any("could not be compensated, so count as done: reserve" in note for note in made.notes)

    def test_a_node_that_reacted_to_the_failure_runs_again_with_a_key_of_its_own(self, shop: Shop) -> None:
        nodes = [node("charge"), node("tell", "charge", join="always")]
        shop.service.broken = {"charge": 400}
        x = shop.run({"nodes": nodes})
        again, _ = shop.retry(x)
        assert shop.service.since() == [f"{x}/charge", f"{again}/tell"]

    def test_a_child_that_failed_is_repeated_and_not_begun_anew(self, shop: Shop) -> None:
        shop.bench.workflow(CHAIN, name="child")
        shop.service.broken = {"charge": 400}
        x = shop.run({"nodes": [node("sub", type_="workflow", with_={"workflow": "child"}), node("end", "sub")]})
        child = seen(shop.bench, x).children[0].id
        again, _ = shop.retry(x)
        assert shop.service.since() == [f"{child}/charge", f"{child}/ship", f"{x}/end"]
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_a_child_that_succeeded_before_its_step_failed_does_nothing_again(self, shop: Shop) -> None:
        shop.bench.workflow({**CHAIN, "output": {"n": 1}}, name="child")
        sub = node("sub", type_="workflow", with_={"workflow": "child"}, output="${result.nothing}")
        again, _ = shop.retry(shop.run({"nodes": [sub]}))
        assert shop.service.since() == []
        assert shop.bench.get(again).failure is not None

    def test_the_children_of_a_map_are_repeated_each(self, shop: Shop) -> None:
        shop.bench.workflow({"nodes": [node("a"), node("b", "a", with_={"url": "${input.n}"})]}, name="child")
        do = {"type": "workflow", "with": {"workflow": "child", "input": {"n": "${item}"}}}
        shop.service.broken = {"b": 400}
        x = shop.run({"nodes": [node("each", type_="map", with_={"items": ["u", "v"], "do": do, "tolerate": 1})]})
        again, _ = shop.retry(x)
        assert {key.rpartition("/")[2] for key in shop.service.since()} == {"b"}
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_a_child_that_is_not_kept_any_more_fails_the_step_by_name(self, shop: Shop) -> None:
        shop.bench.workflow(CHAIN, name="child")
        shop.service.broken = {"charge": 400}
        x = shop.run({"nodes": [node("sub", type_="workflow", with_={"workflow": "child"})]})
        known = asyncio.run(steering.look_up(shop.bench.store, x))
        shop.bench.clock.advance(10)
        asyncio.run(shop.bench.store.drop_finished(shop.bench.clock.now()))
        made = forks.repeat(known.workflow, known.execution, "again", shop.bench.clock.now())
        asyncio.run(shop.bench.store.submit([steering.submission(made)], shop.bench.clock.now()))
        shop.bench.run()
        failure = shop.bench.get("again").failure
        assert failure is not None
        assert failure.kind == "ChildForgotten"

    def test_a_cancelled_one_goes_on_where_it_stood(self, shop: Shop) -> None:
        spec = {"nodes": [node("a"), node("pause", "a", type_="wait", with_={"duration": "1h"}), node("b", "pause")]}
        x = shop.bench.submit(spec)
        shop.bench.settle()
        shop.bench.cancel(x)
        shop.bench.run()
        again, _ = shop.retry(x)
        assert shop.service.since() == [f"{x}/b"]
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_signals_that_were_not_taken_come_along(self, shop: Shop) -> None:
        nodes = [
            node("a"),
            node("go", "a", type_="signal"),
            node("b", "go", with_={"url": "http://x/", "body": "${nodes.go.output}"}),
        ]
        shop.service.broken = {"a": 400}
        x = shop.bench.submit({"nodes": nodes})
        shop.bench.signal(x, "go", 7)
        shop.bench.run()
        again, _ = shop.retry(x)
        assert state(shop.bench, again).step("go").output == 7
        assert shop.bench.get(again).status is Status.SUCCESS

    def test_the_repetition_of_a_repetition_keeps_every_key_as_it_was(self, shop: Shop) -> None:
        """`reserve` was fresh in the first repetition and failed there: its request may have arrived."""
        nodes = [node("reserve", compensate=undo()), node("beside"), node("ship", "reserve", "beside")]
        shop.service.broken = {"ship": 400}
        x = shop.run({"nodes": nodes})
        known = asyncio.run(steering.look_up(shop.bench.store, x))
        first = forks.repeat(known.workflow, known.execution, "first", shop.bench.clock.now())
        shop.service.broken = {"reserve": 400}
        asyncio.run(steering.submit_fork(shop.bench.store, first, shop.bench.clock.now()))
        shop.bench.run()
        shop.retry("first")
        assert shop.service.since() == ["first/reserve", f"{x}/ship"]

    @pytest.mark.parametrize(("broken_at", "says"), [({}, "succeeded: there is nothing to retry")])
    def test_a_success_is_refused(self, shop: Shop, broken_at: dict[str, int], says: str) -> None:
        x = shop.run(CHAIN)
        assert says in refusal(lambda: shop.retry(x))

    def test_one_that_is_not_over_is_refused(self, shop: Shop) -> None:
        x = shop.run({"nodes": [node("go", type_="signal")]})
        assert f"{x} is waiting and not over yet" in refusal(lambda: shop.retry(x))

    def test_its_id_is_always_the_same_one(self) -> None:
        assert forks.repetition_id("x") == forks.repetition_id("x") != forks.repetition_id("y")


class TestForking:
    def test_what_is_before_the_node_is_carried_and_the_node_and_all_behind_it_run(self, shop: Shop) -> None:
        x = shop.run(CHAIN)
        _, made = shop.fork(x, "charge")
        assert sorted(carried(made)) == ["beside", "reserve"]
        assert shop.service.since() == [f"{x}/charge", f"{x}/ship"]

    def test_with_another_input_every_key_is_its_own(self, shop: Shop) -> None:
        x = shop.run(CHAIN, {"n": 1})
        again, made = shop.fork(x, "ship", Change(input={"n": 2}))
        assert shop.service.since() == [f"{again}/ship"]
        assert (made.repeats, state(shop.bench, again).input) == (False, {"n": 2})

    def test_with_another_revision_every_key_is_its_own(self, shop: Shop) -> None:
        x = shop.run(CHAIN)
        newer = shop.bench.workflow({**CHAIN, "description": "newer"})
        again, _ = shop.fork(x, "ship", Change(workflow=newer))
        assert (shop.service.since(), shop.bench.get(again).revision) == ([f"{again}/ship"], newer.revision)

    def test_the_first_node_begins_from_nothing(self, shop: Shop) -> None:
        _, made = shop.fork(shop.run(CHAIN), "reserve")
        assert carried(made) == ["beside"]

    def test_a_node_that_the_newer_workflow_lacks_is_left_out_and_told(self, shop: Shop) -> None:
        x = shop.run(CHAIN)
        newer = shop.bench.workflow({"nodes": CHAIN["nodes"][:3]})
        _, made = shop.fork(x, "ship", Change(workflow=newer))
        assert "beside" not in carried(made)
        assert "not in that revision, so left out: beside" in made.notes

    def test_a_node_of_another_type_runs_again_and_is_told(self, shop: Shop) -> None:
        x = shop.run(CHAIN)
        other = {"nodes": [node("reserve", type_="transform"), *CHAIN["nodes"][1:]]}
        _, made = shop.fork(x, "ship", Change(workflow=shop.bench.workflow(other)))
        assert "reserve" not in carried(made)
        assert "of another type in that revision, so run again: reserve" in made.notes

    def test_a_new_node_before_it_runs_first_and_is_told(self, shop: Shop) -> None:
        x = shop.run(CHAIN)
        newer = {"nodes": [*CHAIN["nodes"][:2], node("check"), node("ship", "charge", "check"), CHAIN["nodes"][3]]}
        again, made = shop.fork(x, "ship", Change(workflow=shop.bench.workflow(newer)))
        assert shop.service.since() == [f"{again}/check", f"{again}/ship"]
        assert any(note.endswith("so run, too: check") for note in made.notes)

    @pytest.mark.parametrize(
        ("at", "says"),
        [
            ("nobody", "from.node: there is no node 'nobody'; there are reserve, charge, ship, beside"),
            ("ship", "from.node: 'ship' was not reached: it needs 'charge' (which is failed); begin there"),
        ],
    )
    def test_a_node_that_cannot_be_begun_at_is_refused(self, shop: Shop, at: str, says: str) -> None:
        shop.service.broken = {"charge": 400}
        x = shop.run(CHAIN)
        assert refusal(lambda: shop.fork(x, at)) == says

    def test_a_node_that_the_newer_workflow_lacks_cannot_be_begun_at(self, shop: Shop) -> None:
        x = shop.run(CHAIN)
        newer = shop.bench.workflow({"nodes": [CHAIN["nodes"][0]]})
        assert "has no node 'ship'" in refusal(lambda: shop.fork(x, "ship", Change(workflow=newer)))

    def test_an_input_that_does_not_fit_is_refused_with_its_path(self, shop: Shop) -> None:
        strict = {**CHAIN, "input": {"schema": {"properties": {"n": {"type": "integer"}}}}}
        x = shop.run(strict, {"n": 1})
        assert refusal(lambda: shop.fork(x, "ship", Change(input={"n": "one"}))).startswith("spec.input.n: ")

    def test_one_that_is_not_over_is_refused(self, shop: Shop) -> None:
        x = shop.run({"nodes": [node("a"), node("go", "a", type_="signal")]})
        assert "not over yet" in refusal(lambda: shop.fork(x, "a"))

    def test_items_of_a_map_are_not_carried_to_another_input(self, shop: Shop) -> None:
        do = {"type": "http", "with": {"url": "http://x/"}}
        each = node("each", type_="map", with_={"items": "${input.items}", "do": do, "concurrency": 1})
        shop.service.broken = {"each/1": 400}
        x = shop.run({"nodes": [each, node("other")]}, {"items": [1, 2]})
        _, made = shop.fork(x, "other", Change(input={"items": [3, 4]}))
        assert carried(made) == []


class TestSubmitting:
    def test_the_same_repetition_is_made_once(self, shop: Shop) -> None:
        shop.service.broken = {"charge": 400}
        x = shop.run(CHAIN)
        now = shop.bench.clock.now()
        known = asyncio.run(steering.look_up(shop.bench.store, x))
        first, made = asyncio.run(steering.retry(shop.bench.store, known, now))
        second, again = asyncio.run(steering.retry(shop.bench.store, known, now))
        assert (first.id, made, again) == (second.id, True, False)

    def test_an_id_that_belongs_to_another_execution_is_refused(self, shop: Shop) -> None:
        shop.service.broken = {"charge": 400}
        x, y = shop.run(CHAIN), shop.run(CHAIN)
        known = asyncio.run(steering.look_up(shop.bench.store, x))
        call = steering.retry(shop.bench.store, known, shop.bench.clock.now(), fork_id=y)
        assert f"belongs to execution {y}, which is no fork of {x}" in refusal(lambda: asyncio.run(call))

    def test_carried_steps_stand_in_the_history(self, shop: Shop) -> None:
        shop.service.broken = {"charge": 400}
        again, _ = shop.retry(shop.run(CHAIN))
        assert sum(isinstance(event, StepCarried) for event in shop.bench.history(again)) == 2
