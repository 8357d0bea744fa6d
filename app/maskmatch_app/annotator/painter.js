// The painter: a scan, what is painted on it, the tools, and what keeps it. Painting is on the grid of the file, also
// where the picture is a reduced copy.
import { ACTIONS, fillChips, fillRail, fillSheet, Inks, TOOLS } from "./bar.js";
import { changeClasses, inClasses, takeClasses } from "./classes.js";
import { Client } from "./client.js";
import { Desk, toggle } from "./desk.js";
import { Keeper } from "./keeper.js";
import { Mask, Steps } from "./mask.js";
import { Limits } from "./limits.js";
import { askGrow, askStart } from "./panels.js";
import { Pen } from "./pen.js";
import { slab } from "./strokes.js";

const EMPTY_ONES = "Complete an empty one before and one behind the structure as well, where there is one: no stroke, and it teaches what is background";
const LOOKING = ["move", "ruler"]; // tools that do not paint
const STATES = { saved: "Saved", saving: "Saving …", unsaved: "Kept in this browser", conflict: "Conflict" };

export class Painter extends Desk {
  wire() {
    super.wire();
    Object.assign(this, { tool: "brush", label: 1, showJudged: false, busy: 0, serverTurn: Promise.resolve() });
    this.pen = new Pen(this, this.find(".stage"));
    fillRail(this.find(".rail"), (kind, name) => (kind === "tool" ? this.take(name) : this[name]()));
    fillSheet(this.find(".sheet"));
    this.find(".size").oninput = () => this.resize(0);
    this.find(".ball").onclick = (event) => toggle(event.currentTarget);
    this.limits = new Limits(this.find(".threshold"), this.find(".low"), this.find(".high"), (text) => this.notice(text));
    this.find(".judged").onclick = (event) => { this.showJudged = toggle(event.currentTarget); this.viewer.resample(true); };
    this.find(".channel").onchange = ({ target }) => this.inTurn(() => this.openChannel(Number(target.value)));
    this.find(".complete-slice").onclick = () => this.complete(this.axis);
    this.find(".complete-scan").onclick = () => this.complete(null);
    this.find(".next").onclick = () => this.next();
    this.hasten = () => { if (document.visibilityState === "hidden") this.keeper?.send(); };
    this.leave = () => { this.pen.end(false); this.keeper?.hasten(); };
    document.addEventListener("visibilitychange", this.hasten);
    window.addEventListener("pagehide", this.leave);
    this.take("brush");
  }

  // The page's data change at each rerun; only another scan is loaded anew.
  show(data) {
    const isSame = this.data?.study === data.study && this.data?.scan === data.scan;
    const isOther = this.keeper && isSame && !this.keeper.isOf({ classes: data.names });
    this.data = isOther ? { ...data, names: this.data.names, colours: this.data.colours } : data;
    this.find(".start").disabled = !data.models.length;
    if (isOther) changeClasses(this, data);
    if (this.keeper && isSame) {
      this.client.author = data.author;
      this.keeper.renew(data.token);
      if (!this.versions.has(data.version)) this.catchUp();
    }
    this.structures();
    return isSame && this.find(".desk").dataset.state !== "failed" ? this.turn : this.inTurn(() => this.open(data));
  }

  structures() {
    const inks = JSON.stringify([this.data.names, this.data.colours]);
    if (inks === this.inksNow) return;
    this.inksNow = inks;
    this.inks = new Inks(this.data.colours);
    fillChips(this.find(".chips"), this.data.names, this.data.colours, (label) => this.pick(label));
    this.pick(Math.min(this.label, this.data.names.length));
    if (this.mask) this.viewer.draw(this.code, this.inks.table);
  }

