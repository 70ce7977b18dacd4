"use strict";
// Models: what they cost by operator, why they refused, and every prompt and answer as it was.
(() => {
  const { bars: sized, button, chart, choice, csv, download, element, grid, kind, link, load, many, number, ordered, position, section, steady, table } = Treewright;
  let texts = null, asked = null; // where prompts and answers are shown, and of which move

  function draw(root, now) {
    const { models } = now.facts;
    const around = section("Cost by operator and model", unknown(models));
    root.append(around);
    if (models.length) sized(chart(around, () => costs(models), { label: "What was spent by operator and model", text: said(models) }), 1 + new Set(models.map((row) => row.operator)).size);
    around.append(table(models));
    load(root, ["refusals"], (place, found) => found && reasons(place, found));
    load(root, ["calls"], (place, found) => found && list(place, found, now));
  }

  const unknown = (models) => {
    const count = models.reduce((sum, row) => sum + row.unpriced_calls, 0);
    return count ? `The price of ${many(count, "call")} is unknown and in no sum of dollars.` : "";
  };

  // ------------------------------------------------------------ cost

  const priced = (models) => models.some((row) => row.dollars);
  const measure = (models, row) => priced(models) ? row.dollars || 0 : (row.tokens_in || 0) + (row.tokens_out || 0);
  const unit = (models) => priced(models) ? "dollars" : "tokens";

  function costs(models) {
    const operators = [...new Set(models.map((row) => row.operator))], names = [...new Set(models.map((row) => row.model))];
    const cell = (model, operator) => models.filter((row) => row.model === model && row.operator === operator).reduce((sum, row) => sum + measure(models, row), 0);
    return {
      grid: { left: 10, right: 30, top: 34, bottom: 30, containLabel: true }, legend: { type: "scroll", top: 0, data: names },
      xAxis: { type: "value", name: unit(models) }, yAxis: { type: "category", inverse: true, data: operators }, tooltip: { trigger: "item", formatter: ({ seriesName, name, value }) => `${seriesName}, ${name}: ${number(value)} ${unit(models)}` },
      series: names.map((model, k) => ({ type: "bar", stack: "all", name: model, barMaxWidth: 26, barMinHeight: 2, itemStyle: { color: kind(k) }, data: operators.map((operator) => cell(model, operator)) })),
    };
  }

  function said(models) {
    const most = [...models].sort((a, b) => measure(models, b) - measure(models, a)).slice(0, 4);
    return `Most ${unit(models)} went to ${most.map((row) => `${row.operator} by ${row.model} (${number(measure(models, row))} in ${many(row.calls, "call")})`).join(", ")}.`;
  }

  // ------------------------------------------------------------ refusals

  function reasons(place, { proposals, calls }) {
    const rows = (some, who) => some.rows.map((row) => ({ [who]: row.operator, count: row.count, "last move": row.last_move, reason: row.reason || "no reason was given" }));
    const rest = (some) => some.groups > some.rows.length ? ` The ${some.rows.length} most frequent of ${some.groups} reasons.` : "";
    place.append(section("Proposals that came to nothing", `By operator and reason; reasons that differ in numbers alone are counted together.${rest(proposals)}`, table(rows(proposals, "operator"))));
    if (calls.rows.length) place.append(section("Calls without an answer", `Refused by a cap or failed, by model, operator and outcome.${rest(calls)}`, table(rows(calls, "model, operator, outcome"))));
  }

  // ------------------------------------------------------------ calls

  const COLUMNS = ["move", "turn", "model", "operator", "outcome", "tokens_in", "tokens_out", "seconds", "dollars", "aim", "reason"];
  const NUMERIC = new Set(["move", "turn", "tokens_in", "tokens_out", "seconds", "dollars"]);

  function list(place, calls, now) {
    if (!calls.count) { place.append(section("Calls", "No language model was called.")); return; }
    const shown = calls.move.length, around = section("Prompts and answers", `${shown < calls.count ? `${shown.toLocaleString("en")} of ${many(calls.count, "call")}: those of the best lineage and the latest` : many(calls.count, "call")}. Press “read” for the text as it was; models wrote it.`);
    const bar = element("p", undefined, "controls");
    texts = element("div");
    const columns = [
      { name: "read", title: "text", value: (i) => calls.move[i], show: (i) => opener(calls.move[i]) },
      { name: "node", title: "candidate", value: (i) => calls.node[i], show: (i) => { const at = position(calls.node[i]); return at < 0 ? element("span", "none", "quiet") : link(at); } },
      ...COLUMNS.map((name) => ({ name, title: name.replaceAll("_", " "), numeric: NUMERIC.has(name), value: (i) => calls[name][i] ?? null })),
    ];
    let sort = { name: "move", down: true }, outcome = "", model = "";
    const options = (some) => [["", "all"], ...[...new Set(some)].sort().map((each) => [each, each])];
    const rows = () => ordered(calls.move.map((_, i) => i).filter((i) => (!outcome || calls.outcome[i] === outcome) && (!model || calls.model[i] === model)), columns.find((one) => one.name === sort.name), sort.down);
    const refresh = () => plot.set(columns, rows(), sort);
    bar.append(choice("outcome", options(calls.outcome), "", (value) => { outcome = value; refresh(); }), choice("model", options(calls.model), "", (value) => { model = value; refresh(); }),
      button("Download CSV", () => download("calls.csv", csv(columns.slice(1), rows()))));
    around.append(bar);
    place.append(around, texts);
    const plot = grid(around, { label: "Calls of language models", sorted: (name, down) => { sort = { name, down }; refresh(); } });
    plot.around.classList.add("short");
    refresh();
    asked = null;
    moved(null, now);
  }

  // Show the texts of the move that the address names; the rest of the view stays.
  function moved(_, { params }) {
    const call = params.get("call");
    if (!texts?.isConnected || call === asked) return false;
    asked = call;
    texts.replaceChildren();
    if (call !== null) read(texts, call);
    return true;
  }

  function opener(move) {
    const made = element("a", "read");
    made.href = Treewright.address({ view: "models", call: move });
    return made;
  }

  function read(place, move) {
    load(place, [`texts-${Number.parseInt(move, 10)}`], (around, found) => {
      const heading = section(`Move ${move}`);
      around.append(heading);
      heading.tabIndex = -1;
      if (!found) heading.append(element("p", "The texts of this move are not in this file, which has room for some. The archive has them all: ", "quiet"), element("pre", `python -m archive "SELECT prompt.text, answer.text FROM calls JOIN sources AS prompt ON prompt.sha = prompt_sha JOIN sources AS answer ON answer.sha = answer_sha WHERE move = ${Number.parseInt(move, 10)}" --json`));
      else if (!found.length) heading.append(element("p", "No model was called in this move.", "quiet"));
      for (const call of found || []) heading.append(element("h3", `Prompt, turn ${call.turn}, to ${call.model}`), text(call.prompt), element("h3", "Answer"), text(call.answer || "(none)"));
      heading.scrollIntoView({ block: "nearest" });
    });
  }

  const text = (words) => Object.assign(element("pre", words, "wrapped"), { tabIndex: 0 });

  Treewright.view({ name: "models", title: "Models", ...steady(draw, moved), available: (facts) => facts.models.length > 0 || facts.operators.some((row) => row.refused > 0) });
})();
