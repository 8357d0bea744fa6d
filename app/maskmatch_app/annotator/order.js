// From the order in which the viewer holds voxels (its axes run as nearly right, anterior and superior as they can) to
// the order of the file, and back. Only the viewer's own start and step say how the axes are turned; a reduced copy
// adds the whole factors by which it is smaller than the file.
const TURNS = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

export class Order {
  // start, step: of the shown copy; dims: its size in the viewer's order; copy: its size in file order; shape: of the
  // file itself; factors: whole numbers, shape is about copy times factors.
  constructor({ start, step, dims, copy, shape, factors }) {
    Object.assign(this, { dims, copy, shape, factors });
    const stride = [1, copy[0], copy[0] * copy[1]];
    this.axis = TURNS.find((turn) => turn.every((a, i) => Math.abs(step[i]) === stride[a] && dims[i] === copy[a]));
    if (!this.axis) throw new Error("the axes of this scan cannot be told apart");
    this.flip = step.map((n) => n < 0);
    this.stride = [1, shape[0], shape[0] * shape[1]];
  }

  // A place in the viewer's order, in whole or broken voxels of the copy, as a place in the file.
  toFile(place) {
    const file = [0, 0, 0];
    this.axis.forEach((a, i) => {
      const at = this.flip[i] ? this.dims[i] - 1 - place[i] : place[i];
      file[a] = this.factors[a] * at + (this.factors[a] - 1) / 2;
    });
    return file;
  }

  fromFile(file) {
    return this.axis.map((a, i) => {
      const at = (file[a] - (this.factors[a] - 1) / 2) / this.factors[a];
      return this.flip[i] ? this.dims[i] - 1 - at : at;
    });
  }

  // A direction in the viewer's order as one in the file.
  turn(step) {
    const file = [0, 0, 0];
    this.axis.forEach((a, i) => { file[a] = (this.flip[i] ? -1 : 1) * step[i] * this.factors[a]; });
    return file;
  }

  inside(voxel) {
    return voxel.map((n, a) => Math.min(this.shape[a] - 1, Math.max(0, Math.round(n))));
  }

  // Which voxels of the copy show a box of the file: [low, high) in the viewer's order.
  boxOf({ corner, shape }) {
    const low = [0, 0, 0];
    const high = [0, 0, 0];
    this.axis.forEach((a, i) => {
      const first = Math.min(this.dims[i] - 1, Math.floor(corner[a] / this.factors[a]));
      const last = Math.min(this.dims[i] - 1, Math.floor((corner[a] + shape[a] - 1) / this.factors[a]));
      [low[i], high[i]] = this.flip[i] ? [this.dims[i] - 1 - last, this.dims[i] - first] : [first, last + 1];
    });
    return { low, high };
  }

  // Where in the file the voxels of the copy look: for each of the viewer's axes one table a choice. Across the plane in
  // view (and along every axis where none is) only the voxels at the crosshair count; within it all of a block do.
  tables(at, plane) {
    return this.axis.map((a, i) => {
      const f = this.factors[a];
      const offsets = plane === null || plane === a ? [((at[a] % f) + f) % f] : [...Array(f).keys()];
      return offsets.map((offset) => Int32Array.from({ length: this.dims[i] }, (_, n) => {
        const file = f * (this.flip[i] ? this.dims[i] - 1 - n : n) + offset;
        return Math.min(this.shape[a] - 1, file) * this.stride[a];
      }));
    });
  }

  // Write into the shown bitmap what `code(index, stripe)` says of the voxels of a box.
  sample(bitmap, { low, high }, [xs, ys, zs], code) {
    const [nx, ny] = this.dims;
    for (let z = low[2]; z < high[2]; z += 1) {
      for (let y = low[1]; y < high[1]; y += 1) {
        let at = (z * ny + y) * nx + low[0];
        for (let x = low[0]; x < high[0]; x += 1, at += 1) {
          let found = 0;
          for (const tz of zs) for (const ty of ys) for (const tx of xs) found = found || code(tx[x] + ty[y] + tz[z], x + y + z);
          bitmap[at] = found;
        }
      }
    }
  }
}
