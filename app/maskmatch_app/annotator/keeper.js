// Autosave. A stroke goes to the browser's database first and then to the server, whose answer is the revision that the
// next one builds on. What the server has not acknowledged stays in the browser and is tried again until it has.
import { around } from "./mask.js";
import { Refusal } from "./client.js";
import { alive, forget, keep, keptOf, live } from "./store.js";

const WAIT = 350;
const LONGEST = 20_000;

export class Keeper {
  // `told(state, text)` hears of each change of state; `conflict({author, saved})` asks a person and answers "mine" or
  // "theirs"; `replaced(draft)` takes over what another window has painted; `stale()` asks for a new token; `paused()` ends the
  // stroke at hand before the labels get new values, of which `renumbered({classes, values})` hears.
  constructor(client, mask, { revision, saved, origin }, { told, conflict, replaced, stale, paused, renumbered }) {
    Object.assign(this, { client, mask, revision, saved, told, conflict, replaced, stale, paused, renumbered });
    this.scan = `${client.study}/${client.scan}/${origin}`;
    this.name(`window-${Math.random().toString(36).slice(2)}-${Date.now().toString(36)}`);
    this.waiting = [];
    this.unkept = 0;
    this.tries = 0;
    this.writing = Promise.resolve();
    this.sending = null;
    this.closed = false;
    this.guard = (event) => { if (this.unkept) event.preventDefault(); };
    this.hurry = () => { this.tries = 0; this.send(); };
    window.addEventListener("beforeunload", this.guard);
    window.addEventListener("online", this.hurry);
    this.trouble = "";
    this.tell();
  }

  // Take up the strokes that a window left behind which is gone. This one goes on under its name, so that the server knows
  // what that window had saved already; where somebody else has saved since, a person chooses.
  async takeUp() {
    const here = await alive();
    const found = (await keptOf(this.scan).catch(() => [])).filter((one) => !here.has(one.window));
    const left = await this.inClassesOfNow(found);
    if (!left.some((one) => this.differs(one))) return void (await forget(left.map((one) => one.id)).catch(() => {}));
    this.leave();
    this.name(left[left.length - 1].window);
    // Where nobody has saved since, only the classes may have changed: what was left goes on from there.
    if (left.some((one) => one.saved !== this.saved)) this.revision = Math.min(this.revision, ...left.map((one) => one.base));
    for (const one of left) this.mask.write(one);
    this.waiting.push(...left.map(({ corner, shape, id }) => ({ corner, shape, ids: [id] })));
    this.send();
  }

  // What was left, in the numbers that its classes have now. Where one of them is gone it stays as it is in the browser.
  async inClassesOfNow(left) {
    const fit = [];
    this.lost = "";
    for (const one of left) {
      const { values } = await this.client.classesNow(one.classes);
      const gone = goneFrom(one.labels, one.classes, values);
      if (gone.length) this.lost = `Strokes of an earlier window hold ${gone.join(", ")}, which this study no longer has. They stay in this browser until it is defined again.`;
      else fit.push({ ...one, labels: one.labels.map((n) => (n ? values[n - 1] : 0)) });
    }
    return fit;
  }

  // The classes of the study have changed: give the labels the numbers that their classes have now, found by name. Where
  // strokes that are not yet saved hold a class that is gone, nothing changes and they stay in the browser.
  async renumber() {
    const draft = await this.client.draft();
    const { classes, values } = await this.client.classesNow(this.client.classes);
    if (JSON.stringify(draft.classes) !== JSON.stringify(classes)) throw new Refusal(503, { error: "the structures are being changed" });
    this.paused();
    const gone = new Set(this.waiting.flatMap((item) => goneFrom(this.mask.read(item).labels, this.client.classes, values)));
    if (gone.size) throw new Refusal(412, { error: `it holds ${[...gone].join(", ")}, which this study no longer has: define it again, or undo those strokes` });
    const isOther = values.some((value, n) => value !== n + 1);
    this.mask.renumber(values);
    if (!this.waiting.length) {
      this.mask.labels.set(draft.labels);
      this.mask.judged.set(draft.judged);
    }
    // With strokes to send, and another window that has saved, the server tells of the conflict.
    if (!this.waiting.length || draft.saved === this.saved) this.keepUp(draft);
    this.client.classes = classes;
    this.renumbered({ classes, values, isOther });
  }

  // Whether a draft is in the numbers of the classes painted with.
  isOf(draft) {
    return JSON.stringify(draft.classes) === JSON.stringify(this.client.classes);
  }

  name(window) {
    this.client.window = window;
    this.leave = live(window);
  }

  differs(one) {
    const now = this.mask.read(one);
    return now.labels.some((n, k) => n !== one.labels[k]) || now.bits.some((n, k) => n !== one.bits[k]);
  }

