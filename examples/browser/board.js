/**
 * A board that follows its server: snapshot and updates, in whatever order they come.
 *
 * Updates that arrive before the snapshot wait. Those that the snapshot has are dropped
 * by their number, and a missing number asks for a new snapshot.
 */
export function followBoard(path, show) {
  let board, early = [], asked = 0;

  async function open(link) {
    const mine = ++asked;
    board = undefined;
    early = [];
    const snapshot = await link.call("open", path);
    if (mine !== asked) return; // asked again meanwhile
    board = snapshot;
    const waiting = early.sort((one, other) => one.version - other.version);
    early = [];
    show(board);
    for (const update of waiting) take(link, update);
  }

  function take(link, update) {
    if (!board) return void early.push(update);
    if (update.version <= board.version) return; // the snapshot has it
    if (update.version > board.version + 1) return void open(link).catch(() => {}); // one is missing
    board.version = update.version;
    board.items[update.key] = update.value;
    show(board);
  }

  return { open, take };
}