  async open(data) {
    await this.leaveScan();
    this.stand("loading");
    this.find(".conflict").close();
    this.say("Loading …");
    this.client = Object.assign(new Client(data.study, data.scan, data.token), { author: data.author });
    const [about, draft] = await Promise.all([this.client.about(), this.client.draft()]);
    this.client.classes = draft.classes;
    this.data = inClasses(data, draft.classes);
    this.structures();
    this.about = about;
    this.grid = { shape: about.shape, spacing: about.spacing_mm };
    this.find(".channels").hidden = about.colour || about.channels.length < 2;
    this.find(".channel").replaceChildren(...about.channels.map((name, n) => new Option(name, n)));
    this.limits.suggest(about.range);
    this.find(".reduced").hidden = about.factors.every((f) => f === 1);
    this.mask = new Mask(about.shape, draft.labels, draft.judged);
    this.steps = new Steps();
    this.versions = new Set([data.version, null]);
    this.code = (n, stripe) => this.inks.of(this.mask.labels[n], this.mask.judged[n], stripe, this.showJudged);
    this.keeper = new Keeper(this.client, this.mask, draft, {
      told: (state, text) => this.tellSaved(state, text),
      conflict: (told) => this.askConflict(told),
      replaced: (draft) => this.replace(draft, false),
      stale: () => this.tellPage("event", "stale"),
      paused: () => this.pen.end(),
      renumbered: (change) => takeClasses(this, change),
    });
    await this.openChannel(0);
    this.find(".window").value = "auto";
    this.axis = this.viewer.order.axis[2];
    await this.keeper.takeUp();
    this.viewer.resample(true);
    this.look(this.viewer.isFlat ? "axial" : this.viewer.view);
    this.tellSteps();
    this.say("");
    this.stand("ready");
  }

  async openChannel(channel) {
    const at = this.find(".desk").dataset.state === "ready" ? this.viewer.voxel() : null;
    const name = this.about.colour ? "colour.nii.gz" : `${channel}.nii.gz`;
    await this.viewer.open(this.client.signed("scans", this.data.scan, name), this.about.shape, this.about.factors);
    for (const option of this.all(".window [data-ct]")) option.hidden = !this.viewer.isCt;
    this.viewer.draw(this.code, this.inks.table);
    this.opacity();
    if (at) this.viewer.goTo(at);
  }

  async leaveScan() {
    this.pen.cancel();
    await this.keeper?.close();
    [this.keeper, this.mask] = [null, null];
  }

  look(view) {
    super.look(view);
    this.axis = this.viewer.plane() ?? this.axis;
    this.showTool();
  }

  // Over a single plane the crosshair is in the way of painting.
  showTool() {
    const tool = this.isPainting() || this.tool === "ruler" ? this.tool : "move";
    this.find(".stage").dataset.tool = tool;
    this.find(".tip").setAttribute("d", "");
    if (this.viewer.order) this.viewer.cross(tool === "move" || this.viewer.plane() === null);
  }

  take(tool) {
    if ((tool === "ruler") !== (this.tool === "ruler")) this.rule(tool === "ruler");
    this.tool = tool;
    for (const button of this.all(".rail [data-tool]")) button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    this.showTool();
  }

  pick(label) {
    if (label > this.data.names.length) return;
    this.label = label;
    for (const chip of this.all("[data-label]")) chip.setAttribute("aria-checked", String(Number(chip.dataset.label) === label));
    if (["eraser", "background", ...LOOKING].includes(this.tool)) this.take("brush");
  }

  isPainting() {
    return !LOOKING.includes(this.tool) && this.viewer.view !== "solid" && Boolean(this.mask) && !this.busy && !this.keeper?.inConflict;
  }

  ink() {
    return {
      label: this.label,
      size: Number(this.find(".size").value),
      isBall: this.find(".ball").getAttribute("aria-pressed") === "true",
      limits: this.limits.range(),
    };
  }

  // A stroke has ended.
  finish(step, box) {
    this.steps.add(step);
    this.keeper.add(box);
    this.tellSteps();
  }

  touched(plane, voxel) {
    this.axis = plane.axis;
    this.viewer.goTo(voxel);
  }

  hovered(voxel) {
    this.tellPlace(voxel);
  }

  undo() {
    if (!this.pen.cancel()) this.retrace(this.steps?.undo(), true);
  }

  redo() {
    this.retrace(this.steps?.redo(), false);
  }

  retrace(step, back) {
    if (!step || this.keeper.inConflict || this.busy) return;
    const box = this.mask.apply(step, back);
    this.viewer.refresh(box);
    this.keeper.add(box);
    this.tellSteps();
    this.goInto(box);
  }

