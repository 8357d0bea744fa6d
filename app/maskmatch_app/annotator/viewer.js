// The only file that knows NiiVue. It shows one scan with one overlay and one drawing, and speaks of places in voxels of
// the file, so that what is read or painted here is what any other program finds at that index.
import { DRAG_MODE, Niivue } from "./niivue.js";
import { Order } from "./order.js";

const VIEWS = { axial: "sliceTypeAxial", coronal: "sliceTypeCoronal", sagittal: "sliceTypeSagittal", multi: "sliceTypeMultiplanar", solid: "sliceTypeRender" };
const ACROSS = { axial: 2, coronal: 1, sagittal: 0 };
const WINDOWS = { soft: [-160, 240], lung: [-1350, 150], bone: [-450, 1050], brain: [0, 80] };
const RGB24 = 128;
const SIDES = { 0: [0, 1], 1: [0, 2], 2: [1, 2] }; // the axes along axial, coronal and sagittal slices
const GAP = 4; // pixels between slices
const SHARES = [0.45, 0.5, 0.55, 0.6, 0.65, 0.7]; // of the canvas for the axial slice beside the other two

export class Viewer {
  constructor(canvas, moved, measured) {
    Object.assign(this, { canvas, view: "multi", isCrossed: true });
    this.nv = new Niivue({ backColor: [0.03, 0.04, 0.05, 1], crosshairColor: [0.94, 0.7, 0.16, 0.9], dragAndDropEnabled: false, show3Dcrosshair: true, loadingText: "", fontColor: [1, 0.65, 0.1, 1], fontMinPx: 16, showAllOrientationMarkers: true, isRadiologicalConvention: false, rulerColor: [0.35, 0.85, 0.9, 0.9], rulerWidth: 2, measureLineColor: [0.35, 0.85, 0.9, 1], measureTextColor: [0.35, 0.85, 0.9, 1] });
    this.nv.onLocationChange = moved;
    this.nv.onMeasurementCompleted = ({ distance }) => {
      if (distance > 0) measured(distance);
      else this.nv.document.completedMeasurements.pop(); // a click
    };
    this.ready = this.nv.attachToCanvas(canvas);
    this.resized = new ResizeObserver(() => this.arrange());
    this.resized.observe(canvas);
  }

  get scan() {
    return this.nv.volumes[0];
  }

  // Whether a scan is on the canvas; between two scans there is none.
  get isShown() {
    return Boolean(this.order && this.scan);
  }

  // Load a scan. `shape` and `factors` say how the copy at `url` was reduced, where it was.
  async open(url, shape = null, factors = [1, 1, 1]) {
    await this.ready;
    const answer = await fetch(url, { method: "HEAD" });
    if (!answer.ok) throw new Error(`the server answered ${answer.status}; reload the page`);
    this.bitmap = null;
    await this.nv.loadVolumes([{ url, name: "scan.nii.gz", colormap: "gray" }]);
    const scan = this.scan;
    const copy = [...scan.hdr.dims].slice(1, 4);
    this.order = new Order({ start: [...scan.img2RASstart], step: [...scan.img2RASstep], dims: [...scan.dimsRAS].slice(1, 4), copy, shape: shape || copy, factors });
    this.auto = [scan.robust_min ?? scan.cal_min, scan.robust_max ?? scan.cal_max];
    this.isColour = scan.hdr.datatypeCode === RGB24;
    this.isFlat = scan.dimsRAS[3] === 1;
    this.isCt = scan.global_min <= -500;
  }

  async lay(url, paint) {
    while (this.nv.volumes.length > 1) this.nv.removeVolumeByIndex(1);
    if (!url) return;
    paint(await this.nv.addVolumeFromUrl({ url, name: "overlay.nii.gz", opacity: 1 }));
    this.nv.updateGLVolume();
  }

  // What the overlay holds at the crosshair; 0 where there is none.
  overlaid() {
    const lay = this.nv.volumes[1];
    return lay ? lay.getValue(...this.voxelShown(), 0) : 0;
  }

