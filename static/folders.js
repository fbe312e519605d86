// Lists all files in dropped folders with their directories.

export async function listFiles(entries, directory = "") {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
      if (file) found.push({ file, directory });
    } else if (entry.isDirectory) {
      const reader = entry.createReader();
      for (;;) {
        const batch = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
        if (batch.length === 0) break;
        found.push(...(await listFiles(batch, `${directory}${entry.name}/`)));
      }
    }
  }
  return found;
}
