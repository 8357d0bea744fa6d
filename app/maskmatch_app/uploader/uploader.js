// Drag and drop with uploads in chunks. A chunk that fails is tried again from where the server's file ends, so a
// lost connection or a restarted server costs at most one chunk; after a reload the same files, dropped again, go on.
const CHUNK = 8 * 1024 * 1024;
const TRIES = 8;
const FINAL = new Set([400, 403, 404, 413, 507]); // answers that another try does not change
const ROWS = 200; // files that get a line of their own
const desks = new WeakMap();

export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let desk = desks.get(parentElement);
  if (!desk) {
    desk = new Desk(parentElement);
    desks.set(parentElement, desk);
  }
  desk.data = data;
  desk.find(".big").textContent = data.title;
  desk.find(".soft").textContent = data.accepts;
  desk.find(".zone").setAttribute("aria-label", `${data.title}, or choose files`);
  desk.arrived = (drop, refused) => setTriggerValue("arrived", { drop, refused });
  desk.remind();
}

class Desk {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.stop = null;
    const zone = this.find(".zone");
    for (const kind of ["files", "folder"]) {
      const input = this.find(`.pick-${kind}`);
      this.find(`button.${kind}`).onclick = (event) => { event.stopPropagation(); input.click(); };
      input.onchange = () => { this.send([...input.files].map((f) => [f.webkitRelativePath || f.name, f])); input.value = ""; };
    }
    zone.onkeydown = (event) => { if (event.target === zone && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); this.find(".pick-files").click(); } };
    zone.ondragover = (event) => { event.preventDefault(); zone.classList.add("over"); };
    zone.ondragleave = () => zone.classList.remove("over");
    zone.ondrop = async (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
      this.send((await Promise.all(entries.map((entry) => walk(entry, "")))).flat());
    };
    this.find(".cancel").onclick = () => this.stop?.abort();
    this.find(".forget").onclick = () => this.forget();
    this.leaving = (event) => event.preventDefault();
  }

  async send(files) {
    files = files.filter(([path]) => !isHidden(path));
    if (!files.length || this.stop) return;
    this.stop = new AbortController();
    window.addEventListener("beforeunload", this.leaving);
    this.drop = fingerprint(files.map(([path, file]) => describe(path, file)).sort().join("\n"));
    this.begin(files);
    let whole = 0;
    const refused = [];
    for (const [rank, [path, file]] of files.entries()) {
      this.now = rank;
      this.show(`${path} (${rank + 1} of ${files.length})`);
      try {
        await this.one(path, file);
        whole += 1;
        this.mark(rank, "done", "has arrived");
      } catch (error) {
        if (this.stop.signal.aborted) break;
        refused.push({ name: path, reason: `it was not uploaded, ${error.message}` });
        this.mark(rank, "bad", `was not uploaded: ${error.message}`);
      }
    }
    this.end(whole, files.length, refused);
  }

  begin(files) {
    this.done = files.map(() => 0);
    this.size = files.reduce((sum, [, file]) => sum + file.size, 0);
    this.find(".note").hidden = true;
    this.find(".total").hidden = false;
    this.find(".cancel").hidden = false;
    this.rows = files.slice(0, ROWS).map(([path, file]) => row(path, file.size));
    this.find(".list").replaceChildren(...this.rows);
    this.find(".list").hidden = false;
  }

  end(whole, count, refused) {
    const stopped = this.stop.signal.aborted;
    this.stop = null;
    window.removeEventListener("beforeunload", this.leaving);
    this.find(".cancel").hidden = true;
    if (stopped) {
      this.show(`Stopped; ${whole} of ${count} ${count === 1 ? "file" : "files"} had arrived`);
      this.remind();
      return;
    }
    this.keep(null);
    this.show(whole ? `${whole} of ${count} ${count === 1 ? "file has" : "files have"} arrived` : "No file has arrived");
    if (whole) this.arrived(this.drop, refused);
  }

  async one(path, file) {
    if (!file.size) throw new Error("the file is empty");
    const upload = { path, size: file.size, drop: this.drop, key: fingerprint(describe(path, file)) };
    let offset = await this.ask("HEAD", upload, 0);
    while (offset < file.size) {
      this.progress(offset);
      this.keep({ ...upload, offset });
      offset = await this.ask("PUT", upload, offset, file);
    }
    this.progress(file.size);
  }

  async ask(method, upload, offset, file) {
    for (let attempt = 1; ; attempt += 1) {
      let said = "the connection was lost";
      try {
        const answer = await fetch(`/api/${encodeURIComponent(this.data.study)}/uploads/${upload.key}`, {
          method,
          signal: this.stop?.signal,
          headers: {
            Authorization: `Bearer ${this.data.token}`,
            "Upload-Name": encodeURIComponent(upload.path),
            "Upload-Length": String(upload.size),
            "Upload-Offset": String(offset),
            "Upload-Drop": upload.drop,
          },
          body: file?.slice(offset, offset + CHUNK),
        });
        if (answer.ok || answer.status === 409) return Number(answer.headers.get("Upload-Offset"));
        said = (await answer.json().catch(() => ({}))).error || `the server answered ${answer.status}`;
        if (FINAL.has(answer.status)) attempt = TRIES;
      } catch (error) {
        if (error.name === "AbortError") throw error;
        if (error.name === "NotReadableError") { attempt = TRIES; said = "it can no longer be read; was it moved or changed?"; }
      }
      if (attempt >= TRIES) throw new Error(said);
      this.show(`${upload.path}: ${said}; trying again`);
      await new Promise((go) => setTimeout(go, Math.min(500 * 2 ** attempt, 15000)));
      if (this.stop?.signal.aborted) throw new Error("stopped");
      if (method === "PUT") offset = await this.ask("HEAD", upload, offset);
    }
  }

  progress(offset) {
    this.done[this.now] = offset;
    const line = this.rows[this.now];
    if (line) {
      const size = Number(line.dataset.size);
      line.querySelector(".said").textContent = `${Math.floor((100 * offset) / Math.max(size, 1))} %`;
      line.querySelector(".rail i").style.width = `${(100 * offset) / Math.max(size, 1)}%`;
      line.scrollIntoView({ block: "nearest" });
    }
    this.show();
  }

  mark(rank, state, words) {
    let line = this.rows[rank];
    if (!line && state === "bad") {
      line = row(this.find(".what").textContent, 0);
      this.find(".list").append(line);
    }
    if (!line) return;
    line.dataset.state = state;
    line.querySelector(".said").textContent = words;
  }

  show(what) {
    if (what !== undefined) this.find(".what").textContent = what;
    const sum = this.done.reduce((a, b) => a + b, 0);
    this.find(".share").textContent = `${megabytes(sum)} of ${megabytes(this.size)}`;
    this.find(".all i").style.width = `${(100 * sum) / Math.max(this.size, 1)}%`;
    this.find(".all").setAttribute("aria-valuenow", String(Math.round((100 * sum) / Math.max(this.size, 1))));
  }

  // What was on its way when the page was closed or the upload stopped; the browser remembers its name, not its bytes.
  keep(upload) {
    const place = `maskmatch.upload.${this.data.study}`;
    try {
      if (upload) localStorage.setItem(place, JSON.stringify(upload));
      else localStorage.removeItem(place);
    } catch { /* a browser that keeps nothing still uploads */ }
  }

  kept() {
    try { return JSON.parse(localStorage.getItem(`maskmatch.upload.${this.data.study}`)); } catch { return null; }
  }

  async remind() {
    if (this.stop) return;
    const upload = this.kept();
    this.find(".note").hidden = !upload;
    if (!upload) return;
    const offset = await this.ask("HEAD", upload, 0).catch(() => 0);
    this.find(".note .told").textContent = `${upload.path} stopped at ${megabytes(offset)} of ${megabytes(upload.size)}. Drop the same files again: they go on from there.`;
  }

  async forget() {
    const upload = this.kept();
    if (upload) await this.ask("DELETE", upload, 0).catch(() => 0);
    this.keep(null);
    this.find(".note").hidden = true;
  }
}

function row(path, size) {
  const line = document.createElement("li");
  line.dataset.size = String(size);
  line.innerHTML = '<span class="name"></span><span class="rail"><i></i></span><span class="said">waits</span>';
  line.querySelector(".name").textContent = path;
  line.querySelector(".name").title = path;
  return line;
}
