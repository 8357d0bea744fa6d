// The values between which is painted, and the button that turns them on.
export class Limits {
  constructor(button, low, high, warn) {
    Object.assign(this, { button, low, high, warn });
    button.onclick = () => this.turn();
    for (const field of [low, high]) field.onchange = () => this.judge();
  }

  suggest(range) {
    [this.low.value, this.high.value] = range.map((n) => Number(n.toPrecision(5)));
    this.judge();
  }

  turn() {
    this.button.setAttribute("aria-pressed", String(!this.isOn()));
    for (const field of [this.low, this.high]) field.disabled = !this.isOn();
    this.judge();
  }

  isOn() {
    return this.button.getAttribute("aria-pressed") === "true";
  }

  // The lowest and the highest value that is painted, null where they do not count; an empty field is no limit.
  range() {
    if (!this.isOn()) return null;
    const [low, high] = [this.low.value, this.high.value];
    return [low === "" ? -Infinity : Number(low), high === "" ? Infinity : Number(high)];
  }

  judge() {
    const [low, high] = this.range() || [0, 0];
    for (const field of [this.low, this.high]) field.setAttribute("aria-invalid", String(low > high));
    if (low > high) this.warn("The lowest value is above the highest: nothing would be painted");
  }
}
