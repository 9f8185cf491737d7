"""What somebody probably meant."""

from __future__ import annotations

from difflib import SequenceMatcher

import pytest

from wsrooms.debug import nearest
from wsrooms.debug.nearest import foreign_params, like_rooms, near_routes, spelt_otherwise

ROUTES = [
    ("join", "/chat/:room"),
    ("say", "/chat/:room"),
    ("status", "/"),
    ("*", "/files/*"),
    ("edit", r"/doc/:id(\d+)"),
]


@pytest.mark.parametrize(
    ("event", "path", "near"),
    [
        ("jion", "/chat/general", [("join", "/chat/:room")]),
        ("join", "/chats/general", [("join", "/chat/:room")]),
        ("join", "/chat/general/", [("join", "/chat/:room")]),
        ("join", "/Chat/general?x=/a/b/c/d", [("join", "/chat/:room")]),
        ("join", "chat/general/now", [("join", "/chat/:room")]),
        ("anything", "/file/a.txt", [("*", "/files/*")]),
        ("edit", "/doc/seven", [("edit", r"/doc/:id(\d+)")]),
        ("join", "/elsewhere", []),
        ("leave", "/chat/general", []),
        ("join", "/chat/", [("join", "/chat/:room")]),
    ],
)
def test_a_route_is_near_if_both_its_event_and_its_path_are(
    event: str, path: str, near: list[tuple[str, str]]
) -> None:
    assert near_routes(event, path, ROUTES) == near


def test_the_nearest_route_comes_first() -> None:
    routes = [("say", "/chat/:room/loud"), ("say", "/chat/:room")]
    assert near_routes("sya", "/chat/a", routes) == [routes[1], routes[0]]


@pytest.mark.parametrize(
    "room",
    ["/Chat/General", "/chat/general/", "chat/general", "/chat//general", "/chat%2Fgeneral",
     "/chat/general?a=1", "/chat/general#top", " /chat/general "],
)  # fmt: skip
def test_names_that_people_take_for_the_same_are_found(room: str) -> None:
    assert spelt_otherwise(room, ["/chat/other", "/chat/general"]) == ["/chat/general"]


@pytest.mark.parametrize("room", ["/chat/general", "/chat/genral", "/chat/generals", "/other"])
def test_a_name_itself_and_a_misspelt_one_are_no_other_spelling(room: str) -> None:
    assert spelt_otherwise(room, ["/chat/general"]) == []


def test_a_misspelt_room_is_like_another() -> None:
    rooms = ["/chat/general", "/chat/random", "/news"]
    assert like_rooms("/chat/genral", rooms) == ["/chat/general"]


def test_rooms_that_differ_by_a_number_are_two_of_a_kind_and_no_mistake() -> None:
    assert like_rooms("user:1017", ["user:1018", "user:1"]) == []


def test_names_are_compared_to_a_length_and_no_more_than_a_number_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nearest, "NAMES", 2)
    monkeypatch.setattr(nearest, "LENGTH", 4)
    assert like_rooms("abcd", ["x", "y", "abcd"]) == []
    assert spelt_otherwise("ABCD", ["x", "y", "abcd"]) == []
    assert near_routes("e", "/abc", [("x", "/"), ("y", "/"), ("e", "/abc")]) == []


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("/chat/{room}", "{room} is plain text: a param is written :room"),
        ("/chat/<room>", "<room> is plain text: a param is written :room"),
        ("/chat/<int:room>/x", "<int:room> is plain text: a param is written :room"),
        ("/chat/:room", ""),
        ("/chat/{}", ""),
    ],
)
def test_a_param_in_the_spelling_of_another_framework_is_told(pattern: str, told: str) -> None:
    routes = [("say", "/"), ("join", pattern)]
    assert foreign_params(routes) == (f", where {told}" if told else "")


def test_only_few_of_many_rooms_are_compared_to_the_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[float] = []

    class Counted(SequenceMatcher[str]):
        def ratio(self) -> float:
            compared.append(ratio := super().ratio())
            return ratio

    monkeypatch.setattr("wsrooms.debug.nearest.SequenceMatcher", Counted)
    assert like_rooms("item", [f"user-{number}" for number in range(1000)]) == []
    assert compared == [], "none has the letters"
    assert len(like_rooms("lobbi", [f"lobby{'!' * (number % 2)}" for number in range(1000)])) == 3
    assert len(compared) == 20
