// Pointers on the picture: mouse, pen or finger become strokes on the grid of the file. A stroke stays on the plane that it
// began on, also where the pointer leaves the canvas.
import { around } from "./mask.js";
import { joined } from "./runs.js";
import { brush, bucket, ellipse, polygon, rectangle, within } from "./strokes.js";

const BRUSHES = ["brush", "eraser", "background"];
const ERASER_OF_A_PEN = 5;
const KEEP_EVERY = 1000;

export class Pen {
  // `desk` holds viewer, mask, grid and ink; `desk.finish(step, box)` takes a stroke that has ended.
  constructor(desk, stage) {
    Object.assign(this, { desk, canvas: stage.querySelector("canvas"), outline: stage.querySelector(".outline"), tip: stage.querySelector(".tip") });
    this.stroke = null;
    const on = (name, act) => stage.addEventListener(name, act, true);
    // On the window, and so before a dialog of the page that would take the first press for itself.
    this.pressed = (event) => this.down(event);
    window.addEventListener("pointerdown", this.pressed, true);
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", (event) => this.up(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.tip.setAttribute("d", "");
      this.desk.tell();
    });
    // NiiVue would move its crosshair and scroll while a stroke is drawn.
    for (const name of ["mousedown", "mousemove", "mouseup", "touchstart", "touchmove", "touchend", "wheel", "dblclick"]) {
      on(name, (event) => {
        if (!this.stroke && event.target !== this.canvas) return;
        if (!this.stroke && !(this.desk.isPainting() && name !== "wheel" && (event.button === 0 || event.touches))) return;
        if (!this.stroke && (name === "mousemove" || this.isBeside(event))) return;
        event.stopImmediatePropagation();
        if (event.cancelable) event.preventDefault();
      });
    }
  }

  isBeside(event) {
    const at = event.touches ? event.touches[0] || event.changedTouches[0] : event;
    return !this.desk.viewer.pick(at.clientX, at.clientY);
  }

  down(event) {
    if (this.stroke || !this.isAt(event) || !this.desk.isPainting() || (event.button !== 0 && event.button !== ERASER_OF_A_PEN)) return;
    const plane = this.desk.viewer.pick(event.clientX, event.clientY);
    if (!plane) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const ink = { ...this.desk.ink(), tool: event.button === ERASER_OF_A_PEN ? "eraser" : this.desk.tool };
    const start = plane.at(event.clientX, event.clientY);
    const first = this.whole(start);
    this.stroke = { id: event.pointerId, plane, ink, first, last: first, places: [start], steps: [], box: null, keptAt: performance.now() };
    if (BRUSHES.includes(ink.tool)) this.dab(first);
    this.trace();
  }

  move(event) {
    this.hover(event);
    if (event.pointerId !== this.stroke?.id) return;
    event.stopImmediatePropagation();
    const { plane, ink, places } = this.stroke;
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const one of passed.length ? passed : [event]) {
      const place = plane.at(one.clientX, one.clientY);
      places.push(place);
      const voxel = this.whole(place);
      if (BRUSHES.includes(ink.tool) && voxel.some((n, a) => n !== this.stroke.last[a])) this.dab(voxel);
      this.stroke.last = voxel;
    }
    this.trace();
  }

  up(event) {
    if (event.pointerId !== this.stroke?.id) return;
    event.stopImmediatePropagation();
    this.end(event.type !== "pointercancel");
  }

  // The stroke ends where it is. A shape that was broken off is not painted.
  end(isWhole = true) {
    if (!this.stroke) return;
    const { ink, plane, first, last, places } = this.stroke;
    const grid = this.desk.grid;
    const { axis } = plane;
    const voxels = {
      fill: () => polygon(grid, axis, places),
      rectangle: () => rectangle(grid, axis, first, last),
      ellipse: () => ellipse(grid, axis, first, last),
      bucket: () => this.poured(axis, first),
    }[ink.tool]?.();
    if (voxels && isWhole) this.put(voxels);
    const { steps, box } = this.stroke;
    this.stroke = null;
    this.trace();
    if (box) this.desk.finish(joined(steps), box);
    this.desk.touched(plane, this.inside(last));
  }

  // Take back a stroke that is being drawn.
  cancel() {
    if (!this.stroke) return false;
    const { steps, box } = this.stroke;
    for (const step of steps.reverse()) this.desk.mask.apply(step, true);
    this.stroke = null;
    this.desk.viewer.refresh(box);
    if (box) this.desk.keeper.add(box);
    this.trace();
    return true;
  }

  // Over the canvas; also where the page has set all of itself aside for a dialog that shows nothing over it.
  isAt(event) {
    const target = event.composedPath()[0];
    if (target === this.canvas) return true;
    const box = this.canvas.getBoundingClientRect();
    const inside = event.clientX > box.left && event.clientX < box.right && event.clientY > box.top && event.clientY < box.bottom;
    const isAside = target === document.body || target === document.documentElement || target.closest?.(".stDialog:not(:has([data-testid=stVerticalBlock]))");
    return inside && Boolean(isAside);
  }

  close() {
    window.removeEventListener("pointerdown", this.pressed, true);
  }

  whole(place) {
    return place.map(Math.round);
  }

  inside(voxel) {
    return voxel.map((n, a) => Math.min(this.desk.grid.shape[a] - 1, Math.max(0, n)));
  }

  dab(voxel) {
    const { plane, ink, last } = this.stroke;
    this.put(brush(this.desk.grid, ink.isBall ? null : plane.axis, last, voxel, ink.size));
    if (performance.now() - this.stroke.keptAt > KEEP_EVERY && this.stroke.box) {
      this.stroke.keptAt = performance.now();
      this.desk.keeper.add(this.stroke.box);
    }
  }

  poured(axis, seed) {
    const { mask, grid, viewer } = this.desk;
    if (seed.some((n, a) => n < 0 || n >= grid.shape[a])) return [];
    const { limits, isBall } = this.stroke.ink;
    const key = (n) => 2 * mask.labels[n] + (mask.labels[n] ? mask.judged[n] : 0);
    const allowed = limits ? (n) => viewer.valueAt(n) >= limits[0] && viewer.valueAt(n) <= limits[1] : () => true;
    return bucket(grid, isBall ? null : axis, seed, key, allowed);
  }

  put(voxels) {
    const { ink, steps } = this.stroke;
    const { mask, viewer } = this.desk;
    // The limit is for painting; what was painted can be erased whatever its value.
    const kept = ink.limits && ink.tool !== "eraser" ? within(voxels, (n) => viewer.valueAt(n), ink.limits) : voxels;
    const step = mask.step(kept, ["eraser", "background"].includes(ink.tool) ? 0 : ink.label, ink.tool === "eraser" ? 0 : 1);
    const box = mask.apply(step);
    if (!box) return;
    steps.push(step);
    this.stroke.box = around(this.stroke.box, box);
    viewer.refresh(box);
  }

  // The outline of a shape while it is drawn.
  trace() {
    let path = "";
    if (this.stroke) {
      const { ink, plane, places } = this.stroke;
      if (ink.tool === "fill") path = pathOf(places.map(plane.pointOf));
      else if (ink.tool === "rectangle" || ink.tool === "ellipse") path = pathOf(this.shape().map(plane.pointOf));
    }
    this.outline.setAttribute("d", path && `${path}Z`);
  }

  shape() {
    const { ink, plane, first, last } = this.stroke;
    const [u, v] = plane.across;
    const middle = first.map((n, a) => (n + last[a]) / 2);
    const half = first.map((n, a) => (Math.abs(n - last[a]) + 1) / 2);
    const place = (x, y) => middle.map((n, a) => (a === u ? n + x * half[u] : a === v ? n + y * half[v] : n));
    if (ink.tool === "rectangle") return [place(-1, -1), place(1, -1), place(1, 1), place(-1, 1)];
    return circle.map(([x, y]) => place(x, y));
  }

  // The size of the brush under the pointer, and the voxel there.
  hover(event) {
    const plane = this.stroke?.plane ?? (this.desk.mask && event.target === this.canvas ? this.desk.viewer.pick(event.clientX, event.clientY) : null);
    if (!plane) return this.tip.setAttribute("d", "");
    const at = plane.at(event.clientX, event.clientY);
    this.desk.hovered(this.inside(this.whole(at)));
    if (!BRUSHES.includes(this.desk.tool) || !this.desk.isPainting()) return this.tip.setAttribute("d", "");
    const { size, isBall } = this.desk.ink();
    const { spacing } = this.desk.grid;
    const unit = Math.min(...(isBall ? spacing : plane.across.map((a) => spacing[a])));
    const middle = this.whole(at);
    const [u, v] = plane.across;
    const round = circle.map(([x, y]) => middle.map((n, a) => (a === u ? n + (x * size * unit) / 2 / spacing[u] : a === v ? n + (y * size * unit) / 2 / spacing[v] : n)));
    return this.tip.setAttribute("d", `${pathOf(round.map(plane.pointOf))}Z`);
  }
}

const circle = Array.from({ length: 40 }, (_, n) => [Math.cos((n * Math.PI) / 20), Math.sin((n * Math.PI) / 20)]);
const pathOf = (points) => points.map(([x, y], n) => `${n ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
