// What the painter's bars are made of: tools with their pictures and keys, structures, the sheet of keys.
const draw = (paths) => `<svg viewBox="0 0 24 24" aria-hidden="true">${paths}</svg>`;

export const TOOLS = [
  { tool: "move", key: "v", name: "Crosshair: look around without painting", picture: draw('<path d="M12 3v18M3 12h18"/><circle cx="12" cy="12" r="4.5"/>') },
  { tool: "brush", key: "b", name: "Brush", picture: draw('<path d="M20 4 10.5 13.5M9 13c-2.5 0-4 1.6-4 4 0 1.4-.8 2.4-2 3 4.5 1.2 9 .2 9-4 0-1.7-1.3-3-3-3Z"/>') },
  { tool: "eraser", key: "e", name: "Eraser: back to not judged", picture: draw('<path d="m7 19-3.5-3.5a1.5 1.5 0 0 1 0-2L13 5l6 6-8 8Zm0 0h13M9 9l6 6"/>') },
  { tool: "background", key: "g", name: "Background brush: judged, and no structure", picture: draw('<circle cx="12" cy="12" r="8"/><path d="m6.5 17.5 11-11"/>') },
  { tool: "fill", key: "f", name: "Filled pen: draw an outline, it is filled", picture: draw('<path d="M5 15C3 9 8 4 13 5s8 5 5 10-11 7-13 0Z" fill="currentColor" fill-opacity=".35"/>') },
  { tool: "rectangle", key: "r", name: "Rectangle", picture: draw('<rect x="4" y="6" width="16" height="12" rx="1" fill="currentColor" fill-opacity=".35"/>') },
  { tool: "ellipse", key: "o", name: "Ellipse", picture: draw('<ellipse cx="12" cy="12" rx="8.5" ry="6" fill="currentColor" fill-opacity=".35"/>') },
  { tool: "bucket", key: "k", name: "Bucket: fill what hangs together", picture: draw('<path d="m11 4 8 8-6.5 6.5a2 2 0 0 1-3 0L4.5 13.5a2 2 0 0 1 0-3L11 4ZM4 12h15M21 16c-1 1.5-1.5 2.3-1.5 3.2a1.5 1.5 0 0 0 3 0c0-.9-.5-1.7-1.5-3.2Z"/>') },
  { tool: "ruler", key: ".", name: "Ruler: drag to measure", picture: draw('<path d="m3 16 13-13 5 5L8 21Z"/><path d="m7 12 2 2m1-5 3 3m0-6 2 2"/>') },
];
export const ACTIONS = [
  { act: "undo", key: "u", shown: "Ctrl Z", name: "Undo", picture: draw('<path d="M8 5 4 9l4 4M4 9h9a6 6 0 0 1 0 12H9"/>') },
  { act: "redo", key: "y", shown: "Ctrl Y", name: "Redo", picture: draw('<path d="m16 5 4 4-4 4M20 9h-9a6 6 0 0 0 0 12h4"/>') },
  { act: "grow", key: "w", name: "Grow the structure from its strokes", picture: draw('<circle cx="12" cy="12" r="3" fill="currentColor"/><path d="M12 6V2m0 20v-4m6-6h4M2 12h4M17 7l2-2M5 19l2-2M7 7 5 5m14 14-2-2"/>') },
  { act: "interpolate", key: "i", name: "Fill the slices between painted ones", picture: draw('<path d="M5 5h14M7 19h10"/><path d="M6 9.5h12M6.5 14.5h11" stroke-dasharray="2.5 2"/>') },
  { act: "start", key: "p", name: "Start from a prediction", picture: draw('<path d="M12 3l1.8 5.2L19 10l-5.2 1.8L12 17l-1.8-5.2L5 10l5.2-1.8ZM19 16v5m-2.5-2.5h5"/>') },
];
const MORE = [
  ["1 … 9, 0", "structure, background"], ["[ ]", "size of the brush"], ["Q", "brush and bucket in 3D"], ["T", "limit to values"],
  ["A C S", "axial, coronal, sagittal"], ["M D", "all planes, 3D"], ["↑ ↓ wheel", "slices"], ["Page ↑ ↓", "ten slices"],
  ["+ − =", "larger, smaller, whole"], ["right drag", "window"], ["H", "labels on and off"], ["J", "what is judged"],
  ["L", "swap left and right"], ["Enter", "slice complete"], ["Shift Enter", "scan complete"], ["N", "save & next"], ["Esc", "take back the stroke at hand"], ["?", "this sheet"],
];

export function fillRail(rail, press) {
  const made = (kind, one) => {
    const button = document.createElement("button");
    button.type = "button";
    button.innerHTML = one.picture;
    button.title = `${one.name} (${one.shown || one.key.toUpperCase()})`;
    button.setAttribute("aria-label", one.name);
    if (kind === "tool") button.dataset.tool = one.tool;
    else button.className = one.act;
    button.onclick = () => press(kind, one[kind]);
    return button;
  };
  const line = document.createElement("hr");
  rail.replaceChildren(...TOOLS.map((one) => made("tool", one)), line, ...ACTIONS.map((one) => made("act", one)));
}

export function fillChips(chips, names, colours, press) {
  const made = (label, name, colour) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.dataset.label = label;
    chip.setAttribute("role", "radio");
    chip.style.setProperty("--shade", colour);
    chip.title = label < 10 ? `${name} (${label})` : name;
    chip.append(Object.assign(document.createElement("i"), {}), name);
    if (label < 10) chip.append(Object.assign(document.createElement("kbd"), { textContent: label }));
    chip.onclick = () => press(label);
    return chip;
  };
  chips.replaceChildren(...names.map((name, n) => made(n + 1, name, colours[n])), made(0, "Background", "transparent"));
}

export function fillSheet(sheet) {
  const rows = [...TOOLS, ...ACTIONS].map((one) => [one.shown ? `${one.key.toUpperCase()}, ${one.shown}` : one.key.toUpperCase(), one.name.split(":")[0]]).concat(MORE);
  const half = Math.ceil(rows.length / 2);
  const table = document.createElement("table");
  for (let n = 0; n < half; n += 1) {
    const row = table.insertRow();
    for (const text of [...rows[n], ...(rows[n + half] || [])]) row.insertCell().textContent = text;
  }
  sheet.replaceChildren(Object.assign(document.createElement("b"), { textContent: "Keys" }), table);
}

// The colours of the drawing, and the number of the colour for each voxel. What is judged has the structure's colour; what
// is only suggested is hatched in it.
export class Inks {
  constructor(colours) {
    const rgb = colours.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
    const n = rgb.length;
    this.kinds = 3 * n < 255 ? 2 : 2 * n < 255 ? 1 : 0;
    this.count = n;
    this.background = Math.min(255, n * (1 + this.kinds) + 1);
    const hatched = rgb.flatMap((one) => [[...one, 215], [...one, 70]].slice(-this.kinds || Infinity));
    this.table = [...rgb.map((one) => [...one, 255]), ...(this.kinds ? hatched : []), [190, 210, 220, 70]].slice(0, 255);
  }

  of(label, judged, stripe, showJudged) {
    if (!label) return showJudged && judged ? this.background : 0;
    if (judged || !this.kinds) return label;
    return this.count + this.kinds * (label - 1) + 1 + (this.kinds === 2 && (stripe & 3) > 1 ? 1 : 0);
  }
}
