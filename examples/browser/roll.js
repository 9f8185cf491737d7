/** Everybody in a room, as its members say within `patience` milliseconds. */
export function rollCall(patience = 1000) {
  const asked = new Map();

  return {
    async who(link, room) {
      const here = new Set();
      asked.set(room, here);
      await link.call("who", room);
      return new Promise((resolve) => setTimeout(() => resolve([...here].sort()), patience));
    },
    /** In `push`: answer others, and collect what is answered to us. */
    push(link, { event, path, data }) {
      if (event === "who?") link.send("here", path, data);
      if (event === "here") asked.get(data.room)?.add(data.user);
    },
  };
}
