"use strict";
// Sortable tables: a button in each head; rows without a number in the column stay last, whichever way it is sorted.
const NEXT = { none: "ascending", ascending: "descending", descending: "none" };
const words = new Intl.Collator("en", { numeric: true });

function compare(column, sign) {
  return (a, b) => {
    const [x, y] = [a.row.cells[column], b.row.cells[column]];
    const [p, q] = [x.dataset.key, y.dataset.key];
    if (p !== "" && q !== "") return sign * (Number(p) - Number(q)) || a.place - b.place;
    if (p !== "" || q !== "") return p === "" ? 1 : -1;
    return sign * words.compare(x.textContent, y.textContent) || a.place - b.place;
  };
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (!body || body.classList.contains("below")) continue;
  const first = Array.from(body.rows, (row, place) => ({ row, place }));
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = NEXT[head.getAttribute("aria-sort")];
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      const sign = order === "descending" ? -1 : 1;
      const rows = order === "none" ? first : [...first].sort(compare(column, sign));
      body.append(...rows.map(({ row }) => row));
    });
  });
}

// A link to a cell opens its details.
function reveal() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target && target.tagName === "DETAILS") {
    target.open = true;
    target.scrollIntoView();
  }
}
window.addEventListener("hashchange", reveal);
reveal();
document.documentElement.classList.add("scripted");
