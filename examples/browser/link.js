/**
 * One WebSocket that comes back by itself, and calls that are answered.
 *
 * `up(link)` runs on every connection, the first one too: join and load there.
 * `push(message)` takes what the server sends unasked. `down({ refused, reason })` tells
 * that the link is lost; with `refused` set it was refused, and is not tried again.
 */
export function openLink(url, { up, push, down = () => {}, first = 500, longest = 15000, patience = 10000 }) {
  const calls = new Map();
  let socket, timer, lastId = 0, tries = 0, over = false;

  function dial() {
    if (over || socket) return;
    clearTimeout(timer);
    const mine = (socket = new WebSocket(url));
    timer = setTimeout(() => socket === mine && lost({}), patience);
    mine.onopen = async () => {
      clearTimeout(timer);
      try {
        await up(link);
        if (socket === mine) tries = 0; // not before: a server that fails now is not stormed
      } catch (error) {
        if (socket === mine) lost({ reason: error.message });
      }
    };
    mine.onmessage = ({ data }) => {
      const { id, error, ...message } = JSON.parse(data);
      if (id === undefined) return push(message);
      const call = calls.get(id);
      calls.delete(id);
      if (error) call?.reject(Object.assign(new Error(error.message), { code: error.code }));
      else call?.resolve(message.data);
    };
    mine.onclose = lost;
  }

  function lost({ code, reason }) {
    const old = socket;
    socket = undefined;
    clearTimeout(timer);
    old.onopen = old.onmessage = old.onclose = null;
    old.close();
    const refused = code === 1008;
    over ||= refused;
    const waiting = [...calls.values()];
    calls.clear();
    for (const { reject } of waiting) reject(new Error("the connection was lost before an answer came"));
    if (!over) {
      const wait = Math.min(longest, first * 2 ** tries++);
      timer = setTimeout(dial, wait * (0.5 + Math.random() / 2)); // jitter: not all at once
    }
    down({ refused, reason });
  }

  const link = {
    /** The answer of the server; an Error with its code, or without one where the link was lost. */
    call(event, path, data) {
      if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error("not connected"));
      const mine = socket;
      const id = ++lastId;
      mine.send(JSON.stringify({ event, path, data, id }));
      return new Promise((resolve, reject) => {
        const silent = setTimeout(() => socket === mine && lost({}), patience); // a link may die unseen
        const done = (settle) => (value) => (clearTimeout(silent), settle(value));
        calls.set(id, { resolve: done(resolve), reject: done(reject) });
      });
    },
    /** A message that asks for no answer; false where there is no connection. */
    send(event, path, data) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify({ event, path, data }));
      return true;
    },
    /** Try now, not after the wait: on "online", or when the page is seen again. */
    retry: dial,
    close() {
      over = true;
      clearTimeout(timer);
      if (socket) lost({});
    },
  };
  dial();
  return link;
}
