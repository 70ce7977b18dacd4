"use strict";
// The namespace of the page: views, text, addresses. Everything from a candidate or a model is set as text, never as markup.
const Treewright = (() => {
  const $ = (id) => document.getElementById(id);
  const SHORT = 8;
  const views = new Map();
  let held = null; // the facts shown, with what follows from them

  // ------------------------------------------------------------ views

  // Register a view: {name, title, draw(root, state), available(facts), update(root, state)}.
  // draw fills an empty element. update, if there is one, follows new facts or a new address without drawing anew.
  function view(spec) { views.set(spec.name, spec); }

  // ------------------------------------------------------------ facts

  // Keep these facts as those shown: positions by id, children, order of scores.
  function adopt(facts) {
    const nodes = facts.nodes, sign = facts.run.direction === "minimise" ? -1 : 1;
    const children = nodes.id.map(() => []);
    nodes.parents.forEach((above, i) => { if (above.length) children[above[0]].push(i); });
    const scored = nodes.id.map((_, i) => i).filter((i) => nodes.score[i] !== null).sort((a, b) => sign * (nodes.score[a] - nodes.score[b]));
    const rank = new Float64Array(nodes.id.length).fill(NaN);
    scored.forEach((i, k) => { rank[i] = scored.length > 1 ? k / (scored.length - 1) : 1; });
    held = { facts, children, rank, index: new Map(nodes.id.map((id, i) => [id, i])), operators: [...new Set(nodes.operator)] };
  }

  // Return the position of a node from its id or the beginning of one; -1 where there is no such node.
  function position(id) {
    if (!id || !held) return -1;
    const exact = held.index.get(id);
    if (exact !== undefined) return exact;
    const found = held.facts.nodes.id.findIndex((each) => each.startsWith(id));
    return found;
  }

  const leader = () => { const { facts } = held, id = facts.verdict?.node ?? facts.run.leader; return id === null ? -1 : position(id); };

  // ------------------------------------------------------------ addresses

  const params = () => new URLSearchParams(location.hash.slice(1));

  // Return the address (#...) with these parameters changed; null takes one away.
  function address(changes) {
    const made = params();
    if (!made.get("view")) made.set("view", params().get("node") ? "tree" : "overview");
    for (const [name, value] of Object.entries(changes)) value === null || value === "" ? made.delete(name) : made.set(name, value);
    return "#" + made.toString().replaceAll("%2C", ",");
  }

  // Change the address, as a step of its own in the browser's history, or in place of the last one.
  function go(changes, { replace = false } = {}) {
    const next = address(changes);
    if (next === location.hash) return;
    if (!replace) { location.hash = next; return; }
    history.replaceState(null, "", next);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }

  // Return what the address says, with positions in place of ids.
  function state() {
    const found = params(), nodes = (found.get("nodes") || "").split(",").map(position).filter((i) => i >= 0);
    return { ...held, params: found, view: found.get("view") || (found.get("node") ? "tree" : "overview"), node: position(found.get("node")), nodes: [...new Set(nodes)], leader: leader() };
  }

  // ------------------------------------------------------------ text

  const number = (value, digits = 4) => value === null || value === undefined ? "–" : Math.abs(value) >= 1e5 || Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(Math.max(digits, Math.ceil(Math.log10(Math.abs(value) || 1)) + 3)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  const cut = (text, most) => text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\d.,+-]*$/, "")}…`; // never within a number
  const signed = (value) => value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + number(value, 3);
  const short = (i) => held.facts.nodes.id[i].slice(0, SHORT);
  const many = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
  const lasting = (seconds) => seconds < 10 ? `${number(seconds, 2)} s` : seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${number(seconds / 3600, 3)} h`;
  const score = (i) => held.facts.nodes.score[i] === null ? held.facts.nodes.state[i] : `${number(held.facts.nodes.score[i])} ${held.facts.run.unit}`.trim();

  // Return an element with this text and these classes.
  function element(name, text, kind) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  // Return a section with a heading and, if given, a sentence below it.
  function section(title, said, ...parts) {
    const made = element("section");
    made.append(element("h2", title));
    if (said) made.append(element("p", said, "quiet"));
    made.append(...parts);
    return made;
  }

  // Return a link that shows a node's panel beside the view.
  function link(i) {
    const made = element("a", short(i), "id");
    made.href = address({ node: held.facts.nodes.id[i] });
    made.title = cut(held.facts.nodes.idea[i], 200);
    return made;
  }

  // Return a table of objects, or of the columns named; a value may be an element. Numbers are never cut: the table scrolls.
  function table(rows, names) {
    if (!rows.length) return element("p", "none", "quiet");
    const around = element("div", undefined, "scroll"), made = element("table"), head = made.createTHead().insertRow(), body = made.createTBody();
    const columns = names || Object.keys(rows[0]);
    const numeric = new Set(columns.filter((name) => rows.every((row) => row[name] === null || typeof row[name] === "number" || row[name]?.className === "n")));
    for (const name of columns) head.append(Object.assign(element("th", name.replaceAll("_", " "), numeric.has(name) ? "n" : ""), { scope: "col" }));
    for (const row of rows) body.append(line(row, columns, numeric));
    around.tabIndex = 0; // so that the keyboard can scroll it
    around.append(made);
    return around;
  }

  function line(row, columns, numeric) {
    const made = element("tr");
    for (const name of columns) {
      const value = row[name], cell = element("td", undefined, numeric.has(name) ? "n" : "");
      cell.append(value instanceof Node ? value : typeof value === "number" ? number(value) : String(value ?? "–"));
      made.append(cell);
    }
    return made;
  }

  // Return a select with a label; options: [[value, words], ...].
  function choice(label, options, value, changed) {
    const around = element("label", label + " "), made = element("select");
    for (const [each, words] of options) made.append(Object.assign(element("option", words), { value: each, selected: each === value }));
    made.addEventListener("change", () => changed(made.value));
    around.append(made);
    return around;
  }

  function button(text, pressed) {
    const made = element("button", text);
    made.type = "button";
    made.addEventListener("click", pressed);
    return made;
  }

  return { $, views, view, adopt, position, params, address, go, state, number, cut, lasting, signed, short, many, score, element, section, link, table, choice, button, source: null };
})();
