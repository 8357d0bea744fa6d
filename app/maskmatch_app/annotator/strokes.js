// What a stroke covers. Pure functions on a grid {shape, spacing} in the order of the file; each returns the numbers of
// the voxels, x + X * (y + Y * z). Places are [x, y, z] in voxels. `axis` is the file axis across the plane painted on.

import { Spans } from "./runs.js";

const others = (axis) => [0, 1, 2].filter((a) => a !== axis);
export const numberOf = (shape, [x, y, z]) => x + shape[0] * (y + shape[1] * z);

// Whole voxels from one to another without a gap.
export function line(from, to) {
  const steps = Math.max(...from.map((n, a) => Math.abs(to[a] - n)));
  return Array.from({ length: steps + 1 }, (_, n) => from.map((start, a) => Math.round(start + ((to[a] - start) * n) / Math.max(1, steps))));
}

// A brush drawn from one voxel to another: all within half its size, counted in the smallest voxel side of the plane
// (of the scan, for a ball), of the straight line between their centres. `axis` is null for a ball.
export function brush(grid, axis, from, to, size) {
  const axes = axis === null ? [0, 1, 2] : others(axis);
  const unit = Math.min(...axes.map((a) => grid.spacing[a]));
  const radius = (size / 2) * unit;
  const reach = [0, 1, 2].map((a) => (axes.includes(a) ? Math.floor(radius / grid.spacing[a]) : 0));
  const low = [0, 1, 2].map((a) => Math.max(0, Math.min(from[a], to[a]) - reach[a]));
  const high = [0, 1, 2].map((a) => Math.min(grid.shape[a] - 1, Math.max(from[a], to[a]) + reach[a]));
  const way = from.map((n, a) => (to[a] - n) * grid.spacing[a]);
  const length2 = way.reduce((sum, n) => sum + n * n, 0);
  const found = [];
  for (let z = low[2]; z <= high[2]; z += 1) {
    for (let y = low[1]; y <= high[1]; y += 1) {
      for (let x = low[0]; x <= high[0]; x += 1) {
        const d = [(x - from[0]) * grid.spacing[0], (y - from[1]) * grid.spacing[1], (z - from[2]) * grid.spacing[2]];
        const t = length2 ? Math.min(1, Math.max(0, (d[0] * way[0] + d[1] * way[1] + d[2] * way[2]) / length2)) : 0;
        const off2 = (d[0] - t * way[0]) ** 2 + (d[1] - t * way[1]) ** 2 + (d[2] - t * way[2]) ** 2;
        if (off2 <= radius * radius + 1e-9) found.push(numberOf(grid.shape, [x, y, z]));
      }
    }
  }
  // Where voxels are longer than the brush is wide, the straight line itself leaves no gap.
  const spine = line(from, to).filter((v) => v.every((n, a) => n >= 0 && n < grid.shape[a])).map((v) => numberOf(grid.shape, v));
  return [...new Set([...found, ...spine])];
}

// The voxels of a slice for which `holds(u, v)` is true, within [low, high] of the two axes of the plane.
function inPlane(grid, axis, slice, low, high, holds) {
  const [u, v] = others(axis);
  const found = [];
  const at = [0, 0, 0];
  at[axis] = slice;
  for (at[v] = Math.max(0, low[1]); at[v] <= Math.min(grid.shape[v] - 1, high[1]); at[v] += 1) {
    for (at[u] = Math.max(0, low[0]); at[u] <= Math.min(grid.shape[u] - 1, high[0]); at[u] += 1) {
      if (holds(at[u], at[v])) found.push(numberOf(grid.shape, at));
    }
  }
  return found;
}

