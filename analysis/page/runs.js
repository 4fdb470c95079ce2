const table = root.querySelector("table");
const body = table.tBodies[0];
const heads = [...table.tHead.rows[0].cells];
const rows = [...body.rows].map((row) => ({row, text: row.textContent.toLowerCase(), status: row.cells[1].textContent}));
const [words, status, count] = ["[name=words]", "[name=status]", ".count"].map((one) => root.querySelector(one));

// A number where the cell has one; an empty one is after all others in both directions.
function key(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent;
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", {numeric: true});
}

function sort(column) {
  const rising = heads[column].getAttribute("aria-sort") !== "ascending";
  heads.forEach((head) => head.setAttribute("aria-sort", "none"));
  heads[column].setAttribute("aria-sort", rising ? "ascending" : "descending");
  const keyed = rows.map((one) => [key(one.row, column), one]);
  const empty = (value) => value === null || value === "";
  keyed.sort(([a], [b]) => {
    if (empty(a) || empty(b)) return empty(a) - empty(b);
    return rising ? compare(a, b) : compare(b, a);
  });
  body.append(...keyed.map(([, one]) => one.row));
}

function filter() {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0;
  for (const one of rows) {
    const fits = (!status.value || one.status === status.value) && wanted.every((word) => one.text.includes(word));
    one.row.hidden = !fits;
    left += fits;
  }
  count.textContent = `${left} of ${rows.length} runs`;
}

heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  head.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => sort(column));
});
words.addEventListener("input", filter);
status.addEventListener("change", filter);
filter();
