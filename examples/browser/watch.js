/** Whether users are online: `show(user, online)` is called when that changes. */
export function watchUsers(show, patience = 2000) {
  const online = new Map();
  const doubts = new Map();

  function set(user, is) {
    clearTimeout(doubts.get(user));
    if (online.get(user) === is) return;
    online.set(user, is);
    show(user, is);
  }
  const doubt = (user) => {
    clearTimeout(doubts.get(user));
    doubts.set(user, setTimeout(() => set(user, false), patience));
  };

  return {
    /** In `up`: who does not say "online" soon is not. */
    async watch(link, user) {
      doubt(user);
      await link.call("watch", `/users/${encodeURIComponent(user)}`);
    },
    push({ event, data }) {
      if (event === "online") set(data, true);
      if (event === "offline?") doubt(data);
    },
  };
}
