// The server's side of painting, by HTTP. Boxes of voxels travel as a small JSON head, labels and judged bits, gzipped.
import { unpacked } from "./mask.js";

export class Refusal extends Error {
  constructor(status, told) {
    super(told.error || `the server answered ${status}`);
    Object.assign(this, { status, told });
  }
}

export class Client {
  constructor(study, scan, token) {
    Object.assign(this, { study, scan, token, author: "", window: "", classes: null });
  }

  address(...parts) {
    return `/api/${[this.study, ...parts].map(encodeURIComponent).join("/")}`;
  }

  // With the token in it, for what the viewer loads by itself.
  signed(...parts) {
    return `${this.address(...parts)}?token=${encodeURIComponent(this.token)}`;
  }

  async ask(path, { headers = {}, ...rest } = {}) {
    const answer = await fetch(path, { ...rest, headers: { Authorization: `Bearer ${this.token}`, "Draft-Author": encodeURIComponent(this.author), "Draft-Window": this.window, ...(this.classes ? { "Draft-Classes": asciiOf(this.classes) } : {}), ...headers } });
    if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => ({})));
    return answer;
  }

  async about() {
    return (await this.ask(this.address("scans", `${this.scan}.json`), { cache: "no-store" })).json();
  }

  async draft() {
    return draftOf(await this.ask(this.address("drafts", this.scan), { cache: "no-store" }));
  }

  // What became of classes: {classes, values}, of each its value now, or null where it is gone.
  async classesNow(classes) {
    return (await this.post("classes", { classes })).json();
  }

  // Give a box to the draft. Returns {revision, saved}.
  async put(revision, box, { over = false, keepalive = false } = {}) {
    const body = await gzipped(bodyOf(box));
    const headers = { "If-Match": `"${revision}"`, "Content-Encoding": "gzip", "Content-Type": "application/octet-stream" };
    const options = { method: "PUT", headers, body, keepalive: keepalive && body.byteLength < 50_000 };
    return (await this.ask(this.address("drafts", this.scan) + (over ? "?over=1" : ""), options)).json();
  }

  post(what, json, { revision, keepalive = false } = {}) {
    const headers = { "Content-Type": "application/json", ...(revision === undefined ? {} : { "If-Match": `"${revision}"` }) };
    return this.ask(this.address("drafts", this.scan, what), { method: "POST", headers, body: JSON.stringify(json), keepalive });
  }

  async complete(revision, axis, index) {
    return (await this.post("complete", { axis, index }, { revision })).json();
  }

  async save(keepalive = false) {
    return (await this.post("save", {}, { keepalive })).json();
  }

  async start(revision, model) {
    return draftOf(await this.post("start", { model }, { revision }));
  }

  // What the server proposes: a box, or null where nothing would change.
  async propose(what, json) {
    const answer = await this.post(what, json);
    return answer.status === 204 ? null : boxOf(await answer.arrayBuffer());
  }
}

// JSON as a header can carry it.
const asciiOf = (value) => JSON.stringify(value).replace(/[^ -~]/g, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

async function draftOf(answer) {
  const state = JSON.parse(answer.headers.get("Draft-State"));
  const [x, y, z] = state.shape;
  const body = new Uint8Array(await answer.arrayBuffer());
  return { ...state, labels: body.slice(0, x * y * z), judged: unpacked(body.subarray(x * y * z), x * y * z) };
}

function bodyOf({ corner, shape, labels, bits }) {
  const head = new TextEncoder().encode(JSON.stringify({ corner, shape }));
  const body = new Uint8Array(4 + head.length + labels.length + bits.length);
  new DataView(body.buffer).setUint32(0, head.length, true);
  body.set(head, 4);
  body.set(labels, 4 + head.length);
  body.set(bits, 4 + head.length + labels.length);
  return body;
}

function boxOf(buffer) {
  const size = new DataView(buffer).getUint32(0, true);
  const { corner, shape } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size)));
  const count = shape[0] * shape[1] * shape[2];
  return { corner, shape, labels: new Uint8Array(buffer, 4 + size, count), judged: unpacked(new Uint8Array(buffer, 4 + size + count), count) };
}

async function gzipped(bytes) {
  return new Response(new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
}