  overlayOpacity(share) {
    if (this.nv.volumes.length > 1) this.nv.setOpacity(1, share);
  }

  look(view) {
    this.view = view;
    this.arrange();
    this.nv.setSliceType(this.nv[VIEWS[view]]);
    this.cross(this.isCrossed);
    this.resample();
  }

  // Lay out all planes: the axial one large, beside or above the other two, as fills the canvas best.
  arrange() {
    if (!this.scan || !this.canvas.clientWidth) return;
    if (this.view === "multi") this.nv.setCustomLayout(tiles(this.nv.sliceScale().volScale, [this.canvas.clientWidth, this.canvas.clientHeight]));
    else this.nv.clearCustomLayout();
  }

  // Show the crosshair, a thin line whatever the size of the voxels, or hide it in the planes.
  cross(on) {
    this.isCrossed = on;
    const widest = Math.max(1, ...this.nv.screenSlices.map((tile) => tile.leftTopWidthHeight[2] / Math.abs(tile.fovMM[0])));
    const { pixDims } = this.nv.back;
    const pixels = 1.6 * this.nv.uiData.dpr;
    const thin = pixels / widest / Math.min(pixDims[1], pixDims[2], pixDims[3]);
    this.nv.setCrosshairWidth(this.view === "solid" ? 0.25 : on ? thin : 0);
  }

  // The file axis across the plane in view; null where more than one is in view, or none.
  plane() {
    return this.view in ACROSS ? this.order.axis[ACROSS[this.view]] : null;
  }

  planeName(axis) {
    return Object.keys(ACROSS).find((name) => this.order.axis[ACROSS[name]] === axis);
  }

  window(name) {
    [this.scan.cal_min, this.scan.cal_max] = WINDOWS[name] || (name === "full" ? [this.scan.global_min, this.scan.global_max] : this.auto);
    this.nv.updateGLVolume();
  }

  get isRadiological() {
    return this.nv.opts.isRadiologicalConvention;
  }

  set isRadiological(on) {
    this.chosen = on;
    this.nv.setRadiologicalConvention(on);
  }

  // A picture has no sides of a body: its first column is at the left, as other programs show it, and no letters stand around it.
  showAsPicture(on) {
    this.nv.opts.isOrientationTextVisible = !on;
    this.nv.opts.showMeasureUnits = !on;
    this.nv.setRadiologicalConvention(on || Boolean(this.chosen));
  }

  // Let a drag measure a length instead of moving the crosshair. Each line stays on its slice until it is wiped.
  measure(on) {
    this.nv.setMouseEventConfig(on ? { leftButton: { primary: DRAG_MODE.measurement }, rightButton: DRAG_MODE.contrast } : undefined);
  }

  wipe() {
    if (this.isShown) this.nv.clearMeasurements();
  }

  // The voxel of the file under the crosshair.
  voxel() {
    return this.order.inside(this.order.toFile(this.broken()));
  }

  voxelShown() {
    return this.broken().map((n, i) => Math.min(this.order.dims[i] - 1, Math.max(0, Math.round(n))));
  }

  broken() {
    return [...this.nv.scene.crosshairPos].map((n, i) => n * this.order.dims[i] - 0.5);
  }

  // Where a voxel of the file lies in the world, in millimetres.
  mm(voxel) {
    const frac = this.order.fromFile(voxel).map((n, i) => (n + 0.5) / this.order.dims[i]);
    return [...this.nv.frac2mm(frac, 0, true)].slice(0, 3);
  }

  goTo(voxel) {
    const place = this.order.fromFile(voxel);
    this.nv.scene.crosshairPos = place.map((n, i) => (n + 0.5) / this.order.dims[i]);
    this.resample();
    this.nv.drawScene();
    this.nv.onLocationChange();
  }

