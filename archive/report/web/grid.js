"use strict";
// A table of any length: only the rows in view are in the document. Columns sort; numbers are never cut.
Object.assign(Treewright, (() => {
  const { cut, element, number } = Treewright;
  const ROW = 30; // pixels
  const BEYOND = 12; // rows drawn above and below the visible ones
  const WORDS = 70;

  // Append a grid to ``root``. columns: [{name, title, value(i), show(i)}]: value is what sorts and what a download holds, show an element.
  // sorted(name, down): a heading was pressed. Returns {set(columns, rows, sort)}; rows: positions in their order.
  function grid(root, { label, sorted }) {
    const around = element("div", undefined, "scroll grid"), made = element("table"), head = made.createTHead(), body = made.createTBody();
    Object.assign(around, { tabIndex: 0, role: "region", ariaLabel: label });
    const [above, below] = [element("tr"), element("tr")].map((row) => { row.append(element("td")); row.setAttribute("aria-hidden", "true"); row.className = "space"; return row; });
    let columns = [], rows = [], first = -1, last = -1, widths = [];
    around.append(made);
    root.append(around);
    around.addEventListener("scroll", () => paint(false));
    new ResizeObserver(() => paint(false)).observe(around);

    function heading(column, sort) {
      const cell = element("th", undefined, column.numeric ? "n" : ""), press = element("button", column.title, "sort"), on = sort && sort.name === column.name;
      cell.scope = "col";
      press.type = "button";
      press.dataset.column = column.name;
      if (on) { cell.setAttribute("aria-sort", sort.down ? "descending" : "ascending"); press.append(sort.down ? " ▼" : " ▲"); }
      press.addEventListener("click", () => sorted(column.name, on ? !sort.down : column.numeric && column.down !== false));
      cell.append(press);
      return cell;
    }

    function line(i, place) {
      const made = element("tr");
      made.setAttribute("aria-rowindex", place + 2);
      for (const column of columns) {
        const cell = element("td", undefined, column.numeric ? "n" : ""), value = column.value(i);
        if (column.show) cell.append(column.show(i));
        else if (typeof value === "number") cell.append(number(value, 6));
        else { cell.textContent = value === null || value === "" ? "–" : cut(String(value), WORDS); if (String(value ?? "").length > WORDS) cell.title = value; }
        made.append(cell);
      }
      return made;
    }

    // Draw the rows in view, if they are others than those drawn.
    function paint(anew) {
      const from = Math.max(0, Math.floor(around.scrollTop / ROW) - BEYOND), to = Math.min(rows.length, from + Math.ceil(Math.max(around.clientHeight, 600) / ROW) + 2 * BEYOND);
      if (!anew && from === first && to === last) return;
      const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr")?.getAttribute("aria-rowindex") : null;
      first = from; last = to;
      above.firstChild.style.height = `${from * ROW}px`;
      below.firstChild.style.height = `${(rows.length - to) * ROW}px`;
      body.replaceChildren(above, ...rows.slice(from, to).map((i, k) => line(i, from + k)), below);
      if (focused) body.querySelector(`[aria-rowindex="${focused}"] a`)?.focus({ preventScroll: true });
      // Columns may grow while rows pass, and never shrink: the table does not jump.
      [...head.rows[0].cells].forEach((cell, k) => { widths[k] = Math.max(widths[k] || 0, cell.offsetWidth); cell.style.minWidth = `${widths[k]}px`; });
    }

    return {
      around,
      set(next, order, sort) {
        const focused = head.contains(document.activeElement) ? document.activeElement.dataset.column : null;
        if (columns.map((one) => one.name).join() !== next.map((one) => one.name).join()) widths = [];
        columns = next; rows = order;
        const line = element("tr");
        line.append(...columns.map((column) => heading(column, sort)));
        head.replaceChildren(line);
        for (const row of [above, below]) row.firstChild.colSpan = Math.max(1, columns.length);
        made.setAttribute("aria-rowcount", rows.length + 1);
        if (around.scrollTop > rows.length * ROW) around.scrollTop = 0;
        paint(true);
        if (focused) head.querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus();
      },
    };
  }

  // Return positions sorted by a column; what has no value comes last, and equal ones keep their order.
  function ordered(rows, column, down) {
    const sign = down ? -1 : 1, keys = new Map(rows.map((i) => [i, column.value(i) ?? null]));
    return [...rows].sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === y) return 0;
      if (x === null || y === null) return x === null ? 1 : -1;
      return x < y ? -sign : sign;
    });
  }

  // Return text as CSV. A text that a spreadsheet would take for a formula begins with an apostrophe.
  function csv(columns, rows) {
    const cell = (value) => {
      if (value === null || value === undefined) return "";
      if (typeof value === "number") return String(value);
      const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
      return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    return [columns.map((one) => cell(one.name)), ...rows.map((i) => columns.map((one) => cell(one.value(i))))].map((line) => line.join(",")).join("\r\n") + "\r\n";
  }

  // Have the browser save a text as a file.
  function download(name, text) {
    const made = element("a"), address = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    Object.assign(made, { href: address, download: name });
    document.body.append(made);
    made.click();
    made.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  return { csv, download, grid, ordered };
})());
