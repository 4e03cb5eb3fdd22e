// Tables: a click on a heading sorts, a button below saves the shown rows as CSV. Without scripts they stay as they are.
"use strict";

// The full number of a cell, NaN where a dash stands for an undefined one; its text in a column of words.
const valueOf = (cell, numeric) => {
  if (!numeric) return cell.textContent;
  const data = cell.querySelector("data");
  return data ? Number(data.value) : NaN;
};

const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));

function sortRows(table, place, numeric, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: valueOf(row.cells[place], numeric) }));
  const undefinedLast = (a, b) => Number(Number.isNaN(a.key)) - Number(Number.isNaN(b.key));
  rows.sort((a, b) => undefinedLast(a, b) || direction * compare(a.key, b.key) || 0);
  body.append(...rows.map(({ row }) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const numeric = head.classList.contains("number");
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const descending = now ? now === "ascending" : numeric; // the largest number first, but words from A to Z
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table, place, numeric, descending ? -1 : 1);
    });
  });
}

// Quotes a field as RFC 4180 wants it.
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function csvOf(table) {
  const heads = [...table.tHead.rows[0].cells];
  const lines = [heads.map((head) => head.textContent)];
  for (const row of table.tBodies[0].rows) {
    if (row.hidden) continue;
    lines.push(
      [...row.cells].map((cell, place) => {
        if (!heads[place].classList.contains("number")) return cell.textContent;
        return cell.querySelector("data")?.value ?? ""; // all digits, as the attribute has them
      }),
    );
  }
  return lines.map((line) => line.map(quoted).join(",") + "\r\n").join("");
}

function offerCsv(table, name) {
  const button = document.createElement("button");
  button.className = "csv";
  button.textContent = "Save as CSV";
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvOf(table)], { type: "text/csv" }));
    link.download = name;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  table.parentElement.after(button);
}

for (const section of document.querySelectorAll("section")) {
  section.querySelectorAll("table").forEach((table, index) => {
    makeSortable(table);
    offerCsv(table, `${section.id}${index ? `-${index + 1}` : ""}.csv`);
  });
}

// A link into a closed part of the page opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details");
  if (details && !details.open) {
    details.open = true;
    target.scrollIntoView();
  }
}
window.addEventListener("hashchange", openTarget);
openTarget();