  // Enlarge the planes about the crosshair; 0 shows them whole again.
  zoom(by) {
    const [x, y, z, now] = this.nv.scene.pan2Dxyzmm;
    const next = by ? Math.min(20, Math.max(1, now * by)) : 1;
    const mm = this.nv.frac2mm(this.nv.scene.crosshairPos);
    const moved = [x, y, z].map((n, k) => (next === 1 ? 0 : n - (next - now) * mm[k]));
    this.nv.setPan2Dxyzmm([...moved, next]);
  }

  // How many slices the plane in view has, and which is in view, counted the way the viewer's axis runs.
  slices() {
    const axis = this.plane();
    if (axis === null) return null;
    const count = this.order.shape[axis];
    const at = this.voxel()[axis];
    return { count, at: this.flipped(axis) ? count - 1 - at : at };
  }

  goToSlice(n) {
    const axis = this.plane();
    if (axis === null) return;
    const count = this.order.shape[axis];
    const voxel = this.voxel();
    const kept = Math.min(count - 1, Math.max(0, n));
    voxel[axis] = this.flipped(axis) ? count - 1 - kept : kept;
    this.goTo(voxel);
  }

  flipped(axis) {
    return this.order.flip[this.order.axis.indexOf(axis)];
  }

  // The value of the scan at a voxel of the file, by its number; brightness where it is a picture in colour.
  valueAt(number) {
    const { shape, copy, factors } = this.order;
    const at = [number % shape[0], Math.floor(number / shape[0]) % shape[1], Math.floor(number / (shape[0] * shape[1]))];
    const [x, y, z] = at.map((n, a) => Math.min(copy[a] - 1, Math.floor(n / factors[a])));
    const k = x + copy[0] * (y + copy[1] * z);
    const { img, hdr } = this.scan;
    if (this.isColour) return 0.299 * img[3 * k] + 0.587 * img[3 * k + 1] + 0.114 * img[3 * k + 2];
    return (hdr.scl_slope || 1) * img[k] + (hdr.scl_inter || 0);
  }

  // The plane under a point of the window: the file axis across it, its slice, where points lie in voxels of the file
  // (also beyond its edge), and points for places. Null over the solid view and beside the planes.
  pick(clientX, clientY) {
    const [x, y] = this.pixels(clientX, clientY);
    for (let i = 0; i < this.nv.screenSlices.length; i += 1) {
      if (this.nv.screenSlices[i].axCorSag > 2 || this.nv.screenXY2TextureFrac(x, y, i)[0] < 0) continue;
      return this.planeOf(i);
    }
    return null;
  }

  planeOf(i) {
    const tile = this.nv.screenSlices[i];
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const middle = [left + width / 2, top + height / 2];
    const place = (x, y) => this.order.toFile([...this.nv.screenXY2TextureFrac(x, y, i, false)].map((n, k) => n * this.order.dims[k] - 0.5));
    const start = place(...middle);
    const right = place(middle[0] + width / 8, middle[1]).map((n, a) => (n - start[a]) / (width / 8));
    const down = place(middle[0], middle[1] + height / 8).map((n, a) => (n - start[a]) / (height / 8));
    const axis = this.order.axis[2 - tile.axCorSag];
    const slice = this.voxel()[axis];
    const across = [0, 1, 2].filter((a) => a !== axis);
    const [u, v] = across;
    const area = right[u] * down[v] - down[u] * right[v];
    return {
      axis,
      slice,
      at: (clientX, clientY) => {
        const [dx, dy] = this.pixels(clientX, clientY).map((n, k) => n - middle[k]);
        return start.map((n, a) => (a === axis ? slice : n + dx * right[a] + dy * down[a]));
      },
      // Pixels of the canvas element for a place, and for one voxel along each axis of the plane.
      pointOf: (voxel) => {
        const [du, dv] = [voxel[u] - start[u], voxel[v] - start[v]];
        return [middle[0] + (du * down[v] - dv * down[u]) / area, middle[1] + (dv * right[u] - du * right[v]) / area].map((n) => n / this.nv.uiData.dpr);
      },
      across,
    };
  }

