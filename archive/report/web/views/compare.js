"use strict";
// Compare: candidates side by side: metrics, cost, scores by case, and the difference of their programs.
(() => {
  const { button, choice, coloured, cut, element, go, lineDiff, link, many, patched, position, section, short, signed, steady, table, tokens } = Treewright;
  const CONTEXT = 3, MOST_ROWS = 3000, MOST_NODES = 8, DEEP = 400, FIRST_CASES = 40;

  function draw(root, now) {
    const some = now.nodes.length ? now.nodes.slice(0, MOST_NODES) : now.leader > 0 ? [0, now.leader] : [];
    root.append(picker(some, now));
    if (some.length < 2) return;
    root.append(metrics(some, now));
    const cases = element("div"), programs = element("div");
    root.append(cases, programs);
    byCase(cases, some, now);
    difference(programs, some, now);
  }

  // ------------------------------------------------------------ which

  const ids = (some, { facts }) => some.map((i) => facts.nodes.id[i]).join(",");

  function picker(some, now) {
    const how = "by the beginning of an id here, or by “compare” in the panel of a candidate.";
    const made = section("Compare", some.length < 2 ? `Choose two candidates or more: ${how}` : !now.nodes.length ? `The seed program and the best candidate. Choose others ${how}` : `${some.map(short).join(", ")}; the first is what the others are compared with.${now.nodes.length > some.length ? ` At most ${MOST_NODES} are compared at once.` : ""}`);
    const bar = element("form", undefined, "controls"), field = Object.assign(element("input"), { type: "search", placeholder: "start of an id" }), label = element("label", "add "), told = element("span", undefined, "quiet");
    told.setAttribute("role", "status");
    label.append(field);
    bar.addEventListener("submit", (event) => {
      event.preventDefault();
      const i = position(field.value.trim());
      if (i < 0) told.textContent = field.value.trim() ? `no candidate has an id that starts with ${cut(field.value.trim(), 40)}` : "";
      else go({ nodes: ids([...new Set([...some, i])], now) });
    });
    bar.append(label, Object.assign(element("button", "Add"), { type: "submit" }));
    for (const i of some) { const gone = button(`remove ${short(i)}`, () => go({ nodes: ids(some.filter((each) => each !== i), now) })); bar.append(gone); }
    if (some.length < 2 && now.leader > 0) bar.append(button("Seed program and best", () => go({ nodes: ids([...new Set([0, ...some, now.leader])], now) })));
    if (some.length === 2) bar.append(button("Swap", () => go({ nodes: ids([some[1], some[0]], now) })));
    bar.append(told);
    made.append(bar);
    return made;
  }

  // ------------------------------------------------------------ figures

  function metrics(some, { facts: { nodes, run } }) {
    const sign = run.direction === "minimise" ? -1 : 1, base = nodes.score[some[0]], column = (i) => short(i);
    const line = (what, value) => ({ "": what, ...Object.fromEntries(some.map((i) => [column(i), value(i)])) }), of = (name) => (i) => nodes[name][i] ?? null;
    const rows = [
      line("candidate", link), line(`score${run.unit ? ` (${run.unit})` : ""}`, of("score")), line(`gain on ${short(some[0])}`, (i) => i === some[0] || nodes.score[i] === null || base === null ? "–" : signed(sign * (nodes.score[i] - base))),
      line("runs", of("runs")), line("deviation between runs", of("deviation")), line("gain on its better parent", (i) => signed(nodes.gain[i])), line("outcome", (i) => nodes.suspect[i] ? "ranked out" : nodes.state[i]), line("operator", of("operator")),
      line("lines", of("lines")), line("seconds of compute", of("seconds")), line("evaluations", of("evaluations")), line("tokens", of("tokens")), line("dollars", (i) => nodes.tokens[i] && nodes.dollars[i] === null ? "unknown" : nodes.dollars[i] ?? null),
      line("idea", (i) => element("span", nodes.idea[i], "idea wide")),
    ];
    const made = table(rows);
    made.classList.add("metrics");
    return section("Metrics and cost", "", made);
  }

  async function byCase(place, some, { facts: { nodes, run } }) {
    const sign = run.direction === "minimise" ? -1 : 1, gain = `gain on ${short(some[0])}`;
    const details = await Promise.all(some.map((i) => Treewright.source.detail(i)));
    if (!place.isConnected || !details.some((each) => each.cases.length)) return;
    const rows = byName(details.map((each) => new Map(each.cases.map((one) => [one.case, one.value]))));
    const said = element("p", `Mean screening scores of ${many(rows.length, "case")}.`, "quiet"), made = section("By case", "", said), holder = element("div");
    holder.append(table(rows));
    made.append(holder);
    place.append(made);
    if (details.some((each) => each.cases.length >= FIRST_CASES)) allow(made, said, holder);

    function byName(values) {
      const names = [...new Set(values.flatMap((each) => [...each.keys()]))].sort();
      return names.map((name) => ({ case: name, ...Object.fromEntries(some.map((i, k) => [short(i), values[k].get(name) ?? null])), ...(some.length === 2 ? { [gain]: values.every((each) => each.has(name)) ? sign * (values[1].get(name) - values[0].get(name)) : null } : {}) }));
    }

    // Say that these are the first cases, with a button that loads all.
    function allow(made, said, holder) {
      said.textContent = `Mean screening scores of the first ${FIRST_CASES} cases of each candidate by name.`;
      const more = button("Show all cases", async () => {
        more.disabled = true;
        const found = await Promise.all(some.map((i) => Treewright.source.part(`cases-${nodes.id[i]}`)));
        if (!holder.isConnected) return;
        const values = found.map((each, k) => each ? new Map(each.names.map((name, n) => [name, each.values[n]])) : new Map(details[k].cases.map((one) => [one.case, one.value])));
        const rows = byName(values), missing = some.filter((i, k) => !found[k] && details[k].cases.length >= FIRST_CASES), made = table(rows);
        made.classList.add("all");
        holder.replaceChildren(made);
        said.textContent = `Mean screening scores of ${many(rows.length, "case")}.${missing.length ? ` This file has the first ${FIRST_CASES} alone of ${missing.map(short).join(", ")}; python -m archive show ID --json has all.` : ""}`;
        more.remove();
      });
      more.className = "more";
      made.insertBefore(more, holder);
    }
  }

  // ------------------------------------------------------------ programs

  // Return the lines of each file of a candidate: as they are recorded, or from the seed program's and the diffs since.
  async function filesOf(i, { facts: { nodes } }) {
    const diffs = [];
    for (let at = i, steps = 0; steps < DEEP; steps++) {
      const found = await Treewright.source.part(`files-${nodes.id[at]}`);
      if (found) return diffs.reduceRight((files, diff) => patched(files, diff), found);
      if (!nodes.parents[at].length) break;
      const detail = await Treewright.source.detail(at);
      if (detail.cut) break;
      diffs.push(detail.diff);
      at = nodes.parents[at][0];
    }
    return null;
  }

  async function difference(place, some, now) {
    const whole = section("Programs"), bar = element("p", undefined, "controls"), holder = element("div"), other = some.slice(1);
    let against = other[0];
    place.append(whole);
    whole.append(bar, holder);
    if (other.length > 1) bar.append(choice(`from ${short(some[0])} to`, other.map((i) => [String(i), short(i)]), String(against), (value) => { against = Number(value); paint(); }));
    async function paint() {
      holder.replaceChildren(element("p", "Loading …", "quiet"));
      const command = `python -m archive diff ${short(some[0])} ${short(against)}`;
      try {
        const [a, b] = await Promise.all([filesOf(some[0], now), filesOf(against, now)]);
        if (!holder.isConnected) return;
        if (!a || !b) holder.replaceChildren(element("p", "One of these programs is not whole in this file; the archive has it:", "quiet"), element("pre", command));
        else holder.replaceChildren(...changes(a, b, command));
      } catch (error) { holder.replaceChildren(element("p", `The programs cannot be shown: ${error.message}. The archive has them: ${command}`, "bad")); }
      holder.dataset.compared = "yes";
    }
    await paint();
  }

  function changes(a, b, command) {
    const paths = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort(), parts = [];
    let room = MOST_ROWS;
    for (const path of paths) {
      const [old, next] = [a[path] ?? [], b[path] ?? []];
      if (old.length === next.length && old.every((line, k) => line === next[k])) continue;
      const lines = hunks(lineDiff(old, next)), shown = lines.slice(0, room);
      const [gone, come] = ["-", "+"].map((sign) => lines.filter((line) => line[0] === sign).length);
      parts.push(element("h3", path), element("p", `${come} ${come === 1 ? "line" : "lines"} added, ${gone} removed`, "quiet"), program(shown, old, next, path));
      room -= shown.length;
      if (shown.length < lines.length) { parts.push(element("p", `${(lines.length - shown.length).toLocaleString("en")} more lines: ${command}`, "quiet")); break; }
    }
    return parts.length ? parts : [element("p", "The programs are the same.")];
  }

  // Keep the changed lines with their neighbours; null stands for what is left out.
  function hunks(lines) {
    const near = new Uint8Array(lines.length), kept = [];
    lines.forEach(([sign], k) => { if (sign !== " ") near.fill(1, Math.max(0, k - CONTEXT), k + CONTEXT + 1); });
    lines.forEach((line, k) => { if (near[k]) kept.push(line); else if (kept.length && kept.at(-1)[0] !== "@") kept.push(["@", line[1], line[2]]); });
    return kept;
  }

  function program(lines, old, next, path) {
    const made = element("pre", undefined, "diff"), before = tokens(old, path), after = tokens(next, path), wide = String(Math.max(old.length, next.length)).length;
    made.tabIndex = 0;
    for (const [sign, i, j] of lines) {
      if (sign === "@") { made.append(element("span", `${" ".repeat(wide)} ⋯`, "at")); continue; }
      const row = element("span", undefined, { "+": "add", "-": "del" }[sign] ?? "");
      row.append(element("span", `${String((sign === "-" ? i : j) + 1).padStart(wide)} ${sign} `, "margin"));
      made.append(coloured(row, sign === "-" ? before[i] : after[j]));
    }
    return made;
  }

  Treewright.view({ name: "compare", title: "Compare", ...steady(draw), available: (facts) => facts.nodes.id.length > 1 });
})();