  // Go to a slice that shows a box, where the one in view does not.
  goInto({ corner, shape }) {
    const axis = this.viewer.plane();
    const voxel = this.viewer.voxel().map((n, a) => {
      const isSeen = (axis !== null && a !== axis) || (n >= corner[a] && n < corner[a] + shape[a]);
      return isSeen ? n : corner[a] + Math.floor(shape[a] / 2);
    });
    this.viewer.goTo(voxel);
  }

  // Take a step that did not come from the pen. `isSaved` where the server made it.
  follow(step, isSaved = false) {
    const box = this.mask.apply(step);
    if (!box) return;
    this.viewer.refresh(box);
    this.steps.add(step);
    if (!isSaved) this.keeper.add(box);
    this.tellSteps();
  }

  replace(draft, isSaved) {
    const whole = slab(this.mask.shape, null);
    this.follow(this.mask.stepTo(whole, draft.labels, draft.judged), isSaved);
  }

  // A version was made by other ways, such as restoring an earlier one: show the draft as it is now.
  catchUp() {
    this.versions.add(this.data.version);
    return this.withServer("Loading …", async () => {
      const draft = await this.client.draft();
      if (!this.keeper.isOf(draft)) return void (await this.keeper.renumber());
      if (draft.revision === this.keeper.revision) return;
      this.keeper.keepUp(draft);
      this.replace(draft, true);
    });
  }

  // Something that the server does on the whole draft: all that is painted goes there first, and painting waits for it.
  withServer(doing, work) {
    this.pen.end();
    this.busy += 1;
    this.tellSaved("saving", doing);
    this.serverTurn = this.serverTurn.then(async () => {
      try {
        if (await this.keeper.flush()) this.notice((await work()) || "");
        else this.notice(this.keeper.isAnswered ? this.keeper.trouble : "The server cannot be reached now; what you painted is kept in this browser");
      } catch (error) {
        this.notice(error.message);
        if (error.status === 409) await this.keeper.settle(error.told);
        if (error.status === 412) await this.keeper.renumber().catch((trouble) => this.notice(trouble.message));
      } finally {
        this.busy -= 1;
        this.keeper?.tell();
      }
    });
    return this.serverTurn;
  }

  grow() {
    askGrow(this);
  }

  interpolate() {
    return this.propose("Filling between slices …", "interpolate", { label: this.label, axis: this.viewer.plane() });
  }

  propose(doing, what, json) {
    if (!this.label) return this.notice("Choose a structure first");
    return this.withServer(doing, async () => {
      const box = await this.client.propose(what, json);
      if (!box) return "Nothing to add";
      this.follow(this.mask.stepTo(box, box.labels, box.judged));
      return "";
    });
  }

  start() {
    if (this.data.models.length) askStart(this);
  }

  startFrom(model) {
    return this.withServer("Fetching the prediction …", async () => {
      const draft = await this.client.start(this.keeper.revision, model);
      if (!this.keeper.isOf(draft)) return void (await this.keeper.renumber());
      this.keeper.keepUp(draft);
      this.replace(draft, true);
      return "The prediction is hatched where nobody has judged it";
    });
  }

  complete(axis) {
    const index = axis === null ? 0 : this.viewer.voxel()[axis];
    return this.withServer("Marking as complete …", async () => {
      const done = await this.client.complete(this.keeper.revision, axis, index);
      this.keeper.keepUp(done);
      this.versions.add(done.version);
      this.follow(this.mask.stepJudged(slab(this.mask.shape, axis, index)), true);
      this.tellPage("event", "versioned");
      if (axis === null) return "This scan is complete";
      const lacking = this.mask.shape[axis] > 1 && !this.mask.hasEmptySlice(axis);
      return lacking ? `This slice is complete. ${EMPTY_ONES}` : "This slice is complete";
    });
  }

  next() {
    return this.withServer("Saving …", async () => {
      await this.client.save();
      this.tellPage("event", "next");
    });
  }

