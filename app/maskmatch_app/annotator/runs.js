// Runs of voxels that follow each other in the file: what a step changes, small also where that is a whole scan.

// Numbers without an object each; grows as it is filled.
class Column {
  constructor(kind) {
    [this.items, this.length] = [new kind(64), 0];
  }

  push(n) {
    if (this.length === this.items.length) {
      const larger = new this.items.constructor(2 * this.length);
      larger.set(this.items);
      this.items = larger;
    }
    this.items[this.length] = n;
    this.length += 1;
  }

  taken() {
    return this.items.slice(0, this.length);
  }
}

// Voxels as stretches, for a fill that may cover the whole scan.
export class Spans {
  constructor(starts = new Column(Uint32Array), lengths = new Column(Uint32Array)) {
    Object.assign(this, { starts, lengths });
  }

  add(start, length) {
    this.starts.push(start);
    this.lengths.push(length);
  }

  each(visit) {
    for (let k = 0; k < this.starts.length; k += 1) {
      const start = this.starts.items[k];
      for (let n = start; n < start + this.lengths.items[k]; n += 1) visit(n);
    }
  }

  filter(holds) {
    const kept = new Spans();
    this.each((n) => { if (holds(n)) kept.add(n, 1); });
    return kept;
  }

  * [Symbol.iterator]() {
    for (let k = 0; k < this.starts.length; k += 1) {
      const start = this.starts.items[k];
      for (let n = start; n < start + this.lengths.items[k]; n += 1) yield n;
    }
  }
}

// A step: stretches of voxels that all had one state and get another. A state is the label, and 256 where it is judged.
export class Change {
  constructor() {
    [this.starts, this.lengths] = [new Column(Uint32Array), new Column(Uint32Array)];
    [this.before, this.after] = [new Column(Uint16Array), new Column(Uint16Array)];
    [this.next, this.was, this.is] = [-1, -1, -1];
  }

  // One more voxel; it lengthens the last stretch where it can.
  add(n, was, is) {
    if (n === this.next && was === this.was && is === this.is) {
      this.lengths.items[this.lengths.length - 1] += 1;
    } else {
      this.stretch(n, 1, was, is);
      [this.was, this.is] = [was, is];
    }
    this.next = n + 1;
  }

  stretch(start, length, was, is) {
    this.starts.push(start);
    this.lengths.push(length);
    this.before.push(was);
    this.after.push(is);
  }

  // As it is kept: arrays of the size that is needed.
  step() {
    const { starts, lengths, before, after } = this;
    return { starts: starts.taken(), lengths: lengths.taken(), before: before.taken(), after: after.taken() };
  }
}

export const bytesOf = ({ starts }) => 12 * starts.length;

// Several steps as one, in their order.
export function joined(steps) {
  const whole = new Change();
  for (const { starts, lengths, before, after } of steps) {
    for (let k = 0; k < starts.length; k += 1) whole.stretch(starts[k], lengths[k], before[k], after[k]);
  }
  return whole.step();
}

// The box around all that a step changes; null where that is nothing.
export function boxAround([nx, ny], { starts, lengths }) {
  if (!starts.length) return null;
  const low = [Infinity, Infinity, Infinity];
  const high = [-1, -1, -1];
  const reach = (axis, from, to) => {
    if (from < low[axis]) low[axis] = from;
    if (to > high[axis]) high[axis] = to;
  };
  for (let k = 0; k < starts.length; k += 1) {
    const [first, last] = [starts[k], starts[k] + lengths[k] - 1];
    const [row, rowEnd] = [Math.floor(first / nx), Math.floor(last / nx)];
    const [slice, sliceEnd] = [Math.floor(row / ny), Math.floor(rowEnd / ny)];
    if (row === rowEnd) reach(0, first % nx, last % nx);
    else reach(0, 0, nx - 1);
    if (slice === sliceEnd) reach(1, row % ny, rowEnd % ny);
    else reach(1, 0, ny - 1);
    reach(2, slice, sliceEnd);
  }
  return { corner: low, shape: high.map((n, a) => n - low[a] + 1) };
}