// What an outline encloses: voxels whose centre lies in it (even-odd), and those that the outline itself runs through.
export function polygon(grid, axis, places) {
  const [u, v] = others(axis);
  const slice = Math.round(places[0][axis]);
  const points = places.map((p) => [p[u], p[v]]);
  const low = [0, 1].map((k) => Math.floor(Math.min(...points.map((p) => p[k]))));
  const high = [0, 1].map((k) => Math.ceil(Math.max(...points.map((p) => p[k]))));
  const inside = (x, y) => {
    let odd = false;
    for (let n = 0, before = points.length - 1; n < points.length; before = n, n += 1) {
      const [[ax, ay], [bx, by]] = [points[n], points[before]];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
  };
  const whole = places.map((p) => p.map((n, a) => (a === axis ? slice : Math.round(n))));
  const edge = whole.flatMap((p, n) => line(p, whole[(n + 1) % whole.length]));
  const kept = edge.filter((p) => p.every((n, a) => n >= 0 && n < grid.shape[a])).map((p) => numberOf(grid.shape, p));
  return [...new Set([...inPlane(grid, axis, slice, low, high, inside), ...kept])];
}

const corners = (axis, a, b) => {
  const [u, v] = others(axis);
  return [[Math.min(a[u], b[u]), Math.min(a[v], b[v])], [Math.max(a[u], b[u]), Math.max(a[v], b[v])]];
};

// All voxels between two corners, both included.
export function rectangle(grid, axis, a, b) {
  const [low, high] = corners(axis, a, b);
  return inPlane(grid, axis, a[axis], low, high, () => true);
}

// The ellipse that fills the rectangle of two corners, up to the outer sides of its voxels.
export function ellipse(grid, axis, a, b) {
  const [low, high] = corners(axis, a, b);
  const middle = low.map((n, k) => (n + high[k]) / 2);
  const half = low.map((n, k) => (high[k] - n + 1) / 2);
  return inPlane(grid, axis, a[axis], low, high, (x, y) => ((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2 <= 1);
}

// What hangs together with a voxel over the sides of voxels and looks like it: `key(number)` is equal there and
// `allowed(number)` holds. Within its slice, or in the whole scan where `axis` is null.
export function bucket(grid, axis, seed, key, allowed) {
  const [nx, ny, nz] = grid.shape;
  const found = new Spans();
  const start = numberOf(grid.shape, seed);
  const wanted = key(start);
  const seen = new Uint8Array(nx * ny * nz);
  const holds = (n) => !seen[n] && key(n) === wanted && allowed(n);
  const begun = [start];
  // Rows of the scan are filled from end to end; of the rows beside them only where each stretch begins is noted.
  const look = (first, last) => {
    let isIn = false;
    for (let n = first; n <= last; n += 1) {
      const now = holds(n);
      if (now && !isIn) begun.push(n);
      isIn = now;
    }
  };
  while (begun.length) {
    const n = begun.pop();
    if (!holds(n)) continue;
    const row = n - (n % nx);
    let [first, last] = [n, n];
    if (axis !== 0) {
      while (first > row && holds(first - 1)) first -= 1;
      while (last < row + nx - 1 && holds(last + 1)) last += 1;
    }
    seen.fill(1, first, last + 1);
    found.add(first, last - first + 1);
    const y = (row / nx) % ny;
    const z = Math.floor(row / (nx * ny));
    if (axis !== 1 && y > 0) look(first - nx, last - nx);
    if (axis !== 1 && y < ny - 1) look(first + nx, last + nx);
    if (axis !== 2 && z > 0) look(first - nx * ny, last - nx * ny);
    if (axis !== 2 && z < nz - 1) look(first + nx * ny, last + nx * ny);
  }
  return found;
}

// Only the voxels whose value lies in [low, high].
export const within = (voxels, value, [low, high]) => voxels.filter((n) => value(n) >= low && value(n) <= high);

// A whole slice, or the whole scan where `axis` is null.
export function slab(shape, axis, index) {
  const corner = [0, 0, 0];
  const size = [...shape];
  if (axis !== null) [corner[axis], size[axis]] = [index, 1];
  return { corner, shape: size };
}
