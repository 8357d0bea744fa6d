// A page of scans; what is asked for goes back once, as a word and a name.
export default function ({ parentElement, data, setTriggerValue }) {
  const find = (name) => parentElement.querySelector(name);
  const ask = (what, of) => setTriggerValue("wish", { what, of });
  const table = find("table");
  table.classList.toggle("with-groups", data.groups);
  table.classList.toggle("with-models", data.models);
  find("tbody").replaceChildren(...data.rows.map((row) => line(row, ask)));
  const last = data.first + data.rows.length - 1;
  const noun = data.total === 1 ? "scan" : "scans";
  const of = data.found === data.total ? `${data.total} ${noun}` : `${data.found} found among ${data.total} ${noun}`;
  find(".range").textContent = data.rows.length === data.found ? of : `${data.first} to ${last} of ${of}`;
  const back = find(".back"), on = find(".on");
  back.hidden = on.hidden = data.rows.length === data.found;
  back.disabled = data.page === 0;
  on.disabled = last >= data.found;
  back.onclick = () => ask("turn", String(data.page - 1));
  on.onclick = () => ask("turn", String(data.page + 1));
}

function line(row, ask) {
  const tr = document.createElement("tr");
  const picture = document.createElement("img");
  picture.loading = "lazy";
  picture.alt = `Slices of ${row.name}`;
  picture.src = row.picture;
  const open = button(row.name, "open", () => ask("open", row.name));
  open.title = `Open ${row.name}`;
  const source = document.createElement("small");
  source.textContent = row.source;
  const dot = document.createElement("i");
  dot.style.background = row.colour;
  const remove = button("Remove", "remove", () => ask("remove", row.name));
  remove.setAttribute("aria-label", `Remove ${row.name}`);
  tr.append(
    cell("slices", picture), cell("scan", open, source), cell("state", dot, row.state), cell("size", row.size),
    cell("spacing", row.spacing), cell("group", row.group), cell("models", row.models), cell("gone", remove),
  );
  tr.onclick = (event) => { if (!event.target.closest("button")) ask("open", row.name); };
  return tr;
}

function cell(name, ...parts) {
  const td = document.createElement("td");
  td.className = name;
  td.append(...parts);
  return td;
}

function button(text, name, action) {
  const made = document.createElement("button");
  made.type = "button";
  made.className = name;
  made.textContent = text;
  made.onclick = action;
  return made;
}
