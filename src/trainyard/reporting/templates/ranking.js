"use strict";
// Sorts a table by the column whose title is clicked. Without this script, the rows stay in ranking order.
for (const table of document.querySelectorAll("table.sortable")) {
  const valueOf = (row, column) => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const compare = (left, right) => {
    if (left === "" || right === "") return (left === "") - (right === "");
    const difference = Number(left) - Number(right);
    return Number.isNaN(difference) ? left.localeCompare(right, undefined, {numeric: true}) : difference;
  };
  for (const [column, head] of [...table.tHead.rows[0].cells].entries()) {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const sign = head.ariaSort === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.ariaSort = sign > 0 ? "ascending" : "descending";
      const rows = [...table.tBodies[0].rows];
      rows.sort((left, right) => sign * compare(valueOf(left, column), valueOf(right, column)));
      table.tBodies[0].append(...rows);
    });
  }
}
