// Small questions beside the picture: how far to grow, which prediction to start from.
function open(desk, title, body, yes, act) {
  const panel = desk.find(".panel");
  const close = () => { panel.hidden = true; desk.find("canvas").focus({ preventScroll: true }); };
  panel.innerHTML = `<b></b>${body}<div class="choices"><button type="button" class="no">Cancel</button><button type="button" class="yes"></button></div>`;
  panel.querySelector("b").textContent = title;
  panel.querySelector(".yes").textContent = yes;
  panel.querySelector(".no").onclick = close;
  panel.querySelector(".yes").onclick = () => { close(); act(panel); };
  panel.onkeydown = (event) => { if (event.key === "Escape") close(); };
  panel.hidden = false;
  panel.querySelector("input, select").focus();
  return panel;
}

export function askGrow(desk) {
  if (!desk.label) return desk.notice("Choose a structure first");
  const body = `<label>How far <input type="range" class="how-far" min="0" max="100" value="50"></label>
    <label>Where <select class="grow-where"><option value="slice">in this slice</option><option value="scan">in the whole scan</option></select></label>`;
  return open(desk, `Grow ${desk.data.names[desk.label - 1]} from its strokes`, body, "Grow", (panel) => {
    const axis = desk.axis;
    const slice = panel.querySelector(".grow-where").value === "slice" ? { axis, index: desk.viewer.voxel()[axis] } : null;
    desk.propose("Growing …", "grow", { label: desk.label, limit: Number(panel.querySelector(".how-far").value) / 100, slice });
  });
}

export function askStart(desk) {
  const panel = open(desk, "Start from a prediction", '<p>It is laid under what you have judged, and counts once you mark it complete.</p><label>Model <select class="start-model"></select></label>', "Start", () => {
    desk.startFrom(panel.querySelector(".start-model").value);
  });
  panel.querySelector("select").replaceChildren(...[...desk.data.models].reverse().map((model) => new Option(model, model)));
}
