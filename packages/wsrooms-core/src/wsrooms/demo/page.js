// The rooms and their view; link.js comes before it, input.js after.
// What others write only ever becomes a text node.

const $ = (id) => document.getElementById(id);
const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const digits = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const clock = new Intl.DateTimeFormat(undefined, digits);
const seconds = new Intl.DateTimeFormat(undefined, { ...digits, second: "2-digit" });

// A browser may forbid storage; then the tab forgets, and works.
function stored(kind, key, fallback) {
  try {
    return JSON.parse(window[kind].getItem("wsrooms." + key)) ?? fallback;
  } catch {
    return fallback;
  }
}

function store(kind, key, value) {
  try {
    window[kind].setItem("wsrooms." + key, JSON.stringify(value));
  } catch {}
}

// What a page does besides that speaks to one of several instances; here it is alone.
const beside = { alone: true, greeted() {}, entered(room) {}, pushed(room, event, who) {}, lost() {} };

// --- the rooms --------------------------------------------------------------

const me = { id: null, name: null };
const rooms = new Map(); // by path: the rooms this tab is in, or wants to be in
const lobby = newRoom("");
let active = lobby;
let counts = {};

function newRoom(path) {
  return {
    path, in: false, been: false, unread: 0, draft: stored("sessionStorage", "draft " + path, ""),
    people: new Map(), typing: new Map(), list: el("ol"),
  };
}

const pathOf = (name) => "/chat/" + encodeURIComponent(name.toWellFormed?.() ?? name);

/** The name of a room; null for a path that no page would use, since anybody may send any. */
function nameOf(path) {
  try {
    const name = decodeURIComponent(path.slice("/chat/".length));
    return pathOf(name) === path ? name : null;
  } catch {
    return null;
  }
}

/** Joined means joined: the answer tells who is here, and nothing after it is missed. */
async function enter(room) {
  try {
    const people = await call("join", room.path);
    const wanted = rooms.get(room.path);
    if (!wanted) call("leave", room.path).catch(() => {}); // left before the answer came
    if (wanted !== room) return;
    room.in = true;
    takePeople(room, people);
    line(room, "", room.been ? "You are back. What was said meanwhile is not kept." : "You joined.");
    if (!room.been && beside.alone && people.length === 1) line(room, "", "Nobody else is here: open this page in a second tab.");
    beside.entered(room);
    room.been = true;
  } catch (error) {
    if (!error.code) return; // the link is down; it joins again when it is back
    const why = error.code === 503 ? "the servers cannot hear each other" : error.message;
    line(room, "died", `Could not join: ${why}. Trying again.`);
    setTimeout(() => rooms.get(room.path) === room && link.up && !room.in && enter(room), 3000);
  }
  render();
}

function takePeople(room, people) {
  const elsewhere = beside.alone ? [] : room.people; // whom this instance does not know
  room.people = new Map([...elsewhere, ...people.map((one) => [one.id, { ...room.people.get(one.id), ...one }])]);
  if (room === active) showPeople();
}

function leave(room) {
  if (room.in) call("leave", room.path).catch(() => {});
  rooms.delete(room.path);
  store("sessionStorage", "draft " + room.path, "");
  saveRooms();
  location.hash = "#" + ([...rooms.keys()].at(-1) ?? "/");
}

const saveRooms = () => store("sessionStorage", "rooms", [...rooms.keys()]);

