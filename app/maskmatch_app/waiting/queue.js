// The queue as a list; the scan that is clicked goes back once, by its name. Rows are made anew only where they changed.
const shown = new WeakMap();

export default function ({ parentElement, data, setTriggerValue }) {
  const list = parentElement.querySelector(".queue");
  const rows = JSON.stringify(data.rows);
  if (shown.get(list) !== rows) {
    list.replaceChildren(...data.rows.map((row) => line(row, () => setTriggerValue("picked", row.name))));
    shown.set(list, rows);
  }
  for (const item of list.children) {
    const door = item.firstChild;
    const now = door.dataset.scan === data.current;
    if (now && door.getAttribute("aria-current") !== "true") item.scrollIntoView({ block: "nearest", inline: "nearest" });
    door.setAttribute("aria-current", String(now));
  }
}

function line(row, pick) {
  const head = part("div", "head");
  head.append(part("b", "", row.name), part("span", "", row.word));
  const picture = part("img", "");
  Object.assign(picture, { loading: "lazy", alt: `Slices of ${row.name}`, src: row.picture });
  const door = part("button", "");
  door.type = "button";
  door.dataset.scan = row.name;
  door.title = `${row.reason} (${row.score} of 100)`;
  door.style.setProperty("--level", row.colour);
  door.onclick = pick;
  door.append(head, picture, part("p", "", row.reason));
  const item = document.createElement("li");
  item.append(door);
  return item;
}

function part(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}
