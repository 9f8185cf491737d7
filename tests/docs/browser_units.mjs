// The small scripts of the how-tos, each alone, on a clock that the test turns.
import assert from "node:assert/strict";

import { followPresence } from "../../examples/browser/presence.js";
import { rollCall } from "../../examples/browser/roll.js";
import { answer } from "../../examples/browser/tab.js";
import { watchUsers } from "../../examples/browser/watch.js";

let now = 0;
const timers = new Map();
globalThis.setTimeout = (run, wait) => (timers.set(run, now + wait), run);
globalThis.clearTimeout = (timer) => timers.delete(timer);

function pass(milliseconds) {
  const end = now + milliseconds;
  for (;;) {
    const [due] = [...timers].filter(([, at]) => at <= end).sort(([, one], [, other]) => one - other);
    if (!due) break;
    now = due[1];
    timers.delete(due[0]);
    due[0]();
  }
  now = end;
}

const sent = [];
const link = {
  call: async (...message) => void sent.push(message),
  send: (...message) => sent.push(message),
};
const sentSince = () => sent.splice(0);

const units = {
  async "a user is offline when nobody has said online in time"() {
    const shown = [];
    const users = watchUsers((...facts) => shown.push(facts), 2000);
    await users.watch(link, "Ann B");
    assert.deepEqual(sentSince(), [["watch", "/users/Ann%20B"]]);
    pass(2000);
    assert.deepEqual(shown.splice(0), [["Ann B", false]]);

    users.push({ event: "online", data: "Ann B" });
    users.push({ event: "online", data: "Ann B" });
    assert.deepEqual(shown.splice(0), [["Ann B", true]]);
    users.push({ event: "offline?", data: "Ann B" });
    pass(1999);
    users.push({ event: "online", data: "Ann B" }); // another tab
    pass(5000);
    assert.deepEqual(shown.splice(0), []);

    users.push({ event: "offline?", data: "Ann B" });
    pass(1000);
    users.push({ event: "offline?", data: "Ann B" }); // and the question begins anew
    pass(1999);
    assert.deepEqual(shown.splice(0), []);
    pass(1);
    assert.deepEqual(shown.splice(0), [["Ann B", false]]);
    users.push({ event: "told", data: "Ann B" });
    assert.equal(timers.size, 0);
  },

  "a tab answers when it is asked, and only then"() {
    answer(link, { event: "there?" });
    answer(link, { event: "told" });
    assert.deepEqual(sentSince(), [["here", "/me"]]);
  },

  "a roll-call lists who is heard, answers each call, and forgets who does not answer in time"() {
    const shown = [];
    const room = "/rooms/team";
    const show = (people, ghosts) => shown.push([people.map(({ user }) => user), ghosts.map(({ user }) => user)]);
    const roll = rollCall(link, room, show, { every: 10000, patience: 2000 });
    const push = (event, user, path = room) => roll.push({ event, path, data: { id: `of ${user}`, user } });
    push("roll", "ann");
    push("here", "ann");
    push("here", "bob");
    push("here", "eve", "/rooms/other");
    pass(500);
    assert.deepEqual(sentSince(), [["here", room]]);
    assert.deepEqual(shown.splice(0), [[["ann"], []], [["ann", "bob"], []]]);
    pass(1500);
    push("roll", "cy");
    push("here", "cy");
    pass(1999);
    push("here", "ann"); // in time; bob's instance was killed
    assert.deepEqual(shown.splice(0), [[["ann", "bob", "cy"], []]]);
    pass(1);
    assert.deepEqual(shown.splice(0), [[["ann", "cy"], ["bob"]]]);
    push("gone", "cy");
    push("gone", "cy");
    assert.deepEqual(shown.splice(0), [[["ann"], []]]);
    assert.deepEqual(sentSince(), [["here", room]]);
    roll.stop();
    push("roll", "dee");
    assert.deepEqual([sentSince(), shown, timers.size], [[], [], 0]);
  },

  "however many call the roll, a client answers all of them, and twice a second at most"() {
    const room = "/rooms/team";
    const roll = rollCall(link, room, () => {}, { every: 10000, patience: 2000 });
    const called = () => roll.push({ event: "roll", path: room, data: { id: "e", user: "eve" } });
    const random = Math.random;
    Math.random = () => 0.5;
    called();
    called();
    pass(249);
    assert.deepEqual(sentSince(), []); // not all in the same moment
    pass(1);
    assert.deepEqual(sentSince(), [["here", room]]);
    for (let calls = 0; calls < 500; calls++) called(), pass(20);
    assert.equal(sentSince().length, 20);
    called(); // the last one too, and in time
    pass(500);
    assert.deepEqual(sentSince(), [["here", room]]);
    pass(500);
    called();
    roll.stop();
    Math.random = random;
    pass(60000);
    assert.deepEqual([sentSince(), timers.size], [[], 0]);
  },

  "of all who wait for the next roll-call one calls, and a call makes the others wait anew"() {
    const roll = rollCall(link, "/rooms/team", () => {}, { every: 10000, patience: 2000 });
    pass(9999);
    assert.deepEqual(sentSince(), []);
    roll.push({ event: "roll", path: "/rooms/team", data: { id: "b", user: "bob" } });
    pass(9999);
    assert.deepEqual(sentSince(), [["here", "/rooms/team"]]);
    pass(5001);
    assert.deepEqual(sentSince(), [["roll", "/rooms/team"]]);
    roll.call(); // after a gap
    assert.deepEqual(sentSince(), [["roll", "/rooms/team"]]);
    roll.stop();
    pass(60000);
    assert.deepEqual([sentSince(), timers.size], [[], 0]);
  },

  "an instance that is silent for three rounds fades out"() {
    const shown = [];
    const room = followPresence((users) => shown.push(users), 30000);
    const present = (instance, ...users) => room.push({ event: "present", data: { instance, users } });
    present("one", "ann");
    present("two", "bob", "ann");
    present("two", "bob", "ann"); // nothing new
    assert.deepEqual(shown.splice(0), [["ann"], ["ann", "bob"]]);
    pass(20000);
    present("one", "ann", "cy");
    assert.deepEqual(shown.splice(0), [["ann", "bob", "cy"]]);
    pass(10000);
    assert.deepEqual(shown.splice(0), [["ann", "cy"]]); // two is gone, one has 20 s left
    pass(20000);
    assert.deepEqual(shown.splice(0), [[]]);
    room.push({ event: "joined", data: "dee" });
    assert.equal(timers.size, 0);
  },
};

for (const [name, unit] of Object.entries(units)) {
  await unit();
  console.log(name);
}
