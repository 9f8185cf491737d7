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

  async "a roll-call collects who is here, each once, until time is up"() {
    const roll = rollCall(1000);
    const answered = roll.who(link, "/rooms/team");
    await Promise.resolve();
    await Promise.resolve();
    assert.deepEqual(sentSince(), [["who", "/rooms/team"]]);
    for (const user of ["cy", "ann", "cy"]) roll.push(link, { event: "here", data: { room: "/rooms/team", user } });
    roll.push(link, { event: "here", data: { room: "/rooms/other", user: "eve" } });
    pass(1000);
    roll.push(link, { event: "here", data: { room: "/rooms/team", user: "late" } });
    assert.deepEqual(await answered, ["ann", "cy"]);

    roll.push(link, { event: "who?", path: "/rooms/team", data: "asker" });
    assert.deepEqual(sentSince(), [["here", "/rooms/team", "asker"]]);
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
