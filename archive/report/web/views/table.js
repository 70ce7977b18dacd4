"use strict";
// Table: all candidates, which sort, filter, and download as CSV.
(() => {
  const { button, choice, csv, download, element, go, grid, link, many, ordered, section } = Treewright;
  const USUAL = ["id", "score", "runs", "gain", "gain_on_root", "operator", "outcome", "seconds", "dollars", "idea"];
  const NARROW = ["id", "score", "operator", "idea"];
  let plot, said, now;

  function columnsOf({ facts: { nodes, run } }) {
    const root = nodes.score[0] ?? null, sign = run.direction === "minimise" ? -1 : 1, of = (name) => (i) => nodes[name][i] ?? null;
    const one = (name, title, value, more) => ({ name, title, value, ...more }), count = (name, title) => one(name, title ?? name, of(name), { numeric: true });
    return [
      one("id", "candidate", of("id"), { show: link }), one("score", `score${run.unit ? ` (${run.unit})` : ""}`, of("score"), { numeric: true, down: run.direction !== "minimise" }),
      count("runs"), count("deviation"), count("gain", "gain on parent"), one("gain_on_root", "gain on root", (i) => nodes.score[i] === null || root === null ? null : sign * (nodes.score[i] - root), { numeric: true }),
      one("operator", "operator", of("operator")), one("outcome", "outcome", of("state")), count("lines"), count("seconds", "seconds"), count("evaluations"), count("tokens"), count("dollars"), count("depth"),
      one("number", "number", (i) => i, { numeric: true }), one("parents", "parents", (i) => nodes.parents[i].map((p) => nodes.id[p]).join(" ")), one("ranked_out", "ranked out", of("suspect")), one("reason", "reason", of("reason")), one("idea", "idea", of("idea")),
    ];
  }

  const chosen = (params) => (params.get("columns") ? params.get("columns").split(",") : window.matchMedia("(max-width: 600px)").matches ? NARROW : USUAL);

  function settings({ params, facts }) {
    const named = params.get("sort") || "score", down = params.get("sort") ? params.get("down") === "1" : facts.run.direction !== "minimise";
    return { name: named, down, words: (params.get("find") || "").trim().toLowerCase(), operator: params.get("operator") || "", outcome: params.get("outcome") || "" };
  }

  function filtered({ facts: { nodes } }, { words, operator, outcome }) {
    const has = (text) => text && text.toLowerCase().includes(words);
    return nodes.id.map((_, i) => i).filter((i) => (!operator || nodes.operator[i] === operator) && (!outcome || nodes.state[i] === outcome) && (!words || nodes.id[i].startsWith(words) || has(nodes.operator[i]) || has(nodes.state[i]) || has(nodes.idea[i]) || has(nodes.reason[i])));
  }

  function refresh() {
    const all = columnsOf(now), wanted = chosen(now.params), set = settings(now);
    const columns = all.filter((one) => wanted.includes(one.name)), by = all.find((one) => one.name === set.name) ?? all[1];
    const rows = ordered(filtered(now, set), by, set.down);
    plot.set(columns, rows, { name: by.name, down: set.down });
    said.textContent = `${rows.length === now.facts.nodes.id.length ? "All" : `${rows.length.toLocaleString("en")} of`} ${many(now.facts.nodes.id.length, "candidate")}`;
    return { columns, rows };
  }

  function chooser() {
    const around = element("details", undefined, "columns"), list = element("p", undefined, "controls"), all = columnsOf(now);
    around.append(element("summary", "Columns"), list);
    for (const one of all) {
      const label = element("label"), box = Object.assign(element("input"), { type: "checkbox", checked: chosen(now.params).includes(one.name), value: one.name });
      box.addEventListener("change", () => go({ columns: [...list.querySelectorAll("input:checked")].map((each) => each.value).join(",") || "id" }, { replace: true }));
      label.append(box, ` ${one.title}`);
      list.append(label);
    }
    return around;
  }

  function draw(root, state) {
    now = state;
    const set = settings(state), find = Object.assign(element("input"), { type: "search", value: state.params.get("find") || "", placeholder: "id or words of an idea" }), label = element("label", "find ");
    label.append(find);
    find.addEventListener("input", () => go({ find: find.value }, { replace: true }));
    const options = (some) => [["", "all"], ...[...new Set(some)].sort().map((each) => [each, each])];
    const bar = element("p", undefined, "controls");
    said = element("span", undefined, "quiet");
    said.setAttribute("role", "status");
    bar.append(label, choice("operator", options(state.facts.nodes.operator), set.operator, (value) => go({ operator: value }, { replace: true })), choice("outcome", options(state.facts.nodes.state), set.outcome, (value) => go({ outcome: value }, { replace: true })),
      button("Download CSV", () => { const { columns, rows } = refresh(); download(`${state.facts.run.run.replace(/[^\w.-]+/g, "_")}.csv`, csv(columns, rows)); }), said);
    const around = section("Candidates", "Press a heading to sort, and a candidate to see it.", bar, chooser());
    root.append(around);
    plot = grid(around, { label: "All candidates", sorted: (name, down) => go({ sort: name, down: down ? "1" : "0" }, { replace: true }) });
    refresh();
  }

  function update(root, state) { now = state; refresh(); }

  Treewright.view({ name: "table", title: "Table", draw, update, available: (facts) => facts.nodes.id.length > 0 });
})();
