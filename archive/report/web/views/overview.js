"use strict";
// Overview: what won and whether it is real, progress, what was learned, what it cost.
(() => {
  const { chart, colour, cut, element, lasting, link, many, number, score, section, signed, table, address, narrow } = Treewright;

  // ------------------------------------------------------------ the verdict, also in the header

  Treewright.deviation = ({ sigma, sigma_low, sigma_high, run }) => sigma ? `seed deviation ${number(sigma, 2)} ${run.unit} (67%: ${number(sigma_low, 2)} to ${number(sigma_high, 2)})` : "";

  // Say in an element what the verdict is, or that there is none yet.
  Treewright.outcome = (place, { facts: { verdict, run }, leader }) => {
    place.replaceChildren();
    if (verdict) {
      place.append(element("span", verdict.kind === "champion" ? "Champion " : "No champion. ", verdict.kind === "champion" ? "good" : "bad"));
      if (verdict.kind === "champion" && leader >= 0) place.append(link(leader), " ");
      place.append(verdict.reason);
    } else if (leader < 0) place.append("No score yet.");
    else place.append("No verdict yet. The leader's screening score may be luck: ", link(leader), ` ${score(leader)}`);
  };

  // ------------------------------------------------------------ progress

  function progressOption({ facts }) {
    const { experiments, kept, nodes, range: [low, high], run, sigma } = facts;
    const inside = (value) => Math.min(high, Math.max(low, value)), dot = experiments.length > 2000 ? 3 : experiments.length > 400 ? 5 : 7;
    const marks = (choose) => experiments.flatMap(([place, value], k) => choose(place, value) ? [[k + 1, value === null ? low : inside(value), place]] : []);
    const half = (place) => sigma ? 1.96 * sigma / Math.sqrt(nodes.runs[place] || 1) : 0;
    const above = run.direction === "minimise" ? "top" : "bottom", below = above === "top" ? "bottom" : "top", steps = kept.map(([, , best], step) => step ? Math.abs(best - kept[step - 1][2]) : 0), large = Math.max(...steps, 0) / 10;
    const name = (step, place) => steps[step] > large && place !== kept[step - 1][1]; // of the larger steps, so that names stay apart
    const beside = (k) => k > experiments.length * 0.35 ? { position: "left", verticalAlign: above } : { position: "right", verticalAlign: below }; // where no dot is, if there is room
    return {
      grid: { left: 62, right: 18, top: 26, bottom: 44 },
      xAxis: { type: "value", name: `screenings in order of arrival (${experiments.length.toLocaleString("en")})`, min: 0, max: Math.max(1, experiments.length + 1), minInterval: 1, splitLine: { show: false } },
      yAxis: { type: "value", name: run.unit || run.metric, nameLocation: "end", nameGap: 10, min: low, max: high },
      dataZoom: [{ type: "inside", xAxisIndex: 0, zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, filterMode: "none" }],
      tooltip: { formatter: ({ data }) => said(data.value?.[2] ?? data[2] ?? -1, facts) },
      series: [
        dots("scored", marks((place, value) => value !== null && !nodes.suspect[place]), colour("dot"), dot),
        dots("ranked out", marks((place, value) => value !== null && nodes.suspect[place]), colour("odd"), dot),
        { ...dots("without a score", marks((place, value) => value === null), colour("bad"), [2, 9]), symbol: "rect" },
        { type: "line", name: "best mean so far", step: "end", showSymbol: false, silent: true, lineStyle: { width: 2, color: colour("best") }, data: experiments.flatMap(([, , , best], k) => best === null ? [] : [[k + 1, inside(best)]]) },
        ...(half(kept[0]?.[1]) ? band(facts, half, inside) : []),
        { type: "scatter", name: "kept", symbolSize: dot + 2, itemStyle: { color: colour("best") }, z: 4, data: kept.map(([k, place, best], step) => ({ value: [k + 1, inside(best), place], label: { show: !narrow.matches && step > 0 && name(step, place), backgroundColor: colour("paper"), padding: [1, 4], formatter: cut(nodes.idea[place], 44).replace(/[{}|]/g, " "), ...beside(k), color: colour("ink"), fontSize: 12 } })), labelLayout: { hideOverlap: true } },
      ],
    };
  }

  const dots = (name, data, color, symbolSize) => ({ type: "scatter", name, data, symbolSize, itemStyle: { color }, emphasis: { disabled: true }, large: data.length > 3000, largeThreshold: 3000 });

  // The 95% band of seed noise around the mean of the best node so far, as two stacked lines.
  function band({ experiments, kept, nodes }, half, inside) {
    const edges = kept.map(([k, place, best]) => { const mean = nodes.score[place] ?? best; return [k + 1, inside(mean - half(place)), inside(mean + half(place))]; });
    if (edges.length) edges.push([experiments.length + 1, ...edges[edges.length - 1].slice(1)]);
    const one = { type: "line", step: "end", showSymbol: false, silent: true, stack: "noise", stackStrategy: "all", lineStyle: { width: 0 }, tooltip: { show: false } };
    return [{ ...one, name: "low", data: edges.map(([x, low]) => [x, low]) }, { ...one, name: "95% of a mean's seed noise", areaStyle: { color: colour("best"), opacity: 0.16 }, data: edges.map(([x, low, high]) => [x, high - low]) }];
  }

  function said(i, facts) {
    return i < 0 ? "" : `${facts.nodes.id[i].slice(0, 8)} ${facts.nodes.operator[i]}: ${score(i)}\n${cut(facts.nodes.idea[i], 160)}`;
  }

  function progressSaid({ experiments, kept, nodes, run, sigma }) {
    if (!kept.length) return "No evaluation has a score yet.";
    const first = kept[0], last = kept[kept.length - 1], failed = experiments.filter(([, value]) => value === null).length;
    return `${many(experiments.length, "screening")}, ${failed} without a score (a tick at the edge). The best mean went from ${number(first[2])} to ${number(last[2])} ${run.unit} in ${many(kept.length - 1, "step")}, the last at screening ${(last[0] + 1).toLocaleString("en")}. A dot is one screening (a claim's evaluations are not drawn), at the edge if out of range; the line is the best mean so far${sigma ? "; the band is 95% of its mean's seed noise" : ""}.`;
  }

  const progressRows = ({ kept, nodes }) => () => kept.map(([k, i, best]) => ({ evaluation: k + 1, node: link(i), "best mean": best, runs: nodes.runs[i], idea: cut(nodes.idea[i], 100) }));

  // ------------------------------------------------------------ cost of a right answer

  const price = (unit, cost) => unit === "dollars" ? `$${number(cost, 3)}` : number(cost < 100 ? cost : Math.round(cost), 3);
  const front = ({ costs }) => costs.rows.filter((row) => row.front).sort((a, b) => a.cost - b.cost);

  function costsOption({ facts }) {
    const { unit, rows } = facts.costs, paid = rows.map((row) => row.cost).filter((cost) => cost > 0);
    const least = (paid.length ? Math.min(...paid) : 1) / 1.3, most = (paid.length ? Math.max(...paid) : 1) * 1.3;
    const point = (row) => [Math.max(least, row.cost), 100 * row.share, row.node];
    return {
      grid: { left: 52, right: 24, top: 18, bottom: 44 },
      xAxis: { type: "log", name: `${unit} for a right answer`, min: least, max: most, axisLabel: { formatter: (value) => price(unit, value) } },
      yAxis: { type: "value", min: 0, max: 100, axisLabel: { formatter: "{value}%" } },
      tooltip: { formatter: ({ data }) => said(data[2] ?? -1, facts) },
      series: [
        { ...dots("agent", rows.filter((row) => !row.front).map(point), colour("dot"), 8) },
        { type: "line", step: "end", silent: true, showSymbol: false, data: front(facts).map(point), lineStyle: { color: colour("best"), width: 2 } },
        { ...dots("Pareto front", front(facts).map(point), colour("best"), 10), z: 4 },
      ],
    };
  }

  function costsSaid(facts) {
    const { unit, rows, none_right } = facts.costs, words = front(facts).map((row) => `${facts.nodes.id[row.node].slice(0, 8)} has ${number(100 * row.share, 3)}% right at ${price(unit, row.cost)}`);
    return `Pareto front of ${rows.length.toLocaleString("en")} agents, ${unit} for a right answer: ${words.slice(0, 12).join("; ")}${words.length > 12 ? "; ..." : ""}.${none_right ? ` Without a right answer, and not shown: ${none_right}.` : ""} Screenings chose these agents, so their shares flatter.`;
  }

  function agents(root, state) {
    const { facts } = state, made = section("Cost of a right answer", "A dot is an agent: its share of right answers on val, by what a right answer costs of the language model (logarithmic; at the left edge: nothing). The line joins the Pareto front, the agents that no other one beats or equals on both.");
    made.id = "agents";
    root.append(made);
    chart(made, () => costsOption(state), { label: "Share of right answers by cost of a right answer", text: costsSaid(facts), click: choose });
    const rows = table(front(facts).map((row) => ({ agent: link(row.node), right: `${number(100 * row.share, 3)}%`, items: row.items, [facts.costs.unit + " a right answer"]: price(facts.costs.unit, row.cost), idea: cut(facts.nodes.idea[row.node], 80) })));
    rows.id = "front";
    made.append(rows);
  }

  // ------------------------------------------------------------ now

  const ago = Treewright.ago = (seconds) => lasting(Math.max(0, Math.round(seconds)));

  // Say how far the run is in its limits, and how long it takes at the pace of the latest evaluations.
  function forecast({ now: { limits, pace, hours }, run, spending }) {
    const total = (name) => spending.reduce((sum, row) => sum + (row[name] || 0), 0), said = [];
    if (limits.evaluations) said.push(`${run.evaluations.toLocaleString("en")} of ${limits.evaluations.toLocaleString("en")} evaluations`);
    if (limits.device_hours) said.push(`${number(total("wall_hours"), 3)} of ${number(limits.device_hours)} device hours`);
    if (limits.hours) said.push(`${number(hours, 3)} of ${number(limits.hours)} hours`);
    if (limits.tokens) said.push(`${(total("tokens_in") + total("tokens_out")).toLocaleString("en")} of ${limits.tokens.toLocaleString("en")} tokens`);
    said.push(limits.dollars ? `$${total("dollars").toFixed(2)} of $${limits.dollars.toFixed(2)}` : `$${total("dollars").toFixed(2)} spent`);
    if (pace.an_hour) said.push(`${number(pace.an_hour, 3)} evaluations an hour over the last ${pace.evaluations}`);
    const rests = [];
    if (limits.evaluations && pace.an_hour) rests.push([Math.max(0, limits.evaluations - run.evaluations) / pace.an_hour, "for the rest of the evaluations at that pace"]);
    if (limits.hours) rests.push([Math.max(0, limits.hours - hours), "until the limit of hours"]);
    const [left, of] = rests.sort(([a], [b]) => a - b)[0] ?? [0];
    if (left && !state.facts.verdict) said.push(`about ${ago(3600 * left)} left: ${of}`);
    return said.join(" · ");
  }

  function current(now) {
    const { open } = now.facts.now, live = Treewright.source.live;
    const made = section("Now", forecast(now.facts));
    made.id = "now";
    if (!open.length) made.append(element("p", "Nothing is in progress.", "quiet"));
    else made.append(element("p", `In progress${live ? "" : " when this page was made"}: chosen, and not yet recorded as scored, failed or refused.`, "quiet"), table(open.map((one) => ({ does: one.does, stage: one.stage, candidate: one.node === null ? "–" : link(one.node), ...(live ? { for: since(one.since) } : { since: clock(one.since) }), idea: cut(one.idea, 80) }))));
    return made;
  }

  // Return an element with the time since a moment, which main.js keeps true.
  function since(seconds) {
    const made = element("span", ago(Date.now() / 1000 - seconds));
    made.dataset.since = seconds;
    return made;
  }

  const clock = (seconds) => `${new Date(1000 * seconds).toISOString().slice(0, 16).replace("T", " ")} UTC`;

  // ------------------------------------------------------------ the archive's runs

  function runs({ facts }) {
    const { source } = Treewright, out = facts.runs.filter((one) => !source.has(one.run)), full = out.filter((one) => one.candidates);
    const said = full.length ? ` Not in this file: ${full.slice(0, 8).map((one) => one.run).join(", ")}${full.length > 8 ? ` and ${full.length - 8} more` : ""}; the command makes a page of each.` : "";
    const name = (one) => one.run === facts.run.run ? element("strong", one.run) : source.has(one.run) ? Object.assign(element("a", one.run), { href: address(Treewright.other(one.run)) }) : one.run;
    const made = section("Runs", `One archive holds many runs. Choose one to see it.${said}`, table(facts.runs.map((one) => ({ run: name(one), task: one.task, policy: one.policy, candidates: one.candidates, began: clock(one.began), ...(out.length ? { command: source.has(one.run) ? "–" : element("code", one.command) } : {}) }))));
    made.id = "runs";
    return made;
  }

  // ------------------------------------------------------------ the rest

  function lessons({ facts }) {
    const list = element("ul");
    list.id = "lessons";
    for (const lesson of facts.lessons) {
      const item = element("li", lesson.text + " ");
      lesson.nodes.forEach((i) => item.append(link(i), " "));
      list.append(item);
    }
    return section("Lessons", "", list);
  }

  function ablation({ facts }) {
    const made = section("Value of each step", "By how much the program is worse on val without the step, the rest evaluated again on fresh seeds, with the 95% interval.");
    made.id = "ablation";
    for (const { run, node, steps } of facts.ablations) {
      const heading = element("p", "Steps of ");
      heading.append(link(node), ` (run ${run})`);
      made.append(heading, table(steps.map((step) => ({ step: step.node === null ? step.part : link(step.node), worth: signed(step.worth), from: signed(step.low), to: signed(step.high), runs: step.runs, verdict: step.verdict, idea: cut(step.idea, 80) }))));
    }
    return made;
  }

  // ------------------------------------------------------------ the view

  let state, progress;
  const choose = ({ data }) => { const i = (data?.value ?? data)?.[2]; if (i !== undefined) Treewright.go({ node: state.facts.nodes.id[i] }); };

  function draw(root, now) {
    state = now;
    const { facts } = now, made = section("Progress");
    if (Treewright.source.live || facts.now.open.length) root.append(current(now));
    made.id = "progress";
    root.append(made);
    progress = chart(made, () => progressOption(state), { label: "Scores in order of arrival", text: progressSaid(facts), rows: progressRows(facts), click: choose });
    ring();
    if (facts.costs.rows.length) agents(root, now);
    root.append(lessons(now));
    if (facts.ablations.length) root.append(ablation(now));
    root.append(section("Operators", "", spent(facts.operators)), section("Spending", "", spent(facts.spending)));
    if (facts.runs.length > 1) root.append(runs(now));
  }

  // Return a table of what operators did, with durations in place of hours and without columns that are zero throughout.
  function spent(rows) {
    const named = { training_hours: "compute", wall_hours: "wall time" }, told = rows.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [named[name] ?? name, name in named && value !== null ? element("span", value ? lasting(3600 * value) : "< 1 s", "n") : value])));
    const names = Object.keys(told[0] ?? {});
    return table(told, names.filter((name, k) => k < 4 || told.some((row) => row[name])));
  }

  function ring() {
    const { experiments, range: [low, high] } = state.facts;
    progress.ring(state.node < 0 ? [] : experiments.flatMap(([i, value], k) => i === state.node ? [[k + 1, value === null ? low : Math.min(high, Math.max(low, value))]] : []), 8);
  }

  // A chosen node gets its ring; new facts draw the view anew.
  function update(root, now) {
    if (state.facts !== now.facts) { root.replaceChildren(); draw(root, now); return; }
    state = now;
    ring();
  }

  Treewright.view({ name: "overview", title: "Overview", beside: true, draw, update });
})();
