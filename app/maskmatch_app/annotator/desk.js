// What the viewer and the painter share: the bar of views, window, slice and sides, the line below the picture, the
// sheet of keys, and the order in which things load.
import { Viewer } from "./viewer.js";

const VIEW_KEYS = { z: "axial", y: "coronal", x: "sagittal", a: "axial", c: "coronal", s: "sagittal", m: "multi" };
const OWN_KEYS = "a[href], button, input, textarea, select, summary, [contenteditable=true], [role=button], [role=tab], [role=option], [role=combobox], [role=dialog] *";
const PRESSED = ["enter", " "];

export class Desk {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.all = (name) => [...root.querySelectorAll(name)];
    this.viewer = new Viewer(this.find("canvas"), () => this.tell(), (length) => this.measured(length));
    [this.turn, this.length] = [Promise.resolve(), null];
    this.wire();
  }

  wire() {
    for (const door of this.all("[data-view]")) door.onclick = () => this.look(door.dataset.view);
    this.find(".window").onchange = (event) => this.viewer.window(event.target.value);
    this.find(".opacity").oninput = () => this.opacity();
    this.find(".side").onclick = () => this.swapSides();
    this.find(".slice").oninput = (event) => this.viewer.goToSlice(Number(event.target.value));
    this.find(".help").onclick = () => this.find(".sheet").toggleAttribute("hidden");
    // Streamlit has keys of its own, such as c and r; none may reach it from here.
    this.find(".desk").addEventListener("keydown", (event) => this.key(event), true);
    this.outside = (event) => {
      const target = event.composedPath()[0];
      if (!this.find(".desk").contains(target) && !target.closest?.(OWN_KEYS)) this.key(event);
    };
    window.addEventListener("keydown", this.outside, true);
  }

  // What is asked for while something loads waits for it, so that two scans never load into one another.
  inTurn(work) {
    this.turn = this.turn.then(work).catch((error) => this.fail(`This scan cannot be shown: ${error.message || error}`));
    return this.turn;
  }

  look(asked) {
    const view = this.viewer.isFlat ? "axial" : asked;
    this.find(".desk").toggleAttribute("data-flat", this.viewer.isFlat);
    this.find(".desk").toggleAttribute("data-picture", this.data.picture);
    this.viewer.showAsPicture(this.data.picture);
    this.viewer.look(view);
    this.viewer.measure(Boolean(this.isRuling) && view !== "solid"); // there a drag turns
    for (const door of this.all("[data-view]")) door.setAttribute("aria-pressed", String(door.dataset.view === view));
    this.find(".slice").disabled = this.viewer.plane() === null;
    this.tell();
  }

  swapSides() {
    if (this.data.picture) return;
    this.viewer.isRadiological = !this.viewer.isRadiological;
    this.find(".side").textContent = this.viewer.isRadiological ? "Radiological" : "Neurological";
  }

  // Take up the ruler, or put it away with what it has measured.
  rule(on) {
    this.isRuling = on;
    this.measured(null);
    this.viewer.wipe();
    this.viewer.measure(on && this.viewer.view !== "solid");
  }

  // The last length that was measured, in mm; it stands in the line below the picture.
  measured(length) {
    this.length = length;
    this.tell();
  }

  step(by) {
    const slices = this.viewer.slices();
    if (slices) this.viewer.goToSlice(slices.at + by);
  }

  // What stands in the line below the picture, of the voxel under the crosshair.
  tell() {
    if (!this.viewer.isShown) return;
    this.tellPlace(this.viewer.voxel());
    const [word, shade] = this.under();
    this.find(".what").textContent = word;
    this.find(".what").style.setProperty("--shade", shade);
    const slices = this.viewer.slices();
    if (slices) [this.find(".slice").max, this.find(".slice").value] = [slices.count - 1, slices.at];
  }

  tellPlace(voxel) {
    if (!this.viewer.isShown) return;
    const [nx, ny] = this.viewer.order.shape;
    const value = this.viewer.valueAt(voxel[0] + nx * (voxel[1] + ny * voxel[2]));
    const mm = this.viewer.mm(voxel).map((n) => n.toFixed(1).replace(/^-0\.0$/, "0.0"));
    const place = this.data.picture ? `pixel ${voxel[0]}, ${voxel[1]}` : `voxel ${voxel.join(", ")}   ${mm.join(", ")} mm`;
    const ruler = this.length === null ? "" : `   ruler ${this.length.toFixed(1)} ${this.data.picture ? "px" : "mm"}`;
    this.find(".where").textContent = `${place}   value ${Number(value.toPrecision(6))}${ruler}`;
  }

  key(event) {
    event.stopPropagation();
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches?.("input:not([type=range]), select")) return;
    if (target.matches?.("button, input") && PRESSED.includes(event.key.toLowerCase())) return;
    if (target.matches?.("input[type=range]") && /^(Arrow|Page|Home|End)/.test(event.key)) return;
    const act = this.viewer.order && this.acts(event.key.toLowerCase(), event);
    if (!act) return;
    event.preventDefault();
    act();
  }

  // What a key does; both desks have these.
  acts(pressed) {
    if (pressed in VIEW_KEYS) return () => this.look(VIEW_KEYS[pressed]);
    return { "?": () => this.find(".help").click(), escape: () => this.find(".sheet").setAttribute("hidden", ""), r: () => this.swapSides(), arrowup: () => this.step(1), arrowdown: () => this.step(-1), pageup: () => this.step(10), pagedown: () => this.step(-10) }[pressed];
  }

  hide() {
    const slider = this.find(".opacity");
    const now = Number(slider.value);
    slider.value = now ? 0 : this.kept || 50;
    this.kept = now || this.kept;
    this.opacity();
  }

  // Where the desk stands: loading, ready or failed. Its tools can be used only when it is ready.
  stand(state) {
    if (state === "loading" || state === "ready") {
      this.length = null;
      this.viewer.wipe();
    }
    this.find(".desk").dataset.state = state;
    for (const part of this.all(".bar, .rail, .line")) part.inert = state !== "ready";
  }

  say(text) {
    this.find(".message").textContent = text;
  }

  fail(text) {
    this.say(text);
    this.stand("failed");
  }

  close() {
    window.removeEventListener("keydown", this.outside, true);
    this.viewer.close();
  }
}

// Press a button that stays down, or release it; whether it is down now.
export function toggle(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  return on;
}
