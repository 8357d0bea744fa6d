// The classes of a study may change while somebody paints: labels are numbers, which then belong to other structures.
import { Steps } from "./mask.js";

const PLAIN = "#9aa7ab";

// The page's data with the names that a draft is in the numbers of, each in its own colour.
export function inClasses(data, classes) {
  return { ...data, names: classes, colours: classes.map((name, n) => data.colours[data.names.indexOf(name)] || data.colours[n] || PLAIN) };
}

// The page tells of other classes, or of other names for them: what is painted gets their numbers first.
export function changeClasses(desk, data) {
  return desk.withServer("The structures have changed …", async () => {
    await desk.keeper.renumber();
    if (!desk.keeper.isOf({ classes: data.names })) return;
    desk.data = { ...desk.data, names: data.names, colours: data.colours };
    desk.structures();
  });
}

// The labels have the numbers of these classes from here on; `values` are those of the classes before, null where gone.
export function takeClasses(desk, { classes, values, isOther }) {
  const kept = [];
  values.forEach((value, n) => { if (value) kept[value - 1] = desk.data.colours[n]; });
  const isNews = JSON.stringify(classes) !== JSON.stringify(desk.data.names);
  desk.data = { ...desk.data, names: classes, colours: classes.map((_, n) => kept[n] || PLAIN) };
  if (isOther) {
    desk.label = values[desk.label - 1] || 1;
    desk.steps = new Steps();
    desk.notice("The structures were changed elsewhere; what you paint follows them. Undo begins anew.");
  }
  desk.structures();
  desk.viewer.resample(true);
  desk.tellSteps();
  if (isNews) desk.tellPage("event", "stale");
}
