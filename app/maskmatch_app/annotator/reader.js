// The viewer of a page that only looks: a scan, one of its overlays, and keys that the page gives a meaning.
import { Desk, toggle } from "./desk.js";

const DIFFERENCE = { names: ["only in the new one", "only in the other"], colours: ["#56b4e9", "#d55e00"] };

export class Reader extends Desk {
  wire() {
    super.wire();
    this.find(".overlay").onchange = () => this.inTurn(() => this.overlay());
    this.find(".ruler").onclick = ({ currentTarget }) => this.rule(toggle(currentTarget));
  }

  show(data) {
    return this.inTurn(async () => {
      if (JSON.stringify(this.data) === JSON.stringify(data)) return;
      this.data = data;
      this.tellKeys();
      this.stand("loading");
      this.say("Loading …");
      await this.viewer.open(data.scan);
      this.find(".window").value = "auto";
      for (const option of this.all(".window [data-ct]")) option.hidden = !this.viewer.isCt;
      this.find(".overlay").replaceChildren(...[...data.overlays, { name: "No overlay", url: "" }].map(optionOf));
      await this.overlay();
      this.look(this.viewer.isFlat ? "axial" : this.viewer.view);
      this.say("");
      this.stand("ready");
    });
  }

  async overlay() {
    const { value, selectedOptions } = this.find(".overlay");
    this.kind = selectedOptions[0]?.dataset.kind || "";
    this.find(".opacity").disabled = !value;
    await this.viewer.lay(value, (lay) => this.colour(lay));
    this.opacity();
    this.tell();
  }

  colour(lay) {
    if (this.kind === "uncertainty") {
      this.whole = lay.global_max > 1.5 ? 255 : 1;
      [lay.cal_min, lay.cal_max, lay.colormap] = [0.08 * this.whole, 0.75 * this.whole, "inferno"];
      return;
    }
    const { names, colours } = this.words();
    const shade = (at) => [0, ...colours.map((colour) => parseInt(colour.slice(at, at + 2), 16))];
    const values = [0, ...names.map((_, index) => index + 1)];
    lay.setColormapLabel({ R: shade(1), G: shade(3), B: shade(5), A: values.map((v) => (v ? 255 : 0)), I: values, labels: ["background", ...names] });
  }

  words() {
    return this.kind === "difference" ? DIFFERENCE : this.data;
  }

  opacity() {
    this.viewer.overlayOpacity(Number(this.find(".opacity").value) / 100);
  }

  // What the overlay says of the voxel under the crosshair, and its colour.
  under() {
    const value = this.viewer.overlaid();
    if (!value) return ["", "transparent"];
    if (this.kind === "uncertainty") return [`uncertainty ${Math.round((100 * value) / this.whole)} %`, "transparent"];
    const label = Math.round(value);
    const { names, colours } = this.words();
    return [names[label - 1] || `label ${label}`, colours[label - 1] || "transparent"];
  }

  // The page may give keys a meaning of its own; those come before the viewer's.
  tellKeys() {
    const rows = Object.entries(this.data.keys).map(([key, word]) => {
      const row = document.createElement("tr");
      for (const text of [key.toUpperCase(), word]) row.append(Object.assign(document.createElement("td"), { textContent: text }));
      return row;
    });
    this.find(".sheet .own").replaceChildren(...rows);
  }

  acts(pressed, event) {
    const word = this.data.keys[pressed];
    // While a scan loads, the one before is in view: what is pressed then belongs to neither.
    const shown = this.find(".desk").dataset.state === "ready";
    if (word !== undefined) return event.repeat || !shown ? null : () => this.tellPage("pressed", word);
    if (pressed === ".") return event.repeat || !shown ? null : () => this.find(".ruler").click();
    return pressed === "o" ? () => this.hide() : pressed === "3" ? () => this.look("solid") : super.acts(pressed);
  }
}

function optionOf({ name, url, kind }) {
  const made = new Option(name, url);
  made.dataset.kind = kind || "";
  return made;
}