/** The address names the room: a link is an invitation. */
function route() {
  let path = "";
  try {
    const [, name] = location.hash.match(/^#\/chat\/([^/?#]{1,400})$/) ?? [];
    if (name) path = pathOf(decodeURIComponent(name));
  } catch {} // a broken escape names no room
  let room = path ? rooms.get(path) : lobby;
  if (!room) {
    rooms.set(path, (room = newRoom(path)));
    saveRooms();
    if (link.up) enter(room);
  }
  active = room;
  room.unread = 0;
  $("log").replaceChildren(room.list);
  $("text").value = room.draft;
  closeSides();
  render();
  grow();
  toBottom();
  if (matchMedia("(hover: hover)").matches && !$("ask").open) $("text").focus();
}

const pushes = {
  joined(room, who) {
    if (!room.people.has(who.id)) line(room, "", bdi(who), " joined.");
    room.people.set(who.id, who);
  },
  renamed(room, who) {
    const before = room.people.get(who.id);
    if (before) line(room, "", bdi(before), " is now ", bdi(who), ".");
    room.people.set(who.id, who);
  },
  left(room, who) {
    gone(room, who);
    line(room, "", bdi(who), " left.");
  },
  died(room, who) {
    gone(room, who);
    const closed = who.code === 1000 || who.code === 1001;
    if (closed) line(room, "", bdi(who), " closed the page.");
    else line(room, "died", bdi(who), `’s connection broke (${who.code}).`);
  },
  message(room, said) {
    stopTyping(room, said.from.id);
    message(room, said);
    if (room !== active || document.hidden) room.unread++;
  },
  typing(room, who) {
    clearTimeout(room.typing.get(who.id)?.timer);
    room.typing.set(who.id, { who, timer: setTimeout(() => stopTyping(room, who.id), 4000) });
    showTyping();
  },
};

// Pushed to everybody, with the path "/chat".
const toAll = {
  announcement: announced,
  tick: tick,
};

function pushed({ event, path, data }) {
  if (path === "/chat") return toAll[event]?.(data);
  const room = rooms.get(path);
  if (!room?.in) return;
  pushes[event]?.(room, data);
  beside.pushed(room, event, data);
  render();
}

function gone(room, who) {
  room.people.delete(who.id);
  stopTyping(room, who.id);
}

function stopTyping(room, id) {
  clearTimeout(room.typing.get(id)?.timer);
  if (room.typing.delete(id)) showTyping();
}

// --- the view: lines in a room ------------------------------------------------

const bdi = (who) => el("bdi", { textContent: who.name });
const hue = (text) => [...text].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 360, 7);
const initial = (name) => {
  const first = globalThis.Intl?.Segmenter ? [...new Intl.Segmenter().segment(name)][0]?.segment : [...name][0];
  return (first ?? "?").toUpperCase();
};

function face(who) {
  const node = el("span", { className: "face", ariaHidden: "true", textContent: initial(who.name) });
  node.style.setProperty("--hue", hue(who.name));
  return node;
}

let following = true; // whether the end of the room is in sight

function toBottom() {
  following = true;
  $("log").scrollTop = $("log").scrollHeight;
  $("newer").hidden = true;
}

/** Put a line last in its room, and keep the end in sight if it was. */
function put(room, item, spoken) {
  room.list.append(item);
  while (room.list.children.length > 400) room.list.firstChild.remove();
  if (room !== active) return;
  if (following) toBottom();
  else $("newer").hidden = false;
  if (spoken) $("say").textContent = spoken;
}

function line(room, kind, ...parts) {
  const item = el("li", { className: `line ${kind}` }, ...parts);
  put(room, item, item.textContent);
}

function message(room, said, waiting = false) {
  const { from, text } = said;
  const mine = from.id === me.id;
  const item = el("li", { className: room === active && !document.hidden ? "msg new" : "msg" });
  item.onanimationend = () => item.classList.remove("new"); // or it would move at each visit
  const who = el("span", { className: "who", dir: "auto", textContent: mine ? "You" : from.name });
  if (mine) who.className = "hidden";
  const bubble = el("div", { className: "bubble", dir: "auto", textContent: text });
  item.append(...(mine ? [] : [face(from)]), who, bubble);
  item.classList.toggle("mine", mine);
  item.classList.toggle("waiting", waiting);
  item.classList.toggle("big", text.length < 24 && EMOJI.test(text));
  item.style.setProperty("--hue", hue(from.name));
  item.said = said;
  put(room, item, mine ? "" : `${from.name}: ${text}`);
  stamp(item);
  return item;
}

const EMOJI = /^(?:\p{Extended_Pictographic}[\uFE0F\u200D\p{Emoji_Modifier}\p{Extended_Pictographic}]*\s?){1,3}$/u;

/** Give it its time, and its name only where somebody begins to speak. */
function stamp(item) {
  const { from, time } = item.said;
  const at = new Date(time * 1000);
  item.querySelector("time")?.remove();
  item.querySelector(".bubble").append(
    el("time", { dateTime: at.toISOString(), title: at.toLocaleString(), textContent: clock.format(at) }),
  );
  const before = item.previousElementSibling?.said;
  item.classList.toggle("more", before?.from.id === from.id && time - before.time < 300);
}

/** Shown at once; its place is where the server put it among what others said. */
async function say(room, text) {
  const item = message(room, { from: { ...me }, text, time: Date.now() / 1000 }, true);
  toBottom();
  try {
    item.said = await call("message", room.path, { text });
    item.classList.remove("waiting");
    if (item !== room.list.lastChild) room.list.append(item);
    stamp(item);
  } catch (error) {
    item.classList.remove("waiting");
    const again = el("button", { type: "button", textContent: "Send again" });
    again.onclick = () => {
      if (!room.in) return;
      item.remove();
      say(room, text);
    };
    const why = error.code ? error.message : "the connection was lost";
    item.append(el("span", { className: "undelivered" }, `Perhaps not delivered: ${why}. `, again));
  }
  if (room === active) toBottom();
}

