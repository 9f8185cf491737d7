// What a person does, and how the page begins.

function ask({ title, hint, value = "", max, ok, problem = "", submit, cancel = true }) {
  const dialog = $("ask");
  $("ask-title").textContent = $("ask-label").textContent = title;
  $("ask-hint").textContent = hint;
  $("ask-error").textContent = problem;
  $("ask-ok").textContent = ok;
  $("ask-cancel").hidden = !cancel;
  Object.assign($("ask-value"), { value, maxLength: max });
  dialog.oncancel = (event) => void (cancel || event.preventDefault());
  $("ask-form").onsubmit = async (event) => {
    event.preventDefault();
    const given = $("ask-value").value.replace(/\s+/g, " ").trim();
    if (!given) return void ($("ask-error").textContent = "Write something first.");
    try {
      await submit(given);
      dialog.close();
    } catch (error) {
      $("ask-error").textContent = error.message;
    }
  };
  dialog.onclose = () => me.name ?? askName(); // a second Escape closes it all the same
  if (!dialog.open) dialog.showModal();
  $("ask-value").select();
}

async function takeName(name) {
  if (link.up) await call("hello", "/chat", { name });
  me.name = name;
  store("sessionStorage", "name", name);
  store("localStorage", "name", name);
  for (const room of rooms.values()) if (room.in) room.people.set(me.id, { ...me });
  showMe();
  render();
  if (link.socket && !link.up) greet();
  else retryNow();
}

function askName(problem) {
  ask({
    title: me.name ? "Your new name" : "What is your name?", ok: me.name ? "Rename" : "Start chatting",
    hint: "Others see it. Open a second tab to be two people.",
    value: me.name ?? stored("localStorage", "name", ""), max: 24, problem, cancel: Boolean(me.name), submit: takeName,
  });
}

function grow() {
  const box = $("text");
  box.style.height = "auto";
  box.style.height = box.scrollHeight + 2 + "px";
}

function openSide(id) {
  closeSides();
  $(id).classList.add("open");
  $("open-" + id).ariaExpanded = "true";
  $("scrim").hidden = false;
  document.querySelector("main").inert = true;
  $(id).querySelector("[data-close]").focus();
}

function closeSides() {
  for (const id of ["rooms", "people"]) {
    if (!$(id).classList.contains("open")) continue;
    $(id).classList.remove("open");
    $("open-" + id).ariaExpanded = "false";
    document.querySelector("main").inert = false;
    $("open-" + id).focus();
  }
  $("scrim").hidden = true;
}

let lastTyping = 0;
$("text").oninput = () => {
  const text = $("text").value;
  active.draft = text;
  store("sessionStorage", "draft " + active.path, text);
  grow();
  $("send").disabled = !active.in || !text.trim();
  if (!active.in || !text.trim() || Date.now() - lastTyping < 2000) return;
  lastTyping = Date.now();
  send("typing", active.path);
};
$("text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
};
$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text || !active.in) return; // without a link the text stays where it is
  $("text").value = "";
  $("text").oninput();
  lastTyping = 0;
  say(active, text);
  $("text").focus();
};
$("new-room").onsubmit = (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim().replace(/\s+/g, "-");
  if (!name) return;
  $("room-name").value = "";
  location.hash = "#" + pathOf(name);
};
$("announce").onclick = () =>
  ask({
    title: "Announce to everybody", hint: "Everyone on this server sees it, in every room.", max: 500, ok: "Announce",
    submit: (text) => call("announce", "/chat", { text }),
  });
$("leave").onclick = $("leave-too").onclick = () => leave(active);
$("rename").onclick = () => askName();
$("retry").onclick = retryNow;
$("ask-cancel").onclick = () => $("ask").close();
$("newer").onclick = toBottom;
$("log").onscroll = () => {
  const { scrollHeight, scrollTop, clientHeight } = $("log");
  following = scrollHeight - scrollTop - clientHeight < 80;
  if (following) $("newer").hidden = true;
};
new ResizeObserver(() => following && toBottom()).observe($("log"));
$("wire").ontoggle = () => $("frames").replaceChildren(...frames);
$("scrim").onclick = closeSides;
$("open-rooms").onclick = () => openSide("rooms");
$("open-people").onclick = () => openSide("people");
for (const button of document.querySelectorAll("[data-close]")) button.onclick = closeSides;
$("skip").onclick = (event) => (event.preventDefault(), $("text").focus());
onkeydown = ({ key }) => void (key === "Escape" && closeSides()); // false would swallow the key
onhashchange = route;
ononline = retryNow;
document.onvisibilitychange = () => {
  if (document.hidden) return;
  retryNow();
  active.unread = 0;
  if (active.in) call("who", active.path).then((people) => takePeople(active, people), () => {});
  render();
};

for (const path of stored("sessionStorage", "rooms", [])) rooms.set(path, newRoom(path));
lobby.list.append(el("li", { className: "line", textContent: "You are in no room. Pick one from the list, or name a new one." }));
if (!location.hash) history.replaceState(null, "", "#" + ([...rooms.keys()].at(-1) ?? "/chat/general"));
me.name = stored("sessionStorage", "name", null);
route();
if (me.name) {
  showMe();
  connect();
} else askName();
