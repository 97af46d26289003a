// The files of a drop, those in dropped folders under their path: { path, file }, as ChosenFiles takes them.

export async function droppedFiles(transfer) {
  // Items are readable only until the event has been handled, so all entries are taken before the first wait.
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry());
  const files = await Promise.all(entries.filter(Boolean).map(filesOf));
  return files.flat();
}

async function filesOf(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ path: entry.fullPath.replace(/^\//, ""), file }];
  }
  const inside = await Promise.all((await entriesIn(entry)).map(filesOf));
  return inside.flat();
}

// A reader gives the entries of a folder in batches, and an empty one at the end.
async function entriesIn(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {
    const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return entries;
    entries.push(...batch);
  }
}
