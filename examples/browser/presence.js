/** Who is in a room, by what its instances tell: `show(users)` is called when it changes. */
export function followPresence(show, rounds = 30000) {
  const instances = new Map();
  let shown = "";

  function update() {
    const users = [...new Set([...instances.values()].flatMap(({ users }) => users))].sort();
    if (String(users) === shown) return;
    shown = String(users);
    show(users);
  }

  return {
    push({ event, data }) {
      if (event !== "present") return;
      clearTimeout(instances.get(data.instance)?.fading);
      const fading = setTimeout(() => (instances.delete(data.instance), update()), rounds);
      instances.set(data.instance, { users: data.users, fading });
      update();
    },
  };
}
