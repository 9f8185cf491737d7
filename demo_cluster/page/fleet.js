// What the page does besides for a fleet: its panel, which instance this tab is on, who is
// here by roll-call (roll.js), and a word when messages may have been missed.

const EVERY = 5000; // milliseconds between calls of the roll in a room
const PATIENCE = 2000;
const TRY_AGAIN = 1000;

// --- this tab and its instance ------------------------------------------------

const fleet = { socket: null, id: 0, calls: new Map(), parts: [], instance: null };
const rolls = new Map(); // by path: the roll-call of each room that this tab is in

$("tick").before(el("b", { id: "instance" }));
const missedNote = el("div", { className: "banner", id: "missed", hidden: true, role: "status" },
  el("span", { id: "missed-text" }),
  el("span", { className: "actions" },
    el("button", { type: "button", className: "quiet", textContent: "Reload", onclick: () => location.reload() }),
    el("button", { type: "button", className: "icon", ariaLabel: "Close", textContent: "×", onclick: () => (missedNote.hidden = true) }),
  ),
);
$("banner").after(missedNote);

const waitingNote = el("div", { className: "banner", id: "waiting", hidden: true, role: "status" },
  el("strong", { id: "waiting-text" }),
);
missedNote.after(waitingNote);

/** A join is not answered while the broker is away, or is refused and tried again. */
function showWaiting() {
  const mine = fleet.parts.find(({ name }) => name === fleet.instance);
  $("waiting-text").textContent = `You are not in this room yet: instance ${fleet.instance} waits for the broker.`;
  waitingNote.hidden = active === lobby || active.in || mine?.state !== "reconnecting";
}
addEventListener("hashchange", () => setTimeout(showWaiting)); // after route, which is told later

function missed(why) {
  missedNote.hidden = false;
  $("missed-text").replaceChildren(el("strong", { textContent: "Messages may have been missed: " }), why);
}

function showInstance(name) {
  fleet.instance = name;
  $("instance").textContent = name ? `instance ${name}` : "";
  showParts();
}

Object.assign(beside, {
  alone: false,
  greeted() {
    call("instance", "/chat").then(showInstance, () => {});
  },
  entered(room) {
    if (room.been) missed("this tab was cut off.");
    rolls.get(room.path)?.stop();
    const line = { send: (event, path) => room === rooms.get(path) && link.up && send(event, path) };
    const roll = rollCall(line, room.path, (...seen) => takeRoll(room, ...seen), { every: EVERY, patience: PATIENCE });
    rolls.set(room.path, roll);
    roll.call();
    showWaiting();
  },
  /** Whoever is heard is here, and who says goodbye is not. */
  pushed(room, event, data) {
    const who = event === "message" ? data.from : data;
    const said = { joined: "here", renamed: "here", message: "here", left: "gone", died: "gone" }[event] ?? event;
    rolls.get(room.path)?.push({ event: said, path: room.path, data: who });
  },
  lost() {
    for (const roll of rolls.values()) roll.stop();
    rolls.clear();
    showInstance(null);
  },
});

const silent = new Set(); // the ids of ghosts: one that is heard again was none

function takeRoll(room, people, ghosts) {
  for (const who of people) if (silent.delete(who.id)) line(room, "", bdi(who), " answers again.");
  for (const who of ghosts) {
    silent.add(who.id);
    const where = who.instance ? ` on instance ${who.instance}` : "";
    line(room, "died", bdi(who), `${where} does not answer any more.`);
    stopTyping(room, who.id);
  }
  room.people = new Map(people.map((who) => [who.id, who]));
  if (room === active) showPeople();
}

pushes.missed = (room, { missing }) => {
  missed(`${missing} of this room did not reach your instance.`);
  rolls.get(room.path)?.call();
};
pushes.roll = pushes.here = () => {};

toAll.missed = ({ instance }) => {
  missed(`instance ${instance} was cut off.`);
  for (const roll of rolls.values()) roll.call();
};

// --- the panel ------------------------------------------------------------------

const ENDED = "The demo has ended: start it again with make demo-cluster.";
const OURS = $("fleet").dataset.hosts.split(" ").map((host) => `http://${host}`);
const TOLD = { up: "up", starting: "starting…", reconnecting: "reconnecting…", down: "down", unknown: "not known" };

/** The buttons obey pages of the demo's own addresses only; the chat is wherever it is shown. */
function elsewhere() {
  $("fleet-said").textContent = `This page has no buttons: they work at ${OURS[0]}/ only.`;
}

