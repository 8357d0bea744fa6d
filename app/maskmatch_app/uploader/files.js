// Which files were dropped, and names for them that are the same when they are dropped again.

// All files below what was dropped, as [path, File].
async function walk(entry, parent) {
  const path = parent + entry.name;
  if (entry.isFile) return [[path, await new Promise((good, bad) => entry.file(good, bad))]];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map((one) => walk(one, `${path}/`)))).flat();
}

function isHidden(path) {
  return path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX" || part === "Thumbs.db");
}

function describe(path, file) {
  return `${path}\n${file.size}\n${file.lastModified}`;
}

// Three numbers of 32 bits in hexadecimal.
function fingerprint(text) {
  let a = 0x811c9dc5, b = 0x01000193;
  for (const byte of new TextEncoder().encode(text)) {
    a = Math.imul(a ^ byte, 0x01000193) >>> 0;
    b = Math.imul(b + byte, 0x85ebca6b) >>> 0;
    b = (b ^ (b >>> 13)) >>> 0;
  }
  return [a, b, text.length >>> 0].map((n) => n.toString(16).padStart(8, "0")).join("");
}

function megabytes(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
