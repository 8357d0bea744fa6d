// Drag and drop with uploads in chunks. A chunk that fails is tried again from where the server's file ends, so a
// lost connection, a reloaded page or a restarted server costs at most one chunk.
const CHUNK = 8 * 1024 * 1024;
const TRIES = 8;
const desks = new WeakMap();

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let desk = desks.get(parentElement);
  if (!desk) {
    desk = new Desk(parentElement);
    desks.set(parentElement, desk);
  }
  desk.data = data;
  desk.arrived = (count) => setTriggerValue("arrived", count);
}

class Desk {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.busy = false;
    const zone = this.find(".zone");
    for (const kind of ["files", "folder"]) {
      const input = this.find(`.pick-${kind}`);
      this.find(`button.${kind}`).onclick = (event) => { event.stopPropagation(); input.click(); };
      input.onchange = () => { this.send([...input.files].map((f) => [f.webkitRelativePath || f.name, f])); input.value = ""; };
    }
    zone.onkeydown = (event) => { if (event.target === zone && (event.key === "Enter" || event.key === " ")) this.find(".pick-files").click(); };
    zone.ondragover = (event) => { event.preventDefault(); zone.classList.add("over"); };
    zone.ondragleave = () => zone.classList.remove("over");
    zone.ondrop = async (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
      this.send((await Promise.all(entries.map((entry) => walk(entry, "")))).flat());
    };
  }

  async send(files) {
    files = files.filter(([path]) => !path.split("/").some((part) => part.startsWith(".")));
    if (!files.length || this.busy) return;
    this.busy = true;
    this.find(".failed").replaceChildren();
    this.done = new Map();
    this.size = files.reduce((sum, [, file]) => sum + file.size, 0);
    this.find(".total").hidden = false;
    let whole = 0;
    for (const [path, file] of files) {
      this.show(`${path} (${whole + 1} of ${files.length})`);
      try {
        await this.one(path, file);
        whole += 1;
      } catch (error) {
        this.fail(path, error.message);
      }
    }
    this.show(whole ? `${whole} of ${files.length} files have arrived` : "No file has arrived");
    this.busy = false;
    if (whole) this.arrived(whole);
  }

  async one(path, file) {
    if (!file.size) throw new Error("the file is empty");
    const key = fingerprint(`${path}\n${file.size}\n${file.lastModified}`);
    let offset = await this.ask("HEAD", key, path, file, 0);
    while (offset < file.size) {
      offset = await this.ask("PUT", key, path, file, offset);
      this.done.set(path, offset);
      this.show();
    }
    this.done.set(path, file.size);
    this.show();
  }

  async ask(method, key, path, file, offset) {
    for (let attempt = 1; ; attempt += 1) {
      let said = "the connection was lost";
      try {
        const answer = await fetch(`/api/${encodeURIComponent(this.data.study)}/uploads/${key}`, {
          method,
          headers: {
            Authorization: `Bearer ${this.data.token}`,
            "Upload-Name": encodeURIComponent(path),
            "Upload-Length": String(file.size),
            "Upload-Offset": String(offset),
          },
          body: method === "PUT" ? file.slice(offset, offset + CHUNK) : undefined,
        });
        if (answer.ok || answer.status === 409) return Number(answer.headers.get("Upload-Offset"));
        said = (await answer.json().catch(() => ({}))).error || `the server answered ${answer.status}`;
        if (answer.status === 400 || answer.status === 507) attempt = TRIES;
      } catch (error) {
        if (error.name === "NotReadableError") attempt = TRIES;
      }
      if (attempt >= TRIES) throw new Error(said);
      await new Promise((go) => setTimeout(go, Math.min(500 * 2 ** attempt, 15000)));
      if (method === "PUT") offset = await this.ask("HEAD", key, path, file, offset);
    }
  }

  show(what) {
    if (what !== undefined) this.find(".what").textContent = what;
    const sum = [...this.done.values()].reduce((a, b) => a + b, 0);
    this.find(".share").textContent = `${(sum / 1e6).toFixed(1)} of ${(this.size / 1e6).toFixed(1)} MB`;
    this.find(".rail i").style.width = `${(100 * sum) / Math.max(this.size, 1)}%`;
  }

  fail(path, reason) {
    const item = document.createElement("li");
    item.textContent = `${path} was not uploaded: ${reason}`;
    this.find(".failed").append(item);
  }
}

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

// A name for the upload that is the same when the same file is dropped again.
function fingerprint(text) {
  let a = 0x811c9dc5, b = 0x01000193;
  for (const byte of new TextEncoder().encode(text)) {
    a = Math.imul(a ^ byte, 0x01000193) >>> 0;
    b = Math.imul(b + byte, 0x85ebca6b) >>> 0;
    b = (b ^ (b >>> 13)) >>> 0;
  }
  return [a, b, text.length >>> 0].map((n) => n.toString(16).padStart(8, "0")).join("");
}
