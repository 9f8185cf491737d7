"""The page in windows of every size, light and dark, and with the keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .looks import CONTRAST, OVERFLOWING
from .tabs import expect

if TYPE_CHECKING:
    from typing import Literal

    from .conftest import OpenTab
    from .tabs import Tab

    Scheme = Literal["light", "dark"]

# Is done when the page has seen it.
SCROLL_UP = """(log) => new Promise((done) => {
    log.addEventListener('scroll', () => done(), { once: true });
    log.scrollTop = 0;
})"""

LONG = "Donaudampfschifffahrtsgesellschaftskapitän" * 3


@pytest.mark.parametrize("width", [320, 390, 700, 900, 1100, 1600])
def test_nothing_reaches_over_the_edge_whatever_is_written(
    width: int, ann: Tab, open_tab: OpenTab
) -> None:
    bob = open_tab("W" * 24)
    for tab in (ann, bob):
        tab.say(LONG)
    bob.page.get_by_role("button", name="Announce to everybody").click()
    bob.answer(LONG)
    ann.page.set_viewport_size({"width": width, "height": 700})
    expect(ann.page.locator(".loud")).to_contain_text(LONG)
    assert ann.page.evaluate(OVERFLOWING) == []
    ann.open("w" * 40)
    expect(ann.title).to_have_text("/chat/" + "w" * 40)
    assert ann.page.evaluate(OVERFLOWING) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(scheme: Scheme, ann: Tab, bob: Tab) -> None:
    ann.page.emulate_media(color_scheme=scheme)
    ann.say("mine")
    bob.say("others")
    bob.page.get_by_role("button", name="Announce to everybody").click()
    bob.answer("to all")
    expect(ann.page.locator(".loud")).to_contain_text("to all")
    for selector in (
        *("#title", "#tick", ".room", ".room em", ".label", ".line", ".loud", ".loud b"),
        *(".mine .bubble", ".msg:not(.mine) .bubble", ".msg:not(.mine) .bubble time"),
        *(".msg:not(.mine) .who", ".face", "#people-list b", "#my-state"),
        *("#leave", ".field button"),
    ):
        contrast = ann.page.locator(selector).first.evaluate(CONTRAST)
        assert contrast >= 4.5, f"{selector}: {contrast:.2f}"


def test_on_a_phone_the_lists_open_over_the_room_and_close_again(ann: Tab, bob: Tab) -> None:
    ann.page.set_viewport_size({"width": 390, "height": 800})
    for button, side in (("Rooms", "#rooms"), ("Who is here: 2", "#people")):
        expect(ann.page.locator(side)).to_be_hidden()
        ann.page.get_by_role("button", name=button, exact=True).click()
        expect(ann.page.locator(side)).to_be_in_viewport(ratio=1)
        ann.page.keyboard.press("Escape")
        expect(ann.page.locator(side)).to_be_hidden()
        expect(ann.page.get_by_role("button", name=button, exact=True)).to_be_focused()
    ann.page.get_by_role("button", name="Rooms", exact=True).click()
    ann.go_to("python")
    expect(ann.page.locator("#rooms")).to_be_hidden()
    ann.page.get_by_role("button", name="Who is here: 1", exact=True).click()
    ann.page.locator("#leave-too").click()
    expect(ann.title).to_have_text("/chat/general")


def test_new_messages_do_not_move_who_reads_older_ones(ann: Tab, bob: Tab) -> None:
    ann.page.set_viewport_size({"width": 900, "height": 400})
    for number in range(12):
        bob.say(f"line {number}.")
    expect(ann.heard("line 11.")).to_be_in_viewport()
    newer = ann.page.get_by_role("button", name="New messages")
    expect(newer).to_be_hidden()
    ann.page.locator("#log").evaluate(SCROLL_UP)
    bob.say("the latest")
    expect(newer).to_be_visible()
    expect(ann.heard("the latest")).not_to_be_in_viewport()
    newer.click()
    expect(ann.heard("the latest")).to_be_in_viewport()
    expect(newer).to_be_hidden()


def test_the_keyboard_alone_is_enough(open_tab: OpenTab) -> None:
    ann = open_tab()
    keyboard = ann.page.keyboard
    expect(ann.page.locator("#ask-value")).to_be_focused()
    keyboard.type("Ann")
    keyboard.press("Enter")
    ann.is_in("general", "Ann")
    ann.page.locator("#skip").focus()
    keyboard.press("Enter")
    expect(ann.box).to_be_focused()
    keyboard.type("by hand")
    keyboard.press("Enter")
    expect(ann.mine).to_contain_text(["by hand"])
    expect(ann.box).to_be_focused()
    ann.page.locator("#room-list .room").nth(1).focus()
    keyboard.press("Enter")
    expect(ann.title).to_have_text("/chat/python")