  pixels(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    return [(clientX - box.left) * this.nv.uiData.dpr, (clientY - box.top) * this.nv.uiData.dpr];
  }

  // Begin a drawing; `code(number, stripe)` tells the colour number of each voxel of the file.
  draw(code, colours) {
    this.code = code;
    this.nv.createEmptyDrawing();
    this.bitmap = this.nv.drawBitmap;
    this.colours(colours);
    this.resample(true);
  }

  // The colours of the drawing: [red, green, blue, alpha] from 1 on.
  colours(table) {
    const column = (k) => [0, ...table.map((colour) => colour[k])];
    this.nv.drawLut = { lut: new Uint8ClampedArray(1024), labels: Array(256).fill("") };
    table.forEach((colour, n) => this.nv.drawLut.lut.set(colour, 4 * (n + 1)));
    this.nv.drawLut.labels = column(0).map(String);
    this.nv.updateGLVolume();
  }

  drawOpacity(share) {
    this.nv.setDrawOpacity(share);
  }

  // Take over what changed in a box of the file; the picture follows with the next frame.
  refresh(box) {
    if (!this.bitmap || !box) return;
    this.sampleInto(this.order.boxOf(box));
    this.redraw();
  }

  // On a reduced copy what is shown of a block depends on the crosshair; look at all of it again where that has moved.
  resample(always = false) {
    if (!this.bitmap) return;
    const place = JSON.stringify([this.plane(), this.voxel().map((n, a) => n % this.order.factors[a])]);
    const isWhole = this.order.factors.every((f) => f === 1);
    if (!always && (isWhole || place === this.sampledAt)) return;
    this.sampledAt = place;
    this.sampleInto({ low: [0, 0, 0], high: this.order.dims });
    this.redraw();
  }

  sampleInto({ low, high }) {
    this.order.sample(this.bitmap, { low, high }, this.order.tables(this.voxel(), this.plane()), this.code);
    const gl = this.nv.gl;
    gl.activeTexture(gl.TEXTURE7);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    const [nx, ny] = this.order.dims;
    const how = { UNPACK_ALIGNMENT: 1, UNPACK_ROW_LENGTH: nx, UNPACK_IMAGE_HEIGHT: ny, UNPACK_SKIP_PIXELS: low[0], UNPACK_SKIP_ROWS: low[1], UNPACK_SKIP_IMAGES: low[2] };
    for (const [name, n] of Object.entries(how)) gl.pixelStorei(gl[name], n);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...low, ...high.map((n, i) => n - low[i]), gl.RED, gl.UNSIGNED_BYTE, this.bitmap);
    for (const name of Object.keys(how).slice(1)) gl.pixelStorei(gl[name], 0);
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.nv.drawScene();
    });
  }

  close() {
    cancelAnimationFrame(this.frame);
    this.resized.disconnect();
    const context = this.canvas.getContext("webgl2");
    this.nv.cleanup();
    context?.getExtension("WEBGL_lose_context")?.loseContext();
  }
}

// The best of some layouts for a scan of these sides in a canvas of this size: what the three slices cover counts.
function tiles(sides, [width, height]) {
  const layouts = SHARES.flatMap((n) => [
    [[0, 0, n, 1], [n, 0, 1 - n, 0.5], [n, 0.5, 1 - n, 0.5]],
    [[0, 0, 1, n], [0, n, 0.5, 1 - n], [0.5, n, 0.5, 1 - n]],
  ]);
  const covered = (places) => places.reduce((sum, [, , w, h], type) => {
    const [a, b] = SIDES[type].map((axis) => sides[axis]);
    return sum + Math.min((w * width) / a, (h * height) / b) ** 2 * a * b;
  }, 0);
  const best = layouts.reduce((one, other) => (covered(other) > covered(one) ? other : one));
  return best.map(([x, y, w, h], sliceType) => ({ sliceType, position: [x, y, w - GAP / width, h - GAP / height] }));
}
