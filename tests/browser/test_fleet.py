"""The fleet of `make demo-cluster` in tabs: it is broken by its buttons, and they show it heal."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from demo_cluster.brokers import BROKERS
from tests.demo_cluster.running import NAMES, Demo, end, started

from .looks import CONTRAST, OVERFLOWING
from .tabs import Tab, expect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from playwright.sync_api import Browser, Locator

    Scheme = Literal["light", "dark"]
    OpenFleetTab = Callable[[str], "FleetTab"]

HEALED = 30_000
"""Milliseconds: an instance waits longer each time for a broker that does not come."""


class FleetTab(Tab):
    """A tab of the fleet's page, with its panel."""

    def part(self, name: str) -> Locator:
        return self.page.locator(f"#part-{name}")

    def has_state(self, name: str, state: str) -> None:
        expect(self.part(name)).to_have_attribute("data-state", state, timeout=HEALED)

    def press(self, what: str, name: str) -> None:
        self.page.locator(f"#{what}-{name}").click()

    def is_whole(self) -> None:
        for name in ("broker", *NAMES):
            self.has_state(name, "up")

    @property
    def instance(self) -> str:
        shown = self.page.locator("#instance")
        expect(shown).to_have_text(re.compile("instance (one|two|three)"))
        return shown.inner_text().removeprefix("instance ")

    @property
    def missed(self) -> Locator:
        return self.page.locator("#missed")

    def has_instances(self, **names: str) -> None:
        """See these people in the room, each with his instance."""
        for name, instance in names.items():
            row = self.page.locator("#people-list li", has_text=name)
            expect(row.locator("small").first).to_have_text(instance)
        expect(self.people).to_have_count(len(names))


@pytest.fixture(scope="module", params=BROKERS)
def demo(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Demo]:
    demo = started(request.param)
    yield demo
    assert end(demo) == 0


@pytest.fixture
def open_tab(demo: Demo, browser: Browser) -> Iterator[OpenFleetTab]:
    """Open a tab in a browser of its own, in a fleet that is whole.

    No tab may have had a complaint when the test ends.
    """
    contexts = []
    tabs: list[FleetTab] = []

    def open_tab(name: str) -> FleetTab:
        context = browser.new_context(locale="en-GB", reduced_motion="reduce")
        contexts.append(context)
        tab = FleetTab(context, demo.url)
        tabs.append(tab)
        tab.open("general")
        if len(tabs) == 1:
            for part in ("broker", *NAMES):
                expect(tab.part(part)).to_be_attached()
                if tab.part(part).get_attribute("data-state") == "down":
                    # Its button is behind the question for a name.
                    tab.page.evaluate("name => press('restart', `/fleet/${name}`)", part)
            tab.is_whole()
        tab.answer(name)
        tab.is_online()
        expect(tab.people.filter(has_text=name)).to_have_count(1)
        return tab

    yield open_tab
    for context in contexts:
        context.close()
    assert [complaint for tab in tabs for complaint in tab.complaints] == []


@pytest.fixture
def three(open_tab: OpenFleetTab) -> tuple[FleetTab, FleetTab, FleetTab]:
    """Ann, Bob and Cy, each on an instance of his own, who see each other."""
    ann, bob, cy = (open_tab(name) for name in ("Ann", "Bob", "Cy"))
    assert sorted(tab.instance for tab in (ann, bob, cy)) == sorted(NAMES)
    for tab in (ann, bob, cy):
        tab.has_instances(Ann=ann.instance, Bob=bob.instance, Cy=cy.instance)
    return ann, bob, cy


def test_each_tab_shows_its_instance_and_hears_the_others(
    three: tuple[FleetTab, FleetTab, FleetTab],
) -> None:
    for tab in three:
        expect(tab.page.locator(".part.yours b")).to_have_text(f"instance {tab.instance}")
        expect(tab.page.locator("#room-list .room em").first).to_contain_text("3")
        expect(tab.missed).to_be_hidden()
    ann, bob, cy = three
    ann.say("from Ann")
    for tab in (bob, cy):
        tab.hears("Ann", "from Ann")


