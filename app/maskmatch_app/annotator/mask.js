// What is painted on a scan: a label and "judged" for each voxel, in the order of the file; the steps that lead to it.
import { boxAround, bytesOf, Change, Spans } from "./runs.js";
import { slab } from "./strokes.js";

const JUDGED = 256;

// From bits in file order, x fastest, the lowest bit first.
export function unpacked(bits, count) {
  const judged = new Uint8Array(count);
  for (let n = 0; n < count; n += 1) judged[n] = (bits[n >> 3] >> (n & 7)) & 1;
  return judged;
}

const stateOf = (label, judged) => label + (judged ? JUDGED : 0);

export class Mask {
  constructor(shape, labels, judged) {
    Object.assign(this, { shape, labels, judged });
  }

  // A step that gives the voxels a label and a judgement: only what it changes, with what was there before.
  step(voxels, label, judged) {
    const change = new Change();
    const is = stateOf(label, judged);
    const visit = (n) => {
      const was = stateOf(this.labels[n], this.judged[n]);
      if (was !== is) change.add(n, was, is);
    };
    if (voxels instanceof Spans) voxels.each(visit);
    else for (let k = 0; k < voxels.length; k += 1) visit(voxels[k]);
    return change.step();
  }

  // A step to other contents of a box.
  stepTo(box, labels, judged) {
    const change = new Change();
    this.rows(box, (start, from, width) => {
      for (let n = start, k = from; n < start + width; n += 1, k += 1) {
        const [label, isJudged] = [this.labels[n], this.judged[n]];
        if (label !== labels[k] || isJudged !== judged[k]) change.add(n, stateOf(label, isJudged), stateOf(labels[k], judged[k]));
      }
    });
    return change.step();
  }

  // A step that marks all of a box as judged.
  stepJudged(box) {
    const change = new Change();
    this.rows(box, (start, from, width) => {
      for (let n = start; n < start + width; n += 1) {
        if (!this.judged[n]) change.add(n, this.labels[n], this.labels[n] + JUDGED);
      }
    });
    return change.step();
  }

  // Whether a slice across an axis is judged throughout and holds no structure.
  hasEmptySlice(axis) {
    for (let index = 0; index < this.shape[axis]; index += 1) if (this.isEmpty(slab(this.shape, axis, index))) return true;
    return false;
  }

  isEmpty({ corner, shape }) {
    const [nx, ny] = this.shape;
    for (let z = corner[2]; z < corner[2] + shape[2]; z += 1) {
      for (let y = corner[1]; y < corner[1] + shape[1]; y += 1) {
        const start = corner[0] + nx * (y + ny * z);
        for (let n = start; n < start + shape[0]; n += 1) if (this.labels[n] || !this.judged[n]) return false;
      }
    }
    return true;
  }

  // Take a step, or take it back. Gives the box that changed; null where nothing did.
  apply(step, back = false) {
    const { starts, lengths } = step;
    const states = back ? step.before : step.after;
    for (let rank = 0; rank < starts.length; rank += 1) {
      const k = back ? starts.length - 1 - rank : rank;
      const end = starts[k] + lengths[k];
      this.labels.fill(states[k] & 255, starts[k], end);
      this.judged.fill(states[k] >> 8, starts[k], end);
    }
    return boxAround(this.shape, step);
  }

  // Give each label its new value; where that is null, nobody has judged the voxel any longer.
  renumber(values) {
    const table = Uint8Array.from({ length: 256 }, (_, old) => (old ? values[old - 1] ?? 0 : 0));
    for (let n = 0; n < this.labels.length; n += 1) {
      const old = this.labels[n];
      if (!old) continue;
      this.labels[n] = table[old];
      if (!table[old]) this.judged[n] = 0;
    }
  }

  // What a box holds, as it is sent: its labels, then its judged bits.
  read(box) {
    const count = box.shape[0] * box.shape[1] * box.shape[2];
    const labels = new Uint8Array(count);
    const bits = new Uint8Array(Math.ceil(count / 8));
    this.rows(box, (start, from, width) => {
      labels.set(this.labels.subarray(start, start + width), from);
      for (let n = start, k = from; n < start + width; n += 1, k += 1) if (this.judged[n]) bits[k >> 3] |= 1 << (k & 7);
    });
    return { ...box, labels, bits };
  }

  // Write what a box holds, without a step. For strokes that a browser kept.
  write({ corner, shape, labels, bits }) {
    const judged = unpacked(bits, labels.length);
    this.each({ corner, shape }, (n, k) => { this.labels[n] = labels[k]; this.judged[n] = judged[k]; });
  }

  each(box, visit) {
    this.rows(box, (start, from, width) => {
      for (let k = 0; k < width; k += 1) visit(start + k, from + k);
    });
  }

  // The rows of a box: the number of their first voxel, its place within the box, and how many voxels follow.
  rows({ corner, shape }, visit) {
    const [nx, ny] = this.shape;
    let from = 0;
    for (let z = corner[2]; z < corner[2] + shape[2]; z += 1) {
      for (let y = corner[1]; y < corner[1] + shape[1]; y += 1, from += shape[0]) visit(corner[0] + nx * (y + ny * z), from, shape[0]);
    }
  }
}

export const around = (one, other) => {
  if (!one || !other) return one || other;
  const corner = one.corner.map((n, a) => Math.min(n, other.corner[a]));
  const shape = corner.map((n, a) => Math.max(one.corner[a] + one.shape[a], other.corner[a] + other.shape[a]) - n);
  return { corner, shape };
};

// The way back and forth: as many steps as fit the memory, and at least 100 of usual size.
export class Steps {
  constructor(bytes = 512e6) {
    [this.limit, this.done, this.undone] = [bytes, [], []];
  }

  add(step) {
    if (!step.starts.length) return;
    this.undone = [];
    this.done.push(step);
    let held = this.done.reduce((sum, one) => sum + bytesOf(one), 0);
    while (held > this.limit && this.done.length > 1) held -= bytesOf(this.done.shift());
  }

  // The step to take back, or null.
  undo() {
    const step = this.done.pop() ?? null;
    if (step) this.undone.push(step);
    return step;
  }

  redo() {
    const step = this.undone.pop() ?? null;
    if (step) this.done.push(step);
    return step;
  }
}
