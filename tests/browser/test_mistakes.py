"""What a person could do wrong, or oddly, and what the page makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from .tabs import expect

if TYPE_CHECKING:
    from .conftest import OpenTab
    from .tabs import Server, Tab


def test_a_name_must_be_given(open_tab: OpenTab) -> None:
    ann = open_tab()
    ann.answer("   ")
    expect(ann.problem).to_have_text("Write something first.")
    for _ in range(3):
        ann.page.keyboard.press("Escape")
        expect(ann.dialog).to_be_visible()
    ann.answer("  Ann   of  Green Gables ")
    expect(ann.dialog).to_be_hidden()
    ann.is_in("general", "Ann of Green Gables")


def test_a_name_that_the_server_refuses_is_asked_for_again(open_tab: OpenTab) -> None:
    ann = open_tab()
    ann.answer("\x85")  # a blank to Python, none to JavaScript
    expect(ann.problem).to_contain_text("name")
    ann.answer("Ann")
    ann.is_in("general", "Ann")


def test_a_name_ends_where_the_field_ends(open_tab: OpenTab) -> None:
    ann = open_tab()
    ann.page.locator("#ask-value").press_sequentially("n" * 30)
    ann.page.locator("#ask-value").press("Enter")
    ann.is_in("general", "n" * 24)


def test_two_people_may_have_one_name(open_tab: OpenTab) -> None:
    one, other = open_tab("Ann"), open_tab("Ann")
    for tab in (one, other):
        tab.is_in("general", "Ann", "Ann")
    one.say("am I you?")
    other.hears("Ann", "am I you?")


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_what_is_blank_is_not_sent(text: str, ann: Tab) -> None:
    ann.box.fill(text)
    expect(ann.page.locator("#send")).to_be_disabled()
    ann.box.press("Enter")
    ann.say("the first")
    expect(ann.mine).to_have_count(1)


def test_what_the_server_refuses_is_marked_with_its_reason(ann: Tab) -> None:
    ann.box.fill("\x85")
    ann.box.press("Enter")
    expect(ann.page.locator(".undelivered")).to_contain_text("text")
    expect(ann.page.locator(".msg.waiting")).to_have_count(0)


def test_shift_and_enter_begin_a_line_and_enter_sends_both(ann: Tab, bob: Tab) -> None:
    ann.box.press_sequentially("one")
    ann.box.press("Shift+Enter")
    ann.box.press_sequentially("two")
    expect(ann.mine).to_have_count(0)
    ann.box.press("Enter")
    expect(bob.heard("one")).to_contain_text("one\ntwo", use_inner_text=True)


def test_a_text_as_long_as_it_may_be_arrives_whole(ann: Tab, bob: Tab) -> None:
    text = "long " * 400
    ann.box.fill(text + "and this is too much")
    ann.box.fill(text[:-1])
    ann.box.press("Enter")
    expect(bob.heard("long")).to_contain_text(text[:-1])


@pytest.mark.parametrize("name", ["a/b", "100%", "%2F", "..", "?x#y", "Ünïcode", "🙂", "<b>x</b>"])
def test_a_room_may_have_any_name(name: str, ann: Tab, open_tab: OpenTab) -> None:
    ann.page.locator("#room-name").fill(name)
    ann.page.locator("#room-name").press("Enter")
    ann.is_in(name, "Ann")
    bob = open_tab("Bob", room=quote(name, safe=""))
    bob.is_in(name, "Ann", "Bob")
    bob.say("found it")
    ann.hears("Bob", "found it")


@pytest.mark.parametrize("address", ["#/chat/%", "#/chat/%ff", "#/chat/", "#general", "#/", "#"])
def test_an_address_that_names_no_room_leads_to_the_list(address: str, ann: Tab) -> None:
    ann.page.evaluate("address => void (location.hash = address)", address)
    expect(ann.title).to_have_text("Pick a room")
    ann.go_to("general")
    ann.is_in("general", "Ann")


def test_who_leaves_before_the_answer_to_the_join_is_not_in_the_room(
    server: Server, ann: Tab, bob: Tab
) -> None:
    ann.go_to("python")
    ann.is_in("python", "Ann")
    server.stand_still()
    bob.go_to("python")
    bob.page.get_by_role("button", name="Leave this room").click()
    expect(bob.title).to_have_text("/chat/general")
    server.go_on()
    ann.sees("Bob left.")
    ann.is_in("python", "Ann")


def test_who_leaves_and_comes_back_before_the_answer_is_in_the_room(
    server: Server, ann: Tab, bob: Tab
) -> None:
    ann.go_to("python")
    ann.is_in("python", "Ann")
    server.stand_still()
    bob.go_to("python")
    bob.page.get_by_role("button", name="Leave this room").click()
    bob.go_to("python")
    server.go_on()
    for tab in (ann, bob):
        tab.is_in("python", "Ann", "Bob")
    ann.say("make up your mind")
    bob.hears("Ann", "make up your mind")


def test_a_click_too_many_does_nothing(ann: Tab, bob: Tab) -> None:
    bob.box.fill("once")
    bob.page.locator("#send").dblclick()
    ann.hears("Bob", "once")
    expect(bob.mine).to_have_count(1)
    bob.page.locator("#leave").dblclick(force=True)
    expect(bob.title).to_have_text("Pick a room")
    ann.sees("Bob left.")
    expect(ann.lines.filter(has_text="Bob left.")).to_have_count(1)


def test_a_tab_that_may_not_store_anything_still_chats(ann: Tab, open_tab: OpenTab) -> None:
    bob = open_tab(room="python")
    bob.page.add_init_script(
        "const get = () => { throw new DOMException('', 'SecurityError') };"
        "Object.defineProperties(window, { localStorage: { get }, sessionStorage: { get } });"
    )
    bob.page.reload()
    bob.answer("Bob")
    bob.is_in("python", "Bob")
    bob.go_to("general")
    bob.is_in("general", "Ann", "Bob")
    bob.say("forgetful")
    ann.hears("Bob", "forgetful")
