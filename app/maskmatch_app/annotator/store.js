// Strokes that the server has not acknowledged, kept in the browser's own database, so that a closed window or a lost
// server costs none. Each record names its scan, the revision it was painted on, and the window that painted it.
let opened = null;

function database() {
  opened ??= new Promise((good, bad) => {
    const asked = indexedDB.open("maskmatch", 1);
    asked.onupgradeneeded = () => asked.result.createObjectStore("strokes", { keyPath: "id", autoIncrement: true }).createIndex("scan", "scan");
    asked.onsuccess = () => good(asked.result);
    asked.onerror = () => bad(asked.error);
  });
  return opened;
}

async function run(mode, work) {
  const transaction = (await database()).transaction("strokes", mode, { durability: "strict" });
  const asked = work(transaction.objectStore("strokes"));
  transaction.commit?.();  // at once, also where the page is about to go away
  return new Promise((good, bad) => {
    transaction.oncomplete = () => good(asked?.result);
    transaction.onerror = transaction.onabort = () => bad(transaction.error);
  });
}

export const keep = (record) => run("readwrite", (strokes) => strokes.add(record));
export const forget = (ids) => run("readwrite", (strokes) => { for (const id of ids) strokes.delete(id); });
export const keptOf = (scan) => run("readonly", (strokes) => strokes.index("scan").getAll(scan));

// A window holds a lock of its own name while it lives; strokes of windows that are gone may be taken over. Browsers
// give locks to https and this computer alone; elsewhere windows answer one another.
const ANSWER_MS = 300;
const call = () => new BroadcastChannel("maskmatch windows");

export function live(name) {
  let release = () => {};
  if (navigator.locks) {
    navigator.locks.request(name, () => new Promise((go) => { release = go; }));
  } else {
    const channel = call();
    channel.onmessage = ({ data }) => data.asks && channel.postMessage({ name });
    release = () => channel.close();
  }
  return () => release();
}

export async function alive() {
  if (navigator.locks) return new Set((await navigator.locks.query()).held.map((lock) => lock.name));
  const [channel, names] = [call(), new Set()];
  channel.onmessage = ({ data }) => data.name && names.add(data.name);
  channel.postMessage({ asks: true });
  await new Promise((go) => setTimeout(go, ANSWER_MS));
  channel.close();
  return names;
}
