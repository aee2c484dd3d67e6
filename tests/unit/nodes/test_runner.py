from __future__ import annotations

import asyncio
import dataclasses
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.errors import StepError
from orchestrator.functions import Functions, NonRetryable
from orchestrator.model import Node, RetryPolicy
from orchestrator.nodes.runner import NodeRunner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from orchestrator.nodes.base import StepContext

RETRY = RetryPolicy(1, timedelta(0), 1.0, timedelta(0), "none")


def node(type_: str) -> Node:
    return Node("charge", type_, (), None, {}, RETRY, timedelta(seconds=20))


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
async def runner(functions: Functions) -> AsyncIterator[NodeRunner]:
    async with NodeRunner(functions=functions) as opened:
        yield opened


@pytest.fixture
def call(runner: NodeRunner, functions: Functions, context: StepContext) -> Callable[..., Any]:
    async def called(function: Any, args: dict[str, Any] | None = None, **changes: Any) -> Any:
        functions.register(function, "f")
        changed = dataclasses.replace(context, **changes)
        return await runner.run(node("python"), {"call": "f", "args": args or {}}, changed)

    return called


async def failure(awaitable: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await awaitable
    return caught.value


async def test_a_transform_puts_out_its_with(runner: NodeRunner, context: StepContext) -> None:
    assert await runner.run(node("transform"), {"a": [1, None]}, context) == {"a": [1, None]}


async def test_an_async_function_runs_on_the_loop(call: Any) -> None:
    async def f(a: int) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"thread": threading.get_ident(), "a": a}

    assert await call(f, {"a": 3}) == {"thread": threading.get_ident(), "a": 3}


async def test_a_plain_function_runs_in_a_thread(call: Any) -> None:
    def f() -> int:
        return threading.get_ident()

    assert await call(f) != threading.get_ident()


async def test_a_function_that_asks_for_the_context_gets_it(call: Any) -> None:
    def f(context: StepContext) -> list[Any]:
        return [context.execution_id, context.node_id, context.attempt, context.idempotency_key]

    assert await call(f, attempt=2) == ["e-1", "charge", 2, "e-1/charge"]


async def test_args_cannot_play_the_context(call: Any) -> None:
    error = await failure(call(lambda context: None, {"context": "mine"}))
    assert (error.kind, error.retryable) == ("InvalidWith", False)


async def test_arguments_that_do_not_fit_are_told_before_the_call(call: Any) -> None:
    def f(a: int) -> int:
        return a

    error = await failure(call(f, {"b": 1}))
    assert (error.kind, error.retryable) == ("InvalidWith", False)
    assert "with.args does not fit f(a: 'int') -> 'int'" in error.message


async def test_a_function_cannot_change_the_values_of_the_execution(call: Any) -> None:
    args = {"items": [1]}
    await call(lambda items: items.append(2), args)
    assert args == {"items": [1]}


async def test_a_function_cannot_change_its_result_afterwards(call: Any) -> None:
    kept = {"a": 1}
    result = await call(lambda: kept)
    kept["a"] = 2
    assert result == {"a": 1}


@pytest.mark.parametrize("result", [object(), {1: 2}, float("nan"), {"a": b"x"}, "\x00", {"s": {1}}])
async def test_a_result_that_is_not_json_is_no_output(call: Any, result: Any) -> None:
    error = await failure(call(lambda: result))
    assert (error.kind, error.retryable) == ("InvalidOutput", False)


async def test_an_exception_of_a_function_may_be_retried(call: Any) -> None:
    def f() -> None:
        raise KeyError("sku")

    error = await failure(call(f))
    assert (error.kind, error.message, error.retryable) == ("KeyError", "'sku'", True)


async def test_a_function_can_say_that_no_retry_helps(call: Any) -> None:
    async def f() -> None:
        raise NonRetryable("no such customer", kind="NoCustomer")

    error = await failure(call(f))
    assert (error.kind, error.message, error.retryable) == ("NoCustomer", "no such customer", False)


@pytest.mark.parametrize("in_thread", [True, False])
async def test_a_function_that_exits_fails_its_step_and_not_the_worker(call: Any, *, in_thread: bool) -> None:
    def plain() -> None:
        raise SystemExit(3)

    async def coroutine() -> None:
        raise SystemExit(3)

    assert (await failure(call(plain if in_thread else coroutine))).kind == "SystemExit"


async def test_a_message_that_no_store_could_keep_is_mended(call: Any) -> None:
    def f() -> None:
        raise ValueError("a\x00b\ud800" + "x" * 9000)

    message = (await failure(call(f))).message
    assert message.startswith("a\ufffdb?x")
    assert len(message) == 2000


async def test_an_attempt_ends_at_its_timeout(call: Any) -> None:
    async def f() -> None:
        await asyncio.Event().wait()

    error = await failure(call(f, timeout=timedelta(milliseconds=10)))
    assert (error.kind, error.retryable) == ("Timeout", True)
    assert "its timeout of 10ms" in error.message


async def test_a_timeout_of_the_functions_own_is_not_taken_for_the_steps(call: Any) -> None:
    async def f() -> None:
        raise TimeoutError("the bank did not answer")

    error = await failure(call(f))
    assert (error.kind, error.message, error.retryable) == ("Timeout", "the bank did not answer", True)


async def test_a_plain_function_that_hangs_does_not_hold_its_step(call: Any) -> None:
    release = threading.Event()
    try:
        error = await failure(call(release.wait, timeout=timedelta(milliseconds=10)))
    finally:
        release.set()
    assert error.kind == "Timeout"


async def test_cancelling_a_step_is_no_failure(call: Any) -> None:
    started = asyncio.Event()

    async def f() -> None:
        started.set()
        await asyncio.Event().wait()

    step = asyncio.create_task(call(f))
    await started.wait()
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await step


async def test_an_error_keeps_what_retries_go_by(call: Any) -> None:
    async def f() -> None:
        raise StepError("Busy", "later", retryable=True, status=503, retry_after=timedelta(seconds=7))

    error = await failure(call(f))
    assert (error.kind, error.message, error.retryable) == ("Busy", "later", True)
    assert (error.status, error.retry_after) == (503, timedelta(seconds=7))


async def test_a_transform_that_no_store_could_keep_fails_for_good(runner: NodeRunner, context: StepContext) -> None:
    error = await failure(runner.run(node("transform"), {"a": "\x00"}, context))
    assert (error.kind, error.retryable) == ("InvalidOutput", False)
    assert error.message.startswith("output.a: ")


async def test_an_unregistered_function_is_refused(runner: NodeRunner, context: StepContext) -> None:
    error = await failure(runner.run(node("python"), {"call": "os:system"}, context))
    assert (error.kind, error.retryable) == ("FunctionNotRegistered", True)


async def test_a_type_that_this_version_lacks_fails_for_good(runner: NodeRunner, context: StepContext) -> None:
    error = await failure(runner.run(node("frob"), {}, context))
    assert (error.kind, error.retryable) == ("UnknownNodeType", False)
    assert "is unknown to this version" in error.message


async def test_an_evaluated_with_is_checked_again(runner: NodeRunner, context: StepContext) -> None:
    error = await failure(runner.run(node("http"), {"url": 5, "method": "GET"}, context))
    assert (error.kind, error.message, error.retryable) == ("InvalidWith", "with.url: must be text", False)
