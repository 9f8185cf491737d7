// What a page does with the link of examples/browser, told to the test line by line.
import { followBoard } from "../../examples/browser/board.js";
import { openLink } from "../../examples/browser/link.js";

const tell = (...facts) => console.log(JSON.stringify(facts));
const [what, url] = process.argv.slice(2);
const times = { first: 20, longest: 40 };

const scenes = {
  /** A dashboard: join at every connection, show what is pushed. */
  dashboard() {
    const link = openLink(url, {
      ...times,
      async up(link) {
        const figures = await link.call("join", "/dashboard");
        tell("up", Object.keys(figures).sort());
        await link.call("nothing", "/nowhere").catch(({ code, message }) => tell("error", code, message));
        tell("sent", link.send("nothing", "/nowhere"));
      },
      push: ({ event, path }) => tell("push", event, path),
      down: ({ refused, reason }) => tell("down", refused, reason ?? null, link.send("nothing", "/nowhere")),
    });
  },

  /** A server that never answers: the call fails, and the link is tried again. */
  silent() {
    openLink(url, {
      ...times,
      patience: 300,
      up: (link) => link.call("join", "/dashboard").catch((error) => (tell("gave up", error.message), Promise.reject(error))),
      push() {},
      down: () => tell("down"),
    });
  },

  /** Two people on one board. */
  board() {
    const board = followBoard("/boards/plan", ({ version, items }) => tell("board", version, items));
    const link = openLink(url, {
      ...times,
      up: (link) => board.open(link),
      push: ({ event, data }) => event === "changed" && board.take(link, data),
    });
  },
};
scenes[what]();