function watchFleet() {
  const url = new URL("/fleet", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  const socket = (fleet.socket = new WebSocket(url));
  socket.onopen = () => press("watch", "/fleet").then(takeFleet, () => {});
  socket.onmessage = ({ data }) => {
    const { event, id, error, data: body } = JSON.parse(data);
    if (event === "fleet") return takeFleet(body);
    const waiting = fleet.calls.get(id);
    fleet.calls.delete(id);
    if (error) waiting?.reject(new Error(error.message));
    else waiting?.resolve(body);
  };
  socket.onclose = () => {
    const waiting = [...fleet.calls.values()];
    fleet.calls.clear();
    for (const { reject } of waiting) reject(new Error(ENDED));
    $("fleet-said").textContent = ENDED;
    $("fleet").classList.add("ended");
    fleet.parts = fleet.parts.map((part) => ({ ...part, state: "unknown" })); // nobody tells any more
    showParts();
    setTimeout(watchFleet, TRY_AGAIN);
  };
}

function press(event, path) {
  if (fleet.socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Error(ENDED));
  const id = ++fleet.id;
  fleet.socket.send(JSON.stringify({ event, path, id }));
  return new Promise((resolve, reject) => fleet.calls.set(id, { resolve, reject }));
}

async function pressed(event, name) {
  try {
    await press(event, `/fleet/${name}`);
    $("fleet-said").textContent = "";
  } catch (error) {
    $("fleet-said").textContent = error.message;
  }
}

function takeFleet({ parts, rooms }) {
  if ($("fleet").classList.contains("ended")) $("fleet-said").textContent = "";
  $("fleet").classList.remove("ended");
  fleet.parts = parts;
  showParts();
  takeCounts(rooms);
  render();
}

/** The cards stay and their words change, so that who has one in the keyboard keeps it. */
function showParts() {
  for (const part of fleet.parts) {
    const card = document.getElementById(`part-${part.name}`) ?? newCard(part);
    const find = (what) => card.querySelector(what);
    card.dataset.state = part.state;
    card.classList.toggle("yours", part.name === fleet.instance);
    find(".yours-too").hidden = part.name !== fleet.instance;
    find(".state").textContent = TOLD[part.state];
    find(".facts").textContent = find(".facts").title = factsOf(part);
    find(".kill").disabled = part.state === "down";
    find(".restart").textContent = part.state === "down" ? "Start" : "Restart";
    const brief = $("brief").querySelector(`[data-part="${part.name}"]`);
    brief.dataset.state = part.state;
    brief.classList.toggle("yours", part.name === fleet.instance);
    brief.title = `${part.name}: ${TOLD[part.state]}`;
  }
  showWaiting();
}

function factsOf(part) {
  if (part.state === "unknown") return "";
  if (part.state === "down") return part.why;
  if (part.name === "broker") return part.url;
  if (part.state === "reconnecting") return part.error ?? "no broker";
  const counted = [[part.connections, "tab"], [part.gaps, "gap"], [part.reconnects, "reconnect"]];
  const counts = counted.map(([count, what]) => `${count} ${what}${count === 1 ? "" : "s"}`);
  return [...counts, `pid ${part.pid}`].join(" · ");
}

function newCard(part) {
  const title = part.name === "broker" ? part.title : `instance ${part.name}`;
  const button = (what, label) => {
    const one = el("button", { type: "button", id: `${what}-${part.name}`, className: `quiet ${what}`, textContent: label });
    one.setAttribute("aria-describedby", `title-${part.name}`);
    one.onclick = () => pressed(what, part.name);
    return one;
  };
  const card = el("li", { id: `part-${part.name}`, className: "part" },
    el("p", { className: "part-title" },
      el("i", { className: "lamp", ariaHidden: "true" }),
      el("b", { id: `title-${part.name}`, textContent: title }),
      el("small", { className: "yours-too", textContent: "this tab" }),
    ),
    el("p", { className: "how" }, el("span", { className: "state" }), el("span", { className: "facts" })),
    el("p", { className: "part-buttons" }, button("kill", "Kill"), button("restart", "Restart")),
  );
  $("parts").append(card);
  const brief = el("li", {}, el("i", { className: "lamp", ariaHidden: "true" }), part.name);
  brief.dataset.part = part.name;
  $("brief").append(brief);
  return card;
}

$("open-fleet").onclick = () => {
  const open = $("fleet").classList.toggle("open");
  $("open-fleet").ariaExpanded = String(open);
  $("open-fleet").textContent = open ? "Close" : "Break it";
};
if (OURS.includes(location.origin)) watchFleet();
else elsewhere();
