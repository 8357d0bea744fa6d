// What is painted on a scan: a label and "judged" for each voxel, in the order of the file; the steps that lead to it.

// Bits of a box in file order, x fastest, the lowest bit first.
export function packed(judged) {
  const bits = new Uint8Array(Math.ceil(judged.length / 8));
  for (let n = 0; n < judged.length; n += 1) if (judged[n]) bits[n >> 3] |= 1 << (n & 7);
  return bits;
}

export function unpacked(bits, count) {
  const judged = new Uint8Array(count);
  for (let n = 0; n < count; n += 1) judged[n] = (bits[n >> 3] >> (n & 7)) & 1;
  return judged;
}

export class Mask {
  constructor(shape, labels, judged) {
    Object.assign(this, { shape, labels, judged });
  }

  // A step that gives the voxels a label and a judgement: only what it changes, with what was there before.
  step(voxels, label, judged) {
    const changed = voxels.filter((n) => this.labels[n] !== label || this.judged[n] !== judged);
    return this.record(Uint32Array.from(changed), () => label, () => judged);
  }

  // A step to other contents of a box.
  stepTo({ corner, shape }, labels, judged) {
    const changed = [];
    const from = [];
    this.each({ corner, shape }, (n, k) => {
      if (this.labels[n] !== labels[k] || this.judged[n] !== judged[k]) { changed.push(n); from.push(k); }
    });
    return this.record(Uint32Array.from(changed), (k) => labels[from[k]], (k) => judged[from[k]]);
  }

  // A step that marks all of a box as judged.
  stepJudged(box) {
    const changed = [];
    this.each(box, (n) => { if (!this.judged[n]) changed.push(n); });
    return this.record(Uint32Array.from(changed), (k) => this.labels[changed[k]], () => 1);
  }

  record(voxels, label, judged) {
    const step = { voxels, before: new Uint8Array(voxels.length), after: new Uint8Array(voxels.length), was: new Uint8Array(voxels.length), is: new Uint8Array(voxels.length) };
    for (let k = 0; k < voxels.length; k += 1) {
      [step.before[k], step.was[k]] = [this.labels[voxels[k]], this.judged[voxels[k]]];
      [step.after[k], step.is[k]] = [label(k), judged(k)];
    }
    return step;
  }

  // Take a step, or take it back. Gives the box that changed; null where nothing did.
  apply({ voxels, before, after, was, is }, back = false) {
    const [labels, judged] = back ? [before, was] : [after, is];
    for (let k = 0; k < voxels.length; k += 1) {
      this.labels[voxels[k]] = labels[k];
      this.judged[voxels[k]] = judged[k];
    }
    return this.boxAround(voxels);
  }

  boxAround(voxels) {
    if (!voxels.length) return null;
    const [nx, ny] = this.shape;
    const low = [...this.shape];
    const high = [-1, -1, -1];
    for (const n of voxels) {
      const at = [n % nx, Math.floor(n / nx) % ny, Math.floor(n / (nx * ny))];
      for (let a = 0; a < 3; a += 1) {
        if (at[a] < low[a]) low[a] = at[a];
        if (at[a] > high[a]) high[a] = at[a];
      }
    }
    return { corner: low, shape: high.map((n, a) => n - low[a] + 1) };
  }

  // What a box holds, as it is sent: its labels, then its judged bits.
  read(box) {
    const count = box.shape[0] * box.shape[1] * box.shape[2];
    const labels = new Uint8Array(count);
    const judged = new Uint8Array(count);
    this.each(box, (n, k) => { labels[k] = this.labels[n]; judged[k] = this.judged[n]; });
    return { ...box, labels, bits: packed(judged) };
  }

  // Write what a box holds, without a step. For strokes that a browser kept.
  write({ corner, shape, labels, bits }) {
    const judged = unpacked(bits, labels.length);
    this.each({ corner, shape }, (n, k) => { this.labels[n] = labels[k]; this.judged[n] = judged[k]; });
  }

  each({ corner, shape }, visit) {
    const [nx, ny] = this.shape;
    let k = 0;
    for (let z = corner[2]; z < corner[2] + shape[2]; z += 1) {
      for (let y = corner[1]; y < corner[1] + shape[1]; y += 1) {
        const row = nx * (y + ny * z);
        for (let x = corner[0]; x < corner[0] + shape[0]; x += 1, k += 1) visit(row + x, k);
      }
    }
  }
}

export const around = (one, other) => {
  if (!one || !other) return one || other;
  const corner = one.corner.map((n, a) => Math.min(n, other.corner[a]));
  const shape = corner.map((n, a) => Math.max(one.corner[a] + one.shape[a], other.corner[a] + other.shape[a]) - n);
  return { corner, shape };
};

// Several steps as one, for a stroke that was painted piece by piece.
export function joined(steps) {
  const join = (name, kind) => {
    const whole = new kind(steps.reduce((sum, step) => sum + step[name].length, 0));
    let at = 0;
    for (const step of steps) { whole.set(step[name], at); at += step[name].length; }
    return whole;
  };
  return { voxels: join("voxels", Uint32Array), ...Object.fromEntries(["before", "after", "was", "is"].map((name) => [name, join(name, Uint8Array)])) };
}

// The way back and forth: as many steps as fit the memory, and at least 100 of usual size.
export class Steps {
  constructor(bytes = 512e6) {
    [this.limit, this.done, this.undone] = [bytes, [], []];
  }

  add(step) {
    if (!step.voxels.length) return;
    this.undone = [];
    this.done.push(step);
    let held = this.done.reduce((sum, one) => sum + 8 * one.voxels.length, 0);
    while (held > this.limit && this.done.length > 1) held -= 8 * this.done.shift().voxels.length;
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