  askConflict({ author, saved }) {
    const box = this.find(".conflict");
    const when = saved ? ` at ${new Date(saved).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}` : "";
    this.find(".whose").textContent = `${author || "Somebody"} saved this scan in another window${when}.`;
    box.showModal();
    return new Promise((choose) => {
      const end = (choice) => { box.close(); choose(choice); };
      this.find(".load-theirs").onclick = () => end("theirs");
      this.find(".keep-mine").onclick = () => end("mine");
      box.oncancel = (event) => event.preventDefault();
    });
  }

  resize(by) {
    const slider = this.find(".size");
    slider.value = Number(slider.value) + by;
    this.find(".size-number").textContent = slider.value;
  }

  opacity() {
    this.viewer.drawOpacity(Number(this.find(".opacity").value) / 100);
  }

  tellSaved(state, text) {
    if (state === "saved" && this.busy) return;
    this.find(".saved").dataset.state = state;
    this.find(".saved").textContent = text || STATES[state];
  }

  tellSteps() {
    this.find(".undo").disabled = !this.steps.done.length;
    this.find(".redo").disabled = !this.steps.undone.length;
    this.tell();
  }

  tell() {
    if (!this.mask || !this.viewer.order) return;
    super.tell();
    const slices = this.viewer.slices();
    this.find(".slice-number").textContent = slices ? `${slices.at + 1} / ${slices.count}` : "";
    const box = slab(this.mask.shape, this.axis, this.viewer.voxel()[this.axis]);
    let open = 0;
    this.mask.each(box, (n) => { open += 1 - this.mask.judged[n]; });
    this.find(".slice-state").textContent = open ? "" : `This ${this.data.picture ? "picture" : `${this.viewer.planeName(this.axis)} slice`} is complete`;
    this.find(".complete-slice").hidden = !open;
    this.find(".complete-slice").textContent = slices ? "Complete slice" : `Complete ${this.viewer.planeName(this.axis)} slice`;
  }

  under() {
    const [x, y, z] = this.viewer.voxel();
    const n = x + this.grid.shape[0] * (y + this.grid.shape[1] * z);
    const label = this.mask.labels[n];
    if (!label) return [this.mask.judged[n] ? "background" : "not judged", "transparent"];
    return [`${this.data.names[label - 1] || `label ${label}`}${this.mask.judged[n] ? "" : " · suggested"}`, this.data.colours[label - 1] || "transparent"];
  }

  notice(text) {
    const note = this.find(".notice");
    note.textContent = text;
    note.hidden = !text;
    clearTimeout(this.noticed);
    if (text && !text.endsWith("…")) this.noticed = setTimeout(() => { note.hidden = true; }, Math.max(5000, 70 * text.length));
  }

  key(event) {
    if (event.composedPath()[0].closest?.(".panel, dialog")) return event.stopPropagation();
    const pressed = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && (pressed === "z" || pressed === "y")) {
      event.stopPropagation();
      event.preventDefault();
      return pressed === "y" || event.shiftKey ? this.redo() : this.undo();
    }
    return super.key(event);
  }

  acts(pressed, event) {
    const tool = TOOLS.find((one) => one.key === pressed);
    if (tool) return () => this.take(tool.tool);
    const action = ACTIONS.find((one) => one.key === pressed);
    if (action) return () => this[action.act]();
    if (/^[0-9]$/.test(pressed)) return () => this.pick(Number(pressed));
    const more = { d: () => this.look("solid"), h: () => this.hide(), j: () => this.find(".judged").click(), q: () => this.find(".ball").click(), t: () => this.limits.turn(), n: () => this.next(), l: () => this.swapSides(), "[": () => this.resize(-1), "]": () => this.resize(1), "+": () => this.viewer.zoom(1.25), "-": () => this.viewer.zoom(0.8), "=": () => this.viewer.zoom(0), enter: () => this.complete(event.shiftKey ? null : this.axis), escape: () => this.escape() };
    return more[pressed] || super.acts(pressed, event);
  }

  // Give up the stroke at hand, else what lies over the picture.
  escape() {
    if (this.pen.cancel()) return;
    if (!this.find(".panel").hidden) this.find(".panel .no").click();
    this.find(".sheet").setAttribute("hidden", "");
  }

  close() {
    document.removeEventListener("visibilitychange", this.hasten);
    window.removeEventListener("pagehide", this.leave);
    this.leaveScan();
    this.pen.close();
    super.close();
  }
}
