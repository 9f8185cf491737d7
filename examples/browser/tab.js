/** In `push`: every tab says that its user is here, when somebody asks. */
export function answer(link, { event }) {
  if (event === "there?") link.send("here", "/me");
}
