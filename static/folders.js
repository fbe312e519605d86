// Lists all files in dropped folders with their directories. What cannot be uploaded is listed with the reason (`why`).

const UNREADABLE = "The browser cannot read this file. Check its permissions, or choose it again.";
const UNREADABLE_FOLDER = "The browser cannot read this folder. Check its permissions, or choose it again.";
const EMPTY = "This folder is empty, so nothing was uploaded.";

export async function listFiles(entries, directory = "") {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
      found.push(file ? { file, directory } : { file: { name: entry.name, size: 0 }, directory, why: UNREADABLE });
    } else if (entry.isDirectory) {
      const path = `${directory}${entry.name}/`;
      const inside = await readFolder(entry);
      if (inside?.length > 0) found.push(...(await listFiles(inside, path)));
      else found.push({ file: { name: "", size: 0 }, directory: path, why: inside ? EMPTY : UNREADABLE_FOLDER });
    }
  }
  return found;
}

/** All entries of a folder; `null` if it cannot be read. */
async function readFolder(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const batch = await new Promise((resolve) => reader.readEntries(resolve, () => resolve(null)));
    if (!batch) return null;
    if (batch.length === 0) return all;
    all.push(...batch);
  }
}
