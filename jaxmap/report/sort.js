for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, place) => {
    const numeric = head.classList.contains("number"), button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const now = head.getAttribute("aria-sort"), down = now ? now === "ascending" : numeric;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[place], data = cell.querySelector("data");
        return numeric ? (data ? Number(data.value) : NaN) : cell.textContent;
      };
      const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
      const rows = [...body.rows].map((row) => [key(row), row]);
      rows.sort(([a], [b]) => Number(Number.isNaN(a)) - Number(Number.isNaN(b)) || (down ? compare(b, a) : compare(a, b)) || 0);
      body.append(...rows.map(([, row]) => row));
    };
  });
}
