/**
 * Who is in a room, by roll-call: who calls it announces himself, everybody answers, and
 * who has not answered after `patience` milliseconds is gone. However many call: between two
 * answers of one client is a quarter of that time.
 *
 * `link.send(event, path)` sends; `show(people, ghosts)` gets all who are here at each
 * change, and those who have just gone without a word.
 */
export function rollCall(link, room, show, { every = 10000, patience = 2000 } = {}) {
  const here = new Map(); // by connection: who it is, and the call after which it was heard
  let calls = 0, next, asked = false, pause = null, over = false;

  function changed(ghosts = []) {
    show([...here.values()].map(({ who }) => who), ghosts);
  }

  function heard(who) {
    const known = here.get(who.id);
    here.set(who.id, { who: { ...known?.who, ...who }, after: calls });
    if (JSON.stringify(known?.who) !== JSON.stringify(here.get(who.id).who)) changed();
  }

  /** Another's call serves us as well: whoever waits longest is the next to call. */
  function wait() {
    clearTimeout(next);
    next = setTimeout(call, every * (1 + Math.random() / 2));
  }

  function call() {
    wait();
    link.send("roll", room);
  }

  /** Not all in the same moment, and one answer serves all calls that came before it. */
  function answer() {
    asked = true;
    pause ??= setTimeout(speak, (Math.random() * patience) / 4);
  }

  function speak() {
    pause = null;
    if (!asked) return;
    asked = false;
    link.send("here", room);
    pause = setTimeout(speak, patience / 4);
  }

  function called(who) {
    const number = ++calls;
    heard(who);
    answer();
    wait();
    setTimeout(() => {
      if (over) return;
      const ghosts = [...here.values()].filter(({ after }) => after < number).map(({ who }) => who);
      for (const { id } of ghosts) here.delete(id);
      if (ghosts.length) changed(ghosts);
    }, patience);
  }

  wait();
  return {
    /** Call now: after a join, and when messages may have been missed. */
    call,
    push({ event, path, data }) {
      if (over || path !== room) return;
      if (event === "roll") called(data);
      if (event === "here") heard(data);
      if (event === "gone" && here.delete(data.id)) changed();
    },
    /** When the room is left or the link is lost: nothing is sent any more. */
    stop() {
      over = true;
      clearTimeout(next);
      clearTimeout(pause);
    },
  };
}