def test_the_broker_dies_and_comes_back_and_the_page_says_what_may_be_missed(
    three: tuple[FleetTab, FleetTab, FleetTab],
) -> None:
    ann, bob, cy = three
    bob.press("kill", "broker")
    for tab in three:
        tab.has_state("broker", "down")
        for name in NAMES:
            tab.has_state(name, "reconnecting")
    silent = ann.lines.filter(has_text="does not answer any more.")
    expect(silent).to_have_count(2)  # a call that reached nobody else
    ann.is_in("general", "Ann")
    bob.press("restart", "broker")
    for tab in three:
        expect(tab.missed).to_contain_text(
            f"Messages may have been missed: instance {tab.instance} was cut off.", timeout=HEALED
        )
        tab.is_whole()
    for tab in three:
        tab.has_instances(Ann=ann.instance, Bob=bob.instance, Cy=cy.instance)
    expect(ann.lines.filter(has_text="answers again.")).to_have_count(2)
    ann.say("all is well")
    for tab in (bob, cy):
        tab.hears("Ann", "all is well")

    cy.missed.get_by_role("button", name="Reload").click()
    expect(cy.heard("all is well")).to_have_count(0)  # a page anew
    expect(cy.missed).to_be_hidden()
    cy.is_in("general", "Ann", "Bob", "Cy")


def test_tabs_of_an_instance_that_is_killed_go_on_elsewhere_and_nobody_is_there_twice(
    three: tuple[FleetTab, FleetTab, FleetTab],
) -> None:
    ann, bob, cy = three
    killed = ann.instance
    bob.press("kill", killed)
    for tab in (bob, cy):
        tab.has_state(killed, "down")
        expect(tab.part(killed)).to_contain_text("killed by its button")
    expect(ann.page.locator("#instance")).not_to_have_text(f"instance {killed}")
    expect(ann.missed).to_contain_text("Messages may have been missed: this tab was cut off.")
    for tab in three:
        tab.has_instances(Ann=ann.instance, Bob=bob.instance, Cy=cy.instance)
    expect(
        cy.lines.filter(has_text=f"Ann on instance {killed} does not answer any more.")
    ).to_have_count(1)
    expect(bob.missed).to_be_hidden()
    ann.say("here again")
    for tab in (bob, cy):
        tab.hears("Ann", "here again")
    cy.press("restart", killed)
    cy.is_whole()


def test_who_cannot_come_back_is_off_the_list(
    three: tuple[FleetTab, FleetTab, FleetTab],
) -> None:
    ann, bob, cy = three
    gone = cy.instance
    cy.page.context.set_offline(True)
    ann.press("kill", gone)
    for tab in (ann, bob):
        expect(tab.lines.last).to_have_text(f"Cy on instance {gone} does not answer any more.")
        tab.is_in("general", "Ann", "Bob")


def test_an_instance_that_dies_by_itself_is_shown(open_tab: OpenFleetTab) -> None:
    ann = open_tab("Ann")
    other = next(name for name in NAMES if name != ann.instance)
    pid = re.search(r"pid (\d+)", ann.part(other).inner_text())
    assert pid is not None
    os.kill(int(pid[1]), signal.SIGKILL)
    ann.has_state(other, "down")
    expect(ann.part(other)).to_contain_text("ended by itself (SIGKILL)")


def test_a_tab_waits_while_no_instance_lives(open_tab: OpenFleetTab) -> None:
    ann = open_tab("Ann")
    for name in NAMES:
        ann.press("kill", name)
    ann.is_offline()
    for name in NAMES:
        ann.has_state(name, "down")
    ann.page.reload()  # the page itself is no instance's
    expect(ann.page.locator("#my-state")).to_have_text("Not connected")
    ann.page.locator("#restart-two").click()
    ann.is_in("general", "Ann")
    assert ann.instance == "two"


def test_a_tab_that_cannot_join_while_the_broker_is_away_says_so(open_tab: OpenFleetTab) -> None:
    ann = open_tab("Ann")
    waiting = ann.page.locator("#waiting")
    ann.press("kill", "broker")
    ann.has_state(ann.instance, "reconnecting")
    expect(waiting).to_be_hidden()  # whoever was in the room still is
    ann.page.reload()
    expect(waiting).to_have_text(
        f"You are not in this room yet: instance {ann.instance} waits for the broker."
    )
    ann.page.goto(ann.url + "#/")
    expect(waiting).to_be_hidden()  # no room
    ann.go_to("python")
    expect(waiting).to_be_visible()
    ann.press("restart", "broker")
    ann.is_in("python", "Ann")
    expect(waiting).to_be_hidden()


