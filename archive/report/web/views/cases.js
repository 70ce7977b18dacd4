"use strict";
// Cases: scores of the best node by case, beside those of the seed program.
(() => {
  const { section, table } = Treewright;

  function draw(root, { facts: { cases, verdict } }) {
    const who = verdict?.kind === "champion" ? "the champion" : "the leader", shown = cases.count > cases.rows.length ? ` (${cases.rows.length} of ${cases.count})` : "";
    root.append(section("Cases", `Screening scores of ${who} against the seed program by case of val, the smallest gains first${shown}: better on ${cases.better}, worse on ${cases.worse} of ${cases.count} cases.`, table(cases.rows)));
  }

  Treewright.view({ name: "cases", title: "Cases", draw, available: (facts) => facts.cases.count > 0 });
})();
