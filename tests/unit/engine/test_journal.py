"""Group commit: everybody gets their own answer, whatever happens to the others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import InvalidPayload, StoreUnavailable
from orchestrator.journal import GroupCommit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence


class Disk:
    """Answers each item with its double; refuses odd things when it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.refused: set[int] = set()
        self.away = 0  # how many flushes find nobody
        self.open = asyncio.Event()
        self.open.set()

    async def flush(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        await self.open.wait()
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        if bad := self.refused.intersection(items):
            raise InvalidPayload(f"{sorted(bad)} cannot be kept")
        return [2 * item for item in items]


@asynccontextmanager
async def committing(
    disk: Disk, *, most: int = 500, patience: float = 20.0, lanes: int = 1
) -> AsyncIterator[GroupCommit[int, int]]:
    journal: GroupCommit[int, int] = GroupCommit(disk.flush, most=most, patience=patience, lanes=lanes)
    yield journal
    await journal.aclose()


async def test_a_crowd_shares_commits_and_each_gets_its_own_answer() -> None:
    disk = Disk()
    async with committing(disk) as journal:
        assert await asyncio.gather(*(journal.put(i) for i in range(100))) == [2 * i for i in range(100)]
    assert len(disk.groups) <= 2


async def test_a_group_has_a_largest_size() -> None:
    disk = Disk()
    async with committing(disk, most=7) as journal:
        await asyncio.gather(*(journal.put(i) for i in range(20)))
    assert max(map(len, disk.groups)) == 7
    assert sorted(i for group in disk.groups for i in group) == list(range(20))


async def test_one_bad_item_spoils_nobody_elses() -> None:
    disk = Disk()
    disk.refused = {13}
    async with committing(disk) as journal:
        answers = await asyncio.gather(*(journal.put(i) for i in range(20)), return_exceptions=True)
    assert isinstance(answers[13], InvalidPayload)
    assert [a for i, a in enumerate(answers) if i != 13] == [2 * i for i in range(20) if i != 13]


async def test_a_store_that_is_away_for_a_moment_is_asked_again_with_the_same_items() -> None:
    disk = Disk()
    disk.away = 3
    async with committing(disk) as journal:
        assert await asyncio.gather(*(journal.put(i) for i in (1, 2))) == [2, 4]
    assert disk.groups == [[1, 2]] * 4


async def test_patience_ends_and_the_next_item_has_a_chance_of_its_own() -> None:
    disk = Disk()
    disk.away = 1
    async with committing(disk, patience=0) as journal:
        with pytest.raises(StoreUnavailable):
            await journal.put(1)
        assert await journal.put(2) == 4


async def test_who_gave_up_before_the_commit_is_left_out_and_the_others_stay_in() -> None:
    disk = Disk()
    disk.open.clear()
    async with committing(disk) as journal:
        first = asyncio.create_task(journal.put(1))
        while not disk.groups:
            await asyncio.sleep(0)
        second, third = asyncio.create_task(journal.put(2)), asyncio.create_task(journal.put(3))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        disk.open.set()
        assert (await first, await third) == (2, 6)
    assert disk.groups == [[1], [3]]


async def test_who_gives_up_during_the_commit_leaves_the_others_their_answers() -> None:
    disk = Disk()
    disk.open.clear()
    async with committing(disk) as journal:
        first, second = asyncio.create_task(journal.put(1)), asyncio.create_task(journal.put(2))
        while not disk.groups:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        disk.open.set()
        assert await second == 4
        assert await journal.put(3) == 6


async def test_closing_leaves_nobody_waiting() -> None:
    disk = Disk()
    disk.open.clear()
    async with committing(disk) as journal:
        waiting = [asyncio.create_task(journal.put(i)) for i in range(3)]
        while not disk.groups:
            await asyncio.sleep(0)
        waiting.append(asyncio.create_task(journal.put(9)))
        await asyncio.sleep(0)
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)


async def test_one_group_is_on_its_way_while_the_next_is_gathered() -> None:
    disk = Disk()
    disk.open.clear()
    async with committing(disk, lanes=2) as journal:
        puts = asyncio.gather(*(journal.put(i) for i in range(10)))
        async with asyncio.timeout(5):
            while len(disk.groups) < 2:
                await asyncio.sleep(0)
        assert [len(group) for group in disk.groups] == [5, 5]
        disk.open.set()
        assert await puts == [2 * i for i in range(10)]


async def test_no_more_flushes_than_lanes_are_on_their_way() -> None:
    disk = Disk()
    disk.open.clear()
    async with committing(disk, lanes=2) as journal:
        puts = [asyncio.create_task(journal.put(i)) for i in range(10)]
        for i in range(10, 20):
            await asyncio.sleep(0)
            puts.append(asyncio.create_task(journal.put(i)))
        await asyncio.sleep(0)
        assert len(disk.groups) == 2
        disk.open.set()
        assert await asyncio.gather(*puts) == [2 * i for i in range(20)]