@pytest.mark.parametrize("width", [320, 360, 700, 900, 1280])
def test_nothing_of_the_panel_reaches_over_an_edge(width: int, open_tab: OpenFleetTab) -> None:
    ann = open_tab("Ann")
    other = next(name for name in NAMES if name != ann.instance)
    ann.page.set_viewport_size({"width": width, "height": 740})
    if width < 700:
        expect(ann.part(other)).to_be_hidden()
        ann.page.get_by_role("button", name="Break it").click()
    ann.press("kill", other)
    ann.press("kill", "broker")
    ann.has_state(ann.instance, "reconnecting")
    assert ann.page.evaluate(OVERFLOWING) == []
    ann.press("restart", "broker")
    expect(ann.missed).to_be_visible(timeout=HEALED)
    assert ann.page.evaluate(OVERFLOWING) == []
    expect(ann.box).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_of_the_panel_stands_out(scheme: Scheme, open_tab: OpenFleetTab) -> None:
    ann = open_tab("Ann")
    ann.page.emulate_media(color_scheme=scheme)
    other = next(name for name in NAMES if name != ann.instance)
    ann.press("kill", other)
    ann.press("kill", "broker")
    ann.has_state(ann.instance, "reconnecting")
    ann.has_state(other, "down")
    for selector in (
        *("#instance", ".facts", ".part-title b", ".yours-too", ".part.yours .kill"),
        *(f"#part-{other} .state", ".part.yours .state", "#restart-broker"),
    ):
        contrast = ann.page.locator(selector).first.evaluate(CONTRAST)
        assert contrast >= 4.5, f"{selector}: {contrast:.2f}"
    ann.press("restart", "broker")
    expect(ann.missed).to_be_visible(timeout=HEALED)
    assert ann.page.locator("#missed-text").evaluate(CONTRAST) >= 4.5


@pytest.fixture
def short_demo() -> Iterator[Demo]:
    """One that a test may end."""
    demo = started()
    yield demo
    if demo.process.poll() is None:
        assert end(demo) == 0


PRESSED_AND_CUT_OFF = """() => {
    const pressed = press("restart", "/fleet/three").catch(({ message }) => message);
    fleet.socket.close();
    const late = press("restart", "/fleet/three").catch(({ message }) => message);
    return Promise.all([pressed, late]);
}"""


def test_a_page_whose_demo_has_ended_says_so_also_of_buttons_that_were_pressed(
    browser: Browser, short_demo: Demo
) -> None:
    context = browser.new_context()
    tab = FleetTab(context, short_demo.url)
    tab.open("general")
    expect(tab.part("two")).to_be_attached()
    ended = "The demo has ended: start it again with make demo-cluster."
    assert tab.page.evaluate(PRESSED_AND_CUT_OFF) == [ended, ended]
    expect(tab.page.locator("#fleet-said")).to_have_text("")  # it has connected again
    assert end(short_demo) == 0
    expect(tab.page.locator("#fleet-said")).to_have_text(ended)
    for name in ("broker", *NAMES):
        tab.has_state(name, "unknown")
        expect(tab.page.locator(f'#brief [data-part="{name}"]')).to_have_attribute(
            "data-state", "unknown"
        )
    context.close()


def test_a_page_at_another_address_chats_and_says_where_the_buttons_work(
    browser: Browser, short_demo: Demo
) -> None:
    context = browser.new_context()
    tab = FleetTab(context, short_demo.url.replace("127.0.0.1", "elsewhere.localhost"))
    tab.open("general")
    tab.answer("Ann")
    tab.is_in("general", "Ann")
    told = f"This page has no buttons: they work at {short_demo.url} only."
    expect(tab.page.locator("#fleet-said")).to_have_text(told)
    assert tab.complaints == []
    context.close()