function announced({ from, text, time }) {
  const at = clock.format(new Date(time * 1000));
  for (const room of [lobby, ...rooms.values()]) {
    put(room, el("li", { className: "loud" }, el("b", {}, "To everybody, from ", bdi(from), ` · ${at}`), text));
  }
  $("shout").textContent = `Announcement from ${from.name}: ${text}`;
}

// --- the view: everything around it -------------------------------------------

function render() {
  const inRoom = active !== lobby;
  const name = inRoom ? nameOf(active.path) : "";
  const unread = [...rooms.values()].reduce((sum, room) => sum + room.unread, 0);
  document.title = (unread ? `(${unread}) ` : "") + (inRoom ? `${name} · wsrooms` : "wsrooms chat");
  $("title").textContent = inRoom ? `/chat/${name}` : "Pick a room";
  for (const id of ["leave", "leave-too", "open-people", "composer"]) $(id).hidden = !inRoom;
  $("any-unread").hidden = ![...rooms.values()].some((room) => room !== active && room.unread);
  $("text-label").textContent = `Message /chat/${name}`;
  $("text").placeholder = name.length > 16 ? "Message" : `Message /chat/${name}`;
  $("send").disabled = !active.in || !$("text").value.trim();
  const paths = new Set([...rooms.keys(), ...["general", "python", "random"].map(pathOf), ...Object.keys(counts)]);
  replace($("room-list"), [...paths].map(roomItem));
  showPeople();
  showTyping();
}

/** New items, but only if they differ: whoever is in the list with the keyboard stays there. */
function replace(list, items) {
  const fresh = el(list.tagName, {}, ...items);
  if (fresh.innerHTML === list.innerHTML) return;
  const href = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
  list.replaceChildren(...fresh.children);
  if (href) list.querySelector(`[href="${CSS.escape(href)}"]`)?.focus();
}

function roomItem(path) {
  const room = rooms.get(path);
  const unread = room && room !== active ? room.unread : 0;
  const people = room?.in ? room.people.size : (counts[path] ?? 0);
  const door = el("a", { className: "room", href: "#" + path }, el("span", { textContent: "/" + nameOf(path) }));
  if (room) door.classList.add("joined");
  if (room && room === active) door.ariaCurrent = "page";
  if (unread) {
    door.classList.add("unread");
    door.append(el("i", { className: "dot" }), el("b", { className: "hidden", textContent: `${unread} unread` }));
  }
  if (people) door.append(el("em", { title: `${people} here` }, String(people), el("span", { className: "hidden", textContent: " here" })));
  return el("li", {}, door);
}

function showPeople() {
  const here = [...active.people.values()].sort((a, b) => a.name.localeCompare(b.name));
  $("here").textContent = $("count").textContent = here.length;
  $("open-people").ariaLabel = `Who is here: ${here.length}`;
  replace(
    $("people-list"),
    here.map((who) => {
      const name = el("b", { dir: "auto", textContent: who.name, title: who.name });
      const notes = [who.instance, who.id === me.id && "you"].filter(Boolean);
      return el("li", {}, face(who), name, ...notes.map((note) => el("small", { textContent: note })));
    }),
  );
}

function showTyping() {
  const names = [...active.typing.values()].map(({ who }) => who.name);
  const text = names.length > 2 ? "Several people are typing…" : names.join(" and ") + (names.length > 1 ? " are typing…" : " is typing…");
  $("typing").textContent = names.length ? text : "";
}

function showMe() {
  $("my-name").textContent = me.name;
  $("my-face").textContent = initial(me.name);
  $("my-face").style.setProperty("--hue", hue(me.name));
}

function showLink() {
  $("my-state").textContent = link.up ? "Connected" : "Not connected";
  if (link.up) return void ($("banner").hidden = true);
  counts = {};
  $("tick").textContent = "waiting for the server";
  $("pulse").className = "pulse";
  $("banner").hidden = false;
  $("banner-text").textContent = "Connection lost. Coming back by itself.";
}

function tick({ time, online, rooms }) {
  if (beside.alone) takeCounts(rooms);
  $("tick").textContent = `${seconds.format(new Date(time * 1000))}` + (beside.alone ? ` · ${online} online` : "");
  $("pulse").className = "pulse";
  requestAnimationFrame(() => $("pulse").classList.add("on"));
  render();
}

function takeCounts(rooms) {
  counts = Object.fromEntries(Object.entries(rooms).filter(([path]) => nameOf(path) !== null));
}

const frames = [];

function wire(way, text) {
  frames.unshift(el("li", { className: way, textContent: `${way === "out" ? "→" : "←"} ${text}` }));
  frames.length = Math.min(frames.length, 60);
  if ($("wire").open) $("frames").replaceChildren(...frames);
}
