"""The server dies or stands still under open tabs: what the people in them see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tabs import expect

if TYPE_CHECKING:
    from .conftest import OpenTab
    from .tabs import Server, Tab


def test_after_a_restart_both_tabs_are_back_in_their_rooms_and_talk(
    server: Server, ann: Tab, bob: Tab
) -> None:
    for tab in (ann, bob):
        tab.go_to("python")
        tab.go_to("general")
    ann.say("before")
    bob.hears("Ann", "before")

    server.kill()
    for tab in (ann, bob):
        tab.is_offline()
        tab.sees("The connection was lost.")
        expect(tab.people).to_have_count(0)

    server.start()
    for tab in (ann, bob):
        tab.is_online()
        tab.is_in("general", "Ann", "Bob")
        expect(tab.lines.filter(has_text="You are back.")).to_have_count(1)
    ann.say("after")
    bob.hears("Ann", "after")
    bob.say("me too")
    ann.hears("Bob", "me too")
    for tab in (ann, bob):
        tab.go_to("python")
        tab.is_in("python", "Ann", "Bob")
    ann.say("here as well")
    bob.hears("Ann", "here as well")


def test_one_outage_after_another_is_got_over(server: Server, ann: Tab, bob: Tab) -> None:
    for turn in range(3):
        server.kill()
        for tab in (ann, bob):
            tab.is_offline()
        server.start()
        for tab in (ann, bob):
            tab.is_online()
            tab.is_in("general", "Ann", "Bob")
        ann.say(f"still here {turn}")
        bob.hears("Ann", f"still here {turn}")


def test_what_is_written_while_offline_stays_in_its_field(
    server: Server, ann: Tab, bob: Tab
) -> None:
    server.kill()
    ann.is_offline()
    ann.box.fill("not to be lost")
    ann.box.press("Enter")
    expect(ann.box).to_have_value("not to be lost")
    expect(ann.mine).to_have_count(0)

    server.start()
    for tab in (ann, bob):
        tab.is_in("general", "Ann", "Bob")
    expect(ann.box).to_have_value("not to be lost")
    ann.box.press("Enter")
    bob.hears("Ann", "not to be lost")


def test_a_message_that_died_with_the_server_can_be_sent_again(
    server: Server, ann: Tab, bob: Tab
) -> None:
    server.stand_still()
    ann.box.fill("twice")
    ann.box.press("Enter")
    expect(ann.page.locator(".msg.waiting")).to_contain_text("twice")
    server.kill()
    told = ann.page.locator(".undelivered")
    expect(told).to_contain_text("Perhaps not delivered: the connection was lost")

    server.start()
    for tab in (ann, bob):
        tab.is_in("general", "Ann", "Bob")
    told.get_by_role("button", name="Send again").click()
    expect(told).to_have_count(0)
    expect(ann.mine).to_have_count(1)
    bob.hears("Ann", "twice")


def test_a_server_that_stands_still_is_noticed_by_its_silence(
    server: Server, open_tab: OpenTab
) -> None:
    ann = open_tab()
    ann.page.clock.install()
    ann.answer("Ann")
    ann.is_in("general", "Ann")
    server.stand_still()
    ann.page.clock.fast_forward("00:13")
    ann.is_offline()

    server.go_on()
    ann.page.clock.resume()
    ann.is_online()
    ann.is_in("general", "Ann")


def test_try_now_does_not_wait_for_the_next_attempt(server: Server, open_tab: OpenTab) -> None:
    ann = open_tab("Ann")
    ann.page.clock.install()
    ann.page.clock.pause_at("2040-01-01")
    server.kill()
    ann.is_offline()

    server.start()
    ann.is_offline()
    ann.page.get_by_role("button", name="Try now").click()
    ann.is_online()
    ann.is_in("general", "Ann")


def test_a_new_name_given_while_offline_is_known_after_it(
    server: Server, ann: Tab, bob: Tab
) -> None:
    server.kill()
    ann.is_offline()
    ann.page.get_by_role("button", name="Rename yourself").click()
    ann.answer("Anna")
    expect(ann.dialog).to_be_hidden()

    server.start()
    for tab in (ann, bob):
        tab.is_in("general", "Anna", "Bob")


def test_an_announcement_while_offline_is_refused_with_its_reason(server: Server, ann: Tab) -> None:
    server.kill()
    ann.is_offline()
    ann.page.get_by_role("button", name="Announce to everybody").click()
    ann.answer("anybody?")
    expect(ann.problem).to_have_text("not connected")
    ann.page.get_by_role("button", name="Cancel").click()
    expect(ann.dialog).to_be_hidden()
