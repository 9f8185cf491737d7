"use strict";
// The page's link: one WebSocket that comes back by itself, and calls that are
// answered. Of the page it uses me, rooms, enter, pushed, stopTyping, tick, line,
// showLink, render, wire, askName and beside.

const QUIET = 12000; // the server ticks every 3 s: silent for longer, the link is dead
const ANSWER = 10000;

const link = { socket: null, up: false, calls: new Map(), id: 0, tries: 0, timer: 0, watch: 0 };

function connect() {
  clearTimeout(link.timer);
  if (link.socket) return;
  const url = new URL(location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  const socket = (link.socket = new WebSocket(url));
  socket.onopen = greet;
  socket.onmessage = ({ data }) => {
    heard();
    wire("in", data);
    const { id, error, ...rest } = JSON.parse(data);
    if (id === undefined) return pushed(rest);
    const call = link.calls.get(id);
    link.calls.delete(id);
    if (error) call?.reject(Object.assign(new Error(error.message), { code: error.code }));
    else call?.resolve(rest.data);
  };
  socket.onclose = lost;
  heard();
}

function heard() {
  clearTimeout(link.watch);
  link.watch = setTimeout(lost, QUIET);
}

async function greet() {
  try {
    const { you, status } = await call("hello", "/chat", { name: me.name });
    me.id = you.id;
    link.up = true;
    link.tries = 0;
    tick(status);
    showLink();
    beside.greeted();
    for (const room of rooms.values()) enter(room);
  } catch (error) {
    if (error.code === 422) askName(error.message);
  }
}

/** The socket has closed or gone silent: answer all who wait, and try again soon. */
function lost() {
  const { socket } = link;
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close();
  clearTimeout(link.watch);
  Object.assign(link, { socket: null, up: false });
  const calls = [...link.calls.values()];
  link.calls.clear();
  for (const { reject } of calls) reject(new Error("the connection was lost before an answer came"));
  for (const room of rooms.values()) {
    if (room.in) line(room, "", "The connection was lost.");
    room.in = false;
    room.people.clear();
    for (const id of [...room.typing.keys()]) stopTyping(room, id);
  }
  const longest = Math.min(15000, 500 * 2 ** link.tries++);
  const wait = longest * (0.5 + Math.random() / 2);
  link.timer = setTimeout(connect, wait);
  beside.lost();
  showLink();
  render();
}

function retryNow() {
  if (me.name && !link.socket) connect();
}

function send(event, path, data, id) {
  const frame = JSON.stringify({ event, path, data, id });
  wire("out", frame);
  link.socket.send(frame);
}

function call(event, path, data) {
  if (link.socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error("not connected"));
  const id = ++link.id;
  const { socket } = link;
  send(event, path, data, id);
  return new Promise((resolve, reject) => {
    link.calls.set(id, { resolve, reject });
    setTimeout(() => link.calls.has(id) && socket === link.socket && lost(), ANSWER);
  });
}
