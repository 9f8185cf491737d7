"""Two people in two tabs: names, rooms, typing hints, announcements, reload, leaving."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .tabs import expect

if TYPE_CHECKING:
    from .conftest import OpenTab
    from .tabs import Tab


def test_two_tabs_see_each_other_come_talk_and_go(open_tab: OpenTab) -> None:
    ann = open_tab("Ann")
    ann.sees("Nobody else is here: open this page in a second tab.")
    bob = open_tab("Bob")
    bob.sees("You joined.")
    ann.sees("Bob joined.")

    ann.say("hello")
    bob.hears("Ann", "hello")
    bob.say("good morning")
    ann.hears("Bob", "good morning")
    expect(ann.mine).to_have_count(1)

    bob.page.close()
    ann.sees("Bob closed the page.")
    ann.is_in("general", "Ann")


def test_who_types_is_shown_until_the_message_comes(ann: Tab, bob: Tab) -> None:
    ann.box.press_sequentially("h")
    expect(bob.typing).to_have_text("Ann is typing…")
    expect(ann.typing).to_be_empty()
    ann.say("hello")
    bob.hears("Ann", "hello")
    assert bob.typing.text_content() == ""


def test_who_stops_typing_is_not_shown_for_ever(ann: Tab, open_tab: OpenTab) -> None:
    bob = open_tab()
    bob.page.clock.install()
    bob.answer("Bob")
    bob.is_in("general", "Ann", "Bob")
    ann.box.press_sequentially("h")
    expect(bob.typing).to_have_text("Ann is typing…")
    bob.page.clock.fast_forward("00:04")
    expect(bob.typing).to_be_empty()


def test_an_announcement_is_seen_in_every_room_and_by_its_sender(ann: Tab, bob: Tab) -> None:
    bob.go_to("python")
    bob.is_in("python", "Bob")
    ann.page.get_by_role("button", name="Announce to everybody").click()
    ann.answer("Lunch at noon")
    expect(ann.dialog).to_be_hidden()
    for tab in (ann, bob):
        expect(tab.page.locator(".loud")).to_contain_text(["Lunch at noon"])
        expect(tab.page.locator(".loud bdi")).to_have_text("Ann")


def test_a_message_stays_in_its_room_and_marks_it_as_unread(ann: Tab, bob: Tab) -> None:
    ann.go_to("tea")
    ann.is_in("tea", "Ann")
    bob.say("who is here?")
    unread = ann.page.locator(".room.unread")
    expect(unread).to_contain_text("/general")
    expect(unread).to_contain_text("1 unread")
    expect(ann.page).to_have_title("(1) tea · wsrooms")
    expect(ann.heard("who is here?")).to_have_count(0)

    ann.go_to("general")
    ann.hears("Bob", "who is here?")
    expect(unread).to_have_count(0)
    expect(ann.page).to_have_title("general · wsrooms")


def test_a_draft_waits_in_its_room(ann: Tab) -> None:
    ann.box.fill("half a thought")
    ann.go_to("python")
    expect(ann.box).to_have_value("")
    ann.go_to("general")
    expect(ann.box).to_have_value("half a thought")


def test_a_new_name_is_told_to_the_room(ann: Tab, bob: Tab) -> None:
    bob.page.get_by_role("button", name="Rename yourself").click()
    bob.answer("Robert")
    expect(bob.dialog).to_be_hidden()
    ann.sees("Bob is now Robert.")
    for tab in (ann, bob):
        tab.is_in("general", "Ann", "Robert")
    bob.say("it is me")
    ann.hears("Robert", "it is me")


def test_who_leaves_a_room_hears_nothing_of_it_and_may_come_back(ann: Tab, bob: Tab) -> None:
    bob.go_to("python")
    bob.go_to("general")
    bob.page.get_by_role("button", name="Leave this room").click()
    expect(bob.title).to_have_text("/chat/python")
    ann.sees("Bob left.")
    ann.is_in("general", "Ann")
    ann.say("alone at last")

    bob.go_to("general")
    bob.is_in("general", "Ann", "Bob")
    expect(bob.heard("alone at last")).to_have_count(0)
    ann.say("welcome back")
    bob.hears("Ann", "welcome back")


def test_who_leaves_the_last_room_is_asked_to_pick_one(ann: Tab) -> None:
    ann.page.get_by_role("button", name="Leave this room").click()
    expect(ann.title).to_have_text("Pick a room")
    expect(ann.box).to_be_hidden()
    ann.go_to("general")
    ann.is_in("general", "Ann")


def test_a_reload_keeps_the_name_the_rooms_and_the_draft(ann: Tab, bob: Tab) -> None:
    bob.go_to("python")
    bob.go_to("general")
    bob.box.fill("half a thought")
    bob.page.reload()
    ann.sees("Bob joined.")
    expect(ann.lines.filter(has_text="Bob closed the page.")).to_have_count(1)
    bob.is_in("general", "Ann", "Bob")
    expect(bob.box).to_have_value("half a thought")
    expect(bob.dialog).to_be_hidden()
    bob.go_to("python")
    bob.is_in("python", "Bob")


def test_a_link_to_a_room_is_an_invitation(ann: Tab, open_tab: OpenTab) -> None:
    ann.page.locator("#room-name").fill("tea & cake")
    ann.page.locator("#room-name").press("Enter")
    ann.is_in("tea-&-cake", "Ann")
    link = ann.page.url
    bob = open_tab("Bob", room=link.partition("#/chat/")[2])
    bob.is_in("tea-&-cake", "Ann", "Bob")
    ann.say("a slice?")
    bob.hears("Ann", "a slice?")


def test_back_and_forward_go_through_the_rooms(ann: Tab) -> None:
    ann.go_to("python")
    ann.page.go_back()
    ann.is_in("general", "Ann")
    ann.page.go_forward()
    ann.is_in("python", "Ann")


def test_every_tab_is_told_the_time_and_how_many_are_here(ann: Tab, bob: Tab) -> None:
    for tab in (ann, bob):
        expect(tab.page.locator("#tick")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d · 2 online$"))


def test_the_frames_of_a_tab_can_be_watched(ann: Tab) -> None:
    ann.page.get_by_text("On the wire").click()
    ann.say("look at me")
    sent = ann.page.locator("#frames .out").first
    expect(sent).to_contain_text('"event":"message","path":"/chat/general"')
    expect(sent).to_contain_text('{"text":"look at me"}')
