// The scan viewer: the only file that knows NiiVue. It shows one scan with one overlay and tells the voxel under the
// crosshair in the order of the file, so that what is read here is what any other program finds at that index.
import { Niivue } from "./niivue.js";

const VIEWS = { axial: "sliceTypeAxial", coronal: "sliceTypeCoronal", sagittal: "sliceTypeSagittal", multi: "sliceTypeMultiplanar", solid: "sliceTypeRender" };
const AXIS = { axial: 2, coronal: 1, sagittal: 0 };
const WINDOWS = { soft: [-160, 240], lung: [-1350, 150], bone: [-450, 1050], brain: [0, 80] };
const KEYS = { z: "axial", y: "coronal", x: "sagittal", a: "axial", c: "coronal", s: "sagittal", m: "multi", 3: "solid" };
const DIFFERENCE = { names: ["only in the new one", "only in the other"], colours: ["#56b4e9", "#d55e00"] };
const EDITABLE = "input:not([type=range]), textarea, select, [contenteditable=true], [role=combobox], [role=dialog] *";

export class Viewer {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.all = (name) => [...root.querySelectorAll(name)];
    this.view = "multi";
    this.nv = new Niivue({ backColor: [0.03, 0.04, 0.05, 1], crosshairColor: [0.94, 0.7, 0.16, 0.9], crosshairWidth: 0.25, dragAndDropEnabled: false, show3Dcrosshair: true, loadingText: "", isRadiologicalConvention: false });
    this.nv.onLocationChange = () => this.tell();
    this.ready = this.nv.attachToCanvas(this.find("canvas"));
    this.turn = Promise.resolve();
    this.wire();
  }

  wire() {
    for (const door of this.all("[data-view]")) door.onclick = () => this.look(door.dataset.view);
    this.find(".window").onchange = (event) => this.window(event.target.value);
    this.find(".overlay").onchange = () => this.inTurn(() => this.overlay());
    this.find(".opacity").oninput = () => this.opacity();
    this.find(".side").onclick = () => this.radiological(!this.nv.opts.isRadiologicalConvention);
    this.find(".slice").oninput = (event) => this.go(Number(event.target.value));
    this.find(".help").onclick = () => this.find(".sheet").toggleAttribute("hidden");
    // Streamlit has keys of its own, such as c and r; none may reach it from here.
    this.find(".desk").addEventListener("keydown", (event) => this.key(event), true);
    this.outside = (event) => {
      const target = event.composedPath()[0];
      if (!this.find(".desk").contains(target) && !target.matches?.(EDITABLE)) this.key(event);
    };
    window.addEventListener("keydown", this.outside, true);
  }

  // What is asked for while something loads waits for it, so that two scans never load into one another.
  inTurn(work) {
    this.turn = this.turn.then(work).catch((error) => this.say(`This scan cannot be shown: ${error.message || error}`));
    return this.turn;
  }

  show(data) {
    return this.inTurn(async () => {
      await this.ready;
      if (this.data && this.data.scan === data.scan && JSON.stringify(this.data) === JSON.stringify(data)) return;
      this.data = data;
      this.tellKeys();
      this.find(".desk").dataset.state = "loading";
      this.say("Loading …");
      const answer = await fetch(data.scan, { method: "HEAD" });
      if (!answer.ok) throw new Error(`the server answered ${answer.status}; reload the page`);
      await this.nv.loadVolumes([{ url: data.scan, name: "scan.nii.gz", colormap: "gray" }]);
      const scan = this.nv.volumes[0];
      this.auto = [scan.robust_min ?? scan.cal_min, scan.robust_max ?? scan.cal_max];
      this.find(".window").value = "auto";
      for (const option of this.all(".window [data-ct]")) option.hidden = scan.global_min > -500;
      this.find(".overlay").replaceChildren(...[...data.overlays, { name: "No overlay", url: "" }].map((one) => this.option(one)));
      await this.overlay();
      this.look(scan.dimsRAS[3] > 1 ? this.view : "axial");
      this.tell();
      this.say("");
      this.find(".desk").dataset.state = "ready";
    });
  }

  async overlay() {
    while (this.nv.volumes.length > 1) this.nv.removeVolumeByIndex(1);
    const url = this.find(".overlay").value;
    this.find(".opacity").disabled = !url;
    if (!url) return;
    const lay = await this.nv.addVolumeFromUrl({ url, name: "overlay.nii.gz", opacity: 1 });
    const kind = this.kind();
    if (kind === "uncertainty") {
      const whole = lay.global_max > 1.5 ? 255 : 1;
      [lay.cal_min, lay.cal_max, lay.colormap] = [0.08 * whole, 0.75 * whole, "inferno"];
    } else {
      this.colourLabels(lay, kind === "difference" ? DIFFERENCE : this.data);
    }
    this.opacity();
    this.nv.updateGLVolume();
  }

  option({ name, url, kind }) {
    const made = new Option(name, url);
    made.dataset.kind = kind || "";
    return made;
  }

  kind() {
    return this.find(".overlay").selectedOptions[0]?.dataset.kind || "";
  }

  colourLabels(lay, { names, colours }) {
    const shade = (at) => [0, ...colours.map((colour) => parseInt(colour.slice(at, at + 2), 16))];
    const values = [0, ...names.map((_, index) => index + 1)];
    lay.setColormapLabel({ R: shade(1), G: shade(3), B: shade(5), A: values.map((v) => (v ? 255 : 0)), I: values, labels: ["background", ...names] });
  }

  look(view) {
    this.view = view;
    this.nv.setSliceType(this.nv[VIEWS[view]]);
    for (const door of this.all("[data-view]")) door.setAttribute("aria-pressed", String(door.dataset.view === view));
    const flat = view in AXIS;
    this.find(".slice").disabled = !flat;
    this.tell();
  }

  window(name) {
    const scan = this.nv.volumes[0];
    const [low, high] = WINDOWS[name] || (name === "full" ? [scan.global_min, scan.global_max] : this.auto);
    [scan.cal_min, scan.cal_max] = [low, high];
    this.nv.updateGLVolume();
  }

  opacity() {
    if (this.nv.volumes.length > 1) this.nv.setOpacity(1, Number(this.find(".opacity").value) / 100);
  }

  radiological(on) {
    this.nv.setRadiologicalConvention(on);
    this.find(".side").textContent = on ? "Right on the left" : "Left on the left";
  }

  go(slice) {
    const at = this.voxelRas();
    at[AXIS[this.view]] = slice;
    this.nv.scene.crosshairPos = this.nv.vox2frac(at);
    this.nv.drawScene();
    this.tell();
  }

  step(by) {
    const slider = this.find(".slice");
    if (!slider.disabled) this.go(Math.min(Number(slider.max), Math.max(0, Number(slider.value) + by)));
  }

  voxelRas() {
    const dims = this.nv.volumes[0].dimsRAS;
    return [...this.nv.frac2vox(this.nv.scene.crosshairPos)].map((n, axis) => Math.min(dims[axis + 1] - 1, Math.max(0, Math.round(n))));
  }

  // NiiVue turns voxels into its own order; its start and step lead back to where the file keeps them.
  voxelOfFile(ras) {
    const scan = this.nv.volumes[0];
    const at = scan.img2RASstart.reduce((a, b) => a + b, 0) + ras.reduce((sum, n, axis) => sum + n * scan.img2RASstep[axis], 0);
    const [, nx, ny] = scan.hdr.dims;
    return [at % nx, Math.floor(at / nx) % ny, Math.floor(at / (nx * ny))];
  }

  tell() {
    const scan = this.nv.volumes[0];
    if (!scan) return;
    const ras = this.voxelRas();
    const voxel = this.voxelOfFile(ras);
    const value = scan.getValue(...ras, scan.frame4D);
    const mm = [...this.nv.frac2mm(this.nv.scene.crosshairPos, 0, true)].slice(0, 3).map((n) => n.toFixed(1).replace(/^-0\.0$/, "0.0"));
    const [word, shade] = this.under(ras);
    this.find(".where").textContent = `voxel ${voxel.join(", ")}   ${mm.join(", ")} mm   value ${Number(value.toPrecision(6))}`;
    this.find(".what").textContent = word;
    this.find(".what").style.setProperty("--shade", shade);
    if (this.view in AXIS) {
      const slider = this.find(".slice");
      [slider.max, slider.value] = [scan.dimsRAS[AXIS[this.view] + 1] - 1, ras[AXIS[this.view]]];
    }
  }

  // What the overlay says of a voxel, in words, and its colour.
  under(ras) {
    const lay = this.nv.volumes[1];
    const value = lay ? lay.getValue(...ras, 0) : 0;
    if (!value) return ["", "transparent"];
    if (this.kind() === "uncertainty") return [`uncertainty ${Math.round((100 * value) / (lay.global_max > 1.5 ? 255 : 1))} %`, "transparent"];
    const { names, colours } = this.kind() === "difference" ? DIFFERENCE : this.data;
    const label = Math.round(value);
    return [names[label - 1] || `label ${label}`, colours[label - 1] || "transparent"];
  }

  // The page may give keys a meaning of its own; those come before the viewer's.
  tellKeys() {
    const rows = Object.entries(this.data.keys || {}).map(([key, word]) => {
      const row = document.createElement("tr");
      for (const text of [key.toUpperCase(), word]) row.append(Object.assign(document.createElement("td"), { textContent: text }));
      return row;
    });
    this.find(".sheet .own").replaceChildren(...rows);
  }

  key(event) {
    event.stopPropagation();
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const pressed = event.key.toLowerCase();
    const word = this.data?.keys?.[pressed];
    if (word !== undefined && !event.repeat) {
      event.preventDefault();
      this.pressed(word);
      return;
    }
    const acts = { "?": () => this.find(".help").click(), escape: () => this.find(".sheet").setAttribute("hidden", ""), r: () => this.find(".side").click(), o: () => this.hide(), arrowup: () => this.step(1), arrowdown: () => this.step(-1), pageup: () => this.step(10), pagedown: () => this.step(-10) };
    const act = pressed in KEYS ? () => this.look(KEYS[pressed]) : acts[pressed];
    if (!act || !this.nv.volumes.length) return;
    event.preventDefault();
    act();
  }

  hide() {
    const slider = this.find(".opacity");
    const now = Number(slider.value);
    slider.value = now ? 0 : this.kept || 50;
    this.kept = now || this.kept;
    this.opacity();
  }

  say(text) {
    this.find(".message").textContent = text;
    if (text.startsWith("This")) this.find(".desk").dataset.state = "failed";
  }

  close() {
    window.removeEventListener("keydown", this.outside, true);
    const context = this.find("canvas").getContext("webgl2");
    this.nv.cleanup();
    context?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