  // Keep what a box holds now.
  add(box) {
    const item = { corner: box.corner, shape: box.shape, ids: [] };
    this.waiting.push(item);
    this.unkept += 1;
    this.tell();
    const record = { scan: this.scan, window: this.client.window, base: this.revision, saved: this.saved, classes: this.client.classes, ...this.mask.read(box) };
    this.writing = this.writing.then(() => keep(record)).then((id) => { item.ids.push(id); this.unkept -= 1; }, () => { item.isUnkept = true; });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), WAIT);
  }

  // Send all that waits. Ends when it is saved, kept for later, or in conflict.
  send() {
    clearTimeout(this.timer);
    this.sending ??= this.sendAll().finally(() => { this.sending = null; });
    return this.sending;
  }

  async sendAll() {
    while (this.waiting.length && !this.inConflict) {
      const batch = batchOf(this.waiting);
      await this.writing;
      try {
        this.keepUp(await this.client.put(this.revision, this.mask.read(batch.box), { keepalive: this.closed }));
      } catch (error) {
        return this.failed(error);
      }
      [this.tries, this.trouble] = [0, ""];
      await this.acknowledge(batch.items);
    }
    this.tell();
    return undefined;
  }

  keepUp({ revision, saved }) {
    [this.revision, this.saved] = [revision, saved];
  }

  async acknowledge(items) {
    this.waiting = this.waiting.filter((item) => !items.includes(item));
    await this.writing;
    this.unkept -= items.filter((item) => item.isUnkept).length;
    await forget(items.flatMap((item) => item.ids)).catch(() => {});
  }

  async failed(error) {
    if (error instanceof Refusal && error.status === 409) return this.settle(error.told);
    if (error instanceof Refusal && error.status === 412) {
      const trouble = await this.renumber().then(() => null, (why) => why);
      return trouble ? this.later(trouble) : this.goOn();
    }
    if (error instanceof Refusal && error.status === 403) this.stale();
    return this.later(error);
  }

  // What cannot be sent now stays in the browser and is sent again.
  later(error) {
    this.tries += 1;
    this.isAnswered = error instanceof Refusal;
    const why = error instanceof Refusal && error.status !== 403 ? ` · ${error.message}` : "";
    this.trouble = `${this.unkept ? "Not saved" : "Kept in this browser"}${why}`;
    this.tell();
    clearTimeout(this.timer);
    if (!this.closed) this.timer = setTimeout(() => this.send(), Math.min(LONGEST, 700 * 2 ** this.tries));
    return undefined;
  }

  // Another window has saved: a person chooses. What is not chosen becomes a version in the history of the scan.
  async settle(told) {
    this.inConflict = true;
    this.tell();
    const choice = await this.conflict(told);
    const items = [...this.waiting];
    try {
      const draft = choice === "theirs" ? await this.client.draft() : null;
      const whole = { corner: [0, 0, 0], shape: this.mask.shape };
      this.keepUp(await this.client.put(told.revision, this.mask.read(whole), { over: true }));
      await this.acknowledge(items);
      if (draft) await this.client.save();
      if (draft) this.replaced(draft);
    } catch (error) {
      this.inConflict = false;
      return this.failed(error);
    }
    return this.goOn();
  }

  goOn() {
    this.inConflict = false;
    this.tell();
    if (this.waiting.length) this.timer = setTimeout(() => this.send(), 0);
  }

  // All sent and acknowledged? False where something waits in the browser.
  async flush() {
    while (this.waiting.length && !this.inConflict) {
      await this.send();
      if (this.tries) break;
    }
    return !this.waiting.length && !this.inConflict;
  }

  renew(token) {
    if (token === this.client.token) return;
    this.client.token = token;
    if (this.waiting.length) this.hurry();
  }

  tell() {
    if (this.inConflict) this.told("conflict");
    else if (!this.waiting.length) this.told(this.lost ? "unsaved" : "saved", this.lost);
    else if (this.trouble) this.told("unsaved", this.trouble);
    else this.told("saving");
  }

  // Leave the scan: send what waits, make a version. What cannot be sent stays in the browser.
  async close() {
    this.closed = true;
    const isSaved = await this.flush();
    if (isSaved) await this.client.save(true).catch(() => {});
    clearTimeout(this.timer);
    window.removeEventListener("beforeunload", this.guard);
    window.removeEventListener("online", this.hurry);
    this.leave();
  }

  // The window goes away and nothing can be waited for.
  hasten() {
    if (this.waiting.length) this.send();
    this.client.save(true).catch(() => {});
  }
}

// The names of the classes that labels hold and that have no value any longer.
function goneFrom(labels, classes, values) {
  const held = new Uint8Array(256);
  for (let n = 0; n < labels.length; n += 1) held[labels[n]] = 1;
  return classes.filter((_, n) => held[n + 1] && values[n] === null);
}

// As many of the waiting boxes as make one box of a fair size.
function batchOf(waiting) {
  const volume = ({ shape }) => shape[0] * shape[1] * shape[2];
  let box = null;
  let sum = 0;
  const items = [];
  for (const item of waiting) {
    const joined = around(box, item);
    sum += volume(item);
    if (box && volume(joined) > 2 * sum + 500_000) break;
    box = joined;
    items.push(item);
  }
  return { box: { corner: box.corner, shape: box.shape }, items };
}
