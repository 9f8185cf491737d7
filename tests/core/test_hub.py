"""The hub against two plain sets of pairs."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from wsrooms.hub import Hub


class Somebody:
    def __init__(self, name: str = "") -> None:
        self.name = name
        self.rooms: set[str] = set()

    def __repr__(self) -> str:
        return self.name


@pytest.fixture
def hub() -> Hub[Somebody]:
    return Hub()


def test_the_first_member_opens_a_room_and_the_last_one_closes_it(hub: Hub[Somebody]) -> None:
    ada, bob = Somebody(), Somebody()
    assert hub.add("r", ada)
    assert not hub.add("r", bob)
    assert not hub.discard("r", ada)
    assert hub.discard("r", bob)
    assert len(hub) == hub.memberships == 0


def test_joining_twice_changes_nothing(hub: Hub[Somebody]) -> None:
    ada = Somebody()
    hub.add("r", ada)
    assert not hub.add("r", ada)
    assert list(hub.members("r")) == [ada]
    assert hub.memberships == 1


def test_leaving_a_room_one_is_not_in_changes_nothing(hub: Hub[Somebody]) -> None:
    ada, bob = Somebody(), Somebody()
    assert not hub.discard("r", ada)
    hub.add("r", ada)
    assert not hub.discard("r", bob)
    assert hub.memberships == 1
    assert hub.discard("r", ada)
    assert not hub.discard("r", ada)


def test_members_keep_the_order_in_which_they_joined(hub: Hub[Somebody]) -> None:
    members = [Somebody(str(number)) for number in range(5)]
    for member in members:
        hub.add("r", member)
    hub.discard("r", members[0])
    hub.add("r", members[0])
    hub.add("r", members[3])
    assert [member.name for member in hub.members("r")] == ["1", "2", "3", "4", "0"]


def test_leaving_everywhere_tells_the_rooms_that_became_empty(hub: Hub[Somebody]) -> None:
    ada, bob = Somebody(), Somebody()
    for room in ("a", "b", "c"):
        hub.add(room, ada)
    hub.add("b", bob)
    assert sorted(hub.discard_everywhere(ada)) == ["a", "c"]
    assert ada.rooms == set()
    assert list(hub.rooms()) == ["b"]
    assert hub.discard_everywhere(ada) == []


def test_an_unknown_room_has_no_members(hub: Hub[Somebody]) -> None:
    assert list(hub.members("r")) == []
    assert not hub.contains("r", Somebody())
    assert "r" not in hub


def test_leaving_costs_the_rooms_of_that_member_and_not_those_of_the_hub() -> None:
    looked_at: list[object] = []

    class Room(str):
        __slots__ = ()

        def __hash__(self) -> int:
            looked_at.append(self)
            return super().__hash__()

        __eq__ = str.__eq__

    hub: Hub[Somebody] = Hub()
    for number in range(1000):
        hub.add(Room(number), Somebody())
    leaver = Somebody()
    hub.add(Room("own"), leaver)
    looked_at.clear()
    hub.discard_everywhere(leaver)
    assert {str(room) for room in list(looked_at)} == {"own"}


def test_nothing_of_a_member_that_left_is_kept(hub: Hub[Somebody]) -> None:
    ada = Somebody()
    hub.add("a", ada)
    hub.add("b", ada)
    hub.discard_everywhere(ada)
    gone = weakref.ref(ada)
    del ada
    gc.collect()
    assert gone() is None


class HubMachine(RuleBasedStateMachine):
    """Any sequence of calls, beside a dict of lists that says what they mean."""

    rooms = st.sampled_from(["", "a", "b", "c d", "ü"])
    members = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.hub: Hub[Somebody] = Hub()
        self.people = [Somebody(str(number)) for number in range(4)]
        self.model: dict[str, list[int]] = {}

    @rule(room=rooms, number=members)
    def add(self, room: str, number: int) -> None:
        was_empty = room not in self.model
        inside = self.model.setdefault(room, [])
        if number not in inside:
            inside.append(number)
        assert self.hub.add(room, self.people[number]) == was_empty

    @rule(room=rooms, number=members)
    def discard(self, room: str, number: int) -> None:
        assert self.hub.discard(room, self.people[number]) == self._leave(room, number)

    @rule(number=members)
    def discard_everywhere(self, number: int) -> None:
        emptied = {room for room in list(self.model) if self._leave(room, number)}
        told = self.hub.discard_everywhere(self.people[number])
        assert set(told) == emptied
        assert len(told) == len(emptied)

    def _leave(self, room: str, number: int) -> bool:
        inside = self.model.get(room, [])
        if number not in inside:
            return False
        inside.remove(number)
        if inside:
            return False
        del self.model[room]
        return True

    @invariant()
    def agrees_with_the_model(self) -> None:
        hub = self.hub
        assert set(hub.rooms()) == set(self.model)
        assert len(hub) == len(self.model)
        assert hub.memberships == sum(map(len, self.model.values()))
        for room, inside in self.model.items():
            assert room in hub
            assert [member.name for member in hub.members(room)] == list(map(str, inside))
        for number, member in enumerate(self.people):
            rooms = {room for room, inside in self.model.items() if number in inside}
            assert member.rooms == rooms
            assert all(hub.contains(room, member) for room in rooms)
        assert not any(
            hub.contains(room, self.people[0])
            for room in ("", "a", "b", "c d", "ü")
            if 0 not in self.model.get(room, [])
        )


TestAnySequenceOfJoinsAndLeaves = HubMachine.TestCase
TestAnySequenceOfJoinsAndLeaves.settings = settings(
    derandomize=True, deadline=None, max_examples=60, stateful_step_count=40
)
